// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Lets so many work at the same time, the important first; under overload the unimportant are told no, and soon.
///
/// ``AtOnce`` with three classes. Source: *Site Reliability Engineering* (2016), ch. 21, *Criticality*; Maurer, *Fail at
/// Scale*, ACM Queue 13(8) (2015), for the newest first once a queue stands: who came last still has somebody waiting
/// for the answer, who came first has mostly gone. RFC 8289 for the order `codel`.
///
///     acquire ──a place of its class free──▶ enter ──release──▶ next: critical, then normal, then low
///        └─▶ waits ──time over──▶ leaves                              │ calm: oldest first
///              └─ full: pushes out the lowest class, or is refused    └ crowded: newest first
///
/// The last places are kept: low requests take at most `low` of them, normal ones `normal`, so that a critical one
/// finds one free. A class is *crowded* when its queue has not been empty for `crowdedAfter`; there is *overload* when one
/// has not been empty for `overloadedAfter`, and until nobody has been refused for as long: then normal and low requests
/// that have waited for `patience` are dropped, so that what is admitted is answered soon. (Dropping after 100 ms was
/// tried: it refuses at 60 % load, where a queue stands that long by chance.)
///
/// ## Invariants
/// 1. At most `limit` are inside, at most `places(for:)` when one of that class enters.
/// 2. At most `length` wait, all classes together; nobody is pushed out by one of a lower class.
/// 3. Who waits is given a place, pushed out, dropped, leaves, or is past its time: exactly one of them.
/// 4. A place given back goes to a waiter of the highest class that may take it, or is free.
public struct PriorityAdmission: Sendable, Equatable {
  /// How much a request matters; `low` is what can be made again or left out.
  public enum Class: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable { case critical, normal, low }

  /// Who of a class goes first.
  public enum Order: UInt8, Sendable, Equatable, BitwiseCopyable {
    /// The oldest; the newest while crowded.
    case adaptive
    /// The oldest.
    case oldest
    /// The oldest, with drops by ``ControlledDelay``.
    case codel
  }

  public struct Settings: Sendable, Equatable {
    /// How many are inside at the same time, as for ``AtOnce``.
    public var limit = 64
    /// The share of the places that normal and low requests together may take.
    ///
    /// The last twentieth is for critical ones; an adaptive limit lies a quarter above what the callee needs to be busy,
    /// so what is kept free costs nothing.
    public var normal = 0.95
    /// The share of the places that low requests may take beside the others: 0.85 of 1.25 is still all of the callee.
    public var low = 0.85
    /// Who waits when all places are taken, all classes together.
    public var queue = WaitingRoom.Settings()
    /// Who of a class goes first.
    public var order = Order.adaptive
    /// A queue that has not been empty for so long is not a burst: 100 ms, Maurer's *N*.
    public var crowdedAfter = Duration.milliseconds(100)
    /// A queue that has not been empty for so long is overload: one second, the window of DAGOR (Zhou et al., SoCC 2018).
    ///
    /// At 60 % load no queue of four or more places of 10 ms stands that long in 30 minutes.
    public var overloadedAfter = Duration.seconds(1)
    /// The longest wait of normal and low requests under overload: 20 ms, DAGOR's threshold.
    ///
    /// With an adaptive limit better half of what the work takes, see `adapt`.
    public var patience = Duration.milliseconds(20)
    /// For the order `codel`.
    public var codel = ControlledDelay.Settings()

    public init() {}
  }

  public enum Answer: Sendable, Equatable {
    /// It is inside; `release` when it is done.
    case enter
    /// It waits; a `Turn` hands it a place, or its owner wakes it at `until` and lets it `leave`.
    ///
    /// `pushedOut` waited until now and does no longer: its owner refuses it.
    case waits(until: Instant, pushedOut: Slot?)
    /// Neither a place nor room to wait.
    case full
  }

