// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// One call by hand: each rule of DESIGN §3 at its boundary.
@Suite struct UpstreamCallTests {
  /// One call whose attempts all meet `mood`; how it ended.
  private func one(
    _ mood: Mood, instances: Int = 3, facts: RequestFacts = RequestFacts(), seed: UInt64 = 1,
    edit: (inout CallSettings) -> Void = { _ in }
  ) -> MockWorld.Ended {
    var world = MockWorld(onePlan(instances: instances, edit: edit), seed: seed)
    world.moods[0] = Array(repeating: mood, count: instances)
    world.begin(facts)
    world.run(until: at(60_000))
    #expect(world.wrong() == nil)
    #expect(world.leftBehind() == nil)
    guard let end = world.ended.first else {
      Issue.record("the call never ended")
      return MockWorld.Ended(id: 0, edge: 0, startedAt: .zero, at: .zero, action: .none, status: 0, tries: [])
    }
    return end
  }

  @Test(
    "which answers are tried how often",
    arguments: [
      (UInt16(200), 1), (400, 1), (401, 1), (403, 1), (404, 1), (409, 1), (500, 1), (501, 1), (429, 3), (502, 3),
      (503, 3), (504, 3),
    ])
  func statuses(status: UInt16, tries: Int) throws {
    let end = one(.answers(status, 2))
    #expect(end.tries.count == tries)
    #expect(end.status == status && end.action == .finish)
  }

  @Test(
    "which failures are tried how often, and what the caller is told",
    arguments: [
      (Mood.refuses, 3, Reason.connectFailed), (.neverConnects, 3, .connectTimeout),
      (.losesBeforeHead, 3, .connectionLost),
      (.cutsInBody, 1, .answerCut),
    ])
  func failures(mood: Mood, tries: Int, reason: Reason) throws {
    let end = one(mood)
    #expect(end.tries.count == tries && end.reason == reason)
  }

  @Test("waits are 100–150 and 200–300 ms, and another instance comes first", arguments: 1...50)
  func waits(seed: UInt64) throws {
    let end = one(.refuses, seed: seed)
    #expect(Set(end.tries.map(\.instance)).count == 3)
    let first = end.tries[1].at.since(end.tries[0].at) - ms / 2
    let next = end.tries[2].at.since(end.tries[1].at) - ms / 2
    #expect((100 * ms...150 * ms).contains(first) && (200 * ms...300 * ms).contains(next))
  }

  @Test(
    "what may have reached the callee is repeated only when that is harmless",
    arguments: [
      (RequestFacts(method: .unsafe), Mood.losesBeforeHead, 1), (RequestFacts(method: .keyed), .losesBeforeHead, 3),
      (RequestFacts(method: .idempotent), .answers(503, 1), 3), (RequestFacts(method: .unsafe), .answers(503, 1), 1),
      (RequestFacts(method: .unsafe), .refuses, 3), (RequestFacts(body: .streaming), .answers(503, 1), 1),
      (RequestFacts(outerRetries: true), .answers(503, 1), 1), (RequestFacts(outerRetries: true), .refuses, 1),
    ])
  func methods(facts: RequestFacts, mood: Mood, tries: Int) throws {
    #expect(one(mood, facts: facts).tries.count == tries)
  }

  @Test("Retry-After is obeyed, and when it leads past the deadline the answer is passed on")
  func retryAfter() throws {
    let obeyed = one(.answersLater(429, 1, retryAfter: 700))
    #expect(obeyed.tries[1].at.since(obeyed.tries[0].at) >= 700 * ms)
    let kept = one(.answersLater(429, 1, retryAfter: 6000))
    #expect(kept.tries.count == 1 && kept.status == 429 && kept.at < at(100))
  }

  @Test("a retry that cannot finish before the deadline is not made")
  func noUselessRetry() throws {
    var world = MockWorld(onePlan(instances: 2) { $0.timeout = .milliseconds(400) })
    world.moods[0] = [.answers(200, 150), .answers(200, 150)]
    world.begin()
    world.run(until: at(300))
    world.moods[0] = [.answersLater(503, 180, retryAfter: 0), .answersLater(503, 180, retryAfter: 0)]
    world.begin()
    world.run(until: at(2000))
    // 180 ms are over, 100–150 ms of rest would follow, and an answer takes 150 ms: 430 ms at the least.
    #expect(world.ended[1].tries.count == 1 && world.ended[1].status == 503)
  }

