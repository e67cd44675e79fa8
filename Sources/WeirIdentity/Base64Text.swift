// SPDX-License-Identifier: Apache-2.0

/// Base64, with the alphabet for addresses (RFC 4648 §5, as RFC 7515 uses it) or the usual one; one text for one value.
package enum Base64Text {
  private static let usual = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  /// Unpadded, with `-` and `_`; nil for other letters, padding, or bits after the last byte that are not 0.
  package static func url(_ text: some Collection<UInt8>) -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(text.count * 3 / 4)
    var word: UInt32 = 0
    var bits = 0
    for byte in text {
      let value: UInt32
      switch byte {
      case 0x41...0x5a: value = UInt32(byte) - 0x41
      case 0x61...0x7a: value = UInt32(byte) - 0x61 + 26
      case 0x30...0x39: value = UInt32(byte) - 0x30 + 52
      case 0x2d: value = 62
      case 0x5f: value = 63
      default: return nil
      }
      word = word << 6 | value
      bits += 6
      if bits >= 8 {
        bits -= 8
        out.append(UInt8(truncatingIfNeeded: word >> UInt32(bits)))
        word &= (1 << UInt32(bits)) - 1
      }
    }
    // Six bits alone are no byte, and what is left over must be 0.
    return bits == 6 || word != 0 ? nil : out
  }

  /// Padded, with `+` and `/`.
  package static func usual(_ text: String) -> [UInt8]? {
    let padding = text.utf8.reversed().prefix { $0 == 0x3d }.count
    guard text.utf8.count.isMultiple(of: 4), padding <= 2 else { return nil }
    let letters = text.utf8.dropLast(padding)
    guard (padding + letters.count).isMultiple(of: 4), !letters.contains(where: { $0 == 0x2d || $0 == 0x5f }) else {
      return nil
    }
    return url(letters.map { $0 == 0x2b ? 0x2d : $0 == 0x2f ? 0x5f : $0 })
  }

  package static func encode(_ bytes: some Sequence<UInt8>, forURL: Bool = false) -> String {
    var out: [UInt8] = []
    var word: UInt32 = 0
    var bits: UInt32 = 0
    for byte in bytes {
      word = word << 8 | UInt32(byte)
      bits += 8
      while bits >= 6 {
        bits -= 6
        out.append(usual[Int(word >> bits & 63)])
      }
    }
    if bits > 0 { out.append(usual[Int(word << (6 - bits) & 63)]) }
    if forURL {
      out = out.map { $0 == 0x2b ? 0x2d : $0 == 0x2f ? 0x5f : $0 }
    } else {
      while !out.count.isMultiple(of: 4) { out.append(0x3d) }
    }
    return String(decoding: out, as: UTF8.self)
  }
}
