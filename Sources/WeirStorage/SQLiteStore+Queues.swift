// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import GRDB
internal import WeirWire

/// Queues as rows.
///
/// A message's row is small and changes with each step; its payload lies in a table of its own, written once. Each index is
/// partial: a start reads live messages only, however many done ones are kept, and a step touches the indices of its states.
extension SQLiteStore {
  static func addQueues(to migrator: inout DatabaseMigrator) {
    migrator.registerMigration("queue 1") { db in
      try db.execute(
        sql: """
          CREATE TABLE queue (
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            settings TEXT NOT NULL,
            is_paused INTEGER NOT NULL DEFAULT 0,
            declared_at INTEGER NOT NULL
          );
          CREATE TABLE message_sequence (one INTEGER PRIMARY KEY CHECK (one = 1), next INTEGER NOT NULL);
          INSERT INTO message_sequence VALUES (1, 1);
          CREATE TABLE message (
            sequence INTEGER PRIMARY KEY,
            queue INTEGER NOT NULL,
            id BLOB NOT NULL,
            is_named INTEGER NOT NULL DEFAULT 1,
            key BLOB NOT NULL,
            tenant BLOB NOT NULL,
            priority INTEGER NOT NULL,
            bytes INTEGER NOT NULL,
            enqueued_at INTEGER NOT NULL,
            due_at INTEGER NOT NULL,
            expires_at INTEGER NOT NULL,
            state INTEGER NOT NULL DEFAULT 0,
            attempts INTEGER NOT NULL DEFAULT 0,
            given_back INTEGER NOT NULL DEFAULT 0,
            leased_until INTEGER NOT NULL DEFAULT 0,
            ended_at INTEGER NOT NULL DEFAULT 0,
            forget_at INTEGER NOT NULL DEFAULT 0,
            death INTEGER NOT NULL DEFAULT 0,
            result BLOB
          );
          CREATE UNIQUE INDEX message_id ON message (queue, id) WHERE is_named = 1;
          CREATE INDEX message_live ON message (queue, sequence) WHERE state < 2;
          CREATE INDEX message_leased ON message (queue, sequence) WHERE state = 1;
          CREATE INDEX message_dead ON message (queue, sequence) WHERE state = 3;
          CREATE INDEX message_forget ON message (forget_at) WHERE state > 1;
          CREATE TABLE message_body (
            sequence INTEGER PRIMARY KEY REFERENCES message (sequence) ON DELETE CASCADE,
            fields BLOB NOT NULL,
            body BLOB NOT NULL
          );
          CREATE TABLE attempt (
            number INTEGER PRIMARY KEY,
            sequence INTEGER NOT NULL REFERENCES message (sequence) ON DELETE CASCADE,
            attempt INTEGER NOT NULL,
            at INTEGER NOT NULL,
            latency INTEGER NOT NULL,
            status INTEGER NOT NULL,
            error TEXT NOT NULL
          );
          CREATE INDEX attempt_message ON attempt (sequence, number);
          """)
    }
    migrator.registerMigration("queue 2") { db in
      try db.execute(
        sql: """
          ALTER TABLE message ADD COLUMN is_postponed INTEGER NOT NULL DEFAULT 0;
          CREATE INDEX message_due ON message (queue, due_at, sequence) WHERE state = 0;
          DROP INDEX message_live;
          """)
    }
  }
}

extension SQLiteTransaction: QueueTable {
  func run(_ sql: String, _ arguments: StatementArguments) throws {
    try db.cachedStatement(sql: sql).execute(arguments: arguments)
  }

  func row(_ sql: String, _ arguments: StatementArguments) throws -> Row? {
    try Row.fetchOne(db.cachedStatement(sql: sql), arguments: arguments)
  }

  // MARK: Queues

  func queues() throws -> [QueueRow] {
    let statement = try db.cachedStatement(
      sql: "SELECT number, name, settings, is_paused FROM queue WHERE is_gone = 0 ORDER BY number")
    return try Row.fetchAll(statement).map(queue)
  }

  func queue(_ number: Int64) throws -> QueueRow? {
    try row("SELECT number, name, settings, is_paused FROM queue WHERE number = ?", [number]).map(queue)
  }

