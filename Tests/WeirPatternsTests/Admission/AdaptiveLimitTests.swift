// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirPatterns

@Suite struct AdaptiveLimitTests {
  private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

  /// A callee of `capacity` workers and a mean of `work` ms that everybody presses against: each 100 ms a post.
  private func press(
    _ limit: inout AdaptiveLimit, capacity: Double, work: Double, from: Int64, posts: Int
  ) -> Int64 {
    var time = from
    for _ in 0..<posts {
      time += 100
      let inside = Double(limit.limit)
      let rate = min(inside, capacity) / work
      let latency = inside / rate
      _ = limit.settle(count: Int(rate * 100), sum: Int64((rate * 100).rounded(.down) * latency * 1e6), now: at(time))
    }
    return time
  }

  private func quiet(_ limit: inout AdaptiveLimit, inside: Double, work: Double, posts: Int) -> Int64 {
    var time: Int64 = 0
    for _ in 0..<posts {
      time += 100
      let count = Int(inside / work * 100)
      _ = limit.settle(count: count, sum: Int64(Double(count) * work * 1e6), now: at(time))
    }
    return time
  }

  @Test("without pressure the work is learned and the limit stays")
  func quietly() {
    var limit = AdaptiveLimit()
    _ = quiet(&limit, inside: 9.6, work: 10, posts: 600)
    #expect(limit.limit == 64)
    #expect(abs(limit.service - 10e6) < 0.2e6)
  }

  @Test("under pressure X·S and a quarter", arguments: [8.0, 16, 40, 200])
  func presses(capacity: Double) {
    var limit = AdaptiveLimit()
    let time = quiet(&limit, inside: 0.4 * min(64, capacity), work: 4, posts: 200)
    _ = press(&limit, capacity: capacity, work: 4, from: time, posts: 40)
    #expect(Double(limit.limit) >= 1.05 * capacity && Double(limit.limit) <= 1.4 * capacity, "\(limit.limit)")
  }

  // Where Vegas and Gradient shrink to the least: the work itself is twice as long, under pressure.
  @Test("work that gets twice as long, or half as long, under pressure is recognised")
  func workMoves() {
    var limit = AdaptiveLimit()
    var time = quiet(&limit, inside: 16, work: 4, posts: 200)
    time = press(&limit, capacity: 40, work: 4, from: time, posts: 100)
    var least = Int.max
    for _ in 0..<600 {
      time = press(&limit, capacity: 40, work: 8, from: time, posts: 1)
      least = min(least, limit.limit)
    }
    #expect(least >= 22, "\(least)")
    #expect(limit.limit >= 33 && limit.limit <= 56, "\(limit.limit)")
    for _ in 0..<600 { time = press(&limit, capacity: 40, work: 4, from: time, posts: 1) }
    #expect(limit.limit >= 33 && limit.limit <= 64, "\(limit.limit)")
  }

  @Test("a start under overload, far above or below, finds its place", arguments: [16.0, 40, 300])
  func cold(capacity: Double) {
    var limit = AdaptiveLimit()
    _ = press(&limit, capacity: capacity, work: 4, from: 0, posts: 300)
    #expect(Double(limit.limit) >= 0.8 * capacity && Double(limit.limit) <= 1.6 * capacity, "\(limit.limit)")
  }

  @Test("the least is not final: a callee that has long been down to one worker and has forty again")
  func leavesTheLeast() {
    var limit = AdaptiveLimit()
    var time = quiet(&limit, inside: 16, work: 4, posts: 200)
    time = press(&limit, capacity: 1, work: 4, from: time, posts: 20_000)
    #expect(limit.limit <= 3)
    _ = press(&limit, capacity: 40, work: 4, from: time, posts: 1_200)
    #expect(limit.limit >= 33 && limit.limit <= 64, "\(limit.limit)")
  }

  /// Callers who wait for their answers press no harder than they are many, and a machine that does other things at first
  /// makes a queue look like work: the limit must not stay where their number or the queue has put it.
  @Test(
    "a start under load by 44 who wait for their answers, on four places: the limit comes down to the places",
    arguments: PatternSeeds.isDebug ? [16] : [8, 16, 32],
    [(0.0...0.0, 1.0), (0...1, 3), (0...1, 10), (0.5...1, 3), (1...2, 3), (10...20, 5)])
  func closedLoop(start: Int, slow: (during: ClosedRange<Double>, times: Double)) {
    for seed in PatternSeeds.seeds(PatternSeeds.isDebug ? 1 : 20) {
      var simulation = QueueSimulation()
      simulation.workers = 4
      simulation.mean = 20e6
      simulation.service = .lognormal(sigma: 0.2)
      simulation.callers = (critical: 4, low: 40)
      simulation.adaptive?.start = start
      simulation.adaptive?.samplesMin = 40
      simulation.admission.queue.wait = .milliseconds(500)
      simulation.slow = slow.during
      simulation.slowdown = slow.times
      simulation.seconds = 120
      simulation.seed = seed
      let outcome = simulation.run()
      #expect(outcome.limits.last <= 12, "WEIR_SEED=\(seed): \(outcome.limits), work of \(outcome.service / 1e6) ms")
      #expect(outcome.goodput >= 0.8, "WEIR_SEED=\(seed)")
      #expect(outcome.share(.critical) >= 0.99, "WEIR_SEED=\(seed)")
      #expect(outcome.violation == nil)
    }
  }

