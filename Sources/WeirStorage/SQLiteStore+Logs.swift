// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import GRDB
internal import WeirWire

/// Logs as rows.
///
/// An entry's row number is its log's and its position together, so that a log lies in one piece and in order, and needs no
/// index for it: 2^40 positions (a trillion: 10 000 a second for three years) of 2^22 logs.
extension SQLiteStore {
  static func addLogs(to migrator: inout DatabaseMigrator) {
    migrator.registerMigration("log 1") { db in
      try db.execute(
        sql: """
          CREATE TABLE log (
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            settings TEXT NOT NULL,
            declared_at INTEGER NOT NULL,
            last INTEGER NOT NULL DEFAULT 0,
            bytes INTEGER NOT NULL DEFAULT 0,
            forgotten INTEGER NOT NULL DEFAULT 0,
            document_version INTEGER NOT NULL DEFAULT 0
          );
          CREATE TABLE log_group (
            log INTEGER NOT NULL,
            queue TEXT NOT NULL,
            from_start INTEGER NOT NULL,
            is_joined INTEGER NOT NULL,
            is_active INTEGER NOT NULL,
            fed INTEGER,
            PRIMARY KEY (log, queue)
          ) WITHOUT ROWID;
          CREATE TABLE entry (
            place INTEGER PRIMARY KEY,
            log INTEGER NOT NULL,
            version INTEGER NOT NULL,
            at INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            id BLOB NOT NULL,
            key BLOB NOT NULL,
            type BLOB NOT NULL,
            fields BLOB NOT NULL,
            body BLOB NOT NULL
          );
          CREATE UNIQUE INDEX entry_id ON entry (log, id);
          CREATE UNIQUE INDEX entry_stream ON entry (log, key, version) WHERE version > 0;
          CREATE TABLE document (
            log INTEGER NOT NULL,
            key BLOB NOT NULL,
            version INTEGER NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (log, key)
          );
          ALTER TABLE message ADD COLUMN log INTEGER NOT NULL DEFAULT 0;
          ALTER TABLE message ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
          CREATE INDEX message_entry ON message (log, position) WHERE log > 0 AND state IN (0, 1, 3);
          CREATE INDEX message_position ON message (queue, position) WHERE log > 0 AND state < 2;
          ALTER TABLE queue ADD COLUMN is_gone INTEGER NOT NULL DEFAULT 0;
          """)
    }
  }
}

extension SQLiteTransaction: LogTable {
  private static let positionBits: Int64 = 40
  private static let positionMost: Int64 = 1 << positionBits - 1

  private func place(_ log: Int64, _ position: Int64) throws -> Int64 {
    guard position >= 0, position <= SQLiteTransaction.positionMost else {
      throw StateStoreError.broken("a log has as many entries as can be numbered")
    }
    return log << SQLiteTransaction.positionBits | position
  }

  /// The numbers of a log's rows behind a position.
  private func places(_ log: Int64, after: Int64) -> (after: Int64, before: Int64) {
    let first = log << SQLiteTransaction.positionBits
    return (first | min(after, SQLiteTransaction.positionMost), first + SQLiteTransaction.positionMost + 1)
  }

  private func position(_ place: Int64) -> Int64 { place & SQLiteTransaction.positionMost }

  // MARK: Logs and groups

  private static let logColumns = "number, name, settings, declared_at, last, bytes, forgotten"

  func logs() throws -> [LogRow] {
    let statement = try db.cachedStatement(sql: "SELECT \(SQLiteTransaction.logColumns) FROM log ORDER BY number")
    return try Row.fetchAll(statement).map(log)
  }

  func log(_ number: Int64) throws -> LogRow? {
    try row("SELECT \(SQLiteTransaction.logColumns) FROM log WHERE number = ?", [number]).map(log)
  }

  private func log(_ row: Row) throws -> LogRow {
    let name: String = row[1]
    let settings: String = row[2]
    // Of another version, and not understood: as one that is kept, until it is declared again.
    let declaration = try? JSONDecoder().decode(LogDeclaration.self, from: Data(settings.utf8))
    var log = LogRow(number: row[0], declaration: declaration ?? LogDeclaration(name: name), declaredAt: row[3])
    log.last = row[4]
    log.bytes = row[5]
    log.forgotten = row[6]
    let groups = try db.cachedStatement(
      sql: "SELECT queue, from_start, is_joined, is_active, fed FROM log_group WHERE log = ? ORDER BY queue")
    log.groups = try Row.fetchAll(groups, arguments: [log.number]).map {
      var group = GroupRow(queue: $0[0], fromStart: $0[1], isJoined: $0[2], fed: $0[4])
      group.isActive = $0[3]
      return group
    }
    return log
  }

