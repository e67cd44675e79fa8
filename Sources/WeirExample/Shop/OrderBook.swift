// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import NIOCore

/// The carts, and the list of orders as it is read: made of the stream `order-log`, and always a moment behind it.
struct OrderBook: Sendable {
  let store: ShopStore

  static let tables = """
    CREATE TABLE IF NOT EXISTS cart_lines (
      customer_id TEXT NOT NULL, product TEXT NOT NULL, quantity INTEGER NOT NULL, PRIMARY KEY (customer_id, product)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS orders (
      order_id TEXT PRIMARY KEY, customer_id TEXT NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL,
      total_cents INTEGER NOT NULL, lines TEXT NOT NULL, opened_at TEXT NOT NULL, changed_at TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS orders_of_customer ON orders (customer_id, opened_at);
    CREATE TABLE IF NOT EXISTS reports (
      made_at TEXT NOT NULL, placed INTEGER NOT NULL, placed_cents INTEGER NOT NULL, rejected INTEGER NOT NULL);
    """

  struct Cart: Codable, Sendable {
    struct Line: Codable, Sendable {
      var product: String
      var quantity: Int
    }

    var lines: [Line]

    func checked() throws -> Cart {
      guard lines.count <= 50 else { throw Problem(.badRequest, "a cart holds 50 products") }
      for line in lines {
        _ = try ShopID.checked(line.product, what: "a product's id")
        guard (1...99).contains(line.quantity) else { throw Problem(.badRequest, "a quantity is 1 to 99") }
      }
      guard Set(lines.map(\.product)).count == lines.count else {
        throw Problem(.badRequest, "a product stands in a cart once")
      }
      return self
    }
  }

  func cart(of customer: String) async throws -> Cart {
    try await store.read { db in
      Cart(
        lines: try Row.fetchAll(
          db, sql: "SELECT product, quantity FROM cart_lines WHERE customer_id = ? ORDER BY product",
          arguments: [customer]
        ).map { Cart.Line(product: $0["product"], quantity: $0["quantity"]) })
    }
  }

  func keep(_ cart: Cart, of customer: String) async throws {
    try await store.write { db in
      try db.execute(sql: "DELETE FROM cart_lines WHERE customer_id = ?", arguments: [customer])
      for line in cart.lines {
        try db.execute(
          sql: "INSERT INTO cart_lines (customer_id, product, quantity) VALUES (?, ?, ?)",
          arguments: [customer, line.product, line.quantity])
      }
    }
  }

  /// An order as the list shows it.
  struct Shown: Encodable, Sendable {
    var id: String
    /// `open`, `placed` or `rejected`.
    var state: String
    var total: Int
    var lines: [OrderLine]
    var openedAt: String
    var changedAt: String

    enum CodingKeys: String, CodingKey {
      case id = "order_id"
      case state
      case total = "total_cents"
      case lines
      case openedAt = "opened_at"
      case changedAt = "changed_at"
    }
  }

  /// The newest first.
  func orders(of customer: String) async throws -> [Shown] {
    try await store.read { db in
      try Row.fetchAll(
        db, sql: "SELECT * FROM orders WHERE customer_id = ? ORDER BY opened_at DESC, order_id LIMIT 50",
        arguments: [customer]
      ).map { row in
        let lines: String = row["lines"]
        return Shown(
          id: row["order_id"], state: row["state"], total: row["total_cents"],
          lines: try JSONDecoder().decode([OrderLine].self, from: Data(lines.utf8)), openedAt: row["opened_at"],
          changedAt: row["changed_at"])
      }
    }
  }

  /// Takes an event into the list: each once, and none before the one before it.
  func project(_ event: OrderEvent, version: Int) async throws -> Response {
    let lines = String(buffer: try encoded(event.lines))
    return try await store.write { db in
      let known =
        try Int.fetchOne(db, sql: "SELECT version FROM orders WHERE order_id = ?", arguments: [event.order]) ?? 0
      if version <= known { return ShopStore.Effect.done("{\"known\":true}") }
      if version > known + 1 { return ShopStore.Effect(status: .tooEarly, json: "{\"missing\":\(known + 1)}") }
      let state =
        switch event.type {
        case .opened: "open"
        case .placed: "placed"
        case .rejected: "rejected"
        }
      try db.execute(
        sql: """
          INSERT INTO orders (order_id, customer_id, version, state, total_cents, lines, opened_at, changed_at)
          VALUES (:id, :customer, :version, :state, :total, :lines, :at, :at)
          ON CONFLICT (order_id) DO UPDATE SET version = :version, state = :state, changed_at = :at
          """,
        arguments: [
          "id": event.order, "customer": event.customer, "version": version, "state": state, "total": event.total,
          "lines": lines, "at": event.at,
        ])
      if event.type == .placed {
        // What was bought is no longer in the cart; what came into it since stays.
        for line in event.lines {
          try db.execute(
            sql: "DELETE FROM cart_lines WHERE customer_id = ? AND product = ? AND quantity = ?",
            arguments: [event.customer, line.product, line.quantity])
        }
      }
      return .done()
    }.response
  }

  /// The nightly report: a row for each run of the job, however often the run is delivered.
  func report(_ request: Request) async throws -> Response {
    try await store.once(request) { db in
      let row = try Row.fetchOne(
        db,
        sql: """
          SELECT count(*) FILTER (WHERE state = 'placed') AS placed,
            coalesce(sum(total_cents) FILTER (WHERE state = 'placed'), 0) AS cents,
            count(*) FILTER (WHERE state = 'rejected') AS rejected
          FROM orders
          """)
      let (placed, cents, rejected): (Int, Int, Int) = (row?["placed"] ?? 0, row?["cents"] ?? 0, row?["rejected"] ?? 0)
      try db.execute(
        sql: "INSERT INTO reports (made_at, placed, placed_cents, rejected) VALUES (?, ?, ?, ?)",
        arguments: [LogLine.now(), placed, cents, rejected])
      return .done("{\"placed\":\(placed),\"placed_cents\":\(cents),\"rejected\":\(rejected)}")
    }
  }
}
