// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// What a client is told of its limit: how much is left, and when it is whole again.
///
/// The numbers of the fields `RateLimit` and `RateLimit-Policy` (IETF draft-ietf-httpapi-ratelimit-headers): `q` is
/// `limit`, `w` is `window`, `r` is `remaining`, `t` is `resetSeconds`. Names and text are the writer's business.
/// ``GCRA`` (which is a token bucket: `burst` deep, filled in `burst` intervals) and ``SlidingWindow`` give it.
///
/// ## Invariants
/// 1. 0 ≤ `remaining` ≤ `limit`, and `resetAfter` is 0 only when all of it remains.
public struct LimitReading: Sendable, Equatable, BitwiseCopyable {
  /// How much passes at once when nothing has been used.
  public var limit: Int
  /// In how many nanoseconds so much comes back: the length of the window, or the time a bucket takes to fill.
  public var window: Int64
  /// How much of cost 1 would pass at this moment.
  public var remaining: Int
  /// Nanoseconds until all of it is there again.
  public var resetAfter: Int64

  public init(limit: Int, window: Int64, remaining: Int, resetAfter: Int64) {
    self.limit = limit
    self.window = window
    self.remaining = remaining
    self.resetAfter = resetAfter
  }

  /// Whole seconds, rounded up: who waits so long finds what was promised.
  public var resetSeconds: Int64 { LimitReading.seconds(resetAfter) }
  /// The window in whole seconds, rounded up, at least 1.
  public var windowSeconds: Int64 { max(1, LimitReading.seconds(window)) }

  private static func seconds(_ nanoseconds: Int64) -> Int64 {
    let (whole, rest) = max(0, nanoseconds).quotientAndRemainder(dividingBy: 1_000_000_000)
    return rest == 0 ? whole : whole + 1
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    if remaining < 0 || remaining > limit { return "\(remaining) of \(limit) remain" }
    if resetAfter < 0 || resetAfter == 0 && remaining < limit {
      return "whole in \(resetAfter) ns with \(remaining) left"
    }
    return nil
  }
}

extension GCRA {
  /// What the owner of a cell is told.
  public func reading(cell: Int64, now: Instant) -> LimitReading {
    let (window, overflow) = interval.multipliedReportingOverflow(by: Int64(burst))
    return LimitReading(
      limit: burst, window: overflow ? .max : window, remaining: remaining(cell: cell, now: now),
      resetAfter: resetAfter(cell: cell, now: now))
  }
}
