// SPDX-License-Identifier: Apache-2.0

/// A place in a slab, and which tenant of the place is meant: a stale slot is recognised, not followed.
public struct Slot: Sendable, Hashable, BitwiseCopyable {
  public var index: UInt32
  public var generation: UInt32

  @inlinable
  public init(index: UInt32, generation: UInt32) {
    self.index = index
    self.generation = generation
  }

  /// A slot that no slab gives out.
  @inlinable
  public static var none: Slot { Slot(index: .max, generation: .max) }
}

/// Values at stable places, without an allocation a value: freed places are used again, under a new generation.
///
/// ## Invariants
/// 1. A slot is live from `insert` until its `remove`; after that ``isLive(_:)`` is false for good (2³² reuses later a
///    generation repeats: at 10⁶ reuses a second of one place that is over an hour, longer than any timer of ours).
/// 2. `count` places are live; the rest is on the free list, last in first out, so hot memory stays hot.
///
/// Inlinable: a generic type that is not specialised where it is used costs ten times as much (metadata look-ups and value
/// witnesses on every access; measured in the simulator).
public struct Slab<Element: Sendable>: Sendable {
  /// What stands beside an element, so that one look at memory answers whether a slot is live.
  @usableFromInline
  struct Place: Sendable {
    @usableFromInline var generation: UInt32
    /// While it is free: the place that was freed before it, or `UInt32.max`.
    @usableFromInline var next: UInt32
    @usableFromInline var element: Element

    @inlinable
    init(_ element: Element) {
      generation = 0
      next = .max
      self.element = element
    }
  }

  @usableFromInline var places: [Place] = []
  @usableFromInline var free = UInt32.max
  @usableFromInline var live = 0

  /// How many are live.
  @inlinable
  public var count: Int { live }

  @inlinable
  public init(reserving capacity: Int = 0) { places.reserveCapacity(capacity) }

  @inlinable
  @inline(__always)
  public mutating func insert(_ element: Element) -> Slot {
    live &+= 1
    if free != .max {
      let index = free
      free = places[Int(index)].next
      places[Int(index)].element = element
      return Slot(index: index, generation: places[Int(index)].generation)
    }
    places.append(Place(element))
    return Slot(index: UInt32(places.count - 1), generation: 0)
  }

  @inlinable
  @inline(__always)
  public func isLive(_ slot: Slot) -> Bool {
    Int(slot.index) < places.count && places[Int(slot.index)].generation == slot.generation
  }

  /// Gives the place back; the element stays in memory until the place is used again.
  @inlinable
  @inline(__always)
  public mutating func remove(_ slot: Slot) {
    precondition(isLive(slot), "a slot is removed once")
    let next = free
    places[Int(slot.index)].generation &+= 1
    places[Int(slot.index)].next = next
    free = slot.index
    live &-= 1
  }

  /// The element at a live slot, in place.
  @inlinable
  public subscript(_ slot: Slot) -> Element {
    _read {
      precondition(isLive(slot), "a stale slot is not followed")
      yield places[Int(slot.index)].element
    }
    _modify {
      precondition(isLive(slot), "a stale slot is not followed")
      yield &places[Int(slot.index)].element
    }
  }
}
