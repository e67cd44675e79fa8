// SPDX-License-Identifier: Apache-2.0
internal import CWeirPostgres
internal import WeirBase
internal import WeirPlatform

/// An outbox in a PostgreSQL database, through PostgreSQL's own client library (libpq, found at run time).
///
/// It listens on the channel that has the table's name: a trigger that says `NOTIFY` on it wakes the relay at once, without one
/// the table is looked at every second. An advisory lock keeps a second relay of the same table away, be it another node's or
/// that of the plane which is about to retire.
package final class PostgresOutbox: OutboxSource {
  private let target: String
  private let database: String
  private let table: OutboxTable
  private let patience: Int64
  private var connection: OpaquePointer?
  /// What no sentence may say: the target, and the passwords in it.
  private var secrets: [String]

  /// How long the server may work on a command; a row is read and deleted in milliseconds, so it is in trouble by then.
  package static let patience: Int64 = 30_000_000_000

  /// - Parameters:
  ///   - target: a connection string or URL of libpq, which may hold a password and is never told.
  ///   - database: what it is called in sentences.
  ///   - patience: nanoseconds after which the server is told to give a command up, and, if it says nothing, is left.
  package init(
    target: String, database: String, table: OutboxTable, patience: Int64 = PostgresOutbox.patience
  ) {
    self.target = target
    self.database = database
    self.table = table
    self.patience = patience
    secrets = [target]
  }

  deinit { close() }

  package func read(
    limit: Int, without targets: [String], notRows: [Int64]
  ) throws(OutboxProblem) -> [OutboxRow] {
    let rows = try run(
      """
      SELECT o.id, o.target::text, o.key::text, o.type::text, o.headers::text, octet_length(o.body),
        to_char(o.created AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        CASE WHEN octet_length(o.body) <= \(OutboxTable.bodyBytesMax) THEN encode(o.body, 'hex') END
      FROM (
        SELECT id, sum(bytes) OVER (ORDER BY id) - bytes AS before FROM (
          SELECT id, least(octet_length(body), \(OutboxTable.bodyBytesMax)) AS bytes FROM \(table.quoted)
          WHERE NOT (coalesce(target::text, '') = ANY($1::text[])) AND NOT (id = ANY($2::bigint[]))
          ORDER BY id LIMIT \(limit)) AS next
      ) AS found JOIN \(table.quoted) AS o ON o.id = found.id
      WHERE found.before < \(OutboxTable.readBytesMax) ORDER BY o.id
      """, [PostgresOutbox.list(targets), PostgresOutbox.list(notRows.map(String.init))])
    return rows.map { row in
      OutboxRow(
        id: row[0].flatMap { Int64($0) } ?? 0, target: row[1] ?? "", key: row[2], type: row[3], headers: row[4],
        body: row[7].map(PostgresOutbox.bytes), bytes: row[5].flatMap { Int($0) } ?? 0, created: row[6] ?? "",
        flaw: row[5] == nil ? "it has no body" : nil)
    }
  }

  package func delete(_ ids: [Int64]) throws(OutboxProblem) {
    _ = try run(
      "DELETE FROM \(table.quoted) WHERE id = ANY($1::bigint[])", [PostgresOutbox.list(ids.map(String.init))])
  }

  package func count() throws(OutboxProblem) -> OutboxCounts {
    let rows = try run(
      """
      SELECT (SELECT count(*) FROM (SELECT 1 FROM \(table.quoted) LIMIT \(OutboxTable.countedMax + 1)) AS some),
        (SELECT extract(epoch FROM clock_timestamp() - created) FROM \(table.quoted) ORDER BY id LIMIT 1)
      """)
    var counts = OutboxCounts()
    counts.waiting = rows.first?[0].flatMap { Int($0) } ?? 0
    counts.oldest = rows.first?[1].flatMap { Double($0) }.map { max(0, $0) }
    return counts
  }

  package func wait(nanoseconds: Int64) throws(OutboxProblem) -> Bool {
    guard let connection, weir_pg_socket(connection) >= 0 else {
      SystemThread.pause(nanoseconds: min(nanoseconds, 100_000_000))
      return false
    }
    // What came along with an answer waits within the library, and not in the socket.
    if try isNotified(connection) { return true }
    var interests = [Poll.Interest(weir_pg_socket(connection))]
    _ = try? Poll.wait(&interests, nanoseconds: nanoseconds)
    guard interests[0].readable else { return false }
    return try isNotified(connection)
  }

  private func isNotified(_ connection: OpaquePointer) throws(OutboxProblem) -> Bool {
    switch weir_pg_notified(connection) {
    case 1: return true
    case 0: return false
    default:
      close()
      throw OutboxProblem("the connection to \(database) is lost")
    }
  }

  private func close() {
    if let connection { weir_pg_close(connection) }
    connection = nil
  }

  /// The rows of a command, as texts.
  private func run(_ command: String, _ parameters: [String] = []) throws(OutboxProblem) -> [[String?]] {
    try open()
    return try execute(command, parameters)
  }

  private func execute(_ command: String, _ parameters: [String] = []) throws(OutboxProblem) -> [[String?]] {
    guard let connection else { throw OutboxProblem("the connection to \(database) is lost") }
    let texts = parameters.map { Array($0.utf8CString) }
    let isSent = PostgresOutbox.pointers(texts) { weir_pg_send(connection, command, Int32(texts.count), $0) } == 1
    guard isSent else { throw failed(connection) }
    let until = SystemClock.now().advanced(by: patience + patience / 5)
    var results: [OpaquePointer] = []
    defer { for result in results { weir_pg_clear(result) } }
    repeat { try hear(connection, until) } while weir_pg_next(connection).map { results.append($0) } != nil
    guard let result = results.last else { throw failed(connection) }
    guard weir_pg_succeeded(result) == 1 else { throw failed(connection) }
    let width = Int(weir_pg_columns(result))
    return (0..<weir_pg_rows(result)).map { row in
      (0..<width).map { weir_pg_value(result, row, Int32($0)).map { String(cString: $0) } }
    }
  }

  /// Writes and reads until there is a result, or none is to come any more.
  ///
  /// The server's own limit is shorter: who gets here because of time has a server, or a network, that says nothing at all.
  private func hear(_ connection: OpaquePointer, _ until: Instant) throws(OutboxProblem) {
    while true {
      let left = weir_pg_flush(connection)
      let taken = left < 0 ? -1 : weir_pg_take(connection)
      if taken == 1 { return }
      if taken < 0 { throw failed(connection) }
      let now = SystemClock.now()
      if now >= until {
        close()
        throw OutboxProblem("\(database) does not answer")
      }
      var interests = [Poll.Interest(weir_pg_socket(connection), write: left > 0)]
      _ = try? Poll.wait(&interests, nanoseconds: until.since(now))
    }
  }

  private func failed(_ connection: OpaquePointer) -> OutboxProblem {
    let why = words(of: connection)
    // Also after an error of SQL: the table is looked at anew.
    close()
    return OutboxProblem("\(database) failed: \(why)")
  }

  /// What libpq says is wrong, without what is nobody's business.
  private func words(of connection: OpaquePointer) -> String {
    var words = String(cString: weir_pg_error(connection)).split(separator: "\n").joined(separator: " ")
    for secret in secrets where !secret.isEmpty { words = words.replacing(secret, with: "…") }
    return words
  }

  private func open() throws(OutboxProblem) {
    if connection != nil { return }
    guard weir_pg_is_there() == 1 else {
      throw OutboxProblem(
        "PostgreSQL's client library is not on this machine (libpq.so.5); install it: apt-get install libpq5")
    }
    // Of a text that is none libpq would say the whole; and take a word alone for a database's name.
    guard let options = weir_pg_parse(target) else {
      throw OutboxProblem("the connection of \(database) is no connection string and no URL of libpq")
    }
    var passwords: [String] = []
    while let secret = weir_pg_secret(options, Int32(passwords.count)) { passwords.append(String(cString: secret)) }
    weir_pg_forget(options)
    secrets = [target] + passwords
    guard let connection = weir_pg_connect(target) else { throw OutboxProblem("there is no memory") }
    self.connection = connection
    guard weir_pg_is_good(connection) == 1 else {
      let why = words(of: connection)
      close()
      throw OutboxProblem("\(database) cannot be reached: \(why)")
    }
    // Also when a pooler or a file of the server says otherwise. A lock of somebody's long transaction is not waited for.
    let milliseconds = max(1, patience / 1_000_000)
    _ = try execute("SET statement_timeout = \(milliseconds)")
    _ = try execute("SET lock_timeout = \(max(1, milliseconds / 3))")
    let columns = try execute(
      """
      SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
      WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
      """, [table.quoted])
    if let problem = table.problem(of: database, found: columns.compactMap { $0[0] }, create: table.postgres)
      ?? PostgresOutbox.types(columns, table, of: database)
    {
      close()
      throw problem
    }
    let held = try execute(
      "SELECT pg_try_advisory_lock(hashtextextended($1::regclass::oid::text, 1466526066))", [table.quoted])
    guard held.first?[0] == "t" else {
      close()
      throw OutboxProblem("another relay sends from \(table.name) of \(database): this one waits for its end")
    }
    let channel = table.name.split(separator: ".").last.map(String.init) ?? table.name
    _ = try execute("LISTEN \"\(channel)\"")
  }

  /// Types that nothing else will do for: ids are counted, bodies are bytes, points of time are written as one text.
  private static func types(_ columns: [[String?]], _ table: OutboxTable, of database: String) -> OutboxProblem? {
    let needed = [
      "id": ["bigint", "integer", "smallint"], "body": ["bytea"],
      "created": ["timestamp with time zone", "timestamp without time zone"],
    ]
    for column in columns {
      guard let name = column[0], let type = column[1], let good = needed[name], !good.contains(type) else { continue }
      return OutboxProblem(
        "the column \(name) of the table \(table.name) of \(database) is \(type), and must be \(good[0]); "
          + "an outbox looks like this:\n\(table.postgres)")
    }
    return nil
  }

  /// An array as PostgreSQL writes it.
  private static func list(_ items: [String]) -> String {
    let quoted = items.map { item in
      "\"" + String(item.flatMap { $0 == "\"" || $0 == "\\" ? ["\\", $0] : [$0] as [Character] }) + "\""
    }
    return "{" + quoted.joined(separator: ",") + "}"
  }

  private static func bytes(_ hex: String) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(hex.utf8.count / 2)
    var high: UInt8?
    for byte in hex.utf8 {
      let digit = byte < 0x3a ? byte &- 0x30 : byte &- 0x57
      if let first = high {
        out.append(first << 4 | digit)
        high = nil
      } else {
        high = digit
      }
    }
    return out
  }

  private static func pointers<Result>(
    _ texts: [[CChar]], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Result
  ) -> Result {
    func next(_ i: Int, _ found: [UnsafePointer<CChar>?]) -> Result {
      if i == texts.count { return found.withUnsafeBufferPointer { body($0.baseAddress) } }
      return texts[i].withUnsafeBufferPointer { next(i + 1, found + [$0.baseAddress]) }
    }
    return next(0, [])
  }
}
