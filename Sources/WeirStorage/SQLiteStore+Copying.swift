// SPDX-License-Identifier: Apache-2.0
internal import GRDB
internal import WeirBase
internal import WeirPlatform

/// Copies of a store are made and put back.
extension SQLiteStore {
  package struct CopySettings: Sendable {
    /// Room that a copy leaves on its disk: twice what the store itself keeps free, so that no copy makes it refuse work.
    package var reserveBytes: Int64 = 128 << 20
    /// Pages of 4 KiB between two looks at room and at whether it is to end: a mebibyte.
    package var pagesPerStep: Int32 = 256
    /// Steps after which what is written is brought to the disk, 16 MiB: one sync at the end would hold up those of the store.
    package var stepsPerSync = 16
    /// Larger copies get the quick check.
    package var wholeCheckBytes = 256 << 20

    package init() {}
  }

  /// Why a copy was not made, when nothing is wrong.
  package struct Ended: Error {}

  /// A whole copy at `destination` of the store at `path`, which may be served meanwhile: what is committed now, checked and
  /// synced; its bytes.
  ///
  /// A connection of its own reads one snapshot, which in WAL holds up no writer, nor do they change it; the log cannot be
  /// shortened meanwhile. It is written as `fresh` (beside it, unless said otherwise), so that what stands under the name is
  /// whole.
  @discardableResult
  package static func copy(
    _ path: String, to destination: String, by fresh: String? = nil, _ settings: CopySettings = CopySettings(),
    goesOn: @escaping () -> Bool = { true }
  ) throws -> Int64 {
    let fresh = fresh ?? destination + ".new"
    do {
      try removeAll(fresh)
      do {
        try write(path, to: fresh, settings, goesOn: goesOn)
        try examine(fresh, settings)
        let bytes = try Descriptor.open(fresh, .read).size()
        try put(fresh, at: destination)
        return Int64(bytes)
      } catch {
        // What is half is nothing; when it cannot be removed, it is not under the name.
        try? removeAll(fresh)
        throw error
      }
    } catch let error as DatabaseError {
      let folder = Files.parent(of: destination)
      if error.resultCode == .SQLITE_FULL || !Files.hasRoom(at: folder) { throw StateStoreError.full }
      throw StateStoreError.broken("the copy \(destination): \(error.message ?? "\(error.resultCode)")")
    } catch let error as SystemError {
      if error.isDiskFull { throw StateStoreError.full }
      throw StateStoreError.broken("the copy \(destination): \(error.reason)")
    }
  }

  private static func write(
    _ path: String, to fresh: String, _ settings: CopySettings, goesOn: @escaping () -> Bool
  ) throws {
    guard Files.exists(path) else { throw StateStoreError.cannotOpen(path, "there is no such file") }
    func hasRoom(for bytes: Int64) -> Bool {
      // What cannot be found out is taken for enough: the write itself will say.
      guard let free = Files.freeBytes(at: Files.parent(of: fresh)) else { return true }
      return free.subtractingReportingOverflow(settings.reserveBytes).partialValue >= bytes
    }
    let file = try Descriptor.open(fresh, .readWrite, permissions: 0o600)
    var reading = Configuration()
    reading.label = "copy"
    reading.busyMode = .timeout(5)
    reading.readonly = true
    let source = try DatabaseQueue(path: path, configuration: reading)
    var writing = Configuration()
    writing.prepareDatabase { db in
      // Nobody relies on it before it is synced as a whole.
      try db.execute(sql: "PRAGMA synchronous = OFF")
    }
    let copy = try DatabaseQueue(path: fresh, configuration: writing)
    var steps = 0
    try source.read { from in
      // From here on it is this snapshot: of several steps, without it, each would begin anew when something was written.
      _ = try Int.fetchOne(from, sql: "SELECT count(*) FROM sqlite_master")
      let pages = try Int64.fetchOne(from, sql: "PRAGMA page_count") ?? 0
      let bytes = try pages * (Int64.fetchOne(from, sql: "PRAGMA page_size") ?? 4096)
      if !hasRoom(for: bytes) { throw StateStoreError.full }
      try copy.writeWithoutTransaction { to in
        try from.backup(to: to, pagesPerStep: settings.pagesPerStep) { _ in
          if !goesOn() { throw Ended() }
          steps += 1
          if steps % settings.stepsPerSync == 0 {
            try file.sync()
            if !hasRoom(for: 0) { throw StateStoreError.full }
          }
        }
      }
    }
    // The copy is in WAL as the store is; without it the file is whole by itself.
    try copy.writeWithoutTransaction { try $0.execute(sql: "PRAGMA journal_mode = DELETE") }
    try copy.close()
    try source.close()
  }

