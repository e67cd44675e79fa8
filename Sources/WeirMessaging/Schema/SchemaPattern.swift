// SPDX-License-Identifier: Apache-2.0

/// Whether a regular expression is found in a text, in time that the lengths of both bound: no text makes it slow.
///
/// Source: ECMA-262, *RegExp* with the flag `u`, which JSON Schema names (2020-12 core §6.4); Cox, *Regular Expression
/// Matching: the Virtual Machine Approach* (2009), after Thompson (1968): all ways are followed at once, each at most once per
/// character. What cannot be followed so, references back and looking ahead, is refused when the pattern is read.
///
/// ## Invariants
/// 1. A step of the search is an instruction at a character; there are at most instructions × (characters + 2).
/// 2. A pattern has at most ``instructionsMax`` instructions, counts multiplied out.
struct SchemaPattern: Sendable {
  static let instructionsMax = 10_000
  private static let depthMax = 100

  struct Unusable: Error, Equatable { var what: String }

  private enum Instruction: Sendable {
    case one(UInt32)
    case any
    case set(Int)
    case split(Int, Int)
    case jump(Int)
    case start, end
    case boundary(Bool)
    case found
  }

  private var program: [Instruction] = []
  private var sets: [CharacterSet] = []

  init(_ pattern: String) throws(Unusable) {
    var reader = Reader(text: pattern.unicodeScalars.map(\.value))
    let tree = try reader.alternatives(0)
    if reader.at < reader.text.count { throw Unusable(what: "a ) has no (") }
    sets = reader.sets
    try write(tree)
    program.append(.found)
  }

  // MARK: Searching

  /// Characters of UTF-8, half surrogate pairs among them.
  static func characters(_ bytes: [UInt8]) -> [UInt32] {
    var out: [UInt32] = []
    out.reserveCapacity(bytes.count)
    var i = 0
    while i < bytes.count {
      let byte = UInt32(bytes[i])
      let more = byte < 0xc0 ? 0 : byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
      var code = more == 0 ? byte : byte & (0x3f >> UInt32(more))
      for j in 0..<more where i + 1 + j < bytes.count { code = code << 6 | UInt32(bytes[i + 1 + j]) & 0x3f }
      out.append(code)
      i += 1 + more
    }
    return out
  }

  /// Nil when the steps that are left are used up first.
  func isFound(in text: [UInt32], steps: inout Int) -> Bool? {
    // The fronts are made anew for each text.
    steps -= program.count
    if steps <= 0 { return nil }
    var now = Front(program.count)
    var next = Front(program.count)
    var pending: [Int] = []
    for at in 0...text.count {
      // The search begins anew at each character.
      if follow(0, text, at, &now, &pending, &steps) { return true }
      if at == text.count { break }
      next.clear()
      let code = text[at]
      for i in 0..<now.count {
        let step = now.list[i]
        let isStep: Bool =
          switch program[step] {
          case .one(let wanted): wanted == code
          case .any: code != 0x0a && code != 0x0d && code != 0x2028 && code != 0x2029
          case .set(let set): sets[set].contains(code)
          default: false
          }
        if isStep, follow(step + 1, text, at + 1, &next, &pending, &steps) { return true }
      }
      swap(&now, &next)
      if steps <= 0 { return nil }
    }
    return false
  }

  /// All that can be reached without a character; true when that is the end.
  private func follow(
    _ first: Int, _ text: [UInt32], _ at: Int, _ front: inout Front, _ pending: inout [Int], _ steps: inout Int
  ) -> Bool {
    pending.append(first)
    while let step = pending.popLast() {
      guard front.add(step) else { continue }
      steps -= 1
      switch program[step] {
      case .found:
        pending.removeAll(keepingCapacity: true)
        return true
      case .jump(let to): pending.append(to)
      case .split(let a, let b):
        pending.append(b)
        pending.append(a)
      case .start: if at == 0 { pending.append(step + 1) }
      case .end: if at == text.count { pending.append(step + 1) }
      case .boundary(let isWanted):
        let before = at > 0 && CharacterSet.isWord(text[at - 1])
        let after = at < text.count && CharacterSet.isWord(text[at])
        if (before != after) == isWanted { pending.append(step + 1) }
      case .one, .any, .set: break
      }
    }
    return false
  }

  /// Instructions at which the search is, each once, in the order in which they came.
  private struct Front {
    var list: [Int]
    var places: [Int]
    var count = 0

