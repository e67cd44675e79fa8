// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// Breakers, ejection and probes as the flows use them (RP-1, RP-2, RP-3).
@Suite struct BreakerFlowTests {
  @Test("five failures in a row open an instance's breaker, four do not", arguments: [4, 5])
  func inARow(failures: Int) {
    var world = MockWorld(onePlan(instances: 2) { $0.balance.algorithm = .roundRobin })
    world.moods[0][0] = .answers(500, 1)
    // Calls that cannot be repeated: nobody goes out of the turn to find out whether it is well again.
    for i in 0..<(2 * failures) { world.arrive(at(Int64(i) * 5), RequestFacts(method: .unsafe)) }
    world.run(until: at(1000))
    #expect(world.serving() == (failures == 5 ? [1] : [0, 1]))
  }

  /// An instance that turns bad among others: the caller that finds it out pays, those who are sent there to see whether it
  /// is well again do not, and its breaker gets what it needs to open.
  @Test("after the first failure nobody gets a 500, and the breaker opens within two seconds")
  func turnsBad() {
    var world = MockWorld(onePlan(instances: 3))
    for i in 0..<400 { world.arrive(at(Int64(i) * 10)) }
    world.schedule(at(2000), .mood(service: 0, instance: 1, .answers(500, 1)))
    world.run(until: at(2000))
    let before = world.flows[0].state.ledger.edges[0].failed
    #expect(before == 0)
    world.run(until: at(4500))
    #expect(world.flows[0].state.ledger.edges[0].failed <= 1)
    #expect(world.node.breakerPhase(edge: 0, instance: 1) != .closed)
  }

  @Test("half slow opens it, a little less does not", arguments: [(9, false), (10, true)])
  func slow(count: Int, opens: Bool) {
    var world = MockWorld(
      onePlan(instances: 1) {
        $0.timeout = .seconds(1)
        $0.retry.attempts = 1
      })
    for i in 0..<20 {
      // The slow ones first, so that the last call is not what trips it; 600 ms is over half the timeout.
      world.schedule(at(Int64(i) * 10), .mood(service: 0, instance: 0, .answers(200, i < count ? 600 : 1)))
      world.arrive(at(Int64(i) * 10), RequestFacts(method: .unsafe))
    }
    world.run(until: at(2000))
    #expect((world.node.breakerPhase(edge: 0, instance: 0) != .closed) == opens)
  }

  @Test(
    "half of at least twenty failed opens it, one fewer or nineteen calls do not",
    arguments: [
      (20, 10, true), (20, 9, false), (19, 10, false), (40, 20, true), (40, 19, false),
    ])
  func failureShare(count: Int, failures: Int, opens: Bool) {
    var world = MockWorld(onePlan(instances: 1) { $0.retry.attempts = 1 })
    var failed = 0
    for i in 0..<count {
      // Failures spread so that never five are in a row, and that the share is highest at the last call.
      let fails = (i + 1) * failures / count > failed
      if fails { failed += 1 }
      world.schedule(at(Int64(i) * 10), .mood(service: 0, instance: 0, .answers(fails ? 500 : 200, 1)))
      world.arrive(at(Int64(i) * 10))
    }
    world.run(until: at(1000))
    #expect(failed == failures)
    #expect((world.node.breakerPhase(edge: 0, instance: 0) != .closed) == opens)
    #expect((world.node.breakerPhase(edge: 0, instance: nil) != .closed) == opens)
  }

  @Test("two instances, one answers 500: from the second second on under 0.5 % errors", arguments: [1, 4])
  func oneOfTwo(loops: Int) {
    var world = MockWorld(onePlan(instances: 2), loops: loops)
    world.moods[0][0] = .answers(500, 2)
    for i in 0..<12_000 { world.arrive(at(Int64(i) * 5), loop: i % loops) }
    world.run(until: at(61_000))
    let late = world.ended.filter { $0.startedAt >= at(1000) }
    let bad = late.filter { !$0.isGood }
    #expect(Double(bad.count) < 0.005 * Double(late.count), "\(bad.count) of \(late.count)")
    #expect(world.wrong() == nil)
  }

  @Test("when over half are bad all serve, and the last is never left out")
  func everyoneServes() {
    for (instances, bad, serving) in [(4, 2, 2), (4, 3, 4), (1, 1, 1), (2, 2, 2)] {
      var world = MockWorld(
        onePlan(instances: instances) {
          $0.balance.algorithm = .roundRobin
          $0.retry.attempts = 1
        })
      for i in 0..<bad { world.moods[0][i] = .answers(500, 1) }
      for i in 0..<100 { world.arrive(at(Int64(i) * 10)) }
      world.run(until: at(1500))
      #expect(world.serving().count == serving, "\(bad) of \(instances)")
      #expect(world.wrong() == nil)
    }
  }

