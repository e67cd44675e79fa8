// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// Two attempts of one call: who wins, who is cancelled, what each failure leaves.
@Suite struct HedgeFlowTests {
  /// Two instances and a hedge after 20 ms, once the trigger has seen twenty calls.
  static func plan(_ change: (inout CallSettings) -> Void = { _ in }, atOnce: Int32 = .max) -> FlowPlan {
    var call = CallSettings()
    call.timeout = .seconds(1)
    var hedge = HedgeTrigger.Settings()
    hedge.delay = .milliseconds(20)
    hedge.samplesMin = 20
    call.hedge = hedge
    change(&call)
    return FlowPlan(
      services: [.init(instances: 2, atOnce: atOnce)], edges: [.init(service: 0, call: call)])
  }

  /// A loop that has seen forty quick calls, at 1 s.
  static func warm(_ plan: FlowPlan = plan()) -> LoopFlows {
    let node = NodeFlows(plan: plan, seed: 1)
    var flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1, records: 1000)
    for i in 0..<40 {
      let (slot, _) = flows.begin(call: 0, facts: RequestFacts(), now: at(Int64(i) * 20))
      flows.sentAtOnce(slot, now: at(Int64(i) * 20))
      _ = flows.head(slot, status: 200, now: at(Int64(i) * 20 + 5))
      _ = flows.ended(slot, now: at(Int64(i) * 20 + 5))
    }
    return flows
  }

  /// A call whose two attempts are out: begun at 1000 ms, hedged at 1020.
  static func both(_ flows: inout LoopFlows) throws -> (slot: Slot, first: UInt16, second: UInt16) {
    let (slot, step) = flows.begin(call: 0, facts: RequestFacts(), now: at(1000))
    guard case .attempt(let first, 1) = step.action else { throw Unexpected(step) }
    flows.sentAtOnce(slot, of: first, now: at(1000))
    #expect(flows.nextWake(of: slot) == at(1020))
    let hedge = Self.wake(&flows, slot, at: 1020)
    guard case .hedge(let second, 2) = hedge.action, second != first else { throw Unexpected(hedge) }
    flows.sentAtOnce(slot, of: second, now: at(1020))
    return (slot, first, second)
  }

  /// The delay is over, and the node's budget says yes or no.
  static func wake(_ flows: inout LoopFlows, _ slot: Slot, at when: Int64, granted: Bool = true) -> CallStep {
    let step = flows.wake(slot, now: at(when))
    guard case .ask(.retry) = step.action else { return step }
    return flows.permit(slot, granted ? CircuitBreaker.Ticket(epoch: 0) : nil, now: at(when))
  }

  struct Unexpected: Error { init(_ step: CallStep) { Issue.record("\(step)") } }

  @Test("the second attempt answers first: the first one is cancelled and counts against nobody")
  func won() throws {
    var flows = Self.warm()
    let (slot, first, second) = try Self.both(&flows)
    let step = flows.head(slot, status: 200, of: second, now: at(1026))
    #expect(step == CallStep(.answer, loser: first))
    #expect(flows.calls[slot].instance == second)
    #expect(flows.ended(slot, now: at(1027)) == CallStep(.finish, freed: second))
    let edge = flows.state.ledger.edges[0]
    #expect(edge.hedges == 1 && edge.hedgesWon == 1 && edge.attempts == 42 && edge.answered == 41)
    // Forty-one good answers, and nothing of the loser.
    let delta = flows.takeDelta(edge: 0)
    #expect(delta?.outcomes.allSatisfy { $0.failures == 0 } == true)
  }

  @Test("the first attempt answers first: the second one is cancelled")
  func lost() throws {
    var flows = Self.warm()
    let (slot, first, second) = try Self.both(&flows)
    #expect(flows.head(slot, status: 200, of: first, now: at(1023)) == CallStep(.answer, loser: second))
    #expect(flows.calls[slot].instance == first)
    #expect(flows.ended(slot, now: at(1024)) == CallStep(.finish, freed: first))
    #expect(flows.state.ledger.edges[0].hedgesWon == 0)
  }

  @Test("what fails first is forgotten while the other is out", arguments: [true, false])
  func oneFails(_ isFirst: Bool) throws {
    var flows = Self.warm()
    let (slot, first, second) = try Self.both(&flows)
    let (bad, good) = isFirst ? (first, second) : (second, first)
    #expect(flows.failed(slot, .lostBeforeHead, of: bad, now: at(1030)) == CallStep(.none, freed: bad))
    #expect(flows.calls[slot].instance == good)
    #expect(flows.head(slot, status: 200, of: good, now: at(1040)) == CallStep(.answer))
    #expect(flows.ended(slot, now: at(1041)) == CallStep(.finish, freed: good))
  }

  @Test("a failing answer waits for the other one, and the last failure is passed on")
  func bothFail() throws {
    let plan = Self.plan { $0.retry.attempts = 2 }
    var flows = Self.warm(plan)
    let (slot, first, second) = try Self.both(&flows)
    #expect(flows.head(slot, status: 503, of: second, now: at(1030)) == CallStep(.none, freed: second))
    // Two attempts were allowed, and both are made.
    #expect(flows.head(slot, status: 503, of: first, now: at(1040)) == CallStep(.answer))
    #expect(flows.ended(slot, now: at(1041)) == CallStep(.finish, freed: first))
  }

  @Test("a caller that goes away, or a deadline, ends both")
  func ends() throws {
    var flows = Self.warm()
    let (slot, first, second) = try Self.both(&flows)
    let gone = flows.callerGone(slot, now: at(1030))
    #expect(gone == CallStep(.refuse(.callerGone, until: .zero), freed: first, cancels: true, loser: second))

    var late = Self.warm(Self.plan { $0.retry.attempts = 1 })
    let (other, one, two) = try Self.both(&late)
    #expect(late.wake(other, now: at(2000)) == CallStep(.none, freed: one, cancels: true))
    #expect(late.nextWake(of: other) <= at(2000))
    let step = late.wake(other, now: at(2000))
    #expect(step == CallStep(.refuse(.deadlinePassed, until: .zero), freed: two, cancels: true))
    #expect(!late.calls.isLive(other))
  }

  @Test("no place at the other instance: it stays with one attempt")
  func full() throws {
    var flows = Self.warm()
    let (slot, step) = flows.begin(call: 0, facts: RequestFacts(), now: at(1000))
    guard case .attempt(let first, 1) = step.action else { throw Unexpected(step) }
    flows.sentAtOnce(slot, of: first, now: at(1000))
    guard case .hedge(let second, 2) = Self.wake(&flows, slot, at: 1020).action else { throw Unexpected(step) }
    #expect(flows.full(slot, of: second, now: at(1020)) == CallStep(.none))
    #expect(flows.calls[slot].attempts == 1)
    #expect(flows.head(slot, status: 200, of: first, now: at(1030)) == CallStep(.answer))
    #expect(flows.state.ledger.edges[0].hedges == 0 && flows.state.ledger.edges[0].attempts == 41)
  }

  /// What may not be done twice, or is still on its way from the caller, is never sent twice.
  @Test(
    "only what may be repeated is hedged",
    arguments: [
      (RetryRule.Method.unsafe, RetryRule.Body.none, false), (.safe, .streaming, false), (.keyed, .replayable, true),
      (.idempotent, .none, true),
    ])
  func methods(_ method: RetryRule.Method, _ body: RetryRule.Body, _ isHedged: Bool) {
    var flows = Self.warm()
    let (slot, _) = flows.begin(call: 0, facts: RequestFacts(method: method, body: body), now: at(1000))
    flows.sentAtOnce(slot, now: at(1000))
    var sent = false
    if case .hedge = Self.wake(&flows, slot, at: 1020).action { sent = true }
    #expect(sent == isHedged)

    // A body that is not there yet.
    let (other, _) = flows.begin(call: 0, facts: RequestFacts(body: .replayable), now: at(1000))
    flows.connected(other, now: at(1000))
    flows.sent(other, .something, now: at(1000))
    #expect(flows.wake(other, now: at(1020)) == CallStep(.none))
  }

  @Test("hedges are paid for by their share and by the retry budget")
  func paid() throws {
    // The node says no: there is none, and the share is not touched.
    var flows = Self.warm()
    let (slot, _) = flows.begin(call: 0, facts: RequestFacts(), now: at(1000))
    flows.sentAtOnce(slot, now: at(1000))
    #expect(Self.wake(&flows, slot, at: 1020, granted: false) == CallStep(.none))
    #expect(flows.state.ledger.edges[0].hedges == 0)
    #expect(flows.head(slot, status: 200, now: at(1030)) == CallStep(.answer))
    // Forty calls have earned two: the third is not sent.
    var rich = Self.warm()
    var sent = 0
    for i in 0..<4 {
      let (slot, _) = rich.begin(call: 0, facts: RequestFacts(), now: at(1000 + Int64(i)))
      rich.sentAtOnce(slot, now: at(1000 + Int64(i)))
      if case .hedge = Self.wake(&rich, slot, at: 1020 + Int64(i)).action { sent += 1 }
    }
    #expect(sent == 2)
  }

  @Test("a recorded hedge replays")
  func replays() throws {
    let plan = Self.plan()
    let node = NodeFlows(plan: plan, seed: 1)
    var flows = Self.warm(plan)
    let (slot, first, second) = try Self.both(&flows)
    _ = flows.failed(slot, .lostBeforeHead, of: first, now: at(1030))
    _ = flows.head(slot, status: 200, of: second, now: at(1031))
    _ = flows.ended(slot, now: at(1032))
    let recorded = flows.takeRecording()
    let recording = try #require(recorded)
    var fresh = LoopFlows(plan: plan, views: [node.view(0)], seed: 1)
    #expect(recording.replay(into: &fresh) == nil)
    #expect(fresh.state.ledger == flows.state.ledger)
  }
}
