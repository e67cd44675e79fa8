// SPDX-License-Identifier: Apache-2.0

/// Makes the nodes of a schema of its text, or says what is wrong with it.
struct SchemaReader {
  private(set) var nodes: [JSONSchema.Node] = []
  private(set) var flaws: [Flaw] = []

  private let root: JSONTree
  /// The schema's own address, without a fragment.
  private var id = ""
  /// By where they stand: `/properties/order`.
  private var indices: [String: Int] = [:]
  private var anchors: [String: Int] = [:]
  /// Resolved when all that stands where schemas do is read.
  private var references: [(from: Int, to: String, place: String)] = []

  init(_ root: JSONTree) { self.root = root }

  mutating func read() {
    if case .object(let members) = root, case .text(let id)? = members["$id"] {
      self.id = String(decoding: id, as: UTF8.self)
      if self.id.hasSuffix("#") { self.id.removeLast() }
    }
    _ = compile(root, "")
    var done = 0
    while done < references.count {
      let (from, to, place) = references[done]
      done += 1
      if let node = resolve(to, place) { nodes[from].references.append(node) }
    }
    if flaws.isEmpty { refuseCircles() }
  }

  // MARK: One schema

  private static let drafts = [
    "https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2020-12/schema#",
  ]

  private mutating func compile(_ tree: JSONTree, _ place: String) -> Int {
    if let index = indices[place] { return index }
    let index = nodes.count
    indices[place] = index
    nodes.append(JSONSchema.Node())
    switch tree {
    case .bool(let value): nodes[index].isPossible = value
    case .object(let members):
      for (name, value) in zip(members.names, members.values) {
        guard flaws.count < JSONSchema.flawsMax else { break }
        let word = String(decoding: name, as: UTF8.self)
        let here = "\(place)/\(SchemaReader.token(word))"
        do throws(Flaw) { try keyword(word, value, here, index) } catch { flaws.append(error) }
      }
    case .null, .number, .text, .array:
      flaws.append(Flaw("#\(place)", "\(tree.words) stands where a schema must: an object, true or false"))
    }
    return index
  }

  private mutating func keyword(_ word: String, _ value: JSONTree, _ here: String, _ index: Int) throws(Flaw) {
    let at = "#\(here)"
    switch word {
    case "$schema":
      guard case .text(let text) = value, SchemaReader.drafts.contains(String(decoding: text, as: UTF8.self)) else {
        throw Flaw(at, "this is another draft than 2020-12", mend: "Write \(SchemaReader.drafts[0]).")
      }
    case "$id":
      guard case .text = value else { throw Flaw(at, "\(value.words) is no address") }
      if here != "/$id" {
        throw Flaw(at, "a schema within the schema has an address of its own", mend: "Use $anchor, or $defs.")
      }
    case "$anchor", "$dynamicAnchor":
      let name = try text(value, at)
      if let other = anchors.updateValue(index, forKey: name), other != index {
        throw Flaw(at, "\(Flaw.quoted(name)) is the name of another schema, too")
      }
    case "$ref", "$dynamicRef": references.append((index, try text(value, at), at))
    case "$defs": for (_, value, here) in try schemas(value, here) { _ = compile(value, here) }
    case "type": nodes[index].types = try types(value, at)
    case "enum":
      guard case .array(let choices) = value else { throw Flaw(at, "\(value.words) is no list of values") }
      nodes[index].choices = choices
    case "const": nodes[index].constant = value
    case "multipleOf":
      guard case .number(let number) = value, let divisor = number.divisor else {
        throw Flaw(at, "it is no number greater than zero of at most 18 digits")
      }
      nodes[index].multipleOf = divisor
      nodes[index].multipleOfWritten = number.text
    case "minimum": nodes[index].least = try bound(value, at)
    case "maximum": nodes[index].most = try bound(value, at)
    case "exclusiveMinimum": nodes[index].moreThan = try bound(value, at)
    case "exclusiveMaximum": nodes[index].lessThan = try bound(value, at)
    case "minLength": nodes[index].length.least = try count(value, at)
    case "maxLength": nodes[index].length.most = try count(value, at)
    case "minItems": nodes[index].items.least = try count(value, at)
    case "maxItems": nodes[index].items.most = try count(value, at)
    case "minContains": nodes[index].contained.least = try count(value, at)
    case "maxContains": nodes[index].contained.most = try count(value, at)
    case "minProperties": nodes[index].members.least = try count(value, at)
    case "maxProperties": nodes[index].members.most = try count(value, at)
    case "pattern": nodes[index].pattern = try pattern(try text(value, at), at)
    case "uniqueItems":
      guard case .bool(let isUnique) = value else { throw Flaw(at, "\(value.words) is neither true nor false") }
      nodes[index].areItemsUnique = isUnique
    case "required": nodes[index].required = try names(value, at)
    case "dependentRequired":
      guard case .object(let members) = value else { throw Flaw(at, "\(value.words) is no object of lists of names") }
      for (name, value) in zip(members.names, members.values) {
        let names = try names(value, "\(at)/\(SchemaReader.token(String(decoding: name, as: UTF8.self)))")
        nodes[index].requiredWith.append((name, names))
      }
    case "unevaluatedItems", "unevaluatedProperties":
      if value == .bool(true) { return }
      throw Flaw(
        at, "\(word) is not judged by Weir", mend: word.hasSuffix("Items") ? "Use items." : "Use additionalProperties.")
    default: try applicator(word, value, here, index)
    }
  }

