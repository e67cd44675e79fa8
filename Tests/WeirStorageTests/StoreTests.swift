// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import WeirBase
import WeirPatterns
import WeirPlatform
import WeirStorage
import WeirWire

/// What every store must be able to do; a further backend joins by a line in `stores`.
@Suite struct StoreTests {
  static let stores: [@Sendable (Scratch) throws -> any StateStore] = [
    { try SQLiteStore(path: $0.path + "/state.sqlite") }
  ]

  private func record(_ number: UInt64, forgetAt: Int64 = 1000) -> IdempotencyRecord {
    var record: IdempotencyRecord?
    _ = IdempotencyRecord.claim(
      &record,
      .init(
        fingerprint: .init(number, 2, 3, .max), owner: .init(high: .max, low: number), lease: 10, keep: forgetAt - 10),
      now: WallTime(milliseconds: 0))
    return record
      ?? IdempotencyRecord(
        fingerprint: .init(0, 0, 0, 0), phase: .done(.init(high: 0, low: 0), isKept: false),
        forgetAt: WallTime(milliseconds: 0), keep: 0)
  }

  @Test("what was saved is read again, and is replaced and removed whole", arguments: stores.indices)
  func saved(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    var first = record(1)
    try store.transact { try $0.save(first, digest(1), answer: nil) }
    #expect(try store.transact { try $0.record(digest(1)) } == first)
    #expect(try store.transact { try $0.answer(digest(1)) } == nil)
    #expect(first.complete(by: .init(high: .max, low: 1), isKept: true, now: WallTime(milliseconds: 5)) == .stored)
    try store.transact { try $0.save(first, digest(1), answer: answer("x")) }
    #expect(try store.transact { try $0.record(digest(1)) } == first)
    #expect(try store.transact { try $0.answer(digest(1)) } == answer("x"))
    try store.transact { try $0.remove(digest(1)) }
    #expect(try store.transact { try $0.record(digest(1)) } == nil)
    #expect(try store.transact { try $0.answer(digest(1)) } == nil)
  }

