// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// A rate limit with a burst, on a single number: the token bucket without a bucket to refill.
///
/// Source: ATM Forum, *Traffic Management Specification 4.0* (af-tm-0056.000, 1996), §4.4.2, the Generic Cell Rate
/// Algorithm, virtual scheduling form; the same as a token bucket of depth *b* filled at rate *r* (Turner, 1986).
/// The cell holds the *theoretical arrival time*: when the bucket will be full again.
///
///     bucket full          now        cell            now + b·T
///     ────────┼─────────────┼──────────┼─ ─ ─ ─ ─ ─ ─ ─ ┼──▶ time
///             cell ≤ now: all b       │◀─ room left ───▶│   T = 1/r; a request of cost c moves the cell by c·T
///
/// The value decides and holds no state: a table, an atomic or a database row holds the cell. A cell in the past equals
/// no cell at all, so 0 is "never seen", and an idle client costs nothing.
///
/// ## Invariants
/// 1. In any window of length t at most ⌊b + r·t⌋ of cost are allowed; T is rounded up to whole nanoseconds, so the
///    declared rate is never exceeded (and missed by less than 10⁻⁴ up to 100 000/s).
/// 2. A refusal changes nothing: asking often does not make it worse.
/// 3. `refuse(until:)` is exact: one nanosecond earlier is refused, at that point it is allowed.
/// 4. No cell refuses for ever: one that lies further ahead than the burst (settings were lowered) counts as empty.
public struct GCRA: Sendable, Equatable, BitwiseCopyable {
  public struct Settings: Sendable, Equatable {
    /// What is allowed in the long run; there is no default, for only the owner knows it.
    public var rate: Rate
    /// How much may come at once; without it one second's worth, and at least 1. (nginx's default of 0 refuses the
    /// second of two requests of one page; Envoy and AWS API Gateway let the owner say.)
    public var burst: Int?

    public init(rate: Rate, burst: Int? = nil) {
      self.rate = rate
      self.burst = burst
    }
  }

  public enum Answer: Sendable, Equatable {
    /// Go on, and keep `cell`; `remaining` more of cost 1 would pass at this moment.
    case allow(cell: Int64, remaining: Int)
    /// Not now; the same question is allowed at `until` if nothing else passes before. Never, if it costs more than the
    /// whole burst: `until` is the distant future then.
    case refuse(until: Instant)
  }

  /// The distance of two events at the full rate, in nanoseconds.
  public let interval: Int64
  /// How far ahead of now the cell may be: burst × interval.
  private let depth: Int64
  /// How much may come at once.
  public let burst: Int

  /// A limit of `rate`, above 0, with at least 1 at once.
  public init(rate: Rate, burst: Int) {
    precondition(rate.perSecond > 0, "a limit has a rate above 0")
    precondition(burst >= 1, "a limit lets at least one pass")
    // 2⁶¹ ns are 73 years: sums of two such values and a monotonic clock stay below 2⁶³.
    let most = Double(1 << 61)
    interval = Int64(max(1, min((1e9 / rate.perSecond).rounded(.up), most)))
    let (product, overflow) = interval.multipliedReportingOverflow(by: Int64(burst))
    depth = overflow ? 1 << 61 : min(product, 1 << 61)
    self.burst = burst
  }

  public init(_ settings: Settings) {
    let second = min(settings.rate.perSecond.rounded(.up), 1e9)
    self.init(rate: settings.rate, burst: settings.burst ?? max(1, Int(second)))
  }

  /// Whether something of `cost` may pass now, given the cell of whoever asks (0: never seen).
  public func decide(cell: Int64, now: Instant, cost: Int = 1) -> Answer {
    if cost > burst { return .refuse(until: .distantFuture) }
    let moved = backlog(cell: cell, now: now) + Int64(max(0, cost)) * interval
    if moved > depth { return .refuse(until: now.advanced(by: moved - depth)) }
    return .allow(cell: now.nanoseconds + moved, remaining: Int((depth - moved) / interval))
  }

  /// How much of cost 1 would pass at this moment.
  public func remaining(cell: Int64, now: Instant) -> Int {
    Int((depth - backlog(cell: cell, now: now)) / interval)
  }

  /// Nanoseconds until the whole burst is free again: `t` of the `RateLimit` header field (IETF httpapi draft).
  public func resetAfter(cell: Int64, now: Instant) -> Int64 { backlog(cell: cell, now: now) }

  /// How far the cell is ahead of now, between 0 and the depth.
  private func backlog(cell: Int64, now: Instant) -> Int64 {
    cell <= now.nanoseconds ? 0 : min(cell - now.nanoseconds, depth)
  }
}
