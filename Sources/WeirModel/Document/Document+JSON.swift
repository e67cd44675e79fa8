// SPDX-License-Identifier: Apache-2.0

extension Document {
  /// The file as the JSON that editors hold against the schema, by the YAML 1.2 core schema; nil if it cannot be read.
  ///
  /// Only the schema's tests need it: Weir itself reads scalars by the type of their key.
  package static func jsonForTesting(_ text: String) -> JSONValue? {
    guard case .document(let document) = read(file: "test.yaml", bytes: Array(text.utf8)) else { return nil }
    return json(document.root)
  }

  private static func json(_ node: Node) -> JSONValue {
    switch node.kind {
    case .list(let items): .array(items.map(json))
    case .map(let entries): .object(entries.map { ($0.key, json($0.value)) })
    case .scalar(let scalar):
      if !scalar.isPlain {
        .string(scalar.text)
      } else if scalar.isNull {
        .null
      } else if scalar.text == "true" || scalar.text == "false" {
        .bool(scalar.text == "true")
      } else if let value = Int(scalar.text) {
        .int(value)
      } else if let value = Double(scalar.text), scalar.text.first?.isNumber == true {
        .double(value)
      } else {
        .string(scalar.text)
      }
    }
  }
}
