// SPDX-License-Identifier: Apache-2.0
internal import Yams

/// Turns what Yams read into nodes with places.
struct Composer {
  let source: Source
  /// The text that Yams reads: the source's, with marks inserted before keys that stand twice, see ``read()``.
  var text: String
  private(set) var bytes: [UInt8]
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
  func original(_ mark: Mark) -> (line: Int, column: Int) {
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

  mutating func spot(line: Int, column: Int) -> Spot {
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

  func withoutMark(_ text: String) -> String {
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
}
