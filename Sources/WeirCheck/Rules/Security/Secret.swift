// SPDX-License-Identifier: Apache-2.0
internal import Foundation
package import WeirModel

/// What of a text is a secret.
package struct Secret: Equatable {
  /// `password in a URL`: never the secret itself.
  package var kind: String
  /// For the message.
  package var words: String
  package var length: Int
  package var entropy: Double

  init(_ kind: String, _ secret: Substring, words: String? = nil) {
    self.kind = kind
    length = secret.count
    entropy = Secret.entropy(secret)
    self.words = (words ?? kind) + ", \(length) characters"
  }

  /// The least that a word of random letters has, and its bits a character: 24 different ones would have log2 24 =
  /// 4.58, names written together repeat their letters and stay below 4.2.
  static let randomLengthMin = 24
  static let randomBitsMin = 4.2

  /// The texts of a design that hold a secret, in their order: whoever prints the design masks them.
  package static func all(in design: Design) -> [(place: Place, secret: Secret)] {
    design.texts.compactMap { text in
      guard let place = text.place, let secret = find(in: text.value.parts, name: place.variable) else { return nil }
      return (place, secret)
    }
  }

  /// The same text with `*` for each byte; lines stay as they are.
  package static func masked(_ text: some Collection<UInt8>) -> [UInt8] {
    text.map { $0 == 0x0a || $0 == 0x0d ? $0 : UInt8(ascii: "*") }
  }

  /// Stands for what is read at run time; no file can hold it, for it is not a character of Unicode's text.
  private static let reference: Character = "\u{FFFC}"

  /// The first secret in a text; `name` is the variable it is the value of.
  package static func find(in parts: [Text.Part], name: String?) -> Secret? {
    var literal = ""
    for part in parts {
      if case .literal(let piece) = part { literal += piece } else { literal.append(reference) }
    }
    if let secret = inURL(literal) { return secret }
    if let secret = known(literal) { return secret }
    if let name, isSecretName(name), let value = value(literal[...]) {
      return Secret("value of a secret's name", value, words: "the literal value of \(name)")
    }
    if name == nil, let secret = inCommand(literal) { return secret }
    return random(literal, name: name)
  }

  // MARK: Forms

  /// `scheme://user:password@host`, RFC 3986 §3.2.1.
  private static func inURL(_ text: String) -> Secret? {
    var rest = text[...]
    while let mark = rest.range(of: "://") {
      let authority = rest[mark.upperBound...].prefix { !"/?# \t\n\"'".contains($0) }
      rest = rest[mark.upperBound...]
      guard let at = authority.lastIndex(of: "@"), let colon = authority[..<at].firstIndex(of: ":") else { continue }
      let password = authority[authority.index(after: colon)..<at]
      if let password = value(password) { return Secret("password in a URL", password, words: "the password of a URL") }
    }
    return nil
  }

  /// What providers put before their keys, so that scanners find them (GitHub, *Behind GitHub's new authentication
  /// token formats*, 2021, and the providers' documentation), with the fewest characters that follow.
  private static let prefixes: [(text: String, least: Int, what: String)] = [
    ("AKIA", 16, "an AWS access key"), ("ASIA", 16, "an AWS access key"), ("ghp_", 30, "a GitHub token"),
    ("gho_", 30, "a GitHub token"), ("ghu_", 30, "a GitHub token"), ("ghs_", 30, "a GitHub token"),
    ("ghr_", 30, "a GitHub token"), ("github_pat_", 30, "a GitHub token"), ("glpat-", 20, "a GitLab token"),
    ("xoxb-", 20, "a Slack token"), ("xoxp-", 20, "a Slack token"), ("xoxa-", 20, "a Slack token"),
    ("sk_live_", 16, "a Stripe key"), ("rk_live_", 16, "a Stripe key"), ("AIza", 35, "a Google API key"),
    ("npm_", 36, "an npm token"), ("SG.", 40, "a SendGrid key"), ("dop_v1_", 40, "a DigitalOcean token"),
    ("whsec_", 8, "a secret of webhooks"), ("whsk_", 8, "a key that signs webhooks"),
    ("sk-ant-", 20, "an Anthropic key"), ("sk-proj-", 20, "an OpenAI key"), ("hf_", 30, "a Hugging Face token"),
  ]

  private static func known(_ text: String) -> Secret? {
    if let begin = text.range(of: "-----BEGIN "), text[begin.upperBound...].contains("PRIVATE KEY-----") {
      return Secret("private key", text[begin.lowerBound...], words: "a private key")
    }
    for word in words(text, also: "_-.") {
      for prefix in prefixes where word.hasPrefix(prefix.text) && word.count >= prefix.text.count + prefix.least {
        return Secret(String(prefix.what.drop { $0 != " " }.dropFirst()), word, words: prefix.what)
      }
      // A JSON Web Token: three parts, the first two begin as {" in base64url (RFC 7519).
      let parts = word.split(separator: ".", omittingEmptySubsequences: false)
      if parts.count == 3, parts[0].hasPrefix("eyJ"), parts[1].hasPrefix("eyJ"), parts[2].count >= 16 {
        return Secret("JSON Web Token", word, words: "a JSON Web Token")
      }
    }
    return nil
  }

  private static func inCommand(_ text: String) -> Secret? {
    let words = text.split { $0 == " " || $0 == "\t" || $0 == "\n" }
    for (index, word) in words.enumerated() {
      let name = word.prefix { $0 != "=" }
      guard isSecretName(String(name.drop { $0 == "-" })) else { continue }
      var secret: Substring?
      if name.endIndex < word.endIndex {
        secret = word[word.index(after: name.endIndex)...]
      } else if word.hasPrefix("-"), index + 1 < words.count, !words[index + 1].hasPrefix("-") {
        secret = words[index + 1]
      }
      if let secret, let value = value(Substring(secret.filter { $0 != "\"" && $0 != "'" })) {
        return Secret("value of a secret's option", value, words: "the literal value of \(name)")
      }
    }
    return nil
  }

  private static func random(_ text: String, name: String?) -> Secret? {
    // Fingerprints are long and random, and no secret.
    if let name, name.nameWords.contains(where: { ["SHA", "HASH", "DIGEST", "COMMIT", "REVISION"].contains($0) }) {
      return nil
    }
    for word in words(text, also: "_-+=") where word.count >= randomLengthMin {
      let kinds = [word.contains { $0.isUppercase }, word.contains { $0.isLowercase }, word.contains { $0.isNumber }]
      // Three kinds of letters, as base64 has them; names written together have few figures and repeat their letters.
      if kinds.allSatisfy({ $0 }), word.count(where: \.isNumber) >= 3, entropy(word) >= randomBitsMin {
        return Secret("random word", word, words: "a word of random letters")
      }
    }
    return nil
  }

  // MARK: Parts

  /// What it is if it is a secret's value: not empty, not read at run time, no word that only switches something.
  private static func value(_ text: Substring) -> Substring? {
    if text.isEmpty || text.contains(reference) || text.hasPrefix("$") { return nil }
    return ["true", "false", "none", "null", "on", "off", "yes", "no"].contains(text.lowercased()) ? nil : text
  }

  /// `DB_PASSWORD`, `api-key`; not `PASSWORD_FILE`, `TOKEN_TTL`, `KEY_ID`.
  static func isSecretName(_ name: String) -> Bool {
    let words = name.nameWords
    guard let last = words.last else { return false }
    let secrets = [
      "PASSWORD", "PASSWD", "PASS", "PASSPHRASE", "SECRET", "SECRETS", "TOKEN", "APIKEY", "CREDENTIAL", "CREDENTIALS",
    ]
    if secrets.contains(last) { return true }
    let keys = ["API", "ACCESS", "PRIVATE", "SECRET", "SIGNING", "ENCRYPTION", "AUTH"]
    return last == "KEY" && words.count > 1 && keys.contains(words[words.count - 2])
  }

  private static func words(_ text: String, also: String) -> [Substring] {
    text.split { !($0.isASCII && ($0.isLetter || $0.isNumber) || also.contains($0)) }
  }

  /// Shannon's, in bits a character (*A Mathematical Theory of Communication*, 1948).
  static func entropy(_ text: Substring) -> Double {
    let letters = text.unicodeScalars.sorted()
    if letters.isEmpty { return 0 }
    var bits = 0.0
    var start = 0
    while start < letters.count {
      var end = start
      while end < letters.count, letters[end] == letters[start] { end += 1 }
      let share = Double(end - start) / Double(letters.count)
      bits -= share * log2(share)
      start = end
    }
    return bits
  }
}

extension String {
  /// `DB_PASSWORD`, `db-password` and `dbPassword` as DB, PASSWORD.
  fileprivate var nameWords: [String] {
    var words: [String] = []
    var word = ""
    var wasLower = false
    for character in self {
      let isLetter = character.isLetter || character.isNumber
      if (!isLetter || (character.isUppercase && wasLower)) && !word.isEmpty {
        words.append(word.uppercased())
        word = ""
      }
      if isLetter { word.append(character) }
      wasLower = character.isLowercase
    }
    if !word.isEmpty { words.append(word.uppercased()) }
    return words
  }
}

extension Place {
  /// The variable's name of an entry of `env`.
  var variable: String? {
    guard let dot = path.range(of: ".run.env.", options: .backwards) else { return nil }
    return String(path[dot.upperBound...])
  }
}
