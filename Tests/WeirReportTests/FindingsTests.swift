// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirCheck
import WeirModel
import WeirReport

/// What `weir check` prints, and what machines read.
@Suite struct FindingsTests {
  static let file = """
    weir: 1
    system: shop
    requirements: { availability: 99.9% }
    services:
      api: { instances: 50, run: { command: api --port $PORT, env: { TOKEN: hunter2-or-so } }, calls: { db: { connections: 20 } } }
      mailer: { run: { command: mailer, env: { LOG: info } } }
      front: { instances: 2, calls: { mailer: {} } }
    stores:
      db: { engine: postgres, at: "db:5432", max-connections: 500 }
    accept:
      - { rule: single-instance, place: services.mailer, because: "mail may wait", owner: team-shop }

    """

  static func read(_ text: String) throws -> (findings: [Finding], sources: [Source]) {
    let result = ModelReader.read(path: "shop.yaml", files: ModelReader.Files(["shop.yaml": text]))
    let design = try #require(result.design, "\(result.diagnostics.map(\.message))")
    return (Check.run(design, today: "2026-11-21"), result.sources)
  }

  /// STYLE: where, what, the line, why, mend, accept; the line of a secret is masked for all findings of that line.
  @Test("the text has place, message, marks, why, mend and accept, and ends with a summary")
  func text() throws {
    let (findings, sources) = try FindingsTests.read(FindingsTests.file)
    let text = FindingsText(sources).text(findings)
    let storm = """
      shop.yaml:5:107: error: 50 × 20 = 1000 connections, and db takes 500  [connection-storm]
      """
    #expect(text.contains(storm), "\(text)")
    #expect(text.contains("^~~~~~~~~~~~~~~ 1000 > 500\n"))
    #expect(text.contains("\n  why     500 of 1000 are refused; "))
    #expect(text.contains("\n  mend    a pooler in front of db:   pool: { size: 40 }\n          or fewer for each"))
    #expect(
      text.contains(
        "\n  accept  - { rule: connection-storm, place: services.api.calls.db, because: \"…\", owner: \"…\" }     "
          + "more: weir explain connection-storm\n"))
    #expect(text.hasSuffix("\n2 errors; 1 accepted\n"))
  }

  @Test("a secret is printed nowhere")
  func secret() throws {
    let (findings, sources) = try FindingsTests.read(FindingsTests.file)
    #expect(findings.contains { $0.rule == "literal-secret" })
    let text = FindingsText(sources).text(findings)
    #expect(!text.contains("hunter2"))
    #expect(text.contains("TOKEN: *************"))
    #expect(!Finding.json(findings).rendered().contains("hunter2"))
  }

  @Test("no findings are said so")
  func none() {
    #expect(FindingsText([]).text([]) == "no findings\n")
  }

  @Test("JSON has a schema, every field of a finding, and what is accepted with its reason")
  func json() throws {
    let (findings, _) = try FindingsTests.read(FindingsTests.file)
    let json = Finding.json(findings)
    #expect(json["schema"] == .int(1))
    #expect(
      json["summary"]
        == .object([("errors", .int(2)), ("warnings", .int(0)), ("notes", .int(0)), ("accepted", .int(1))]))
    guard case .array(let items)? = json["findings"] else {
      Issue.record("no findings")
      return
    }
    #expect(items.count == 3)
    let storm = try #require(items.first { $0["rule"] == .string("connection-storm") })
    for name in [
      "severity", "file", "line", "column", "bytes", "path", "message", "caret", "why", "mend", "accept", "formula",
      "inputs", "result", "related",
    ] {
      #expect(storm[name] != nil, "\(name)")
    }
    #expect(storm["path"] == .string("services.api.calls.db.connections"))
    #expect(storm["result"] == .string("1000 connections for 500"))
    let mailer = try #require(items.first { $0["rule"] == .string("single-instance") })
    #expect(mailer["accepted"]?["because"] == .string("mail may wait"))
    #expect(storm["accepted"] == nil)
  }

  @Test("every rule has a page for the terminal", arguments: Rules.all.map(\.id))
  func page(_ id: String) throws {
    let rule = try #require(Rules.info(id))
    let page = RuleText.page(rule)
    #expect(page.hasPrefix("\(id) (\(rule.severity.rawValue)): \(rule.title)\n"))
    #expect(page.split(separator: "\n").allSatisfy { $0.count <= 110 }, "\(page)")
    #expect(rule.why.contains { $0.isNumber }, "an example in numbers")
  }
}
