// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A password, key or token that stands in the file.
enum LiteralSecret: Rule {
  static let info = RuleInfo(
    "literal-secret", .security, .error, title: "A secret stands in the file",
    why: "Whoever can read the file, its history or a copy of it has the secret: 1 commit keeps it for good. A secret "
      + "that is read at run time can be changed without touching the file.",
    detection: "in `env`, `command` and addresses: a URL with user:password; forms that providers give their keys "
      + "(AKIA…, ghp_…, xoxb-…, sk_live_…, a private key, a JWT, …); literal values of names as PASSWORD, SECRET, "
      + "TOKEN, API_KEY and options as --password; long words of random letters",
    formula: "URL password ∨ known form ∨ secret name with literal value ∨ "
      + "(≥ \(Secret.randomLengthMin) characters and ≥ \(Say.number(Secret.randomBitsMin)) bits each)",
    mend: "`$(secret:name)`, `$(env:NAME)` or `$(file:path)`; then change the secret, for it has been seen.",
    falsePositives: "Words that look random, as identifiers made by a generator; passwords of a test that protect "
      + "nothing. The finding never prints what it found, and the line it quotes is masked.")

  static func find(_ subject: Subject) -> [Finding] {
    Secret.all(in: subject.design).map { place, secret in
      let name = place.variable.map { $0.lowercased().replacing("_", with: "-") } ?? "password"
      let mend =
        place.variable.map { "\($0): $(secret:\(name))" }
        ?? "write $(secret:\(name)) in its place, or put it into env and let the program read it there"
      var finding = info.finding(
        "a secret stands in the file: \(secret.words)", at: place, spot: place.entry, caret: "not shown here",
        why: "whoever reads the file or its history has it", mend: "\(mend)\nand change the secret: it has been seen",
        inputs: [
          Finding.Input("characters", String(secret.length)),
          Finding.Input("bits a character", Say.number(secret.entropy)),
        ], result: secret.kind)
      finding.hidden = place.value
      return finding
    }
  }
}
