// SPDX-License-Identifier: Apache-2.0

/// What is changed of a JSON body on its way: members taken out, renamed, set, and the whole put into another form.
///
/// In this order, whatever the file says first. A body is never read into values: what no path names is passed on byte for
/// byte, so numbers keep their digits, members their order, and white space its place.
///
/// - **remove** takes every member of that name out, however the name is written, and however often it stands there.
/// - **rename** changes a name and nothing else; a member that has the new name already gives way.
/// - **set** puts a value in the place of the first member of that name, and takes the others out: readers differ on which of two
///   they see. One that is missing stands last in its object; objects on the way to it are made, and what is no object there gives
///   way. Items of a list are never made.
/// - **template** is a JSON text whose strings `"$body"` and `"$body.a.b"` stand for what the body has there, or `null`.
///
/// ## Invariants
/// 1. What comes out of JSON is JSON.
/// 2. Where no path finds anything the body is the same, byte for byte.
/// 3. Never more comes out than `most` bytes and one member.
public struct JSONEdits: Sendable, Equatable {
  public enum Mistake: Error, Sendable, Equatable, CustomStringConvertible {
    case path(JSONPath.Mistake)
    case badName(name: String)
    case twice(path: String)
    case within(path: String)
    case tooMany
    case badTemplate(line: Int, column: Int)
    case badReference(text: String)

    public var description: String {
      switch self {
      case .path(let mistake): mistake.description
      case .badName(let name): "“\(name)” is no new name: a member is renamed within its object, to a name without dots"
      case .twice(let path): "“\(path)” is named twice"
      case .within(let path): "“\(path)” is set, and so is something within it or around it"
      case .tooMany: "more than \(JSONEdits.pathsMax) paths"
      case .badTemplate(let line, let column): "the template is no JSON: it breaks at line \(line), column \(column)"
      case .badReference(let text): "“\(text)” names items of a list; a template takes a list as a whole"
      }
    }
  }

  public enum Outcome: Sendable, Equatable {
    case done
    /// It is no JSON; the offset where it breaks.
    case broken(at: Int)
    /// Something is set in an object, and the body is none; or in the items of a list, and it is no list.
    case misfit
    case tooLarge
  }

  /// Of each kind: a bit for each member of an object that is looked for.
  public static let pathsMax = 64

  private enum Action: Sendable, Equatable { case none, remove, rename([UInt8]), set(Int) }

  /// What is to be done with a value, and with what stands in it.
  private struct Node: Sendable, Equatable {
    var members: [Member] = []
    /// Of the items of a list.
    var each: Int?
    var action = Action.none
    /// Something is set in it, so that it is made where it is missing.
    var makes = false
  }

  private struct Member: Sendable, Equatable {
    var name: [UInt8]
    var node: Int
  }

  private enum Piece: Sendable, Equatable {
    case literal([UInt8])
    case body([[UInt8]])
    case text(Int)
  }

  /// One tree each; the root is the first node.
  private var removed: [Node] = [Node()]
  private var renamed: [Node] = [Node()]
  private var assigned: [Node] = [Node()]
  private var pieces: [Piece]?
  /// How many values are set; those of the template's texts stand behind them.
  public let setCount: Int
  /// Texts of the template that have a `$`: whoever calls fills them in.
  public private(set) var texts: [String] = []

  public init(
    remove: [String] = [], rename: [(path: String, name: String)] = [], set: [String] = [], template: String? = nil
  ) throws(Mistake) {
    setCount = set.count
    if max(remove.count, rename.count, set.count) > JSONEdits.pathsMax { throw .tooMany }
    for path in remove {
      let node = JSONEdits.grow(&removed, try JSONEdits.path(path))
      if removed[node].action != .none { throw .twice(path: path) }
      removed[node].action = .remove
    }
    for (path, name) in rename {
      let steps = try JSONEdits.path(path)
      if name.isEmpty || name.contains(".") || name.contains("[") { throw .badName(name: name) }
      let node = JSONEdits.grow(&renamed, steps)
      if renamed[node].action != .none { throw .twice(path: path) }
      if steps.last == .member(Array(name.utf8)) { throw .badName(name: name) }
      let around = JSONEdits.grow(&renamed, Array(steps.dropLast()))
      let action = Action.rename(Array(name.utf8))
      let siblings = renamed[around].members
      if siblings.contains(where: { renamed[$0.node].action == action }) { throw .twice(path: name) }
      renamed[node].action = action
    }
    for (index, path) in set.enumerated() {
      let steps = try JSONEdits.path(path)
      let node = JSONEdits.grow(&assigned, steps)
      if assigned[node].action != .none { throw .twice(path: path) }
      assigned[node].action = .set(index)
      for count in 1..<max(1, steps.count) {
        let around = JSONEdits.grow(&assigned, Array(steps.prefix(count)))
        if assigned[around].action != .none { throw .within(path: path) }
      }
      if !assigned[node].members.isEmpty || assigned[node].each != nil { throw .within(path: path) }
    }
    for index in assigned.indices.reversed() {
      // A node stands behind the one around it.
      assigned[index].makes =
        assigned[index].action != .none || assigned[index].members.contains { assigned[$0.node].makes }
    }
    if let template { try read(template) }
  }

