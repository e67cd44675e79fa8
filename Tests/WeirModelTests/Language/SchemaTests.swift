// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestPrograms
import Testing
import WeirModel

@Suite("schema and reference")
struct SchemaTests {
  private static let wrong = [
    "weir: one\nsystem: a", "weir: 1\nsystem: My System", "weir: 1\nsystem: a\nservice: {}",
    "weir: 1\nsystem: a\nservices: { x: { run: x, instances: many } }",
    "weir: 1\nsystem: a\nservices: { x: { run: x, instanses: 2 } }",
    "weir: 1\nsystem: a\nservices: { x: { run: x, calls: { y: { timeout: 500 } } } }",
    "weir: 1\nsystem: a\nservices: { x: { run: x, balance: fastest } }",
    "weir: 1\nsystem: a\nservices: { x: { health: healthz } }",
    "weir: 1\nsystem: a\nrequirements: { availability: 99.9 }",
    "weir: 1\nsystem: a\ngateway: { listen: 8080, routes: { all: { path: api, to: x } } }",
    "weir: 1\nsystem: a\ngateway: { listen: 8080, routes: { all: { to: x } } }",
    "weir: 1\nsystem: a\nstores: { d: { path: x } }", "weir: 1\nsystem: a\ntraffic: { t: { to: x } }",
    "weir: 1\nsystem: a\nscenarios: { s: { for: 10 } }",
    "weir: 1\nsystem: a\naccept: [ { rule: r, place: p, because: b, owner: o, until: 2027 } ]",
    "weir: 1\nsystem: a\nqueues: { q: { visibility: 30 } }", "weir: 1\nsystem: a\njobs: { j: { every: 1m } }",
    "weir: 1\nsystem: a\ntopics: { t: { engine: kafka } }", "weir: 1\nsystem: a\nsagas: { s: { steps: [] } }",
    "weir: 1\nsystem: a\nwebhooks: { w: { sign: none } }",
    "weir: 1\nsystem: a\nservices: { x: { run: x, operations: { GET /: { idempotent: maybe } } } }",
    "- 1",
  ]

  /// An editor must not mark what Weir accepts, and marks what it can know to be wrong.
  ///
  /// Judged by the reference implementation in Python (`pip install jsonschema==4.26`); without it only CI fails.
  @Test("the schema accepts every example and refuses what is wrong")
  func accepts() throws {
    let environment = ProcessInfo.processInfo.environment
    let good = try [
      "examples/webapp/weir.yaml", "examples/full/weir.yaml", "examples/full/scenarios/mailer-slow.yaml",
      "Tests/WeirModelTests/Fixtures/messaging.yaml", "Tests/WeirModelTests/Fixtures/bodies.yaml",
    ].map { try #require(Document.jsonForTesting(text($0))) }
    let bad = try SchemaTests.wrong.map { try #require(Document.jsonForTesting($0)) }
    let folder = FileManager.default.temporaryDirectory.appending(path: "weir-schema-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }  // a leftover in the temporary folder harms nobody
    let cases = JSONValue.object([("schema", Language.schema), ("good", .array(good)), ("bad", .array(bad))])
    let file = folder.appending(path: "cases.json")
    try cases.rendered().write(to: file, atomically: true, encoding: .utf8)
    let program = """
      import json, sys
      try:
        from jsonschema import Draft202012Validator as V
      except ImportError:
        print("missing"); sys.exit(0)
      c = json.load(open(sys.argv[1])); V.check_schema(c["schema"]); v = V(c["schema"])
      for i, x in enumerate(c["good"]):
        for e in v.iter_errors(x): print("good", i, list(e.absolute_path), e.message[:200])
      for i, x in enumerate(c["bad"]):
        if v.is_valid(x): print("bad", i)
      print("done")
      """
    let judge = try TestProgram("python3", ["-c", program, file.path])
    let exit = judge.wait()
    let output = judge.out
    if output != "done\n", environment["CI"] != "true", output == "missing\n" || exit == 127 { return }
    #expect(output == "done\n", "\(output)")
  }

  /// What the schema refuses, the reader refuses too: they are made of one table.
  @Test("the reader refuses what the schema refuses", arguments: wrong)
  func reader(text: String) { #expect(!read(text: text).diagnostics.isEmpty) }

  @Test("the reference page is the one of these keys")
  func reference() throws {
    let file = repository.appending(path: "docs/file/reference.md")
    if ProcessInfo.processInfo.environment["WEIR_RECORD"] == "1" {
      try Language.reference.write(to: file, atomically: true, encoding: .utf8)
    }
    #expect(try text("docs/file/reference.md") == Language.reference, "WEIR_RECORD=1 writes it anew")
  }

  /// A default stands in its pattern's settings only: words beside it that repeat it are wrong after the next change.
  @Test("no words beside a default repeat a number")
  func defaults() {
    for row in Language.reference.split(separator: "\n") where row.hasPrefix("| `") {
      let columns = row.split(separator: " | ", omittingEmptySubsequences: false)
      guard columns.count >= 3, let rule = columns[2].split(separator: "`: ").last, columns[2].contains("`: ") else {
        continue
      }
      let repeats = rule.replacing("seed 002", with: "").contains { $0.isNumber }
      #expect(!repeats, "\(row)")
    }
  }

  @Test("the file of the language's pages is one", arguments: ["index", "messaging"])
  func page(name: String) throws {
    let page = try text("docs/file/\(name).md")
    let start = try #require(page.firstRange(of: "```yaml\n")?.upperBound)
    let end = try #require(page[start...].firstRange(of: "```")?.lowerBound)
    #expect(read(text: String(page[start..<end])).diagnostics.isEmpty)
  }

  @Test("the schema is the same every time")
  func stable() { #expect(Language.schema.rendered() == Language.schema.rendered()) }
}
