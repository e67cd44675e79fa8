// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import GRDB
internal import WeirPlatform

/// An outbox in the SQLite file of a program: a second connection beside the program's, which keeps its journal mode.
///
/// SQLite tells nobody of a commit, so the table is looked at again and again (`OutboxRelay.Settings.poll`). A file that is
/// not there yet is not made: that is the program's to do. One that was put in the place of another is opened anew.
package final class SQLiteOutbox: OutboxSource {
  private let path: String
  private let table: OutboxTable
  private var database: DatabaseQueue?
  private var file: UInt64?

  package init(path: String, table: OutboxTable) {
    self.path = path
    self.table = table
  }

  package func read(
    limit: Int, without targets: [String], notRows: [Int64]
  ) throws(OutboxProblem) -> [OutboxRow] {
    let marks = { (count: Int) in Array(repeating: "?", count: count).joined(separator: ",") }
    let sql = """
      SELECT o.id AS id, o.target, o.key, o.type, o.headers, length(CAST(o.body AS BLOB)) AS bytes, o.created,
        CASE WHEN length(CAST(o.body AS BLOB)) <= \(OutboxTable.bodyBytesMax) THEN CAST(o.body AS BLOB) END AS body
      FROM (
        SELECT id, sum(bytes) OVER (ORDER BY id) - bytes AS before FROM (
          SELECT id, min(length(CAST(body AS BLOB)), \(OutboxTable.bodyBytesMax)) AS bytes FROM \(table.quoted)
          WHERE target NOT IN (\(marks(targets.count))) AND id NOT IN (\(marks(notRows.count)))
          ORDER BY id LIMIT \(limit))
      ) AS found JOIN \(table.quoted) AS o ON o.id = found.id
      WHERE found.before < \(OutboxTable.readBytesMax) ORDER BY o.id
      """
    return try on { db in
      try Row.fetchAll(db, sql: sql, arguments: StatementArguments(targets) + StatementArguments(notRows)).map { row in
        let body: Data? = row["body"]
        return OutboxRow(
          id: row["id"], target: row["target"] ?? "", key: row["key"], type: row["type"], headers: row["headers"],
          body: body.map { Array($0) }, bytes: row["bytes"] ?? 0, created: row["created"] ?? "")
      }
    }
  }

  package func delete(_ ids: [Int64]) throws(OutboxProblem) {
    let marks = Array(repeating: "?", count: ids.count).joined(separator: ",")
    try on { db in
      try db.inTransaction(.immediate) {
        try db.execute(
          sql: "DELETE FROM \(table.quoted) WHERE id IN (\(marks))", arguments: StatementArguments(ids))
        return .commit
      }
    }
  }

  package func count() throws(OutboxProblem) -> OutboxCounts {
    try on { db in
      var counts = OutboxCounts()
      counts.waiting =
        try Int.fetchOne(
          db, sql: "SELECT count(*) FROM (SELECT 1 FROM \(table.quoted) LIMIT \(OutboxTable.countedMax + 1))") ?? 0
      counts.oldest = try Double.fetchOne(
        db,
        sql: "SELECT max(0, (julianday('now') - julianday(created)) * 86400.0) FROM \(table.quoted) ORDER BY id LIMIT 1"
      )
      return counts
    }
  }

  package func wait(nanoseconds: Int64) throws(OutboxProblem) -> Bool {
    SystemThread.pause(nanoseconds: min(nanoseconds, 50_000_000))
    return false
  }

  private func on<Result>(_ body: (Database) throws -> Result) throws(OutboxProblem) -> Result {
    do {
      return try opened().inDatabase { try body($0) }
    } catch let error as OutboxProblem {
      database = nil
      throw error
    } catch {
      // Another program's long transaction, a table that was changed: all is looked at anew.
      database = nil
      throw OutboxProblem("the database \(path) failed: \(error)")
    }
  }

  private func opened() throws -> DatabaseQueue {
    let number = (try? FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? NSNumber)?.uint64Value
    if let database, file == number { return database }
    database = nil
    guard let number else { throw OutboxProblem("the database \(path) is not there yet: its program makes it") }
    var configuration = Configuration()
    configuration.label = "outbox"
    configuration.busyMode = .timeout(5)
    let opened = try DatabaseQueue(path: path, configuration: configuration)
    let table = table
    let path = path
    try opened.inDatabase { db in
      let found = try String.fetchAll(db, sql: "SELECT name FROM pragma_table_info(?)", arguments: [table.name])
      if let problem = table.problem(of: path, found: found, create: table.sqlite) { throw problem }
      let made = try String.fetchOne(
        db, sql: "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ? COLLATE NOCASE",
        arguments: [table.name])
      guard made?.uppercased().contains("AUTOINCREMENT") == true else {
        throw OutboxProblem(
          "the ids of the table \(table.name) of \(path) are used again after a deletion, and a new message would be taken "
            + "for an old one; make it with AUTOINCREMENT:\n\(table.sqlite)")
      }
    }
    database = opened
    file = number
    return opened
  }
}
