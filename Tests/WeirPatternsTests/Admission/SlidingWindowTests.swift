// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct SlidingWindowTests {
  private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }
  private let rule = SlidingWindow(SlidingWindow.Settings(limit: 4, window: .seconds(10)))

  // Each line: milliseconds, expected: remaining after an allow, or −(the instant it waits for).
  @Test("four in ten seconds")
  func timeline() {
    let lines: [(Int64, Int64)] = [
      (10_000, 3), (11_000, 2), (12_000, 1), (19_000, 0), (19_500, -22_500), (20_000, -22_500), (22_500, 0),
      (22_600, -25_000), (25_000, 0), (27_500, 0), (28_000, -30_000), (30_000, 0), (31_000, -33_334), (60_000, 3),
    ]
    var cell = SlidingWindow.Cell()
    for (milliseconds, expected) in lines {
      switch rule.decide(cell: cell, now: at(milliseconds)) {
      case .allow(let moved, let remaining):
        #expect(Int64(remaining) == expected, "at \(milliseconds) ms")
        cell = moved
      case .refuse(let until):
        #expect((until.nanoseconds + 999_999) / 1_000_000 == -expected, "at \(milliseconds) ms: \(until)")
      }
    }
  }

  @Test("cost: all at once, more than the limit never, nothing always")
  func cost() {
    guard case .allow(let cell, 0) = rule.decide(cell: SlidingWindow.Cell(), now: at(1000), cost: 4) else {
      Issue.record("all four at once were refused")
      return
    }
    #expect(rule.decide(cell: cell, now: at(1000), cost: 5) == .refuse(until: .distantFuture))
    #expect(rule.decide(cell: cell, now: at(1000), cost: 0) == .allow(cell: cell, remaining: 0))
  }

  @Test("what is told: limit, window, what remains, and when all is there again")
  func reading() {
    #expect(
      rule.reading(cell: SlidingWindow.Cell(), now: at(500))
        == LimitReading(limit: 4, window: 10_000_000_000, remaining: 4, resetAfter: 0))
    guard case .allow(let cell, _) = rule.decide(cell: SlidingWindow.Cell(), now: at(12_000)) else { return }
    let reading = rule.reading(cell: cell, now: at(13_500))
    #expect(reading.remaining == 3 && reading.resetAfter == 16_500_000_000 && reading.resetSeconds == 17)
    #expect(rule.reading(cell: cell, now: at(24_000)).resetAfter == 6_000_000_000)
    #expect(rule.reading(cell: cell, now: at(30_000)).remaining == 4)
    #expect(reading.windowSeconds == 10)
  }

  @Test("a GCRA tells the same: ten deep, filled in two seconds")
  func bucket() {
    let gcra = GCRA(rate: Rate(perSecond: 5), burst: 10)
    guard case .allow(let cell, _) = gcra.decide(cell: 0, now: at(0), cost: 4) else { return }
    let reading = gcra.reading(cell: cell, now: at(100))
    #expect(reading == LimitReading(limit: 10, window: 2_000_000_000, remaining: 6, resetAfter: 700_000_000))
    #expect(reading.resetSeconds == 1 && reading.windowSeconds == 2 && reading.violation() == nil)
    #expect(gcra.reading(cell: 0, now: at(9)).violation() == nil)
  }

  // The error in closed form: estimate − truth is in [−P·f, P·(1 − f)], and any window admits fewer than 2·limit.
  @Test("the error is within its bound, and `until` is exact", arguments: PatternSeeds.seeds(200))
  func bound(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let limit = 1 + random.index(below: 12)
    let window = Int64(1 + random.index(below: 1_000))
    let rule = SlidingWindow(SlidingWindow.Settings(limit: limit, window: .nanoseconds(window)))
    var now = Instant(nanoseconds: Int64(random.index(below: 5_000)))
    var cell = SlidingWindow.Cell()
    var passed: [Int64] = []
    for step in 0..<600 {
      switch rule.decide(cell: cell, now: now) {
      case .allow(let moved, let remaining):
        cell = moved
        passed.append(now.nanoseconds)
        let elapsed = now.nanoseconds - cell.bucket * window
        let estimate = Double(cell.current) + Double(cell.previous) * Double(window - elapsed) / Double(window)
        if estimate > Double(limit) + 1e-9 {
          return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): over the limit")
        }
        let left = now.nanoseconds - window
        let truth = Double(passed.reversed().prefix { $0 > left }.count)
        let fraction = Double(elapsed) / Double(window)
        let low = -Double(cell.previous) * fraction - 1e-9
        let high = Double(cell.previous) * (1 - fraction) + 1e-9
        if estimate - truth < low || estimate - truth > high {
          return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(estimate) for \(truth)")
        }
        if truth >= Double(2 * limit) {
          return PatternSeeds.fail("WEIR_SEED=\(seed): \(truth) in a window of \(limit)")
        }
        if remaining != rule.remaining(cell: cell, now: now) || rule.reading(cell: cell, now: now).violation() != nil {
          return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): what is told is not so")
        }
        now = now.advanced(by: random.nanoseconds(upTo: window / 4))
      case .refuse(let until):
        if until <= now { return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): refused until the past") }
        if case .allow = rule.decide(cell: cell, now: until.advanced(by: -1)) {
          return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): allowed before `until`")
        }
        if case .refuse = rule.decide(cell: cell, now: until) {
          return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): refused at `until`")
        }
        now = random.chance(0.5) ? until : now.advanced(by: 1 + random.nanoseconds(upTo: window / 4))
      }
    }
  }

  @Test("extreme settings neither trap nor refuse for ever")
  func extremes() {
    for window in [Duration.nanoseconds(1), .seconds(1), .seconds(1 << 40)] {
      for limit in [1, Int.max] {
        let rule = SlidingWindow(SlidingWindow.Settings(limit: limit, window: window))
        let now = Instant(nanoseconds: 1 << 55)
        guard case .allow(let cell, _) = rule.decide(cell: SlidingWindow.Cell(), now: now, cost: rule.limit) else {
          Issue.record("the first was refused")
          continue
        }
        if case .refuse(let until) = rule.decide(cell: cell, now: now) { #expect(until > now) }
        _ = rule.reading(cell: cell, now: now)
      }
    }
  }
}
