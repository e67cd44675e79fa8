// SPDX-License-Identifier: Apache-2.0

/// A JSON value whose keys keep their order: schemas and reports are the same bytes every time.
package indirect enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  case int(Int)
  case double(Double)
  case string(String)
  case array([JSONValue])
  case object([Member])

  package struct Member: Sendable, Equatable {
    package var name: String
    package var value: JSONValue
  }

  package static func object(_ members: [(String, JSONValue)]) -> JSONValue {
    .object(members.map { Member(name: $0.0, value: $0.1) })
  }

  /// The value of a member of an object.
  package subscript(_ name: String) -> JSONValue? {
    if case .object(let members) = self { members.first { $0.name == name }?.value } else { nil }
  }

  /// Two spaces a level; arrays and objects of scalars up to 100 columns stay on a line.
  package func rendered(indent: String = "") -> String {
    switch self {
    case .null: return "null"
    case .bool(let value): return value ? "true" : "false"
    case .int(let value): return String(value)
    case .double(let value):
      // JSON has no infinities; whole numbers are written without a fraction.
      if !value.isFinite { return "null" }
      return value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
    case .string(let value): return JSONValue.quoted(value)
    case .array(let items):
      if items.isEmpty { return "[]" }
      if items.allSatisfy(\.isScalar) {
        let line = "[" + items.map { $0.rendered() }.joined(separator: ", ") + "]"
        if line.utf8.count + indent.utf8.count <= 100 { return line }
      }
      let inner = indent + "  "
      return "[\n" + items.map { inner + $0.rendered(indent: inner) }.joined(separator: ",\n") + "\n\(indent)]"
    case .object(let members):
      if members.isEmpty { return "{}" }
      if members.count <= 4, members.allSatisfy({ $0.value.isScalar }) {
        let line =
          "{ " + members.map { "\(JSONValue.quoted($0.name)): \($0.value.rendered())" }.joined(separator: ", ") + " }"
        if line.utf8.count + indent.utf8.count <= 100 { return line }
      }
      let inner = indent + "  "
      return "{\n"
        + members.map { "\(inner)\(JSONValue.quoted($0.name)): \($0.value.rendered(indent: inner))" }
        .joined(separator: ",\n") + "\n\(indent)}"
    }
  }

  private var isScalar: Bool {
    switch self {
    case .array, .object: false
    default: true
    }
  }

  /// RFC 8259 §7.
  package static func quoted(_ text: String) -> String {
    var out = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7f:
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out + "\""
  }
}
