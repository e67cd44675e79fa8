// SPDX-License-Identifier: Apache-2.0

/// A point on a monotonic clock, in whole nanoseconds since the clock's own beginning.
///
/// The simulator's virtual clock begins at 0; the runtime's is `CLOCK_MONOTONIC`. Points of two clocks are never
/// compared. Durable things store ``WallTime``: there is no conversion between the two, on purpose.
///
/// Arithmetic saturates at ``distantFuture``: "never" plus a second is still never.
public struct Instant: Sendable, Hashable, Comparable, BitwiseCopyable {
  /// Nanoseconds since the clock began, at least 0.
  public var nanoseconds: Int64

  @inlinable
  public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  /// The clock's beginning.
  @inlinable
  public static var zero: Instant { Instant(nanoseconds: 0) }

  /// Later than any point that is reached: the deadline of what has none.
  @inlinable
  public static var distantFuture: Instant { Instant(nanoseconds: .max) }

  @inlinable
  public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }

  /// The point `nanoseconds` later (earlier if negative), saturating at both ends: nothing is before the beginning.
  @inlinable
  public func advanced(by nanoseconds: Int64) -> Instant {
    let (sum, overflow) = self.nanoseconds.addingReportingOverflow(nanoseconds)
    return Instant(nanoseconds: overflow ? (nanoseconds > 0 ? .max : 0) : max(0, sum))
  }

  /// Nanoseconds from `earlier` to this point; negative when this point is the earlier one.
  @inlinable
  public func since(_ earlier: Instant) -> Int64 { nanoseconds &- earlier.nanoseconds }

  @inlinable
  public static func + (a: Instant, b: Duration) -> Instant { a.advanced(by: b.inNanoseconds) }
}

/// A point in civil time, in milliseconds since 1970-01-01 UTC; what durable things and logs store.
public struct WallTime: Sendable, Hashable, Comparable, BitwiseCopyable {
  /// Milliseconds since 1970-01-01T00:00:00Z.
  public var milliseconds: Int64

  public init(milliseconds: Int64) { self.milliseconds = milliseconds }

  public static func < (a: WallTime, b: WallTime) -> Bool { a.milliseconds < b.milliseconds }
}

extension Duration {
  /// This length in whole nanoseconds, saturating at ±292 years.
  ///
  /// `Duration` is for settings; state keeps Int64 nanoseconds, for its 128-bit arithmetic costs 13 ns a division.
  @inlinable
  public var inNanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    if overflow { return seconds > 0 ? .max : .min }
    let (sum, spilled) = whole.addingReportingOverflow(attoseconds / 1_000_000_000)
    return spilled ? (seconds > 0 ? .max : .min) : sum
  }

  /// This length in seconds, as a floating-point number.
  @inlinable
  public var inSeconds: Double { Double(inNanoseconds) / 1e9 }
}
