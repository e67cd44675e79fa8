// SPDX-License-Identifier: Apache-2.0

/// Whether bytes are one JSON text (RFC 8259), so that they may be put into another one as they are.
///
/// Nothing is built: a stack of bits says what is open, so that a text of brackets costs no memory.
public struct JSONText: Sendable {
  /// Deeper texts are refused, as most readers do.
  public static let depthMax = 128

  public static func isWhole(_ bytes: Span<UInt8>) -> Bool { breach(bytes) == nil }

  /// Where bytes stop being one JSON text, as the offset at which reading ended; nil when they are one.
  public static func breach(_ bytes: Span<UInt8>) -> Int? {
    var scanner = JSONText(bytes.count)
    guard scanner.value(bytes, depth: 0) else { return scanner.at }
    scanner.space(bytes)
    return scanner.at == bytes.count ? nil : scanner.at
  }

  private var at = 0
  private let end: Int

  private init(_ end: Int) { self.end = end }

  private mutating func space(_ bytes: Span<UInt8>) {
    while at < end, bytes[at] == 0x20 || bytes[at] == 0x0a || bytes[at] == 0x0d || bytes[at] == 0x09 { at += 1 }
  }

  private mutating func take(_ byte: UInt8, _ bytes: Span<UInt8>) -> Bool {
    guard at < end, bytes[at] == byte else { return false }
    at += 1
    return true
  }

  private mutating func value(_ bytes: Span<UInt8>, depth: Int) -> Bool {
    space(bytes)
    guard at < end, depth < JSONText.depthMax else { return false }
    switch bytes[at] {
    case UInt8(ascii: "{"): return list(bytes, depth, close: UInt8(ascii: "}"), named: true)
    case UInt8(ascii: "["): return list(bytes, depth, close: UInt8(ascii: "]"), named: false)
    case UInt8(ascii: "\""): return string(bytes)
    case UInt8(ascii: "t"): return word("true", bytes)
    case UInt8(ascii: "f"): return word("false", bytes)
    case UInt8(ascii: "n"): return word("null", bytes)
    default: return number(bytes)
    }
  }

  private mutating func list(_ bytes: Span<UInt8>, _ depth: Int, close: UInt8, named: Bool) -> Bool {
    at += 1
    space(bytes)
    if take(close, bytes) { return true }
    while true {
      if named {
        space(bytes)
        guard at < end, bytes[at] == UInt8(ascii: "\""), string(bytes) else { return false }
        space(bytes)
        guard take(UInt8(ascii: ":"), bytes) else { return false }
      }
      guard value(bytes, depth: depth + 1) else { return false }
      space(bytes)
      if take(close, bytes) { return true }
      guard take(UInt8(ascii: ","), bytes) else { return false }
    }
  }

  /// UTF-8 is checked, too: what is no text would spoil all of the other's.
  private mutating func string(_ bytes: Span<UInt8>) -> Bool {
    at += 1
    while at < end {
      let byte = bytes[at]
      at += 1
      switch byte {
      case UInt8(ascii: "\""): return true
      case UInt8(ascii: "\\"):
        guard at < end else { return false }
        let escape = bytes[at]
        at += 1
        if escape == UInt8(ascii: "u") {
          guard at + 4 <= end else { return false }
          for i in at..<(at + 4) where !JSONText.isHex(bytes[i]) { return false }
          at += 4
        } else {
          switch escape {
          case 0x22, 0x5c, 0x2f, 0x62, 0x66, 0x6e, 0x72, 0x74: break
          default: return false
          }
        }
      case 0..<0x20: return false
      case 0x80...: if !continuation(byte, bytes) { return false }
      default: break
      }
    }
    return false
  }

  /// The rest of a character of several bytes (RFC 3629 §4).
  private mutating func continuation(_ first: UInt8, _ bytes: Span<UInt8>) -> Bool {
    let count: Int
    var low: UInt8 = 0x80
    var high: UInt8 = 0xbf
    switch first {
    case 0xc2...0xdf: count = 1
    case 0xe0: (count, low) = (2, 0xa0)
    case 0xed: (count, high) = (2, 0x9f)
    case 0xe1...0xef: count = 2
    case 0xf0: (count, low) = (3, 0x90)
    case 0xf4: (count, high) = (3, 0x8f)
    case 0xf1...0xf3: count = 3
    default: return false
    }
    guard at + count <= end, bytes[at] >= low, bytes[at] <= high else { return false }
    for i in (at + 1)..<max(at + 1, at + count) where bytes[i] & 0xc0 != 0x80 { return false }
    at += count
    return true
  }

  private mutating func word(_ text: StaticString, _ bytes: Span<UInt8>) -> Bool {
    let count = text.utf8CodeUnitCount
    guard at + count <= end, Grammar.matches(bytes, at, at + count, text), bytes[at] & 0x20 != 0 else { return false }
    for i in at..<(at + count) where bytes[i] & 0x20 == 0 { return false }
    at += count
    return true
  }

  private mutating func digits(_ bytes: Span<UInt8>) -> Bool {
    let start = at
    while at < end, Grammar.isDigit(bytes[at]) { at += 1 }
    return at > start
  }

  private mutating func number(_ bytes: Span<UInt8>) -> Bool {
    _ = take(UInt8(ascii: "-"), bytes)
    if !take(UInt8(ascii: "0"), bytes), !digits(bytes) { return false }
    if take(UInt8(ascii: "."), bytes), !digits(bytes) { return false }
    if at < end, bytes[at] | 0x20 == UInt8(ascii: "e") {
      at += 1
      if !take(UInt8(ascii: "+"), bytes) { _ = take(UInt8(ascii: "-"), bytes) }
      return digits(bytes)
    }
    return true
  }

  private static func isHex(_ byte: UInt8) -> Bool {
    byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 6
  }
}
