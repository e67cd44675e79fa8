// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirPlatform
import WeirStorage
import WeirWire

/// What every store must be able to do with queues.
@Suite struct QueueStoreTests {
  private static let stores = StoreTests.stores
  private let message = NewMessage(
    id: [1, 2], key: [3], tenant: [4], priority: 7, fields: Array("A: b\r\n".utf8), body: [0, 255, 9])

  private func live(_ sequence: Int64, due: Int64 = 100) -> LiveMessage {
    LiveMessage(
      sequence: sequence, key: message.key, tenant: message.tenant, priority: message.priority, bytes: 9,
      enqueuedAt: 100, dueAt: due, expiresAt: 1000)
  }

  private func named(_ number: UInt8) -> NewMessage {
    var message = message
    message.id = [number]
    return message
  }

  private func all(_ table: any QueueTable, _ queue: Int64) throws -> [LiveMessage] {
    var all: [LiveMessage] = []
    try table.eachLive(queue) { all.append($0) }
    return all
  }

  @Test("queues are kept with all that is declared of them", arguments: stores.indices)
  func queues(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    var emails = QueueDeclaration(name: "emails")
    let bills = QueueDeclaration(name: "bills")
    let (first, second) = try store.transact { (try $0.saveQueue(emails, at: 1), try $0.saveQueue(bills, at: 1)) }
    #expect(first != second)
    emails.rate = 2.5
    emails.keepsDead = false
    emails.length = 3
    #expect(try store.transact { try $0.saveQueue(emails, at: 2) } == first)
    try store.transact { try $0.setPaused(second, true) }
    // That of the first time.
    #expect(try store.transact { try $0.declaredAt(first) } == 1)
    let rows = [
      QueueRow(number: first, declaration: emails, isPaused: false),
      QueueRow(number: second, declaration: bills, isPaused: true),
    ]
    #expect(try store.transact { try $0.queues() } == rows)
    #expect(try store.transact { try $0.queue(second) } == rows[1])
    #expect(try store.transact { try $0.queue(second + first + 1) } == nil)
  }

  @Test("a message through all its states", arguments: stores.indices)
  func life(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    try store.transact { table in
      let q = try table.saveQueue(QueueDeclaration(name: "q"), at: 1)
      let s = try table.takeSequences(10)
      #expect(try table.takeSequences(1) == s + 10)
      try table.insert(message, live(s), queue: q)
      #expect(
        try table.known(q, id: message.id)
          == KnownMessage(sequence: s, queue: q, state: .waiting, attempts: 0, enqueuedAt: 100))
      #expect(try table.known(q + 1, id: message.id) == nil)
      #expect(try all(table, q) == [live(s)])
      let payload = try #require(try table.payload(s))
      #expect(payload.message == message && payload.enqueuedAt == 100)

      try table.saveLease(s, attempt: 1, until: 130)
      var expected = live(s)
      expected.attempts = 1
      expected.leasedUntil = 130
      #expect(try all(table, q) == [expected])
      #expect(try table.views(q, .inFlight, after: 0, limit: 9, now: 101).map(\.sequence) == [s])
      try table.saveGivenBack(s)
      expected.leasedUntil = nil
      expected.givenBack = 1
      #expect(try all(table, q) == [expected])
      #expect(try table.views(q, .inFlight, after: 0, limit: 9, now: 101).isEmpty)

      try table.saveLease(s, attempt: 2, until: 130)
      try table.saveAttempt(s, AttemptView(attempt: 2, at: 120, latency: 5, status: 503, error: "no"))
      try table.saveRetry(s, at: 150)
      expected.attempts = 2
      expected.dueAt = 150
      #expect(try all(table, q) == [expected])
      #expect(try table.views(q, .delayed, after: 0, limit: 9, now: 149).map(\.attempts) == [1])
      #expect(try table.views(q, .waiting, after: 0, limit: 9, now: 149).isEmpty)
      #expect(try table.views(q, .waiting, after: 0, limit: 9, now: 150).map(\.state) == [.waiting])
      // Not in flight: no lease can be over.
      try table.saveLapse(s, at: 151, error: "never")
      try table.saveLease(s, attempt: 3, until: 180)
      try table.saveLapse(s, at: 181, error: "late")
      try table.saveDead(s, .attempts, at: 181, keepsBody: true, dedup: 10, forgetAt: 500)
      #expect(try table.deadCount(q) == 1)
      #expect(try all(table, q).isEmpty)
      let dead = try #require(try table.view(q, id: message.id, now: 200))
      #expect(dead.state == .dead && dead.death == .attempts && dead.endedAt == 181 && dead.body == message.body)
      #expect(dead.fields == message.fields && dead.key == [3] && dead.tenant == [4] && dead.priority == 7)
      #expect(
        dead.history == [
          AttemptView(attempt: 2, at: 120, latency: 5, status: 503, error: "no"),
          AttemptView(attempt: 3, at: 181, latency: 0, status: 0, error: "late"),
        ])

