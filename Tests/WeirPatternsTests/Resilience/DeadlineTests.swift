// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct DeadlineTests {
  private func parsed(_ text: String) -> Int64? { Deadline.milliseconds(parsing: Array(text.utf8).span) }

  @Test("five seconds, half of them for an attempt")
  func defaults() {
    let deadline = Deadline(now: .s(10))
    #expect(deadline.ends == .s(15))
    #expect(deadline.attemptMax == 2_500_000_000)
    #expect(deadline.attemptEnds(now: .s(10)) == .s(12.5))
    // The last attempt is cut by the call's end.
    #expect(deadline.attemptEnds(now: .s(12.5)) == .s(15))
    #expect(deadline.attemptEnds(now: .s(14)) == .s(15))
    #expect(deadline.attemptEnds(now: .s(16)) == .s(15))
  }

  @Test(
    "what is inherited can only shorten",
    arguments: [(nil, 5000), (0, 0), (1, 1), (4999, 4999), (5001, 5000), (-3, 0), (Int64.max, 5000)]
      as [(Int64?, Int64)])
  func inherited(milliseconds: Int64?, left: Int64) {
    let deadline = Deadline(now: .zero, inherited: milliseconds)
    #expect(deadline.remainingMilliseconds(now: .zero) == left)
    #expect(deadline.violation() == nil)
  }

  @Test("what is left is rounded down, and never below nothing")
  func remaining() {
    let deadline = Deadline(timeout: 10_000_000, attempt: 5_000_000, now: .zero)
    #expect(deadline.remainingMilliseconds(now: .zero) == 10)
    #expect(deadline.remainingMilliseconds(now: Instant(nanoseconds: 1)) == 9)
    #expect(deadline.remainingMilliseconds(now: Instant(nanoseconds: 9_000_001)) == 0)
    #expect(deadline.left(now: .s(1)) == 0)
    #expect(!deadline.hasPassed(now: Instant(nanoseconds: 9_999_999)))
    #expect(deadline.hasPassed(now: .ms(10)))
  }

  @Test(
    "a retry must end before the call does",
    arguments: [(8, true), (9, true), (10, false), (11, false)] as [(Int64, Bool)])
  func room(milliseconds: Int64, fits: Bool) {
    let deadline = Deadline(timeout: 20_000_000, attempt: 5_000_000, now: .zero)
    #expect(deadline.leaves(room: milliseconds * 1_000_000, now: .ms(10)) == fits)
    #expect(!deadline.leaves(room: .max, now: .ms(10)))
    #expect(!deadline.leaves(room: 0, now: .ms(20)))
    #expect(deadline.leaves(room: -5, now: .ms(19)))
  }

  @Test("without a deadline there is always room, short of never")
  func never() {
    let deadline = Deadline(timeout: .max, attempt: .max, now: .s(1))
    #expect(deadline.ends == .distantFuture)
    #expect(deadline.leaves(room: 1_000_000_000_000, now: .s(5)))
    #expect(deadline.attemptEnds(now: .s(5)) == .distantFuture)
  }

  @Test("the header is digits only")
  func header() {
    #expect(parsed("0") == 0)
    #expect(parsed("250") == 250)
    #expect(parsed("007") == 7)
    #expect(parsed("9999999999") == 9_999_999_999)
    for wrong in ["", " 5", "5 ", "-1", "+1", "1.5", "1e3", "12ms", "10000000000", "٣", "5,6", "0x10"] {
      #expect(parsed(wrong) == nil, "\(wrong)")
    }
  }

  /// Three hops, each with its own timeout and its own delay: no callee outlives its caller's patience.
  @Test("passed on from hop to hop it only shrinks")
  func hops() {
    for seed in resilienceSeeds(300) {
      var random = SeededRandom(seed: seed)
      var now = Instant.zero
      var deadline = Deadline(timeout: random.nanoseconds(upTo: 5_000_000_000), attempt: 1, now: now)
      for _ in 0..<5 {
        now = now.advanced(by: random.nanoseconds(upTo: 300_000_000))
        let told = deadline.remainingMilliseconds(now: now)
        guard let heard = parsed("\(told)") else {
          Issue.record("seed \(seed): \(told) is not understood")
          return
        }
        let next = Deadline(
          timeout: random.nanoseconds(upTo: 5_000_000_000), attempt: random.nanoseconds(upTo: 5_000_000_000), now: now,
          inherited: heard)
        #expect(next.ends <= max(deadline.ends, now), "seed \(seed)")
        #expect(next.attemptEnds(now: now) <= next.ends, "seed \(seed)")
        deadline = next
      }
    }
  }
}