  private func queue(_ row: Row) -> QueueRow {
    let name: String = row[1]
    let settings: String = row[2]
    // Of another version, and not understood: as one that says nothing, until it is declared again.
    let declaration = try? JSONDecoder().decode(QueueDeclaration.self, from: Data(settings.utf8))
    return QueueRow(number: row[0], declaration: declaration ?? QueueDeclaration(name: name), isPaused: row[3])
  }

  func saveQueue(_ declaration: QueueDeclaration, at: Int64) throws -> Int64 {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let settings = String(decoding: try encoder.encode(declaration), as: UTF8.self)
    try run(
      """
      INSERT INTO queue (name, settings, declared_at) VALUES (?, ?, ?)
      ON CONFLICT (name) DO UPDATE SET settings = excluded.settings
      """, [declaration.name, settings, at])
    guard let row = try row("SELECT number FROM queue WHERE name = ?", [declaration.name]) else {
      throw StateStoreError.broken("a queue that was written is not there")
    }
    return row[0]
  }

  func declaredAt(_ queue: Int64) throws -> Int64 {
    try row("SELECT declared_at FROM queue WHERE number = ?", [queue])?[0] ?? 0
  }

  func setPaused(_ queue: Int64, _ isPaused: Bool) throws {
    try run("UPDATE queue SET is_paused = ? WHERE number = ?", [isPaused, queue])
  }

  static let liveColumns =
    "sequence, key, tenant, priority, bytes, enqueued_at, due_at, expires_at, attempts, given_back, leased_until, state, is_postponed"

  func live(_ row: Row) -> LiveMessage {
    var live = LiveMessage(
      sequence: row[0], key: bytes(row, 1), tenant: bytes(row, 2), priority: row[3], bytes: row[4], enqueuedAt: row[5],
      dueAt: row[6], expiresAt: row[7])
    live.attempts = row[8]
    live.givenBack = row[9]
    live.isPostponed = row[12]
    let state: Int = row[11]
    if state == KnownMessage.State.inFlight.rawValue { live.leasedUntil = row[10] }
    return live
  }

  func eachLive(_ queue: Int64, _ body: (LiveMessage) throws -> Void) throws {
    for (index, condition) in [
      ("message_leased", "state = 1 ORDER BY sequence"), ("message_due", "state = 0 ORDER BY due_at, sequence"),
    ] {
      let statement = try db.cachedStatement(
        sql: """
          SELECT \(SQLiteTransaction.liveColumns) FROM message INDEXED BY \(index) WHERE queue = ? AND \(condition)
          """)
      let rows = try Row.fetchCursor(statement, arguments: [queue])
      while let row = try rows.next() { try body(live(row)) }
    }
  }

  func deadCount(_ queue: Int64) throws -> Int64 {
    try row("SELECT COUNT(*) FROM message INDEXED BY message_dead WHERE queue = ? AND state = 3", [queue])?[0] ?? 0
  }

  func takeSequences(_ count: Int64) throws -> Int64 {
    guard let row = try row("UPDATE message_sequence SET next = next + ? RETURNING next", [count]) else {
      throw StateStoreError.broken("the numbers of messages are gone")
    }
    let next: Int64 = row[0]
    return next - count
  }

  // MARK: A message's life

  private func known(_ row: Row?) throws -> KnownMessage? {
    guard let row else { return nil }
    let number: Int = row[2]
    guard let state = KnownMessage.State(rawValue: number) else {
      throw StateStoreError.broken("a message in a state that nobody has written")
    }
    return KnownMessage(sequence: row[0], queue: row[1], state: state, attempts: row[3], enqueuedAt: row[4])
  }

  func known(_ queue: Int64, id: [UInt8]) throws -> KnownMessage? {
    try known(
      row(
        "SELECT sequence, queue, state, attempts, enqueued_at FROM message WHERE queue = ? AND id = ? AND is_named = 1",
        [queue, Data(id)]))
  }

  func known(_ sequence: Int64) throws -> KnownMessage? {
    try known(row("SELECT sequence, queue, state, attempts, enqueued_at FROM message WHERE sequence = ?", [sequence]))
  }

