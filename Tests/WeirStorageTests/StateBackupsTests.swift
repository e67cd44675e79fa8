// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import TestPrograms
import Testing
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// Copies that are made while the state is served, and put back.
@Suite struct StateBackupsTests {
  private static func at(_ seconds: Int64) -> WallTime { WallTime(milliseconds: seconds * 1000) }
  /// 2026-11-22T09:00:00Z.
  private static let nine: Int64 = 1_795_338_000

  private static func declaration(_ folder: String, keep: Int64 = 86_400_000) -> BackupDeclaration {
    BackupDeclaration(system: "shop", every: "1h", keep: keep, folder: folder, makesFolder: false)
  }

  /// A state with so many messages in the queue `q`, of 10 kB each.
  private func filled(_ scratch: Scratch, _ messages: Int) throws -> String {
    let path = StateProcess.databasePath(scratch.path)
    let store = try SQLiteStore(path: path)
    try store.transact { table in
      let queue = try table.saveQueue(QueueDeclaration(name: "q"), at: 1)
      for i in 0..<messages {
        let sequence = try table.takeSequences(1)
        try table.insert(
          NewMessage(id: Array("\(i)".utf8), body: [UInt8](repeating: UInt8(i & 255), count: 10_000)),
          LiveMessage(
            sequence: sequence, key: [], tenant: [], priority: 4, bytes: 10_000, enqueuedAt: 1, dueAt: 1,
            expiresAt: .max),
          queue: queue)
      }
    }
    try store.close()
    return path
  }

  /// Has it do what is due now, and waits until it has.
  private func advance(_ backups: StateBackups, _ seconds: Int64, until done: (BackupCounts) -> Bool) {
    backups.advance(now: Self.at(seconds))
    #expect(eventually { done(backups.counts) }, "\(backups.counts)")
  }

  @Test("a copy that is made while others write has all that was acknowledged before, and nothing by halves; it serves")
  func underLoad() throws {
    let scratch = try Scratch()
    let folder = try Scratch()
    let path = try filled(scratch, 200)
    var settings = SQLiteStore.CopySettings()
    settings.pagesPerStep = 16
    let backups = StateBackups(of: path, settings) { _ in }
    let state = try RunningState({ try SQLiteStore(path: path) }, scratch.path, backups: backups)
    let acknowledged = Mutex(0)
    let isOver = Switch()
    let ended = Switch()
    let socket = scratch.path
    try SystemThread.start {
      guard let w = try? QueuePeer(socket, QueueDeclaration(name: "w")) else { return ended.isOn = true }
      var i = 0
      // Two of one transaction each: a copy with one of them would be half of it.
      while !isOver.isOn {
        let pair = [2 * i, 2 * i + 1].map { NewMessage(id: Array("\($0)".utf8), body: [1]) }
        guard let reply = try? w.peer.ask(.enqueue(queue: "w", pair)), case .enqueued = reply else { break }
        i += 1
        acknowledged.withLock { $0 = 2 * i }
      }
      ended.isOn = true
    }
    #expect(eventually { acknowledged.withLock { $0 } > 20 })
    let before = acknowledged.withLock { $0 }
    let operatorPeer = try StatePeer(scratch.path)
    let declared = Self.declaration(folder.path)
    #expect(try operatorPeer.ask(.planBackup(declared)) == .declared)
    #expect(try operatorPeer.ask(.planBackup(declared)) == .declared)
    var counts = BackupCounts()
    #expect(
      eventually {
        guard case .backup(let now) = try operatorPeer.ask(.lookBackup) else { return false }
        counts = now
        return now.made == 1 && !now.isCopying
      })
    // Who writes has not been held up for good.
    let after = acknowledged.withLock { $0 }
    #expect(eventually { acknowledged.withLock { $0 } > after })
    isOver.isOn = true
    #expect(eventually { ended.isOn })
    #expect(counts.copies == 1 && counts.failures == 0 && counts.trouble.isEmpty && counts.bytes > 2_000_000)

