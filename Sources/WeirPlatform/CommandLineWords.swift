// SPDX-License-Identifier: Apache-2.0

/// Splits a command into its words as a POSIX shell would, without being one.
///
/// POSIX.1-2024, Shell Command Language §2.2 (quoting) and §2.6.2 (parameter expansion, the forms `$NAME` and
/// `${NAME}`). There is no field splitting of expanded values, so a value with spaces stays one word and cannot inject
/// arguments; no globbing, no `~`, no command substitution. Operators that only a shell understands (`|`, `;`, `&`, `<`,
/// `>`, `` ` ``, `$(`) are refused outside quotes instead of being passed on as words, for that is never what was meant.
public enum CommandLineWords {
  /// The words of `text`; `value` answers what a variable is, or nil when it is not set, which is a mistake.
  public static func split(_ text: String, value: (String) -> String?) throws(QuotingError) -> [String] {
    var words: [String] = []
    var word = ""
    var inWord = false
    let characters = Array(text)
    var index = 0

    func name(from start: Int) throws(QuotingError) -> (name: String, next: Int) {
      let braced = start < characters.count && characters[start] == "{"
      var end = braced ? start + 1 : start
      while end < characters.count, isNamePart(characters[end], first: end == (braced ? start + 1 : start)) { end += 1 }
      let found = String(characters[(braced ? start + 1 : start)..<end])
      if braced {
        guard end < characters.count, characters[end] == "}", !found.isEmpty else { throw .badExpansion(at: start - 1) }
        return (found, end + 1)
      }
      return (found, end)
    }

    func expanded(at dollar: Int) throws(QuotingError) -> (text: String, next: Int) {
      if dollar + 1 < characters.count, characters[dollar + 1] == "(" { throw .needsShell("$(", at: dollar) }
      let (found, next) = try name(from: dollar + 1)
      // A dollar before anything else is itself, as in the shell.
      if found.isEmpty { return ("$", dollar + 1) }
      guard let value = value(found) else { throw .unset(found, at: dollar) }
      return (value, next)
    }

    while index < characters.count {
      let character = characters[index]
      switch character {
      case " ", "\t", "\n", "\r\n":
        if inWord { words.append(word) }
        word = ""
        inWord = false
        index += 1
      case "'":
        inWord = true
        guard let end = characters[(index + 1)...].firstIndex(of: "'") else { throw .unclosed("'", at: index) }
        word += String(characters[(index + 1)..<end])
        index = end + 1
      case "\"":
        inWord = true
        let start = index
        index += 1
        while true {
          guard index < characters.count else { throw .unclosed("\"", at: start) }
          let inner = characters[index]
          if inner == "\"" {
            index += 1
            break
          }
          if inner == "\\", index + 1 < characters.count {
            let next = characters[index + 1]
            // Within double quotes a backslash escapes only these; before others it stays.
            if next == "\n" {
            } else if next == "$" || next == "`" || next == "\"" || next == "\\" {
              word.append(next)
            } else {
              word.append(inner)
              word.append(next)
            }
            index += 2
          } else if inner == "$" {
            let (text, next) = try expanded(at: index)
            word += text
            index = next
          } else if inner == "`" {
            throw .needsShell("`", at: index)
          } else {
            word.append(inner)
            index += 1
          }
        }
      case "\\":
        guard index + 1 < characters.count else { throw .unclosed("\\", at: index) }
        if characters[index + 1] != "\n" {
          inWord = true
          word.append(characters[index + 1])
        }
        index += 2
      case "$":
        inWord = true
        let (text, next) = try expanded(at: index)
        word += text
        index = next
      case "|", "&", ";", "<", ">", "(", ")", "`":
        throw .needsShell(String(character), at: index)
      case "#" where !inWord:
        throw .needsShell("#", at: index)
      default:
        inWord = true
        word.append(character)
        index += 1
      }
    }
    if inWord { words.append(word) }
    if words.isEmpty { throw .empty }
    return words
  }

  static func isNamePart(_ character: Character, first: Bool) -> Bool {
    switch character {
    case "a"..."z", "A"..."Z", "_": true
    case "0"..."9": !first
    default: false
    }
  }
}

/// What is wrong with a command; `at` is the index of the character to blame.
public enum QuotingError: Error, Sendable, Equatable, CustomStringConvertible {
  case empty
  case unclosed(String, at: Int)
  case badExpansion(at: Int)
  case unset(String, at: Int)
  case needsShell(String, at: Int)

  public var description: String {
    switch self {
    case .empty: "the command is empty"
    case .unclosed("\\", _): "the command ends in a single backslash"
    case .unclosed(let quote, _): "the quote \(quote) is not closed"
    case .badExpansion: "after '${' a name and '}' are needed; other forms of ${…} need a shell"
    case .unset(let name, _): "the variable \(name) is not set"
    case .needsShell(let what, _):
      "'\(what)' is for a shell, and the command is run without one: quote it, or write  sh -c '…'"
    }
  }
}