  func unname(_ sequence: Int64) throws { try run("UPDATE message SET is_named = 0 WHERE sequence = ?", [sequence]) }

  func insert(_ message: NewMessage, _ live: LiveMessage, queue: Int64) throws {
    try run(
      """
      INSERT INTO message (sequence, queue, id, key, tenant, priority, bytes, enqueued_at, due_at, expires_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      """,
      [
        live.sequence, queue, Data(message.id), Data(message.key), Data(message.tenant), Int64(message.priority),
        live.bytes, live.enqueuedAt, live.dueAt, live.expiresAt,
      ])
    try run(
      "INSERT INTO message_body (sequence, fields, body) VALUES (?, ?, ?)",
      [live.sequence, Data(message.fields), Data(message.body)])
  }

  func saveLease(_ sequence: Int64, attempt: UInt16, until: Int64) throws {
    try run(
      "UPDATE message SET state = 1, attempts = ?, leased_until = ? WHERE sequence = ?",
      [Int64(attempt), until, sequence])
  }

  func payload(_ sequence: Int64) throws -> MessagePayload? {
    guard
      let row = try row(
        """
        SELECT id, key, tenant, priority, enqueued_at, log, position, message_body.sequence, fields, body
        FROM message LEFT JOIN message_body USING (sequence) WHERE message.sequence = ?
        """, [sequence])
    else { return nil }
    var message = NewMessage(
      id: bytes(row, 0), key: bytes(row, 1), tenant: bytes(row, 2), priority: row[3], fields: bytes(row, 8),
      body: bytes(row, 9))
    let log: Int64 = row[5]
    if log == 0 {
      let body: Int64? = row[7]
      return body == nil ? nil : MessagePayload(message: message, enqueuedAt: row[4])
    }
    guard let entry = try entry(log, row[6]) else { return nil }
    message.fields = entry.fields
    message.body = entry.body
    return MessagePayload(
      message: message, enqueuedAt: row[4],
      entry: MessageEntry(
        position: entry.position, version: entry.version, at: entry.at, id: entry.id, type: entry.type))
  }

  func saveRetry(_ sequence: Int64, at: Int64) throws {
    try run("UPDATE message SET state = 0, due_at = ?, leased_until = 0 WHERE sequence = ?", [at, sequence])
  }

  func saveGivenBack(_ sequence: Int64) throws {
    try run(
      "UPDATE message SET state = 0, given_back = given_back + 1, leased_until = 0 WHERE sequence = ?", [sequence])
  }

  func savePostponed(_ sequence: Int64, at: Int64) throws {
    try run(
      """
      UPDATE message SET state = 0, given_back = given_back + 1, is_postponed = 1, due_at = ?, leased_until = 0
      WHERE sequence = ?
      """, [at, sequence])
  }

  func saveDone(_ sequence: Int64, result: [UInt8], at: Int64, dedup: Int64, forgetAt: Int64) throws {
    try run(
      """
      UPDATE message SET state = 2, leased_until = 0, ended_at = ?, result = ?, forget_at = max(?, enqueued_at + ?)
      WHERE sequence = ?
      """, [at, Data(result), forgetAt, dedup, sequence])
    try run("DELETE FROM message_body WHERE sequence = ?", [sequence])
  }

  func saveDead(
    _ sequence: Int64, _ death: MessageDeath, at: Int64, keepsBody: Bool, dedup: Int64, forgetAt: Int64
  ) throws {
    let state = keepsBody ? KnownMessage.State.dead : .dropped
    try run(
      """
      UPDATE message SET state = ?, leased_until = 0, ended_at = ?, death = ?, forget_at = max(?, enqueued_at + ?)
      WHERE sequence = ?
      """, [Int64(state.rawValue), at, Int64(death.rawValue), forgetAt, dedup, sequence])
    if !keepsBody { try run("DELETE FROM message_body WHERE sequence = ?", [sequence]) }
  }

