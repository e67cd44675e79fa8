// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import WeirBase
import WeirPlatform

/// How a verb's result is printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
  case text, json
}

/// Standard output for the result, standard error for everything else.
enum Output {
  static func result(_ text: String) { write(text, to: .standardOutput) }

  static func json(_ value: some Encodable) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  static func note(_ text: String) { write(text, to: .standardError) }

  /// A closed pipe (`weir explain … | head`) ends the program quietly, as other tools do.
  private static func write(_ text: String, to handle: FileHandle) {
    do {
      try handle.write(contentsOf: Data((text.hasSuffix("\n") ? text : text + "\n").utf8))
    } catch {
      Foundation.exit(handle === FileHandle.standardOutput ? 0 : 3)
    }
  }

  static var mayColour: Bool { Terminal.mayColour(1) }
  static var mayColourErrors: Bool { Terminal.mayColour(2) }
}

/// A line on the terminal that is written over: what is being done, for anything that takes longer than two seconds.
struct Progress {
  private let isShown = Terminal.isTerminal(2)
  private let startedAt = SystemClock.now()

  func show(_ text: @autoclosure () -> String) {
    guard isShown, SystemClock.now().since(startedAt) > 2_000_000_000 else { return }
    FileHandle.standardError.write(Data("\r\u{1b}[K\(text())".utf8))
  }

  func clear() {
    guard isShown else { return }
    FileHandle.standardError.write(Data("\r\u{1b}[K".utf8))
  }
}