  @Test("a transaction that throws leaves nothing", arguments: stores.indices)
  func rolledBack(which: Int) throws {
    struct No: Error {}
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    #expect(throws: No.self) {
      try store.transact { table in
        try table.save(record(1), digest(1), answer: answer("x"))
        throw No()
      }
    }
    #expect(try store.transact { try $0.record(digest(1)) } == nil)
    #expect(try store.transact { try $0.answer(digest(1)) } == nil)
  }

  @Test("forgets those whose time is over, oldest first, a few at a time", arguments: stores.indices)
  func forgets(which: Int) throws {
    let scratch = try Scratch()
    let store = try Self.stores[which](scratch)
    try store.transact { table in
      for i in 1...10 as ClosedRange<UInt64> {
        try table.save(record(i, forgetAt: 100 * Int64(i)), digest(i), answer: answer("x"))
      }
    }
    #expect(try store.transact { try $0.forget(until: WallTime(milliseconds: 500), limit: 3) } == 3)
    #expect(try store.transact { try $0.record(digest(3)) } == nil)
    #expect(try store.transact { try $0.record(digest(4)) } != nil)
    #expect(try store.transact { try $0.forget(until: WallTime(milliseconds: 500), limit: 9) } == 2)
    #expect(try store.transact { try $0.forget(until: WallTime(milliseconds: 500), limit: 9) } == 0)
    #expect(try store.transact { try $0.answer(digest(5)) } == nil)
    #expect(try store.transact { try $0.answer(digest(6)) } == answer("x"))
  }

  // MARK: SQLite's own

  @Test("the file is its user's alone, in WAL, and synced at each commit")
  func settings() throws {
    let scratch = try Scratch()
    let store = try SQLiteStore(path: scratch.path + "/state.sqlite")
    try store.transact { try $0.save(record(1), digest(1), answer: nil) }
    let attributes = try FileManager.default.attributesOfItem(atPath: scratch.path + "/state.sqlite")
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    #expect(Files.exists(scratch.path + "/state.sqlite-wal"))
    #expect(try store.pragma("synchronous") == 2)
    #expect(try store.pragma("foreign_keys") == 1)
    #expect(try store.pragma("auto_vacuum") == 2)
  }

  /// The database is full: what does not fit is refused whole, and all that was there stays readable.
  @Test("a full disk refuses and loses nothing")
  func full() throws {
    let scratch = try Scratch()
    var settings = SQLiteStore.Settings()
    settings.pagesMax = 100
    let store = try SQLiteStore(path: scratch.path + "/state.sqlite", settings)
    var kept: [UInt64] = []
    var refused = 0
    let body = String(repeating: "x", count: 20_000)
    for i in 1...60 as ClosedRange<UInt64> {
      do {
        try store.transact { table in
          try table.save(record(i), digest(i), answer: answer(body))
          try table.save(record(i + 1000), digest(i + 1000), answer: nil)
        }
        kept.append(i)
      } catch {
        #expect(error as? StateStoreError == .full)
        refused += 1
      }
    }
    #expect(kept.count > 5 && refused > 5)
    for i in 1...60 as ClosedRange<UInt64> {
      let isThere = kept.contains(i)
      #expect(try store.transact { try $0.answer(digest(i)) != nil } == isThere)
      #expect(try store.transact { try $0.record(digest(i + 1000)) != nil } == isThere)
    }
    // What is forgotten makes room.
    #expect(try store.transact { try $0.forget(until: WallTime(milliseconds: 1000), limit: 1000) } == kept.count * 2)
    try store.transact { try $0.save(record(99), digest(99), answer: answer(body)) }
    #expect(try store.transact { try $0.answer(digest(99)) } == answer(body))
  }

  @Test("a damaged file is told and left as it is")
  func damaged() throws {
    let scratch = try Scratch()
    let path = scratch.path + "/state.sqlite"
    do {
      let store = try SQLiteStore(path: path)
      try store.transact { table in
        for i in 1...200 as ClosedRange<UInt64> {
          try table.save(record(i), digest(i), answer: answer(String(repeating: "y", count: 500)))
        }
      }
      try store.close()
    }
    var bytes = try Files.bytes(path)
    #expect(bytes.count > 40_000)
    for i in 8_192..<32_768 { bytes[i] = 0xa5 }
    try Files.replace(path, with: bytes)
    let error = #expect(throws: StateStoreError.self) { try SQLiteStore(path: path) }
    if case .damaged(let at, _)? = error { #expect(at == path) } else { Issue.record("\(String(describing: error))") }
    // The first page has counters that opening may change.
    #expect(try Files.bytes(path).dropFirst(4096) == bytes.dropFirst(4096))
    try Files.replace(path, with: Array("this is no database, but a text that somebody put here\n".utf8))
    #expect(throws: StateStoreError.self) { try SQLiteStore(path: path) }
  }

  @Test("a file of a newer weir is not touched")
  func newer() throws {
    let scratch = try Scratch()
    let path = scratch.path + "/state.sqlite"
    let store = try SQLiteStore(path: path)
    try store.runForTesting("INSERT INTO grdb_migrations VALUES ('of the future')")
    try store.close()
    #expect(throws: StateStoreError.newer(path)) { try SQLiteStore(path: path) }
  }

  /// What had been committed last is torn off the log byte by byte: it is there whole, or not at all, and all before it is.
  @Test("a torn log loses at most what had not been synced")
  func torn() throws {
    let scratch = try Scratch()
    let live = scratch.path + "/state.sqlite"
    let store = try SQLiteStore(path: live)
    try store.transact { try $0.save(record(1), digest(1), answer: answer("first")) }
    let before = try Files.bytes(live + "-wal").count
    try store.transact { try $0.save(record(2), digest(2), answer: answer(String(repeating: "z", count: 9000))) }
    let database = try Files.bytes(live)
    let log = try Files.bytes(live + "-wal")
    #expect(log.count > before)
    var whole = 0
    for end in stride(from: before, through: log.count, by: 997) {
      for flips in [false, true] {
        let path = scratch.path + "/torn.sqlite"
        var part = Array(log.prefix(end))
        if flips && end > before { part[end - 1] ^= 0xff }
        try Files.replace(path, with: database)
        try Files.replace(path + "-wal", with: part)
        try Files.remove(path + "-shm")
        let torn = try SQLiteStore(path: path)
        #expect(try torn.transact { try $0.answer(digest(1)) } == answer("first"), "cut at \(end)")
        let isThere = try torn.transact { try $0.record(digest(2)) != nil }
        #expect(try torn.transact { try $0.answer(digest(2)) != nil } == isThere, "cut at \(end)")
        if isThere { whole += 1 }
        try torn.close()
      }
    }
    #expect(whole <= 2)
  }
}
