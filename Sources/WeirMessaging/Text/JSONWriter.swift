// SPDX-License-Identifier: Apache-2.0

/// Writes a JSON text, with members in the order in which they come.
struct JSONWriter {
  private(set) var bytes: [UInt8] = []
  private var needsComma = false

  mutating func object(_ name: String? = nil, _ content: (inout JSONWriter) -> Void) { nest(name, "{", "}", content) }
  mutating func array(_ name: String? = nil, _ content: (inout JSONWriter) -> Void) { nest(name, "[", "]", content) }

  mutating func text(_ name: String? = nil, _ value: String) {
    begin(name)
    quote(value)
  }

  mutating func number(_ name: String? = nil, _ value: some BinaryInteger) {
    begin(name)
    bytes += Array("\(value)".utf8)
  }

  mutating func bool(_ name: String? = nil, _ value: Bool) {
    begin(name)
    bytes += Array((value ? "true" : "false").utf8)
  }

  mutating func null(_ name: String? = nil) {
    begin(name)
    bytes += Array("null".utf8)
  }

  /// What is JSON already.
  mutating func raw(_ name: String? = nil, _ json: some Collection<UInt8>) {
    begin(name)
    bytes += json
  }

  /// Ends the text with a line end, for those who look at it with curl.
  mutating func finish() -> [UInt8] {
    bytes.append(0x0a)
    return bytes
  }

  private mutating func nest(
    _ name: String?, _ open: Unicode.Scalar, _ close: Unicode.Scalar, _ content: (inout JSONWriter) -> Void
  ) {
    begin(name)
    bytes.append(UInt8(ascii: open))
    needsComma = false
    content(&self)
    bytes.append(UInt8(ascii: close))
    needsComma = true
  }

  private mutating func begin(_ name: String?) {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    needsComma = true
    guard let name else { return }
    quote(name)
    bytes.append(UInt8(ascii: ":"))
  }

  private mutating func quote(_ text: String) {
    let hex = Array("0123456789abcdef".utf8)
    bytes.append(0x22)
    for byte in text.utf8 {
      switch byte {
      case 0x22, 0x5c:
        bytes.append(0x5c)
        bytes.append(byte)
      case 0x0a: bytes += [0x5c, UInt8(ascii: "n")]
      case 0x0d: bytes += [0x5c, UInt8(ascii: "r")]
      case 0x09: bytes += [0x5c, UInt8(ascii: "t")]
      case 0..<0x20, 0x7f:
        bytes += Array("\\u00".utf8)
        bytes.append(hex[Int(byte >> 4)])
        bytes.append(hex[Int(byte & 15)])
      default: bytes.append(byte)
      }
    }
    bytes.append(0x22)
  }
}
