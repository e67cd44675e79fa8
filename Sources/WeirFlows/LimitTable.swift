// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// One limit of a plan and what each of its keys has used: the node's, whatever the number of loops.
///
/// The driver keeps one a limit, under a lock, and answers `askLimit` with it; the simulator's world keeps the same.
public struct LimitTable: Sendable {
  // Not an enum: to change a table within one, it would be taken out and copied.
  private var rates: RateTable?
  private var windows: WindowTable?

  public init(_ limit: FlowPlan.Limit, salt: UInt64 = 0) {
    var settings = RateTable.Settings()
    settings.cells = limit.cells
    settings.salt = salt
    let burst = max(1, limit.burst)
    switch limit.kind {
    case .bucket: rates = RateTable(GCRA(rate: limit.rate, burst: burst), settings)
    case .window:
      windows = WindowTable(SlidingWindow(.init(limit: burst, window: limit.window)), settings)
    }
  }

  /// Whether one more request of `key` may pass, and what its owner is told.
  public mutating func ask(_ key: UInt64, now: Instant) -> (answer: LimitAnswer, reading: LimitReading) {
    if let answer = rates?.admit(key: key, now: now), let gcra = rates?.gcra {
      switch answer {
      case .allow(let cell, _): return (.allowed, gcra.reading(cell: cell, now: now))
      case .refuse(let until): return (.refused(until: until), gcra.reading(cell: rates?.cell(of: key) ?? 0, now: now))
      }
    }
    guard let answer = windows?.admit(key: key, now: now), let rule = windows?.rule else {
      preconditionFailure("a limit has one table")
    }
    switch answer {
    case .allow(let cell, _): return (.allowed, rule.reading(cell: cell, now: now))
    case .refuse(let until):
      let none = LimitReading(limit: rule.limit, window: rule.window, remaining: 0, resetAfter: until.since(now))
      return (.refused(until: until), windows?.reading(of: key, now: now) ?? none)
    }
  }

  /// The same clients under a changed limit: what each has used stays used; nil when it is counted in another way.
  ///
  /// `old` is the limit that this table was made for.
  public func moved(to limit: FlowPlan.Limit, from old: FlowPlan.Limit, now: Instant) -> LimitTable? {
    guard limit.by == old.by, limit.kind == old.kind, limit.cells == old.cells else { return nil }
    var table = self
    let burst = max(1, limit.burst)
    if let rates { table.rates = rates.moved(to: GCRA(rate: limit.rate, burst: burst), now: now) }
    if let windows {
      guard let moved = windows.moved(to: SlidingWindow(.init(limit: burst, window: limit.window))) else { return nil }
      table.windows = moved
    }
    return table
  }

  /// Live keys that were pushed out: above 0 the table is too small.
  public var evictedLive: UInt64 { (rates?.evictedLive ?? 0) + (windows?.evictedLive ?? 0) }
}
