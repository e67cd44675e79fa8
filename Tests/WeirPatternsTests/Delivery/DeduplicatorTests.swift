// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct DeduplicatorTests {
  private static func id(_ number: Int) -> Deduplicator.ID { .init(high: UInt64(number / 7), low: UInt64(number)) }

  private static func deduplicator(window: Double = 10, capacity: Int = 4) -> Deduplicator {
    var settings = Deduplicator.Settings()
    settings.window = .seconds(window)
    settings.capacity = capacity
    return Deduplicator(settings)
  }

  @Test("the same within the window is a duplicate, to the nanosecond, and does not renew it")
  func window() {
    var seen = Self.deduplicator()
    #expect(seen.admit(Self.id(1), now: .s(1)) == .first)
    #expect(seen.admit(Self.id(1), now: .s(9)) == .duplicate(since: .s(1)))
    #expect(seen.admit(Self.id(1), now: Instant(nanoseconds: 10_999_999_999)) == .duplicate(since: .s(1)))
    #expect(seen.contains(Self.id(1), now: .s(10.9)) && !seen.contains(Self.id(1), now: .s(11)))
    #expect(seen.admit(Self.id(1), now: .s(11)) == .first)
    #expect(seen.admit(Self.id(1), now: .s(12)) == .duplicate(since: .s(11)))
  }

  /// Half of an id is not the id.
  @Test("ids that share a half are two")
  func halves() {
    var seen = Self.deduplicator()
    for high in 0..<2 as Range<UInt64> {
      for low in 0..<2 as Range<UInt64> { #expect(seen.admit(.init(high: high, low: low), now: .zero) == .first) }
    }
  }

  @Test("full: what is new is told, and when there is room; what was seen is still known")
  func full() {
    var seen = Self.deduplicator()
    for number in 1...4 { #expect(seen.admit(Self.id(number), now: .s(Double(number))) == .first) }
    #expect(seen.admit(Self.id(5), now: .s(5)) == .full(until: .s(11)))
    #expect(seen.admit(Self.id(1), now: .s(5)) == .duplicate(since: .s(1)))
    #expect(seen.admit(Self.id(5), now: Instant(nanoseconds: 10_999_999_999)) == .full(until: .s(11)))
    #expect(seen.admit(Self.id(5), now: .s(11)) == .first)
    seen.forget(Self.id(2))
    seen.forget(Self.id(77))
    #expect(seen.count == 3)
    #expect(seen.admit(Self.id(2), now: .s(11)) == .first)
    #expect(Self.deduplicator(capacity: 0).settings.capacity == 0)
  }

  /// Beside a list of all that ever came, looked through from end to end.
  @Test("walks beside a naive model", arguments: PatternSeeds.seeds(200))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "deduplicator")
    let capacity = 1 + random.index(below: 30)
    var seen = Self.deduplicator(window: 3, capacity: capacity)
    var model: [(id: Int, at: Instant)] = []
    var now = Instant.zero
    for step in 0..<400 {
      if random.chance(0.7) { now = now.advanced(by: random.nanoseconds(upTo: 300_000_000)) }
      if random.chance(0.02) { now = now + .seconds(10) }
      let number = random.index(below: 40)
      model.removeAll { now.since($0.at) >= 3_000_000_000 }
      if random.chance(0.1) {
        seen.forget(Self.id(number))
        model.removeAll { $0.id == number }
      } else {
        let expected: Deduplicator.Answer
        if let known = model.first(where: { $0.id == number }) {
          expected = .duplicate(since: known.at)
        } else if model.count >= capacity {
          expected = .full(until: (model.map(\.at).min() ?? now) + .seconds(3))
        } else {
          expected = .first
          model.append((number, now))
        }
        #expect(seen.admit(Self.id(number), now: now) == expected, "WEIR_SEED=\(seed) step \(step)")
      }
      if let wrong = seen.violation() { return PatternSeeds.fail("WEIR_SEED=\(seed) step \(step): \(wrong)") }
    }
  }
}
