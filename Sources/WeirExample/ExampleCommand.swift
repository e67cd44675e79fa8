// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation

/// The programs of the examples, in one binary: a page, an API, a search, a shop, and a load generator to try them with.
///
/// They use nothing of Weir. They are told their port and their addresses by `PORT`, `WEIR_URL` and `NOTES_DB_URL`, as
/// a program in any other language would be.
@main
struct ExampleCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weir-example",
    abstract: "The programs of Weir's examples.",
    subcommands: [
      APICommand.self, SearchCommand.self, WebCommand.self, LoadCommand.self, WaitsCommand.self, ShopCommand.self,
    ])

  /// As ArgumentParser's own, but for the exit codes: 2 for wrong use and for what cannot be opened, as all of Weir.
  static func main() async {
    do {
      var command = try parseAsRoot()
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch let refusal as Refusal {
      FileHandle.standardError.write(Data("weir-example: \(refusal.sentence)\n".utf8))
      Foundation.exit(2)
    } catch {
      guard exitCode(for: error) == .validationFailure else { exit(withError: error) }
      FileHandle.standardError.write(Data("\(fullMessage(for: error))\n".utf8))
      Foundation.exit(2)
    }
  }
}

/// Why a program cannot begin, in a sentence for the person who started it.
struct Refusal: Error {
  let sentence: String

  init(_ sentence: String) { self.sentence = sentence }
}
