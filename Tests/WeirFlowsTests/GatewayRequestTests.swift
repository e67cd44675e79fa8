// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// Who may come through a route, in which order it is asked, and what is counted by whom.
@Suite struct GatewayRequestTests {
  private func plan(_ access: FlowPlan.Access) -> FlowPlan {
    var plan = onePlan()
    plan.limits = [
      FlowPlan.Limit(rate: Rate(perSecond: 1), burst: 1), FlowPlan.Limit(rate: Rate(perSecond: 1), burst: 1),
    ]
    plan.accesses = [access]
    plan.tenantPlans = [FlowPlan.TenantPlan(), FlowPlan.TenantPlan(limit: 1)]
    plan.routes = [FlowPlan.Route(edge: 0, limit: 0, access: 0)]
    return plan
  }

  private func loop(_ plan: FlowPlan, records: Int = 0) -> LoopFlows {
    LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 1).view(0)], seed: 1, records: records)
  }

  // A route reached without its identity is the worst that can happen here: every chain of answers is walked.
  @Test("no chain of answers leads to the call unless one knows the caller and every need is met")
  func enumerated() {
    let answers: [IdentityAnswer] = [
      .missing, .unavailable, .refused(.identityInvalid), .refused(.replayed),
      .known(PrincipalFacts(client: 9, grants: 0b01)), .known(PrincipalFacts(client: 9, grants: 0b10)),
      .known(PrincipalFacts(client: 9, grants: 0b11)),
    ]
    let plan = plan(FlowPlan.Access(identities: 0b1101, needs: [0b01, 0b10]))
    for first in answers {
      for second in answers {
        for third in answers {
          var flows = loop(plan)
          var (slot, step) = flows.begin(request: RequestFacts(route: 0, client: 5), now: .zero)
          var asked: [Int] = []
          var given: [IdentityAnswer] = []
          for answer in [first, second, third] {
            guard case .askIdentity(let identity) = step else { break }
            asked.append(identity)
            given.append(answer)
            step = flows.answered(slot, identity: answer, now: .zero)
          }
          #expect(asked == Array([0, 2, 3].prefix(asked.count)))
          let known = given.last == answers[6]
          let lacks = given.last == answers[4] || given.last == answers[5]
          switch step {
          case .askLimit(0, key: 9): #expect(known)
          case .refuse(.notAllowed, _): #expect(lacks)
          case .refuse(.identityMissing, _): #expect(given == [.missing, .missing, .missing])
          case .refuse(.identityUnavailable, _): #expect(given.count == 3 && given.contains(.unavailable))
          case .refuse(.identityInvalid, _), .refuse(.replayed, _):
            #expect(given.count == 3 && !given.contains(.unavailable) && !known && !lacks)
          default: Issue.record("\(given) → \(step)")
          }
          _ = slot
        }
      }
    }
  }

  @Test("an address outside is refused before anybody is asked")
  func address() {
    var flows = loop(plan(FlowPlan.Access(identities: 1)))
    var facts = RequestFacts(route: 0)
    facts.isOutside = true
    #expect(flows.begin(request: facts, now: .zero).step == .refuse(.notAllowed, until: .zero))
    flows = loop(plan(FlowPlan.Access(identities: 0)))
    #expect(flows.begin(request: facts, now: .zero).step == .refuse(.notAllowed, until: .zero))
    #expect(flows.begin(request: RequestFacts(route: 0, client: 3), now: .zero).step == .askLimit(0, key: 3))
  }

  @Test("the tenant's limit comes first and counts by tenant, the route's then counts by the identity's client")
  func tenants() {
    var flows = loop(plan(FlowPlan.Access(identities: 1)))
    func known(_ plan: Int32) -> RequestStep {
      let (slot, _) = flows.begin(request: RequestFacts(route: 0, client: 5), now: .zero)
      return flows.answered(slot, identity: .known(PrincipalFacts(client: 9, tenant: 7, plan: plan)), now: .zero)
    }
    #expect(known(-1) == .askLimit(0, key: 9))
    #expect(known(0) == .askLimit(0, key: 9))
    let (slot, _) = flows.begin(request: RequestFacts(route: 0, client: 5), now: .zero)
    let facts = PrincipalFacts(client: 9, tenant: 7, plan: 1)
    #expect(flows.answered(slot, identity: .known(facts), now: .zero) == .askLimit(1, key: 7))
    #expect(flows.answered(slot, limit: .allowed, now: .zero) == .askLimit(0, key: 9))
    #expect(flows.answered(slot, limit: .allowed, now: .zero) == .call(edge: 0))
    let (other, _) = flows.begin(request: RequestFacts(route: 0, client: 5), now: .zero)
    _ = flows.answered(other, identity: .known(facts), now: .zero)
    #expect(flows.answered(other, limit: .refused(until: at(9)), now: .zero) == .refuse(.limitReached, until: at(9)))
  }

  @Test("an identity's answer is an input: it is recorded, and replays")
  func replays() throws {
    let plan = plan(FlowPlan.Access(identities: 0b11, needs: [1]))
    var flows = loop(plan, records: 10)
    let (slot, _) = flows.begin(request: RequestFacts(route: 0), now: at(1))
    _ = flows.answered(slot, identity: .refused(.identityInvalid), now: at(2))
    _ = flows.answered(slot, identity: .known(PrincipalFacts(client: 1, grants: 1)), now: at(3))
    let taken = flows.takeRecording()
    let recording = try #require(taken)
    var fresh = loop(plan)
    #expect(recording.inputs.count == 3)
    let difference = recording.replay(into: &fresh)
    #expect(difference == nil)
  }
}
