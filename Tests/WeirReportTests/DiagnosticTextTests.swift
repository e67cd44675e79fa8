// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirModel
import WeirReport

@Suite("diagnostics as text")
struct DiagnosticTextTests {
  private static var broken: URL { repository.appending(path: "Tests/WeirModelTests/Fixtures/broken") }
  static var names: [String] {
    let files = (try? FileManager.default.contentsOfDirectory(atPath: broken.path)) ?? []  // none: the count test fails
    return files.filter { $0.hasSuffix(".yaml") }.map { String($0.dropLast(5)) }.sorted()
  }

  /// Each broken file tells a newcomer what is wrong, where, and what to do; the expected text stands beside it.
  @Test("a broken file is answered as its .expected says", arguments: names)
  func brokenFile(name: String) throws {
    let folder = DiagnosticTextTests.broken.path
    let disk = ModelReader.Files.disk
    let result = ModelReader.read(
      path: "\(name).yaml",
      files: .init(read: { disk.read(folder + "/" + $0) }, names: { disk.names(folder + "/" + $0) }))
    #expect(result.design == nil)
    #expect(!result.diagnostics.isEmpty)
    try expectGolden(
      DiagnosticText(result.sources).text(result.diagnostics),
      DiagnosticTextTests.broken.appending(path: "\(name).expected"))
  }

  @Test("there are at least 30 broken files")
  func count() { #expect(DiagnosticTextTests.names.count >= 30) }

  /// A line of a thousand columns is cut around what is meant, and the marks stay below it.
  @Test("a long line is cut around what is meant")
  func longLine() throws {
    let padding = String(repeating: "x", count: 400)
    let file =
      "weir: 1\nsystem: a\nowner: \(padding)\nservices: { a: { run: { command: \(padding) }, instanses: 2 } }\n"
    let result = ModelReader.read(path: "a.yaml", files: .init(["a.yaml": file]))
    let lines = DiagnosticText(result.sources).text(result.diagnostics).split(separator: "\n")
    let quoted = try #require(lines.first { $0.contains(" | ") })
    let marks = try #require(lines.first { $0.contains("^~") })
    #expect(quoted.count <= 130)
    let start = try #require(quoted.firstRange(of: "instanses"))
    let caret = try #require(marks.firstIndex(of: "^"))
    #expect(
      quoted.distance(from: quoted.startIndex, to: start.lowerBound)
        == marks.distance(from: marks.startIndex, to: caret))
  }

  @Test("JSON carries schema 1, the path and the bytes")
  func json() throws {
    let file = "weir: 1\nsystem: a\nowmer: b\n"
    let result = ModelReader.read(path: "a.yaml", files: .init(["a.yaml": file]))
    let json = Diagnostic.json(result.diagnostics)
    #expect(json["schema"] == .int(1))
    guard case .array(let items)? = json["diagnostics"], let first = items.first else {
      Issue.record("no diagnostics")
      return
    }
    #expect(first["path"] == .string("owmer"))
    #expect(first["bytes"] == .array([.int(18), .int(23)]))
    #expect(first["line"] == .int(3))
  }
}
