// SPDX-License-Identifier: Apache-2.0

/// A row of an outbox as a program has written it.
package struct OutboxRow: Sendable, Equatable {
  package var id: Int64
  /// `queues/emails`.
  package var target: String
  package var key: String?
  package var type: String?
  /// A JSON object of names and texts.
  package var headers: String?
  /// Nil: it is larger than a message may be, and was not read.
  package var body: [UInt8]?
  package var bytes: Int
  /// When it was written, as the database says it.
  package var created: String
  /// What of it is not what its column holds, so that nobody could take it; nil: nothing.
  package var flaw: String?

  package init(
    id: Int64, target: String, key: String? = nil, type: String? = nil, headers: String? = nil, body: [UInt8]?,
    bytes: Int, created: String, flaw: String? = nil
  ) {
    self.id = id
    self.target = target
    self.key = key
    self.type = type
    self.headers = headers
    self.body = body
    self.bytes = bytes
    self.created = created
    self.flaw = flaw
  }
}

package struct OutboxCounts: Sendable, Equatable {
  /// More than `OutboxTable.countedMax` are told as that and one.
  package var waiting = 0
  /// How old the oldest is, in seconds; nil when there is none.
  package var oldest: Double?

  package init() {}
}

/// Why an outbox cannot be read or deleted from; what mends it is part of the sentence.
package struct OutboxProblem: Error, Equatable, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}

/// The table in which programs leave messages, wherever it lies.
///
/// Confined to one thread.
/// Whatever throws leaves the source as it was: the next call tries again from the beginning.
package protocol OutboxSource: AnyObject {
  /// In the order of ids, without rows of these targets and without these rows.
  func read(limit: Int, without targets: [String], notRows: [Int64]) throws(OutboxProblem) -> [OutboxRow]
  func delete(_ ids: [Int64]) throws(OutboxProblem)
  func count() throws(OutboxProblem) -> OutboxCounts
  /// Waits so long at most; true as soon as something may have been written.
  func wait(nanoseconds: Int64) throws(OutboxProblem) -> Bool
}

/// What the documented table looks like; docs/outbox.md shows the same.
package struct OutboxTable: Sendable, Equatable {
  /// Where a message may go: the first part of `target`.
  package static let sections = ["queues", "topics", "streams", "sagas"]
  package static let columns = ["id", "target", "key", "type", "headers", "body", "created"]
  package static let countedMax = 100_000
  /// Bodies that are read at a time.
  static let readBytesMax = 8 << 20
  /// As a queue's and a topic's.
  package static let bodyBytesMax = 1 << 20

  package var name: String

  package init(name: String) { self.name = name }

  /// As it stands in SQL: a word of SQL's own, and capital letters, are what the file says.
  var quoted: String { name.split(separator: ".").map { "\"\($0)\"" }.joined(separator: ".") }

  package var sqlite: String {
    """
    CREATE TABLE \(quoted) (
      id      INTEGER PRIMARY KEY AUTOINCREMENT,
      target  TEXT NOT NULL,
      key     TEXT,
      type    TEXT,
      headers TEXT,
      body    BLOB NOT NULL,
      created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
    );
    """
  }

  package var postgres: String {
    """
    CREATE TABLE \(quoted) (
      id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      target  text NOT NULL,
      key     text,
      type    text,
      headers jsonb,
      body    bytea NOT NULL,
      created timestamptz NOT NULL DEFAULT now()
    );
    """
  }

  /// What is wrong with the columns that were found; nil when nothing is.
  func missing(_ found: [String]) -> [String] { OutboxTable.columns.filter { !found.contains($0) } }

  /// The texts of a problem, with the SQL that mends it.
  func problem(of database: String, found: [String], create: String) -> OutboxProblem? {
    if found.isEmpty {
      return OutboxProblem("\(database) has no table \(name); create it:\n\(create)")
    }
    let missing = missing(found)
    if missing.isEmpty { return nil }
    return OutboxProblem(
      "the table \(name) of \(database) has no column \(missing.joined(separator: ", ")); an outbox looks like this:\n\(create)"
    )
  }
}
