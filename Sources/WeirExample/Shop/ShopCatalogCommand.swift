// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import NIOCore

/// Something to buy.
struct Product: Codable, Sendable {
  var id: String
  var name: String
  var about: String
  var group: String
  /// Which of the page's drawings shows it.
  var picture: String
  var cents: Int
  /// How many the shop begins with; the inventory's business, and not told with a product.
  var stock: Int = 0

  enum CodingKeys: String, CodingKey { case id, name, about, group, picture, cents }

  /// What a new shop sells.
  static let all = [
    Product("mug", "Stoneware mug", "Holds 30 cl and keeps it warm.", "Kitchen", "mug", 1450),
    Product("board", "Cutting board", "Oak, oiled, 40 by 25 cm.", "Kitchen", "board", 2900),
    Product("kettle", "Enamel kettle", "Two litres; it whistles.", "Kitchen", "kettle", 4590),
    Product("lamp", "Desk lamp", "Brass, with a switch one can find in the dark.", "Living", "lamp", 7900),
    Product("blanket", "Wool blanket", "130 by 180 cm, from the Alps.", "Living", "blanket", 8900),
    Product("clock", "Wall clock", "Silent, and right twice a day at least.", "Living", "clock", 3950),
    Product("plant", "Rubber plant", "Half a metre high, and forgiving.", "Living", "plant", 2490),
    Product("notebook", "Notebook", "160 pages with dots, lies flat.", "Desk", "notebook", 1290),
    Product("pen", "Fountain pen", "Steel nib, medium.", "Desk", "pen", 3400),
    Product(
      "umbrella", "Umbrella", "The bank declines amounts that end in .13: see what happens.", "Outside", "umbrella",
      1913),
    Product("bag", "Canvas bag", "For bread and books.", "Outside", "bag", 1690),
    Product(
      "chair", "The last chair", "There is only one. Whoever comes second gets the money back.", "Outside", "chair",
      12900, stock: 1),
  ]

  private init(
    _ id: String, _ name: String, _ about: String, _ group: String, _ picture: String, _ cents: Int,
    stock: Int = 1_000_000
  ) {
    self.id = id
    self.name = name
    self.about = about
    self.group = group
    self.picture = picture
    self.cents = cents
    self.stock = stock
  }

  init(row: Row) {
    id = row["id"]
    name = row["name"]
    about = row["about"]
    group = row["section"]
    picture = row["picture"]
    cents = row["cents"]
  }
}

/// `weir-example shop catalog`: what there is to buy, and, if the inventory can be asked, how much of it.
struct ShopCatalogCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "catalog", abstract: "The products; asks `inventory` through WEIR_URL how many are left.")

  @OptionGroup var program: ProgramOptions
  @OptionGroup var database: ShopDatabaseOptions

  private static let tables = """
    CREATE TABLE IF NOT EXISTS products (
      id TEXT PRIMARY KEY, place INTEGER NOT NULL, name TEXT NOT NULL, about TEXT NOT NULL, section TEXT NOT NULL,
      picture TEXT NOT NULL, cents INTEGER NOT NULL);
    """

  /// A product with what is left of it, when that is known.
  private struct Shown: Encodable {
    var product: Product
    var left: Int?

    private enum Key: String, CodingKey { case left }

    func encode(to encoder: any Encoder) throws {
      try product.encode(to: encoder)
      var container = encoder.container(keyedBy: Key.self)
      try container.encodeIfPresent(left, forKey: .left)
    }
  }

  func run() async throws {
    let program = try Program(name: "shop-catalog", options: program)
    let store = try await ShopStore.open(database, variable: "CATALOG_DB_URL", tables: Self.tables)
    try await store.write { db in
      for (place, product) in Product.all.enumerated() {
        try db.execute(
          sql:
            "INSERT OR IGNORE INTO products (id, place, name, about, section, picture, cents) VALUES (?, ?, ?, ?, ?, ?, ?)",
          arguments: [product.id, place, product.name, product.about, product.group, product.picture, product.cents])
      }
    }
    let inventory = try Peer.told(by: "WEIR_URL", path: "/call/inventory")
    try await program.serve {
      try await store.check()
      return nil
    } routes: { router in
      router.get("/api/products") { request, context in
        let products = try await all(store)
        let answer = await inventory?.send(
          .get, "/stock", within: .milliseconds(500), for: request, spent: context.spent)
        // Weir answers its fallback, an empty object, when the inventory cannot be asked: the shop goes on without.
        let left = answer.flatMap { $0.status == 200 ? $0.json([String: Int].self) : nil } ?? [:]
        return try json(
          products.map { Shown(product: $0, left: left[$0.id]) }, headers: left.isEmpty ? [.degraded: "inventory"] : [:]
        )
      }
      router.get("/products") { _, _ in try json(try await all(store)) }
    }
    try store.close()
  }

  private func all(_ store: ShopStore) async throws -> [Product] {
    try await store.read { db in
      try Row.fetchAll(db, sql: "SELECT * FROM products ORDER BY place").map { Product(row: $0) }
    }
  }
}