    init(_ size: Int) {
      list = Array(repeating: 0, count: size)
      places = list
    }

    mutating func clear() { count = 0 }

    mutating func add(_ step: Int) -> Bool {
      if places[step] < count, list[places[step]] == step { return false }
      places[step] = count
      list[count] = step
      count += 1
      return true
    }
  }

  // MARK: Writing the program

  private indirect enum Tree {
    case one(UInt32)
    case any
    case set(Int)
    case sequence([Tree])
    case either([Tree])
    case times(Tree, least: Int, most: Int?)
    case start, end
    case boundary(Bool)
  }

  private mutating func add(_ instruction: Instruction) throws(Unusable) {
    if program.count >= SchemaPattern.instructionsMax {
      throw Unusable(what: "it is too large, its counts multiplied out")
    }
    program.append(instruction)
  }

  private mutating func write(_ tree: Tree) throws(Unusable) {
    switch tree {
    case .one(let code): try add(.one(code))
    case .any: try add(.any)
    case .set(let set): try add(.set(set))
    case .start: try add(.start)
    case .end: try add(.end)
    case .boundary(let isWanted): try add(.boundary(isWanted))
    case .sequence(let trees): for tree in trees { try write(tree) }
    case .either(let trees):
      var ends: [Int] = []
      for (i, tree) in trees.enumerated() {
        guard i + 1 < trees.count else {
          try write(tree)
          break
        }
        let split = program.count
        try add(.jump(0))
        try write(tree)
        ends.append(program.count)
        try add(.jump(0))
        program[split] = .split(split + 1, program.count)
      }
      for end in ends { program[end] = .jump(program.count) }
    case .times(let tree, let least, let most):
      for _ in 0..<least { try write(tree, counted: true) }
      if let most {
        var splits: [Int] = []
        for _ in least..<most {
          splits.append(program.count)
          try add(.jump(0))
          try write(tree, counted: true)
        }
        for split in splits { program[split] = .split(split + 1, program.count) }
      } else {
        let split = program.count
        try add(.jump(0))
        try write(tree)
        try add(.jump(split))
        program[split] = .split(split + 1, program.count)
      }
    }
  }

  /// What writes nothing is not written a billion times.
  private mutating func write(_ tree: Tree, counted: Bool) throws(Unusable) {
    let before = program.count
    try write(tree)
    if counted, program.count == before { try add(.jump(before + 1)) }
  }

  // MARK: Reading

  private struct Reader {
    let text: [UInt32]
    var at = 0
    var sets: [CharacterSet] = []

    func has(_ letters: String) -> Bool {
      let codes = letters.unicodeScalars.map(\.value)
      return at + codes.count <= text.count && Array(text[at..<at + codes.count]) == codes
    }

    mutating func take(_ letters: String) -> Bool {
      guard has(letters) else { return false }
      at += letters.unicodeScalars.count
      return true
    }

    mutating func alternatives(_ depth: Int) throws(Unusable) -> Tree {
      if depth > SchemaPattern.depthMax { throw Unusable(what: "its groups are too deep") }
      var found: [Tree] = []
      repeat {
        var items: [Tree] = []
        while at < text.count, !has("|"), !has(")") { items.append(try item(depth)) }
        found.append(items.count == 1 ? items[0] : .sequence(items))
      } while take("|")
      return found.count == 1 ? found[0] : .either(found)
    }

    private mutating func item(_ depth: Int) throws(Unusable) -> Tree {
      if take("^") { return .start }
      if take("$") { return .end }
      if take("\\b") { return .boundary(true) }
      if take("\\B") { return .boundary(false) }
      return try counted(try atom(depth))
    }

    private mutating func atom(_ depth: Int) throws(Unusable) -> Tree {
      if take("(") {
        if take("?") {
          if take("<"), !has("="), !has("!") {
            while at < text.count, !has(">") { at += 1 }
            at += 1
          } else if !take(":") {
            throw Unusable(what: "it looks ahead or behind, which takes time that nothing bounds")
          }
        }
        let inner = try alternatives(depth + 1)
        guard take(")") else { throw Unusable(what: "a ( has no )") }
        return inner
      }
      if take(".") { return .any }
      if take("[") { return try characterClass() }
      if has("*") || has("+") || has("?") { throw Unusable(what: "what is repeated is missing") }
      if take("\\") {
        if let set = try classEscape() {
          sets.append(set)
          return .set(sets.count - 1)
        }
        return .one(try escape(inClass: false))
      }
      at += 1
      return .one(text[at - 1])
    }

