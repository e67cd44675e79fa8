// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirMessaging
import WeirOutbox
import WeirPlatform
import WeirWire

/// Queues as the state process has them: whole batches or nothing, each id once.
final class Queues: Sendable {
  struct State {
    var taken: [String: [NewMessage]] = [:]
    var unknown: Set<String> = []
    var full: Set<String> = []
    var duplicates = 0
  }

  let state = Mutex(State())

  func ask(_ request: StateRequest) -> StateReply? {
    guard case .enqueue(let queue, let messages) = request else { return .failed(.broken) }
    return state.withLock { state in
      if state.unknown.contains(queue) { return .unknownQueue }
      if state.full.contains(queue) { return .queueFull(retryAfter: 1) }
      return .enqueued(
        messages.map { message in
          let isDuplicate = state.taken[queue]?.contains { $0.id == message.id } == true
          if isDuplicate { state.duplicates += 1 } else { state.taken[queue, default: []].append(message) }
          return Enqueued(id: message.id, isDuplicate: isDuplicate)
        })
    }
  }

  func bodies(_ queue: String) -> [String] {
    state.withLock { ($0.taken[queue] ?? []).map { String(decoding: $0.body, as: UTF8.self) } }
  }
}

/// A program's database in a folder of its own.
final class Shop {
  let path: String
  let database: DatabaseQueue

  init(create: String? = OutboxTable(name: "weir_outbox").sqlite) throws {
    let folder = FileManager.default.temporaryDirectory.path + "/weir-outbox-\(UUID().uuidString.prefix(13))"
    try Files.makeFolder(folder)
    path = folder + "/shop.db"
    // As any program must have it whose file another one writes to as well.
    var configuration = Configuration()
    configuration.busyMode = .timeout(120)
    database = try DatabaseQueue(path: path, configuration: configuration)
    if let create { try database.write { try $0.execute(sql: create) } }
  }

  deinit { try? FileManager.default.removeItem(atPath: Files.parent(of: path)) }

  func insert(_ target: String, _ body: String, key: String? = nil, headers: String? = nil) throws {
    try database.write {
      try $0.execute(
        sql: "INSERT INTO weir_outbox (target, key, headers, body) VALUES (?, ?, ?, ?)",
        arguments: [target, key, headers, Data(body.utf8)])
    }
  }

  func waiting() throws -> Int {
    try database.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM weir_outbox") ?? -1 }
  }

  func driver(
    _ queues: Queues, ask: (@Sendable (StateRequest) -> StateReply?)? = nil,
    step: @escaping @Sendable (OutboxDriver.Step) -> Void = { _ in }
  ) throws -> OutboxDriver {
    let driver = OutboxDriver(name: "shop-db", api: MessagingAPI(), ask: ask ?? { queues.ask($0) }, step: step)
    let path = path
    try driver.start { SQLiteOutbox(path: path, table: OutboxTable(name: "weir_outbox")) }
    return driver
  }
}

func eventually(_ what: String, _ condition: () throws -> Bool) throws {
  let end = ContinuousClock.now + .seconds(120)
  while ContinuousClock.now < end {
    if try condition() { return }
    SystemThread.pause(nanoseconds: 2_000_000)
  }
  Issue.record("never came: \(what)")
}

