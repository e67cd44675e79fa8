// SPDX-License-Identifier: Apache-2.0

/// The bytes of hosts and paths, in the one form in which they are compared.
///
/// Source: RFC 3986 §6.2.2: an escaped unreserved character is the same as the character, and hexadecimal digits are
/// upper case. Nothing else is decoded: `%2F` is not a slash, so a request means the same to Weir and to who answers.
enum RouteBytes {
  /// One byte of a table of 256 saves three comparisons a byte; the set is RFC 3986 §2.3.
  static func isUnreserved(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
      UInt8(ascii: "_"),
      UInt8(ascii: "~"):
      true
    default: false
    }
  }

  /// The value of a hexadecimal digit, or −1.
  static func hex(_ byte: UInt8) -> Int {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): Int(byte - UInt8(ascii: "a")) + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): Int(byte - UInt8(ascii: "A")) + 10
    default: -1
    }
  }

  static func lowered(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
  }

  static func raised(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") ? byte & ~0x20 : byte
  }

  /// A part of a path, normalised; for patterns, so it may allocate.
  static func normalised(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var index = 0
    while index < bytes.count {
      let step = next(bytes.span, index)
      if step.length == 3, step.byte == UInt8(ascii: "%") {
        result.append(step.byte)
        result.append(raised(bytes[index + 1]))
        result.append(raised(bytes[index + 2]))
      } else {
        result.append(step.byte)
      }
      index += step.length
    }
    return result
  }

  /// The normalised byte at `index` and how many bytes it takes: 3 for an escape.
  ///
  /// An escape that stays one answers `%` with length 3, and its digits count in upper case. A `%` without two digits
  /// stands for itself.
  static func next(_ bytes: Span<UInt8>, _ index: Int) -> (byte: UInt8, length: Int) {
    let byte = bytes[index]
    guard byte == UInt8(ascii: "%"), index + 2 < bytes.count else { return (byte, 1) }
    let (high, low) = (hex(bytes[index + 1]), hex(bytes[index + 2]))
    if high < 0 || low < 0 { return (byte, 1) }
    let value = UInt8(high << 4 | low)
    return (isUnreserved(value) ? value : byte, 3)
  }

  /// FNV-1a (RFC 9923), 64 bit, one byte on.
  static func mix(_ hash: UInt64, _ byte: UInt8) -> UInt64 {
    (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3
  }

  static let seed: UInt64 = 0xcbf2_9ce4_8422_2325
}
