// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// So many in any window of time, nearly: two counters for what an exact log would need a list for.
///
/// Source: Cloudflare, *How we built rate limiting capable of scaling to millions of domains* (2017). The window that
/// ends now covers all of the present bucket and a part of the one before; of that the same part of its count is taken.
///
///     bucket before: P          present bucket: C
///     ├───────────────────────┼─────── e ──▶now         estimate = P·(W − e)/W + C   ≤ limit
///           ├──────── W ───────────────────┤
///
/// **Error, in closed form**: with f = e/W, the true count of the window is C + x with 0 ≤ x ≤ P, so estimate − truth lies
/// in [−P·f, P·(1 − f)]. It is exact for an even stream, and any window admits fewer than 2·limit, as a token bucket
/// of that depth does. Take ``GCRA`` where bursts shall be smaller than the limit; this where the contract reads
/// "1 000 an hour" and the client wants to use them when it likes.
///
/// ## Invariants
/// 1. At every admission the estimate, the admitted one included, is at most `limit`.
/// 2. A refusal changes nothing, and `refuse(until:)` is exact to the nanosecond.
/// 3. A window after the last admission has begun to be a bucket of the past, all is free again.
public struct SlidingWindow: Sendable, Equatable, BitwiseCopyable {
  public struct Settings: Sendable, Equatable {
    /// How much in a window; there is no default, for only the owner knows it.
    public var limit: Int
    /// The window's length; a minute is what Cloudflare, GitHub and Stripe count in or near.
    public var window = Duration.seconds(60)

    public init(limit: Int, window: Duration = .seconds(60)) {
      self.limit = limit
      self.window = window
    }
  }

  /// What is kept of one client: 16 bytes; zero is "never seen".
  public struct Cell: Sendable, Equatable, BitwiseCopyable {
    /// Which bucket `current` is of, counted from the clock's beginning.
    public var bucket: Int64 = 0
    public var previous: UInt32 = 0
    public var current: UInt32 = 0

    public init() {}
  }

  public enum Answer: Sendable, Equatable {
    /// Go on, and keep `cell`; `remaining` more of cost 1 would pass at this moment.
    case allow(cell: Cell, remaining: Int)
    /// Not before `until`, if nothing else passes; the distant future if it costs more than the limit.
    case refuse(until: Instant)
  }

  /// How much in a window.
  public let limit: Int
  /// The window's length in nanoseconds.
  public let window: Int64

  public init(_ settings: Settings) {
    precondition(settings.limit >= 1, "a limit lets at least one pass")
    limit = min(settings.limit, Int(UInt32.max))
    // 2⁶¹ ns are 73 years: sums of two windows and a clock stay below 2⁶³.
    window = max(1, min(settings.window.inNanoseconds, 1 << 61))
  }

  /// Whether something of `cost` may pass now, given the cell of whoever asks.
  public func decide(cell: Cell, now: Instant, cost: Int = 1) -> Answer {
    let cost = max(0, cost)
    if cost > limit { return .refuse(until: .distantFuture) }
    var cell = turned(cell, now: now)
    let left = remaining(turned: cell, now: now)
    if cost <= left {
      cell.current += UInt32(cost)
      return .allow(cell: cell, remaining: left - cost)
    }
    let room = limit - cost - Int(cell.current)
    let start = cell.bucket * window
    // Within this bucket the past fades to `room`; or in the next one this bucket does.
    if room >= 0 { return .refuse(until: Instant(nanoseconds: start).advanced(by: fade(cell.previous, to: room))) }
    let wait = fade(cell.current, to: limit - cost)
    return .refuse(until: Instant(nanoseconds: start).advanced(by: window).advanced(by: wait))
  }

  /// How much of cost 1 would pass at this moment.
  public func remaining(cell: Cell, now: Instant) -> Int { remaining(turned: turned(cell, now: now), now: now) }

  /// What the owner of a cell is told.
  public func reading(cell: Cell, now: Instant) -> LimitReading {
    let cell = turned(cell, now: now)
    let left = (cell.bucket + 1) * window - now.nanoseconds
    let reset = cell.current > 0 ? left + window : cell.previous > 0 ? left : 0
    return LimitReading(limit: limit, window: window, remaining: remaining(turned: cell, now: now), resetAfter: reset)
  }

  // MARK: Helpers

  /// The cell as it reads in the bucket of now.
  private func turned(_ cell: Cell, now: Instant) -> Cell {
    let bucket = now.nanoseconds / window
    if bucket <= cell.bucket { return cell }
    var turned = Cell()
    turned.bucket = bucket
    if bucket == cell.bucket + 1 { turned.previous = cell.current }
    return turned
  }

  private func remaining(turned cell: Cell, now: Instant) -> Int {
    // Rounded up: the estimate is never taken for less than it is.
    let elapsed = max(0, now.nanoseconds - cell.bucket * window)
    let product = UInt64(cell.previous).multipliedFullWidth(by: UInt64(max(0, window - elapsed)))
    let (faded, rest) = UInt64(window).dividingFullWidth(product)
    return max(0, limit - Int(cell.current) - Int(faded) - (rest > 0 ? 1 : 0))
  }

  /// How far into a bucket `count` of the one before has faded to `room`: P·(W − e) ≤ room·W.
  private func fade(_ count: UInt32, to room: Int) -> Int64 {
    if count == 0 || room >= Int(count) { return 0 }
    let product = UInt64(max(0, room)).multipliedFullWidth(by: UInt64(window))
    return window - Int64(UInt64(count).dividingFullWidth(product).quotient)
  }
}
