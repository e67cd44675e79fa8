// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

/// Sliding windows by key: the same answers as a dictionary of windows, in memory that never grows.
@Suite struct WindowTableTests {
  @Test("a walk of many keys: what a dictionary of windows answers, while nobody is pushed out")
  func walk() {
    for seed in UInt64(1)...20 {
      var random = SeededRandom(seed: seed, stream: "window table")
      let rule = SlidingWindow(.init(limit: 1 + random.index(below: 5), window: .milliseconds(100)))
      var settings = RateTable.Settings()
      settings.cells = 4096
      settings.salt = seed
      var table = WindowTable(rule, settings)
      var plain: [UInt64: SlidingWindow.Cell] = [:]
      var now = Instant.zero
      for step in 0..<2000 {
        now = now.advanced(by: random.nanoseconds(upTo: 2_000_000))
        let key = UInt64(random.index(below: 40)) &* 0x9e37_79b9_7f4a_7c15
        let expected = rule.decide(cell: plain[key] ?? .init(), now: now)
        if case .allow(let cell, _) = expected { plain[key] = cell }
        let got = table.admit(key: key, now: now)
        #expect(got == expected, "seed \(seed), step \(step)")
        #expect(table.reading(of: key, now: now) == rule.reading(cell: plain[key] ?? .init(), now: now))
      }
      #expect(table.evictedLive == 0 && table.violation() == nil)
    }
  }

  @Test("who is at its limit is pushed out last")
  func offender() {
    let rule = SlidingWindow(.init(limit: 3, window: .seconds(60)))
    var settings = RateTable.Settings()
    settings.cells = 8
    var table = WindowTable(rule, settings)
    for _ in 0..<3 { _ = table.admit(key: 1, now: .zero) }
    for key in UInt64(2)...100 { _ = table.admit(key: key, now: .zero) }
    #expect(table.evictedLive > 0)
    guard case .refuse = table.admit(key: 1, now: .zero) else {
      Issue.record("the offender was let go")
      return
    }
  }
}
