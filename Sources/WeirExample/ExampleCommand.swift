// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The programs of the examples, in one binary: a page, an API, a search, and a load generator to try them with.
///
/// They use nothing of Weir. They are told their port and their addresses by `PORT`, `WEIR_URL` and `NOTES_DB_URL`, as
/// a program in any other language would be.
@main
struct ExampleCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "weir-example",
    abstract: "The programs of Weir's examples.",
    subcommands: [
      APICommand.self, SearchCommand.self, WebCommand.self, LoadCommand.self, WaitsCommand.self,
    ])
}
