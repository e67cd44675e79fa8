// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Lets so many work at the same time and a few more wait for a place: the bulkhead.
///
/// Source: Nygard, *Release It!*, 2nd ed. (2018), ch. 5, *Bulkheads*. By Little's law `limit` places and a mean of
/// `w` seconds of work serve limit ÷ w requests a second; whatever comes above that must wait or be told no.
///
///     acquire ──place free──▶ enter ──release──▶ the place goes to the oldest who waits
///        └─all taken──▶ waits(until) ──time over──▶ leaves    └─queue full──▶ full
///
/// ## Invariants
/// 1. At most `limit` are inside (more only after `limit` was lowered, until they have left).
/// 2. Nobody overtakes: while someone waits, a free place goes to the one who came first.
/// 3. A place that is given back is never lost: it goes to a waiter or is free.
public struct AtOnce: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// How many are inside at the same time.
    ///
    /// 64 is what `examples` and `FILE.md` give a service; resilience4j's semaphore bulkhead has 25, Hystrix 10, both
    /// for one dependency of one process.
    public var limit = 64
    /// Who waits when all places are taken.
    public var queue = WaitingRoom.Settings()

    public init() {}
  }

  public enum Answer: Sendable, Equatable {
    /// It is inside; `release` when it is done.
    case enter
    /// It waits; `release` of another hands it a place, or its owner wakes it at `until` and lets it `leave`.
    case waits(until: Instant)
    /// Neither a place nor room to wait.
    case full
  }

  /// How many may be inside; a lower limit throws nobody out.
  public var limit: Int
  /// How many are inside.
  public private(set) var inside = 0
  private var room: WaitingRoom

  public init(_ settings: Settings = Settings()) {
    limit = max(1, settings.limit)
    room = WaitingRoom(settings.queue)
  }

  /// How many wait.
  public var waiting: Int { room.count }

  /// Asks for a place for `slot`, which waits for it until `deadline` at most.
  public mutating func acquire(_ slot: Slot, now: Instant, deadline: Instant) -> Answer {
    if inside < limit, room.count == 0 {
      inside += 1
      return .enter
    }
    switch room.offer(slot, now: now, deadline: deadline) {
    case .waits(let until): return .waits(until: until)
    case .full: return .full
    }
  }

  /// Gives a place back.
  ///
  /// The answer is who has it now, if somebody waits: it is inside already.
  public mutating func release(now: Instant) -> Slot? {
    precondition(inside > 0, "a place is given back once")
    inside -= 1
    return next(now: now)
  }

  /// Lets the next one in if a place is free: after `limit` was raised, or when the oldest waiters may have expired.
  public mutating func next(now: Instant) -> Slot? {
    guard inside < limit, let slot = room.take(now: now) else { return nil }
    inside += 1
    return slot
  }

  /// Forgets `slot`, which gave up waiting; nothing happens if it does not wait.
  public mutating func leave(_ slot: Slot) { room.leave(slot) }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if inside < 0 { return "\(inside) are inside" }
    return room.violation()
  }
}
