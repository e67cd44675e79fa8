// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirModel
import WeirReport

/// The repository, seen from this file.
let repository = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
  .deletingLastPathComponent()

/// Holds a text against a file; `WEIR_RECORD=1` writes the file instead.
func expectGolden(_ text: String, _ file: URL, sourceLocation: SourceLocation = #_sourceLocation) throws {
  if ProcessInfo.processInfo.environment["WEIR_RECORD"] == "1" {
    try text.write(to: file, atomically: true, encoding: .utf8)
    return
  }
  let wanted = try String(contentsOf: file, encoding: .utf8)
  #expect(
    text == wanted, "\(file.lastPathComponent) differs; WEIR_RECORD=1 writes it anew", sourceLocation: sourceLocation)
}

/// A file of the repository, read under its path from there.
func read(_ path: String) -> ModelReader.Result {
  let root = repository.path
  let disk = ModelReader.Files.disk
  return ModelReader.read(
    path: path,
    files: ModelReader.Files(read: { disk.read(root + "/" + $0) }, names: { disk.names(root + "/" + $0) }))
}

@Suite("explain")
struct ExplainTests {
  private var fixtures: URL { repository.appending(path: "Tests/WeirReportTests/Fixtures") }

  /// What a user sees of the web application: every default with its rule, every value with its line.
  @Test("the web application's long form is the golden file")
  func golden() throws {
    let design = try #require(read("examples/webapp/weir.yaml").design)
    try expectGolden(Explain.text(design, series: 400), fixtures.appending(path: "webapp.explain.yaml"))
  }

  /// The long form is the language too: read again it says the same, and nothing in it is a mistake.
  @Test(
    "the long form, read again, explains itself the same way",
    arguments: [
      "examples/webapp/weir.yaml", "Tests/WeirModelTests/Fixtures/messaging.yaml",
      "Tests/WeirModelTests/Fixtures/bodies.yaml",
    ])
  func roundTrip(file: String) throws {
    let design = try #require(read(file).design)
    let text = Explain.text(design, series: 400)
    let again = ModelReader.read(path: "weir.yaml", files: .init(["weir.yaml": text]))
    #expect(again.diagnostics.isEmpty, "\(DiagnosticText(again.sources).text(again.diagnostics))")
    let second = try #require(again.design)
    func values(_ text: String) -> [String] {
      text.split(separator: "\n").map { line in
        String(line.firstRange(of: "  # ").map { line[..<$0.lowerBound] } ?? line).trimmingCharacters(in: .whitespaces)
      }
    }
    #expect(values(Explain.text(second, series: 400)) == values(text))
    #expect(Plan(second).loads == Plan(design).loads)
    #expect(Plan(second).gateway == Plan(design).gateway)
    #expect(Plan(second).queues == Plan(design).queues)
    #expect(Plan(second).jobs == Plan(design).jobs)
  }

  /// A value that nobody wrote names the rule that set it; one that is written names its line.
  @Test("JSON has an origin for every value")
  func json() throws {
    let design = try #require(read("examples/webapp/weir.yaml").design)
    guard case .array(let values)? = Explain.json(design, series: 400)["values"] else {
      Issue.record("no values")
      return
    }
    #expect(values.count > 100)
    func find(_ path: String) -> JSONValue? { values.first { $0["path"] == .string(path) } }
    #expect(find("services.api.instances")?["origin"] == .string("written"))
    #expect(find("services.search.instances")?["origin"] == .string("default"))
    #expect(find("services.api.calls.search.attempt")?["from"] == .string("half of timeout"))
    #expect(find("services.api.calls.search.attempt")?["value"] == .string("100ms"))
    #expect(find("services.api.work.median")?["simulateOnly"] == .bool(true))
  }

  /// What check will not print, explain does not print either: both mask by `Secret`.
  @Test("a secret is masked, as check masks it")
  func secret() throws {
    let text = """
      weir: 1
      system: a
      services:
        api:
          run:
            command: api --port $PORT
            env: { DB_PASSWORD: hunter2-hunter2, LOG: info }
        db: { at: ["sk_live_0123456789abcdef:80"] }
      """
    let design = try #require(ModelReader.read(path: "weir.yaml", files: .init(["weir.yaml": text])).design)
    let shown = Explain.text(design)
    #expect(!shown.contains("hunter2") && !shown.contains("sk_live"))
    #expect(shown.contains("DB_PASSWORD: \"***************\""))
    #expect(shown.contains("LOG: info") && shown.contains("written weir.yaml:7, a secret, not shown"))
    let json = Explain.json(design).rendered()
    #expect(!json.contains("hunter2") && !json.contains("sk_live") && json.contains("\"hidden\": true"))
    let again = ModelReader.read(path: "weir.yaml", files: .init(["weir.yaml": shown]))
    #expect(again.diagnostics.allSatisfy { $0.path == "services.db.at[0]" })
  }
}
