// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Tells what has come before, for a window of time, from what is new: exactly, in bounded memory.
///
/// Source: Birrell and Nelson, *Implementing Remote Procedure Calls* (ACM TOCS, 1984), §2.4 (the callee remembers the last
/// identifiers); SQS FIFO's deduplication (5 minutes from the first acceptance). A Bloom filter would take a tenth of the
/// memory, and call a new message a duplicate now and then: a message lost.
///
///     ids by age   [ oldest … newest ] ◀── first      seen before and younger than `window`: duplicate
///                     └─ window over: forgotten       not seen, and no room to remember it: full
///
/// The window begins with the first; a duplicate does not renew it. Two generations of sets were considered: they need
/// no times, and remember for one to two windows, which is not what was said.
///
/// ## Invariants
/// 1. Of one id, and while nothing is told to `forget` it, there is one `first` in any window.
/// 2. A `duplicate` has come before, less than one window ago.
/// 3. At most `capacity` are remembered: 40 bytes each and 4 to 8 for the table. None is forgotten for another.
public struct Deduplicator: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// For how long the same id is the same (SQS FIFO).
    public var window = Duration.seconds(300)
    /// How many ids are remembered: 333 a second for five minutes, in 5 MB.
    public var capacity = 100_000

    public init() {}
  }

  /// What names a message: an UUID as it is, or 128 bits of a digest of a longer name (the sender and its id).
  public struct ID: Sendable, Equatable, BitwiseCopyable {
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
      self.high = high
      self.low = low
    }
  }

  public enum Answer: Sendable, Equatable {
    /// Not seen within the window; remembered from now on.
    case first
    /// The same came at `since`.
    case duplicate(since: Instant)
    /// Not seen within the window, and not remembered: there is no room until then.
    case full(until: Instant)
  }

  private struct Node: Keyed {
    var key: ID
    var at: Int64
    var chain: Int32 = -1
    var older: Int32 = -1
    var newer: Int32 = -1

    static func hash(_ key: ID) -> UInt64 { DeliveryQueue.mixed(key.high ^ DeliveryQueue.mixed(key.low)) }
  }

  public let settings: Settings
  private let window: Int64
  private var nodes = KeyedSlab<Node>()
  private var oldest: Int32 = -1
  private var newest: Int32 = -1

  public init(_ settings: Settings = Settings()) {
    self.settings = settings
    window = max(0, settings.window.inNanoseconds)
  }

  /// How many are remembered, those included whose window is over and who were not come across yet.
  public var count: Int { nodes.count }

  /// Whether a message is new; if so it is remembered.
  public mutating func admit(_ id: ID, now: Instant) -> Answer {
    // Two for each that comes: what is over goes sooner than new ones come, and no call pays for a silence before it.
    for _ in 0..<2 { forgetOldest(now: now) }
    let index = nodes.find(id)
    if index >= 0 {
      if !isOver(index, now: now) { return .duplicate(since: Instant(nanoseconds: nodes[index].at)) }
      remove(index)
    }
    if nodes.count >= settings.capacity {
      let until = oldest < 0 ? .max : nodes[oldest].at
      return .full(until: Instant(nanoseconds: until).advanced(by: window))
    }
    append(id, now: now)
    return .first
  }

  /// Whether a message with this id came within the window; nothing is remembered.
  public func contains(_ id: ID, now: Instant) -> Bool {
    let index = nodes.find(id)
    return index >= 0 && !isOver(index, now: now)
  }

  /// Its work has failed: the next with this id is the first again.
  public mutating func forget(_ id: ID) {
    let index = nodes.find(id)
    if index >= 0 { remove(index) }
  }

  // MARK: Helpers

  private func isOver(_ index: Int32, now: Instant) -> Bool { now.nanoseconds - nodes[index].at >= window }

  private mutating func forgetOldest(now: Instant) {
    if oldest >= 0, isOver(oldest, now: now) { remove(oldest) }
  }

  private mutating func append(_ id: ID, now: Instant) {
    let index = nodes.insert(Node(key: id, at: now.nanoseconds, older: newest))
    if newest >= 0 { nodes[newest].newer = index } else { oldest = index }
    newest = index
  }

  private mutating func remove(_ index: Int32) {
    let (older, newer) = (nodes[index].older, nodes[index].newer)
    if older >= 0 { nodes[older].newer = newer } else { oldest = newer }
    if newer >= 0 { nodes[newer].older = older } else { newest = older }
    nodes.remove(index)
  }

  /// What is wrong with this state, or nil; looks at everything.
  public func violation() -> String? {
    var seen = 0
    var index = oldest
    var older: Int32 = -1
    while index >= 0 {
      seen += 1
      if seen > nodes.count { return "the list is a ring" }
      let node = nodes[index]
      if node.older != older { return "an id does not know who came before it" }
      if older >= 0, nodes[older].at > node.at { return "the list is not by age" }
      if nodes.find(node.key) != index { return "an id is not found" }
      older = index
      index = node.newer
    }
    if newest != older { return "the newest is not the end of the list" }
    if seen != nodes.count { return "\(seen) are in the list, \(nodes.count) are remembered" }
    return seen > max(0, settings.capacity) ? "\(seen) are remembered" : nil
  }
}
