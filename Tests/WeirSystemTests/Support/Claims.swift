// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing

/// What the tests of this target hold Weir to, each with the figures that were seen.
///
/// `script/acceptance` names a file in `WEIR_CLAIMS` and prints its lines; a claim that does not hold fails its test too.
enum Claims {
  static func holds(
    _ condition: Bool, _ claim: String, _ figures: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(condition, "\(claim): \(figures)", sourceLocation: sourceLocation)
    guard let path = ProcessInfo.processInfo.environment["WEIR_CLAIMS"] else { return }
    let line = "\(condition ? "holds" : "FAILS")  \(claim): \(figures)\n"
    do {
      if !FileManager.default.fileExists(atPath: path) { try Data().write(to: URL(fileURLWithPath: path)) }
      let file = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
      try file.seekToEnd()
      try file.write(contentsOf: Data(line.utf8))
      try file.close()
    } catch {
      Issue.record("WEIR_CLAIMS cannot be written: \(error)", sourceLocation: sourceLocation)
    }
  }

  /// How long and how hard load tests press: short by default, the whole of it in `script/acceptance`.
  static var load: (seconds: Int, rate: Int) {
    func number(_ name: String, else usual: Int) -> Int {
      ProcessInfo.processInfo.environment[name].flatMap { Int($0) } ?? usual
    }
    return (number("WEIR_LOAD_SECONDS", else: 12), number("WEIR_LOAD_RATE", else: 100))
  }
}
