// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import WeirModel

/// `weir schema`: the JSON Schema of the file, for editors.
struct SchemaCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schema", abstract: "Print the JSON Schema (draft 2020-12) of the file, for editors.")

  func run() throws { Output.result(Language.schema.rendered()) }
}
