// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import GRDB
internal import WeirWire

/// Sorted groups as rows: a small one for each stream, one for each name within its window, one for each event that is kept.
extension SQLiteStore {
  static func addOrder(to migrator: inout DatabaseMigrator) {
    migrator.registerMigration("order 1") { db in
      try db.execute(
        sql: """
          CREATE TABLE event_stream (
            queue INTEGER NOT NULL,
            stream BLOB NOT NULL,
            next INTEGER NOT NULL,
            day INTEGER NOT NULL,
            PRIMARY KEY (queue, stream)
          ) WITHOUT ROWID;
          CREATE INDEX event_stream_day ON event_stream (queue, day);
          CREATE TABLE event_name (
            queue INTEGER NOT NULL,
            name BLOB NOT NULL,
            position INTEGER NOT NULL,
            at INTEGER NOT NULL,
            PRIMARY KEY (queue, name)
          ) WITHOUT ROWID;
          CREATE INDEX event_name_at ON event_name (queue, at);
          CREATE TABLE event_kept (
            sequence INTEGER PRIMARY KEY REFERENCES message (sequence) ON DELETE CASCADE,
            queue INTEGER NOT NULL,
            stream BLOB NOT NULL,
            number INTEGER NOT NULL,
            position INTEGER NOT NULL,
            since INTEGER NOT NULL,
            name BLOB NOT NULL
          );
          CREATE INDEX event_kept_since ON event_kept (queue, since, sequence);
          CREATE TABLE event_count (
            queue INTEGER PRIMARY KEY,
            copies INTEGER NOT NULL,
            kept INTEGER NOT NULL,
            skipped INTEGER NOT NULL,
            late INTEGER NOT NULL
          );
          """)
    }
  }
}

extension SQLiteTransaction: OrderTable {
  /// Days in which a stream was heard of: told by the day, its index changes once a day and not with each event.
  private static let day: Int64 = 86_400_000

  func next(_ queue: Int64, stream: [UInt8]) throws -> Int64? {
    try row("SELECT next FROM event_stream WHERE queue = ? AND stream = ?", [queue, Data(stream)])?[0]
  }

  func saveNext(_ queue: Int64, stream: [UInt8], _ number: Int64, at: Int64) throws {
    try run(
      """
      INSERT INTO event_stream (queue, stream, next, day) VALUES (?, ?, ?, ?)
      ON CONFLICT (queue, stream) DO UPDATE SET next = excluded.next, day = excluded.day
      """, [queue, Data(stream), number, at / SQLiteTransaction.day])
  }

  func first(_ queue: Int64, named name: [UInt8]) throws -> (position: Int64, at: Int64)? {
    try row("SELECT position, at FROM event_name WHERE queue = ? AND name = ?", [queue, Data(name)]).map {
      ($0[0], $0[1])
    }
  }

  func saveFirst(_ queue: Int64, named name: [UInt8], position: Int64, at: Int64) throws {
    try run(
      """
      INSERT INTO event_name (queue, name, position, at) VALUES (?, ?, ?, ?)
      ON CONFLICT (queue, name) DO UPDATE SET position = excluded.position, at = excluded.at
      """, [queue, Data(name), position, at])
  }

  func forgetFirst(_ queue: Int64, named name: [UInt8]) throws {
    try run("DELETE FROM event_name WHERE queue = ? AND name = ?", [queue, Data(name)])
  }

  func keep(_ sequence: Int64, _ kept: KeptEvent, queue: Int64) throws {
    try run(
      "INSERT INTO event_kept (sequence, queue, stream, number, position, since, name) VALUES (?, ?, ?, ?, ?, ?, ?)",
      [sequence, queue, Data(kept.stream), kept.number, kept.position, kept.since, Data(kept.name)])
  }

  func kept(_ queue: Int64) throws -> [(sequence: Int64, event: KeptEvent)] {
    let statement = try db.cachedStatement(
      sql: """
        SELECT sequence, stream, number, position, since, name FROM event_kept INDEXED BY event_kept_since
        WHERE queue = ? ORDER BY since, sequence
        """)
    return try Row.fetchAll(statement, arguments: [queue]).map {
      (
        $0[0],
        KeptEvent(stream: bytes($0, 1), number: $0[2], position: $0[3], since: $0[4], name: bytes($0, 5))
      )
    }
  }

  func unkeep(_ sequence: Int64) throws { try run("DELETE FROM event_kept WHERE sequence = ?", [sequence]) }

  func release(_ sequence: Int64, as next: Int64, due: Int64, expires: Int64) throws -> LiveMessage? {
    try unkeep(sequence)
    // It was neither leased nor tried, so nothing else has its number.
    return try row(
      """
      UPDATE message SET sequence = ?, due_at = ?, expires_at = ? WHERE sequence = ? AND state = 0
      RETURNING \(SQLiteTransaction.liveColumns)
      """, [next, due, expires, sequence]
    ).map(live)
  }

  func orderCounts(_ queue: Int64) throws -> OrderCounts {
    var counts = OrderCounts()
    if let row = try row("SELECT copies, kept, skipped, late FROM event_count WHERE queue = ?", [queue]) {
      counts.copies = row[0]
      counts.kept = row[1]
      counts.skipped = row[2]
      counts.late = row[3]
    }
    return counts
  }

  func saveOrderCounts(_ queue: Int64, _ counts: OrderCounts) throws {
    try run(
      """
      INSERT INTO event_count (queue, copies, kept, skipped, late) VALUES (?, ?, ?, ?, ?)
      ON CONFLICT (queue) DO UPDATE SET copies = excluded.copies, kept = excluded.kept, skipped = excluded.skipped,
        late = excluded.late
      """, [queue, counts.copies, counts.kept, counts.skipped, counts.late])
  }

  func forgetOrder(_ queue: Int64, names: Int64, streams: Int64, limit: Int) throws -> Int {
    try run(
      """
      DELETE FROM event_name WHERE (queue, name) IN (
        SELECT queue, name FROM event_name INDEXED BY event_name_at WHERE queue = ? AND at <= ? ORDER BY at LIMIT ?)
      """, [queue, names, limit])
    let count = db.changesCount
    try run(
      """
      DELETE FROM event_stream WHERE (queue, stream) IN (
        SELECT queue, stream FROM event_stream INDEXED BY event_stream_day WHERE queue = ?1 AND day < ?2
          AND NOT EXISTS (SELECT 1 FROM event_kept WHERE queue = ?1) LIMIT ?3)
      """, [queue, streams / SQLiteTransaction.day, limit])
    return count + db.changesCount
  }

  /// What is known of the events of a queue that is gone; so much at a time, how much it was.
  func clearOrder(_ queue: Int64, limit: Int) throws -> Int {
    for (table, key) in [("event_stream", "stream"), ("event_name", "name")] {
      try run(
        """
        DELETE FROM \(table) WHERE queue = ?1 AND \(key) IN (SELECT \(key) FROM \(table) WHERE queue = ?1 LIMIT ?2)
        """, [queue, limit])
      if db.changesCount > 0 { return db.changesCount }
    }
    try run("DELETE FROM event_count WHERE queue = ?", [queue])
    return 0
  }

  func clearStreams(_ queue: Int64) throws { try run("DELETE FROM event_stream WHERE queue = ?", [queue]) }
}
