// SPDX-License-Identifier: Apache-2.0

/// Eight bytes at a time: the only unsafe code of this target.
///
/// Each function states the bound it relies on and checks it; what reads through them is checked `Span` access.
enum Load {
  /// The eight bytes at `index`, the first in the lowest byte; bytes beyond the end read as 0.
  @inline(__always)
  static func word(_ bytes: Span<UInt8>, _ index: Int) -> UInt64 {
    if index >= 0 && index &+ 8 <= bytes.count {
      // In bounds by the line above; any alignment is allowed by `unsafeLoadUnaligned`.
      return UInt64(
        littleEndian: unsafe bytes.bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: index, as: UInt64.self))
    }
    return tail(bytes, index)
  }

  @inline(never)
  private static func tail(_ bytes: Span<UInt8>, _ index: Int) -> UInt64 {
    var word: UInt64 = 0
    var i = index
    var shift: UInt64 = 0
    while i < bytes.count && shift < 64 {
      word |= UInt64(bytes[i]) << shift
      i += 1
      shift += 8
    }
    return word
  }

  /// The byte of a text at `index`.
  @inline(__always)
  static func byte(_ text: StaticString, _ index: Int) -> UInt8 {
    precondition(index >= 0 && index < text.utf8CodeUnitCount, "a text is read within its bounds")
    // A static string's bytes live as long as the program; the bound is checked above.
    return unsafe text.utf8Start[index]
  }

  /// Writes the eight bytes of `word`, the lowest first, to `target` from `index` on; there is room for them.
  @inline(__always)
  static func store(_ word: UInt64, to target: inout [UInt8], at index: Int) {
    precondition(index >= 0 && index &+ 8 <= target.count, "a store stays in its buffer")
    unsafe target.withUnsafeMutableBytes { out in
      // In bounds by the line above; any alignment is allowed.
      unsafe out.storeBytes(of: word.littleEndian, toByteOffset: index, as: UInt64.self)
    }
  }

  /// Copies all of `source` to `target` from `index` on; there is room for it.
  @inline(__always)
  static func copy(_ source: Span<UInt8>, to target: inout [UInt8], at index: Int) {
    precondition(index >= 0 && index &+ source.count <= target.count, "a copy stays in its buffer")
    unsafe target.withUnsafeMutableBytes { out in
      unsafe source.withUnsafeBytes { bytes in
        // Both bounds are checked above; an array's own memory and a span of another never overlap.
        if let from = bytes.baseAddress, let to = out.baseAddress {
          unsafe (to + index).copyMemory(from: from, byteCount: bytes.count)
        }
      }
    }
  }

  /// Copies the text of `source` to `target` from `index` on; there is room for it.
  @inline(__always)
  static func copy(_ source: StaticString, to target: inout [UInt8], at index: Int) {
    let count = source.utf8CodeUnitCount
    precondition(index >= 0 && index &+ count <= target.count, "a copy stays in its buffer")
    unsafe target.withUnsafeMutableBytes { out in
      // A static string's bytes live as long as the program; the bound of the target is checked above.
      if let to = out.baseAddress { unsafe (to + index).copyMemory(from: source.utf8Start, byteCount: count) }
    }
  }
}