  public enum Turn: Sendable, Equatable {
    /// Nobody waits who may enter.
    case nobody
    /// It is inside now.
    case enters(Slot)
    /// It has waited too long while others come, and is refused; ask `next` again.
    case drops(Slot)
  }

  /// How many may be inside; a lower limit throws nobody out.
  public var limit: Int { didSet { setPlaces() } }
  /// How many are inside.
  public private(set) var inside = 0

  private let order: Order
  private let normal: Double
  private let low: Double
  private let crowdedAfter: Int64
  private let overloadedAfter: Int64
  private var patience: Int64
  /// Overload lasts until then at least.
  private var overloadedUntil = Instant.zero
  private var places = FixedArray<3, Int>(repeating: 1)
  private var rooms: FixedArray<3, WaitingRoom>
  private var delays: FixedArray<3, ControlledDelay>
  /// When each class's queue was last seen empty.
  private var emptyAt = FixedArray<3, Instant>(repeating: .zero)

  public init(_ settings: Settings = Settings()) {
    limit = settings.limit
    order = settings.order
    normal = max(0, min(settings.normal, 1))
    low = max(0, min(settings.low, normal))
    crowdedAfter = max(0, settings.crowdedAfter.inNanoseconds)
    overloadedAfter = max(0, settings.overloadedAfter.inNanoseconds)
    patience = max(0, settings.patience.inNanoseconds)
    rooms = FixedArray(repeating: WaitingRoom(settings.queue))
    delays = FixedArray(repeating: ControlledDelay(settings.codel))
    setPlaces()
  }

  /// How many wait.
  ///
  /// Those whose time is over count until they leave or are come across.
  public var waiting: Int { rooms[0].count + rooms[1].count + rooms[2].count }

  /// How many of a class wait.
  public func waiting(_ rank: Class) -> Int { rooms[Int(rank.rawValue)].count }

  /// How many may be inside when one of the class enters: at least one, and shares are rounded up.
  public func places(for rank: Class) -> Int { places[Int(rank.rawValue)] }

  /// True while the queue of a class has not been empty for `crowdedAfter`.
  public func isCrowded(_ rank: Class, now: Instant) -> Bool {
    let index = Int(rank.rawValue)
    return rooms[index].count > 0 && now.since(emptyAt[index]) >= crowdedAfter
  }

  /// True while requests that have waited for long are dropped.
  public func isOverloaded(now: Instant) -> Bool { now < overloadedUntil }

  /// Takes over what an ``AdaptiveLimit`` has found; ask `next` afterwards, until the answer is `nobody`.
  ///
  /// Half of the work's time as patience: with a quarter that the callee's own queue takes, an answer is there within
  /// 1.75 times the work.
  public mutating func adapt(to limit: AdaptiveLimit) {
    self.limit = limit.limit
    if limit.service > 0 { patience = Int64(min(limit.service / 2, 1e18)) }
  }

  /// Asks for a place for `slot`, which waits for it until `deadline` at most.
  public mutating func acquire(_ slot: Slot, _ rank: Class, now: Instant, deadline: Instant) -> Answer {
    let index = Int(rank.rawValue)
    // A place may be free while those are still here whose time is over.
    if inside < places[index] { for each in 0...index { rooms[each].forgetExpired(now: now) } }
    if rooms[index].count == 0 {
      emptyAt[index] = now
      if inside < places[index], nobodyBefore(index) {
        inside += 1
        return .enter
      }
    }
    // One whose time is over pushes nobody out.
    if deadline <= now { return .waits(until: deadline, pushedOut: nil) }
    var pushedOut: Slot?
    if waiting >= rooms[0].length {
      for each in rooms.indices { rooms[each].forgetExpired(now: now) }
      if waiting >= rooms[0].length {
        guard let victim = victim(for: rank, now: now) else { return .full }
        rooms[victim.index].leave(victim.slot)
        pushedOut = victim.slot
      }
    }
    switch rooms[index].offer(slot, now: now, deadline: deadline) {
    case .waits(let until): return .waits(until: until, pushedOut: pushedOut)
    case .full: return .full
    }
  }

