// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Until when a call is worth making, and how much of that one attempt may use.
///
/// Source: Beyer et al., *Site Reliability Engineering* (2016), ch. 22, "Deadline propagation"; gRPC's `grpc-timeout`.
/// `timeout` is total, waits included; `attempt` caps each attempt within it. What is left travels to the callee in the
/// header `Weir-Deadline` as whole milliseconds, so that nobody works on what nobody waits for.
///
///     begin ──attempt 1──✕ wait ──attempt 2──────✕        ends
///     │◀─ attempt ─▶│            │◀─ attempt ─▶│           │
///     │◀───────────────────── timeout ────────────────────▶│
/// ## Invariants
/// 1. No attempt ends after the call: `attemptEnds ≤ ends`.
/// 2. What a callee is told is never more than what is left here: milliseconds are rounded down.
/// 3. An inherited deadline can only shorten: it is capped by the own timeout.
public struct Deadline: Sendable, Equatable, BitwiseCopyable {
  public struct Settings: Sendable, Equatable {
    /// The whole call, waits and retries included.
    ///
    /// DESIGN's default for requests.
    public var timeout = Duration.seconds(5)
    /// One attempt; nil: half of `timeout`, so that a second attempt fits behind a first one that hangs.
    public var attempt: Duration?

    public init() {}
  }

  /// When the call is given up.
  public var ends: Instant
  /// The longest one attempt may take, in nanoseconds.
  public var attemptMax: Int64

  public init(ends: Instant, attemptMax: Int64) {
    self.ends = ends
    self.attemptMax = Swift.max(0, attemptMax)
  }

  /// A call that begins now; `inherited` is what the caller's header left, in milliseconds.
  public init(_ settings: Settings = Settings(), now: Instant, inherited: Int64? = nil) {
    let timeout = settings.timeout.inNanoseconds
    let attempt = settings.attempt?.inNanoseconds ?? timeout / 2
    self.init(timeout: timeout, attempt: attempt, now: now, inherited: inherited)
  }

  /// The same from lengths in nanoseconds, for the hot path.
  public init(timeout: Int64, attempt: Int64, now: Instant, inherited: Int64? = nil) {
    var total = Swift.max(0, timeout)
    if let inherited {
      let (nanoseconds, overflow) = Swift.max(0, inherited).multipliedReportingOverflow(by: 1_000_000)
      if !overflow { total = Swift.min(total, nanoseconds) }
    }
    self.init(ends: now.advanced(by: total), attemptMax: attempt)
  }

  /// When an attempt that starts now is cut: its own cap, or the call's end if that is sooner.
  public func attemptEnds(now: Instant) -> Instant { Swift.min(ends, now.advanced(by: attemptMax)) }

  /// Nanoseconds left, 0 when it has passed.
  public func left(now: Instant) -> Int64 { Swift.max(0, ends.since(now)) }

  public func hasPassed(now: Instant) -> Bool { now >= ends }

  /// Whether something that takes `room` nanoseconds from now would still end before the call does.
  ///
  /// For a retry `room` is its wait plus what an attempt usually takes: one that cannot finish is not made.
  public func leaves(room: Int64, now: Instant) -> Bool { now.advanced(by: Swift.max(0, room)) < ends }

  /// What to tell the callee, rounded down; 0: there is no use in calling.
  public func remainingMilliseconds(now: Instant) -> Int64 { left(now: now) / 1_000_000 }

  /// The value of a `Weir-Deadline` header: one to ten digits, whole milliseconds; anything else is nil.
  ///
  /// Ten digits are 115 days. Signs, spaces, units and longer numbers are refused rather than guessed at, as a wrong
  /// deadline is worse than none.
  public static func milliseconds(parsing value: Span<UInt8>) -> Int64? {
    guard value.count >= 1 && value.count <= 10 else { return nil }
    var result: Int64 = 0
    for i in 0..<value.count {
      let digit = value[i] &- 0x30
      guard digit <= 9 else { return nil }
      result = result * 10 + Int64(digit)
    }
    return result
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    if attemptMax < 0 { return "an attempt may take \(attemptMax) ns" }
    return nil
  }
}
