// SPDX-License-Identifier: Apache-2.0
internal import Yams

/// The bytes of one file as a tree of nodes with exact places, or what is wrong with them.
///
/// Yams (libyaml) reads the YAML. It tells where a node begins; where it ends is found here by reading the text again
/// from there. Anchors, aliases, merge keys and tags are refused: a value must stand where it is used, or no tool can
/// say where it comes from.
package struct Document {
  var root: Node
  var source: Source

  /// 1 MiB: the file of a thousand services has a third of that.
  static let bytesMax = 1 << 20
  /// Levels of nesting; the language itself needs 12.
  static let depthMax = 64

  enum Reading {
    case document(Document)
    case mistakes([Diagnostic], Source)
  }

  /// Reads the bytes of `file`.
  static func read(file: String, bytes: [UInt8]) -> Reading {
    var bytes = bytes[...]
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) { bytes = bytes.dropFirst(3) }
    if bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff]) {
      return refuse(file, "not-utf8", "this file is UTF-16; Weir reads UTF-8", mend: "save it as UTF-8")
    }
    if bytes.count > bytesMax {
      return refuse(
        file, "file-too-large", "this file has \(bytes.count) bytes; a file may have \(bytesMax)",
        mend: "split it: include: [services/*.yaml]")
    }
    guard let text = String(validating: bytes, as: UTF8.self) else { return notUTF8(file, bytes) }
    let source = Source(file: file, text: text)
    if let mistake = forbiddenCharacter(source) { return .mistakes([mistake], source) }
    var composer = Composer(source)
    return composer.read()
  }

  private static func refuse(_ file: String, _ id: String, _ message: String, mend: String) -> Reading {
    let source = Source(file: file, text: "")
    return .mistakes([mistake(source, id, message, source.spot(at: 0), mend: mend)], source)
  }

  private static func notUTF8(_ file: String, _ bytes: ArraySlice<UInt8>) -> Reading {
    let repaired = Source(file: file, text: String(decoding: bytes, as: UTF8.self))
    // The longest valid beginning: by halving, as validity of a prefix up to a broken scalar is monotonic.
    var low = 0
    var high = bytes.count
    while high - low > 4 {
      let middle = (low + high) / 2
      var end = middle
      while end < bytes.count, bytes[bytes.startIndex + end] & 0xc0 == 0x80, end < middle + 4 { end += 1 }
      if String(validating: bytes.prefix(end), as: UTF8.self) != nil { low = middle } else { high = middle }
    }
    var valid = low
    while valid < bytes.count, String(validating: bytes.prefix(valid + 1), as: UTF8.self) != nil { valid += 1 }
    let offset = min(valid, repaired.text.utf8.count)
    return .mistakes(
      [
        mistake(
          repaired, "not-utf8", "this is not UTF-8: a byte here cannot be read", repaired.spot(at: offset),
          mend: "save the file as UTF-8")
      ], repaired)
  }

  /// Line breaks that readers do not agree upon: YAML 1.1 counts them as such, YAML 1.2 and editors do not.
  private static func forbiddenCharacter(_ source: Source) -> Diagnostic? {
    var offset = 0
    var previous: Unicode.Scalar = "\n"
    for scalar in source.text.unicodeScalars {
      switch scalar {
      case "\u{85}", "\u{2028}", "\u{2029}":
        return mistake(
          source, "strange-line-break",
          "the character U+\(String(scalar.value, radix: 16, uppercase: true)) is a line break for some readers only",
          source.spot(at: offset, length: scalar.utf8.count), mend: "remove it, or write it as an escape in quotes")
      default:
        if previous == "\r" && scalar != "\n" { return loneReturn(source, offset - 1) }
      }
      previous = scalar
      offset += UTF8.width(scalar)
    }
    return previous == "\r" ? loneReturn(source, offset - 1) : nil
  }

  private static func loneReturn(_ source: Source, _ offset: Int) -> Diagnostic {
    mistake(
      source, "strange-line-break", "a carriage return without a line feed", source.spot(at: offset, length: 1),
      mend: "save the file with line ends LF or CRLF")
  }

  static func mistake(
    _ source: Source, _ id: String, _ message: String, _ spot: Spot, path: String = "", caret: String? = nil,
    why: String? = nil, mend: String? = nil, related: [Diagnostic.Related] = []
  ) -> Diagnostic {
    Diagnostic(
      id, .error, message, at: Place(file: source.file, path: path, value: spot), spot: spot, caret: caret, why: why,
      mend: mend, related: related)
  }
}

