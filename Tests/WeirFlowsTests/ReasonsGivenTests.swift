// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// Each reason of the closed list is given by something, or it would not be on it (RP-5).
@Suite struct ReasonsGivenTests {
  /// Where a reason is decided.
  private enum Origin { case nobody, driver, request, call }

  /// Exhaustive on purpose: a new reason has to say here where it comes from.
  private static func origin(_ reason: Reason) -> Origin {
    switch reason {
    case .none: .nobody
    case .badRequest, .targetTooLong, .headTooLarge, .bodyTooLarge, .senderTooSlow, .noRoute, .methodNotAllowed,
      .upgradeNotSupported, .expectationFailed, .tooManyConnections, .internalError, .tooManyFailures,
      .tunnelIdle, .retired, .queueUnknown, .messageUnknown, .messageMalformed, .backlogFull, .leaseLost,
      .topicUnknown, .streamUnknown, .groupUnknown, .versionConflict, .eventMisfit, .snapshotUnknown,
      .sagaUnknown, .bodyMisfit:
      .driver
    case .limitReached, .draining, .overloaded, .identityMissing, .identityInvalid, .identityUnavailable, .replayed,
      .notAllowed, .keyMissing, .keyMalformed, .keyMismatch, .keyInUse, .answerNotKept, .stateUnavailable, .stateFull:
      .request
    case .callerGone, .breakerOpen, .noHealthyInstance, .queueFull, .queueTimeout, .deadlinePassed, .connectFailed,
      .connectTimeout, .connectionLost, .answerCut, .attemptTimeout, .badAnswer, .failedAnswer, .tlsFailed,
      .shed, .throttled, .subsetEmpty:
      .call
    }
  }

  /// One service, one route to it with a limit, and room for so many requests.
  private func gateway(room: Int = 100) -> FlowPlan {
    var plan = onePlan()
    plan.limits = [FlowPlan.Limit(rate: Rate(perSecond: 1), burst: 1)]
    plan.accesses = [FlowPlan.Access(identities: 1, needs: [1])]
    plan.routes = [
      FlowPlan.Route(edge: 0), FlowPlan.Route(edge: 0, limit: 0), FlowPlan.Route(edge: 0, access: 0),
      FlowPlan.Route(edge: 0),
    ]
    var settings = IdempotencyRecord.Settings()
    settings.required = true
    plan.routes[3].idempotency = settings
    plan.requestsAtOnce = room
    return plan
  }

  private func keyed(_ key: RequestFacts.Key) -> RequestFacts {
    var facts = RequestFacts(route: 3)
    facts.key = key
    return facts
  }

