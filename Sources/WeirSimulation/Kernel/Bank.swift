// SPDX-License-Identifier: Apache-2.0

/// Elements at numbered places: an array for hot state, which has one owner for life.
///
/// An `Array` counts who refers to it, so each write asks first whether it is shared, and an array within an array asks
/// twice: 40 of the 88 such questions of a simulated request came from the world. A bank cannot be copied, so it is
/// never shared, and nobody asks.
///
/// ## Invariants
/// 1. `base` points to room for `capacity` elements, of which the first `count` are initialised; the bank owns them.
/// 2. A place is in 0 ..< `count`: whoever indexes sees to it, as debug builds check. Places come from the plan's dense
///    ids, and from handles and slots whose generation was looked at.
package struct Bank<Element: ~Copyable>: ~Copyable {
  private var base: UnsafeMutablePointer<Element>
  package private(set) var count = 0
  private var capacity: Int

  package init(reserving capacity: Int = 4) {
    self.capacity = max(1, capacity)
    unsafe base = .allocate(capacity: self.capacity)
  }

  deinit {
    unsafe base.deinitialize(count: count)
    unsafe base.deallocate()
  }

  @inline(__always)
  package var isEmpty: Bool { count == 0 }

  @inline(__always)
  package var indices: Range<Int> { 0..<count }

  @inline(__always)
  package subscript(_ index: Int) -> Element {
    _read {
      assert(index >= 0 && index < count, "a place of the bank")
      yield unsafe base[index]
    }
    _modify {
      assert(index >= 0 && index < count, "a place of the bank")
      yield unsafe &base[index]
    }
  }

  @inline(__always)
  package mutating func append(_ element: consuming Element) {
    if count == capacity { grow() }
    unsafe (base + count).initialize(to: element)
    count &+= 1
  }

  @inline(__always)
  package mutating func removeLast() -> Element {
    assert(count > 0, "an element to remove")
    count &-= 1
    return unsafe (base + count).move()
  }

  package mutating func removeAll() {
    unsafe base.deinitialize(count: count)
    count = 0
  }

  @inline(never)
  private mutating func grow() {
    let wider = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
    unsafe wider.moveInitialize(from: base, count: count)
    unsafe base.deallocate()
    unsafe base = wider
    capacity *= 2
  }
}

extension Bank where Element: Copyable {
  package init(_ elements: [Element]) {
    self.init(reserving: elements.count)
    for element in elements { append(element) }
  }

  package func map<T>(_ transform: (Element) -> T) -> [T] { indices.map { transform(self[$0]) } }
}