/// Turns what Yams read into nodes with places.
private struct Composer {
  let source: Source
  /// The text that Yams reads: the source's, with marks inserted before keys that stand twice, see ``read()``.
  private var text: String
  private var bytes: [UInt8]
  private var marks: [KeyMark] = []
  private var mistakes: [Diagnostic] = []

  /// One inserted scalar, in the coordinates of `text`.
  private struct KeyMark {
    var line: Int
    var column: Int
  }

  init(_ source: Source) {
    self.source = source
    text = source.text
    bytes = Array(source.text.utf8)
    cursorLine = 1
    cursorColumn = 1
    cursorOffset = 0
  }

  // Where the last mark was: marks come in the order of the file, so each is found from the one before.
  private var cursorLine: Int
  private var cursorColumn: Int
  private var cursorOffset: Int

  /// Reads the whole text.
  ///
  /// Yams stops at the first map with a key that stands twice, and names the place of the first of the two only. So
  /// that all of them can be told, with both places, that key gets a private-use character in front and the text is read
  /// again; the marks are taken off when the nodes are made. At most 20 times, enough for one sitting.
  mutating func read() -> Document.Reading {
    for _ in 0...20 {
      do {
        // The parser holds the anchors that its nodes refer to weakly: it lives until the nodes are made.
        let parser = try Yams.Parser(yaml: text, encoding: .utf8)
        guard let root = try parser.nextRoot() else {
          return .mistakes(
            [
              Document.mistake(
                source, "empty-file", "this file is empty", source.spot(at: 0),
                mend: "begin with:\nweir: 1\nsystem: my-system")
            ], source)
        }
        let node = make(root, path: "", key: nil, depth: 0)
        withExtendedLifetime(parser) {}
        if mistakes.isEmpty, let second = try parser.nextRoot() {
          let offset = offset(of: second.mark) ?? 0
          mistakes.append(
            Document.mistake(
              source, "several-documents", "a second document begins here; a file holds one", source.spot(at: offset),
              mend: "put it into a file of its own and name it in include:"))
        }
        return mistakes.isEmpty ? .document(Document(root: node, source: source)) : .mistakes(mistakes, source)
      } catch YamlError.duplicatedKeysInMapping(_, let context) {
        guard mark(keyAt: context.mark) else {
          let (line, column) = original(context.mark)
          return .mistakes(
            [
              Document.mistake(
                source, "duplicate-key", "a key of this map stands twice", spot(line: line, column: column))
            ], source)
        }
      } catch let error as YamlError {
        return .mistakes([explain(error)], source)
      } catch {
        return .mistakes(
          [Document.mistake(source, "syntax", "this cannot be read: \(error)", source.spot(at: 0))], source)
      }
    }
    return .mistakes(
      [
        Document.mistake(source, "duplicate-key", "more than 20 maps of this file have a key twice", source.spot(at: 0))
      ],
      source)
  }

  // MARK: Keys that stand twice

  private mutating func mark(keyAt mark: Mark) -> Bool {
    guard let scalar = Unicode.Scalar(0xE000 + UInt32(marks.count)) else { return false }
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    // Split by scalars, as "\r\n" is one Character and would not be split at.
    if lines.count != source.lineStarts.count {
      lines = []
      var line = String.UnicodeScalarView()
      for scalar in text.unicodeScalars {
        if scalar == "\n" {
          lines.append(String(line))
          line = .init()
        } else {
          line.append(scalar)
        }
      }
      lines.append(String(line))
    }
    guard mark.line >= 1, mark.line <= lines.count else { return false }
    var line = lines[mark.line - 1].unicodeScalars
    guard var at = line.index(line.startIndex, offsetBy: mark.column - 1, limitedBy: line.endIndex), at < line.endIndex
    else { return false }
    var column = mark.column
    if line[at] == "\"" || line[at] == "'" {
      at = line.index(after: at)
      column += 1
    } else if "&*!?|>[{".unicodeScalars.contains(line[at]) {
      return false
    }
    line.insert(scalar, at: at)
    for i in marks.indices where marks[i].line == mark.line && marks[i].column >= column { marks[i].column += 1 }
    marks.append(KeyMark(line: mark.line, column: column))
    lines[mark.line - 1] = String(line)
    text = lines.joined(separator: "\n")
    mistakes = []
    cursorLine = 1
    cursorColumn = 1
    cursorOffset = 0
    return true
  }

