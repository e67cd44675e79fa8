// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Who waits for a place, in the order they came, each no longer than its own time: the queue of *at-once*.
///
/// Source: Nygard, *Release It!*, 2nd ed. (2018), ch. 5, *Bulkheads* and *Unbounded Result Sets*: a queue in front of a
/// bounded resource must be bounded itself, in length and in time, or it only moves the overload.
///
///     offer ──▶ [ newest … oldest ] ──take──▶ goes on
///       │full          │leave (gave up)   └─time over: dropped, its owner wakes by itself
///
/// The owner of a slot keeps its own timer for `until`: the room never wakes anybody. Who gives up says `leave`, which
/// frees the place at once. A ring that forgets lazily was tried first: it stays full of people who have gone while
/// the head still waits. So this is a doubly linked list over one flat array, found by slot through a small hash.
///
/// ## Invariants
/// 1. At most `length` wait; memory is allocated once, in `init`.
/// 2. `take` gives out slots in the order of `offer`, `takeNewest` in the opposite one; neither gives out one whose time
///    is over or one that left.
/// 3. A slot is given out or dropped at most once; `leave` of a slot that is not here changes nothing.
public struct WaitingRoom: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// How many may wait at the same time.
    ///
    /// 128: with 16 places and 10 ms of work the last one waits 80 ms, which is below every sensible timeout;
    /// resilience4j's thread-pool bulkhead allows 100, Envoy's pending requests 1024.
    public var length = 128
    /// The longest wait.
    ///
    /// One second: a fifth of the default request timeout of 5 s, so what was let in can still end.
    public var wait = Duration.seconds(1)

    public init() {}
  }

  public enum Answer: Sendable, Equatable {
    /// It waits; its owner wakes it at `until` and lets it `leave`, unless `take` gave it out before.
    case waits(until: Instant)
    /// No place in the queue either (or queueing is switched off by a length or wait of 0).
    case full
  }

  private struct Entry: Sendable, Equatable, BitwiseCopyable {
    var slot = Slot.none
    var until: Int64 = 0
    /// When it came.
    var since: Int64 = 0
    /// Towards the newest; in the free list, the next free entry.
    var next: Int32 = -1
    /// Towards the oldest.
    var previous: Int32 = -1
    /// The next entry in the same bucket of the hash.
    var chain: Int32 = -1
  }

  /// How many wait.
  ///
  /// Those whose time is over count until they leave or `take` comes across them.
  public private(set) var count = 0

  private let wait: Int64
  private var entries: [Entry]
  private var buckets: [Int32]
  private var oldest: Int32 = -1
  private var newest: Int32 = -1
  private var free: Int32 = -1

  public init(_ settings: Settings = Settings()) {
    let length = max(0, min(settings.length, 1 << 24))
    wait = max(0, settings.wait.inNanoseconds)
    entries = [Entry](repeating: Entry(), count: length)
    var bucketCount = 1
    while bucketCount < length { bucketCount <<= 1 }
    buckets = [Int32](repeating: -1, count: bucketCount)
    for index in stride(from: length - 1, through: 0, by: -1) {
      entries[index].next = free
      free = Int32(index)
    }
  }

  /// How many may wait at the same time.
  public var length: Int { entries.count }

  /// Lets `slot` wait, at most until `deadline` and for the longest wait; a slot waits in one place at a time.
  ///
  /// A deadline that is over already takes no place: the answer is `waits` until that point, so the owner wakes at once
  /// and reports the deadline, not a full queue.
  public mutating func offer(_ slot: Slot, now: Instant, deadline: Instant) -> Answer {
    if wait == 0 || entries.isEmpty { return .full }
    if deadline <= now { return .waits(until: deadline) }
    if free < 0 { forgetExpired(now: now) }
    if free < 0 { return .full }
    precondition(find(slot) < 0, "a slot waits once")
    let until = min(now.advanced(by: wait), deadline)
    let index = free
    free = entries[Int(index)].next
    let bucket = bucket(of: slot)
    entries[Int(index)] = Entry(
      slot: slot, until: until.nanoseconds, since: now.nanoseconds, next: -1, previous: newest, chain: buckets[bucket])
    buckets[bucket] = index
    if newest >= 0 { entries[Int(newest)].next = index } else { oldest = index }
    newest = index
    count += 1
    return .waits(until: until)
  }

  /// The next whose time is not over, in the order they came; the others on the way are dropped.
  public mutating func take(now: Instant) -> Slot? {
    while oldest >= 0 {
      let entry = entries[Int(oldest)]
      remove(oldest)
      if entry.until > now.nanoseconds { return entry.slot }
    }
    return nil
  }

  /// The newest whose time is not over; newer ones whose time is over are dropped on the way.
  public mutating func takeNewest(now: Instant) -> Slot? {
    while newest >= 0 {
      let entry = entries[Int(newest)]
      remove(newest)
      if entry.until > now.nanoseconds { return entry.slot }
    }
    return nil
  }

  /// Who came first of those here, and when, whether or not its time is over.
  public var first: (slot: Slot, since: Instant)? {
    guard oldest >= 0 else { return nil }
    let entry = entries[Int(oldest)]
    return (entry.slot, Instant(nanoseconds: entry.since))
  }

  /// Who came last of those here.
  public var last: Slot? { newest < 0 ? nil : entries[Int(newest)].slot }

  /// Forgets `slot`, which gave up or was woken by its own timer; nothing happens if it does not wait here.
  public mutating func leave(_ slot: Slot) {
    let index = find(slot)
    if index >= 0 { remove(index) }
  }

  /// True while `slot` waits here.
  public func contains(_ slot: Slot) -> Bool { find(slot) >= 0 }

  /// Drops those at the front whose time is over, whose owners have not said so yet.
  public mutating func forgetExpired(now: Instant) {
    while oldest >= 0, entries[Int(oldest)].until <= now.nanoseconds { remove(oldest) }
  }

  // MARK: Helpers

  private func bucket(of slot: Slot) -> Int {
    // Fibonacci hashing (Knuth, TAOCP vol. 3, §6.4): slots are dense, so the multiplication spreads them evenly.
    let key = UInt64(slot.index) | UInt64(slot.generation) << 32
    return Int((key &* 0x9e37_79b9_7f4a_7c15) >> 32) & (buckets.count - 1)
  }

  private func find(_ slot: Slot) -> Int32 {
    var index = buckets[bucket(of: slot)]
    while index >= 0, entries[Int(index)].slot != slot { index = entries[Int(index)].chain }
    return index
  }

  private mutating func remove(_ index: Int32) {
    let entry = entries[Int(index)]
    if entry.previous >= 0 {
      entries[Int(entry.previous)].next = entry.next
    } else {
      oldest = entry.next
    }
    if entry.next >= 0 {
      entries[Int(entry.next)].previous = entry.previous
    } else {
      newest = entry.previous
    }
    let bucket = bucket(of: entry.slot)
    if buckets[bucket] == index {
      buckets[bucket] = entry.chain
    } else {
      var other = buckets[bucket]
      while entries[Int(other)].chain != index { other = entries[Int(other)].chain }
      entries[Int(other)].chain = entry.chain
    }
    entries[Int(index)] = Entry()
    entries[Int(index)].next = free
    free = index
    count -= 1
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    var seen = 0
    var previous: Int32 = -1
    var index = oldest
    while index >= 0 {
      seen += 1
      if seen > entries.count { return "the list of who waits is a ring" }
      if entries[Int(index)].previous != previous {
        return "entry \(index) does not know who came before it"
      }
      if find(entries[Int(index)].slot) != index {
        return "entry \(index) is not found by its slot"
      }
      previous = index
      index = entries[Int(index)].next
    }
    if newest != previous { return "the newest is not the end of the list" }
    if seen != count { return "\(seen) are in the list, \(count) are counted" }
    var unused = 0
    index = free
    while index >= 0 {
      unused += 1
      if unused > entries.count { return "the free list is a ring" }
      index = entries[Int(index)].next
    }
    if seen + unused != entries.count {
      return "\(seen) wait and \(unused) are free of \(entries.count)"
    }
    return nil
  }
}