    private mutating func counted(_ tree: Tree) throws(Unusable) -> Tree {
      var least = 0
      var most: Int?
      if take("*") {
      } else if take("+") {
        least = 1
      } else if take("?") {
        most = 1
      } else if let (from, to) = count() {
        least = from
        most = to
      } else {
        return tree
      }
      // Whether as few or as many are preferred changes nothing in whether it is found.
      _ = take("?")
      if let most, most < least { throw Unusable(what: "the counts of a repetition are the wrong way round") }
      guard max(least, most ?? 0) <= SchemaPattern.instructionsMax else {
        throw Unusable(what: "it is too large, its counts multiplied out")
      }
      if has("*") || has("+") || has("?") { throw Unusable(what: "a repetition is repeated") }
      return .times(tree, least: least, most: most)
    }

    /// `{2}`, `{2,}`, `{2,3}`; anything else is no count, and the brace itself.
    private mutating func count() -> (Int, Int?)? {
      let back = at
      guard take("{"), let least = digits() else {
        at = back
        return nil
      }
      if take("}") { return (least, least) }
      guard take(",") else {
        at = back
        return nil
      }
      if take("}") { return (least, nil) }
      guard let most = digits(), take("}") else {
        at = back
        return nil
      }
      return (least, most)
    }

    private mutating func digits() -> Int? {
      var value: Int?
      while at < text.count, (0x30...0x39).contains(text[at]) {
        value = min(1_000_000_000, (value ?? 0) * 10 + Int(text[at] - 0x30))
        at += 1
      }
      return value
    }

    private mutating func characterClass() throws(Unusable) -> Tree {
      var set = CharacterSet()
      set.isNegated = take("^")
      while !take("]") {
        guard at < text.count else { throw Unusable(what: "a [ has no ]") }
        guard let first = try member(of: &set) else { continue }
        guard has("-"), at + 1 < text.count, text[at + 1] != 0x5d else {
          set.ranges.append(first...first)
          continue
        }
        at += 1
        var others = CharacterSet()
        guard let last = try member(of: &others), first <= last else {
          throw Unusable(what: "a range of characters is none")
        }
        set.ranges.append(first...last)
      }
      sets.append(set)
      return .set(sets.count - 1)
    }

    /// One character of a class; nil for an escape that is a class itself.
    private mutating func member(of set: inout CharacterSet) throws(Unusable) -> UInt32? {
      guard at < text.count else { throw Unusable(what: "a [ has no ]") }
      if take("\\") {
        if let other = try classEscape() {
          set.others.append(other)
          return nil
        }
        return try escape(inClass: true)
      }
      at += 1
      return text[at - 1]
    }

    /// Behind a backslash: `d`, `D`, `w`, `W`, `s`, `S`, `p{…}`, `P{…}`; nil for others.
    private mutating func classEscape() throws(Unusable) -> CharacterSet? {
      for (name, set) in [("d", CharacterSet.digits), ("w", CharacterSet.word), ("s", CharacterSet.space)] {
        if take(name) { return set }
        if take(name.uppercased()) {
          var other = set
          other.isNegated = true
          return other
        }
      }
      let isNegated = has("P")
      guard take("p") || take("P") else { return nil }
      guard take("{") else { throw Unusable(what: "\\p has no {…}") }
      var name = ""
      while at < text.count, !has("}") {
        if let scalar = Unicode.Scalar(text[at]) { name.unicodeScalars.append(scalar) }
        at += 1
      }
      guard take("}"), let categories = CharacterSet.categories(name) else {
        throw Unusable(what: "\\p{\(name)} is no general category of Unicode that is known here")
      }
      var set = CharacterSet()
      set.categories = categories
      set.isNegated = isNegated
      return set
    }

