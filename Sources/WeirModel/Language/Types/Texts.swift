// SPDX-License-Identifier: Apache-2.0

extension ScalarType where T == Text {
  /// Text in which `$(env:NAME)`, `$(secret:name)` and `$(file:path)` are read at run time.
  static func reference(_ words: String, example: String) -> ScalarType {
    ScalarType(
      words: words, example: example,
      schema: .object([("type", .array([.string("string"), .string("number"), .string("boolean")]))]),
      read: { text in
        switch Text.parse(text) {
        case .success(let parsed): .value(parsed)
        case .failure(let mistake): .wrong(.init(mistake.message))
        }
      },
      write: { yamlScalar($0.raw) })
  }

  /// `host:port`.
  static var endpoint: ScalarType {
    ScalarType(
      words: "an address", example: "db1:5432", schema: pattern(#"^([^ ]+:[0-9]{1,5}|\$\(.*)$"#),
      read: { text in
        let parsed: Text
        switch Text.parse(text) {
        case .success(let value): parsed = value
        case .failure(let mistake): return .wrong(.init(mistake.message))
        }
        guard parsed.isLiteral else { return .value(parsed) }
        if text.contains("://") { return .wrong(.init("an address is host:port, without a scheme")) }
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
          (1...65535).contains(port), colon != text.startIndex
        else { return .wrong(.init("an address is host:port", mend: "\"\(text):8080\"")) }
        return .value(parsed)
      },
      write: { yamlScalar($0.raw) })
  }
}

extension Text {
  package struct Mistake: Error {
    package var message: String
  }

  /// Finds the references in a text.
  ///
  /// `$(` begins one; `$NAME` and everything else stand for themselves.
  package static func parse(_ raw: String) -> Result<Text, Mistake> {
    if raw.isEmpty { return .failure(Mistake(message: "text stands here, and it is empty")) }
    var parts: [Part] = []
    var literal = ""
    var rest = Substring(raw)
    while let dollar = rest.firstIndex(of: "$") {
      literal += rest[..<dollar]
      let behind = rest.index(after: dollar)
      guard behind < rest.endIndex, rest[behind] == "(" else {
        literal.append("$")
        rest = rest[behind...]
        continue
      }
      guard let end = rest[behind...].firstIndex(of: ")") else {
        return .failure(Mistake(message: "'$(' is opened and never closed: $(env:NAME), $(secret:name), $(file:path)"))
      }
      let inside = rest[rest.index(after: behind)..<end]
      let pieces = inside.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard pieces.count == 2, !pieces[1].isEmpty else {
        return .failure(
          Mistake(message: "'$(\(inside))' says not where from: $(env:NAME), $(secret:name), $(file:path)"))
      }
      if !literal.isEmpty { parts.append(.literal(literal)) }
      literal = ""
      switch pieces[0] {
      case "env": parts.append(.env(String(pieces[1])))
      case "secret": parts.append(.secret(String(pieces[1])))
      case "file": parts.append(.file(String(pieces[1])))
      default:
        return .failure(
          Mistake(message: "'$(\(pieces[0]):…)' is not known: $(env:NAME), $(secret:name), $(file:path)"))
      }
      rest = rest[rest.index(after: end)...]
    }
    literal += rest
    if !literal.isEmpty { parts.append(.literal(literal)) }
    return .success(Text(raw: raw, parts: parts))
  }
}

/// A text as YAML writes it: plain where every reader takes it alike, else in double quotes.
package func yamlScalar(_ text: String) -> String {
  let plainFirst = text.first.map { !"!&*-?[]{}|>@`%\"'#:,= ".contains($0) } ?? false
  let risky =
    text.contains(": ") || text.contains(" #") || text.hasSuffix(":") || text.hasSuffix(" ")
    || text.contains(where: { "[]{},\"\\".contains($0) })
    || text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f })
  let looksElse =
    Lookalike.problem(of: text) != nil || Double(text) != nil
    || ["null", "~", "true", "false"].contains(text.lowercased())
  return plainFirst && !risky && !looksElse ? text : JSONValue.quoted(text)
}

/// Plain scalars that some reader takes for something else than text.
enum Lookalike {
  /// What an old reader makes of it, and how it is written instead; nil if all readers agree.
  static func problem(of text: String) -> (message: String, mend: String)? {
    switch text.lowercased() {
    case "yes", "on":
      return ("'\(text)' is true for some readers of YAML and text for others", "true, or \"\(text)\" for the word")
    case "no", "off":
      return ("'\(text)' is false for some readers of YAML and text for others", "false, or \"\(text)\" for the word")
    default: break
    }
    if isDate(text) {
      return ("a date without quotes is a date for some readers of YAML and text for others", "\"\(text)\"")
    }
    if isSexagesimal(text) {
      return ("'\(text)' is a number of base 60 for some readers of YAML and text for others", "\"\(text)\"")
    }
    return nil
  }

  /// `2027-06-30` and everything that goes on like that.
  private static func isDate(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    guard bytes.count >= 8, bytes[0..<4].allSatisfy({ (48...57).contains($0) }), bytes[4] == 45 else { return false }
    let parts = text.split(separator: "-", maxSplits: 2)
    guard parts.count == 3 else { return false }
    let month = parts[1]
    let day = parts[2].prefix { $0.isNumber }
    return (1...2).contains(month.count) && month.allSatisfy(\.isNumber) && (1...2).contains(day.count)
  }

  private static func isSexagesimal(_ text: String) -> Bool {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count >= 2, let first = parts.first, !first.isEmpty, first.allSatisfy({ $0.isASCII && $0.isNumber })
    else { return false }
    return parts.dropFirst().allSatisfy { part in
      guard let value = Int(part) else { return false }
      return value < 60 && part.count <= 2
    }
  }
}
