// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRDB

/// A note as callers see it.
struct Note: Codable, Sendable, Equatable {
  var id: Int64
  var text: String
  /// ISO 8601 with milliseconds, UTC.
  var createdAt: String

  init(row: Row) {
    id = row["id"]
    text = row["text"]
    let milliseconds: Int64 = row["created_at"]
    let date = Date(timeIntervalSince1970: Double(milliseconds) / 1000)
    createdAt = date.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
  }
}

/// The notes in SQLite: write-ahead log, many readers, one writer, an acknowledged note is on the disk.
///
/// Several instances open the same file at the same moment, so whatever changes its shape happens in one immediate
/// transaction that looks first, and what SQLite refuses because another is just doing it is tried again.
struct NoteStore: Sendable {
  /// The longest text of a note in bytes of UTF-8.
  static let textBytesMax = 65_536
  static let listMax = 200

  private let pool: DatabasePool
  private let searchesText: Bool

  /// Opens for reading and writing, and makes what is missing: folder, file, tables.
  static func open(path: String) async throws -> NoteStore {
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    // The switch of a new file to WAL takes a lock that the busy handler does not wait for: 50 tries in 5 s.
    var tries = 0
    while true {
      do {
        let pool = try DatabasePool(path: path, configuration: configuration(readonly: false))
        return NoteStore(pool: pool, searchesText: try makeTables(pool))
      } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY && tries < 50 {
        tries += 1
        try await Task.sleep(for: .milliseconds(100))
      }
    }
  }

  /// Opens what the API has made, for reading only.
  static func openReadOnly(path: String) throws -> NoteStore {
    let pool = try DatabasePool(path: path, configuration: configuration(readonly: true))
    let searchesText = try pool.read { db in try db.tableExists("notes_text") }
    return NoteStore(pool: pool, searchesText: searchesText)
  }

  private static func configuration(readonly: Bool) -> Configuration {
    var configuration = Configuration()
    configuration.readonly = readonly
    configuration.busyMode = .timeout(5)
    configuration.maximumReaderCount = 8
    configuration.prepareDatabase { db in
      // GRDB's default in WAL is NORMAL, which may lose acknowledged notes when the power goes.
      if !db.configuration.readonly { try db.execute(sql: "PRAGMA synchronous = FULL") }
    }
    return configuration
  }

  /// Makes the tables unless they are there; says whether SQLite's full-text search could be used.
  private static func makeTables(_ pool: DatabasePool) throws -> Bool {
    try pool.writeWithoutTransaction { db in
      var searchesText = false
      try db.inTransaction(.immediate) {
        try db.execute(
          sql: """
            CREATE TABLE IF NOT EXISTS notes (
              id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, created_at INTEGER NOT NULL)
            """)
        searchesText = try db.tableExists("notes_text")
        if !searchesText, try hasFTS5(db) {
          try db.execute(
            sql: """
              CREATE VIRTUAL TABLE notes_text USING fts5(
                text, content='notes', content_rowid='id', tokenize='unicode61 remove_diacritics 2');
              INSERT INTO notes_text(rowid, text) SELECT id, text FROM notes;
              CREATE TRIGGER notes_added AFTER INSERT ON notes BEGIN
                INSERT INTO notes_text(rowid, text) VALUES (new.id, new.text);
              END;
              """)
          searchesText = true
        }
        return .commit
      }
      return searchesText
    }
  }

  private static func hasFTS5(_ db: Database) throws -> Bool {
    try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'fts5')") ?? false
  }

  /// The newest notes first.
  func newest(limit: Int) async throws -> [Note] {
    try await pool.read { db in
      try Row.fetchAll(db, sql: "SELECT id, text, created_at FROM notes ORDER BY id DESC LIMIT ?", arguments: [limit])
        .map(Note.init)
    }
  }

  func note(id: Int64) async throws -> Note? {
    try await pool.read { db in
      try Row.fetchOne(db, sql: "SELECT id, text, created_at FROM notes WHERE id = ?", arguments: [id]).map(Note.init)
    }
  }

  func add(text: String) async throws -> Note {
    let milliseconds = Int64((Date().timeIntervalSince1970 * 1000).rounded())
    return try await pool.write { db in
      let row = try Row.fetchOne(
        db, sql: "INSERT INTO notes (text, created_at) VALUES (?, ?) RETURNING id, text, created_at",
        arguments: [text, milliseconds])
      guard let row else { throw DatabaseError(message: "the new note was not returned") }
      return Note(row: row)
    }
  }

  /// The newest notes in which every word of `query` begins a word (full text) or occurs (without FTS5).
  func search(_ query: String, limit: Int) async throws -> [Note] {
    let words = query.split(whereSeparator: \.isWhitespace).prefix(16).map(String.init)
    guard !words.isEmpty else { return [] }
    return try await pool.read { db in
      if searchesText {
        let pattern = words.map(NoteStore.quotedPrefix).joined(separator: " ")
        return try Row.fetchAll(
          db,
          sql: """
            SELECT id, text, created_at FROM notes
            WHERE id IN (SELECT rowid FROM notes_text WHERE notes_text MATCH ?) ORDER BY id DESC LIMIT ?
            """, arguments: [pattern, limit]
        ).map(Note.init)
      }
      let condition = words.map { _ in "text LIKE ? ESCAPE '\\'" }.joined(separator: " AND ")
      var arguments = StatementArguments(words.map(NoteStore.likePattern))
      arguments += [limit]
      return try Row.fetchAll(
        db, sql: "SELECT id, text, created_at FROM notes WHERE \(condition) ORDER BY id DESC LIMIT ?",
        arguments: arguments
      ).map(Note.init)
    }
  }

  /// Throws when the database cannot be read.
  func check() async throws {
    _ = try await pool.read { db in try Int.fetchOne(db, sql: "SELECT 1 FROM notes LIMIT 1") }
  }

  func close() throws { try pool.close() }

  /// An FTS5 string (doubled quotes, no operators) that matches at the beginning of words.
  static func quotedPrefix(_ word: String) -> String {
    "\"" + word.replacing("\"", with: "\"\"") + "\"*"
  }

  /// A LIKE pattern that takes `%` and `_` as they are.
  static func likePattern(_ word: String) -> String {
    "%" + word.replacing("\\", with: "\\\\").replacing("%", with: "\\%").replacing("_", with: "\\_") + "%"
  }
}