  /// Gives a place back; the answer is who has it now.
  public mutating func release(now: Instant) -> Turn {
    precondition(inside > 0, "a place is given back once")
    inside -= 1
    return next(now: now)
  }

  /// Lets the next one in if a place is free: after a drop, after `limit` was raised, until the answer is `nobody`.
  public mutating func next(now: Instant) -> Turn {
    if order == .adaptive, let slot = takeStale(now: now) { return .drops(slot) }
    for index in rooms.indices {
      while inside < places[index], let first = rooms[index].first {
        if order == .adaptive, now.since(emptyAt[index]) >= crowdedAfter {
          if let slot = rooms[index].takeNewest(now: now) { return enter(slot) }
          break
        }
        let isLast = rooms[index].count == 1
        // Those whose time is over are dropped on the way: then the first is not who was seen above.
        guard let slot = rooms[index].take(now: now) else { break }
        let wait = slot == first.slot ? now.since(first.since) : 0
        if order == .codel, delays[index].drops(wait: wait, isLast: isLast, now: now) { return .drops(slot) }
        return enter(slot)
      }
      if rooms[index].count == 0 { emptyAt[index] = now }
    }
    return .nobody
  }

  /// Under overload the oldest normal or low one that has waited for too long.
  private mutating func takeStale(now: Instant) -> Slot? {
    for index in 1..<rooms.indices.upperBound {
      guard let first = rooms[index].first else { continue }
      if now.since(emptyAt[index]) >= overloadedAfter { overloadedUntil = now.advanced(by: overloadedAfter) }
      guard now < overloadedUntil, now.since(first.since) >= patience else { continue }
      rooms[index].leave(first.slot)
      overloadedUntil = now.advanced(by: overloadedAfter)
      return first.slot
    }
    return nil
  }

  /// Forgets `slot`, which gave up waiting; nothing happens if it does not wait.
  public mutating func leave(_ slot: Slot) {
    for index in rooms.indices where rooms[index].contains(slot) { return rooms[index].leave(slot) }
  }

  // MARK: Helpers

  private mutating func enter(_ slot: Slot) -> Turn {
    inside += 1
    return .enters(slot)
  }

  private func nobodyBefore(_ index: Int) -> Bool {
    for each in 0..<index where rooms[each].count > 0 { return false }
    return true
  }

  /// Who makes room for one of the class.
  ///
  /// The lowest class below it first: its newest, or its oldest when crowded, for that one is served last. Of its own
  /// class only when crowded and the newest go first: then the oldest is the one that is served last.
  private func victim(for rank: Class, now: Instant) -> (index: Int, slot: Slot)? {
    var index = rooms.indices.upperBound - 1
    while index > Int(rank.rawValue) {
      if rooms[index].count > 0 {
        let isCrowded = order == .adaptive && now.since(emptyAt[index]) >= crowdedAfter
        if let slot = isCrowded ? rooms[index].first?.slot : rooms[index].last { return (index, slot) }
      }
      index -= 1
    }
    guard order == .adaptive, now.since(emptyAt[index]) >= crowdedAfter, let first = rooms[index].first else {
      return nil
    }
    return (index, first.slot)
  }

  private mutating func setPlaces() {
    places[0] = max(1, limit)
    places[1] = max(1, min(places[0], Int((Double(places[0]) * normal).rounded(.up))))
    places[2] = max(1, min(places[1], Int((Double(places[0]) * low).rounded(.up))))
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if inside < 0 { return "\(inside) are inside" }
    if waiting > rooms[0].length { return "\(waiting) wait where \(rooms[0].length) may" }
    if places[0] < places[1] || places[1] < places[2] || places[2] < 1 { return "a lower class has more places" }
    for index in rooms.indices {
      if let violation = rooms[index].violation() ?? delays[index].violation() { return "class \(index): \(violation)" }
    }
    return nil
  }
}
