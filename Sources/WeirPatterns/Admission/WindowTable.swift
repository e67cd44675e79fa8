// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Sliding windows by key in memory that never grows: ``RateTable``'s sets of eight cells, with a window's two counters.
///
/// A cell whose window is over is as good as none. When a set is full of live cells, the one that has used the least of
/// its window is pushed out: its owner starts afresh, and who is at its limit goes last.
///
/// ## Invariants
/// 1. A key is in at most one cell of its set.
/// 2. Without evictions the answers equal those of an unbounded dictionary of windows.
/// 3. A refusal writes nothing.
public struct WindowTable: Sendable, Equatable {
  private struct Cell: Sendable, Equatable, BitwiseCopyable {
    var key: UInt64 = 0
    var window = SlidingWindow.Cell()
  }

  private static let ways = 8

  public private(set) var rule: SlidingWindow
  /// How many live cells were pushed out by other keys: above 0 the table is too small for its clients.
  public private(set) var evictedLive: UInt64 = 0
  private let salt: UInt64
  private let setMask: Int
  private var cells: [Cell]

  public init(_ rule: SlidingWindow, _ settings: RateTable.Settings = .init()) {
    self.rule = rule
    salt = settings.salt
    var count = WindowTable.ways
    while count < min(settings.cells, 1 << 28) { count <<= 1 }
    cells = [Cell](repeating: Cell(), count: count)
    setMask = count / WindowTable.ways - 1
  }

  /// Whether something of `cost` may pass for `key` now; if so it is counted.
  public mutating func admit(key: UInt64, now: Instant, cost: Int = 1) -> SlidingWindow.Answer {
    let first = start(of: key)
    var place = -1
    var victim = first
    var most = -1
    for index in first..<first + WindowTable.ways {
      if cells[index].key == key {
        place = index
        break
      }
      let left = rule.remaining(cell: cells[index].window, now: now)
      if left > most {
        most = left
        victim = index
      }
    }
    let answer = rule.decide(cell: place < 0 ? SlidingWindow.Cell() : cells[place].window, now: now, cost: cost)
    guard case .allow(let window, _) = answer else { return answer }
    if place < 0 {
      if most < rule.limit { evictedLive += 1 }
      place = victim
    }
    cells[place] = Cell(key: key, window: window)
    return answer
  }

  /// What the owner of a key is told.
  public func reading(of key: UInt64, now: Instant) -> LimitReading {
    let first = start(of: key)
    var cell = SlidingWindow.Cell()
    // The first one, as in `admit`: key 0 is also that of cells that nobody has used.
    for index in first..<first + WindowTable.ways where cells[index].key == key {
      cell = cells[index].window
      break
    }
    return rule.reading(cell: cell, now: now)
  }

  /// The same clients under another limit in a window of the same length; nil when the length differs, for what was
  /// counted was counted in other buckets.
  public func moved(to new: SlidingWindow) -> WindowTable? {
    guard new.window == rule.window else { return nil }
    var table = self
    table.rule = new
    return table
  }

  private func start(of key: UInt64) -> Int {
    var state = key ^ salt
    return (Int(truncatingIfNeeded: SeededRandom.split(&state)) & setMask) * WindowTable.ways
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    for set in 0...setMask {
      let first = set * WindowTable.ways
      for index in first..<first + WindowTable.ways where cells[index].window != SlidingWindow.Cell() {
        if start(of: cells[index].key) != first { return "key \(cells[index].key) is in the wrong set" }
        for other in first..<index
        where cells[other].window != SlidingWindow.Cell() && cells[other].key == cells[index].key {
          return "key \(cells[index].key) has two cells"
        }
      }
    }
    return nil
  }
}
