// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase

struct InstantTests {
  /// "Never" plus anything is never, and nothing is before the clock's beginning.
  @Test("saturates at both ends")
  func saturates() {
    #expect(Instant.distantFuture.advanced(by: 1) == .distantFuture)
    #expect(Instant.distantFuture + .seconds(1_000_000) == .distantFuture)
    #expect(Instant(nanoseconds: .max - 1).advanced(by: 1) == .distantFuture)
    #expect(Instant(nanoseconds: .max - 1).advanced(by: 2) == .distantFuture)
    #expect(Instant(nanoseconds: 10).advanced(by: -10) == .zero)
    #expect(Instant(nanoseconds: 10).advanced(by: -11) == .zero)
    #expect(Instant.zero.advanced(by: .min) == .zero)
  }

  @Test("a length between two points has a sign")
  func since() {
    let a = Instant(nanoseconds: 5)
    let b = Instant(nanoseconds: 12)
    #expect(b.since(a) == 7)
    #expect(a.since(b) == -7)
    #expect(a < b && !(b < a))
    #expect(a.advanced(by: b.since(a)) == b)
  }

  @Test(
    "a Duration in nanoseconds, rounded towards zero and saturating",
    arguments: [
      (.zero, 0),
      (.nanoseconds(1), 1),
      (.nanoseconds(-1), -1),
      (.seconds(1), 1_000_000_000),
      (.milliseconds(1500), 1_500_000_000),
      (Duration(secondsComponent: 0, attosecondsComponent: 999_999_999), 0),
      (.seconds(9_223_372_036), 9_223_372_036_000_000_000),
      (.seconds(9_223_372_037), .max),
      (.seconds(-9_223_372_037), .min),
      (.seconds(Int64.max), .max),
    ] as [(Duration, Int64)])
  func duration(_ duration: Duration, _ nanoseconds: Int64) {
    #expect(duration.inNanoseconds == nanoseconds)
  }
}
