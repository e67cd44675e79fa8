// SPDX-License-Identifier: Apache-2.0

/// A JSON text, read strictly (RFC 8259): what a token, a key set or a claim says.
///
/// Not Foundation's reader, because of two names that are the same in one object: it takes one of them, other readers the
/// other, and who signs sees not what who checks sees (RFC 7519 §4 lets them be refused). Depth is bounded as well.
package enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  case number(Double)
  case string(String)
  case array([JSON])
  case object([Member])

  package struct Member: Sendable, Equatable {
    package var name: String
    package var value: JSON
  }

  /// Arrays and objects within each other; a token needs three or four.
  static let depthMax = 16

  /// Nil when the bytes are not one JSON value and nothing else.
  package init?(_ bytes: some Collection<UInt8>) {
    var reader = Reader(bytes: Array(bytes))
    guard let value = reader.value(depth: 0) else { return nil }
    reader.space()
    guard reader.at == reader.bytes.count else { return nil }
    self = value
  }

  /// The member of an object.
  package subscript(_ name: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.name == name }?.value
  }

  package var text: String? { if case .string(let text) = self { text } else { nil } }
  package var number: Double? { if case .number(let number) = self { number } else { nil } }

  /// A scalar as it is compared and written into a field: `acme`, `42`, `true`.
  var scalar: String? {
    switch self {
    case .string(let text): return text
    case .bool(let value): return value ? "true" : "false"
    case .number(let number): return Int64(exactly: number).map { "\($0)" } ?? "\(number)"
    case .null, .array, .object: return nil
    }
  }

  /// A scalar, or the scalars of an array.
  package var scalars: [String] {
    if case .array(let items) = self { return items.compactMap(\.scalar) }
    return scalar.map { [$0] } ?? []
  }

  private struct Reader {
    let bytes: [UInt8]
    var at = 0

    mutating func space() {
      while at < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[at]) { at += 1 }
    }

    mutating func take(_ byte: UInt8) -> Bool {
      guard at < bytes.count, bytes[at] == byte else { return false }
      at += 1
      return true
    }

    mutating func take(_ word: StaticString, _ value: JSON) -> JSON? {
      let count = word.utf8CodeUnitCount
      guard at + count <= bytes.count, bytes[at..<at + count].elementsEqual("\(word)".utf8) else { return nil }
      at += count
      return value
    }

    mutating func value(depth: Int) -> JSON? {
      space()
      guard at < bytes.count, depth <= JSON.depthMax else { return nil }
      switch bytes[at] {
      case 0x7b: return object(depth)
      case 0x5b: return array(depth)
      case 0x22: return string().map { .string($0) }
      case 0x74: return take("true", .bool(true))
      case 0x66: return take("false", .bool(false))
      case 0x6e: return take("null", .null)
      default: return number()
      }
    }

    private mutating func object(_ depth: Int) -> JSON? {
      at += 1
      var members: [Member] = []
      var names: Set<String> = []
      space()
      if take(0x7d) { return .object([]) }
      while true {
        space()
        guard at < bytes.count, bytes[at] == 0x22, let name = string(), names.insert(name).inserted else { return nil }
        space()
        guard take(0x3a), let value = value(depth: depth + 1) else { return nil }
        members.append(Member(name: name, value: value))
        space()
        if take(0x7d) { return .object(members) }
        guard take(0x2c) else { return nil }
      }
    }

    private mutating func array(_ depth: Int) -> JSON? {
      at += 1
      var items: [JSON] = []
      space()
      if take(0x5d) { return .array([]) }
      while true {
        guard let item = value(depth: depth + 1) else { return nil }
        items.append(item)
        space()
        if take(0x5d) { return .array(items) }
        guard take(0x2c) else { return nil }
      }
    }

    private mutating func string() -> String? {
      at += 1
      var out: [UInt8] = []
      while at < bytes.count {
        let byte = bytes[at]
        at += 1
        switch byte {
        case 0x22: return String(validating: out, as: UTF8.self)
        case 0x5c: guard escape(into: &out) else { return nil }
        case 0..<0x20: return nil
        default: out.append(byte)
        }
      }
      return nil
    }

    private mutating func escape(into out: inout [UInt8]) -> Bool {
      guard at < bytes.count else { return false }
      let byte = bytes[at]
      at += 1
      switch byte {
      case 0x22, 0x5c, 0x2f: out.append(byte)
      case 0x62: out.append(8)
      case 0x66: out.append(12)
      case 0x6e: out.append(10)
      case 0x72: out.append(13)
      case 0x74: out.append(9)
      case 0x75:
        guard var code = hex4() else { return false }
        if (0xd800..<0xdc00).contains(code) {
          guard take(0x5c), take(0x75), let low = hex4(), (0xdc00..<0xe000).contains(low) else { return false }
          code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(code) else { return false }
        out += Array(String(scalar).utf8)
      default: return false
      }
      return true
    }

    private mutating func hex4() -> UInt32? {
      guard at + 4 <= bytes.count, bytes[at..<at + 4].allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else {
        return nil
      }
      defer { at += 4 }
      return UInt32(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
    }

    private mutating func number() -> JSON? {
      let start = at
      _ = take(0x2d)
      let first = at
      guard digits() else { return nil }
      if bytes[first] == 0x30 && at > first + 1 { return nil }
      if take(0x2e), !digits() { return nil }
      if take(0x65) || take(0x45) {
        if !take(0x2b) { _ = take(0x2d) }
        guard digits() else { return nil }
      }
      guard let value = Double(String(decoding: bytes[start..<at], as: UTF8.self)), value.isFinite else { return nil }
      return .number(value)
    }

    private mutating func digits() -> Bool {
      let start = at
      while at < bytes.count, bytes[at] &- 0x30 < 10 { at += 1 }
      return at > start
    }
  }
}
