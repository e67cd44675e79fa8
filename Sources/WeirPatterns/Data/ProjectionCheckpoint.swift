// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Where a reader of a log may go on from, when it works at many positions at once and they end in any order.
///
/// Source: the low watermark of Akidau *et al.*, *MillWheel* (VLDB 2013); in a log of consecutive positions it is simply the
/// last one before which, and with which, all are done.
///
///     position            done, beyond        taken                  head
///     ──────▼──────────────●───●●─────────────▼──────────────────────▼
///     all done │ at work (at most `window`)   │ not looked at yet
/// Only the position is kept. What is done beyond it is done again after a crash: the work must bear that, or keep its effect
/// and the checkpoint in one transaction. Who works by key hands positions of one key to one worker, in order; the
/// checkpoint does not care.
///
/// ## Invariants
/// 1. Every position up to `position` is done: none is skipped, and what is not wanted is completed, too.
/// 2. It goes back only by a rebuild, which begins a new generation; what is left of the old one counts for nothing.
/// 3. `position ≤ taken ≤ position + window`: one position that never ends stops the reading, not the memory.
/// 4. Positions are taken once each, in order, without a gap.
public struct ProjectionCheckpoint: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Positions at work, or done beyond the first that is not.
    public var window = 1024
    /// Saved when it has moved so far: at 10 000 a second 40 writes.
    public var saveEvery = 256
    /// Saved so long after it has moved, at the latest: what is done again after a crash.
    public var saveAfter = Duration.seconds(1)

    public init() {}

    public static var windowMax: Int { 65_536 }
  }

  /// What is kept, in one write.
  public struct Point: Sendable, Hashable, BitwiseCopyable {
    public var generation: UInt32
    /// The last position before which, and with which, all are done; 0 before the first, which is 1.
    public var position: Int64

    public init(generation: UInt32 = 0, position: Int64 = 0) {
      self.generation = generation
      self.position = position
    }
  }

  public enum Taking: Sendable, Equatable {
    case positions(ClosedRange<Int64>)
    /// The log has no more.
    case atHead
    /// The window is full: `oldest` has not ended.
    case full(oldest: Int64)
  }

  public enum Completion: Sendable, Equatable, BitwiseCopyable {
    /// All up to here are done.
    case moved(to: Int64)
    /// Done; an earlier one is not.
    case noted
    /// It was done before.
    case already
    /// Of a generation that is over, or never taken: counts for nothing.
    case stale
  }

  public private(set) var point: Point
  /// The last position that was taken.
  public private(set) var taken: Int64
  private let window: Int64
  private let saveEvery: Int64
  private let saveAfter: Int64
  /// A bit for each position beyond the checkpoint, by its remainder.
  private var done: [UInt64]
  private var saved: Point
  /// When it moved first since it was saved.
  private var movedAt: Instant?

  /// From what was kept last; a new one begins before position 1.
  public init(at point: Point = Point(), _ settings: Settings = Settings()) {
    self.point = point
    saved = point
    taken = point.position
    window = Int64(min(max(1, settings.window), Settings.windowMax))
    saveEvery = Int64(max(1, settings.saveEvery))
    saveAfter = max(0, settings.saveAfter.inNanoseconds)
    done = Array(repeating: 0, count: Int((window + 63) / 64))
  }

  // MARK: Asking

  /// How many positions of a log that ends at `head` are not done for certain.
  public func lag(head: Int64) -> Int64 { max(0, head - point.position) }

  /// Whether this position is done; after a crash those beyond the checkpoint are not known to be.
  public func isDone(_ position: Int64) -> Bool {
    if position <= point.position { return true }
    return position <= taken && bit(position)
  }

  /// What is to be saved by now, or nil; told again until it is said to be ``saved(_:)``.
  public func toSave(now: Instant) -> Point? {
    if point.generation != saved.generation { return point }
    let moved = point.position - saved.position
    if moved >= saveEvery { return point }
    if let movedAt, moved > 0, now.since(movedAt) >= saveAfter { return point }
    return nil
  }

  /// When there is something to save at the latest.
  public var nextWake: Instant? {
    if point.generation != saved.generation { return .zero }
    return movedAt.map { $0.advanced(by: saveAfter) }
  }

  // MARK: Inputs

  /// The next positions to work at, at most `count`, of a log that ends at `head`.
  public mutating func take(_ count: Int, head: Int64) -> Taking {
    if taken >= head { return .atHead }
    let last = min(head, point.position.saturating(plus: window), taken.saturating(plus: Int64(max(1, count))))
    if last <= taken { return .full(oldest: point.position + 1) }
    let positions = taken + 1...last
    taken = last
    return .positions(positions)
  }

  /// The work at this position has ended, or there is none to do.
  public mutating func complete(_ position: Int64, generation: UInt32, now: Instant) -> Completion {
    guard generation == point.generation && position <= taken && position > 0 else { return .stale }
    if position <= point.position || bit(position) { return .already }
    flip(position)
    if position != point.position + 1 { return .noted }
    while point.position < taken && bit(point.position + 1) {
      point.position += 1
      flip(point.position)
    }
    if movedAt == nil { movedAt = now }
    return .moved(to: point.position)
  }

  /// This point is on the disk.
  public mutating func saved(_ point: Point, now: Instant) {
    guard point.generation == self.point.generation, point.position <= self.point.position else { return }
    if point.generation == saved.generation && point.position <= saved.position { return }
    saved = point
    movedAt = point == self.point ? nil : now
  }

  /// All is to be done again, from the first position on.
  ///
  /// The new point is to be saved (``toSave(now:)``) before what was made of the old ones is thrown away.
  public mutating func rebuild() {
    point = Point(generation: point.generation &+ 1, position: 0)
    taken = 0
    movedAt = nil
    for word in done.indices { done[word] = 0 }
  }

  // MARK: Bits

  private func bit(_ position: Int64) -> Bool {
    let place = Int(position % window)
    return done[place / 64] & (1 << UInt64(place % 64)) != 0
  }

  private mutating func flip(_ position: Int64) {
    let place = Int(position % window)
    done[place / 64] ^= 1 << UInt64(place % 64)
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if point.position < 0 || taken < point.position { return "taken \(taken) before the checkpoint \(point.position)" }
    if taken > point.position + window { return "\(taken - point.position) positions at work" }
    if taken > point.position && bit(point.position + 1) { return "it could have moved to \(point.position + 1)" }
    let count = done.reduce(0) { $0 + $1.nonzeroBitCount }
    if count > taken - point.position { return "\(count) done of \(taken - point.position)" }
    if saved.generation == point.generation && saved.position > point.position { return "it went back" }
    return nil
  }
}
