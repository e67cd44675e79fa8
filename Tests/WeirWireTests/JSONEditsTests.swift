// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirWire

@Suite struct JSONEditsTests {
  private static func edit(_ edits: JSONEdits, _ body: String, _ values: [String] = [], most: Int = 1 << 16) -> String {
    var out: [UInt8] = []
    let outcome = edits.apply(Array(body.utf8), values: values.map { Array($0.utf8) }, most: most, into: &out)
    return outcome == .done ? String(decoding: out, as: UTF8.self) : "\(outcome)"
  }

  // MARK: - Paths

  @Test("paths and what is none")
  func paths() throws {
    #expect(try JSONPath("a.b").steps == [.member(Array("a".utf8)), .member(Array("b".utf8))])
    #expect(try JSONPath("items[].x").steps == [.member(Array("items".utf8)), .each, .member(Array("x".utf8))])
    #expect(try JSONPath("[].x").steps == [.each, .member(Array("x".utf8))])
    #expect(try JSONPath("a[][].x").steps == [.member(Array("a".utf8)), .each, .each, .member(Array("x".utf8))])
    #expect(try JSONPath(#"a\.b"#).steps == [.member(Array("a.b".utf8))])
    for path in ["", ".", "a.", ".a", "a..b", "a.[]"] {
      #expect(throws: JSONPath.Mistake.empty(path: path)) { try JSONPath(path) }
    }
    for path in ["a[0]", "a]", "a[]b", "a[.b"] {
      #expect(throws: JSONPath.Mistake.brackets(path: path)) { try JSONPath(path) }
    }
    for path in ["a[]", "[]"] { #expect(throws: JSONPath.Mistake.endsInItems(path: path)) { try JSONPath(path) } }
    let deep = Array(repeating: "a", count: 17).joined(separator: ".")
    #expect(throws: JSONPath.Mistake.tooDeep(path: deep)) { try JSONPath(deep) }
  }

  @Test("edits that contradict each other")
  func mistakes() {
    #expect(throws: JSONEdits.Mistake.twice(path: "a")) { try JSONEdits(remove: ["a", "a"]) }
    #expect(throws: JSONEdits.Mistake.twice(path: "a.b")) { try JSONEdits(set: ["a.b", "a.b"]) }
    #expect(throws: JSONEdits.Mistake.within(path: "a.b")) { try JSONEdits(set: ["a", "a.b"]) }
    #expect(throws: JSONEdits.Mistake.within(path: "a")) { try JSONEdits(set: ["a.b", "a"]) }
    #expect(throws: JSONEdits.Mistake.badName(name: "b.c")) { try JSONEdits(rename: [("a", "b.c")]) }
    #expect(throws: JSONEdits.Mistake.badName(name: "a")) { try JSONEdits(rename: [("x.a", "a")]) }
    #expect(throws: JSONEdits.Mistake.twice(path: "c")) { try JSONEdits(rename: [("a", "c"), ("b", "c")]) }
    #expect(throws: JSONEdits.Mistake.badTemplate(line: 2, column: 5)) { try JSONEdits(template: "{\n\"a\":}") }
    #expect(throws: JSONEdits.Mistake.badReference(text: "$body.a[].b")) {
      try JSONEdits(template: #"{"x": "$body.a[].b"}"#)
    }
    #expect(throws: JSONEdits.Mistake.tooMany) { try JSONEdits(remove: (0..<65).map { "a\($0)" }) }
  }

  // MARK: - Edits

  @Test("remove: every member of the name, however it is written; the rest stays as it stands")
  func removes() throws {
    let edits = try JSONEdits(remove: ["a", "list[].secret", "deep.er.x"])
    #expect(Self.edit(edits, #"{ "a": 1, "b" : 2.50e+3 }"#) == #"{ "b" : 2.50e+3 }"#)
    #expect(Self.edit(edits, #"{"b":2 , "a":1}"#) == #"{"b":2 }"#)
    #expect(Self.edit(edits, #"{"a":1}"#) == "{}")
    #expect(Self.edit(edits, #"{"\u0061":1,"a":{"a":[]},"b":{"a":1}}"#) == #"{"b":{"a":1}}"#)
    #expect(
      Self.edit(edits, #"{"list":[{"secret":1,"n":1},{"n":2},7,[{"secret":1}]]}"#)
        == #"{"list":[{"n":1},{"n":2},7,[{"secret":1}]]}"#)
    #expect(Self.edit(edits, #"{"deep":{"er":{"x":1}},"list":3}"#) == #"{"deep":{"er":{}},"list":3}"#)
    // A body of another form has nothing of it.
    for body in ["[1, 2]", "7", " null ", "\"a\"", "{}", "{ }", "[]", #"{"deep":[{"er":{"x":1}}]}"#] {
      #expect(Self.edit(edits, body) == body)
    }
  }

  @Test("rename: the name alone; who has the new name already gives way")
  func renames() throws {
    let edits = try JSONEdits(rename: [("a", "b"), ("items[].id", "key")])
    #expect(Self.edit(edits, #"{ "a" : 1, "c":2}"#) == #"{ "b" : 1, "c":2}"#)
    #expect(Self.edit(edits, #"{"b":1,"a":2}"#) == #"{"b":2}"#)
    #expect(Self.edit(edits, #"{"b":1}"#) == #"{"b":1}"#)
    #expect(Self.edit(edits, #"{"items":[{"id":1,"key":0},{"key":3}]}"#) == #"{"items":[{"key":1},{"key":3}]}"#)
    let swap = try JSONEdits(rename: [("a", "b"), ("b", "a")])
    #expect(Self.edit(swap, #"{"a":1,"b":2}"#) == #"{"b":1,"a":2}"#)
    let within = try JSONEdits(rename: [("a", "b"), ("a.x", "y")])
    #expect(Self.edit(within, #"{"a":{"x":1}}"#) == #"{"b":{"y":1}}"#)
  }

  @Test("set: in the place of the first, the others gone; or behind the last; objects on the way are made")
  func sets() throws {
    let edits = try JSONEdits(set: ["t", "m.n.o"])
    let values = ["\"x\"", "3"]
    #expect(Self.edit(edits, #"{"t": {"old":1} , "z":0}"#, values) == #"{"t": "x" , "z":0,"m":{"n":{"o":3}}}"#)
    #expect(Self.edit(edits, #"{"t":1,"\u0074":2,"m":{"n":{"o":0}}}"#, values) == #"{"t":"x","m":{"n":{"o":3}}}"#)
    #expect(Self.edit(edits, "{\n  \"a\": 1\n}\n", values) == "{\n  \"a\": 1,\"t\":\"x\",\"m\":{\"n\":{\"o\":3}}\n}\n")
    #expect(Self.edit(edits, "{}", values) == #"{"t":"x","m":{"n":{"o":3}}}"#)
    // What is no object there gives way, and of two only one is left.
    #expect(Self.edit(edits, #"{"t":0,"m":"text"}"#, values) == #"{"t":"x","m":{"n":{"o":3}}}"#)
    #expect(Self.edit(edits, #"{"t":0,"m":[1],"m":{"n":{}}}"#, values) == #"{"t":"x","m":{"n":{"o":3}}}"#)
    for body in ["[]", "3", "null", "\"t\""] { #expect(Self.edit(edits, body, values) == "misfit") }
    let items = try JSONEdits(set: ["[].t"])
    #expect(Self.edit(items, #"[{"t":1}, {}, 3, [], {"u":1}]"#, ["0"]) == #"[{"t":0}, {"t":0}, 3, [], {"u":1,"t":0}]"#)
    #expect(Self.edit(items, "{}", ["0"]) == "misfit")
    let some = try JSONEdits(set: ["list[].t"])
    for body in ["{}", #"{"list":null}"#, #"{"list":{"t":1}}"#] { #expect(Self.edit(some, body, ["0"]) == body) }
  }

  @Test("template: what the body has there, as it is written, or null")
  func templates() throws {
    let edits = try JSONEdits(
      remove: ["x"], template: #"{"data": "$body.items", "all":"$body", "by": "$client", "$body": "5 $$", "n": 1}"#)
    #expect(edits.texts == ["$client", "5 $$"])
    #expect(
      Self.edit(edits, #"{"items":[1.0,2e1],"x":1}"#, ["\"me\"", "\"5 $\""])
        == #"{"data": [1.0,2e1], "all":{"items":[1.0,2e1]}, "by": "me", "$body": "5 $", "n": 1}"#)
    #expect(Self.edit(try JSONEdits(template: #""$body.a.b""#), #"{"a":{"b":1,"b":2}}"#) == "2")
    #expect(Self.edit(try JSONEdits(template: #"["$body.a.b"]"#), #"{"a":[{"b":1}]}"#) == "[null]")
    #expect(Self.edit(try JSONEdits(template: "{}"), "[1]") == "{}")
  }

  @Test("remove, rename, set, template: in this order")
  func order() throws {
    let edits = try JSONEdits(remove: ["b"], rename: [("a", "b")], set: ["c"], template: #"{"w":"$body"}"#)
    #expect(Self.edit(edits, #"{"a":1,"b":2,"c":3}"#, ["4"]) == #"{"w":{"b":1,"c":4}}"#)
  }

  // A short value in many small items makes a large body of a small one.
  @Test("what is no JSON, and what is or becomes too large")
  func refused() throws {
    let edits = try JSONEdits(set: ["[].t"])
    #expect(Self.edit(edits, "[{}", ["0"]) == "broken(at: 3)")
    #expect(Self.edit(edits, "", ["0"]) == "broken(at: 0)")
    #expect(Self.edit(edits, "[{},\u{1}]", ["0"]) == "broken(at: 4)")
    let many = "[" + Array(repeating: "{}", count: 100).joined(separator: ",") + "]"
    #expect(Self.edit(edits, many, ["0"], most: 300) == "tooLarge")
    #expect(Self.edit(edits, many, ["0"], most: many.utf8.count - 1) == "tooLarge")
    #expect(Self.edit(edits, many, ["0"], most: 801).utf8.count == 801)
    #expect(Self.edit(edits, many, ["\"" + String(repeating: "x", count: 1 << 20) + "\""], most: 1 << 10) == "tooLarge")
    #expect(String(decoding: JSONEdits.string([0x22, 0xff, 0x0a]), as: UTF8.self) == "\"\\\"\u{fffd}\\u000a\"")
  }

  // MARK: - Against a slow reading of the same words

  indirect enum Tree: Equatable {
    case scalar(String)
    case list([Tree])
    case object([Pair])

    struct Pair: Equatable {
      var name: String
      var value: Tree
    }
  }

  // Bodies with few names, so that paths meet them; white space anywhere, names escaped now and then, names twice.
  @Test("random bodies and edits, held against a tree", arguments: 0..<8)
  func random(_ seed: Int) throws {
    var random = SeededRandom(seed: UInt64(seed) + 1)
    for _ in 0..<400 {
      let tree = Self.tree(&random, depth: 4)
      let body = Self.write(tree, &random)
      let paths = (0..<3).map { _ in Self.path(&random) }
      let remove = random.chance(0.5) ? [paths[0]] : []
      let rename = random.chance(0.5) ? [(paths[1], "d")] : []
      let set = random.chance(0.5) ? [paths[2]] : []
      guard let edits = try? JSONEdits(remove: remove, rename: rename, set: set) else { continue }
      let done = Self.edit(edits, body, set.map { _ in "[9]" }, most: 1 << 20)
      var wanted = tree
      for path in remove { wanted = Self.remove(wanted, Self.steps(path)) }
      for (path, name) in rename { wanted = Self.rename(wanted, Self.steps(path), name) }
      // A body that has no place for it is judged before anything is changed.
      if let path = set.first {
        let fits =
          if case .object = tree { path.first != "[" } else if case .list = tree { path.first == "[" } else { false }
        if !fits {
          #expect(done == "misfit")
          continue
        }
        wanted = Self.set(wanted, Self.steps(path))
      }
      #expect(Self.compact(done) == Self.write(wanted), "\(body) remove \(remove) rename \(rename) set \(set)")
      if wanted == tree && set.isEmpty { #expect(done == body, "byte for byte") }
    }
  }

  private static func steps(_ path: String) -> [String] {
    path.replacing("[]", with: ".[]").split(separator: ".").map(String.init)
  }

  private static func path(_ random: inout SeededRandom) -> String {
    var parts: [String] = random.chance(0.2) ? ["[]"] : []
    for _ in 0...Int(random.next() % 2) {
      parts.append("abc".map(String.init)[Int(random.next() % 3)] + (random.chance(0.25) ? "[]" : ""))
    }
    parts.append("abc".map(String.init)[Int(random.next() % 3)])
    return parts.joined(separator: ".")
  }

  private static func tree(_ random: inout SeededRandom, depth: Int) -> Tree {
    switch random.next() % (depth == 0 ? 1 : 4) {
    case 0:
      return .scalar(["1", "-0.50", "2e+7", "true", "null", "\"x\\\"}\"", "\"{[,\"", "\"\""][Int(random.next() % 8)])
    case 1: return .list((0..<Int(random.next() % 4)).map { _ in tree(&random, depth: depth - 1) })
    default:
      return .object(
        (0..<Int(random.next() % 5)).map { _ in
          Tree.Pair(
            name: "abcd".map(String.init)[Int(random.next() % 4)], value: tree(&random, depth: depth - 1))
        })
    }
  }

  private static func write(_ tree: Tree, _ random: inout SeededRandom) -> String {
    func space() -> String { random.chance(0.2) ? [" ", "\n", "\t ", "\r\n"][Int(random.next() % 4)] : "" }
    func value(_ tree: Tree) -> String {
      switch tree {
      case .scalar(let text): return space() + text + space()
      case .list(let items):
        return space() + "[" + (items.isEmpty ? space() : items.map(value).joined(separator: ",")) + "]" + space()
      case .object(let pairs):
        let inner = pairs.map { pair in
          let name =
            random.chance(0.1)
            ? "\\u006" + (pair.name == "a" ? "1" : pair.name == "b" ? "2" : pair.name == "c" ? "3" : "4") : pair.name
          return space() + "\"" + name + "\"" + space() + ":" + value(pair.value)
        }
        return space() + "{" + (pairs.isEmpty ? space() : inner.joined(separator: ",")) + "}" + space()
      }
    }
    return value(tree)
  }

  private static func write(_ tree: Tree) -> String {
    switch tree {
    case .scalar(let text): text
    case .list(let items): "[" + items.map { write($0) }.joined(separator: ",") + "]"
    case .object(let pairs): "{" + pairs.map { "\"\($0.name)\":" + write($0.value) }.joined(separator: ",") + "}"
    }
  }

  /// Without white space and escapes of names; texts of these tests hold neither.
  private static func compact(_ text: String) -> String {
    var text = text
    for (escape, name) in [("\\u0061", "a"), ("\\u0062", "b"), ("\\u0063", "c"), ("\\u0064", "d")] {
      text = text.replacing(escape, with: name)
    }
    return String(text.unicodeScalars.filter { !" \n\r\t".unicodeScalars.contains($0) })
  }

  private static func remove(_ tree: Tree, _ steps: [String]) -> Tree {
    change(tree, steps) { pairs, name in pairs.filter { $0.name != name } }
  }

  private static func rename(_ tree: Tree, _ steps: [String], _ new: String) -> Tree {
    change(tree, steps) { pairs, name in
      guard pairs.contains(where: { $0.name == name }) else { return pairs }
      return pairs.filter { $0.name != new }.map { $0.name == name ? Tree.Pair(name: new, value: $0.value) : $0 }
    }
  }

  private static func change(_ tree: Tree, _ steps: [String], _ last: ([Tree.Pair], String) -> [Tree.Pair]) -> Tree {
    switch (tree, steps[0]) {
    case (.list(let items), "[]"): return .list(items.map { change($0, Array(steps.dropFirst()), last) })
    case (.object(let pairs), let name) where name != "[]":
      if steps.count == 1 { return .object(last(pairs, name)) }
      return .object(
        pairs.map {
          $0.name == name ? Tree.Pair(name: $0.name, value: change($0.value, Array(steps.dropFirst()), last)) : $0
        })
    default: return tree
    }
  }

  private static func set(_ tree: Tree, _ steps: [String]) -> Tree {
    if steps.isEmpty { return .list([.scalar("9")]) }
    let rest = Array(steps.dropFirst())
    if steps[0] == "[]" {
      guard case .list(let items) = tree else { return tree }
      return .list(
        items.map { item in
          switch (item, rest.first) {
          case (.object, let next?) where next != "[]": set(item, rest)
          case (.list, "[]"): set(item, rest)
          default: item
          }
        })
    }
    // Items are never made.
    let makes = !rest.contains("[]")
    guard case .object(var pairs) = tree else { return makes ? set(.object([]), steps) : tree }
    guard let first = pairs.firstIndex(where: { $0.name == steps[0] }) else {
      if makes { pairs.append(Tree.Pair(name: steps[0], value: set(.object([]), rest))) }
      return .object(pairs)
    }
    if !makes {
      return .object(pairs.map { $0.name == steps[0] ? Tree.Pair(name: $0.name, value: set($0.value, rest)) : $0 })
    }
    pairs[first].value = set(pairs[first].value, rest)
    var isFirst = true
    return .object(
      pairs.filter { pair in
        if pair.name != steps[0] { return true }
        defer { isFirst = false }
        return isFirst
      })
  }
}