    // While it is served nothing can be put in its place.
    let name = try #require(try StateBackups.copies(of: "shop", in: folder.path).first?.name)
    let copy = folder.path + "/" + name
    #expect(throws: StateStoreError.served(scratch.path, by: nil)) {
      try StateProcess.restore(scratch.path, from: copy)
    }
    try state.end()
    #expect(try Files.names(in: folder.path) == [name])
    let attributes = try FileManager.default.attributesOfItem(atPath: copy)
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    let facts = try StateFacts(of: copy)
    let w = try #require(facts.queues.first { $0.name == "w" })
    #expect(w.waiting >= before && w.waiting % 2 == 0 && facts.queues.first { $0.name == "q" }?.waiting == 200)

    let elsewhere = try Scratch()
    #expect(try StateProcess.restore(elsewhere.path + "/new", from: copy) == nil)
    let restored = try RunningState(
      { try SQLiteStore(path: StateProcess.databasePath(elsewhere.path + "/new")) }, elsewhere.path + "/new")
    let again = try QueuePeer(elsewhere.path + "/new", queue: "w")
    #expect(try again.counts().waiting == Int64(w.waiting))
    #expect(try again.lease(2).map(text) == ["0", "1"])
    #expect(try again.enqueue("\(w.waiting)") != .failed(.broken))
    try restored.end()
  }

  @Test("at no step of a copy is anything under its name; one that is given up leaves nothing")
  func halves() throws {
    let scratch = try Scratch()
    let folder = try Scratch()
    let path = try filled(scratch, 60)
    let copy = folder.path + "/copy.sqlite"
    var settings = SQLiteStore.CopySettings()
    settings.pagesPerStep = 8
    settings.stepsPerSync = 2
    let steps = Mutex(0)
    let seen = Mutex(0)
    try SQLiteStore.copy(path, to: copy, settings) {
      steps.withLock { $0 += 1 }
      if Files.exists(copy) { seen.withLock { $0 += 1 } }
      return true
    }
    let all = steps.withLock { $0 }
    #expect(all > 10 && seen.withLock { $0 } == 0 && Files.exists(copy))
    try Files.remove(copy)
    for last in 1..<all {
      let left = Mutex(last)
      let goesOn: () -> Bool = {
        left.withLock { left in
          left -= 1
          return left > 0
        }
      }
      #expect(throws: SQLiteStore.Ended.self) { try SQLiteStore.copy(path, to: copy, settings, goesOn: goesOn) }
      #expect(try Files.names(in: folder.path).isEmpty)
    }
    // What a process that was killed in the middle has left is no copy, and is written over.
    try Files.replace(folder.path + "/shop.copying", with: Array(repeating: 7, count: 100_000))
    #expect(try StateBackups.copies(of: "shop", in: folder.path).isEmpty)
    let backups = StateBackups(of: path) { _ in }
    backups.plan(Self.declaration(folder.path))
    advance(backups, Self.nine) { $0.made == 1 }
    #expect(try Files.names(in: folder.path) == ["shop-20261122T090000Z.sqlite"])
  }

  @Test("copies are made when they are due, also after a restart; the old ones of this system go, and never the newest")
  func schedule() throws {
    let scratch = try Scratch()
    let folder = try Scratch()
    let path = try filled(scratch, 3)
    // Another system's, and what somebody has put there.
    let others = ["shop-2-20200101T000000Z.sqlite", "shop-20200101T000000.sqlite", "notes"]
    let old = ["shop-20200101T000000Z.sqlite", "shop-20261122T065959Z.sqlite", "shop-20261122T080000Z.sqlite"]
    for name in others + old { try Files.replace("\(folder.path)/\(name)", with: [1]) }
    var backups = StateBackups(of: path) { _ in }
    backups.plan(Self.declaration(folder.path, keep: 7_200_000))
    // The one of eight o'clock is there.
    advance(backups, Self.nine - 60) { $0.copies == 3 && !$0.isCopying }
    #expect(backups.counts.made == 0 && backups.counts.lastAt == (Self.nine - 3600) * 1000)
    advance(backups, Self.nine + 5) { $0.made == 1 }
    #expect(
      try Files.names(in: folder.path).sorted()
        == (others + ["shop-20261122T080000Z.sqlite", "shop-20261122T090005Z.sqlite"]).sorted())
    #expect(backups.counts.copies == 2 && backups.counts.bytes > 10_000)
    backups = StateBackups(of: path) { _ in }
    backups.plan(Self.declaration(folder.path, keep: 0))
    advance(backups, Self.nine + 3599) { $0.copies == 2 }
    #expect(eventually { !backups.counts.isCopying } && backups.counts.made == 0)
    // Nothing is kept, but for the newest.
    advance(backups, Self.nine + 3600) { $0.made == 1 }
    #expect(try StateBackups.copies(of: "shop", in: folder.path).map(\.name) == ["shop-20261122T100000Z.sqlite"])
    backups.plan(nil)
    backups.advance(now: Self.at(Self.nine + 86_400))
    #expect(backups.counts == BackupCounts())
  }

  @Test("where there is no folder, or no room, that is told, nothing is left behind, and it is tried again")
  func failures() throws {
    let scratch = try Scratch()
    let folder = try Scratch()
    let path = try filled(scratch, 20)
    let words = Mutex<[String]>([])
    var settings = SQLiteStore.CopySettings()
    settings.reserveBytes = .max
    let full = StateBackups(of: path, settings) { word in words.withLock { $0.append(word) } }
    full.plan(Self.declaration(folder.path))
    advance(full, Self.nine) { $0.failures == 1 && !$0.isCopying }
    #expect(full.counts.trouble == "there is no room on the disk" && full.counts.lastAt == nil)
    #expect(try Files.names(in: folder.path).isEmpty)
    #expect(words.withLock { $0 } == ["no copy of the state was made: there is no room on the disk"])
    // The store has not noticed.
    let store = try SQLiteStore(path: path)
    _ = try store.transact { try $0.takeSequences(1) }
    try store.close()

    let missing = StateBackups(of: path) { _ in }
    missing.plan(Self.declaration(folder.path + "/usb"))
    advance(missing, Self.nine) { $0.failures == 1 && !$0.isCopying }
    #expect(missing.counts.trouble == "there is no folder \(folder.path)/usb")
    advance(missing, Self.nine + 59) { _ in true }
    try Files.makeFolder(folder.path + "/usb")
    advance(missing, Self.nine + 120) { $0.made == 1 }
    #expect(missing.counts.trouble.isEmpty && missing.counts.failures == 1)
    // One that may be made is.
    var declaration = Self.declaration(folder.path + "/a/b")
    declaration.makesFolder = true
    missing.plan(declaration)
    advance(missing, Self.nine) { $0.made == 1 }
  }

  @Test("nothing is put in the place of what runs; what was there before is kept, each time")
  func restore() throws {
    let scratch = try Scratch()
    let path = try filled(scratch, 5)
    let copy = scratch.path + "/copy.sqlite"
    try SQLiteStore.copy(path, to: copy)
    do {
      let lock = try FolderLock(path: scratch.path + "/lock")
      #expect(throws: StateStoreError.self) { try StateProcess.restore(scratch.path, from: copy) }
      withExtendedLifetime(lock) {}
    }
    #expect(try StateProcess.restore(scratch.path, from: copy) == path + ".before")
    #expect(try StateProcess.restore(scratch.path, from: copy) == path + ".before-2")
    // Damaged: it is kept as it is.
    try Files.replace(path, with: Array("no database".utf8))
    #expect(try StateProcess.restore(scratch.path, from: copy) == path + ".before-3")
    #expect(try Files.text(path + ".before-3") == "no database")
    for place in [path, path + ".before", path + ".before-2"] {
      #expect(try StateFacts(of: place).queues.map(\.waiting) == [5])
    }
    #expect(throws: StateStoreError.self) { try StateFacts(of: path + ".before-3") }
    #expect(throws: StateStoreError.self) { try StateProcess.restore(scratch.path, from: path + ".before-3") }
    #expect(try StateFacts(of: path).text.contains("q            5          0     0     0"))
  }
}