  /// Line and column in the source of a mark in `text`.
  private func original(_ mark: Mark) -> (line: Int, column: Int) {
    let inserted = marks.count { $0.line == mark.line && $0.column < mark.column }
    return (mark.line, mark.column - inserted)
  }

  // MARK: Places

  private mutating func offset(of mark: Mark?) -> Int? {
    guard let mark else { return nil }
    let (line, column) = original(mark)
    return offset(line: line, column: column)
  }

  private mutating func offset(line: Int, column: Int) -> Int {
    guard line >= 1, line <= source.lineStarts.count else { return bytes.count }
    if line != cursorLine || column < cursorColumn {
      cursorLine = line
      cursorColumn = 1
      cursorOffset = source.lineStarts[line - 1]
    }
    while cursorColumn < column, cursorOffset < bytes.count {
      cursorOffset += 1
      while cursorOffset < bytes.count, bytes[cursorOffset] & 0xc0 == 0x80 { cursorOffset += 1 }
      cursorColumn += 1
    }
    return cursorOffset
  }

  private mutating func spot(line: Int, column: Int) -> Spot {
    let offset = offset(line: line, column: column)
    return Spot(line: line, column: column, bytes: offset..<offset)
  }

  private mutating func spot(_ mark: Mark?) -> Spot {
    let offset = offset(of: mark) ?? 0
    return Spot(line: cursorLine, column: cursorColumn, bytes: offset..<offset)
  }

  // MARK: Nodes

  private mutating func make(_ yaml: Yams.Node, path: String, key: Spot?, depth: Int) -> Node {
    var spot = spot(yaml.mark)
    let start = spot.bytes.lowerBound
    func place(_ end: Int) -> Place {
      Place(
        file: source.file, path: path, key: key,
        value: Spot(line: spot.line, column: spot.column, bytes: start..<max(start, end)))
    }
    func nothing() -> Node { Node(.list([]), place(start)) }
    if start < bytes.count, let refusal = refusal(of: bytes[start], yaml) {
      // An alias is told at its anchor: once is enough.
      if !mistakes.contains(where: { $0.spot.bytes.lowerBound == start }) {
        mistakes.append(
          Document.mistake(source, refusal.id, refusal.message, spot, path: path, mend: refusal.mend))
      }
      return nothing()
    }
    guard depth < Document.depthMax else {
      mistakes.append(
        Document.mistake(
          source, "too-deep", "this is nested more than \(Document.depthMax) levels deep", spot, path: path))
      return nothing()
    }
    switch yaml {
    case .scalar(let scalar):
      let end = end(of: scalar, at: start)
      spot.bytes = start..<end
      let plain = scalar.style == .plain || scalar.style == .any
      return Node(.scalar(.init(text: withoutMark(scalar.string), isPlain: plain)), place(end))
    case .sequence(let sequence):
      var items: [Node] = []
      var end = start
      for (index, item) in sequence.enumerated() where mistakes.count < 100 {
        items.append(make(item, path: "\(path)[\(index)]", key: nil, depth: depth + 1))
        end = max(end, items.last?.place.value.bytes.upperBound ?? end)
      }
      if start < bytes.count, bytes[start] == UInt8(ascii: "[") {
        end = closing(from: max(end, start + 1), with: UInt8(ascii: "]"))
      }
      return Node(.list(items), place(end))
    case .mapping(let mapping):
      var entries: [Node.Entry] = []
      var end = start
      for (yamlKey, yamlValue) in mapping where mistakes.count < 100 {
        let keyNode = make(yamlKey, path: path, key: nil, depth: depth + 1)
        guard let text = keyNode.scalar else {
          if mistakes.isEmpty {
            mistakes.append(
              Document.mistake(
                source, "key-not-text", "a key must be a word, not \(keyNode.kindWords)", keyNode.place.value,
                path: path))
          }
          continue
        }
        if text.text == "<<" {
          mistakes.append(
            Document.mistake(
              source, "merge-key", "merge keys (<<) are not read: a value must stand where it is used",
              keyNode.place.value, path: path, mend: "write the values out, or set them once in defaults:"))
          continue
        }
        let below = path.isEmpty ? text.text : "\(path).\(text.text)"
        let value = make(yamlValue, path: below, key: keyNode.place.value, depth: depth + 1)
        if let first = entries.first(where: { $0.key == text.text }) {
          mistakes.append(
            Document.mistake(
              source, "duplicate-key", "'\(text.text.prefixForMessage)' stands twice in this map",
              keyNode.place.value, path: below, mend: "remove one of the two",
              related: [
                .init(Place(file: source.file, path: below, value: first.keySpot), "first written here")
              ]))
        }
        entries.append(
          .init(key: text.text, keySpot: keyNode.place.value, keyIsPlain: text.isPlain, value: value))
        end = max(end, keyNode.place.value.bytes.upperBound, value.place.value.bytes.upperBound)
      }
      // A pair in a list, `[a: b]`, is a map of flow style without braces.
      if start < bytes.count, bytes[start] == UInt8(ascii: "{") {
        end = closing(from: max(end, start + 1), with: UInt8(ascii: "}"))
      }
      return Node(.map(entries), place(end))
    case .alias:
      return nothing()
    }
  }