  @Test("an attempt has half the timeout only while another can follow")
  func attemptTimeout() throws {
    let safe = one(.hangs)
    #expect(safe.tries.count == 2 && safe.tries[1].at.since(safe.tries[0].at) >= 2600 * ms)
    #expect(safe.at == at(5000) && safe.reason == .deadlinePassed)
    let unsafe = one(.hangs, facts: RequestFacts(method: .unsafe))
    #expect(unsafe.tries.count == 1 && unsafe.at == at(5000) && unsafe.reason == .deadlinePassed)
    let slow = one(.answers(200, 3000), facts: RequestFacts(method: .unsafe))
    #expect(slow.isGood)
  }

  @Test("a route's timeout replaces the edge's, and an attempt has half of it")
  func routeTimeout() throws {
    var plan = onePlan()
    plan.routes = [FlowPlan.Route(edge: 0, timeout: .seconds(20))]
    var world = MockWorld(plan)
    world.moods[0] = Array(repeating: .hangs, count: 3)
    world.begin(RequestFacts(route: 0))
    world.run(until: at(30_000))
    let end = try #require(world.ended.first)
    #expect(end.at == at(20_000) && end.tries[1].at >= at(10_100))
  }

  @Test("an inherited deadline shortens; one that has passed makes no attempt")
  func inherited() throws {
    let end = one(.hangs, facts: RequestFacts(deadline: at(80)))
    #expect(end.at == at(80) && end.reason == .deadlinePassed)
    let late = one(.well, facts: RequestFacts(deadline: .zero))
    #expect(late.tries.isEmpty && late.reason == .deadlinePassed)
  }