  /// Keywords whose values are schemas; others say nothing.
  private mutating func applicator(_ word: String, _ value: JSONTree, _ here: String, _ index: Int) throws(Flaw) {
    switch word {
    case "properties":
      for (name, value, here) in try schemas(value, here) {
        let node = compile(value, here)
        nodes[index].properties[name] = node
      }
    case "patternProperties":
      for (name, value, here) in try schemas(value, here) {
        let pattern = try pattern(String(decoding: name, as: UTF8.self), "#\(here)")
        let node = compile(value, here)
        nodes[index].patternProperties.append((pattern, node))
      }
    case "dependentSchemas":
      for (name, value, here) in try schemas(value, here) {
        let node = compile(value, here)
        nodes[index].dependent.append((name, node))
      }
    case "additionalProperties", "propertyNames", "items", "contains", "not", "if", "then", "else":
      let node = compile(value, here)
      switch word {
      case "additionalProperties": nodes[index].additionalProperties = node
      case "propertyNames": nodes[index].propertyNames = node
      case "items": nodes[index].rest = node
      case "contains": nodes[index].contains = node
      case "not": nodes[index].not = node
      case "if": nodes[index].condition = node
      case "then": nodes[index].then = node
      default: nodes[index].otherwise = node
      }
    case "prefixItems", "allOf", "anyOf", "oneOf":
      guard case .array(let items) = value, !items.isEmpty else {
        throw Flaw("#\(here)", "it is no list of schemas with at least one")
      }
      var list: [Int] = []
      for (i, item) in items.enumerated() { list.append(compile(item, "\(here)/\(i)")) }
      switch word {
      case "prefixItems": nodes[index].first = list
      case "allOf": nodes[index].allOf = list
      case "anyOf": nodes[index].anyOf = list
      default: nodes[index].oneOf = list
      }
    default: break
    }
  }

  // MARK: Values of keywords

  private func text(_ value: JSONTree, _ at: String) throws(Flaw) -> String {
    guard case .text(let text) = value else { throw Flaw(at, "\(value.words) stands where a text must") }
    return String(decoding: text, as: UTF8.self)
  }