@Suite struct SQLiteOutboxTests {
  @Test("rows are sent in the order of their ids, with key and fields, and deleted")
  func sends() throws {
    let shop = try Shop()
    let queues = Queues()
    for i in 0..<450 {
      try shop.insert(
        "queues/\(i % 3 == 0 ? "a" : "b")", "\(i)", key: "k\(i % 2)", headers: #"{"content-type": "text/plain"}"#)
    }
    let driver = try shop.driver(queues)
    defer { driver.stop() }
    try eventually("all are sent") { driver.report.sent == 450 }
    #expect(queues.bodies("a") == (0..<450).filter { $0 % 3 == 0 }.map(String.init))
    #expect(queues.bodies("b") == (0..<450).filter { $0 % 3 != 0 }.map(String.init))
    let first = try #require(queues.state.withLock { $0.taken["a"]?.first })
    #expect(String(decoding: first.key, as: UTF8.self) == "k0")
    #expect(String(decoding: first.fields, as: UTF8.self) == "content-type: text/plain\r\n")
    #expect(String(decoding: first.id, as: UTF8.self).hasPrefix("shop-db.1."))
    #expect(try shop.waiting() == 0)
    // What comes later is seen.
    try shop.insert("queues/a", "late")
    try eventually("the late one is sent") { driver.report.sent == 451 }
    try eventually("it is counted") { driver.report.counts.waiting == 0 }
  }

  /// At each step in turn, for the first four times that it comes: the relay is gone, and another one begins.
  @Test("a relay that ends after any step doubles and loses nothing", arguments: OutboxDriver.Step.allCases, 1...4)
  func dies(_ last: OutboxDriver.Step, _ time: Int) throws {
    let shop = try Shop()
    let queues = Queues()
    for i in 0..<900 { try shop.insert("queues/\(i % 2 == 0 ? "a" : "b")", "\(i)") }
    let seen = Atomic<Int>(0)
    let box = Mutex<OutboxDriver?>(nil)
    let isThere = DispatchSemaphore(value: 0)
    let first = try shop.driver(
      queues,
      step: { step in
        isThere.wait()
        isThere.signal()
        if step == last, seen.add(1, ordering: .relaxed).newValue == time { box.withLock { $0?.stop() } }
      })
    box.withLock { $0 = first }
    isThere.signal()
    try eventually("it has ended") { first.hasEnded }
    let left = try shop.waiting()
    #expect(left > 0)
    let second = try shop.driver(queues)
    defer { second.stop() }
    try eventually("all are sent") { try shop.waiting() == 0 }
    #expect(queues.bodies("a") == (0..<900).filter { $0 % 2 == 0 }.map(String.init))
    #expect(queues.bodies("b") == (0..<900).filter { $0 % 2 == 1 }.map(String.init))
    #expect(queues.state.withLock { $0.duplicates > 0 } == (last == .sent))
  }

  @Test("a message that was taken and whose answer was lost is sent again, and counts once")
  func answerLost() throws {
    let shop = try Shop()
    let queues = Queues()
    for i in 0..<300 { try shop.insert("queues/a", "\(i)") }
    let asked = Atomic<Int>(0)
    let driver = try shop.driver(
      queues,
      ask: { request in
        let reply = queues.ask(request)
        return asked.add(1, ordering: .relaxed).newValue % 2 == 1 ? nil : reply
      })
    defer { driver.stop() }
    try eventually("all are sent") { try shop.waiting() == 0 }
    #expect(queues.bodies("a") == (0..<300).map(String.init))
    #expect(driver.report.refused >= 1)
  }

  @Test("what cannot be sent is told and left in the table; the rest goes on")
  func wrongRows() throws {
    let shop = try Shop()
    let queues = Queues()
    queues.state.withLock { $0.unknown = ["gone"] }
    try shop.insert("nowhere", "1")
    try shop.insert("queues/a/batch", #"{"messages":[{"body":1}]}"#)
    try shop.insert("queues/a", "2", headers: "no json")
    try shop.insert("queues/a", "3", headers: #"{"weir-id": "mine"}"#)
    try shop.insert("queues/a", String(repeating: "x", count: 1 << 20 + 1))
    try shop.insert("queues/gone", "4")
    try shop.insert("queues/a", "5")
    let driver = try shop.driver(queues)
    defer { driver.stop() }
    try eventually("the good one is sent") { queues.bodies("a") == ["5"] }
    try eventually("the rest is told") { driver.report.aside == 5 && driver.report.refused > 0 }
    #expect(driver.report.problem != nil)
    try eventually("the row of the good one is gone, and no other") { try shop.waiting() == 6 }
    queues.state.withLock { $0.unknown = [] }
    try eventually("a queue that is there again gets its row") { queues.bodies("gone") == ["4"] }
  }

  @Test("a table that is missing or wrong is told with the SQL that mends it, and used when it is mended")
  func table() throws {
    let shop = try Shop(create: nil)
    let queues = Queues()
    let driver = try shop.driver(queues)
    defer { driver.stop() }
    func says(_ text: String) -> Bool { driver.report.problem?.contains(text) == true }
    try eventually("no table") { says("has no table weir_outbox; create it:\nCREATE TABLE \"weir_outbox\" (") }
    try shop.database.write { try $0.execute(sql: "CREATE TABLE weir_outbox (id INTEGER PRIMARY KEY, body BLOB)") }
    try eventually("columns") { says("has no column target, key, type, headers, created") }
    try shop.database.write {
      try $0.execute(sql: "DROP TABLE weir_outbox")
      try $0.execute(
        sql: OutboxTable(name: "weir_outbox").sqlite.replacingOccurrences(of: " AUTOINCREMENT", with: ""))
    }
    try eventually("ids") { says("make it with AUTOINCREMENT") }
    try shop.database.write {
      try $0.execute(sql: "DROP TABLE weir_outbox")
      try $0.execute(sql: OutboxTable(name: "weir_outbox").sqlite)
    }
    try shop.insert("queues/a", "1")
    try eventually("it is sent") { queues.bodies("a") == ["1"] }
    try eventually("and all is well") { driver.report.problem == nil }
  }

  @Test("a database that is not there yet is not made, and one that takes its place is used")
  func file() throws {
    let shop = try Shop()
    let queues = Queues()
    let missing = shop.path + ".none"
    let other = OutboxDriver(name: "x", api: MessagingAPI()) { queues.ask($0) }
    try other.start { SQLiteOutbox(path: missing, table: OutboxTable(name: "weir_outbox")) }
    try eventually("it is missed") { other.report.problem?.contains("is not there yet") == true }
    #expect(!FileManager.default.fileExists(atPath: missing))
    try shop.insert("queues/a", "1")
    try shop.database.close()
    try FileManager.default.moveItem(atPath: shop.path, toPath: missing)
    try eventually("it is sent") { queues.bodies("a") == ["1"] }
    other.stop()
  }
}