  func saveAttempt(_ sequence: Int64, _ attempt: AttemptView) throws {
    try run(
      "INSERT INTO attempt (sequence, attempt, at, latency, status, error) VALUES (?, ?, ?, ?, ?, ?)",
      [sequence, Int64(attempt.attempt), attempt.at, attempt.latency, Int64(attempt.status), attempt.error])
    if Int(attempt.attempt) > QueueLimits.historyMax { try trim(sequence) }
  }

  func saveLapse(_ sequence: Int64, at: Int64, error: String) throws {
    try run(
      """
      INSERT INTO attempt (sequence, attempt, at, latency, status, error)
      SELECT sequence, attempts, ?, 0, 0, ? FROM message WHERE sequence = ? AND state = 1
      """, [at, error, sequence])
    try trim(sequence)
  }

  private func trim(_ sequence: Int64) throws {
    try run(
      """
      DELETE FROM attempt WHERE sequence = ?1 AND number <=
        (SELECT number FROM attempt WHERE sequence = ?1 ORDER BY number DESC LIMIT 1 OFFSET \(QueueLimits.historyMax))
      """, [sequence])
  }

  func redrive(_ sequence: Int64, queue: Int64, at: Int64, keep: Int64) throws -> LiveMessage? {
    // The numbers of attempts go on: an old lease must not be taken for a new one.
    let statement = try db.cachedStatement(
      sql: """
        UPDATE message SET state = 0, given_back = attempts, is_postponed = 0, due_at = ?, expires_at = ?, ended_at = 0, forget_at = 0, death = 0
        WHERE sequence = ? AND queue = ? AND state = 3 RETURNING \(SQLiteTransaction.liveColumns)
        """)
    return try Row.fetchOne(statement, arguments: [at, at.adding(keep), sequence, queue]).map(live)
  }

  func remove(_ sequence: Int64, queue: Int64) throws -> KnownMessage? {
    guard let known = try known(sequence), known.queue == queue else { return nil }
    try run("DELETE FROM message WHERE sequence = ?", [sequence])
    return known
  }

  func forgetMessages(until now: Int64, limit: Int) throws -> (count: Int, dead: [Int64]) {
    let statement = try db.cachedStatement(
      sql: """
        SELECT sequence, queue, state FROM message INDEXED BY message_forget
        WHERE state > 1 AND forget_at <= ? ORDER BY forget_at LIMIT ?
        """)
    let rows = try Row.fetchAll(statement, arguments: [now, limit])
    var dead: [Int64] = []
    for row in rows {
      let sequence: Int64 = row[0]
      let state: Int = row[2]
      if state == KnownMessage.State.dead.rawValue { dead.append(row[1]) }
      try run("DELETE FROM message WHERE sequence = ?", [sequence])
    }
    return (rows.count, dead)
  }

  func setGone(_ queue: Int64) throws {
    // A name that no file and nobody's request can give.
    try run("UPDATE queue SET is_gone = 1, name = '/gone/' || number WHERE number = ?", [queue])
  }

  func clearGone(limit: Int) throws -> Int {
    guard let row = try row("SELECT number FROM queue WHERE is_gone = 1 LIMIT 1", []) else { return 0 }
    let queue: Int64 = row[0]
    // Those whose ids are others' now are done or dead, and go with their time.
    try run(
      """
      DELETE FROM message WHERE sequence IN
        (SELECT sequence FROM message INDEXED BY message_id WHERE queue = ? AND is_named = 1 LIMIT ?)
      """, [queue, limit])
    let count = db.changesCount
    if count > 0 { return count }
    let order = try clearOrder(queue, limit: limit)
    if order > 0 { return order }
    try run("DELETE FROM queue WHERE number = ?", [queue])
    return 1
  }

  // MARK: Looking

  private static let viewColumns =
    "sequence, id, key, tenant, priority, state, attempts - given_back, enqueued_at, due_at, ended_at, death, result, bytes"