  /// What is learned while the machine stands still again and again is noise: it is not kept when the noise is over.
  @Test(
    "a start under load on a machine that stands still again and again: two minutes after, the limit is the places",
    arguments: PatternSeeds.isDebug ? [16] : [16, 32, 64], [3.0, 10])
  func stalls(start: Int, until: Double) {
    for seed in PatternSeeds.seeds(PatternSeeds.isDebug ? 1 : 20) {
      var simulation = QueueSimulation()
      simulation.workers = 4
      simulation.mean = 20e6
      simulation.service = .lognormal(sigma: 0.2)
      simulation.callers = (critical: 4, low: 40)
      simulation.adaptive?.start = start
      simulation.adaptive?.most = 40
      simulation.adaptive?.samplesMin = 40
      simulation.admission.queue.wait = .milliseconds(500)
      simulation.stallsUntil = until
      simulation.seconds = until + 120
      simulation.seed = seed
      let outcome = simulation.run()
      #expect(outcome.limits.last <= 12, "WEIR_SEED=\(seed): \(outcome.limits), work of \(outcome.service / 1e6) ms")
      #expect(outcome.share(.critical) >= 0.98, "WEIR_SEED=\(seed)")
      #expect(outcome.violation == nil)
    }
  }

  @Test("bounds of the settings hold")
  func bounds() {
    var settings = AdaptiveLimit.Settings()
    settings.least = 20
    settings.most = 90
    var limit = AdaptiveLimit(settings)
    _ = press(&limit, capacity: 4, work: 1, from: 0, posts: 300)
    // The least, or one step above it to see whether that helps.
    #expect(limit.limit >= 20 && limit.limit <= 25)
    var other = AdaptiveLimit(settings)
    _ = press(&other, capacity: 500, work: 4, from: 0, posts: 300)
    #expect(other.limit == 90)
  }

  @Test("walk: whatever is reported, the limit stays within its bounds", arguments: PatternSeeds.seeds(100))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var limit = AdaptiveLimit()
    var now = Instant.zero
    for step in 0..<3_000 {
      now = now.advanced(by: random.nanoseconds(upTo: 50_000_000))
      let before = Double(limit.limit)
      let count = random.index(below: 400)
      let change = limit.settle(count: count, sum: random.nanoseconds(upTo: Int64(count) * 500_000_000), now: now)
      if case .moved(let moved) = change {
        if moved != limit.limit { return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): told \(moved)") }
        if Double(moved) < 0.5 * before - 1 || Double(moved) > 1.5 * before + 1 {
          return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(before) → \(moved)")
        }
      }
      if let violation = limit.violation() { return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(violation)") }
    }
  }
}

/// Bar RP-8, with ``PriorityAdmission`` in front of a callee that has a queue of its own (M/M/c and others).
@Suite struct OverloadTruthTests {
  static let services: [QueueSimulation.Service] = [.exponential, .lognormal(sigma: 0.5), .constant]

  private func idle(_ simulation: QueueSimulation) -> Double {
    var simulation = simulation
    simulation.load = 0.05
    simulation.seconds = 120
    return simulation.run().p99
  }

  @Test("60 % load for 30 minutes: nobody is refused", arguments: [4, 16, 64])
  func calm(workers: Int) {
    var simulation = QueueSimulation()
    simulation.workers = workers
    simulation.load = 0.6
    simulation.seconds = PatternSeeds.isDebug ? 30 : 1800
    let outcome = simulation.run()
    #expect(outcome.refused == [0, 0, 0], "\(outcome.refused)")
    #expect(outcome.violation == nil)
  }

  @Test("five times the load: goodput, p99, and who is shed", arguments: services, [16, 64])
  func overload(service: QueueSimulation.Service, workers: Int) {
    var simulation = QueueSimulation()
    simulation.workers = workers
    simulation.service = service
    let idle = idle(simulation)
    simulation.loadFrom = 20
    simulation.warmUp = 20
    simulation.seconds = PatternSeeds.isDebug ? 60 : 200
    for seed in PatternSeeds.isDebug ? [1] : [UInt64(1), 2, 3] {
      simulation.seed = seed
      let outcome = simulation.run()
      let least = outcome.bySecond.dropFirst(22).dropLast().min() ?? 0
      #expect(outcome.violation == nil)
      #expect(outcome.goodput >= 0.9)
      // The first half second of overload is more than a hundredth of a short run.
      if !PatternSeeds.isDebug { #expect(outcome.p99 <= 2 * idle) }
      #expect(least >= 0.4)
      #expect(outcome.share(.critical) > 0.99 && outcome.share(.normal) > 0.75 && outcome.share(.low) < 0.25)
    }
  }

  @Test("work that takes twice as long for 60 s under overload, and comes back", arguments: services)
  func slowdown(service: QueueSimulation.Service) {
    var simulation = QueueSimulation()
    simulation.service = service
    simulation.loadFrom = 20
    simulation.warmUp = 20
    simulation.seconds = 200
    simulation.slow = 80...140
    for seed in PatternSeeds.isDebug ? [1] : [UInt64(1), 2, 3] {
      simulation.seed = seed
      let outcome = simulation.run()
      let shares = outcome.bySecond.dropFirst(22).dropLast()
      let mean = shares.reduce(0, +) / Double(shares.count)
      #expect(mean >= 0.9)
      #expect((shares.min() ?? 0) >= 0.35)
      #expect(outcome.limits.most <= 64)
      #expect(outcome.share(.critical) > 0.99)
    }
  }
}