    /// Behind a backslash, one character.
    private mutating func escape(inClass: Bool) throws(Unusable) -> UInt32 {
      guard at < text.count else { throw Unusable(what: "a \\ stands at its end") }
      let code = text[at]
      at += 1
      switch Character(Unicode.Scalar(code) ?? " ") {
      case "n": return 0x0a
      case "r": return 0x0d
      case "t": return 0x09
      case "f": return 0x0c
      case "v": return 0x0b
      case "b" where inClass: return 0x08
      case "0" where at >= text.count || !(0x30...0x39).contains(text[at]): return 0
      case "x":
        if let value = hex(2) { return value }
      case "u":
        if take("{") {
          let start = at
          while at < text.count, !has("}") { at += 1 }
          let end = at
          at = start
          if end > start, end - start <= 6, let value = hex(end - start), value <= 0x10ffff, take("}") { return value }
        } else if let value = hex(4) {
          let back = at
          if value & 0xfc00 == 0xd800, take("\\u"), let low = hex(4), low & 0xfc00 == 0xdc00 {
            return 0x10000 + (value & 0x3ff) << 10 + low & 0x3ff
          }
          at = back
          return value
        }
      case "c":
        if at < text.count, (text[at] | 0x20) &- 0x61 < 26 {
          at += 1
          return text[at - 1] & 31
        }
      case "1"..."9": throw Unusable(what: "it refers back to a group, which takes time that nothing bounds")
      case "k": throw Unusable(what: "it refers back to a group, which takes time that nothing bounds")
      default:
        let isLetter = code < 0x80 && ((code | 0x20) &- 0x61 < 26 || code &- 0x30 < 10)
        if !isLetter { return code }
      }
      throw Unusable(what: "an escape is none that ECMA-262 knows")
    }

    private mutating func hex(_ count: Int) -> UInt32? {
      guard at + count <= text.count else { return nil }
      var value: UInt32 = 0
      for code in text[at..<at + count] {
        guard let digit = Unicode.Scalar(code).flatMap({ Character($0).hexDigitValue }), code < 0x80 else { return nil }
        value = value << 4 | UInt32(digit)
      }
      at += count
      return value
    }
  }

  /// Characters, by ranges, categories, and sets within the set.
  private struct CharacterSet: Sendable {
    var ranges: [ClosedRange<UInt32>] = []
    var categories: [Unicode.GeneralCategory] = []
    var others: [CharacterSet] = []
    var isNegated = false

    func contains(_ code: UInt32) -> Bool {
      var isIn = ranges.contains { $0.contains(code) } || others.contains { $0.contains(code) }
      if !isIn, !categories.isEmpty {
        let category = Unicode.Scalar(code)?.properties.generalCategory ?? .surrogate
        isIn = categories.contains(category)
      }
      return isIn != isNegated
    }

    static let digits = CharacterSet(ranges: [0x30...0x39])
    static let word = CharacterSet(ranges: [0x30...0x39, 0x41...0x5a, 0x5f...0x5f, 0x61...0x7a])
    /// ECMA-262, *WhiteSpace* and *LineTerminator*.
    static let space = CharacterSet(
      ranges: [
        0x09...0x0d, 0x20...0x20, 0xa0...0xa0, 0x1680...0x1680, 0x2000...0x200a, 0x2028...0x2029, 0x202f...0x202f,
        0x205f...0x205f, 0x3000...0x3000, 0xfeff...0xfeff,
      ])

    static func isWord(_ code: UInt32) -> Bool { word.contains(code) }

    /// By their short and long names.
    static func categories(_ name: String) -> [Unicode.GeneralCategory]? {
      var name = name
      for prefix in ["General_Category=", "gc="] where name.hasPrefix(prefix) { name.removeFirst(prefix.count) }
      switch name {
      case "L", "Letter":
        return [.uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter]
      case "Lu", "Uppercase_Letter": return [.uppercaseLetter]
      case "Ll", "Lowercase_Letter": return [.lowercaseLetter]
      case "Lt", "Titlecase_Letter": return [.titlecaseLetter]
      case "Lm", "Modifier_Letter": return [.modifierLetter]
      case "Lo", "Other_Letter": return [.otherLetter]
      case "M", "Mark": return [.nonspacingMark, .spacingMark, .enclosingMark]
      case "N", "Number": return [.decimalNumber, .letterNumber, .otherNumber]
      case "Nd", "Decimal_Number", "digit": return [.decimalNumber]
      case "P", "Punctuation", "punct":
        return [
          .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
          .finalPunctuation, .otherPunctuation,
        ]
      case "S", "Symbol": return [.mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol]
      case "Sc", "Currency_Symbol": return [.currencySymbol]
      case "Z", "Separator": return [.spaceSeparator, .lineSeparator, .paragraphSeparator]
      case "Zs", "Space_Separator": return [.spaceSeparator]
      case "Cc", "Control", "cntrl": return [.control]
      default: return nil
      }
    }
  }
}