      let again = try #require(try table.redrive(s, queue: q, at: 300, keep: 1000))
      #expect(again.attempts == 3 && again.givenBack == 3 && again.dueAt == 300 && again.expiresAt == 1300)
      #expect(try table.redrive(s, queue: q, at: 300, keep: 1000) == nil)
      #expect(try table.deadCount(q) == 0)
      try table.saveLease(s, attempt: 4, until: 330)
      try table.saveDone(s, result: [8], at: 310, dedup: 500, forgetAt: 400)
      let done = try #require(try table.view(q, id: message.id, now: 320))
      #expect(done.state == .done && done.result == [8] && done.body.isEmpty && done.attempts == 1)
      #expect(try table.payload(s) == nil)
      // Accepted at 100 with a window of 500.
      #expect(try table.forgetMessages(until: 599, limit: 10).count == 0)
      #expect(try table.forgetMessages(until: 600, limit: 10).count == 1)
      #expect(try table.known(s) == nil)
    }
  }

  @Test("of a message the latest fifty attempts are kept", arguments: stores.indices)
  func history(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    try store.transact { table in
      let q = try table.saveQueue(QueueDeclaration(name: "q"), at: 1)
      let s = try table.takeSequences(1)
      try table.insert(message, live(s), queue: q)
      for i in 1...120 as ClosedRange<UInt16> {
        try table.saveAttempt(s, AttemptView(attempt: i, at: 1, latency: 1, status: 500, error: "x"))
      }
      #expect(try table.view(q, id: message.id, now: 1)?.history.map(\.attempt) == Array(71...120))
    }
  }

  @Test(
    "looked at in pieces; purged and forgotten oldest first; an id goes to the newer message", arguments: stores.indices
  )
  func pieces(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    try store.transact { table in
      let q = try table.saveQueue(QueueDeclaration(name: "q"), at: 1)
      let other = try table.saveQueue(QueueDeclaration(name: "other"), at: 1)
      let s = try table.takeSequences(20)
      for i in 0..<10 { try table.insert(named(UInt8(i)), live(s + Int64(i), due: i < 5 ? 100 : 200), queue: q) }
      try table.insert(named(0), live(s + 10), queue: other)
      #expect(try table.views(q, .waiting, after: s, limit: 3, now: 150).map(\.sequence) == [s + 1, s + 2, s + 3])
      #expect(try table.views(q, .delayed, after: 0, limit: 3, now: 150).map(\.sequence) == [s + 5, s + 6, s + 7])
      #expect(try table.sequences(q, dead: false, after: s, before: s + 3, limit: 9) == [s + 1, s + 2])
      for i in 0..<4 as Range<Int64> {
        try table.saveDead(s + i, .refused, at: 160, keepsBody: i != 3, dedup: 0, forgetAt: 500 - i)
      }
      #expect(try table.sequences(q, dead: true, after: 0, before: .max, limit: 9) == [s, s + 1, s + 2])
      #expect(try table.views(q, .dead, after: 0, limit: 9, now: 150).map(\.sequence) == [s, s + 1, s + 2])
      #expect(try table.view(q, id: [3], now: 170)?.death == .refused)
      try table.unname(s)
      try table.insert(named(0), live(s + 11), queue: q)
      #expect(try table.known(q, id: [0])?.sequence == s + 11)
      #expect(try table.known(s)?.state == .dead)
      #expect(try table.remove(s + 5, queue: other) == nil)
      #expect(try table.remove(s + 5, queue: q)?.state == .waiting)
      #expect(try table.remove(s + 5, queue: q) == nil)
      // The one without a body, then the latest dead one.
      let gone = try table.forgetMessages(until: 500, limit: 2)
      #expect(gone.count == 2 && gone.dead == [q])
      #expect(try table.known(s + 3) == nil && table.known(s + 2) == nil && table.known(s + 1) != nil)
    }
  }
}