  @Test("the callee's breaker opens only when no instance is left to try")
  func calleeBreaker() {
    var world = MockWorld(onePlan(instances: 3) { $0.balance.algorithm = .roundRobin })
    world.moods[0][0] = .answers(500, 1)
    world.moods[0][1] = .answers(500, 1)
    for i in 0..<600 { world.arrive(at(Int64(i) * 5)) }
    world.run(until: at(4000))
    #expect(world.node.breakerPhase(edge: 0, instance: nil) == .closed)
    world.moods[0][2] = .answers(500, 1)
    for i in 0..<3000 { world.arrive(at(4000 + Int64(i) * 5)) }
    world.run(until: at(20_000))
    #expect(world.node.breakerPhase(edge: 0, instance: nil) == .open)
    #expect(world.ended.last?.reason == .breakerOpen)
  }

  @Test("full places are not tried places: they do not open the callee's breaker")
  func fullIsNotTried() {
    var world = MockWorld(onePlan(instances: 2, atOnce: 1))
    world.strangers[0][0] = 1
    world.moods[0][1] = .answers(500, 1)
    for i in 0..<4 { world.arrive(at(Int64(i) * 50)) }
    world.run(until: at(1000))
    let delta = world.node.breakerPhase(edge: 0, instance: nil)
    #expect(delta == .closed)
    #expect(world.flows[0].state.upstreams[0].view.service.window.failures == 0)
  }

  @Test("1 000 callers at the half-open moment: exactly N probes are out", arguments: [1, 4], [1, 3])
  func halfOpen(loops: Int, probes: Int) {
    for service in [false, true] {
      var world = MockWorld(
        onePlan(instances: service ? 1 : 2) {
          $0.balance.algorithm = .roundRobin
          $0.instanceBreaker.probes = probes
          $0.serviceBreaker.probes = probes
          $0.instanceBreaker.restJitter = 0
          $0.serviceBreaker.restJitter = 0
        }, loops: loops)
      world.moods[0][0] = .answers(500, 1)
      for i in 0..<100 { world.arrive(at(Int64(i) * 5), loop: i % loops) }
      world.run(until: at(2000))
      world.probesGranted = 0
      world.moods[0] = world.moods[0].map { _ in .hangs }
      for i in 0..<1000 { world.arrive(at(33_000), loop: i % loops, RequestFacts()) }
      world.run(until: at(33_050))
      #expect(world.probesGranted >= probes)
      #expect(world.probesGranted <= (service ? 2 : 1) * probes, "instance and callee each have \(probes)")
      #expect(world.wrong() == nil)
    }
  }

