// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirCheck
import WeirModel
import WeirReport

/// `docs/rules` is made of the registry, the fixtures and what check says of them, so it cannot say anything else.
///
/// `WEIR_WRITE_DOCS=1 swift test --filter FindingsPages` writes it anew.
@Suite struct FindingsPagesTests {
  private static let root = String((#filePath).dropLast("/Tests/WeirReportTests/FindingsPagesTests.swift".count))
  private static let writes = ProcessInfo.processInfo.environment["WEIR_WRITE_DOCS"] != nil

  @Test("the page of a rule says what the rule and its fixtures say", arguments: Rules.all.map(\.id))
  func page(_ id: String) throws {
    let rule = try #require(Rules.info(id))
    try hold(FindingsPagesTests.page(rule), to: "docs/rules/\(id).md")
  }

  @Test("the list of rules has all of them, and no page is left over")
  func list() throws {
    try hold(FindingsPagesTests.list, to: "docs/rules/README.md")
    let files = try FileManager.default.contentsOfDirectory(atPath: "\(FindingsPagesTests.root)/docs/rules")
    #expect(files.sorted() == (Rules.all.map { "\($0.id).md" } + ["README.md"]).sorted())
  }

  private func hold(_ text: String, to path: String) throws {
    let file = "\(FindingsPagesTests.root)/\(path)"
    if FindingsPagesTests.writes {
      try Data(text.utf8).write(to: URL(fileURLWithPath: file))
    }
    let there = try String(decoding: Data(contentsOf: URL(fileURLWithPath: file)), as: UTF8.self)
    #expect(there == text, "WEIR_WRITE_DOCS=1 swift test --filter FindingsPages writes \(path) anew")
  }

  /// A fixture without its licence and without what it expects.
  private static func fixture(_ rule: String, _ name: String) throws -> String {
    let url = URL(fileURLWithPath: "\(root)/Tests/WeirCheckTests/Fixtures/\(rule)/\(name).yaml")
    let text = try String(decoding: Data(contentsOf: url), as: UTF8.self)
    return text.split(separator: "\n", omittingEmptySubsequences: false).dropFirst()
      .map { line in
        guard let mark = line.range(of: "  # expect: ") else { return String(line) }
        return String(line[..<mark.lowerBound])
      }.joined(separator: "\n")
  }

  /// What check prints for it.
  private static func said(_ text: String, _ rule: RuleInfo) -> String {
    let result = ModelReader.read(path: "shop.yaml", files: ModelReader.Files(["shop.yaml": text]))
    guard let design = result.design else { return DiagnosticText(result.sources).text(result.diagnostics) }
    return FindingsText(result.sources).text(Check.run(design, today: "2026-11-21", facts: facts(text)))
  }

  /// `# On the machine: tls/shop.pem ends 2026-12-10`, a line each.
  private static func facts(_ text: String) -> MachineFacts {
    let mark = "# On the machine: "
    return MachineFacts(
      certificates: text.split(separator: "\n").filter { $0.hasPrefix(mark) }.compactMap { line in
        let words = line.dropFirst(mark.count).split(separator: " ")
        guard words.count == 3, let until = Day(String(words[2])) else { return nil }
        return MachineFacts.Certificate(file: String(words[0]), until: until)
      })
  }

  static func page(_ rule: RuleInfo) throws -> String {
    let bad = try fixture(rule.id, "bad")
    let mended = try fixture(rule.id, "mended")
    let accept =
      rule.isAcceptable
      ? """
      With a reason, somebody who answers for it, and best a day by which it is decided anew:
      ```yaml
      accept:
        - { rule: \(rule.id), place: …, because: "…", owner: "…", until: "2027-06-30" }
      ```
      The finding prints the entry with its place. It covers this rule at this place and below, nothing else.
      """ : "It cannot be accepted."
    return """
      # \(rule.id)

      **\(rule.title).** Severity: \(rule.severity.rawValue).

      ## Why
      \(rule.why)

      ## What it looks at
      \(capital(rule.detection)).

          \(rule.formula)

      ## Example
      ```yaml
      \(bad)```
      `weir check` says:
      ```
      \(said(bad, rule))```

      ## Mend
      \(rule.mend)
      ```yaml
      \(mended)```

      ## When nothing is wrong
      \(rule.falsePositives)

      ## Accept
      \(accept)

      """
  }

  static var list: String {
    var text = """
      # Rules of `weir check`

      Each finding names its rule in brackets; `weir explain RULE` prints the page without its example. An error will not
      work or loses data, a warning will hurt, a note could be better. `weir check` ends with 1 when there is an error or a
      warning that nobody has accepted.

      | rule | severity | family | |
      |---|---|---|---|

      """
    for rule in Rules.all {
      text += "| [\(rule.id)](\(rule.id).md) | \(rule.severity.rawValue) | \(rule.family.rawValue) | \(rule.title) |\n"
    }
    return text
  }

  private static func capital(_ text: String) -> String { text.prefix(1).uppercased() + text.dropFirst() }
}
