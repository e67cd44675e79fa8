// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import NIOCore

/// `weir-example shop inventory`: what is in stock, what is reserved for an order, what has left.
struct ShopInventoryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inventory", abstract: "Reserves what is in stock; takes it out when an order is placed.")

  @OptionGroup var program: ProgramOptions
  @OptionGroup var database: ShopDatabaseOptions

  /// `movements` is every change that there ever was: what tests count.
  private static let tables =
    """
    CREATE TABLE IF NOT EXISTS stock (
      product TEXT PRIMARY KEY, on_hand INTEGER NOT NULL CHECK (on_hand >= 0),
      reserved INTEGER NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND on_hand));
    CREATE TABLE IF NOT EXISTS reservations (
      order_id TEXT PRIMARY KEY, state TEXT NOT NULL CHECK (state IN ('reserved', 'released', 'shipped', 'barred')),
      lines TEXT NOT NULL, at INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS movements (
      id INTEGER PRIMARY KEY, order_id TEXT NOT NULL, kind TEXT NOT NULL, product TEXT NOT NULL,
      quantity INTEGER NOT NULL, at INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS heard (order_id TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID;
    """
    + Product.all.map { "\nINSERT OR IGNORE INTO stock (product, on_hand) VALUES ('\($0.id)', \($0.stock));" }.joined()

  func run() async throws {
    let program = try Program(name: "shop-inventory", options: program)
    let store = try await ShopStore.open(database, variable: "INVENTORY_DB_URL", tables: Self.tables)
    try await program.serve {
      try await store.check()
      return nil
    } routes: { router in
      router.post("/reserve") { request, _ in
        let order = try await Order.of(request)
        return try await store.once(request) { db in try Self.reserve(order, db) }
      }
      router.post("/release") { request, _ in
        let order = try await Order.of(request)
        return try await store.once(request) { db in try Self.release(order, db) }
      }
      router.post("/events") { request, _ in
        let event = try await OrderEvent.of(request)
        return try await store.write { db in try Self.hear(event, db) }.response
      }
      router.get("/stock") { _, _ in
        let left = try await store.read { db in
          try Row.fetchAll(db, sql: "SELECT product, on_hand - reserved AS left FROM stock").map {
            ($0["product"] as String, $0["left"] as Int)
          }
        }
        return try json(Dictionary(left) { first, _ in first })
      }
    }
    try store.close()
  }

  private static func state(of order: String, _ db: Database) throws -> String? {
    try String.fetchOne(db, sql: "SELECT state FROM reservations WHERE order_id = ?", arguments: [order])
  }

  private static func reserve(_ order: Order, _ db: Database) throws -> ShopStore.Effect {
    switch try state(of: order.id, db) {
    case "reserved", "shipped": return .done()
    case "released", "barred": return .refused(.unprocessableContent, "the reservation of this order was taken back")
    default: break
    }
    // All or nothing: looked at first, as a transaction that is rolled back would also forget its answer.
    for line in order.lines {
      let left = try Int.fetchOne(
        db, sql: "SELECT on_hand - reserved FROM stock WHERE product = ?", arguments: [line.product])
      guard let left, left >= line.quantity else {
        return .refused(.unprocessableContent, "\(line.name) is sold out")
      }
    }
    for line in order.lines {
      try db.execute(
        sql: "UPDATE stock SET reserved = reserved + ? WHERE product = ?", arguments: [line.quantity, line.product])
      try note("reserve", line, order.id, db)
    }
    try set("reserved", order.id, order.lines, db)
    return .done()
  }

  /// As a payment's undo: it also bars a reservation that is still on its way.
  private static func release(_ order: Order, _ db: Database) throws -> ShopStore.Effect {
    switch try state(of: order.id, db) {
    case "reserved":
      for line in order.lines {
        try db.execute(
          sql: "UPDATE stock SET reserved = reserved - ? WHERE product = ?", arguments: [line.quantity, line.product])
        try note("release", line, order.id, db)
      }
      try set("released", order.id, order.lines, db)
    case nil: try set("barred", order.id, order.lines, db)
    case "shipped": return .refused(.unprocessableContent, "the order has left the house")
    default: break
    }
    return .done()
  }

  /// An event of the topic, in its order: the number within its order tells what was heard already and what is missing.
  ///
  /// Delivered twice it is heard once. One that overtook another is sent back, and comes again when that one is here.
  private static func hear(_ event: OrderEvent, _ db: Database) throws -> ShopStore.Effect {
    guard let version = event.version else { return .refused(.badRequest, "'version' is missing") }
    let last =
      try Int.fetchOne(db, sql: "SELECT version FROM heard WHERE order_id = ?", arguments: [event.order]) ?? 0
    if version <= last { return .done("{\"heard\":\"before\"}") }
    if version > last + 1 {
      return Effect(status: .tooEarly, json: "{\"missing\":\(last + 1)}")
    }
    if event.type == .placed, try state(of: event.order, db) == "reserved" {
      for line in event.lines {
        try db.execute(
          sql: "UPDATE stock SET on_hand = on_hand - :n, reserved = reserved - :n WHERE product = :product",
          arguments: ["n": line.quantity, "product": line.product])
        try note("ship", line, event.order, db)
      }
      try set("shipped", event.order, event.lines, db)
    }
    try db.execute(
      sql: """
        INSERT INTO heard (order_id, version) VALUES (?, ?)
        ON CONFLICT (order_id) DO UPDATE SET version = excluded.version
        """, arguments: [event.order, version])
    return .done()
  }

  private typealias Effect = ShopStore.Effect

  private static func set(_ state: String, _ order: String, _ lines: [OrderLine], _ db: Database) throws {
    try db.execute(
      sql: """
        INSERT INTO reservations (order_id, state, lines, at) VALUES (?, ?, ?, unixepoch())
        ON CONFLICT (order_id) DO UPDATE SET state = excluded.state, at = excluded.at
        """, arguments: [order, state, String(buffer: try encoded(lines))])
  }

  private static func note(_ kind: String, _ line: OrderLine, _ order: String, _ db: Database) throws {
    try db.execute(
      sql: "INSERT INTO movements (order_id, kind, product, quantity, at) VALUES (?, ?, ?, ?, unixepoch())",
      arguments: [order, kind, line.product, line.quantity])
  }
}
