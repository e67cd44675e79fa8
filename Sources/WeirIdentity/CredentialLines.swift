// SPDX-License-Identifier: Apache-2.0

/// A list of callers and what proves them, a line each: of API keys, users and signing keys.
///
///     # name  proof            what is known of it
///     acme    sha256:9f86d0…   roles=partner,buyer scopes=orders.read tenant=acme
///
/// Empty lines and those that begin with `#` mean nothing.
package struct CredentialLines: Sendable, Equatable {
  package struct Mistake: Error, Sendable, Equatable, CustomStringConvertible {
    /// Counted from 1.
    package var line: Int
    /// Says nothing of the proof itself.
    package var what: String
    package var description: String { "line \(line): \(what)" }
  }

  struct Line: Sendable, Equatable {
    var number: Int
    var proof: String
    var claims: Claims
  }

  /// More are no list that a person keeps; a service with a database of keys is asked by `forward-auth`.
  static let linesMax = 100_000

  private(set) var lines: [Line] = []

  init(_ text: String) throws(Mistake) {
    var names: Set<String> = []
    for (index, raw) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let words = raw.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\r" }).map(String.init)
      guard let name = words.first, !name.hasPrefix("#") else { continue }
      let number = index + 1
      if words.count < 2 { throw Mistake(line: number, what: "'\(name)' has no proof behind it") }
      if !names.insert(name).inserted { throw Mistake(line: number, what: "'\(name)' stands here twice") }
      if lines.count >= CredentialLines.linesMax {
        throw Mistake(line: number, what: "more than \(CredentialLines.linesMax) lines")
      }
      lines.append(Line(number: number, proof: words[1], claims: try CredentialLines.claims(name, words, number)))
    }
  }

  private static func claims(_ name: String, _ words: [String], _ number: Int) throws(Mistake) -> Claims {
    var claims = Claims(subject: name)
    var members: [JSON.Member] = []
    for word in words.dropFirst(2) {
      guard let equals = word.firstIndex(of: "="), equals != word.startIndex else {
        throw Mistake(line: number, what: "behind name and proof stand claims, as roles=a,b")
      }
      let values = word[word.index(after: equals)...].split(separator: ",").map(String.init)
      switch word[..<equals] {
      case "roles": claims.roles = values
      case "scopes": claims.scopes = values
      default:
        let value: JSON = values.count == 1 ? .string(values[0]) : .array(values.map { .string($0) })
        members.append(JSON.Member(name: String(word[..<equals]), value: value))
      }
    }
    claims.json = .object(members)
    return claims
  }
}
