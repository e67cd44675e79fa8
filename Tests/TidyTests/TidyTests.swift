// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// Rules about the repository itself, so that nobody has to remember them.
@Suite struct TidyTests {
  @Test func everySourceSaysItsLicence() throws {
    for path in Repository.files(below: "Sources", ".swift", ".c", ".h") + Repository.files(below: "Tests", ".swift") {
      // A manifest begins with its tools version.
      let first = try Repository.lines(path).prefix(2)
      #expect(
        first.contains { $0.contains("SPDX-License-Identifier: Apache-2.0") },
        "\(path): the first line is the SPDX line")
    }
  }

  @Test func nothingUnfinishedIsCalledDone() throws {
    let words = ["TODO", "FIXME", "XXX", "HACK", "unimplemented"]
    for path in Repository.files(below: "Sources", ".swift", ".c", ".h") {
      for (number, line) in try Repository.lines(path).enumerated() {
        for word in words where line.contains(word) {
          Issue.record("\(path):\(number + 1): \(word): finish it or say in the closing note why not")
        }
      }
    }
  }

  // A test waits for a condition with a limit, or moves the clock; it never sleeps and is never switched off.
  @Test func testsDoNotSleep() throws {
    let banned = ["Task." + "sleep", "u" + "sleep(", "Thread." + "sleep", "." + "disabled("]
    // A case of a webhook's endpoint; the trait takes a text or a condition, which no dot begins.
    let fine = "." + "disabled(."
    for path in Repository.files(below: "Tests", ".swift") where !path.hasPrefix("Tests/TidyTests/") {
      for (number, line) in try Repository.lines(path).enumerated() {
        let line = line.replacingOccurrences(of: fine, with: "")
        for word in banned where line.contains(word) { Issue.record("\(path):\(number + 1): \(word)") }
      }
    }
  }

  // A relative link in a document leads to a file of the repository.
  @Test func linksLeadSomewhere() throws {
    let pages = Repository.files(below: "", ".md")
    #expect(pages.count > 5)
    for path in pages {
      let folder = (path as NSString).deletingLastPathComponent
      for (number, line) in try Repository.lines(path).enumerated() {
        for target in Self.linkTargets(line) {
          if target.hasPrefix("http") || target.hasPrefix("mailto:") || target.hasPrefix("#") { continue }
          let file = target.split(separator: "#")[0]
          let joined = URL(fileURLWithPath: Repository.root.path).appendingPathComponent(folder)
            .appendingPathComponent(String(file)).standardizedFileURL.path
          #expect(
            FileManager.default.fileExists(atPath: joined), "\(path):\(number + 1): the link \(target) leads nowhere")
        }
      }
    }
  }

  // Each public or package type of a pattern has a page: the catalogue is part of the product.
  @Test func everyPatternHasAPage() throws {
    let pages = try Repository.files(below: "docs/patterns", ".md").map { try Repository.text($0) }.joined()
    for path in Repository.files(below: "Sources/WeirPatterns", ".swift") {
      let name = ((path as NSString).lastPathComponent as NSString).deletingPathExtension
      if name.contains("+") { continue }
      let text = try Repository.text(path)
      guard text.contains("public struct \(name)") || text.contains("public enum \(name)") else { continue }
      #expect(pages.contains(name), "\(path): no page in docs/patterns speaks of \(name)")
    }
  }

  // Nothing in the repository names a folder of the machine it was written on.
  @Test func noPathOfAMachine() throws {
    let banned = ["/" + "work/", "/" + "opt/swift", "/" + "root/"]
    let files =
      Repository.files(below: "", ".swift", ".md", ".yaml", ".sh", ".py", ".json", ".c", ".h")
      + Repository.files(below: "script", "")
    for path in files {
      for (number, line) in try Repository.lines(path).enumerated() {
        for word in banned where line.contains(word) { Issue.record("\(path):\(number + 1): \(word)") }
      }
    }
  }

  static func linkTargets(_ line: String) -> [String] {
    var found: [String] = []
    var rest = Substring(line)
    while let open = rest.range(of: "](") {
      rest = rest[open.upperBound...]
      guard let close = rest.firstIndex(of: ")") else { break }
      found.append(String(rest[..<close]))
      rest = rest[close...]
    }
    return found
  }
}
