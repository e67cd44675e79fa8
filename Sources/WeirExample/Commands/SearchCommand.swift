// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Hummingbird
import NIOCore
import Synchronization

/// `weir-example search`: finds notes.
struct SearchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "search", abstract: "Finds notes in the API's database, which it only reads.")

  @OptionGroup var program: ProgramOptions
  @OptionGroup var database: DatabaseOptions

  func run() async throws {
    let program = try Program(name: "search", options: program)
    let storeTime = try database.storeTime()
    let index = LateStore(path: try database.path())
    try await program.serve {
      guard let store = index.store() else { return "the database is not there yet" }
      try await store.check()
      return nil
    } routes: { router in
      router.get("/search") { request, context in
        guard let store = index.store() else {
          throw Problem(.serviceUnavailable, "the database is not there yet", fields: [.retryAfter: "1"])
        }
        context.spent.owe(program.draw(storeTime))
        let query = request.uri.queryParameters["q"].map(String.init) ?? ""
        return try json(try await store.search(query, limit: 50))
      }
    }
  }
}

/// A store that is opened when it is first there: `search` may be started before the API has made the database.
private final class LateStore: Sendable {
  private let path: String
  private let opened = Mutex<NoteStore?>(nil)

  init(path: String) { self.path = path }

  func store() -> NoteStore? {
    opened.withLock { opened in
      // Why it cannot be opened does not matter yet: it is tried again at the next request.
      if opened == nil { opened = try? NoteStore.openReadOnly(path: path) }
      return opened
    }
  }
}
