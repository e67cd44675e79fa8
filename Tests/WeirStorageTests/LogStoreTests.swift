// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirPlatform
import WeirStorage
import WeirWire

/// What every store must be able to do with logs.
@Suite struct LogStoreTests {
  private static let stores = StoreTests.stores

  private func entry(_ position: Int64, key: String = "", version: Int64 = 0, at: Int64 = 100) -> LogEntry {
    LogEntry(
      position: position, version: version, at: at, id: bytes("id\(position)"), key: bytes(key), type: [1, 2],
      fields: bytes("A: b\r\n"), body: [0, 255, 9])
  }

  @Test("logs are kept with all that is declared of them, and their groups", arguments: stores.indices)
  func logs(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    var orders = LogDeclaration(name: "orders")
    orders.keep = 5
    orders.bytes = 6
    orders.forgetting = .streams
    let bills = LogDeclaration(name: "bills")
    let (first, second) = try store.transact { (try $0.saveLog(orders, at: 1), try $0.saveLog(bills, at: 2)) }
    #expect(first != second)
    orders.keep = nil
    #expect(try store.transact { try $0.saveLog(orders, at: 3) } == first)
    var group = GroupRow(queue: "orders.b", fromStart: true, isJoined: false, fed: 7)
    try store.transact { table in
      try table.saveGroup(first, group)
      try table.saveGroup(first, GroupRow(queue: "orders.a", fromStart: false, isJoined: true, fed: nil))
      group.isActive = false
      group.fed = nil
      try table.saveGroup(first, group)
      try table.saveGroup(second, group)
      try table.removeGroup(second, queue: "orders.b")
      try table.saveEnd(first, last: 9, bytes: 10)
      try table.saveForgotten(first, 4, bytes: 8)
    }
    let rows = try store.transact { try $0.logs() }
    #expect(rows.map(\.declaration) == [orders, bills] && rows.map(\.declaredAt) == [1, 2])
    #expect(rows[0].last == 9 && rows[0].bytes == 8 && rows[0].forgotten == 4 && rows[1].groups.isEmpty)
    #expect(
      rows[0].groups == [GroupRow(queue: "orders.a", fromStart: false, isJoined: true, fed: nil), group])
    #expect(try store.transact { try $0.log(first) } == rows[0])
    #expect(try store.transact { try $0.log(first + second + 1) } == nil)
  }

  @Test("entries are found by position, id and stream, each log's by itself", arguments: stores.indices)
  func entries(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    try store.transact { table in
      let log = try table.saveLog(LogDeclaration(name: "a"), at: 1)
      let other = try table.saveLog(LogDeclaration(name: "b"), at: 1)
      let all = [
        entry(1, key: "k", version: 1, at: 10), entry(2, at: 20), entry(3, key: "k", version: 2, at: 30),
        entry(4, key: "m", version: 1, at: 40),
      ]
      for entry in all { try table.insert(entry, log: log) }
      try table.insert(entry(1, key: "k", version: 1, at: 50), log: other)
      #expect(try table.entries(log, after: 0, limit: 9, bytes: 1000) == all)
      #expect(try table.entries(log, after: 1, limit: 2, bytes: 1000) == Array(all[1...2]))
      #expect(try table.entries(log, after: 4, limit: 9, bytes: 1000).isEmpty)
      // Up to the one with which the bytes are reached.
      #expect(try table.entries(log, after: 0, limit: 9, bytes: 10) == Array(all[0...1]))
      #expect(
        try table.entries(log, key: bytes("k"), after: 0, behind: 0, limit: 9, bytes: 1000) == [all[0], all[2]])
      #expect(try table.entries(log, key: bytes("k"), after: 1, behind: 0, limit: 9, bytes: 1000) == [all[2]])
      #expect(try table.entries(log, key: bytes("k"), after: 0, behind: 1, limit: 9, bytes: 1000) == [all[2]])
      #expect(try table.version(log, key: bytes("k")) == 2 && table.version(log, key: bytes("none")) == 0)
      #expect(
        try table.appended(log, id: bytes("id3")) == Appended(position: 3, version: 2, isDuplicate: true))
      #expect(try table.appended(other, id: bytes("id3")) == nil)
      let next = try #require(try table.next(log, after: 2))
      #expect(next.position == 3 && next.at == 30)
      #expect(try table.next(log, after: 4) == nil)
      #expect(try table.lastAt(log) == 40 && table.lastAt(other) == 50)
      try table.remove(log, position: 3)
      #expect(try table.next(log, after: 2)?.position == 4 && table.version(log, key: bytes("k")) == 1)
    }
  }

  @Test("an entry is needed while a message of it lives or is dead", arguments: stores.indices)
  func needed(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    try store.transact { table in
      let log = try table.saveLog(LogDeclaration(name: "a"), at: 1)
      let queue = try table.saveQueue(QueueDeclaration(name: "a.g"), at: 1)
      for position in Int64(1)...6 {
        try table.insert(entry(position, key: "k", version: position), log: log)
      }
      let first = try table.takeSequences(9)
      for position in Int64(2)...5 {
        let live = LiveMessage(
          sequence: first + position, key: bytes("k"), tenant: [], priority: 4, bytes: 9, enqueuedAt: 100, dueAt: 100,
          expiresAt: 1000)
        try table.insert(entry(position, key: "k", version: position), live, log: log, queue: queue)
      }
      #expect(try table.firstLive(queue: queue) == 2)
      try table.saveLease(first + 2, attempt: 1, until: 200)
      try table.saveDead(first + 3, .refused, at: 150, keepsBody: true, dedup: 1, forgetAt: 500)
      try table.saveDone(first + 4, result: [], at: 150, dedup: 1, forgetAt: 500)
      try table.saveDead(first + 5, .expired, at: 150, keepsBody: false, dedup: 1, forgetAt: 500)
      #expect(
        try table.keeping(log, after: 0, through: 9, limit: 9).map(\.isNeeded) == [
          false, true, true, false, false, false,
        ])
      #expect(try table.keeping(log, after: 1, through: 3, limit: 9).map(\.position) == [2, 3])
      let payload = try #require(try table.payload(first + 2))
      #expect(payload.message.id == bytes("2") && payload.message.body == [0, 255, 9])
      #expect(
        payload.entry == MessageEntry(position: 2, version: 2, at: 100, id: bytes("id2"), type: [1, 2]))
      #expect(try table.view(queue, id: bytes("3"), now: 160)?.body == [0, 255, 9])
      #expect(try table.view(queue, id: bytes("4"), now: 160)?.body == [])
      #expect(try table.isNewest(log, key: bytes("k"), version: 6))
      let removed = try table.removeStream(log, key: bytes("k"), limit: 4)
      #expect(removed.count == 4 && removed.bytes == 36)
      #expect(try table.next(log, after: 0)?.position == 5)
      // A queue that is no more: its name is another's, its messages go in pieces.
      try table.setGone(queue)
      #expect(try table.queues().isEmpty)
      #expect(try table.saveQueue(QueueDeclaration(name: "a.g"), at: 1) != queue)
      #expect(try table.clearGone(limit: 3) == 3 && table.clearGone(limit: 3) == 1)
      #expect(try table.clearGone(limit: 3) == 1 && table.clearGone(limit: 3) == 0)
    }
  }
}

