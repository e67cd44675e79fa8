// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import GRDB
import HTTPTypes
import Hummingbird
import NIOCore

/// A program's own data in SQLite, and what it has answered under which `Idempotency-Key`.
///
/// The effect of a request and the answer to it are written in one transaction. So whoever asks again, because the
/// answer was lost or this program was killed between the two, is answered the same, and nothing is done twice.
struct ShopStore: Sendable {
  private let pool: DatabasePool

  /// What is done once: the status and the JSON that are answered now and whenever the key comes again.
  struct Effect: Sendable, Equatable {
    var status: HTTPResponse.Status
    var json: String

    static func done(_ json: String = "{}") -> Effect { Effect(status: .ok, json: json) }

    /// The answer no: who asked will not be done this, now or later.
    static func refused(_ status: HTTPResponse.Status, _ detail: String) -> Effect {
      Effect(
        status: status,
        json: "{\"type\":\"about:blank\",\"title\":\(LogLine.quoted(status.reasonPhrase)),"
          + "\"status\":\(status.code),\"detail\":\(LogLine.quoted(detail))}")
    }

    var response: Response {
      let isProblem = status.kind == .clientError
      return Response(
        status: status,
        headers: [
          .contentType: isProblem ? "application/problem+json" : "application/json", .cacheControl: "no-store",
        ],
        body: ResponseBody(byteBuffer: ByteBuffer(string: json)))
    }
  }

  /// Opens, and makes what is missing: folder, file, tables, first rows.
  static func open(_ options: ShopDatabaseOptions, variable: String, tables: String) async throws -> ShopStore {
    let path = try options.path(variable: variable)
    do {
      let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      // The switch of a new file to WAL takes a lock that the busy handler does not wait for: 50 tries in 5 s.
      var tries = 0
      while true {
        do {
          return try make(path, tables)
        } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY && tries < 50 {
          tries += 1
          try await Task.sleep(for: .milliseconds(100))
        }
      }
    } catch {
      throw Refusal("cannot open the database \(path): \(error.localizedDescription)")
    }
  }

  private static func make(_ path: String, _ tables: String) throws -> ShopStore {
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    configuration.maximumReaderCount = 4
    configuration.prepareDatabase { db in
      // GRDB's default in WAL is NORMAL, which may lose what was answered when the power goes.
      try db.execute(sql: "PRAGMA synchronous = FULL")
    }
    let pool = try DatabasePool(path: path, configuration: configuration)
    try pool.writeWithoutTransaction { db in
      try db.inTransaction(.immediate) {
        try db.execute(
          sql: """
            CREATE TABLE IF NOT EXISTS answers (
              key TEXT PRIMARY KEY, status INTEGER NOT NULL, json TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
            """)
        // Nobody asks again after so long.
        try db.execute(sql: "DELETE FROM answers WHERE at < unixepoch() - 90 * 86400")
        try db.execute(sql: tables)
        return .commit
      }
    }
    return ShopStore(pool: pool)
  }

  func read<Value: Sendable>(_ body: @Sendable (Database) throws -> Value) async throws -> Value {
    try await pool.read(body)
  }

  func write<Value: Sendable>(_ body: @Sendable (Database) throws -> Value) async throws -> Value {
    try await pool.write(body)
  }

  /// Does it, unless it was done under this request's key; either way the answer.
  func once(_ request: Request, _ body: @Sendable (Database) throws -> Effect) async throws -> Response {
    guard let key = request.headers[.idempotencyKey], (1...256).contains(key.utf8.count) else {
      throw Problem(.badRequest, "without an Idempotency-Key it could be done twice")
    }
    return try await pool.write { db in
      if let known = try Row.fetchOne(db, sql: "SELECT status, json FROM answers WHERE key = ?", arguments: [key]) {
        return Effect(status: .init(code: known["status"]), json: known["json"])
      }
      let effect = try body(db)
      try db.execute(
        sql: "INSERT INTO answers (key, status, json, at) VALUES (?, ?, ?, unixepoch())",
        arguments: [key, effect.status.code, effect.json])
      return effect
    }.response
  }

  /// Throws when the database cannot be read.
  func check() async throws { _ = try await pool.read { db in try Int.fetchOne(db, sql: "SELECT 1") } }

  func close() throws { try pool.close() }
}

/// Where a program of the shop keeps its data.
struct ShopDatabaseOptions: ParsableArguments {
  @Option(help: "The SQLite database, a path or a sqlite: URL. Default: the program's …_DB_URL in the environment.")
  var database: String?

  func path(variable: String) throws -> String {
    guard let text = database ?? ProcessInfo.processInfo.environment[variable] else {
      throw Refusal("no database: give --database or set \(variable)")
    }
    guard let path = DatabaseLocation.path(of: text) else {
      throw Refusal("'\(text)' is neither a path nor a sqlite: URL")
    }
    return path
  }
}
