// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// A call that is answered with a connection: what it shows of its callee is known when it opens, its place is held longer.
@Suite struct LastingTests {
  private static func open(_ flows: inout LoopFlows, at when: Int64) throws -> Slot {
    let (slot, step) = flows.begin(
      call: 0, facts: RequestFacts(method: .unsafe, body: .streaming), now: at(when))
    guard case .attempt(let instance, 1) = step.action else {
      Issue.record("\(step)")
      return slot
    }
    flows.sentAtOnce(slot, of: instance, now: at(when))
    #expect(flows.head(slot, status: 200, now: at(when + 5)) == CallStep(.answer))
    flows.lasts(slot, now: at(when + 5))
    return slot
  }

  @Test("it is counted once, when it opens, and its latency is that of connecting")
  func counted() throws {
    let plan = onePlan()
    var flows = LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 1).view(0)], seed: 1, records: 100)
    let slot = try Self.open(&flows, at: 0)
    #expect(flows.state.ledger.edges[0].answered == 1)
    #expect(flows.nextWake(of: slot) == .distantFuture)
    let step = flows.ended(slot, now: at(3_600_000))
    #expect(step.action == .finish && step.freed != CallStep.nobody)
    let edge = flows.state.ledger.edges[0]
    #expect(edge.calls == 1 && edge.answered == 1 && edge.ended == 1)
    #expect(flows.state.ledger.edgeLatencies[0].count == 1)
    #expect(flows.state.ledger.edgeLatencies[0].maximum < 10 * ms)
    #expect(flows.isEmpty)
    let taken = flows.takeRecording()
    let recording = try #require(taken)
    var fresh = LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 1).view(0)], seed: 1)
    let difference = recording.replay(into: &fresh)
    #expect(difference == nil)
    #expect(fresh.state.ledger.edges[0].answered == 1)
  }

  @Test("it ends in other ways, and is counted no second time")
  func otherEnds() throws {
    let plan = onePlan()
    var flows = LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 1).view(0)], seed: 1)
    _ = flows.callerGone(try Self.open(&flows, at: 0), now: at(1000))
    _ = flows.failed(try Self.open(&flows, at: 2000), .lostInBody, now: at(3000))
    let edge = flows.state.ledger.edges[0]
    #expect(edge.calls == 2 && edge.answered == 2 && edge.ended == 2 && flows.isEmpty)
  }

  @Test("connecting is repeated, though nothing of it may be: no byte was sent")
  func repeats() throws {
    let plan = onePlan(instances: 2)
    var flows = LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 1).view(0)], seed: 1)
    let (slot, _) = flows.begin(call: 0, facts: RequestFacts(method: .unsafe, body: .streaming), now: at(0))
    let step = flows.failed(slot, .connectRefused, now: at(1))
    guard case .ask(.retry) = step.action else {
      Issue.record("\(step)")
      return
    }
  }
}
