// SPDX-License-Identifier: Apache-2.0
import GRDB
import Synchronization
import Testing
import WeirMessaging
import WeirOutbox
import WeirWire

/// SQLite holds what is put into it, whatever a column is declared as.
@Suite struct OutboxTypesTests {
  /// As SQL writes them: each of SQLite's types, and texts that are none to others.
  static let values = [
    "NULL", "7", "1.5", "'word'", "x''", "x'c3'", "CAST(x'71c3' AS TEXT)", "CAST(x'710071' AS TEXT)",
  ]
  static let columns = "target, key, type, headers, body, created"

  @Test(
    "whatever stands in a column, its row is sent or told, and what is behind it is sent",
    arguments: ["target", "key", "type", "headers", "body", "created"])
  func types(_ column: String) throws {
    let shop = try Shop(
      create: "CREATE TABLE weir_outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, \(Self.columns))")
    let queues = Queues()
    for (i, value) in Self.values.enumerated() {
      var row = ["target": "'queues/a'", "body": "'odd \(i)'", "created": "'2026-11-22'"]
      row[column] = value
      let names = row.keys.sorted()
      let sql = "INSERT INTO weir_outbox (\(names.joined(separator: ", "))) VALUES "
      try shop.database.write { db in
        try db.execute(sql: sql + "(\(names.map { row[$0] ?? "NULL" }.joined(separator: ", ")))")
        try db.execute(sql: "INSERT INTO weir_outbox (target, body, created) VALUES ('queues/a', 'good \(i)', '')")
      }
    }
    let driver = try shop.driver(queues)
    defer { driver.stop() }
    let goods = Self.values.indices.map { "good \($0)" }
    try eventually("the good ones are sent: \(driver.report)") {
      queues.bodies("a").filter { $0.hasPrefix("good") } == goods
    }
    try eventually("each other one is sent or told: \(driver.report)") {
      let left = try shop.waiting()
      return driver.report.aside == left && Int(driver.report.sent) == 2 * goods.count - left
    }
    let aside =
      switch column {
      // A name that there is not is refused by the queue itself; here any text but one of two parts is wrong.
      case "target": 8
      // Nothing, an empty text, a number, and texts that fields can hold.
      case "key": 4
      // A queue's message has none: but for those that have none here.
      case "type": 7
      case "headers": 7
      case "body": 1
      default: 0
      }
    #expect(driver.report.aside == aside)
    #expect((driver.report.problem == nil) == (aside == 0))
  }

  @Test("a table whose ids are no numbers is told, and none whose name is a word of SQL")
  func names() throws {
    let table = OutboxTable(name: "Order")
    let shop = try Shop(create: table.sqlite)
    let queues = Queues()
    let driver = OutboxDriver(name: "shop-db", api: MessagingAPI()) { queues.ask($0) }
    let path = shop.path
    try shop.database.write {
      try $0.execute(sql: "INSERT INTO \"Order\" (target, body) VALUES ('queues/a', 'one')")
    }
    try driver.start { SQLiteOutbox(path: path, table: table) }
    try eventually("it is sent: \(driver.report)") { queues.bodies("a") == ["one"] }
    driver.stop()
    #expect(OutboxTable(name: "public.Order").postgres.contains(#"CREATE TABLE "public"."Order" ("#))

    let odd = try Shop(
      create: "CREATE TABLE weir_outbox (id TEXT, n INTEGER PRIMARY KEY AUTOINCREMENT, \(Self.columns))")
    try odd.insert("queues/a", "two")
    let other = try odd.driver(queues)
    defer { other.stop() }
    try eventually("it is told") { other.report.problem?.contains("'id' that is no number") == true }
  }

  @Test("rows go to topics, streams and sagas with key, type and fields, and what a target has not is told")
  func targets() throws {
    let shop = try Shop()
    let asked = Mutex<[StateRequest]>([])
    let api = MessagingAPI(
      logs: LogAPI([LogAPI.Log(.topic, "events"), LogAPI.Log(.stream, "ledger", types: ["Placed"])]))
    let driver = OutboxDriver(name: "shop-db", api: api) { request in
      asked.withLock { $0.append(request) }
      switch request {
      case .enqueue(_, let messages): return .enqueued(messages.map { Enqueued(id: $0.id, isDuplicate: false) })
      case .append(_, let entries):
        return .appended(entries.map { _ in Appended(position: 1, version: 1, isDuplicate: false) })
      default: return .failed(.broken)
      }
    }
    let path = shop.path
    let rows = [
      ("topics/events", "k1", "OrderPlaced", "a"), ("streams/ledger", "order/7", "Placed", "b"),
      ("sagas/order", "k3", nil, "c"), ("sagas/order", nil, "Placed", "typed saga"),
      ("streams/ledger", "7", "Unheard", "unknown type"), ("streams/ledger", nil, "Placed", "no key"),
      ("topics/nobody", nil, nil, "no topic"),
    ]
    try shop.database.write { db in
      for (target, key, type, body) in rows {
        try db.execute(
          sql: "INSERT INTO weir_outbox (target, key, type, body) VALUES (?, ?, ?, ?)",
          arguments: [target, key, type, body])
      }
    }
    try driver.start { SQLiteOutbox(path: path, table: OutboxTable(name: "weir_outbox")) }
    defer { driver.stop() }
    try eventually("four are sent: \(driver.report)") { driver.report.sent == 4 && driver.report.aside == 3 }
    #expect(driver.report.problem?.hasPrefix("row ") == true)
    var seen: [String] = []
    for request in asked.withLock({ $0 }) {
      switch request {
      case .enqueue(let queue, let messages):
        seen += messages.map {
          "\(queue) \(String(decoding: $0.key, as: UTF8.self)) \(String(decoding: $0.body, as: UTF8.self))"
        }
      case .append(let log, let entries):
        seen += entries.map { entry in
          let words = [entry.key, entry.type, entry.body].map { String(decoding: $0, as: UTF8.self) }
          return "\(log) \(words.joined(separator: " "))"
        }
      default: Issue.record("\(request)")
      }
    }
    #expect(
      seen == ["events k1 OrderPlaced a", "ledger order/7 Placed b", "ledger ledger Placed no key", "sagas.order k3 c"])
  }
}
