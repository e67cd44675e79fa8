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
  @usableFromInline var elements: [Element] = []
  @usableFromInline var generations: [UInt32] = []
  @usableFromInline var free: [UInt32] = []

  @inlinable
  public init(reserving capacity: Int = 0) {
    elements.reserveCapacity(capacity)
    generations.reserveCapacity(capacity)
    free.reserveCapacity(capacity)
  }

  /// How many are live.
  @inlinable
  public var count: Int { elements.count - free.count }

  @inlinable
  public mutating func insert(_ element: Element) -> Slot {
    if let index = free.popLast() {
      elements[Int(index)] = element
      return Slot(index: index, generation: generations[Int(index)])
    }
    elements.append(element)
    generations.append(0)
    return Slot(index: UInt32(elements.count - 1), generation: 0)
  }

  @inlinable
  public func isLive(_ slot: Slot) -> Bool {
    Int(slot.index) < generations.count && generations[Int(slot.index)] == slot.generation
  }

  /// Gives the place back; the element stays in memory until the place is used again.
  @inlinable
  public mutating func remove(_ slot: Slot) {
    precondition(isLive(slot), "a slot is removed once")
    generations[Int(slot.index)] &+= 1
    free.append(slot.index)
  }

  /// The element at a live slot, in place.
  @inlinable
  public subscript(_ slot: Slot) -> Element {
    _read {
      precondition(isLive(slot), "a stale slot is not followed")
      yield elements[Int(slot.index)]
    }
    _modify {
      precondition(isLive(slot), "a stale slot is not followed")
      yield &elements[Int(slot.index)]
    }
  }
}
