// SPDX-License-Identifier: Apache-2.0

/// Holds a value against the nodes of a schema.
struct SchemaJudge {
  private let nodes: [JSONSchema.Node]
  /// What is left of them; at none the verdict counts for nothing.
  private(set) var steps: Int
  private(set) var flaws: [Flaw] = []
  /// So many schemas led to the one that is asked; too many, and the verdict counts for nothing.
  private var depth = 0
  private(set) var isTooDeep = false
  /// Where in the text it is.
  private var path: [Step] = []
  /// Above zero only the verdict is asked for: alternatives, conditions, what must not be.
  private var quiet = 0

  private enum Step {
    case member([UInt8])
    case item(Int)
  }

  init(nodes: [JSONSchema.Node], steps: Int) {
    self.nodes = nodes
    self.steps = steps
  }

  mutating func fits(_ index: Int, _ value: JSONTree) -> Bool {
    steps -= 1
    if steps <= 0 { return false }
    if depth >= JSONSchema.depthMax {
      // Nothing more is judged.
      isTooDeep = true
      steps = 0
      return false
    }
    depth += 1
    defer { depth -= 1 }
    let node = nodes[index]
    if !node.isPossible { return fail("nothing may stand here") }
    var isFine = assertions(node, value)
    if !isFine, isEnough { return false }
    switch value {
    case .array(let items): isFine = list(node, items) && isFine
    case .object(let members): isFine = object(node, members) && isFine
    case .null, .bool, .number, .text: break
    }
    if !isFine, isEnough { return false }
    return combined(node, value) && isFine
  }

  /// Nobody asks for more flaws.
  private var isEnough: Bool { quiet > 0 || flaws.count >= JSONSchema.flawsMax || steps <= 0 }

  private mutating func quietly(_ index: Int, _ value: JSONTree) -> Bool {
    quiet += 1
    defer { quiet -= 1 }
    return fits(index, value)
  }

  private mutating func fail(_ what: @autoclosure () -> String, mend: @autoclosure () -> String? = nil) -> Bool {
    if !isEnough { flaws.append(Flaw(place, what(), mend: mend())) }
    return false
  }

  /// Where it is, as `$.items[3].price`.
  private var place: String {
    var out = "$"
    for step in path.suffix(40) {
      switch step {
      case .item(let index): out += "[\(index)]"
      case .member(let name):
        let text = String(decoding: name, as: UTF8.self)
        let isPlain =
          !name.isEmpty && name.allSatisfy { $0 == 0x5f || $0 == 0x2d || Percent.isUnreserved($0) && $0 != 0x2e }
        out += isPlain ? ".\(text.prefix(64))" : "[\(Flaw.quoted(text))]"
      }
    }
    return out
  }

  // MARK: Assertions about one value

  private mutating func assertions(_ node: JSONSchema.Node, _ value: JSONTree) -> Bool {
    if let types = node.types, !types.has(value) {
      return fail("\(value.words) stands where \(types.words) must")
    }
    if let constant = node.constant, constant != value {
      return fail("it is something else than \(SchemaJudge.shown(constant))")
    }
    if let choices = node.choices, !choices.contains(value) {
      let shown = choices.prefix(8).map(SchemaJudge.shown).joined(separator: ", ")
      return fail("\(SchemaJudge.shown(value)) is none of \(shown)\(choices.count > 8 ? ", …" : "")")
    }
    switch value {
    case .number(let number): return numbers(node, number)
    case .text(let text): return texts(node, text)
    case .null, .bool, .array, .object: return true
    }
  }

  private static func shown(_ value: JSONTree) -> String {
    switch value {
    case .text(let text): Flaw.quoted(String(decoding: text, as: UTF8.self))
    case .number(let number): number.text
    case .null, .bool, .array, .object: value.words
    }
  }

  private mutating func numbers(_ node: JSONSchema.Node, _ number: JSONDecimal) -> Bool {
    var isFine = true
    if let least = node.least, number < least.value {
      isFine = fail("\(number.text) is less than \(least.written)")
    }
    if let most = node.most, most.value < number { isFine = fail("\(number.text) is more than \(most.written)") }
    if let bound = node.moreThan, !(bound.value < number) {
      isFine = fail("\(number.text) is not more than \(bound.written)")
    }
    if let bound = node.lessThan, !(number < bound.value) {
      isFine = fail("\(number.text) is not less than \(bound.written)")
    }
    if let divisor = node.multipleOf, !number.isMultiple(of: divisor) {
      isFine = fail("\(number.text) is no multiple of \(node.multipleOfWritten)")
    }
    return isFine
  }

  private mutating func texts(_ node: JSONSchema.Node, _ text: [UInt8]) -> Bool {
    var isFine = true
    if node.length.least != nil || node.length.most != nil {
      isFine = counted(text.count { $0 & 0xc0 != 0x80 }, node.length, "characters")
    }
    guard let pattern = node.pattern else { return isFine }
    if !finds(pattern, text) {
      let shown = Flaw.quoted(String(decoding: text, as: UTF8.self))
      isFine = fail("\(shown) is not what the pattern \(Flaw.quoted(pattern.written)) says")
    }
    return isFine
  }

  private mutating func finds(_ pattern: JSONSchema.Pattern, _ text: [UInt8]) -> Bool {
    pattern.pattern.isFound(in: SchemaPattern.characters(text), steps: &steps) ?? false
  }

