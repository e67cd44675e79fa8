// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Says when a copy of what is durable is to be made, and which of the copies that there are may go.
///
///     idle ──due, or there is no copy──▶ copying ──made──▶ idle
///      ▲                                    └───failed──▶ resting ──over──▶ copying
///
/// A copy counts from when it was begun: what is committed later is not in it.
///
/// ## Invariants
/// 1. At most one copy is made at a time.
/// 2. The newest copy never goes, however old it is.
/// 3. A copy that failed is tried again after `retryMax` at the latest, whatever the schedule says.
/// 4. A copy from the future, of a clock that was wrong, holds up nothing: it counts as one of now.
public struct BackupSchedule: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// When copies are made: what was accepted since the last one is lost with the disk.
    public var schedule = CronSchedule(every: .seconds(3600))
    /// Older copies go: what is found out on a Monday was copied before the weekend.
    public var keep = Duration.seconds(7 * 86_400)
    /// After a copy that failed: the first wait, doubled with each failure in a row.
    public var retryFirst = Duration.seconds(60)
    public var retryMax = Duration.seconds(3600)

    public init() {}
  }

  public private(set) var settings: Settings
  /// When the newest copy was begun.
  public private(set) var last: WallTime?
  public private(set) var isCopying = false
  public private(set) var failuresInRow = 0
  private var restsUntil: WallTime?

  /// `last` is of the copies that are there.
  public init(_ settings: Settings, last: WallTime?) {
    self.settings = settings
    self.last = last
  }

  /// Whether one is to be made now; who asks makes it, and says how it went.
  public mutating func begin(now: WallTime) -> Bool {
    if isCopying { return false }
    if let time = last, time > now { last = now }
    if let rest = restsUntil {
      // A clock that was set back makes no rest longer.
      if now < rest && rest.milliseconds - now.milliseconds <= wait(failuresInRow) { return false }
    } else if let last {
      guard case .run = settings.schedule.decide(after: last, now: now) else { return false }
    }
    isCopying = true
    return true
  }

  /// It is there, and was begun at this time.
  public mutating func made(at: WallTime) {
    isCopying = false
    failuresInRow = 0
    restsUntil = nil
    last = max(at, last ?? at)
  }

  public mutating func failed(now: WallTime) {
    isCopying = false
    failuresInRow += 1
    restsUntil = WallTime(milliseconds: now.milliseconds + wait(failuresInRow))
  }

  /// Milliseconds.
  private func wait(_ failures: Int) -> Int64 {
    let first = settings.retryFirst.inNanoseconds / 1_000_000
    let most = settings.retryMax.inNanoseconds / 1_000_000
    // 1, 2, 4 … 32 minutes, an hour.
    return min(most, first.multipliedReportingOverflow(by: 1 << Int64(min(max(0, failures - 1), 20))).partialValue)
  }

  /// Of the copies begun at these times those that may go, as indices: older than `keep`, and not the newest.
  public static func surplus(of copies: [WallTime], now: WallTime, keep: Duration) -> [Int] {
    guard let newest = copies.max() else { return [] }
    let length = max(0, keep.inNanoseconds / 1_000_000)
    return copies.indices.filter { copies[$0] < newest && now.milliseconds - copies[$0].milliseconds > length }
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if (failuresInRow > 0) != (restsUntil != nil) { return "\(failuresInRow) failures, rests: \(restsUntil != nil)" }
    return settings.schedule.violation()
  }
}