  func saveLog(_ declaration: LogDeclaration, at: Int64) throws -> Int64 {
    var declaration = declaration
    declaration.groups = []
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let settings = String(decoding: try encoder.encode(declaration), as: UTF8.self)
    try run(
      """
      INSERT INTO log (name, settings, declared_at) VALUES (?, ?, ?)
      ON CONFLICT (name) DO UPDATE SET settings = excluded.settings
      """, [declaration.name, settings, at])
    guard let row = try row("SELECT number FROM log WHERE name = ?", [declaration.name]) else {
      throw StateStoreError.broken("a log that was written is not there")
    }
    return row[0]
  }

  func saveEnd(_ log: Int64, last: Int64, bytes: Int64) throws {
    try run("UPDATE log SET last = ?, bytes = ? WHERE number = ?", [last, bytes, log])
  }

  func saveForgotten(_ log: Int64, _ position: Int64, bytes: Int64) throws {
    try run("UPDATE log SET forgotten = ?, bytes = ? WHERE number = ?", [position, bytes, log])
  }

  func saveGroup(_ log: Int64, _ group: GroupRow) throws {
    try run(
      """
      INSERT INTO log_group (log, queue, from_start, is_joined, is_active, fed) VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT (log, queue) DO UPDATE SET from_start = excluded.from_start, is_joined = excluded.is_joined,
        is_active = excluded.is_active, fed = excluded.fed
      """, [log, group.queue, group.fromStart, group.isJoined, group.isActive, group.fed])
  }

  func removeGroup(_ log: Int64, queue: String) throws {
    try run("DELETE FROM log_group WHERE log = ? AND queue = ?", [log, queue])
  }

  // MARK: Entries

  func appended(_ log: Int64, id: [UInt8]) throws -> Appended? {
    try row("SELECT place, version FROM entry WHERE log = ? AND id = ?", [log, Data(id)]).map {
      Appended(position: position($0[0]), version: $0[1], isDuplicate: true)
    }
  }

  func version(_ log: Int64, key: [UInt8]) throws -> Int64 {
    try row(
      """
      SELECT version FROM entry INDEXED BY entry_stream WHERE log = ? AND key = ? AND version > 0
      ORDER BY version DESC LIMIT 1
      """, [log, Data(key)])?[0] ?? 0
  }

  func insert(_ entry: LogEntry, log: Int64) throws {
    try run(
      """
      INSERT INTO entry (place, log, version, at, bytes, id, key, type, fields, body)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        try place(log, entry.position), log, entry.version, entry.at, entry.payload, Data(entry.id), Data(entry.key),
        Data(entry.type), Data(entry.fields), Data(entry.body),
      ])
  }

  private static let entryColumns = "place, version, at, id, key, type, fields, body"

  private func entry(_ row: Row) -> LogEntry {
    LogEntry(
      position: position(row[0]), version: row[1], at: row[2], id: bytes(row, 3), key: bytes(row, 4),
      type: bytes(row, 5), fields: bytes(row, 6), body: bytes(row, 7))
  }

  func entries(_ log: Int64, after: Int64, limit: Int, bytes: Int) throws -> [LogEntry] {
    let places = places(log, after: after)
    return try entries(
      "SELECT \(SQLiteTransaction.entryColumns) FROM entry WHERE place > ? AND place < ? ORDER BY place LIMIT ?",
      [places.after, places.before, limit], bytes)
  }

  func entries(_ log: Int64, key: [UInt8], after: Int64, behind: Int64, limit: Int, bytes: Int) throws -> [LogEntry] {
    try entries(
      """
      SELECT \(SQLiteTransaction.entryColumns) FROM entry INDEXED BY entry_stream
      WHERE log = ? AND key = ? AND version > 0 AND version > ? AND place > ? ORDER BY version LIMIT ?
      """, [log, Data(key), after, places(log, after: behind).after, limit], bytes)
  }

  /// Read one by one: what is beyond `most` is not.
  private func entries(_ sql: String, _ arguments: StatementArguments, _ most: Int) throws -> [LogEntry] {
    var entries: [LogEntry] = []
    var bytes: Int64 = 0
    let rows = try Row.fetchCursor(db.cachedStatement(sql: sql), arguments: arguments)
    while bytes < most, let row = try rows.next() {
      let entry = entry(row)
      bytes += entry.payload
      entries.append(entry)
    }
    return entries
  }

  func next(_ log: Int64, after: Int64) throws -> (position: Int64, at: Int64)? {
    let places = places(log, after: after)
    return try row(
      "SELECT place, at FROM entry WHERE place > ? AND place < ? ORDER BY place LIMIT 1", [places.after, places.before]
    ).map { (position($0[0]), $0[1]) }
  }

  func lastAt(_ log: Int64) throws -> Int64 {
    let places = places(log, after: 0)
    return try row(
      "SELECT at FROM entry WHERE place > ? AND place < ? ORDER BY place DESC LIMIT 1", [places.after, places.before])?[
        0] ?? 0
  }

  func firstLive(queue: Int64) throws -> Int64? {
    try row(
      """
      SELECT position FROM message INDEXED BY message_position WHERE queue = ? AND log > 0 AND state < 2
      ORDER BY position LIMIT 1
      """, [queue])?[0]
  }

  // MARK: A group's messages

  func insert(_ entry: LogEntry, _ live: LiveMessage, log: Int64, queue: Int64) throws {
    try run(
      """
      INSERT INTO message
        (sequence, queue, id, key, tenant, priority, bytes, enqueued_at, due_at, expires_at, log, position)
      VALUES (?, ?, ?, ?, x'', ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        live.sequence, queue, Data(String(entry.position).utf8), Data(entry.key), Int64(live.priority), live.bytes,
        live.enqueuedAt, live.dueAt, live.expiresAt, log, entry.position,
      ])
  }

