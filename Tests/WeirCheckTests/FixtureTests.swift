// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirCheck
import WeirModel

/// Every rule on files: one with the mistake, the same file mended, and one that comes near without being wrong.
@Suite struct FixtureTests {
  @Test("finds what the file expects, on that line, with those words, and nothing else", arguments: Fixture.all)
  func expected(_ fixture: Fixture) {
    let found = fixture.diagnostics(fixture.text)
    let expected = fixture.expectations
    #expect(
      found.map { Fixture.Expectation(line: $0.line, rule: $0.id).description } == expected.map(\.description),
      "\(found.map(\.message))")
    for (diagnostic, expectation) in zip(found, expected) {
      #expect(
        expectation.words.isEmpty || diagnostic.message.contains(expectation.words), "\(diagnostic.message)")
      #expect(expectation.severity.map { $0 == diagnostic.severity.rawValue } ?? true)
    }
    #expect(fixture.isBad == !expected.isEmpty)
  }

  /// CK-1.
  @Test(
    "five blank lines and a comment above move every finding by exactly six", arguments: Fixture.all.filter(\.isBad))
  func moved(_ fixture: Fixture) {
    let before = fixture.diagnostics(fixture.text)
    let after = fixture.diagnostics("\n\n\n\n\n# Moved.\n" + fixture.text)
    #expect(after.map(\.id) == before.map(\.id))
    #expect(after.map(\.line) == before.map { $0.line + 6 })
    #expect(after.map(\.column) == before.map(\.column))
    #expect(after.map(\.path) == before.map(\.path))
    for diagnostic in before { #expect(!diagnostic.path.isEmpty && diagnostic.line > 0 && diagnostic.column > 0) }
  }

  /// STYLE: message, why and mend with the file's numbers; an acceptance that can be pasted.
  @Test("a finding says why, how to mend it and how to accept it, with figures", arguments: Fixture.all.filter(\.isBad))
  func whole(_ fixture: Fixture) {
    let result = ModelReader.read(path: fixture.name, files: ModelReader.Files([fixture.name: fixture.text]))
    guard let design = result.design else { return }
    for finding in Check.run(design, today: Fixture.today, facts: Fixture.facts(fixture.text)) {
      let d = finding.diagnostic
      #expect(d.why != nil && d.mend != nil)
      #expect(!d.message.hasSuffix("."))
      #expect(!finding.formula.isEmpty && !finding.inputs.isEmpty && !finding.result.isEmpty)
      #expect(Rules.info(finding.rule) != nil)
      #expect(d.message.contains { $0.isNumber })
      #expect((d.accept != nil) == (Rules.info(finding.rule)?.isAcceptable == true))
    }
  }

  /// The printed entry, pasted, covers its finding and nothing else.
  @Test("the acceptance that a finding prints covers it", arguments: Fixture.all.filter(\.isBad))
  func acceptable(_ fixture: Fixture) {
    let before = fixture.diagnostics(fixture.text)
    // A file with an `accept` of its own is about acceptances.
    guard let first = before.first(where: { $0.accept != nil }), let entry = first.accept,
      !fixture.text.contains("\naccept:")
    else { return }
    let after = fixture.diagnostics(fixture.text + "\naccept:\n  \(entry)\n")
    let covered = before.filter { $0.accept == entry }
    #expect(after.count == before.count - covered.count, "\(after.map(\.message))")
    #expect(!after.contains { $0.accept == entry })
  }

  @Test("every rule has a bad file, a mended one and a near miss")
  func complete() {
    for rule in Rules.all {
      let names = Fixture.all.filter { $0.rule == rule.id }.map(\.name)
      for kind in ["bad", "mended", "near-miss"] {
        #expect(names.contains { $0.hasPrefix(kind) }, "\(rule.id) has no \(kind) file")
      }
    }
    for rule in Fixture.all.map(\.rule) { #expect(Rules.info(rule) != nil, "\(rule) is no rule") }
    #expect(Rules.all.map(\.id) == Rules.all.map(\.id).sorted())
  }
}
