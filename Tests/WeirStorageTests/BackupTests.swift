// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import WeirPlatform
import WeirStorage
import WeirWire

@Suite struct BackupTests {
  private func enqueue(_ store: SQLiteStore, _ id: UInt8) throws {
    try store.transact { table in
      let queue = try table.saveQueue(QueueDeclaration(name: "q"), at: 1)
      let sequence = try table.takeSequences(1)
      try table.insert(
        NewMessage(id: [id], body: Array(repeating: id, count: 10_000)),
        LiveMessage(
          sequence: sequence, key: [], tenant: [], priority: 4, bytes: 10_000, enqueuedAt: 1, dueAt: 1, expiresAt: 9),
        queue: queue)
    }
  }

  private func ids(_ store: SQLiteStore) throws -> [UInt8] {
    try store.transact { table in
      var ids: [UInt8] = []
      try table.eachLive(1) { live in ids += try table.payload(live.sequence)?.message.id ?? [] }
      return ids
    }
  }

  @Test("a copy is whole, its user's alone, and of the moment; put back it is what there was")
  func copied() throws {
    let scratch = try Scratch()
    let path = scratch.path + "/state.sqlite"
    let copy = scratch.path + "/copy.sqlite"
    let store = try SQLiteStore(path: path)
    for id in 1...20 as ClosedRange<UInt8> { try enqueue(store, id) }
    try SQLiteStore.copy(path, to: copy)
    for id in 21...30 as ClosedRange<UInt8> { try enqueue(store, id) }
    #expect(try ids(store) == Array(1...30))
    let attributes = try FileManager.default.attributesOfItem(atPath: copy)
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    // One file by itself: nothing of it lies in a log.
    #expect(try Files.names(in: scratch.path).filter { $0.hasPrefix("copy") } == ["copy.sqlite"])
    // Over the copy before.
    try SQLiteStore.copy(path, to: copy)
    try enqueue(store, 31)
    try store.close()

    try SQLiteStore.restore(path, from: copy)
    let restored = try SQLiteStore(path: path)
    #expect(try ids(restored) == Array(1...30))
    try enqueue(restored, 32)
    #expect(try ids(restored) == Array(1...30) + [32])
    try restored.close()
    let before = try SQLiteStore(path: path + ".before")
    #expect(try ids(before) == Array(1...31))
    #expect(Files.exists(copy))
  }

  @Test("a copy that is damaged, no state, or missing is refused, and all is as it was")
  func refused() throws {
    let scratch = try Scratch()
    let path = scratch.path + "/state.sqlite"
    let copy = scratch.path + "/copy.sqlite"
    let store = try SQLiteStore(path: path)
    for id in 1...20 as ClosedRange<UInt8> { try enqueue(store, id) }
    try SQLiteStore.copy(path, to: copy)
    try store.close()
    var bytes = try Files.bytes(copy)
    for i in bytes.count / 4..<bytes.count / 2 { bytes[i] ^= 0x5a }
    try Files.replace(copy, with: bytes)
    let error = #expect(throws: StateStoreError.self) { try SQLiteStore.restore(path, from: copy) }
    if case .damaged(let at, _)? = error { #expect(at == copy) } else { Issue.record("\(String(describing: error))") }
    try Files.replace(copy, with: Array("no database, but a text of some length that somebody put here".utf8))
    #expect(throws: StateStoreError.self) { try SQLiteStore.restore(path, from: copy) }
    #expect(throws: StateStoreError.cannotOpen(copy + "?", "there is no such file")) {
      try SQLiteStore.restore(path, from: copy + "?")
    }
    #expect(try Files.names(in: scratch.path).sorted().filter { $0.contains(".new") || $0.contains("before") }.isEmpty)
    let same = try SQLiteStore(path: path)
    #expect(try ids(same) == Array(1...20))
  }

  @Test("a copy that cannot be written is told, and the database goes on")
  func impossible() throws {
    let scratch = try Scratch()
    let path = scratch.path + "/state.sqlite"
    let store = try SQLiteStore(path: path)
    try enqueue(store, 1)
    #expect(throws: StateStoreError.self) { try SQLiteStore.copy(path, to: scratch.path + "/no/folder/copy.sqlite") }
    try enqueue(store, 2)
    #expect(try ids(store) == [1, 2])
  }
}