  /// The entry that a group's message was made from.
  func entry(_ log: Int64, _ position: Int64) throws -> LogEntry? {
    try row("SELECT \(SQLiteTransaction.entryColumns) FROM entry WHERE place = ?", [try place(log, position)])
      .map(entry)
  }

  // MARK: Forgetting

  func keeping(_ log: Int64, after: Int64, through: Int64, limit: Int) throws -> [KeptEntry] {
    let first = places(log, after: after).after
    let last = places(log, after: through).after
    let statement = try db.cachedStatement(
      sql: """
        SELECT place, version, at, bytes, key, EXISTS (
          SELECT 1 FROM message INDEXED BY message_entry
          WHERE log = ?1 AND position = place & \(SQLiteTransaction.positionMost)
            AND log > 0 AND state IN (0, 1, 3))
        FROM entry WHERE place > ?2 AND place <= ?3 ORDER BY place LIMIT ?4
        """)
    return try Row.fetchAll(statement, arguments: [log, first, last, limit]).map {
      KeptEntry(
        position: position($0[0]), version: $0[1], at: $0[2], bytes: $0[3], key: bytes($0, 4), isNeeded: $0[5])
    }
  }

  func remove(_ log: Int64, position: Int64) throws {
    try run("DELETE FROM entry WHERE place = ?", [try place(log, position)])
  }

  func isNewest(_ log: Int64, key: [UInt8], version: Int64) throws -> Bool {
    try self.version(log, key: key) == version
  }

  func removeStream(_ log: Int64, key: [UInt8], limit: Int) throws -> (count: Int, bytes: Int64) {
    let statement = try db.cachedStatement(
      sql: """
        SELECT place, bytes FROM entry INDEXED BY entry_stream WHERE log = ? AND key = ? AND version > 0
        ORDER BY version LIMIT ?
        """)
    let rows = try Row.fetchAll(statement, arguments: [log, Data(key), limit])
    var bytes: Int64 = 0
    for row in rows {
      let place: Int64 = row[0]
      bytes += row[1]
      try run("DELETE FROM entry WHERE place = ?", [place])
    }
    return (rows.count, bytes)
  }

  // MARK: Documents

  private func document(_ row: Row) -> LogDocument {
    LogDocument(key: bytes(row, 0), version: row[1], body: bytes(row, 2))
  }

  func document(_ log: Int64, key: [UInt8]) throws -> LogDocument? {
    try row("SELECT key, version, body FROM document WHERE log = ? AND key = ?", [log, Data(key)]).map(document)
  }

  func documents(_ log: Int64, after: [UInt8], limit: Int, bytes: Int) throws -> [LogDocument] {
    let statement = try db.cachedStatement(
      sql: "SELECT key, version, body FROM document WHERE log = ? AND key > ? ORDER BY key LIMIT ?")
    var documents: [LogDocument] = []
    var size = 0
    let rows = try Row.fetchCursor(statement, arguments: [log, Data(after), limit])
    while size < bytes, let row = try rows.next() {
      let document = document(row)
      size += document.body.count
      documents.append(document)
    }
    return documents
  }

  func saveDocument(_ log: Int64, key: [UInt8], body: [UInt8]) throws -> Int64 {
    let known: Int64? = try row("SELECT version FROM document WHERE log = ? AND key = ?", [log, Data(key)])?[0]
    let removed: Int64 = try row("SELECT document_version FROM log WHERE number = ?", [log])?[0] ?? 0
    let version = max(known ?? 0, known == nil ? removed : 0) + 1
    if !body.isEmpty {
      try run(
        """
        INSERT INTO document (log, key, version, body) VALUES (?, ?, ?, ?)
        ON CONFLICT (log, key) DO UPDATE SET version = excluded.version, body = excluded.body
        """, [log, Data(key), version, Data(body)])
    } else if known != nil {
      try run("DELETE FROM document WHERE log = ? AND key = ?", [log, Data(key)])
      try run("UPDATE log SET document_version = max(document_version, ?) WHERE number = ?", [version, log])
    }
    return version
  }
}

extension LogEntry {
  /// Bytes of its payload.
  var payload: Int64 { Int64(fields.count + body.count) }
}
