// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Hummingbird

/// `weir-example shop …`: the programs of the shop, each with data of its own; its mailer and its partner are Python.
struct ShopCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "shop", abstract: "The programs of the shop.",
    subcommands: [
      ShopWebCommand.self, ShopCatalogCommand.self, ShopOrdersCommand.self, ShopPaymentsCommand.self,
      ShopInventoryCommand.self,
    ])
}

/// `weir-example shop web`: the page of the shop, from the binary itself.
struct ShopWebCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "web", abstract: "The page of the shop; it calls /api/ at its own address.")

  @OptionGroup var program: ProgramOptions

  func run() async throws {
    let program = try Program(name: "shop-web", options: program)
    try await program.serve {
      nil
    } routes: { router in
      for file in PageFile.shop {
        router.get(RouterPath(file.path)) { request, _ in file.response(to: request) }
      }
    }
  }
}