  /// Whether a copy is what SQLite has written, before it gets its name.
  private static func examine(_ path: String, _ settings: CopySettings) throws {
    let isWhole = try Descriptor.open(path, .read).size() <= settings.wholeCheckBytes
    var configuration = Configuration()
    configuration.readonly = true
    let copy = try DatabaseQueue(path: path, configuration: configuration)
    let words = try copy.read { db in
      try String.fetchAll(db, sql: "PRAGMA \(isWhole ? "integrity_check" : "quick_check")(1)")
    }
    try copy.close()
    if words != ["ok"] { throw StateStoreError.damaged(path, words.first ?? "no answer") }
  }

  /// Puts a copy in the place of the database at `path`, which nobody may have open; where what was there before is now.
  ///
  /// The copy is read through first; one that is damaged, no state of ours, or of a newer Weir is refused, and all is as it
  /// was. What was there before is kept beside it, as `path` with `.before`, `.before-2` and so on.
  @discardableResult
  package static func restore(_ path: String, from copy: String) throws -> String? {
    guard Files.exists(copy) else { throw StateStoreError.cannotOpen(copy, "there is no such file") }
    let fresh = path + ".new"
    do {
      try removeAll(fresh)
      try duplicate(copy, as: fresh)
      // Opens, checks and migrates it; what it has written is put into the file when it is closed.
      try SQLiteStore(path: fresh).close()
      try Descriptor.open(fresh, .readWrite).sync()
      let before = Files.exists(path) ? try setAside(path) : nil
      try put(fresh, at: path)
      return before
    } catch let error as StateStoreError {
      try? removeAll(fresh)
      switch error {
      case .damaged(_, let why): throw StateStoreError.damaged(copy, why)
      case .newer: throw StateStoreError.newer(copy)
      case .cannotOpen(_, let why): throw StateStoreError.cannotOpen(copy, why)
      default: throw error
      }
    } catch let error as SystemError {
      try? removeAll(fresh)
      throw error.isDiskFull ? StateStoreError.full : StateStoreError.broken(error.reason)
    }
  }

  /// The database gets another name, which it returns; it is under its own, too, until another takes its place.
  private static func setAside(_ path: String) throws -> String {
    var before = path + ".before"
    var number = 1
    while Files.exists(before) {
      number += 1
      before = "\(path).before-\(number)"
    }
    // Into one file, if it can be: then its name goes from the one to the other at once. A damaged one has its log beside it.
    if let store = try? DatabaseQueue(path: path) {
      _ = try? store.writeWithoutTransaction { try $0.execute(sql: "PRAGMA wal_checkpoint(TRUNCATE)") }
      try? store.close()
    }
    try Files.share(path, as: before)
    if Files.exists(path + "-wal") { try Files.rename(path + "-wal", to: before + "-wal") }
    return before
  }

  /// A file's bytes, a piece at a time.
  private static func duplicate(_ path: String, as copy: String) throws(SystemError) {
    let from = try Descriptor.open(path, .read)
    let to = try Descriptor.open(copy, .replace, permissions: 0o600)
    while true {
      let piece = try from.read(upTo: 1 << 20)
      if piece.isEmpty { return }
      try to.writeAll(piece)
    }
  }

  /// Syncs a file and gives it its name; what belonged to the one before goes.
  private static func put(_ fresh: String, at path: String) throws(SystemError) {
    try Descriptor.open(fresh, .readWrite).sync()
    for end in ["-wal", "-shm", "-journal"] { try Files.remove(path + end) }
    try Files.rename(fresh, to: path)
    try Descriptor.open(Files.parent(of: path), .read).sync()
    for end in ["-wal", "-shm", "-journal"] { try Files.remove(fresh + end) }
  }

  private static func removeAll(_ path: String) throws(SystemError) {
    for end in ["", "-wal", "-shm", "-journal"] { try Files.remove(path + end) }
  }
}
