// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// When a webhook that was not taken is sent again: seconds later at first, a day later at last.
///
/// Source: Standard Webhooks, *Deliverability and reliability* (its example schedule, jitter, `Retry-After`).
///
///     attempt        1     2     3       4        5     6     7      8      9      10     …
///     waits before   0     5 s   5 min   30 min   2 h   5 h   10 h   14 h   20 h   24 h   24 h each
///     since then     0:00  0:05  5:05    35:05    2½ h  7½ h  17½ h  31½ h  51½ h  75½ h
/// ## Invariants
/// 1. An attempt is never sooner than the schedule says, nor than the endpoint asked for, up to `retryAfterMax`.
/// 2. None is later than `giveUpAfter` after the acceptance: every message comes to an end.
public struct WebhookSchedule: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Counted from the acceptance of a message: no attempt after it.
    ///
    /// Four days hold the ten attempts of the standard's example with their jitter, and no eleventh.
    public var giveUpAfter = Duration.seconds(4 * 86_400)
    /// The share of a wait that chance adds, so that what failed together does not come back together.
    public var jitter = 0.1
    /// `Retry-After` is heeded up to this: the longest wait of the schedule.
    public var retryAfterMax = Duration.seconds(86_400)

    public init() {}
  }

  /// The waits after each failed attempt; the last one is repeated.
  public static let waits: [Duration] = [
    .seconds(5), .seconds(300), .seconds(1800), .seconds(2 * 3600), .seconds(5 * 3600), .seconds(10 * 3600),
    .seconds(14 * 3600), .seconds(20 * 3600), .seconds(24 * 3600),
  ]

  private let giveUpAfter: Int64
  private let jitter: Double
  private let retryAfterMax: Int64

  public init(_ settings: Settings = Settings()) {
    giveUpAfter = max(0, settings.giveUpAfter.inNanoseconds)
    jitter = min(max(0, settings.jitter), 1)
    retryAfterMax = max(0, settings.retryAfterMax.inNanoseconds)
  }

  /// When to send it again after so many attempts, or nil: it is given up.
  ///
  /// `retryAfter`, in nanoseconds, is what the endpoint asked for. `acceptedAt` and `now` are of one clock that survives a
  /// restart.
  public func next(
    after attempts: Int, acceptedAt: Instant, retryAfter: Int64?, now: Instant, using random: inout SeededRandom
  ) -> Instant? {
    let waits = WebhookSchedule.waits
    var wait = waits[min(max(1, attempts), waits.count) - 1].inNanoseconds
    wait += random.nanoseconds(upTo: Int64(Double(wait) * jitter))
    wait = max(wait, limited(retryAfter: retryAfter))
    let next = now.advanced(by: wait)
    return next.since(acceptedAt) > giveUpAfter ? nil : next
  }

  /// What is heeded of a `Retry-After`, in nanoseconds.
  public func limited(retryAfter: Int64?) -> Int64 { min(max(0, retryAfter ?? 0), retryAfterMax) }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    jitter < 0 || jitter > 1 ? "jitter \(jitter) is not a share" : nil
  }
}