  public var isEmpty: Bool { removed.count + renamed.count + assigned.count == 3 && pieces == nil }

  private static func path(_ text: String) throws(Mistake) -> [JSONPath.Step] {
    do throws(JSONPath.Mistake) { return try JSONPath(text).steps } catch { throw .path(error) }
  }

  private static func grow(_ tree: inout [Node], _ steps: [JSONPath.Step]) -> Int {
    var at = 0
    for step in steps {
      switch step {
      case .member(let name):
        if let found = tree[at].members.first(where: { $0.name == name }) {
          at = found.node
          continue
        }
        tree[at].members.append(Member(name: name, node: tree.count))
      case .each:
        if let each = tree[at].each {
          at = each
          continue
        }
        tree[at].each = tree.count
      }
      at = tree.count
      tree.append(Node())
    }
    return at
  }

  // MARK: - The template

  private mutating func read(_ template: String) throws(Mistake) {
    let bytes = Array(template.utf8)
    let span = bytes.span
    if let at = JSONText.breach(span) {
      let before = bytes[..<at]
      throw .badTemplate(
        line: before.count { $0 == 0x0a } + 1, column: at - (before.lastIndex(of: 0x0a) ?? -1))
    }
    var pieces: [Piece] = []
    var at = 0
    var start = 0
    while at < bytes.count {
      guard bytes[at] == UInt8(ascii: "\"") else {
        at += 1
        continue
      }
      let string = at
      JSONTokens.skipString(bytes, &at)
      let end = at
      var behind = at
      JSONTokens.skipSpace(bytes, &behind)
      let isName = behind < bytes.count && bytes[behind] == UInt8(ascii: ":")
      guard !isName, let text = JSONTokens.text(bytes, string..<end), text.contains(UInt8(ascii: "$")) else { continue }
      pieces.append(.literal(Array(bytes[start..<string])))
      start = end
      let word = Array("$body".utf8)
      if text.starts(with: word), text.count == word.count || text[word.count] == UInt8(ascii: ".") {
        pieces.append(.body(try reference(text, word.count)))
      } else {
        pieces.append(.text(texts.count))
        texts.append(String(decoding: text, as: UTF8.self))
      }
    }
    pieces.append(.literal(Array(bytes[start...])))
    self.pieces = pieces
  }

  private func reference(_ text: [UInt8], _ start: Int) throws(Mistake) -> [[UInt8]] {
    if text.count == start { return [] }
    var names: [[UInt8]] = []
    for step in try JSONEdits.path(String(decoding: text[(start + 1)...], as: UTF8.self)) {
      guard case .member(let name) = step else { throw .badReference(text: String(decoding: text, as: UTF8.self)) }
      names.append(name)
    }
    return names
  }

  // MARK: - A body

  /// A text as a value that is set.
  public static func string(_ text: some Sequence<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    JSONTokens.appendString(text, to: &out)
    return out
  }

  /// The changed body.
  ///
  /// `values` are JSON texts: those that are set, in the order of their paths, then the template's.
  public func apply(_ body: [UInt8], values: [[UInt8]], most: Int, into out: inout [UInt8]) -> Outcome {
    precondition(values.count == setCount + texts.count, "a value for each path and text")
    if let at = JSONText.breach(body.span) { return .broken(at: at) }
    if body.count > most { return .tooLarge }
    if assigned.count > 1 {
      var at = 0
      JSONTokens.skipSpace(body, &at)
      let fits =
        body[at] == UInt8(ascii: "{") && !assigned[0].members.isEmpty
        || body[at] == UInt8(ascii: "[") && assigned[0].each != nil
      if !fits { return .misfit }
    }
    var current = body
    for tree in [removed, renamed, assigned] where tree.count > 1 {
      var pass = Pass(tree: tree, values: values, bytes: current, most: most)
      guard pass.run() else { return .tooLarge }
      current = pass.out
    }
    if let pieces {
      guard let made = fill(pieces, current, values, most: most) else { return .tooLarge }
      current = made
    }
    if current.count > most { return .tooLarge }
    out.append(contentsOf: current)
    return .done
  }

