// SPDX-License-Identifier: Apache-2.0

/// As many elements as it was made of, in storage that is shared until somebody writes: an array that can be asked once.
///
/// An input of a flow writes to its callee in thirty places. An array asks at each of them whether it is shared and whether
/// the index is within; a shelf is asked once an input (``address(of:)``), and the input works on the answer.
///
/// ## Invariants
/// 1. The storage owns `count` initialised elements; nobody writes to a storage that two shelves refer to.
/// 2. An address is good until the shelf is copied or written otherwise: an input takes it when it begins and has forgotten
///    it when it ends, and nobody copies a loop's state in between.
public struct Shelf<Element: Sendable>: Sendable {
  @usableFromInline
  final class Storage: Sendable {
    /// Where the elements lie, as a number: what keeps two threads apart is that a shelf copies before it writes to a
    /// storage that another one has too, as an array does.
    @usableFromInline let address: UInt
    @usableFromInline let count: Int

    @inlinable
    @inline(__always)
    var base: UnsafeMutablePointer<Element> {
      // The address of an allocation is not zero.
      unsafe UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
    }

    init(count: Int, _ element: (Int) -> Element) {
      let base = UnsafeMutablePointer<Element>.allocate(capacity: Swift.max(1, count))
      for i in 0..<count { unsafe (base + i).initialize(to: element(i)) }
      address = UInt(bitPattern: base)
      self.count = count
    }

    deinit {
      unsafe base.deinitialize(count: count)
      unsafe base.deallocate()
    }
  }

  @usableFromInline var storage: Storage

  init(_ elements: [Element]) { storage = Storage(count: elements.count) { elements[$0] } }

  /// Where an element lies, for writing.
  @inlinable
  @inline(__always)
  mutating func address(of index: Int) -> UnsafeMutablePointer<Element> {
    precondition(index >= 0 && index < storage.count, "an element of the shelf")
    if !isKnownUniquelyReferenced(&storage) { copy() }
    return unsafe storage.base + index
  }

  @usableFromInline
  @inline(never)
  mutating func copy() {
    let old = storage
    storage = Storage(count: old.count) { unsafe old.base[$0] }
  }
}

extension Shelf: RandomAccessCollection {
  @inlinable
  public var startIndex: Int { 0 }
  @inlinable
  public var endIndex: Int { storage.count }

  @inlinable
  public subscript(_ index: Int) -> Element {
    @inline(__always)
    _read {
      precondition(index >= 0 && index < storage.count, "an element of the shelf")
      yield unsafe storage.base[index]
    }
    @inline(__always)
    _modify { yield unsafe &address(of: index).pointee }
  }
}

extension Shelf: Equatable where Element: Equatable {
  public static func == (a: Shelf, b: Shelf) -> Bool { a.elementsEqual(b) }
}
