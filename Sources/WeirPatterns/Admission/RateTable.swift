// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Rate limits by key (client, address, tenant …) in memory that never grows.
///
/// A set-associative table as in a processor's cache: the key's hash names a set of 8 cells, and a cell whose time is
/// over is as good as none. So there is no clean-up, no list, and no allocation after `init`: 65 536 cells take 1 MiB.
///
///     key ──hash──▶ set ──▶ [k c][k c][k c][k c][k c][k c][k c][k c]   found: decide on its cell
///                                                                    else: take a cell that has run out
///                                                                    else: push out the one with the least backlog
///
/// **When a set is full of live cells** the one nearest to running out is pushed out, and counted in `evictedLive`. Its
/// owner starts afresh: it may get up to one burst too much, never too little. Whoever is at its limit has the largest
/// backlog of the set and is pushed out last, so flooding the table with new keys does not free an offender. A set
/// overflows when 8 new keys come to it within the time a cell lives (at most burst ÷ rate): with twice as many cells
/// as live keys for 5.1 % of new keys, with four times as many for 0.11 %, with eight times for 10⁻⁵ (Poisson tails).
///
/// ## Invariants
/// 1. A key is in at most one cell of its set.
/// 2. Without evictions the answers equal those of an unbounded dictionary of buckets.
/// 3. A refusal writes nothing.
public struct RateTable: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// How many keys are remembered at least, rounded up to a power of two.
    ///
    /// 65 536 cells of 16 bytes are 1 MiB: room for the clients of a busy second on one machine.
    public var cells = 65_536
    /// Mixed into the hash, so that nobody outside can choose keys of one set; the runtime draws it at start.
    public var salt: UInt64 = 0

    public init() {}
  }

  private struct Cell: Sendable, Equatable, BitwiseCopyable {
    var key: UInt64 = 0
    var at: Int64 = 0
  }

  /// Cells of a set: 8 × 16 bytes are two cache lines, and a search of them stays below 10 ns.
  private static let ways = 8

  public private(set) var gcra: GCRA
  /// How many live cells were pushed out by other keys: above 0 the table is too small for its clients.
  public private(set) var evictedLive: UInt64 = 0
  private let salt: UInt64
  private let setMask: Int
  private var cells: [Cell]

  public init(_ gcra: GCRA, _ settings: Settings = Settings()) {
    self.gcra = gcra
    salt = settings.salt
    var count = RateTable.ways
    while count < min(settings.cells, 1 << 28) { count <<= 1 }
    cells = [Cell](repeating: Cell(), count: count)
    setMask = count / RateTable.ways - 1
  }

  public init(_ gcra: GCRA, cells: Int) {
    var settings = Settings()
    settings.cells = cells
    self.init(gcra, settings)
  }

  /// How many cells there are.
  public var capacity: Int { cells.count }

  /// Whether something of `cost` may pass for `key` now; if so it is counted.
  public mutating func admit(key: UInt64, now: Instant, cost: Int = 1) -> GCRA.Answer {
    let first = start(of: key)
    var place = -1
    var victim = first
    for index in first..<first + RateTable.ways {
      if cells[index].key == key {
        place = index
        break
      }
      if cells[index].at < cells[victim].at { victim = index }
    }
    let answer = gcra.decide(cell: place < 0 ? 0 : cells[place].at, now: now, cost: cost)
    guard case .allow(let at, _) = answer else { return answer }
    if place < 0 {
      if cells[victim].at > now.nanoseconds { evictedLive += 1 }
      place = victim
    }
    cells[place] = Cell(key: key, at: at)
    return answer
  }

  /// The cell of `key`, 0 if it is not remembered: for `RateLimit` headers.
  public func cell(of key: UInt64) -> Int64 {
    let first = start(of: key)
    for index in first..<first + RateTable.ways where cells[index].key == key {
      return cells[index].at
    }
    return 0
  }

  /// How many keys are remembered with a backlog; looks at all cells, so it is for a status page.
  public func liveCount(now: Instant) -> Int {
    var live = 0
    for cell in cells where cell.at > now.nanoseconds { live += 1 }
    return live
  }

  /// The same clients under another limit: what each has used of its burst stays used, in requests.
  ///
  /// A cell's lead over now is requests × interval, so it is stretched as the interval is.
  public func moved(to new: GCRA, now: Instant) -> RateTable {
    var table = self
    table.gcra = new
    let stretch = Double(new.interval) / Double(gcra.interval)
    for index in cells.indices where cells[index].at > now.nanoseconds {
      let lead = Double(gcra.resetAfter(cell: cells[index].at, now: now)) * stretch
      table.cells[index].at = now.nanoseconds + Int64(min(lead, Double(1 << 61)))
    }
    return table
  }

  private func start(of key: UInt64) -> Int {
    var state = key ^ salt
    return (Int(truncatingIfNeeded: SeededRandom.split(&state)) & setMask) * RateTable.ways
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    for set in 0...setMask {
      let first = set * RateTable.ways
      for index in first..<first + RateTable.ways where cells[index].at != 0 {
        if start(of: cells[index].key) != first {
          return "key \(cells[index].key) is in the wrong set"
        }
        for other in first..<index
        where cells[other].at != 0 && cells[other].key == cells[index].key {
          return "key \(cells[index].key) has two cells"
        }
      }
    }
    return nil
  }
}