  private func fill(_ pieces: [Piece], _ body: [UInt8], _ values: [[UInt8]], most: Int) -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(min(most, body.count + 256))
    for piece in pieces {
      switch piece {
      case .literal(let bytes): out.append(contentsOf: bytes)
      case .text(let index): out.append(contentsOf: values[setCount + index])
      case .body(let names):
        if let range = JSONEdits.find(body, names) {
          out.append(contentsOf: body[range])
        } else {
          out.append(contentsOf: Array("null".utf8))
        }
      }
      if out.count > most { return nil }
    }
    return out
  }

  /// The value at these names; of two of one name the last, as most readers have it.
  static func find(_ bytes: [UInt8], _ names: [[UInt8]]) -> Range<Int>? {
    var at = 0
    JSONTokens.skipSpace(bytes, &at)
    var end = at
    JSONTokens.skipValue(bytes, &end)
    var range = at..<end
    for name in names {
      guard bytes[range.lowerBound] == UInt8(ascii: "{") else { return nil }
      var found: Range<Int>?
      var at = range.lowerBound + 1
      JSONTokens.skipSpace(bytes, &at)
      while bytes[at] != UInt8(ascii: "}") {
        let start = at
        JSONTokens.skipString(bytes, &at)
        let string = start..<at
        JSONTokens.skipSpace(bytes, &at)
        at += 1
        JSONTokens.skipSpace(bytes, &at)
        let value = at
        JSONTokens.skipValue(bytes, &at)
        if JSONTokens.means(bytes, string, name) { found = value..<at }
        JSONTokens.skipSpace(bytes, &at)
        if bytes[at] == UInt8(ascii: ",") {
          at += 1
          JSONTokens.skipSpace(bytes, &at)
        }
      }
      guard let found else { return nil }
      range = found
    }
    return range
  }

  /// One kind of edits, applied to one body.
  private struct Pass {
    let tree: [Node]
    let values: [[UInt8]]
    let bytes: [UInt8]
    let most: Int
    var out: [UInt8] = []
    var at = 0
    var isTooLarge = false

    init(tree: [Node], values: [[UInt8]], bytes: [UInt8], most: Int) {
      self.tree = tree
      self.values = values
      self.bytes = bytes
      self.most = most
    }

    /// False when it became too large.
    mutating func run() -> Bool {
      out.reserveCapacity(bytes.count + 256)
      JSONTokens.skipSpace(bytes, &at)
      out.append(contentsOf: bytes[..<at])
      value(0)
      if isTooLarge { return false }
      out.append(contentsOf: bytes[at...])
      return true
    }

    private mutating func value(_ index: Int) {
      let node = tree[index]
      let start = at
      switch bytes[at] {
      case UInt8(ascii: "{") where !node.members.isEmpty: object(node)
      case UInt8(ascii: "["):
        if let each = node.each {
          list(each)
        } else {
          instead(node, start)
        }
      default: instead(node, start)
      }
    }

    /// Of a value that has no place for what is to be done in it.
    private mutating func instead(_ node: Node, _ start: Int) {
      JSONTokens.skipValue(bytes, &at)
      if node.makes && !node.members.isEmpty {
        make(node)
      } else {
        out.append(contentsOf: bytes[start..<at])
      }
    }

    private mutating func list(_ each: Int) {
      out.append(UInt8(ascii: "["))
      at += 1
      while !isTooLarge {
        var start = at
        JSONTokens.skipSpace(bytes, &at)
        out.append(contentsOf: bytes[start..<at])
        if bytes[at] != UInt8(ascii: "]") {
          item(each)
          start = at
          JSONTokens.skipSpace(bytes, &at)
          out.append(contentsOf: bytes[start..<at])
        }
        out.append(bytes[at])
        at += 1
        if bytes[at - 1] == UInt8(ascii: "]") { return }
        if out.count > most { isTooLarge = true }
      }
    }

    /// An item is changed where it is what the path says, and never made.
    private mutating func item(_ each: Int) {
      let node = tree[each]
      let fits =
        bytes[at] == UInt8(ascii: "{") && !node.members.isEmpty || bytes[at] == UInt8(ascii: "[") && node.each != nil
      if fits { return value(each) }
      let start = at
      JSONTokens.skipValue(bytes, &at)
      out.append(contentsOf: bytes[start..<at])
    }

    private mutating func object(_ node: Node) {
      let victims = self.victims(node)
      var wasEmpty = false
      var done: UInt64 = 0
      var kept = 0
      out.append(UInt8(ascii: "{"))
      at += 1
      // White space behind the last member that was kept: what is added stands before it.
      var tail = at..<at
      while !isTooLarge {
        let lead = at
        JSONTokens.skipSpace(bytes, &at)
        if bytes[at] == UInt8(ascii: "}") {
          wasEmpty = true
          tail = lead..<at
          break
        }
        let nameStart = at
        JSONTokens.skipString(bytes, &at)
        let name = nameStart..<at
        JSONTokens.skipSpace(bytes, &at)
        at += 1
        JSONTokens.skipSpace(bytes, &at)
        let index = node.members.firstIndex { JSONTokens.means(bytes, name, $0.name) }
        if isDropped(node, index, done, victims, name) {
          JSONTokens.skipValue(bytes, &at)
        } else {
          if kept > 0 {
            out.append(contentsOf: bytes[tail])
            out.append(UInt8(ascii: ","))
          }
          kept += 1
          out.append(contentsOf: bytes[lead..<nameStart])
          member(node, index, name)
          if let index { done |= 1 << UInt64(index) }
          tail = at..<at
        }
        let behind = at
        JSONTokens.skipSpace(bytes, &at)
        if tail.lowerBound == behind { tail = behind..<at }
        let isLast = bytes[at] == UInt8(ascii: "}")
        if isLast { break }
        at += 1
        if out.count > most { isTooLarge = true }
      }
      if isTooLarge { return }
      at += 1
      for index in node.members.indices
      where done >> UInt64(index) & 1 == 0 && tree[node.members[index].node].makes {
        if kept > 0 { out.append(UInt8(ascii: ",")) }
        kept += 1
        made(node.members[index])
      }
      if kept > 0 || wasEmpty { out.append(contentsOf: bytes[tail]) }
      out.append(UInt8(ascii: "}"))
    }

    /// The name and the value of a member that is kept; `at` stands at its value.
    private mutating func member(_ node: Node, _ index: Int?, _ name: Range<Int>) {
      let value = at
      guard let index else {
        JSONTokens.skipValue(bytes, &at)
        out.append(contentsOf: bytes[name.lowerBound..<at])
        return
      }
      let child = node.members[index].node
      if case .rename(let new) = tree[child].action {
        JSONTokens.appendString(new, to: &out)
      } else {
        out.append(contentsOf: bytes[name])
      }
      out.append(contentsOf: bytes[name.upperBound..<value])
      if case .set(let number) = tree[child].action {
        JSONTokens.skipValue(bytes, &at)
        out.append(contentsOf: values[number])
      } else {
        self.value(child)
      }
    }

    private func isDropped(_ node: Node, _ index: Int?, _ done: UInt64, _ victims: [[UInt8]], _ name: Range<Int>)
      -> Bool
    {
      if let index {
        switch tree[node.members[index].node].action {
        case .remove: return true
        // Of two of one name readers see the first, or the last.
        case .set: return done >> UInt64(index) & 1 != 0
        case .rename: return false
        case .none: if tree[node.members[index].node].makes && done >> UInt64(index) & 1 != 0 { return true }
        }
      }
      for victim in victims where JSONTokens.means(bytes, name, victim) { return true }
      return false
    }

    /// New names of members that this object has.
    private func victims(_ node: Node) -> [[UInt8]] {
      var names: [[UInt8]] = []
      for member in node.members {
        guard case .rename(let new) = tree[member.node].action else { continue }
        var at = self.at + 1
        JSONTokens.skipSpace(bytes, &at)
        while bytes[at] != UInt8(ascii: "}") {
          let start = at
          JSONTokens.skipString(bytes, &at)
          if JSONTokens.means(bytes, start..<at, member.name) {
            names.append(new)
            break
          }
          JSONTokens.skipSpace(bytes, &at)
          at += 1
          JSONTokens.skipSpace(bytes, &at)
          JSONTokens.skipValue(bytes, &at)
          JSONTokens.skipSpace(bytes, &at)
          if bytes[at] == UInt8(ascii: ",") {
            at += 1
            JSONTokens.skipSpace(bytes, &at)
          }
        }
      }
      return names
    }

    /// A member that is missing.
    private mutating func made(_ member: Member) {
      JSONTokens.appendString(member.name, to: &out)
      out.append(UInt8(ascii: ":"))
      if case .set(let number) = tree[member.node].action {
        out.append(contentsOf: values[number])
      } else {
        make(tree[member.node])
      }
    }

    private mutating func make(_ node: Node) {
      out.append(UInt8(ascii: "{"))
      var isFirst = true
      for member in node.members where tree[member.node].makes {
        if !isFirst { out.append(UInt8(ascii: ",")) }
        isFirst = false
        made(member)
      }
      out.append(UInt8(ascii: "}"))
    }
  }
}
