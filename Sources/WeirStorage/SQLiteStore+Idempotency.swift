// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import GRDB
internal import WeirBase
internal import WeirPatterns
internal import WeirWire

/// Idempotency records as rows: the answer's bytes stand in a table of their own, so that claims touch small rows only.
extension SQLiteStore {
  static func addIdempotency(to migrator: inout DatabaseMigrator) {
    migrator.registerMigration("idempotency 1") { db in
      try db.execute(
        sql: """
          CREATE TABLE idempotency (
            key BLOB NOT NULL PRIMARY KEY,
            fingerprint BLOB NOT NULL,
            owner BLOB NOT NULL,
            state INTEGER NOT NULL,
            until INTEGER NOT NULL,
            forget_at INTEGER NOT NULL,
            keep INTEGER NOT NULL
          ) WITHOUT ROWID;
          CREATE INDEX idempotency_forget ON idempotency (forget_at);
          CREATE TABLE idempotency_answer (
            id INTEGER PRIMARY KEY,
            key BLOB NOT NULL UNIQUE REFERENCES idempotency (key) ON DELETE CASCADE,
            status INTEGER NOT NULL,
            fields BLOB NOT NULL,
            body BLOB NOT NULL
          );
          """)
    }
  }
}

extension SQLiteTransaction: IdempotencyTable {
  /// `state`: 0 executes, 1 done with its answer, 2 done without.
  func record(_ key: StateDigest) throws -> IdempotencyRecord? {
    let statement = try db.cachedStatement(
      sql: "SELECT fingerprint, owner, state, until, forget_at, keep FROM idempotency WHERE key = ?")
    guard let row = try Row.fetchOne(statement, arguments: [Data(key.bytes)]) else { return nil }
    let print: Data = row[0]
    let owner: Data = row[1]
    let state: Int = row[2]
    let until: Int64 = row[3]
    let forgetAt: Int64 = row[4]
    let keep: Int64 = row[5]
    guard let digest = StateDigest(print), let holder = IdempotencyRecord.Owner(owner), (0...2).contains(state) else {
      throw StateStoreError.broken("a record that nobody has written")
    }
    return IdempotencyRecord(
      fingerprint: .init(digest),
      phase: state == 0
        ? .executing(holder, until: WallTime(milliseconds: until)) : .done(holder, isKept: state == 1),
      forgetAt: WallTime(milliseconds: forgetAt), keep: keep)
  }

  func answer(_ key: StateDigest) throws -> StateRequest.Answer? {
    let statement = try db.cachedStatement(sql: "SELECT status, fields, body FROM idempotency_answer WHERE key = ?")
    guard let row = try Row.fetchOne(statement, arguments: [Data(key.bytes)]) else { return nil }
    let status: Int = row[0]
    let fields: Data = row[1]
    let body: Data = row[2]
    return StateRequest.Answer(status: UInt16(clamping: status), fields: Array(fields), body: Array(body))
  }

  func save(_ record: IdempotencyRecord, _ key: StateDigest, answer: StateRequest.Answer?) throws {
    let state: Int
    let owner: IdempotencyRecord.Owner
    var until: Int64 = 0
    switch record.phase {
    case .executing(let holder, let end): (state, owner, until) = (0, holder, end.milliseconds)
    case .done(let holder, let isKept): (state, owner) = (isKept ? 1 : 2, holder)
    }
    let bytes = Data(key.bytes)
    let statement = try db.cachedStatement(
      sql: """
        INSERT INTO idempotency (key, fingerprint, owner, state, until, forget_at, keep) VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, owner = excluded.owner,
          state = excluded.state, until = excluded.until, forget_at = excluded.forget_at, keep = excluded.keep
        """)
    try statement.execute(arguments: [
      bytes, Data(StateDigest(record.fingerprint).bytes), Data(owner.bytes), state, until,
      record.forgetAt.milliseconds, record.keepMilliseconds,
    ])
    try db.cachedStatement(sql: "DELETE FROM idempotency_answer WHERE key = ?").execute(arguments: [bytes])
    guard let answer else { return }
    try db.cachedStatement(sql: "INSERT INTO idempotency_answer (key, status, fields, body) VALUES (?, ?, ?, ?)")
      .execute(arguments: [bytes, Int(answer.status), Data(answer.fields), Data(answer.body)])
  }

  func remove(_ key: StateDigest) throws {
    try db.cachedStatement(sql: "DELETE FROM idempotency WHERE key = ?").execute(arguments: [Data(key.bytes)])
  }

  func forget(until now: WallTime, limit: Int) throws -> Int {
    let statement = try db.cachedStatement(
      sql: """
        DELETE FROM idempotency WHERE key IN
          (SELECT key FROM idempotency WHERE forget_at <= ? ORDER BY forget_at LIMIT ?)
        """)
    try statement.execute(arguments: [now.milliseconds, limit])
    return db.changesCount
  }
}

extension IdempotencyRecord.Fingerprint {
  init(_ digest: StateDigest) { self.init(digest.a, digest.b, digest.c, digest.d) }
}

extension StateDigest {
  init(_ print: IdempotencyRecord.Fingerprint) {
    self.init(print.words.0, print.words.1, print.words.2, print.words.3)
  }
}

extension IdempotencyRecord.Owner {
  init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == 16 else { return nil }
    var high: UInt64 = 0
    var low: UInt64 = 0
    for (i, byte) in bytes.enumerated() {
      if i < 8 { high = high << 8 | UInt64(byte) } else { low = low << 8 | UInt64(byte) }
    }
    self.init(high: high, low: low)
  }

  var bytes: [UInt8] {
    [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - $0 * 8)) } }
  }
}
