// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirPatterns

/// Who waits along one edge: the room, and before it those who had their turn and found every place taken again.
///
/// A turn is a hint: another loop may take the place first. Whoever is turned away keeps his place in the line and the end
/// of his wait; sent to the back, he could wait for ever while others pass. On an edge with a limit of its own, calls that
/// hold one of its places stand before those that wait for one: they are what those wait for.
///
/// ## Invariants
/// 1. At most the room's length wait, both parts together.
/// 2. Nobody waits longer than his first wait allows, however often he has had a turn.
/// 3. Whoever comes back from his turn stands before all others of his rank.
public struct WaitingLine: Sendable, Equatable {
  /// What a waiting call needs.
  enum Rank: UInt8, Sendable, Equatable, BitwiseCopyable {
    /// A place on an instance only.
    case instance
    /// A place of the edge first.
    case edge
  }

  private struct Returned: Sendable, Equatable, BitwiseCopyable {
    var slot: Slot
    var rank: Rank
    var until: Instant
  }

  private var room: WaitingRoom
  private var returned: [Returned] = []
  private let wait: Int64

  init(_ settings: WaitingRoom.Settings) {
    room = WaitingRoom(settings)
    wait = max(0, settings.wait.inNanoseconds)
  }

  /// How many wait; those whose time is over count until they leave.
  public var count: Int { room.count + returned.count }

  /// How many may wait at the same time.
  public var length: Int { room.length }

  /// `until` is the end of the wait of one who had a turn already, `zero` for one who begins to wait.
  ///
  /// `isAhead`: of those who begin to wait, whoever holds a place of a limited edge goes to the front.
  mutating func offer(
    _ slot: Slot, rank: Rank, isAhead: Bool, until: Instant, now: Instant, deadline: Instant
  ) -> WaitingRoom.Answer {
    if until == .zero {
      if wait == 0 || length == 0 { return .full }
      if !returned.isEmpty && count >= length { return .full }
      if !isAhead { return room.offer(slot, now: now, deadline: deadline) }
      if count >= length { return .full }
    }
    let end = until == .zero ? min(deadline, now.advanced(by: wait)) : until
    // At the front of the rank who had a turn, at its back who begins to wait.
    let index = returned.firstIndex {
      until == .zero ? $0.rank.rawValue > rank.rawValue : $0.rank.rawValue >= rank.rawValue
    }
    returned.insert(Returned(slot: slot, rank: rank, until: end), at: index ?? returned.count)
    return .waits(until: end)
  }

  /// The next whose time is not over; the others on the way are dropped, they wake by themselves.
  @inline(__always)
  mutating func take(now: Instant) -> Slot? {
    while !returned.isEmpty {
      let first = returned.removeFirst()
      if first.until > now { return first.slot }
    }
    return room.take(now: now)
  }

  /// Forgets a slot that gave up.
  mutating func leave(_ slot: Slot) {
    if let index = returned.firstIndex(where: { $0.slot == slot }) { returned.remove(at: index) }
    room.leave(slot)
  }
}
