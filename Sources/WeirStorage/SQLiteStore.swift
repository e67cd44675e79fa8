// SPDX-License-Identifier: Apache-2.0
internal import GRDB
internal import WeirBase
internal import WeirPlatform

/// The state in one SQLite file: write-ahead log, one writer, a commit returns when the disk has it (`synchronous=FULL`).
///
/// Source: sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous: in WAL with FULL the log is synced at each commit, so
/// a commit survives power cuts, and a torn frame at the log's end is told by its checksum and left out.
///
/// Confined to one thread. Tables are made and changed by migrations, in order, each in a transaction: one that has shipped
/// is never changed, a change is a new one.
package final class SQLiteStore: StateStore {
  package struct Settings: Sendable {
    /// Room on the disk that is kept for what has been begun: below it nothing new is taken on.
    ///
    /// A thousand answers under way with 64 KiB each.
    package var reserveBytes: Int64 = 64 << 20
    /// The most pages of 4 KiB; 0 for no limit but the disk's.
    package var pagesMax = 0
    /// Larger files get the quick check at the start: the whole one reads 100 MB/s and more, so 256 MiB cost some seconds.
    package var wholeCheckBytes = 256 << 20

    package init() {}
  }

  package let path: String
  private let settings: Settings
  private let database: DatabaseQueue
  private var spaceLookedAt = Instant.zero
  private var isLow = false

  /// Opens the file, makes it where it is missing, checks it, and brings its tables up to date.
  package init(path: String, _ settings: Settings = Settings()) throws {
    self.path = path
    self.settings = settings
    var configuration = Configuration()
    configuration.label = "state"
    configuration.busyMode = .timeout(5)
    let pagesMax = settings.pagesMax
    configuration.prepareDatabase { db in
      // Before the first table: room that is freed can be given back page by page.
      try db.execute(sql: "PRAGMA auto_vacuum = INCREMENTAL")
      try db.execute(sql: "PRAGMA journal_mode = WAL")
      // GRDB's own switch to WAL would set NORMAL, which may lose acknowledged work when the power goes.
      try db.execute(sql: "PRAGMA synchronous = FULL")
      // A log that was long once does not stay so: 64 MiB.
      try db.execute(sql: "PRAGMA journal_size_limit = 67108864")
      if pagesMax > 0 { try db.execute(sql: "PRAGMA max_page_count = \(pagesMax)") }
    }
    do {
      // Made before SQLite does, so that nobody else could read it for a moment.
      _ = try Descriptor.open(path, .readWrite, permissions: 0o600)
      database = try DatabaseQueue(path: path, configuration: configuration)
      try check()
      let migrations = SQLiteStore.migrations
      if try database.read({ try migrations.hasBeenSuperseded($0) }) { throw StateStoreError.newer(path) }
      try migrations.migrate(database)
    } catch let error as StateStoreError {
      throw error
    } catch let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode) {
      throw StateStoreError.damaged(path, error.message ?? "\(error.resultCode)")
    } catch let error as DatabaseError {
      throw StateStoreError.cannotOpen(path, error.message ?? "\(error.resultCode)")
    } catch let error as SystemError {
      throw StateStoreError.cannotOpen(path, error.reason)
    }
  }

  static var migrations: DatabaseMigrator {
    var migrator = DatabaseMigrator()
    SQLiteStore.addIdempotency(to: &migrator)
    SQLiteStore.addQueues(to: &migrator)
    SQLiteStore.addLogs(to: &migrator)
    SQLiteStore.addOrder(to: &migrator)
    return migrator
  }

  /// Whether the file is what SQLite has written.
  private func check() throws {
    let bytes = (try? Descriptor.open(path, .read).size()) ?? 0
    let pragma = bytes <= settings.wholeCheckBytes ? "integrity_check" : "quick_check"
    let words = try database.read { try String.fetchAll($0, sql: "PRAGMA \(pragma)(1)") }
    if words != ["ok"] { throw StateStoreError.damaged(path, words.first ?? "no answer") }
  }

  package func transact<Result>(_ body: (any StateTransaction) throws -> Result) throws -> Result {
    do {
      return try database.writeWithoutTransaction { db in
        var result: Result?
        try db.inTransaction(.immediate) {
          result = try body(SQLiteTransaction(db: db))
          return .commit
        }
        // Set by the body, which has not thrown.
        guard let result else { throw StateStoreError.broken("a transaction without a result") }
        return result
      }
    } catch let error as DatabaseError {
      switch error.resultCode {
      case .SQLITE_FULL: throw StateStoreError.full
      case .SQLITE_IOERR where !Files.hasRoom(at: path): throw StateStoreError.full
      default: throw StateStoreError.broken(error.message ?? "\(error.resultCode)")
      }
    }
  }

  /// The disk is asked once a second.
  package var isLowOnSpace: Bool {
    let now = SystemClock.now()
    if spaceLookedAt > .zero && now.since(spaceLookedAt) < 1_000_000_000 { return isLow }
    spaceLookedAt = now
    // What cannot be found out is taken for enough: the write itself will say.
    isLow = Files.freeBytes(at: path).map { $0 < settings.reserveBytes } ?? false
    return isLow
  }

  /// At most 256 pages at a time, a mebibyte, and only when there is as much to give back.
  package func compact() throws {
    try database.writeWithoutTransaction { db in
      guard try Int.fetchOne(db, sql: "PRAGMA freelist_count") ?? 0 > 256 else { return }
      // Each step of this statement frees a page.
      _ = try Row.fetchAll(db, sql: "PRAGMA incremental_vacuum(256)")
    }
  }

  package func close() throws { try database.close() }

  /// A pragma's number.
  package func pragma(_ name: String) throws -> Int? {
    try database.read { try Int.fetchOne($0, sql: "PRAGMA \(name)") }
  }

  package func runForTesting(_ sql: String) throws { try database.write { try $0.execute(sql: sql) } }
}

/// One transaction; not to be kept beyond it.
struct SQLiteTransaction: StateTransaction {
  let db: Database

  var changes: Int { db.totalChangesCount }
}
