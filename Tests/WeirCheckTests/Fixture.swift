// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirCheck
import WeirModel

/// A file under `Fixtures/<rule>` that says itself what must be found in it.
///
///     at: 50    # expect: connection-storm: 50 × 20 = 1000
///
/// On the line that must be blamed: the rule, and words of the message if there are any to hold it to.
struct Fixture: CustomTestStringConvertible, Sendable {
  static let today = "2026-11-21"

  struct Expectation: Equatable, CustomStringConvertible {
    var line: Int
    var rule: String
    var words = ""
    /// Nil where the rule has only one.
    var severity: String?
    var description: String { "\(line): \(rule)" }
  }

  /// The rule: its folder.
  var rule: String
  /// `bad.yaml`.
  var name: String
  var text: String
  var isBad: Bool { name.hasPrefix("bad") }
  var testDescription: String { "\(rule)/\(name)" }

  var expectations: [Expectation] {
    var found: [Expectation] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      guard let mark = line.range(of: "# expect: ") else { continue }
      for one in line[mark.upperBound...].split(separator: " | ") {
        let colon = one.firstIndex(of: ":") ?? one.endIndex
        let words = colon < one.endIndex ? String(one[one.index(after: colon)...].drop { $0 == " " }) : ""
        // `warning over-capacity`: where a rule has two severities.
        let head = one[..<colon].split(separator: " ")
        found.append(
          Expectation(
            line: index + 1, rule: head.last.map(String.init) ?? "", words: words,
            severity: head.count > 1 ? String(head[0]) : nil))
      }
    }
    return found
  }

  /// What check says of it, mistakes of the reader among it.
  func diagnostics(_ text: String) -> [Diagnostic] {
    let result = ModelReader.read(path: name, files: ModelReader.Files([name: text]))
    guard let design = result.design else { return result.diagnostics }
    return Check.run(design, today: Fixture.today, facts: Fixture.facts(text)).filter { !$0.isAccepted }.map(
      \.diagnostic)
  }

  /// `# On the machine: tls/shop.pem ends 2026-12-10`, a line each.
  static func facts(_ text: String) -> MachineFacts {
    let mark = "# On the machine: "
    return MachineFacts(
      certificates: text.split(separator: "\n").filter { $0.hasPrefix(mark) }.compactMap { line in
        let words = line.dropFirst(mark.count).split(separator: " ")
        guard words.count == 3, let until = Day(String(words[2])) else { return nil }
        return MachineFacts.Certificate(file: String(words[0]), until: until)
      })
  }

  static let folder = (#filePath).dropLast("/Fixture.swift".count) + "/Fixtures"

  static let all: [Fixture] = names(in: String(folder)).flatMap { rule in
    names(in: "\(folder)/\(rule)").filter { $0.hasSuffix(".yaml") }.map { name in
      Fixture(rule: rule, name: name, text: contents(of: "\(folder)/\(rule)/\(name)"))
    }
  }

  static func names(in folder: String) -> [String] {
    // A folder that is not there has no fixtures, which a test of its own says.
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { !$0.hasPrefix(".") }.sorted()
  }

  static func contents(of path: String) -> String {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
  }
}