  private func types(_ value: JSONTree, _ at: String) throws(Flaw) -> JSONSchema.Types {
    let names: [JSONTree]
    switch value {
    case .array(let items) where !items.isEmpty: names = items
    case .text: names = [value]
    case .null, .bool, .number, .array, .object:
      throw Flaw(at, "\(value.words) is no type", mend: #"Write "object", or ["string", "null"]."#)
    }
    var types: JSONSchema.Types = []
    for name in names {
      let word = try text(name, at)
      guard let known = JSONSchema.Types.named.first(where: { $0.name == word }) else {
        throw .unknown(at, word, among: JSONSchema.Types.named.map(\.name))
      }
      if types.contains(known.type) { throw Flaw(at, "\(Flaw.quoted(word)) stands there twice") }
      types.insert(known.type)
    }
    return types
  }

  private func bound(_ value: JSONTree, _ at: String) throws(Flaw) -> JSONSchema.Bound {
    guard case .number(let number) = value else { throw Flaw(at, "\(value.words) is no number") }
    return JSONSchema.Bound(value: number, written: number.text)
  }

  private func count(_ value: JSONTree, _ at: String) throws(Flaw) -> Int {
    guard case .number(let number) = value, let count = number.count else {
      throw Flaw(at, "it is no whole number from 0 on")
    }
    return count
  }

  private func pattern(_ text: String, _ at: String) throws(Flaw) -> JSONSchema.Pattern {
    do throws(SchemaPattern.Unusable) {
      return JSONSchema.Pattern(pattern: try SchemaPattern(text), written: text)
    } catch { throw Flaw(at, "\(Flaw.quoted(text)) is no pattern that is read here: \(error.what)") }
  }

  private func names(_ value: JSONTree, _ at: String) throws(Flaw) -> [[UInt8]] {
    guard case .array(let items) = value else { throw Flaw(at, "\(value.words) is no list of names") }
    var names: [[UInt8]] = []
    for item in items {
      guard case .text(let name) = item else { throw Flaw(at, "\(item.words) is no name") }
      if names.contains(name) {
        throw Flaw(at, "\(Flaw.quoted(String(decoding: name, as: UTF8.self))) stands there twice")
      }
      names.append(name)
    }
    return names
  }

  private func schemas(
    _ value: JSONTree, _ here: String
  ) throws(Flaw) -> [(name: [UInt8], value: JSONTree, here: String)] {
    guard case .object(let members) = value else { throw Flaw("#\(here)", "\(value.words) is no object of schemas") }
    return zip(members.names, members.values).map { name, value in
      (name, value, "\(here)/\(SchemaReader.token(String(decoding: name, as: UTF8.self)))")
    }
  }

  // MARK: References

  /// As it stands in a JSON Pointer (RFC 6901 §3).
  private static func token(_ name: String) -> String {
    name.contains { $0 == "~" || $0 == "/" }
      ? String(name.flatMap { $0 == "~" ? "~0" : $0 == "/" ? "~1" : String($0) }) : name
  }

  private mutating func resolve(_ reference: String, _ place: String) -> Int? {
    var fragment = reference
    if let mark = reference.firstIndex(of: "#") {
      let address = reference[..<mark]
      fragment = String(reference[reference.index(after: mark)...])
      if !address.isEmpty, address != id {
        return refuse(place, "\(Flaw.quoted(reference)) lies in another document, and none is fetched")
      }
    } else if reference.isEmpty || reference == id {
      fragment = ""
    } else {
      return refuse(place, "\(Flaw.quoted(reference)) lies in another document, and none is fetched")
    }
    guard let pointer = Percent.decode(Substring(fragment)) else {
      return refuse(place, "\(Flaw.quoted(reference)) has a broken escape")
    }
    if pointer.isEmpty { return 0 }
    guard pointer.hasPrefix("/") else {
      if let node = anchors[pointer] { return node }
      return refuse(place, "no schema has the anchor \(Flaw.quoted(pointer))")
    }
    var tree = root
    var canonical = ""
    for token in pointer.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
      guard let name = SchemaReader.name(token), let next = SchemaReader.step(tree, name) else {
        return refuse(place, "\(Flaw.quoted(reference)) leads nowhere")
      }
      tree = next
      canonical += "/\(SchemaReader.token(name))"
    }
    return compile(tree, canonical)
  }

  private mutating func refuse(_ place: String, _ what: String) -> Int? {
    if flaws.count < JSONSchema.flawsMax { flaws.append(Flaw(place, what)) }
    return nil
  }

  /// Nil for a broken escape.
  private static func name(_ token: Substring) -> String? {
    var name = ""
    var isEscaped = false
    for scalar in token.unicodeScalars {
      if isEscaped {
        guard scalar == "0" || scalar == "1" else { return nil }
        name += scalar == "0" ? "~" : "/"
        isEscaped = false
      } else if scalar == "~" {
        isEscaped = true
      } else {
        name.unicodeScalars.append(scalar)
      }
    }
    return isEscaped ? nil : name
  }

  private static func step(_ tree: JSONTree, _ name: String) -> JSONTree? {
    switch tree {
    case .object(let members): return members[name]
    case .array(let items):
      guard let index = Int(name), "\(index)" == name, items.indices.contains(index) else { return nil }
      return items[index]
    case .null, .bool, .number, .text: return nil
    }
  }

  // MARK: Circles

  /// A schema that leads to itself at the same place of a text would never be done with it.
  private mutating func refuseCircles() {
    enum Mark { case new, open, done }
    var marks = Array(repeating: Mark.new, count: nodes.count)
    for start in nodes.indices where marks[start] == .new {
      var path = [(node: start, rest: nodes[start].inPlace)]
      marks[start] = .open
      while let (node, rest) = path.last {
        guard let next = rest.last else {
          marks[node] = .done
          path.removeLast()
          continue
        }
        path[path.count - 1].rest.removeLast()
        switch marks[next] {
        case .new:
          marks[next] = .open
          path.append((next, nodes[next].inPlace))
        case .open:
          let place = indices.filter { $0.value == next }.keys.min() ?? ""
          flaws.append(Flaw("#\(place)", "this schema leads to itself, and judging would never end"))
          return
        case .done: break
        }
      }
    }
  }
}
