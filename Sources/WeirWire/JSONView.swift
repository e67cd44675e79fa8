// SPDX-License-Identifier: Apache-2.0

/// A value within a JSON text that has been found whole, by where it stands.
///
/// Nothing is built of what nobody asks for, and a value that is passed on is passed on as it was written: the order of
/// members and the digits of a number stay what they were, which Foundation's reader gives up.
package struct JSONView: Sendable {
  package enum Kind: Sendable, Equatable { case object, array, string, number, bool, null }

  private let bytes: [UInt8]
  private let range: Range<Int>

  /// The text is broken at this line and column, from 1.
  package struct Broken: Error, Equatable {
    package var line: Int
    package var column: Int
  }

  package init(_ bytes: [UInt8]) throws(Broken) {
    let text = bytes
    if let at = JSONText.breach(text.span) {
      let before = bytes[..<at]
      let line = before.count { $0 == 0x0a } + 1
      let column = at - (before.lastIndex(of: 0x0a) ?? -1)
      throw Broken(line: line, column: column)
    }
    var start = 0
    JSONView.skipSpace(bytes, &start)
    var end = start
    JSONView.skipValue(bytes, &end)
    self.init(bytes, start..<end)
  }

  private init(_ bytes: [UInt8], _ range: Range<Int>) {
    self.bytes = bytes
    self.range = range
  }

  /// As it was written.
  package var raw: ArraySlice<UInt8> { bytes[range] }

  package var kind: Kind {
    switch bytes[range.lowerBound] {
    case UInt8(ascii: "{"): .object
    case UInt8(ascii: "["): .array
    case UInt8(ascii: "\""): .string
    case UInt8(ascii: "t"), UInt8(ascii: "f"): .bool
    case UInt8(ascii: "n"): .null
    default: .number
    }
  }

  package var isTrue: Bool { bytes[range.lowerBound] == UInt8(ascii: "t") }

  /// What it is called in a sentence.
  package var words: String {
    switch kind {
    case .object: "an object"
    case .array: "a list"
    case .string: "a text"
    case .number: "a number"
    case .bool: isTrue ? "true" : "false"
    case .null: "null"
    }
  }

  /// The members of an object, in their order; none of anything else.
  ///
  /// A name may stand twice.
  package var members: [(name: String, value: JSONView)] {
    guard kind == .object else { return [] }
    var found: [(name: String, value: JSONView)] = []
    var at = range.lowerBound + 1
    while true {
      JSONView.skipSpace(bytes, &at)
      if at >= range.upperBound || bytes[at] == UInt8(ascii: "}") { return found }
      let start = at
      JSONView.skipValue(bytes, &at)
      let name = JSONView(bytes, start..<at).text ?? ""
      JSONView.skipSpace(bytes, &at)
      at += 1
      found.append((name, next(&at)))
    }
  }

  /// The items of a list; none of anything else.
  package var items: [JSONView] {
    guard kind == .array else { return [] }
    var found: [JSONView] = []
    var at = range.lowerBound + 1
    while true {
      JSONView.skipSpace(bytes, &at)
      if at >= range.upperBound || bytes[at] == UInt8(ascii: "]") { return found }
      found.append(next(&at))
    }
  }

  /// What a text means; nil for anything else, and for half a surrogate pair, which is no character.
  package var text: String? {
    guard kind == .string else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(range.count)
    var at = range.lowerBound + 1
    while at < range.upperBound - 1 {
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
        var code = hex4(&at)
        if code & 0xfc00 == 0xd800 {
          guard at + 5 < range.upperBound, bytes[at] == UInt8(ascii: "\\"), bytes[at + 1] == UInt8(ascii: "u") else {
            return nil
          }
          at += 2
          let low = hex4(&at)
          guard low & 0xfc00 == 0xdc00 else { return nil }
          code = 0x10000 + (code & 0x3ff) << 10 + low & 0x3ff
        }
        guard let scalar = Unicode.Scalar(code) else { return nil }
        out += Array(String(Character(scalar)).utf8)
      default: out.append(escape)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// A number without fraction and exponent; nil for anything else.
  package var integer: Int64? {
    kind == .number ? Int64(String(decoding: raw, as: UTF8.self)) : nil
  }

  /// A text, a number or a truth value as text.
  package var scalar: String? {
    switch kind {
    case .string: text
    case .number, .bool: String(decoding: raw, as: UTF8.self)
    case .object, .array, .null: nil
    }
  }

  /// The member of this name; where there is none and the name has dots, the one that they lead to.
  package func member(_ name: String) -> JSONView? {
    if let found = members.last(where: { $0.name == name })?.value { return found }
    let path = name.split(separator: ".", omittingEmptySubsequences: false)
    if path.count == 1 { return nil }
    var place: JSONView? = self
    for part in path { place = place?.members.last { $0.name == part }?.value }
    return place
  }

  // MARK: Walking; the text is whole, so every value has its end

  /// The value at `at`, or behind the white space there; `at` ends behind it and a comma.
  private func next(_ at: inout Int) -> JSONView {
    JSONView.skipSpace(bytes, &at)
    let start = at
    JSONView.skipValue(bytes, &at)
    let value = JSONView(bytes, start..<at)
    JSONView.skipSpace(bytes, &at)
    if at < bytes.count, bytes[at] == UInt8(ascii: ",") { at += 1 }
    return value
  }

  private func hex4(_ at: inout Int) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      let byte = bytes[at]
      code = code << 4 | UInt32(byte < 0x40 ? byte - 0x30 : (byte | 0x20) - 0x57)
      at += 1
    }
    return code
  }

  private static func skipSpace(_ bytes: [UInt8], _ at: inout Int) {
    while at < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[at]) { at += 1 }
  }

  private static func skipValue(_ bytes: [UInt8], _ at: inout Int) {
    var depth = 0
    while at < bytes.count {
      switch bytes[at] {
      case UInt8(ascii: "\""):
        at += 1
        while bytes[at] != UInt8(ascii: "\"") { at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1 }
        at += 1
      case UInt8(ascii: "{"), UInt8(ascii: "["):
        depth += 1
        at += 1
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        depth -= 1
        at += 1
      case UInt8(ascii: ","), UInt8(ascii: ":"), 0x20, 0x09, 0x0a, 0x0d: at += 1
      default:
        while at < bytes.count, !",:]} \t\n\r".utf8.contains(bytes[at]) { at += 1 }
      }
      if depth == 0 { return }
    }
  }
}
