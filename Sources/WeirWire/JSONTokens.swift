// SPDX-License-Identifier: Apache-2.0

/// Steps through a text that ``JSONText`` has found whole: every value has its end, so nothing is checked again.
enum JSONTokens {
  @inline(__always)
  static func skipSpace(_ bytes: [UInt8], _ at: inout Int) {
    while at < bytes.count, bytes[at] == 0x20 || bytes[at] == 0x0a || bytes[at] == 0x0d || bytes[at] == 0x09 { at += 1 }
  }

  /// `at` stands at the quote.
  @inline(__always)
  static func skipString(_ bytes: [UInt8], _ at: inout Int) {
    at += 1
    while bytes[at] != UInt8(ascii: "\"") { at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1 }
    at += 1
  }

  /// `at` stands at the value's first byte, and ends behind its last.
  static func skipValue(_ bytes: [UInt8], _ at: inout Int) {
    var depth = 0
    repeat {
      switch bytes[at] {
      case UInt8(ascii: "\""): skipString(bytes, &at)
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        at += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        at += 1
      case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x0a, 0x0d, 0x09: at += 1
      default:
        while at < bytes.count, isOfWord(bytes[at]) { at += 1 }
      }
    } while depth > 0
  }

  /// Of a number, or of `true`, `false` and `null`.
  private static func isOfWord(_ byte: UInt8) -> Bool {
    Grammar.isDigit(byte) || byte &- 0x61 < 26 || byte == 0x2e || byte == 0x2d || byte == 0x2b || byte == 0x45
  }

  /// Whether the string between these bytes, its quotes included, means `name`.
  static func means(_ bytes: [UInt8], _ string: Range<Int>, _ name: [UInt8]) -> Bool {
    let inside = (string.lowerBound + 1)..<(string.upperBound - 1)
    if inside.count == name.count {
      var i = 0
      while i < name.count, bytes[inside.lowerBound + i] == name[i], name[i] != UInt8(ascii: "\\") { i += 1 }
      if i == name.count { return true }
    }
    // Escapes only make it longer.
    if inside.count <= name.count { return false }
    for i in inside where bytes[i] == UInt8(ascii: "\\") { return text(bytes, string) == name }
    return false
  }

  /// What the string means, in UTF-8; nil for half a surrogate pair, which is no character.
  static func text(_ bytes: [UInt8], _ string: Range<Int>) -> [UInt8]? {
    var out: [UInt8] = []
    var at = string.lowerBound + 1
    let end = string.upperBound - 1
    while at < end {
      let byte = bytes[at]
      at += 1
      guard byte == UInt8(ascii: "\\") else {
        out.append(byte)
        continue
      }
      let escape = bytes[at]
      at += 1
      switch escape {
      case UInt8(ascii: "b"): out.append(8)
      case UInt8(ascii: "f"): out.append(12)
      case UInt8(ascii: "n"): out.append(10)
      case UInt8(ascii: "r"): out.append(13)
      case UInt8(ascii: "t"): out.append(9)
      case UInt8(ascii: "u"):
        var code = hex(bytes, &at)
        if code & 0xfc00 == 0xd800 {
          guard at + 5 < string.upperBound, bytes[at] == UInt8(ascii: "\\"), bytes[at + 1] == UInt8(ascii: "u") else {
            return nil
          }
          at += 2
          let low = hex(bytes, &at)
          guard low & 0xfc00 == 0xdc00 else { return nil }
          code = 0x10000 + (code & 0x3ff) << 10 + low & 0x3ff
        }
        guard let scalar = Unicode.Scalar(code) else { return nil }
        out.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
      default: out.append(escape)
      }
    }
    return out
  }

  private static func hex(_ bytes: [UInt8], _ at: inout Int) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      code = code << 4 | UInt32(Grammar.hex(bytes[at]))
      at += 1
    }
    return code
  }

  /// Appends a text as a JSON string; what is no UTF-8 becomes U+FFFD.
  static func appendString(_ text: some Sequence<UInt8>, to out: inout [UInt8]) {
    let digits = Array("0123456789abcdef".utf8)
    out.append(0x22)
    for byte in String(decoding: Array(text), as: UTF8.self).utf8 {
      switch byte {
      case 0x22, 0x5c:
        out.append(0x5c)
        out.append(byte)
      case 0..<0x20, 0x7f:
        out.append(contentsOf: Array("\\u00".utf8))
        out.append(digits[Int(byte >> 4)])
        out.append(digits[Int(byte & 15)])
      default: out.append(byte)
      }
    }
    out.append(0x22)
  }
}