  private mutating func counted(_ count: Int, _ bounds: JSONSchema.Count, _ what: String) -> Bool {
    if let least = bounds.least, count < least {
      return fail("it has \(count) \(what), at least \(least) must be")
    }
    if let most = bounds.most, count > most { return fail("it has \(count) \(what), at most \(most) may be") }
    return true
  }

  // MARK: Lists and objects

  private mutating func list(_ node: JSONSchema.Node, _ items: [JSONTree]) -> Bool {
    var isFine = counted(items.count, node.items, "items")
    if node.areItemsUnique {
      var seen: Set<JSONTree> = []
      steps -= items.count
      if let twice = items.firstIndex(where: { !seen.insert($0).inserted }) {
        isFine = fail("[\(twice)] stands there before; no two may be equal")
      }
    }
    if let contains = node.contains {
      var count = 0
      for item in items where quietly(contains, item) { count += 1 }
      if count < node.contained.least ?? 1 {
        isFine = fail("\(count) of its items are what some must be, at least \(node.contained.least ?? 1) must")
      } else if let most = node.contained.most, count > most {
        isFine = fail("\(count) of its items are what some must be, at most \(most) may")
      }
    }
    if node.first.isEmpty, node.rest == nil { return isFine }
    for (i, item) in items.enumerated() {
      if !isFine, isEnough { return false }
      guard let schema = i < node.first.count ? node.first[i] : node.rest else { break }
      path.append(.item(i))
      isFine = fits(schema, item) && isFine
      path.removeLast()
    }
    return isFine
  }

  private mutating func object(_ node: JSONSchema.Node, _ members: JSONTree.Members) -> Bool {
    var isFine = counted(members.names.count, node.members, "members")
    for name in node.required where members[name] == nil {
      if !isFine, isEnough { return false }
      isFine = fail("\(Flaw.quoted(String(decoding: name, as: UTF8.self))) is missing")
    }
    for (name, names) in node.requiredWith where members[name] != nil {
      for other in names where members[other] == nil {
        isFine = fail(
          "\(Flaw.quoted(String(decoding: other, as: UTF8.self))) is missing, which must be there with "
            + Flaw.quoted(String(decoding: name, as: UTF8.self)))
      }
    }
    let isSilent =
      node.properties.isEmpty && node.patternProperties.isEmpty && node.additionalProperties == nil
      && node.propertyNames == nil
    if isSilent { return isFine }
    for (name, value) in zip(members.names, members.values) {
      if !isFine, isEnough { return false }
      path.append(.member(name))
      isFine = member(node, name, value) && isFine
      path.removeLast()
    }
    return isFine
  }

  private mutating func member(_ node: JSONSchema.Node, _ name: [UInt8], _ value: JSONTree) -> Bool {
    steps -= 1
    var isFine = true
    var isKnown = false
    if let names = node.propertyNames, !quietly(names, .text(name)) {
      isFine = fail("no member may have this name")
    }
    if let schema = node.properties[name] {
      isKnown = true
      isFine = fits(schema, value) && isFine
    }
    for (pattern, schema) in node.patternProperties where finds(pattern, name) {
      isKnown = true
      isFine = fits(schema, value) && isFine
    }
    guard !isKnown, let other = node.additionalProperties else { return isFine }
    if !nodes[other].isPossible {
      let mend = isEnough ? nil : nearest(name, node)
      return fail("no member of this name is known", mend: mend)
    }
    return fits(other, value) && isFine
  }

  private func nearest(_ name: [UInt8], _ node: JSONSchema.Node) -> String? {
    let known = node.properties.keys.map { String(decoding: $0, as: UTF8.self) }.sorted()
    let flaw = Flaw.unknown("", String(decoding: name, as: UTF8.self), among: known)
    return known.isEmpty || known.count > 30 && flaw.mend?.hasPrefix("Did") != true ? nil : flaw.mend
  }

  // MARK: Schemas put together

  private mutating func combined(_ node: JSONSchema.Node, _ value: JSONTree) -> Bool {
    var isFine = true
    for index in node.references + node.allOf {
      isFine = fits(index, value) && isFine
      if !isFine, isEnough { return false }
    }
    if !node.dependent.isEmpty, case .object(let members) = value {
      for (name, index) in node.dependent where members[name] != nil { isFine = fits(index, value) && isFine }
    }
    if let condition = node.condition {
      if let next = quietly(condition, value) ? node.then : node.otherwise { isFine = fits(next, value) && isFine }
    }
    if let not = node.not, quietly(not, value) { isFine = fail("it is just what it must not be") }
    if !node.anyOf.isEmpty, fitting(node.anyOf, value, most: 1) == 0 {
      isFine = fail("it fits none of the \(node.anyOf.count) schemas of which it must fit one")
    }
    if !node.oneOf.isEmpty {
      let count = fitting(node.oneOf, value, most: 2)
      if count != 1 {
        isFine = fail(
          "it fits \(count == 0 ? "none" : "more than one") of the \(node.oneOf.count) schemas of which it must fit "
            + "exactly one")
      }
    }
    return isFine
  }

  /// How many of these schemas it fits; counted up to `most`.
  private mutating func fitting(_ schemas: [Int], _ value: JSONTree, most: Int) -> Int {
    var count = 0
    for index in schemas where quietly(index, value) {
      count += 1
      if count == most { break }
    }
    return count
  }
}
