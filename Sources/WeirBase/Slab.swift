// SPDX-License-Identifier: Apache-2.0

/// A place in a slab, and which tenant of the place is meant: a stale slot is recognised, not followed.
public struct Slot: Sendable, Hashable, BitwiseCopyable {
  public var index: UInt32
  public var generation: UInt32

  public init(index: UInt32, generation: UInt32) {
    self.index = index
    self.generation = generation
  }

  /// A slot that no slab gives out.
  public static var none: Slot { Slot(index: .max, generation: .max) }
}

/// Values at stable places, without an allocation a value: freed places are used again, under a new generation.
///
/// ## Invariants
/// 1. A slot is live from `insert` until its `remove`; after that ``isLive(_:)`` is false for good (2³² reuses later a
///    generation repeats: at 10⁶ reuses a second of one place that is over an hour, longer than any timer of ours).
/// 2. `count` places are live; the rest is on the free list, last in first out, so hot memory stays hot.
public struct Slab<Element: Sendable>: Sendable {
  private var elements: [Element] = []
  private var generations: [UInt32] = []
  private var free: [UInt32] = []

  public init(reserving capacity: Int = 0) {
    elements.reserveCapacity(capacity)
    generations.reserveCapacity(capacity)
    free.reserveCapacity(capacity)
  }

  /// How many are live.
  public var count: Int { elements.count - free.count }

  public mutating func insert(_ element: Element) -> Slot {
    if let index = free.popLast() {
      elements[Int(index)] = element
      return Slot(index: index, generation: generations[Int(index)])
    }
    elements.append(element)
    generations.append(0)
    return Slot(index: UInt32(elements.count - 1), generation: 0)
  }

  public func isLive(_ slot: Slot) -> Bool {
    Int(slot.index) < generations.count && generations[Int(slot.index)] == slot.generation
  }

  /// Gives the place back; the element stays in memory until the place is used again.
  public mutating func remove(_ slot: Slot) {
    precondition(isLive(slot), "a slot is removed once")
    generations[Int(slot.index)] &+= 1
    free.append(slot.index)
  }

  /// The element at a live slot, in place.
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
