// SPDX-License-Identifier: Apache-2.0

/// An inline array of fixed length that can be compared: `InlineArray` is not `Equatable`.
public struct FixedArray<let count: Int, Element: Sendable & Equatable>: Sendable, Equatable {
  @usableFromInline var storage: InlineArray<count, Element>

  public init(repeating element: Element) { storage = InlineArray(repeating: element) }

  @inlinable
  public subscript(_ index: Int) -> Element {
    get { storage[index] }
    // In place: a set after a get would copy an element's array.
    _modify { yield &storage[index] }
  }

  public var indices: Range<Int> { 0..<count }

  public static func == (a: FixedArray, b: FixedArray) -> Bool {
    for i in 0..<count where a.storage[i] != b.storage[i] { return false }
    return true
  }
}

extension FixedArray: BitwiseCopyable where Element: BitwiseCopyable {}