  private func loop(_ plan: FlowPlan, _ loop: Int = 0, of loops: Int = 1) -> LoopFlows {
    LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 1).view(0)], loop: loop, loops: loops, seed: 1)
  }

  /// What the flow of a request says for this reason.
  private func refusal(_ reason: Reason) -> RequestStep? {
    var flows = loop(gateway(room: 1))
    switch reason {
    case .limitReached:
      let (slot, step) = flows.begin(request: RequestFacts(route: 1), now: at(1))
      guard step == .askLimit(0, key: 0) else { return nil }
      return flows.answered(slot, limit: .refused(until: at(9)), now: at(1))
    case .identityMissing, .identityInvalid, .identityUnavailable, .replayed, .notAllowed:
      let (slot, step) = flows.begin(request: RequestFacts(route: 2), now: at(1))
      guard step == .askIdentity(0) else { return nil }
      let answer: IdentityAnswer =
        switch reason {
        case .identityMissing: .missing
        case .identityUnavailable: .unavailable
        case .notAllowed: .known(PrincipalFacts(client: 1, grants: 2))
        default: .refused(reason)
        }
      return flows.answered(slot, identity: answer, now: at(1))
    case .keyMissing: return flows.begin(request: keyed(.missing), now: at(1)).step
    case .keyMalformed: return flows.begin(request: keyed(.malformed), now: at(1)).step
    case .keyMismatch, .keyInUse, .answerNotKept, .stateUnavailable, .stateFull:
      let (slot, step) = flows.begin(request: keyed(.present), now: at(1))
      guard case .askRecord = step else { return nil }
      let answer: RecordAnswer =
        switch reason {
        case .keyMismatch: .mismatch
        case .keyInUse: .busy(until: at(9))
        case .answerNotKept: .notKept
        case .stateFull: .full
        default: .unavailable
        }
      return flows.answered(slot, record: answer, now: at(1))
    case .draining: flows.drain(until: at(100), now: .zero)
    case .overloaded: _ = flows.begin(request: RequestFacts(route: 0), now: .zero)
    default: return nil
    }
    return flows.begin(request: RequestFacts(route: 0), now: at(1)).step
  }

  @Test("each reason of a request's own flow is given", arguments: Reason.allCases.filter { origin($0) == .request })
  func request(reason: Reason) {
    guard case .refuse(reason, let until) = refusal(reason) else {
      Issue.record("\(reason) was not given")
      return
    }
    #expect(
      [.limitReached, .overloaded, .keyInUse, .stateUnavailable].contains(reason) ? until > at(1) : until == .zero)
  }

  /// How an instance must behave, and what must be set, so that a call ends for this reason.
  private func scene(_ reason: Reason) -> MockWorld {
    var plan = onePlan(instances: 1, atOnce: 1) {
      $0.retry.attempts = 1
      $0.queue.length = reason == .queueFull ? 0 : 1
      $0.attempt = .milliseconds(500)
      $0.connect = .milliseconds(100)
      $0.optional = reason == .failedAnswer || reason == .shed
      if reason == .shed {
        $0.order = .adaptive
        $0.queue.length = 0
      }
      if reason == .throttled {
        var throttle = ClientThrottle.Settings()
        throttle.requestsMin = 0
        throttle.refusedMax = 1
        $0.throttle = throttle
        $0.breaks = false
      }
    }
    plan.services[0].startsReady = reason != .noHealthyInstance && reason != .subsetEmpty
    if reason == .subsetEmpty {
      let groups = InstanceGroups(subsets: [[.init("version", "v2")]], labels: [[.init("version", "v2")]])
      plan.edges[0].subset = FlowPlan.Subset(groups, group: 0, instances: 1)
    }
    var world = MockWorld(plan)
    switch reason {
    case .connectFailed: world.moods[0][0] = .refuses
    case .connectTimeout: world.moods[0][0] = .neverConnects
    case .tlsFailed: world.moods[0][0] = .insecure
    case .connectionLost: world.moods[0][0] = .losesBeforeHead
    case .answerCut: world.moods[0][0] = .cutsInBody
    case .attemptTimeout: world.moods[0][0] = .hangs
    case .failedAnswer, .breakerOpen: world.moods[0][0] = .answers(500, 1)
    case .queueFull, .queueTimeout: world.strangers[0][0] = 1
    case .throttled: world.moods[0][0] = .refuses
    default: break
    }
    return world
  }

  @Test("each reason of a call's flow is given", arguments: Reason.allCases.filter { origin($0) == .call })
  func call(reason: Reason) {
    var world = scene(reason)
    switch reason {
    case .breakerOpen:
      for i in 0..<6 { world.arrive(at(Int64(i) * 10)) }
    case .callerGone:
      guard let slot = world.begin() else { return }
      world.schedule(at(1), .callerGone, slot: slot)
    case .deadlinePassed: world.begin(RequestFacts(deadline: .zero))
    case .shed:
      world.begin()
      world.begin()
      #expect(world.ended.last?.reason == reason)
      return
    case .throttled:
      for i in 1...100 where world.ended.last?.reason != reason {
        world.begin()
        world.run(until: at(Int64(i) * 10))
      }
    case .badAnswer:
      guard let slot = world.begin() else { return }
      world.schedule(at(1), .failed(.protocolError), slot: slot, serial: 1)
    default: world.begin()
    }
    world.run(until: at(3000))
    #expect(world.ended.last?.reason == reason)
    #expect(world.flows[0].state.ledger.edgeReason(0, reason) == 1)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("every reason is counted and recorded under its own name", arguments: Reason.allCases.dropFirst())
  func counted(reason: Reason) {
    let plan = gateway()
    var flows = LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 1).view(0)], seed: 1, recordsLimit: 4)
    let ending = RequestEnding(status: reason.status, reason: reason, phase: .head)
    flows.refused(ending, startedAt: .zero, now: at(1))
    flows.end(request: flows.begin(request: RequestFacts(route: 0), now: at(1)).slot, as: ending, now: at(2))
    let other = Reason.allCases.dropFirst().filter { $0 != reason }
    for route in [0, 4] {
      #expect(flows.state.ledger.routeReason(route, reason) == 1)
      #expect(other.allSatisfy { flows.state.ledger.routeReason(route, $0) == 0 })
    }
    let records = flows.takeRecords().records
    #expect(records.map(\.reason) == [reason, reason])
  }

  // MARK: - Draining

  @Test("a node that stops takes what is sure to be over in time, and refuses what might be cut")
  func draining() {
    var plan = gateway()
    plan.routes[1] = FlowPlan.Route(edge: 0, timeout: .seconds(20))
    var flows = loop(plan)
    flows.drain(until: at(30_000), now: at(1))
    // The edge's timeout is 5 s: 25 s is the last moment that leaves it whole.
    for (when, route, deadline, taken) in [
      (Int64(2), UInt32(0), Instant.distantFuture, true), (25_000, 0, .distantFuture, true),
      (25_001, 0, .distantFuture, false), (10_000, 1, .distantFuture, true), (10_001, 1, .distantFuture, false),
      (29_000, 0, at(29_500), true),
    ] {
      let facts = RequestFacts(route: route, deadline: deadline)
      let step = flows.begin(request: facts, now: at(when)).step
      #expect(step == (taken ? .call(edge: 0) : .refuse(.draining, until: .zero)), "at \(when) ms")
    }
    // Calls between services go on: the requests under way need them.
    guard case .attempt = flows.begin(call: 0, facts: RequestFacts(), now: at(29_999)).step.action else {
      Issue.record("a call between services was refused")
      return
    }
  }

  @Test("draining is an input: it is recorded, and replays")
  func drainingReplays() throws {
    let plan = gateway()
    let view = NodeFlows(plan: plan, seed: 1).view(0)
    var flows = LoopFlows(plan: plan, views: [view], seed: 1, records: 10)
    flows.drain(until: at(10), now: .zero)
    _ = flows.begin(request: RequestFacts(route: 0), now: at(1))
    let taken = flows.takeRecording()
    let recording = try #require(taken)
    var fresh = LoopFlows(plan: plan, views: [view], seed: 1)
    #expect(recording.inputs.count == 2)
    let difference = recording.replay(into: &fresh)
    #expect(difference == nil)
  }

  // MARK: - Overload

  @Test("held back, requests are refused for a second and calls between services go on; let go, all go on; it replays")
  func heldBack() throws {
    let plan = gateway()
    let view = NodeFlows(plan: plan, seed: 1).view(0)
    var flows = LoopFlows(plan: plan, views: [view], seed: 1, records: 10)
    flows.holdBack(true, now: .zero)
    #expect(
      flows.begin(request: RequestFacts(route: 0), now: at(1)).step == .refuse(.overloaded, until: at(1001)))
    guard case .attempt = flows.begin(call: 0, facts: RequestFacts(), now: at(2)).step.action else {
      Issue.record("a call between services was refused")
      return
    }
    flows.holdBack(false, now: at(3))
    #expect(flows.begin(request: RequestFacts(route: 0), now: at(4)).step == .call(edge: 0))
    let taken = flows.takeRecording()
    let recording = try #require(taken)
    var fresh = LoopFlows(plan: plan, views: [view], seed: 1)
    #expect(recording.inputs.count == 5)
    let difference = recording.replay(into: &fresh)
    #expect(difference == nil)
  }

  @Test("a node's room is divided among its loops, and the parts add up to it", arguments: [1, 2, 3, 8])
  func room(loops: Int) {
    let plan = gateway(room: 10)
    var taken = 0
    for index in 0..<loops {
      var flows = loop(plan, index, of: loops)
      while case .call = flows.begin(request: RequestFacts(route: 0), now: .zero).step { taken += 1 }
    }
    #expect(taken == 10)
  }

  @Test("a request that is over makes room for another; one that was refused is let go by its driver")
  func roomComesBack() {
    var flows = loop(gateway(room: 2))
    let first = flows.begin(request: RequestFacts(route: 0), now: .zero).slot
    _ = flows.begin(request: RequestFacts(route: 0), now: .zero)
    let (late, step) = flows.begin(request: RequestFacts(route: 1), now: at(5))
    #expect(step == .refuse(.overloaded, until: at(1005)))
    flows.end(request: late, as: RequestEnding(status: 503, reason: .overloaded), now: at(5))
    flows.end(request: first, as: RequestEnding(status: 200), now: at(6))
    #expect(flows.begin(request: RequestFacts(route: 0), now: at(6)).step == .call(edge: 0))
  }

  @Test("calls between services have as much room again, and an optional one its fallback", arguments: [false, true])
  func calls(optional: Bool) {
    var plan = onePlan { $0.optional = optional }
    plan.routes = [FlowPlan.Route(edge: 0)]
    plan.requestsAtOnce = 3
    var flows = loop(plan)
    var steps: [CallAction] = []
    for _ in 0..<7 { steps.append(flows.begin(call: 0, facts: RequestFacts(), now: .zero).step.action) }
    for step in steps.prefix(6) {
      guard case .attempt = step else {
        Issue.record("\(step) with room left")
        return
      }
    }
    #expect(steps[6] == (optional ? .fallback(.overloaded) : .refuse(.overloaded, until: at(1000))))
    #expect(flows.calls.count == 6 && flows.state.ledger.edges[0].calls == 7)
    // The gateway's own were counted at the door.
    guard case .attempt = flows.begin(call: 0, facts: RequestFacts(route: 0), now: .zero).step.action else {
      Issue.record("a request that was let in got no call")
      return
    }
  }
}
