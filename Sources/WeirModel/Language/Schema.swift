// SPDX-License-Identifier: Apache-2.0

extension Language {
  /// The JSON Schema (draft 2020-12) of a Weir file, for editors: made from the keys, like the reader.
  ///
  /// It knows what a key may hold by itself; that names exist, that two keys go together, only the reader says. Keys of
  /// later versions are in it, marked `x-weir-supported: false`, so that an editor describes them.
  package static var schema: JSONValue {
    var definitions: [(String, JSONValue)] = []
    for section in sections where section.name != RootKeys.section.name {
      definitions.append((section.name, schema(section)))
    }
    definitions.append(("\(StepKeys.section.name)-or-list", schema(.step)))
    guard case .object(let root) = schema(RootKeys.section) else { return .null }
    let head: [JSONValue.Member] = [
      .init(name: "$schema", value: .string("https://json-schema.org/draft/2020-12/schema")),
      .init(name: "$id", value: .string("urn:weir:file:1")),
      .init(name: "title", value: .string("Weir file")),
    ]
    return .object(head + root + [.init(name: "$defs", value: .object(definitions))])
  }

  private static func schema(_ section: Section) -> JSONValue {
    var members: [(String, JSONValue)] = [
      ("description", .string(section.doc)), ("type", .string("object")),
      ("properties", .object(section.keys.map { ($0.name, schema($0)) })),
      ("additionalProperties", .bool(false)),
    ]
    // What a later version reads may stand in the place of what is required now.
    let required = section.keys.filter(\.isRequired).map(\.name)
    let later = section.keys.filter(\.isLater).map(\.name)
    if !required.isEmpty && section.name == RootKeys.section.name {
      // An included file has only some of the sections.
      members.append(("minProperties", .int(1)))
    } else if !required.isEmpty {
      let all = JSONValue.object([("required", .array(required.map { .string($0) }))])
      if later.isEmpty {
        members.append(("required", .array(required.map { .string($0) })))
      } else {
        members.append(
          ("anyOf", .array([all] + later.map { .object([("required", .array([.string($0)]))]) })))
      }
    }
    return .object(members)
  }

  private static func schema(_ key: Key) -> JSONValue {
    var doc = key.doc
    if let standard = key.standard {
      doc += " Default: \(standard.text.map { "\($0), " } ?? "")\(standard.rule)."
    }
    if key.isModelOnly { doc += " Only simulate reads it." }
    if key.isLater {
      return .object([
        ("description", .string("\(key.doc) Not supported by this version.")), ("x-weir-supported", .bool(false)),
      ])
    }
    guard case .object(let members) = schema(key.shape) else { return .object([("description", .string(doc))]) }
    return .object([JSONValue.Member(name: "description", value: .string(doc))] + members)
  }

  private static func schema(_ shape: Shape) -> JSONValue {
    var ways: [JSONValue] = []
    for scalar in shape.scalars where !ways.contains(scalar.schema) { ways.append(scalar.schema) }
    if let list = shape.list {
      // A step may hold steps: by reference, or this would never end.
      let isStep = if case .section(let section)? = shape.map { section().name == StepKeys.section.name } else { false }
      let item =
        isStep ? JSONValue.object([("$ref", .string("#/$defs/\(StepKeys.section.name)-or-list"))]) : schema(list.item())
      var members: [(String, JSONValue)] = [("type", .string("array")), ("items", item)]
      if list.least > 0 { members.append(("minItems", .int(list.least))) }
      ways.append(.object(members))
    }
    switch shape.map {
    case .section(let section): ways.append(.object([("$ref", .string("#/$defs/\(section().name)"))]))
    case .named(let names, let value):
      ways.append(
        .object([
          ("type", .string("object")), ("propertyNames", .object([("pattern", .string(names.pattern))])),
          ("additionalProperties", schema(value())),
        ]))
    case nil: break
    }
    if shape.laterList { ways.append(.object([("type", .string("array"))])) }
    if shape.laterMap { ways.append(.object([("type", .string("object"))])) }
    return ways.count == 1 ? ways[0] : .object([("anyOf", .array(ways))])
  }
}
