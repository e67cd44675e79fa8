// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import HTTPTypes
import Hummingbird
import NIOCore

/// `weir-example web`: the page of the notes, from the binary itself.
struct WebCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "web", abstract: "The page of the notes; it calls /api/ at its own address.")

  @OptionGroup var program: ProgramOptions

  func run() async throws {
    let program = try Program(name: "web", options: program)
    try await program.serve {
      nil
    } routes: { router in
      for file in PageFile.all {
        router.get(RouterPath(file.path)) { request, _ in file.response(to: request) }
      }
    }
  }
}
