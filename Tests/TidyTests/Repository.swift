// SPDX-License-Identifier: Apache-2.0
import Foundation

/// The checkout these tests were compiled from.
enum Repository {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// Paths relative to the root of the files below `folder` whose name ends in one of `suffixes`, sorted.
  static func files(below folder: String, _ suffixes: String...) -> [String] {
    let start = root.appendingPathComponent(folder)
    guard
      let walk = FileManager.default.enumerator(
        at: start, includingPropertiesForKeys: nil, options: [.skipsHiddenFiles])
    else { return [] }
    var found: [String] = []
    for case let url as URL in walk where suffixes.contains(where: { url.path.hasSuffix($0) }) {
      let path = url.path.dropFirst(root.path.count + 1)
      if !path.contains("/.build/") && !path.hasPrefix(".build/") { found.append(String(path)) }
    }
    return found.sorted()
  }

  static func text(_ path: String) throws -> String {
    // Fixtures may be broken on purpose: what is no UTF-8 is read with replacements.
    String(decoding: try Data(contentsOf: root.appendingPathComponent(path)), as: UTF8.self)
  }

  static func lines(_ path: String) throws -> [String] {
    try text(path).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
  }

  static func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: root.appendingPathComponent(path).path)
  }
}
