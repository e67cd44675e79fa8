// SPDX-License-Identifier: Apache-2.0
internal import Yams

/// What libyaml says, in words.
extension Composer {
  mutating func explain(_ error: YamlError) -> Diagnostic {
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
