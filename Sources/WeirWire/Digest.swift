// SPDX-License-Identifier: Apache-2.0

/// SHA-1 (FIPS 180-4 §6.1) of a short text.
///
/// Only WebSocket's handshake uses it (RFC 6455 §4.2.2), where it protects nothing: it shows that the server read the key.
enum SHA1 {
  /// The digest as five words, of at most 119 bytes: two blocks of 64, less the padding of 9.
  static func of(_ bytes: Span<UInt8>) -> InlineArray<5, UInt32> {
    precondition(bytes.count <= 119, "two blocks hold what is hashed here")
    var block = InlineArray<128, UInt8>(repeating: 0)
    for i in 0..<bytes.count { block[i] = bytes[i] }
    block[bytes.count] = 0x80
    let size = bytes.count <= 55 ? 64 : 128
    let bits = UInt64(bytes.count) * 8
    for i in 0..<8 { block[size - 1 - i] = UInt8(truncatingIfNeeded: bits >> UInt64(i * 8)) }

    var h: InlineArray<5, UInt32> = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0]
    var w = InlineArray<80, UInt32>(repeating: 0)
    for start in stride(from: 0, to: size, by: 64) {
      for i in 0..<16 {
        let at = start + i * 4
        w[i] =
          UInt32(block[at]) << 24 | UInt32(block[at + 1]) << 16 | UInt32(block[at + 2]) << 8 | UInt32(block[at + 3])
      }
      for i in 16..<80 { w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1) }
      var a = h[0]
      var b = h[1]
      var c = h[2]
      var d = h[3]
      var e = h[4]
      for i in 0..<80 {
        let f: UInt32
        let k: UInt32
        switch i {
        case 0..<20: (f, k) = (b & c | ~b & d, 0x5a82_7999)
        case 20..<40: (f, k) = (b ^ c ^ d, 0x6ed9_eba1)
        case 40..<60: (f, k) = (b & c | b & d | c & d, 0x8f1b_bcdc)
        default: (f, k) = (b ^ c ^ d, 0xca62_c1d6)
        }
        let next = rotate(a, 5) &+ f &+ e &+ k &+ w[i]
        e = d
        d = c
        c = rotate(b, 30)
        b = a
        a = next
      }
      h[0] &+= a
      h[1] &+= b
      h[2] &+= c
      h[3] &+= d
      h[4] &+= e
    }
    return h
  }

  private static func rotate(_ x: UInt32, _ by: UInt32) -> UInt32 { x << by | x >> (32 - by) }
}

/// CRC-32C (Castagnoli; RFC 3720 appendix B.4), a bit at a time: for a header of a connection, not for bodies.
struct CRC32C {
  private var state: UInt32 = 0xffff_ffff

  mutating func add(_ byte: UInt8) {
    state ^= UInt32(byte)
    for _ in 0..<8 { state = state >> 1 ^ (state & 1 == 1 ? 0x82f6_3b78 : 0) }
  }

  var value: UInt32 { ~state }
}

/// Base64 (RFC 4648 §4), read strictly: one text for one value.
///
/// Refused: other alphabets, white space, missing or surplus padding, bits after the last byte that are not 0 (§3.5).
public enum Base64 {
  /// Appends what the text means; false, and nothing appended, when it is not canonical base64.
  public static func decode(_ bytes: Span<UInt8>, _ range: Range<Int>, into out: inout HeadBuffer) -> Bool {
    let mark = out.count
    if decoded(bytes, range, &out) { return true }
    out.truncate(to: mark)
    return false
  }

  private static func decoded(_ bytes: Span<UInt8>, _ range: Range<Int>, _ out: inout HeadBuffer) -> Bool {
    guard range.count % 4 == 0 else { return false }
    var at = range.lowerBound
    while at < range.upperBound {
      var word: UInt32 = 0
      var count = 0
      while count < 4 {
        let value = Base64.value(bytes[at + count])
        if value == 255 { break }
        word = word << 6 | UInt32(value)
        count += 1
      }
      if count < 4 {
        // Padding stands only at the end.
        guard at + 4 == range.upperBound, count >= 2, bytes[at + 3] == 0x3d else { return false }
        if count == 2 {
          guard bytes[at + 2] == 0x3d, word & 15 == 0 else { return false }
          out.append(byte: UInt8(truncatingIfNeeded: word >> 4))
        } else {
          guard word & 3 == 0 else { return false }
          out.append(byte: UInt8(truncatingIfNeeded: word >> 10))
          out.append(byte: UInt8(truncatingIfNeeded: word >> 2))
        }
        return true
      }
      out.append(byte: UInt8(truncatingIfNeeded: word >> 16))
      out.append(byte: UInt8(truncatingIfNeeded: word >> 8))
      out.append(byte: UInt8(truncatingIfNeeded: word))
      at += 4
    }
    return true
  }

  /// The letter of six bits.
  static func letter(_ value: UInt32) -> UInt8 {
    let v = UInt8(truncatingIfNeeded: value & 63)
    switch v {
    case 0..<26: return 0x41 + v
    case 26..<52: return 0x61 + v - 26
    case 52..<62: return 0x30 + v - 52
    case 62: return 0x2b
    default: return 0x2f
    }
  }

  static func value(_ byte: UInt8) -> UInt8 {
    switch byte {
    case 0x41...0x5a: byte - 0x41
    case 0x61...0x7a: byte - 0x61 + 26
    case 0x30...0x39: byte - 0x30 + 52
    case 0x2b: 62
    case 0x2f: 63
    default: 255
    }
  }
}