  private func view(_ row: Row, now: Int64) throws -> MessageView {
    let number: Int = row[5]
    let due: Int64 = row[8]
    let ended: Int64 = row[9]
    let death: UInt8 = row[10]
    let state: MessageState
    switch KnownMessage.State(rawValue: number) {
    case .waiting: state = due > now ? .delayed : .waiting
    case .inFlight: state = .inFlight
    case .done: state = .done
    case .dead, .dropped: state = .dead
    case nil: throw StateStoreError.broken("a message in a state that nobody has written")
    }
    let attempts: Int64 = row[6]
    return MessageView(
      sequence: row[0], id: bytes(row, 1), key: bytes(row, 2), tenant: bytes(row, 3), priority: row[4], state: state,
      attempts: UInt16(clamping: attempts), enqueuedAt: row[7], dueAt: due, endedAt: ended == 0 ? nil : ended,
      death: MessageDeath(rawValue: death), result: bytes(row, 11), bytes: row[12])
  }

  func view(_ queue: Int64, id: [UInt8], now: Int64) throws -> MessageView? {
    guard
      let row = try row(
        "SELECT \(SQLiteTransaction.viewColumns) FROM message WHERE queue = ? AND id = ? AND is_named = 1",
        [queue, Data(id)])
    else { return nil }
    var view = try view(row, now: now)
    let history = try db.cachedStatement(
      sql: "SELECT attempt, at, latency, status, error FROM attempt WHERE sequence = ? ORDER BY number")
    view.history = try Row.fetchAll(history, arguments: [view.sequence]).suffix(QueueLimits.historyMax).map {
      AttemptView(attempt: $0[0], at: $0[1], latency: $0[2], status: $0[3], error: $0[4])
    }
    if view.state != .done, let payload = try payload(view.sequence) {
      view.fields = payload.message.fields
      view.body = payload.message.body
    }
    return view
  }

  func views(_ queue: Int64, _ state: MessageState, after: Int64, limit: Int, now: Int64) throws -> [MessageView] {
    let rows: [Row]
    switch state {
    case .waiting, .delayed:
      // Behind the one that was shown last; if that is forgotten meanwhile, from the first of higher sequences on.
      let due: Int64 = try row("SELECT due_at FROM message WHERE sequence = ?", [after])?[0] ?? -1
      let statement = try db.cachedStatement(
        sql: """
          SELECT \(SQLiteTransaction.viewColumns) FROM message INDEXED BY message_due
          WHERE queue = ?1 AND state = 0 AND due_at \(state == .waiting ? "<=" : ">") ?2 AND (due_at, sequence) > (?3, ?4)
            \(due < 0 ? "AND sequence > ?4" : "")
          ORDER BY due_at, sequence LIMIT ?5
          """)
      rows = try Row.fetchAll(statement, arguments: [queue, now, due, after, limit])
    case .inFlight, .dead, .done:
      let (index, condition) = state == .inFlight ? ("message_leased", "state = 1") : ("message_dead", "state = 3")
      let statement = try db.cachedStatement(
        sql: """
          SELECT \(SQLiteTransaction.viewColumns) FROM message INDEXED BY \(index)
          WHERE queue = ?1 AND sequence > ?2 AND \(condition) ORDER BY sequence LIMIT ?3
          """)
      rows = try Row.fetchAll(statement, arguments: [queue, after, limit])
    }
    return try rows.map { try view($0, now: now) }
  }

  func sequences(_ queue: Int64, dead: Bool, after: Int64, before: Int64, limit: Int) throws -> [Int64] {
    let parts =
      dead
      ? [("message_dead", "state = 3", "sequence")]
      : [("message_leased", "state = 1", "sequence"), ("message_due", "state = 0", "due_at, sequence")]
    var sequences: [Int64] = []
    for (index, condition, order) in parts where sequences.count < limit {
      let statement = try db.cachedStatement(
        sql: """
          SELECT sequence FROM message INDEXED BY \(index)
          WHERE queue = ? AND sequence > ? AND sequence < ? AND \(condition) ORDER BY \(order) LIMIT ?
          """)
      sequences += try Int64.fetchAll(
        statement, arguments: [queue, after, before, limit - sequences.count])
    }
    return sequences
  }

  func bytes(_ row: Row, _ column: Int) -> [UInt8] {
    let data: Data? = row[column]
    return data.map(Array.init) ?? []
  }
}

extension Int64 {
  /// The sum of two that are not negative, at most the largest.
  func adding(_ other: Int64) -> Int64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
