// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Drops from the front of a queue that stands, and lets a burst drain: CoDel.
///
/// Source: Nichols, Jacobson et al., *Controlled Delay Active Queue Management*, RFC 8289 (2018), §5. A queue is good as
/// long as somebody passes it quickly now and then; when everybody has waited longer than `target` for a whole
/// `interval`, one is dropped, and the next after interval ÷ √2, √3 … until one passes quickly.
///
///     waits ≥ target for an interval ──▶ dropping: at 0, 100, 170.7, 228.4, 278.4 … ms ──a wait < target──▶ calm
///
/// It is made for senders that slow down when dropped. Arrivals that do not care (five times the capacity) are not shed
/// in time by its square root: there the queue's length decides, and the newest first (``PriorityAdmission``) helps.
///
/// ## Invariants
/// 1. Who waited less than `target` is never dropped, nor the last one in the queue.
/// 2. Two drops of one spell are interval ÷ √k apart, k counting the drops.
public struct ControlledDelay: Sendable, Equatable, BitwiseCopyable {
  public struct Settings: Sendable, Equatable {
    /// A wait that is good: 5 ms, RFC 8289 §4.4 (5 to 10 % of the interval).
    public var target = Duration.milliseconds(5)
    /// How long all must have waited longer: 100 ms, RFC 8289 §4.3, about the longest usual round trip.
    public var interval = Duration.milliseconds(100)

    public init() {}
  }

  private let target: Int64
  private let interval: Int64
  /// When waits above the target have lasted an interval; 0: the last wait was below it.
  private var ripeAt: Int64 = 0
  private var nextAt: Int64 = 0
  private var count: Int64 = 0
  private var countBefore: Int64 = 0
  /// True in a spell of drops.
  public private(set) var isDropping = false

  public init(_ settings: Settings = Settings()) {
    target = max(0, settings.target.inNanoseconds)
    interval = max(1, settings.interval.inNanoseconds)
  }

  /// True if the one that now leaves the front after `wait` nanoseconds is to be dropped; `isLast`: nobody is behind it.
  public mutating func drops(wait: Int64, isLast: Bool, now: Instant) -> Bool {
    let time = now.nanoseconds
    guard isRipe(wait: wait, isLast: isLast, time: time) else {
      isDropping = false
      return false
    }
    if isDropping {
      if time < nextAt { return false }
      count += 1
      nextAt = law(nextAt)
      return true
    }
    isDropping = true
    // A spell soon after the last one goes on at the pace that was right then (§5.6).
    let grown = count - countBefore
    let (spell, overflow) = interval.multipliedReportingOverflow(by: 16)
    count = grown > 1 && (overflow || time - nextAt < spell) ? grown : 1
    nextAt = law(time)
    countBefore = count
    return true
  }

  private mutating func isRipe(wait: Int64, isLast: Bool, time: Int64) -> Bool {
    if wait < target || isLast {
      ripeAt = 0
      return false
    }
    if ripeAt == 0 {
      ripeAt = max(1, time.saturatingAdd(interval))
      return false
    }
    return time >= ripeAt
  }

  private func law(_ time: Int64) -> Int64 {
    time.saturatingAdd(Int64(Double(interval) / Double(count).squareRoot()))
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if isDropping && count < 1 { return "a spell of \(count) drops" }
    if isDropping && ripeAt == 0 { return "it drops though the last wait was short" }
    return nil
  }
}
