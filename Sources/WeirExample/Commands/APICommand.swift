// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// `weir-example api`: notes over HTTP.
struct APICommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "api", abstract: "Notes over HTTP, kept in SQLite; asks `search` through WEIR_URL.")

  @OptionGroup var program: ProgramOptions
  @OptionGroup var database: DatabaseOptions
  @Option(help: "The longest a search may take when the caller sets no deadline.")
  var searchTimeout = TimeLength(nanoseconds: 2_000_000_000)

  func run() async throws {
    let program = try Program(name: "api", options: program)
    let storeTime = try database.storeTime()
    let store = try await openStore(path: database.path())
    let search: SearchCalls
    do {
      search = try SearchCalls(
        base: ProcessInfo.processInfo.environment["WEIR_URL"], timeout: searchTimeout.nanoseconds)
    } catch let mistake as CallTarget.Mistake {
      throw Refusal("WEIR_URL: \(mistake.description)")
    }

    try await program.serve {
      try await store.check()
      return nil
    } routes: { router in
      router.get("/api/notes") { request, context in
        context.spent.owe(program.draw(storeTime))
        return try json(try await store.newest(limit: limit(of: request, default: 50)))
      }
      router.post("/api/notes") { request, context in
        context.spent.owe(program.draw(storeTime))
        let note = try await store.add(text: text(of: request))
        return try json(note, status: .created, headers: [.location: "/api/notes/\(note.id)"])
      }
      router.get("/api/notes/:id") { _, context in
        context.spent.owe(program.draw(storeTime))
        let id = context.parameters.get("id").flatMap(Int64.init)
        guard let id, let note = try await store.note(id: id) else { throw Problem(.notFound, "there is no such note") }
        return try json(note)
      }
      router.get("/api/search") { request, context in
        let query = request.uri.queryParameters["q"].map(String.init) ?? ""
        return await search.answer(query: query, for: request, spent: context.spent)
      }
    }
    try store.close()
  }

  private func openStore(path: String) async throws -> NoteStore {
    do {
      return try await NoteStore.open(path: path)
    } catch {
      throw Refusal("cannot open the database \(path): \(error.localizedDescription)")
    }
  }
}

/// `?limit=`, 1 … 200.
private func limit(of request: Request, default standard: Int) throws -> Int {
  guard let text = request.uri.queryParameters["limit"] else { return standard }
  guard let limit = Int(text), (1...NoteStore.listMax).contains(limit) else {
    throw Problem(.badRequest, "limit must be 1 to \(NoteStore.listMax)")
  }
  return limit
}

/// The text of a new note.
private func text(of request: Request) async throws -> String {
  struct NewNote: Decodable { var text: String }
  // A form of another site can post text/plain or a form, but not JSON without asking first.
  if let type = request.headers[.contentType], !type.lowercased().hasPrefix("application/json") {
    throw Problem(.unsupportedMediaType, "a note is posted as application/json")
  }
  // A byte of text is at most six in JSON (\u0000), and the rest of the object is small.
  let body = try await body(of: request, upTo: NoteStore.textBytesMax * 6 + 1024, what: "a note in JSON")
  let text = try decode(NewNote.self, from: body).text
  guard text.utf8.count <= NoteStore.textBytesMax else {
    throw Problem(.contentTooLarge, "the text of a note may be at most \(NoteStore.textBytesMax) bytes long")
  }
  guard text.contains(where: { !$0.isWhitespace }) else { throw Problem(.badRequest, "a note needs text") }
  return text
}
