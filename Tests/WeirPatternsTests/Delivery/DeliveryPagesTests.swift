// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirPatterns

/// The settings tables of the pages of delivery against the settings: a changed default changes its page.
struct DeliveryPagesTests {
  private func rows(_ page: String) throws -> [String] {
    // The repository is four levels above Tests/WeirPatternsTests/Delivery/<this file>.
    var root = URL(fileURLWithPath: #filePath)
    for _ in 0..<4 { root.deleteLastPathComponent() }
    let text = try String(contentsOf: root.appending(path: "docs/patterns/\(page).md"), encoding: .utf8)
    let section = text.components(separatedBy: "## Settings").last?.components(separatedBy: "\n## ").first ?? ""
    return section.split(separator: "\n").filter { $0.hasPrefix("| `") }.map(String.init)
  }

  private func written(_ value: Any) -> String {
    switch value {
    case let duration as Duration:
      let milliseconds = duration.inNanoseconds / 1_000_000
      return milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
    case let yes as Bool: return yes ? "yes" : "no"
    case let backoff as Backoff.Settings:
      return "[backoff](backoff.md), \(written(backoff.first)) to \(written(backoff.max))"
    default:
      let mirror = Mirror(reflecting: value)
      if mirror.displayStyle == .optional { return mirror.children.first.map { written($0.value) } ?? "none" }
      return "\(value)"
    }
  }

  @Test("each default on a page is the code's, and none is missing or too many")
  func defaults() throws {
    let pages: [(String, Any)] = [
      ("delivery-queue", DeliveryQueue.Settings()), ("sequencer", Sequencer.Settings()),
      ("deduplicator", Deduplicator.Settings()),
    ]
    for (page, settings) in pages {
      let rows = try rows(page)
      let children = Mirror(reflecting: settings).children
      for child in children {
        let row = "| `\(child.label ?? "")` | \(written(child.value)) |"
        #expect(rows.contains { $0.hasPrefix(row) }, "\(page).md has no row \(row)")
      }
      #expect(rows.count == children.count, "\(page).md")
    }
  }
}
