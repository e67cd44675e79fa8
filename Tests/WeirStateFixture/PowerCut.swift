// SPDX-License-Identifier: Apache-2.0

import WeirBase
import WeirPlatform
import WeirStorage

/// What a power cut leaves of the database, worked out from the journal of its writes (Tests/DiskJournal).
///
/// What was synced is there. Of each write after its file's last sync chance decides: all of it, nothing of it, or some of its
/// sectors of 512 bytes; whatever became of those before and after it. A truncation is there or not. That files exist, are
/// made and removed is taken as it was when the power went.
struct PowerCut {
  private(set) var kept = 0
  private(set) var dropped = 0
  private(set) var torn = 0

  private enum Write { case bytes(at: Int, ArraySlice<UInt8>), truncate(Int) }

  private struct File {
    var bytes: [UInt8]
    var unsynced: [Write] = []

    mutating func take(_ kind: UInt8, _ offset: Int, _ bytes: ArraySlice<UInt8>) {
      switch kind {
      case UInt8(ascii: "w"): unsynced.append(.bytes(at: offset, bytes))
      case UInt8(ascii: "t"): unsynced.append(.truncate(offset))
      default:
        for write in unsynced { apply(write) }
        unsynced = []
      }
    }

    mutating func apply(_ write: Write) {
      switch write {
      case .bytes(let at, let new):
        if bytes.count < at + new.count { bytes += Array(repeating: 0, count: at + new.count - bytes.count) }
        bytes.replaceSubrange(at..<at + new.count, with: new)
      case .truncate(let count):
        if count < bytes.count { bytes.removeLast(bytes.count - count) }
        if count > bytes.count { bytes += Array(repeating: 0, count: count - bytes.count) }
      }
    }
  }

  /// The files as they were before the process began, by which `cut` goes on.
  private var database: File
  private var log: File

  init(_ folder: String, counting counts: (kept: Int, dropped: Int, torn: Int) = (0, 0, 0)) throws {
    (kept, dropped, torn) = counts
    let path = StateProcess.databasePath(folder)
    database = File(bytes: Files.exists(path) ? try Files.bytes(path) : [])
    log = File(bytes: Files.exists(path + "-wal") ? try Files.bytes(path + "-wal") : [])
  }

  /// Puts into the folder what the journal's end and chance leave.
  mutating func cut(_ folder: String, journal: String, using random: inout SeededRandom) throws {
    let path = StateProcess.databasePath(folder)
    // Missing: the process was killed before it had begun.
    if Files.exists(journal) { try read(try Files.bytes(journal)) }
    leave(\.database, &random)
    leave(\.log, &random)
    try Files.replace(path, with: database.bytes)
    if Files.exists(path + "-wal") { try Files.replace(path + "-wal", with: log.bytes) }
    // What the log's index says is never on the disk.
    try Files.remove(path + "-shm")
    try Files.remove(journal)
  }

  private mutating func read(_ journal: [UInt8]) throws {
    var at = 0
    func number(_ at: Int) -> Int { (0..<8).reduce(0) { $0 | Int(journal[at + $1]) << (8 * $1) } }
    while at + 18 <= journal.count {
      let kind = journal[at]
      let isLog = journal[at + 1] == UInt8(ascii: "l")
      let offset = number(at + 2)
      let length = number(at + 10)
      at += 18
      guard at + length <= journal.count else { return }
      let bytes = journal[at..<at + length]
      if isLog { log.take(kind, offset, bytes) } else { database.take(kind, offset, bytes) }
      at += length
    }
  }

  private mutating func leave(_ which: WritableKeyPath<PowerCut, File>, _ random: inout SeededRandom) {
    var file = self[keyPath: which]
    for write in file.unsynced {
      switch (write, random.index(below: 3)) {
      case (_, 0): dropped += 1
      case (.bytes(let at, let bytes), 1):
        torn += 1
        for start in stride(from: 0, to: bytes.count, by: 512) where random.chance(0.5) {
          let first = bytes.startIndex + start
          file.apply(.bytes(at: at + start, bytes[first..<min(first + 512, bytes.endIndex)]))
        }
      default:
        kept += 1
        file.apply(write)
      }
    }
    file.unsynced = []
    self[keyPath: which] = file
  }
}