/// What every store must be able to do with groups whose events are sorted.
@Suite struct OrderStoreTests {
  private static let stores = StoreTests.stores

  @Test("where streams are, what has come and what is kept, each queue's by itself", arguments: stores.indices)
  func rows(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    try store.transact { table in
      let a = try table.saveQueue(QueueDeclaration(name: "t.a"), at: 1)
      let b = try table.saveQueue(QueueDeclaration(name: "t.b"), at: 1)
      #expect(try table.next(a, stream: bytes("k")) == nil)
      try table.saveNext(a, stream: bytes("k"), 2, at: 5)
      try table.saveNext(a, stream: bytes("k"), 3, at: 6)
      try table.saveNext(b, stream: bytes("k"), 9, at: 6)
      #expect(try table.next(a, stream: bytes("k")) == 3 && table.next(a, stream: bytes("m")) == nil)
      try table.saveFirst(a, named: bytes("e"), position: 4, at: 10)
      try table.saveFirst(a, named: bytes("f"), position: 5, at: 20)
      try table.saveFirst(a, named: bytes("f"), position: 6, at: 30)
      let first = try table.first(a, named: bytes("f"))
      #expect(first?.position == 6 && first?.at == 30)
      #expect(try table.first(b, named: bytes("f")) == nil)
      try table.forgetFirst(a, named: bytes("f"))
      #expect(try table.first(a, named: bytes("f")) == nil && table.first(a, named: bytes("e")) != nil)
      #expect(try table.orderCounts(a) == OrderCounts())
      var counts = OrderCounts()
      counts.copies = 1
      counts.kept = 2
      counts.skipped = 3
      counts.late = 4
      try table.saveOrderCounts(a, counts)
      #expect(try table.orderCounts(a) == counts && table.orderCounts(b) == OrderCounts())
    }
  }