  /// A caller's `Weir-Deadline` is its own affair: the instance is well, it only takes longer than that.
  @Test("attempts cut by a short deadline count against nobody, and hand a probe's permit back")
  func shortDeadlines() {
    var world = MockWorld(
      onePlan(instances: 1) {
        $0.instanceBreaker.restJitter = 0
        $0.serviceBreaker.inARow = 0
      })
    world.moods[0] = [.answers(200, 20)]
    for i in 0..<200 { world.arrive(at(Int64(i) * 10), RequestFacts(deadline: at(Int64(i) * 10 + 10))) }
    world.run(until: at(3000))
    #expect(world.ended.count == 200 && world.ended.allSatisfy { $0.reason == .deadlinePassed && $0.tries.count == 1 })
    for i in [nil, 0] { #expect(world.node.breakerPhase(edge: 0, instance: i) == .closed) }
    #expect(world.flows[0].state.upstreams[0].view.breakers[0].window.calls == 0)

    world.moods[0] = [.answers(500, 1)]
    for i in 0..<8 { world.arrive(at(3000 + Int64(i) * 10)) }
    world.run(until: at(4000))
    world.moods[0] = [.answers(200, 20)]
    world.arrive(at(34_000), RequestFacts(deadline: at(34_010)))
    world.run(until: at(34_100))
    #expect(world.ended.last?.tries.first?.isProbe == true)
    #expect(world.node.breakerPhase(edge: 0, instance: 0) == .probing)
    world.arrive(at(34_100))
    world.run(until: at(34_200))
    #expect(world.node.breakerPhase(edge: 0, instance: 0) == .closed)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test(
    "a deadline that leaves more than what is slow is no excuse, nor is a route's own timeout",
    arguments: [(2500, nil, false), (2501, nil, true), (600, 1000, true), (500, 1000, false)] as [(Int64, Int64?, Bool)]
  )
  func slowEnoughToJudge(deadline: Int64, route: Int64?, counts: Bool) {
    var plan = onePlan(instances: 1)
    plan.routes = [FlowPlan.Route(edge: 0, timeout: route.map { .milliseconds($0) })]
    var world = MockWorld(plan)
    world.moods[0] = [.hangs]
    // Unsafe, so that each call is one attempt, which may last until the deadline.
    for _ in 0..<5 { world.begin(RequestFacts(route: 0, deadline: at(deadline), method: .unsafe)) }
    world.run(until: at(4000))
    #expect(world.ended.count == 5 && world.ended.allSatisfy { $0.at == at(deadline) })
    #expect(world.node.breakerPhase(edge: 0, instance: 0) == (counts ? .open : .closed))
    #expect(world.node.breakerPhase(edge: 0, instance: nil) == (counts ? .open : .closed))
  }

  @Test("an attempt's own limit is judged as ever, however late the wake-up")
  func ownLimit() throws {
    let plan = onePlan(instances: 1) { $0.attempt = .milliseconds(100) }
    var node = NodeFlows(plan: plan, seed: 1)
    var flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1)
    for _ in 0..<5 {
      let slot = flows.begin(call: 0, facts: RequestFacts(deadline: at(150), method: .unsafe), now: .zero).slot
      // Due at 100 ms; by now the deadline has passed, too.
      #expect(flows.wake(slot, now: at(160)).action == .refuse(.deadlinePassed, until: .zero))
    }
    let delta = flows.takeDelta(edge: 0)
    node.absorb(try #require(delta), now: at(160))
    #expect(node.breakerPhase(edge: 0, instance: 0) == .open)
  }

  @Test("callers in a hurry still find out who is slower")
  func shortDeadlinesAvoidTheSlow() {
    var world = MockWorld(onePlan(instances: 2))
    world.moods[0] = [.hangs, .answers(200, 2)]
    for i in 0..<1000 { world.arrive(at(Int64(i) * 10), RequestFacts(deadline: at(Int64(i) * 10 + 50))) }
    world.run(until: at(11_000))
    let lost = world.ended.count { !$0.isGood }
    #expect(lost < 50, "\(lost) of 1000 went to the one that hangs")
  }

  @Test("an optional call gives its fallback for failures, and the answer for anything else")
  func fallback() throws {
    #expect(one(.answers(500, 1)) { $0.optional = true }.action == .fallback(.failedAnswer))
    #expect(one(.refuses) { $0.optional = true }.action == .fallback(.connectFailed))
    #expect(one(.answers(404, 1)) { $0.optional = true }.action == .finish)
  }

  @Test("what an inner Weir broke is retried here, what it refuses is not, and neither counts against the instance")
  func innerWeir() throws {
    for (status, tries) in [(UInt16(502), 3), (504, 3), (429, 3), (503, 1)] {
      #expect(one(.answersByWeir(status, 1)).tries.count == tries)
    }
    var world = MockWorld(onePlan(instances: 2))
    world.moods[0] = [.answersByWeir(503, 1), .answersByWeir(503, 1)]
    for i in 0..<500 { world.arrive(at(Int64(i) * 10)) }
    world.run(until: at(6000))
    #expect(world.ended.allSatisfy { $0.status == 503 && $0.action == .finish })
    #expect(world.serving() == [0, 1])
    for i in [nil, 0, 1] { #expect(world.node.breakerPhase(edge: 0, instance: i) == .closed) }
  }

  @Test("the budget: the floor of three when quiet, a fifth of first tries when busy")
  func budget() {
    for (calls, most) in [(10, 3), (1000, 200)] {
      var world = MockWorld(onePlan { $0.breaks = false })
      world.moods[0] = Array(repeating: .refuses, count: 3)
      for i in 0..<calls { world.arrive(at(Int64(i) * 5000 / Int64(calls))) }
      world.run(until: at(9900))
      #expect(world.offered == calls)
      #expect(world.attempts - calls <= most && world.attempts - calls >= most - 2)
    }
  }

  @Test("a budget over concurrency: a share of what is in flight, and what is over is in flight no more")
  func budgetOverConcurrency() {
    var world = MockWorld(
      onePlan(instances: 2) {
        $0.budget = .envoy
        $0.budget.floor = 0
      })
    // One after another: each is alone when it ends.
    for i in 0..<20 { world.arrive(at(Int64(i) * 10)) }
    world.run(until: at(300))
    world.moods[0] = [.losesBeforeHead, .losesBeforeHead]
    world.begin()
    world.run(until: at(1000))
    #expect(world.ended.last?.reason == .connectionLost && world.ended.last?.tries.count == 1)
    // Ten at the same time may have two retries under way.
    for _ in 0..<10 { world.begin() }
    world.run(until: at(1050))
    #expect(world.openCalls == 2)
    // And two more when those are over.
    world.run(until: at(5000))
    world.ended = []
    for _ in 0..<10 { world.begin() }
    world.run(until: at(5050))
    #expect(world.openCalls == 2 && world.wrong() == nil)
  }

  @Test("a rate limit counts by the client, or all that come through its route together")
  func limitKeys() {
    var plan = onePlan()
    plan.limits = [.init(rate: Rate(perSecond: 1), burst: 1), .init(rate: Rate(perSecond: 1), burst: 1, by: .route)]
    plan.routes = [FlowPlan.Route(edge: 0, limit: 0), FlowPlan.Route(edge: 0, limit: 1), FlowPlan.Route(edge: 0)]
    var flows = LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 1).view(0)], seed: 1)
    let steps = (0..<3).map { flows.begin(request: RequestFacts(route: $0, client: 77), now: .zero).step }
    #expect(steps == [.askLimit(0, key: 77), .askLimit(1, key: 0), .call(edge: 0)])
  }

  @Test("a caller that goes away while it waits leaves the line at once")
  func goneWhileQueued() {
    let plan = onePlan(instances: 1)
    let node = NodeFlows(plan: plan, seed: 1)
    var flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1)
    let (slot, _) = flows.begin(call: 0, facts: RequestFacts(), now: .zero)
    #expect(flows.full(slot, now: .zero).action == .wait)
    #expect(flows.state.upstreams[0].waiting.count == 1)
    #expect(flows.callerGone(slot, now: at(1)) == CallStep(.refuse(.callerGone, until: .zero)))
    #expect(flows.state.upstreams[0].waiting.count == 0)
  }

  @Test("what ends first names the failure: the attempt's time or connecting's", arguments: [100, 400])
  func whichTimeout(connect: Int64) {
    let end = one(.neverConnects) {
      $0.retry.attempts = 1
      $0.attempt = .milliseconds(200)
      $0.connect = .milliseconds(connect)
    }
    #expect(end.reason == (connect == 100 ? .connectTimeout : .attemptTimeout) && end.at == at(min(connect, 200)))
  }

  @Test("a late wake after the deadline says so")
  func lateWake() throws {
    let plan = onePlan { $0.timeout = .milliseconds(400) }
    let node = NodeFlows(plan: plan, seed: 1)
    var flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1)
    let (slot, _) = flows.begin(call: 0, facts: RequestFacts(), now: .zero)
    guard case .ask(.retry) = flows.head(slot, status: 503, now: at(1)).action else { return }
    #expect(flows.permit(slot, CircuitBreaker.Ticket(epoch: 0), now: at(1)).action == .wait)
    #expect(flows.wake(slot, now: at(50)).action == .none)
    #expect(flows.wake(slot, now: at(500)).action == .refuse(.deadlinePassed, until: .zero))
    #expect(flows.wake(slot, now: at(501)) == CallStep(.none))
  }

  @Test("a body that stalls or is malformed closes its connection; one that was lost has none")
  func brokenBodies() {
    let plan = onePlan()
    let node = NodeFlows(plan: plan, seed: 1)
    for (failure, reason, cancels) in [
      (RetryRule.Failure.lostInBody, Reason.answerCut, false), (.attemptTimeout, .answerCut, true),
      (.protocolError, .badAnswer, true),
    ] {
      var flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1)
      let (slot, _) = flows.begin(call: 0, facts: RequestFacts(), now: .zero)
      #expect(flows.head(slot, status: 200, now: at(1)).action == .answer)
      let step = flows.failed(slot, failure, now: at(2))
      #expect(step.action == .abort(reason) && step.cancels == cancels && step.freed != CallStep.nobody)
    }
  }

  @Test("a caller that goes away ends the attempt and counts against nobody", arguments: [0, 1, 2])
  func callerGone(stage: Int) {
    let plan = onePlan(instances: 1)
    let node = NodeFlows(plan: plan, seed: 1)
    var flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1)
    let (slot, _) = flows.begin(call: 0, facts: RequestFacts(), now: .zero)
    if stage > 0 { flows.connected(slot, now: at(1)) }
    if stage > 1 { _ = flows.head(slot, status: 200, now: at(2)) }
    let step = flows.callerGone(slot, now: at(3))
    #expect(step.freed == 0 && step.cancels && step.action == .refuse(.callerGone, until: .zero))
    #expect(flows.state.ledger.edges[0].refused == 1 && flows.calls.count == 0)
  }
}