  @Test("RP-3: the callee's breaker alone lets exactly N probes out", arguments: [1, 2, 4], [1, 3, 10])
  func halfOpenCallee(loops: Int, probes: Int) {
    var world = MockWorld(
      onePlan(instances: 1) {
        $0.retry.attempts = 1
        $0.instanceBreaker.inARow = 0
        $0.instanceBreaker.ofAtLeast = 1_000_000
        $0.serviceBreaker.probes = probes
        $0.serviceBreaker.restJitter = 0
      }, loops: loops)
    world.moods[0][0] = .answers(500, 1)
    for i in 0..<50 { world.arrive(at(Int64(i) * 5), loop: i % loops) }
    world.run(until: at(2000))
    #expect(world.node.breakerPhase(edge: 0, instance: nil) == .open && world.probesGranted == 0)
    world.moods[0][0] = .hangs
    let before = world.attempts
    for i in 0..<1000 { world.arrive(at(33_000), loop: i % loops) }
    world.run(until: at(33_050))
    #expect(world.probesGranted == probes && world.attempts - before == probes)
    // All others are refused, and told to come again.
    let refused = world.ended.suffix(1000 - probes)
    #expect(
      refused.allSatisfy {
        if case .refuse(.breakerOpen, let until) = $0.action { until > at(33_000) } else { false }
      })
    #expect(world.wrong() == nil)
  }

  @Test(
    "a probe that hangs, is cancelled or answers by a Weir gives its permit back",
    arguments: [
      Mood.hangs, .answersByWeir(503, 1), .cutsInBody, .neverConnects,
    ])
  func permitsReturn(mood: Mood) {
    var world = MockWorld(
      onePlan(instances: 2) {
        $0.balance.algorithm = .roundRobin
        $0.instanceBreaker.restJitter = 0
      })
    world.moods[0][0] = .answers(500, 1)
    for i in 0..<40 { world.arrive(at(Int64(i) * 5)) }
    world.run(until: at(2000))
    #expect(world.serving() == [1])
    world.moods[0][0] = mood
    for i in 0..<100 { world.arrive(at(30_000 + Int64(i) * 100)) }
    world.run(until: at(36_000))
    if let slot = world.books[0].keys.first { world.schedule(world.now, .callerGone, slot: slot) }
    world.run(until: at(41_000))
    world.moods[0][0] = .well
    for i in 0..<1000 { world.arrive(at(41_000 + Int64(i) * 100)) }
    world.run(until: at(142_000))
    #expect(world.serving() == [0, 1])
    #expect(world.ended.suffix(100).allGood)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("a call that serves as a probe is repeated elsewhere on any 5xx, if its method may be", arguments: [1, 3])
  func probeIsRepeated(attempts: Int) {
    for mood in [Mood.answers(500, 1), .answers(501, 1), .answers(503, 1), .refuses, .losesBeforeHead] {
      var world = MockWorld(
        onePlan(instances: 2) {
          $0.balance.algorithm = .roundRobin
          $0.retry.attempts = attempts
          $0.instanceBreaker.restJitter = 0
        })
      world.moods[0][0] = .answers(500, 1)
      for i in 0..<40 { world.arrive(at(Int64(i) * 5)) }
      world.run(until: at(2000))
      world.moods[0][0] = mood
      let before = world.ended.count
      for i in 0..<100 { world.arrive(at(31_000 + Int64(i) * 10)) }
      world.run(until: at(33_000))
      let probed = world.ended.dropFirst(before).filter { $0.tries.contains(where: \.isProbe) }
      #expect(probed.count == 1)
      #expect(probed.allSatisfy { $0.isGood && $0.tries.count == 2 && $0.tries[1].at.since($0.tries[0].at) < 50 * ms })
      #expect(world.wrong() == nil)
    }
  }

  /// What an inner Weir says of its callee says nothing of the probed instance, which has answered: that one is well.
  @Test(
    "a probe answered by an inner Weir is passed on, for its instance is well",
    arguments: [(502, 1), (503, 1), (503, 3)])
  func probeOfInnerWeir(status: UInt16, attempts: Int) {
    var world = MockWorld(
      onePlan(instances: 2) {
        $0.balance.algorithm = .roundRobin
        $0.retry.attempts = attempts
        $0.instanceBreaker.restJitter = 0
      })
    world.moods[0][0] = .answers(500, 1)
    for i in 0..<40 { world.arrive(at(Int64(i) * 5)) }
    world.run(until: at(2000))
    #expect(world.serving() == [1])
    world.moods[0][0] = .answersByWeir(status, 1)
    let before = world.ended.count
    world.arrive(at(31_000))
    world.run(until: at(33_000))
    let probe = world.ended.dropFirst(before).first
    #expect(probe?.tries.map(\.isProbe) == [true] && probe?.status == status)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("whoever was refused a permit asks again as soon as the breaker has opened anew and rested")
  func newEpochNewQuestion() throws {
    let plan = onePlan(instances: 2) {
      $0.balance.algorithm = .roundRobin
      $0.instanceBreaker.inARow = 1
      $0.instanceBreaker.rest = .milliseconds(40)
      $0.instanceBreaker.restGrowth = 1
      $0.instanceBreaker.restJitter = 0
    }
    var node = NodeFlows(plan: plan, seed: 1)
    var loops = (0..<2).map { LoopFlows(plan: plan, views: [node.view(0)], loop: $0, loops: 2, seed: 1) }
    func merge(_ loop: Int, _ now: Instant) {
      if let delta = loops[loop].takeDelta(edge: 0) { node.absorb(delta, now: now) }
      for i in 0..<2 { loops[i].accept(node.view(0), edge: 0, now: now) }
    }
    let unsafe = RequestFacts(method: .unsafe)
    let first = loops[0].begin(call: 0, facts: unsafe, now: .zero)
    guard case .attempt(let bad, _) = first.step.action else { return }
    _ = loops[0].head(first.slot, status: 500, now: at(1))
    merge(0, at(1))
    // The other loop's call is the probe; ours hears that it is out.
    let probe = loops[1].begin(call: 0, facts: RequestFacts(), now: at(50))
    #expect(probe.step.action == .ask(.probeInstance(bad)))
    let ticket = node.permit(edge: 0, instance: bad, now: at(50))
    _ = loops[1].permit(probe.slot, ticket, now: at(50))
    merge(1, at(50))
    let late = loops[0].begin(call: 0, facts: RequestFacts(), now: at(51))
    #expect(late.step.action == .ask(.probeInstance(bad)))
    _ = loops[0].permit(late.slot, nil, now: at(51))
    // It fails, and the breaker rests for 40 ms: 10 ms less than what was left of our pause.
    _ = loops[1].head(probe.slot, status: 500, now: at(52))
    merge(1, at(52))
    #expect(loops[0].begin(call: 0, facts: RequestFacts(), now: at(91)).step.action != .ask(.probeInstance(bad)))
    #expect(loops[0].begin(call: 0, facts: RequestFacts(), now: at(92)).step.action == .ask(.probeInstance(bad)))
  }

  @Test("a single instance's failed probe is a retry like any other: it rests, and never passes the deadline")
  func loneProbe() throws {
    var world = MockWorld(
      onePlan(instances: 1) {
        $0.instanceBreaker.restJitter = 0
        $0.serviceBreaker.inARow = 0
      })
    world.moods[0][0] = .answers(503, 1)
    for i in 0..<8 { world.arrive(at(Int64(i) * 10)) }
    world.run(until: at(2000))
    world.begin()
    world.run(until: at(31_500))
    world.ended = []
    world.begin()
    world.run(until: at(36_000))
    let end = try #require(world.ended.first)
    #expect(end.tries.first?.isProbe == true)
    if end.tries.count > 1 { #expect(end.tries[1].at.since(end.tries[0].at) >= 100 * ms) }
  }

  @Test("an instance that fails its health check is not probed before it has passed")
  func healthFirst() {
    var world = MockWorld(onePlan(instances: 2, health: true) { $0.balance.algorithm = .roundRobin })
    world.moods[0][0] = .refuses
    for i in 0..<40 { world.arrive(at(Int64(i) * 5)) }
    world.run(until: at(1000))
    world.schedule(at(1000), .health(service: 0, instance: 0, up: false))
    for i in 0..<600 { world.arrive(at(1000 + Int64(i) * 100)) }
    world.run(until: at(61_000))
    #expect(world.probesGranted == 0)
    world.moods[0][0] = .well
    world.schedule(at(61_000), .health(service: 0, instance: 0, up: true))
    for i in 0..<50 { world.arrive(at(61_000 + Int64(i) * 100)) }
    world.run(until: at(67_000))
    #expect(world.probesGranted == 1 && world.serving() == [0, 1])
  }

  @Test(
    "RP-1: a dependency failing for 60 s gets at most 1.2 attempts a call, plus the floor", arguments: [1, 10, 1000])
  func amplification(atOnce: Int) {
    for mood in [Mood.answers(503, 5), .refuses, .losesBeforeHead] {
      for breaks in [true, false] {
        var world = MockWorld(onePlan(instances: 3) { $0.breaks = breaks })
        world.moods[0] = Array(repeating: mood, count: 3)
        // So many at once, ten times a second; a thousand every five seconds.
        let rounds = atOnce == 1000 ? 12 : 600
        for round in 0..<rounds {
          for _ in 0..<atOnce { world.arrive(at(Int64(round) * 60_000 / Int64(rounds))) }
        }
        world.run(until: at(66_000))
        // The floor holds once in each of six windows of 10 s, and the share's windows overlap by one bucket.
        let floor = 7 * 3
        #expect(world.attempts <= world.offered * 12 / 10 + floor, "\(world.attempts) of \(world.offered)")
        #expect(world.wrong() == nil)
      }
    }
  }

  @Test("RP-1: three hops in a row, of which the outermost retries: at most 1.25 attempts a call at the last")
  func threeHops() {
    // Each attempt of a hop is a call of the next one, told `Weir-Retries: taken`.
    var offered = 4000
    let first = offered
    for hop in 0..<3 {
      var world = MockWorld(onePlan(instances: 3) { $0.breaks = false })
      world.moods[0] = Array(repeating: .answers(503, 5), count: 3)
      for i in 0..<offered {
        world.arrive(at(Int64(i) * 60_000 / Int64(offered)), RequestFacts(outerRetries: hop > 0))
      }
      world.run(until: at(66_000))
      offered = world.attempts
    }
    #expect(Double(offered) <= 1.25 * Double(first), "\(offered) of \(first)")
  }
}