  @Test(
    "kept until released under another number, which goes on as a message; removed with its message",
    arguments: stores.indices)
  func kept(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    try store.transact { table in
      let log = try table.saveLog(LogDeclaration(name: "t"), at: 1)
      let a = try table.saveQueue(QueueDeclaration(name: "t.a"), at: 1)
      let first = try table.takeSequences(9)
      var events: [KeptEvent] = []
      for i in Int64(0)..<3 {
        let entry = LogEntry(
          position: i + 1, version: 0, at: 100, id: bytes("id\(i)"), key: bytes("k"), type: [], fields: [], body: [7])
        try table.insert(entry, log: log)
        let live = LiveMessage(
          sequence: first + i, key: bytes("k"), tenant: [], priority: 4, bytes: 1, enqueuedAt: 100, dueAt: 100,
          expiresAt: 1000)
        try table.insert(entry, live, log: log, queue: a)
        // In the order in which they came.
        events.append(KeptEvent(stream: bytes("k"), number: 9 - i, position: i + 1, since: 50 - i, name: bytes("n")))
        try table.keep(first + i, events[Int(i)], queue: a)
      }
      let kept = try table.kept(a)
      #expect(kept.map(\.sequence) == [first + 2, first + 1, first] && kept.map(\.event) == events.reversed())
      let live = try #require(try table.release(first + 1, as: first + 8, due: 200, expires: 300))
      #expect(live.sequence == first + 8 && live.dueAt == 200 && live.expiresAt == 300 && live.key == bytes("k"))
      #expect(try table.kept(a).map(\.sequence) == [first + 2, first])
      #expect(try table.known(a, id: bytes("2"))?.sequence == first + 8)
      #expect(try table.release(first + 1, as: first + 7, due: 200, expires: 300) == nil)
      try table.unkeep(first + 2)
      #expect(try table.kept(a).map(\.sequence) == [first])
      _ = try table.remove(first, queue: a)
      #expect(try table.kept(a).isEmpty)
    }
  }

  @Test(
    "forgotten piece by piece: names by their time, streams by their day, all of a queue that is gone",
    arguments: stores.indices)
  func forgotten(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    let day: Int64 = 86_400_000
    try store.transact { table in
      let a = try table.saveQueue(QueueDeclaration(name: "t.a"), at: 1)
      for i in Int64(0)..<5 {
        try table.saveFirst(a, named: bytes("\(i)"), position: i, at: 10 * i)
        try table.saveNext(a, stream: bytes("\(i)"), i, at: day * i)
      }
      #expect(try table.forgetOrder(a, names: 20, streams: 0, limit: 2) == 2)
      #expect(try table.forgetOrder(a, names: 20, streams: 0, limit: 2) == 1)
      #expect(try table.first(a, named: bytes("2")) == nil && table.first(a, named: bytes("3")) != nil)
      #expect(try table.forgetOrder(a, names: 0, streams: 2 * day, limit: 9) == 2)
      #expect(try table.next(a, stream: bytes("1")) == nil && table.next(a, stream: bytes("2")) == 2)
      try table.setGone(a)
      var pieces = 0
      while try table.clearGone(limit: 2) > 0 { pieces += 1 }
      #expect(pieces == 4)
      #expect(try table.next(a, stream: bytes("2")) == nil && table.first(a, named: bytes("3")) == nil)
    }
  }
}
