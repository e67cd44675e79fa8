// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct RateTableTests {
  private let second: Int64 = 1_000_000_000

  @Test("cells are rounded up to a power of two, at least one set of 8", arguments: [(0, 8), (9, 16), (1000, 1024)])
  func size(cells: Int, capacity: Int) {
    #expect(RateTable(GCRA(rate: Rate(perSecond: 1), burst: 1), cells: cells).capacity == capacity)
  }

  @Test("one key's burst is not another's")
  func keysAreApart() {
    var table = RateTable(GCRA(rate: Rate(perSecond: 1), burst: 1), cells: 64)
    #expect(table.admit(key: 1, now: .zero) == .allow(cell: second, remaining: 0))
    #expect(table.admit(key: 1, now: .zero) == .refuse(until: Instant(nanoseconds: second)))
    #expect(table.admit(key: 0, now: .zero) == .allow(cell: second, remaining: 0))
    #expect(table.cell(of: 1) == second)
    #expect(table.cell(of: 99) == 0)
    #expect(table.liveCount(now: .zero) == 2)
    #expect(table.liveCount(now: Instant(nanoseconds: second)) == 0)
  }

  // 3 000 keys over 65 536 cells: no set overflows, so every answer must be the dictionary's.
  @Test("walk against a dictionary of buckets", arguments: PatternSeeds.seeds(60))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let gcra = GCRA(rate: Rate(perSecond: 1 + random.unit() * 50), burst: 1 + random.index(below: 5))
    var settings = RateTable.Settings()
    settings.salt = random.next()
    var table = RateTable(gcra, settings)
    var oracle: [UInt64: Int64] = [:]
    var now = Instant.zero
    for step in 0..<5_000 {
      now = now.advanced(by: random.nanoseconds(upTo: 2_000_000))
      // A few keys often, many rarely.
      let key = UInt64(random.chance(0.5) ? random.index(below: 10) : random.index(below: 3_000))
      let cost = random.index(below: 3)
      let expected = gcra.decide(cell: oracle[key] ?? 0, now: now, cost: cost)
      let answer = table.admit(key: key, now: now, cost: cost)
      if answer != expected { return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(answer), not \(expected)") }
      if case .allow(let cell, _) = expected { oracle[key] = cell }
    }
    if table.evictedLive != 0 { Issue.record("WEIR_SEED=\(seed): \(table.evictedLive) evicted") }
    if let violation = table.violation() { Issue.record("WEIR_SEED=\(seed): \(violation)") }
  }

  // An offender that has spent its whole burst has the largest backlog, so a flood of new keys does not free it.
  @Test("a flood of new keys does not free who is at its limit")
  func flood() {
    var table = RateTable(GCRA(rate: Rate(perSecond: 1), burst: 10), cells: 8)
    #expect(table.admit(key: 7, now: .zero, cost: 10) == .allow(cell: 10 * second, remaining: 0))
    for key in UInt64(100)..<10_000 { _ = table.admit(key: key, now: .zero) }
    #expect(table.admit(key: 7, now: .zero) == .refuse(until: Instant(nanoseconds: second)))
    #expect(table.evictedLive == 9_900 - 7)
    #expect(table.violation() == nil)
  }

  // New keys, each once, live for one second; the last 8 of a set stay. One is pushed out exactly when 8 came to its
  // set within a second: P(Poisson(m) ≥ 8) for a mean of m live keys a set.
  @Test("how often a live cell is pushed out", arguments: [(4.0, 0.05113), (2.0, 0.001097)])
  func overflow(meanPerSet: Double, truth: Double) {
    var table = RateTable(GCRA(rate: Rate(perSecond: 1), burst: 1), cells: 8_192)
    let perSecond = meanPerSet * 1024
    let keys = PatternSeeds.samples(400_000)
    var now = 0.0
    for key in 0..<keys {
      now += 1e9 / perSecond
      _ = table.admit(key: UInt64(key), now: Instant(nanoseconds: Int64(now)))
    }
    let share = Double(table.evictedLive) / Double(keys)
    // Evictions of one set come in clusters of a few: five times the binomial variance covers them.
    let error = (5 * truth * (1 - truth) / Double(keys)).squareRoot()
    #expect(abs(share - truth) <= 4 * error, "\(share), not \(truth) ± \(error)")
  }
}