  private func withoutMark(_ text: String) -> String {
    guard !marks.isEmpty, let first = text.unicodeScalars.first,
      first.value >= 0xE000, first.value < 0xE000 + UInt32(marks.count)
    else { return text }
    return String(text.unicodeScalars.dropFirst())
  }

  /// A node begins with its anchor, alias sign or tag: no plain text can begin with these signs.
  private func refusal(of first: UInt8, _ yaml: Yams.Node) -> (id: String, message: String, mend: String)? {
    switch first {
    case UInt8(ascii: "&"), UInt8(ascii: "*"):
      (
        "anchor", "anchors and aliases (& and *) are not read: a value must stand where it is used",
        "write the value out, or set it once in defaults:"
      )
    case UInt8(ascii: "!"):
      ("tag", "tags (!) are not read: Weir knows the type of every value", "remove the tag")
    default: nil
    }
  }

  // MARK: Where nodes end

  private func end(of scalar: Yams.Node.Scalar, at start: Int) -> Int {
    switch scalar.style {
    case .singleQuoted: quotedEnd(start, single: true)
    case .doubleQuoted: quotedEnd(start, single: false)
    case .literal, .folded: blockEnd(start)
    case .plain, .any: plainEnd(start, withoutMark(scalar.string))
    }
  }

