// SPDX-License-Identifier: Apache-2.0
internal import GRDB
internal import WeirPlatform

/// What stands in a file of state, also while it is served, or in a copy.
package struct StateFacts: Sendable, Equatable {
  package struct Queue: Sendable, Equatable {
    package var name: String
    /// Waiting or delayed.
    package var waiting = 0
    package var inFlight = 0
    package var done = 0
    package var dead = 0
  }

  package struct Log: Sendable, Equatable {
    package var name: String
    package var entries: Int
    package var last: Int
    package var groups: Int
    package var documents: Int
  }

  package var path: String
  package var bytes: Int
  /// Changes of its tables that it has, and those that the next start would make.
  package var version: Int
  package var missing: Int
  package var queues: [Queue] = []
  package var logs: [Log] = []
  package var records: Int

  /// Reads it through; throws where it is damaged, of a newer Weir, or no state at all.
  package init(of path: String) throws {
    guard Files.exists(path) else { throw StateStoreError.cannotOpen(path, "there is no such file") }
    self.path = path
    do {
      bytes = try Descriptor.open(path, .read).size()
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(5)
      let database = try DatabaseQueue(path: path, configuration: configuration)
      let words = try database.read { try String.fetchAll($0, sql: "PRAGMA integrity_check(1)") }
      if words != ["ok"] { throw StateStoreError.damaged(path, words.first ?? "no answer") }
      let migrations = SQLiteStore.migrations
      (version, missing) = try database.read { db in
        if try migrations.hasBeenSuperseded(db) { throw StateStoreError.newer(path) }
        let applied = try migrations.appliedIdentifiers(db).count
        return (applied, migrations.migrations.count - applied)
      }
      // Tables of before have not all that is counted here.
      if version == 0 { throw StateStoreError.damaged(path, "no state of weir") }
      records = try database.read { try Int.fetchOne($0, sql: "SELECT count(*) FROM idempotency") ?? 0 }
      if missing > 0 { return }
      queues = try database.read(StateFacts.queues)
      logs = try database.read(StateFacts.logs)
    } catch let error as DatabaseError where [.SQLITE_CORRUPT, .SQLITE_NOTADB].contains(error.resultCode) {
      throw StateStoreError.damaged(path, error.message ?? "\(error.resultCode)")
    } catch let error as DatabaseError {
      throw StateStoreError.cannotOpen(path, error.message ?? "\(error.resultCode)")
    } catch let error as SystemError {
      throw StateStoreError.cannotOpen(path, error.reason)
    }
  }

  private static func queues(_ db: Database) throws -> [Queue] {
    var queues: [Int64: Queue] = [:]
    for row in try Row.fetchAll(db, sql: "SELECT number, name FROM queue WHERE is_gone = 0") {
      queues[row[0]] = Queue(name: row[1])
    }
    for row in try Row.fetchAll(db, sql: "SELECT queue, state, count(*) FROM message GROUP BY queue, state") {
      let count: Int = row[2]
      switch KnownMessage.State(rawValue: row[1]) {
      case .waiting: queues[row[0]]?.waiting = count
      case .inFlight: queues[row[0]]?.inFlight = count
      case .done: queues[row[0]]?.done = count
      case .dead: queues[row[0]]?.dead = count
      case .dropped, nil: break
      }
    }
    return queues.values.sorted { $0.name < $1.name }
  }

  private static func logs(_ db: Database) throws -> [Log] {
    try Row.fetchAll(
      db,
      sql: """
        SELECT name, (SELECT count(*) FROM entry WHERE entry.log = log.number), last,
          (SELECT count(*) FROM log_group WHERE log_group.log = log.number AND is_active),
          (SELECT count(*) FROM document WHERE document.log = log.number AND length(body) > 0)
        FROM log ORDER BY name
        """
    ).map { Log(name: $0[0], entries: $0[1], last: $0[2], groups: $0[3], documents: $0[4]) }
  }

  /// For people.
  package var text: String {
    var out = "\(path): whole, \(bytes) bytes, \(records) records of idempotency keys\n"
    out +=
      missing == 0 ? "  its tables are this version's\n" : "  its tables are brought up to date at the next start\n"
    out += StateFacts.table(
      ["queue", "waiting", "in flight", "done", "dead"],
      queues.map { [$0.name, "\($0.waiting)", "\($0.inFlight)", "\($0.done)", "\($0.dead)"] })
    out += StateFacts.table(
      ["log", "entries", "last", "groups", "documents"],
      logs.map { [$0.name, "\($0.entries)", "\($0.last)", "\($0.groups)", "\($0.documents)"] })
    return out
  }

  private static func table(_ head: [String], _ rows: [[String]]) -> String {
    if rows.isEmpty { return "" }
    let widths = head.indices.map { i in ([head] + rows).map { $0[i].count }.max() ?? 0 }
    return ([head] + rows).map { row in
      let cells = row.indices.map { i in
        let space = String(repeating: " ", count: widths[i] - row[i].count)
        return i == 0 ? row[i] + space : space + row[i]
      }
      return "  " + cells.joined(separator: "  ") + "\n"
    }.joined()
  }
}
