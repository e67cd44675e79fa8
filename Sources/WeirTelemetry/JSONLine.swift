// SPDX-License-Identifier: Apache-2.0

/// One JSON object on one line, built field by field in the order given.
///
/// For log lines, where an encoder's dictionary and reflection would cost more than the request they tell of; documents
/// that a person asks for are encoded with `JSONEncoder`.
package struct JSONLine {
  package private(set) var bytes: [UInt8] = [0x7b]

  package init() { bytes.reserveCapacity(512) }

  package mutating func field(_ name: StaticString, _ value: String) {
    key(name)
    string(value)
  }

  package mutating func field(_ name: StaticString, _ value: StaticString) {
    key(name)
    string(value.description)
  }

  package mutating func field(_ name: StaticString, _ value: Int) {
    key(name)
    bytes.append(contentsOf: String(value).utf8)
  }

  package mutating func field(_ name: StaticString, _ value: Bool) {
    key(name)
    bytes.append(contentsOf: (value ? "true" : "false").utf8)
  }

  /// Milliseconds with three decimals of a length in nanoseconds.
  package mutating func field(_ name: StaticString, milliseconds nanoseconds: Int64) {
    key(name)
    let microseconds = max(0, nanoseconds) / 1000
    let fraction = String(microseconds % 1000)
    bytes.append(contentsOf: String(microseconds / 1000).utf8)
    bytes.append(0x2e)
    for _ in fraction.utf8.count..<3 { bytes.append(0x30) }
    bytes.append(contentsOf: fraction.utf8)
  }

  /// The line with its closing brace and line feed.
  package func finished() -> [UInt8] { bytes + [0x7d, 0x0a] }

  private mutating func key(_ name: StaticString) {
    if bytes.count > 1 { bytes.append(0x2c) }
    string(name.description)
    bytes.append(0x3a)
  }

  private mutating func string(_ value: String) {
    bytes.append(0x22)
    for byte in value.utf8 {
      switch byte {
      case 0x22, 0x5c:
        bytes.append(0x5c)
        bytes.append(byte)
      case 0x0a: bytes.append(contentsOf: [0x5c, 0x6e])
      case 0x0d: bytes.append(contentsOf: [0x5c, 0x72])
      case 0x09: bytes.append(contentsOf: [0x5c, 0x74])
      case 0..<0x20, 0x7f:
        let digits = Array("0123456789abcdef".utf8)
        bytes.append(contentsOf: [0x5c, 0x75, 0x30, 0x30, digits[Int(byte >> 4)], digits[Int(byte & 15)]])
      default: bytes.append(byte)
      }
    }
    bytes.append(0x22)
  }
}