  /// Text as written, but that a run of white space with a line break in it stands for a space or some line breaks.
  private func plainEnd(_ start: Int, _ text: String) -> Int {
    func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d }
    var at = start
    var pending = false
    for byte in text.utf8 {
      if isSpace(byte) {
        pending = true
        continue
      }
      if pending {
        while at < bytes.count, isSpace(bytes[at]) { at += 1 }
        pending = false
      }
      guard at < bytes.count, bytes[at] == byte else { return at }
      at += 1
    }
    return at
  }

  private func quotedEnd(_ start: Int, single: Bool) -> Int {
    var at = start + 1
    while at < bytes.count {
      switch bytes[at] {
      case UInt8(ascii: "'") where single:
        if at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "'") { at += 2 } else { return at + 1 }
      case UInt8(ascii: "\\") where !single: at += 2
      case UInt8(ascii: "\"") where !single: return at + 1
      default: at += 1
      }
    }
    return bytes.count
  }

  /// A block scalar goes on over lines that are empty or indented at least as far as its first line with text.
  private func blockEnd(_ start: Int) -> Int {
    func lineEnd(_ at: Int) -> Int { bytes[min(at, bytes.count)...].firstIndex(of: 0x0a) ?? bytes.count }
    var end = lineEnd(start)
    var indent: Int?
    var at = end + 1
    while at < bytes.count {
      let stop = lineEnd(at)
      let spaces = bytes[at..<stop].prefix { $0 == 0x20 }.count
      let blank = bytes[at..<stop].allSatisfy { $0 == 0x20 || $0 == 0x0d || $0 == 0x09 }
      if !blank {
        if indent == nil {
          guard spaces > 0 else { return end }
          indent = spaces
        }
        guard spaces >= indent ?? 0 else { return end }
        end = bytes[stop - 1] == 0x0d ? stop - 1 : stop
      }
      at = stop + 1
    }
    return end
  }

  /// Behind the sign that closes a flow collection: only white space, commas, colons and comments stand before it.
  private func closing(from: Int, with sign: UInt8) -> Int {
    var at = from
    while at < bytes.count {
      switch bytes[at] {
      case sign: return at + 1
      case UInt8(ascii: "#"): at = bytes[at...].firstIndex(of: 0x0a) ?? bytes.count
      default: at += 1
      }
    }
    return bytes.count
  }

  // MARK: What libyaml says, in words

  private mutating func explain(_ error: YamlError) -> Diagnostic {
    switch error {
    case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
      .composer(let context, let problem, let mark, _):
      let (line, column) = original(mark)
      var at = spot(line: line, column: column)
      let (message, mend) = words(problem, context: context?.text ?? "", at: at.bytes.lowerBound)
      var related: [Diagnostic.Related] = []
      if let context, context.mark.line != mark.line {
        let (line, column) = original(context.mark)
        let began = spot(line: line, column: column)
        if problem == "found unexpected end of stream" {
          // Where it was opened helps; the end of the file does not.
          at = began
        } else {
          related.append(.init(Place(file: source.file, path: "", value: began), "it begins here"))
        }
      }
      return Document.mistake(
        source, problem.contains("alias") ? "anchor" : "syntax", message, at, mend: mend, related: related)
    case .reader(let problem, let offset, let value, _):
      // The offset counts Characters; a control character is looked for instead.
      let found = bytes.firstIndex { $0 < 0x20 && $0 != 0x09 && $0 != 0x0a && $0 != 0x0d || $0 == 0x7f }
      return Document.mistake(
        source, "syntax", "\(problem) (U+\(String(UInt32(bitPattern: value), radix: 16, uppercase: true)))",
        source.spot(at: found ?? min(offset ?? 0, bytes.count)), mend: "remove it, or write it as an escape in quotes")
    default:
      return Document.mistake(source, "syntax", "this cannot be read: \(error)", source.spot(at: 0))
    }
  }

  private func words(_ problem: String, context: String, at offset: Int) -> (String, String?) {
    let byte = offset < bytes.count ? bytes[offset] : 0x0a
    switch problem {
    case "found character that cannot start any token" where byte == 0x09:
      return ("a tab stands where YAML needs spaces", "indent with two spaces a level")
    case "found character that cannot start any token":
      return ("no value can begin with '\(Character(Unicode.Scalar(byte)))'", "put the value into quotes: \"…\"")
    case "mapping values are not allowed in this context":
      return (
        "a ':' where none can be: a second one on the line, one missing on the line before, or too much indentation",
        "quote a value that holds ': ', and indent keys of one map alike"
      )
    case "did not find expected key":
      return (
        "a key was expected here: this line is indented differently from the others of its map, or a sign is missing before it",
        "indent keys of one map alike"
      )
    case "did not find expected '-' indicator":
      return ("an item of the list was expected here ('- …')", "indent the items of one list alike")
    case "could not find expected ':'":
      return ("a ':' is missing behind the key", "write key: value, with a space behind the colon")
    case "did not find expected ',' or '}'":
      return ("this map is not closed: a ',' or '}' is missing before here", "{ key: value, key: value }")
    case "did not find expected ',' or ']'":
      return ("this list is not closed: a ',' or ']' is missing before here", "[ item, item ]")
    case "found unexpected end of stream":
      return (
        context.contains("quoted") ? "a quote is opened and never closed" : "the file ends in the middle of a value",
        nil
      )
    case "found undefined alias":
      return ("anchors and aliases (& and *) are not read: quote a value that begins with '*'", "\"*.shop.example\"")
    case "did not find expected node content":
      return ("a value was expected here", nil)
    default:
      return (context.isEmpty ? problem : "\(problem) \(context)", nil)
    }
  }
}
