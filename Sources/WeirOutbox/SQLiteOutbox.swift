// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import GRDB
internal import WeirPlatform

/// An outbox in the SQLite file of a program: a second connection beside the program's, which keeps its journal mode.
///
/// SQLite tells nobody of a commit, so the table is looked at again and again (`OutboxRelay.Settings.poll`). A file that is
/// not there yet is not made: that is the program's to do. One that was put in the place of another is opened anew.
///
/// A column's type binds nobody in SQLite: what stands in a row may be of any, and is looked at by what it is.
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
    // Texts come as their bytes: a text may have a zero byte, at which whoever takes it for one of C ends.
    let texts = SQLiteOutbox.texts.map { "typeof(o.\($0)), CAST(o.\($0) AS BLOB)" }.joined(separator: ", ")
    let most = OutboxTable.bodyBytesMax
    let sql = """
      SELECT o.id, typeof(o.body), coalesce(length(CAST(o.body AS BLOB)), 0),
        CASE WHEN length(CAST(o.body AS BLOB)) <= \(most) THEN CAST(o.body AS BLOB) END, \(texts)
      FROM (
        SELECT id, sum(bytes) OVER (ORDER BY id) - bytes AS before FROM (
          SELECT id, min(coalesce(length(CAST(body AS BLOB)), 0), \(most)) AS bytes FROM \(table.quoted)
          WHERE coalesce(target, '') NOT IN (\(marks(targets.count))) AND id NOT IN (\(marks(notRows.count)))
          ORDER BY id LIMIT \(limit))
      ) AS found JOIN \(table.quoted) AS o ON o.id = found.id
      WHERE found.before < \(OutboxTable.readBytesMax) ORDER BY o.id
      """
    return try on { db in
      try Row.fetchAll(db, sql: sql, arguments: StatementArguments(targets) + StatementArguments(notRows)).map {
        try SQLiteOutbox.row($0)
      }
    }
  }

  /// The columns of a row that are texts, in the order in which they are read.
  private static let texts = ["target", "key", "type", "headers", "created"]

  private static func row(_ row: Row) throws -> OutboxRow {
    guard let id = Int64.fromDatabaseValue(row[0]) else {
      throw OutboxProblem("a row has an id that is no number")
    }
    var flaw: String?
    var values: [String?] = []
    for (i, name) in texts.enumerated() {
      let type = String.fromDatabaseValue(row[4 + 2 * i]) ?? ""
      let bytes = Data.fromDatabaseValue(row[5 + 2 * i]).map { Array($0) } ?? []
      if type == "null" {
        values.append(nil)
        continue
      }
      let text = String(validating: bytes, as: UTF8.self)
      // A number will do for a key, a point of time for whatever it is written as; bytes are no text.
      if type == "blob" && name != "created" {
        flaw = flaw ?? "its \(name) is a blob, and must be a text"
      } else if text == nil && name != "created" {
        flaw = flaw ?? "its \(name) is no UTF-8"
      }
      values.append(text ?? bytes.map { String($0, radix: 16) }.joined(separator: "."))
    }
    // An empty blob is read as none.
    var body: [UInt8]?
    let size = Int.fromDatabaseValue(row[2]) ?? 0
    if String.fromDatabaseValue(row[1]) == "null" {
      flaw = flaw ?? "it has no body"
    } else if size <= OutboxTable.bodyBytesMax {
      body = Data.fromDatabaseValue(row[3]).map { Array($0) } ?? []
    }
    return OutboxRow(
      id: id, target: values[0] ?? "", key: values[1], type: values[2], headers: values[3], body: body, bytes: size,
      created: values[4] ?? "", flaw: flaw)
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
      let key = try String.fetchOne(
        db, sql: "SELECT name FROM pragma_table_info(?) WHERE pk = 1 AND upper(type) = 'INTEGER'",
        arguments: [table.name])
      guard key == "id" else {
        throw OutboxProblem(
          "the table \(table.name) of \(path) has an 'id' that is no number of its rows; an outbox looks like this:\n"
            + table.sqlite)
      }
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
