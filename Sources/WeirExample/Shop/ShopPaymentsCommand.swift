// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import NIOCore

/// `weir-example shop payments`: holds money for an order, and gives it back; no bank is asked.
///
/// An amount that ends in 13 cents is declined, so that one can see what happens then.
struct ShopPaymentsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "payments", abstract: "Takes payments, except of amounts that end in .13.")

  @OptionGroup var program: ProgramOptions
  @OptionGroup var database: ShopDatabaseOptions

  /// `payments` is the state of each order, `movements` is every effect that there ever was: what tests count.
  private static let tables = """
    CREATE TABLE IF NOT EXISTS payments (
      order_id TEXT PRIMARY KEY, state TEXT NOT NULL CHECK (state IN ('authorized', 'declined', 'voided', 'barred')),
      cents INTEGER NOT NULL, at INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS movements (
      id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, cents INTEGER NOT NULL, at INTEGER NOT NULL);
    """

  func run() async throws {
    let program = try Program(name: "shop-payments", options: program)
    let store = try await ShopStore.open(database, variable: "PAYMENTS_DB_URL", tables: Self.tables)
    try await program.serve {
      try await store.check()
      return nil
    } routes: { router in
      router.post("/authorize") { request, _ in
        let order = try await Order.of(request)
        return try await store.once(request) { db in try Self.authorize(order, db) }
      }
      router.post("/void") { request, _ in
        let order = try await Order.of(request)
        return try await store.once(request) { db in try Self.void(order, db) }
      }
      router.get("/payments/:id") { _, context in
        let id = try ShopID.checked(context.parameters.get("id"), what: "an order's id")
        return try json(try await store.read { db in try Self.shown(id, db) })
      }
    }
    try store.close()
  }

  private static let declined = ShopStore.Effect.refused(
    .init(code: 402, reasonPhrase: "Payment Required"), "the bank has declined the payment")

  private static func state(of order: String, _ db: Database) throws -> String? {
    try String.fetchOne(db, sql: "SELECT state FROM payments WHERE order_id = ?", arguments: [order])
  }

  /// What became of the money of an order.
  private struct Shown: Encodable {
    var state: String
    var movements: Int
    var cents: Int
  }

  private static func shown(_ order: String, _ db: Database) throws -> Shown {
    guard let state = try state(of: order, db) else { throw Problem(.notFound, "there is no such payment") }
    let row = try Row.fetchOne(
      db, sql: "SELECT count(*) AS n, coalesce(sum(cents), 0) AS cents FROM movements WHERE order_id = ?",
      arguments: [order])
    return Shown(state: state, movements: row?["n"] ?? 0, cents: row?["cents"] ?? 0)
  }

  private static func authorize(_ order: Order, _ db: Database) throws -> ShopStore.Effect {
    switch try state(of: order.id, db) {
    case "authorized": return .done()
    case "voided", "barred": return .refused(.unprocessableContent, "the payment of this order was taken back")
    case "declined": return declined
    default: break
    }
    let isDeclined = order.total % 100 == 13
    try set(isDeclined ? "declined" : "authorized", order, db)
    if isDeclined { return declined }
    try move(order.total, order, db)
    return .done("{\"authorized_cents\":\(order.total)}")
  }

  /// An undo of what was never done succeeds too, and bars it: an `authorize` that was held up on its way is refused.
  private static func void(_ order: Order, _ db: Database) throws -> ShopStore.Effect {
    switch try state(of: order.id, db) {
    case "authorized":
      try set("voided", order, db)
      try move(-order.total, order, db)
    case nil: try set("barred", order, db)
    default: break
    }
    return .done()
  }

  private static func set(_ state: String, _ order: Order, _ db: Database) throws {
    try db.execute(
      sql: """
        INSERT INTO payments (order_id, state, cents, at) VALUES (?, ?, ?, unixepoch())
        ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, at = excluded.at
        """, arguments: [order.id, state, order.total])
  }

  private static func move(_ cents: Int, _ order: Order, _ db: Database) throws {
    try db.execute(
      sql: "INSERT INTO movements (order_id, cents, at) VALUES (?, ?, unixepoch())", arguments: [order.id, cents])
  }
}
