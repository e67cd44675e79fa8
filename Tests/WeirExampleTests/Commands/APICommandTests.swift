// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// The API and the search as processes: what callers get, also when they or the world do wrong.
@Suite(.timeLimit(.minutes(2)))
struct APICommandTests {
  private func api(_ folder: Folder, _ more: [String] = [], environment: [String: String] = [:]) async throws
    -> RunningProgram
  {
    try await RunningProgram(["api", "--database", folder.path("notes.db")] + more, environment: environment)
  }

  @Test("a note is created with its place, read by id, and listed newest first")
  func notes() async throws {
    let folder = try Folder()
    let api = try await api(folder)
    for text in ["first", "zweite „Notiz“ \\\"x\\\" 100%"] {
      let created = try await api.post("/api/notes", json: "{\"text\":\"\(text)\"}")
      #expect(created.status == 201)
      let place = try #require(created.field("location"))
      #expect(try await api.get(place).json(NoteAnswer.self) == created.json(NoteAnswer.self))
    }
    let list = try await api.get("/api/notes").json([NoteAnswer].self)
    #expect(list.map(\.text) == ["zweite „Notiz“ \"x\" 100%", "first"])
    #expect(try await api.get("/api/notes?limit=1").json([NoteAnswer].self).count == 1)
  }

  @Test(
    "what is wrong with a request is said as a problem",
    arguments: [
      ("GET", "/api/notes?limit=0", "", 400), ("GET", "/api/notes?limit=201", "", 400),
      ("GET", "/api/notes/7", "", 404), ("GET", "/api/notes/x", "", 404), ("GET", "/nothing", "", 404),
      ("POST", "/api/notes", "{\"text\":", 400), ("POST", "/api/notes", "{\"text\":1}", 400),
      ("POST", "/api/notes", "{}", 400), ("POST", "/api/notes", "{\"text\":\" \\n\"}", 400),
    ])
  func problems(method: String, path: String, body: String, status: Int) async throws {
    let folder = try Folder()
    let api = try await api(folder)
    let answer = try await api.send(
      method, path, body: body.isEmpty ? nil : Data(body.utf8),
      fields: body.isEmpty ? [:] : ["content-type": "application/json"])
    #expect(answer.status == status)
    #expect(answer.field("content-type") == "application/problem+json")
    let problem = try answer.json(ProblemAnswer.self)
    #expect(problem.status == status && !problem.detail.isEmpty)
  }

  @Test("a text of 64 KiB is taken, one byte more is 413, a form of another site is 415")
  func sizes() async throws {
    let folder = try Folder()
    let api = try await api(folder)
    func status(_ count: Int) async throws -> Int {
      try await api.post("/api/notes", json: "{\"text\":\"\(String(repeating: "a", count: count))\"}").status
    }
    #expect(try await status(65_536) == 201)
    #expect(try await status(65_537) == 413)
    #expect(try await status(500_000) == 413)
    #expect(try await api.post("/api/notes", json: "{\"text\":\"x\"}", type: "text/plain").status == 415)
  }

  @Test("notes are there after a polite stop and after kill -9")
  func persistence() async throws {
    let folder = try Folder()
    let first = try await api(folder)
    #expect(try await first.post("/api/notes", json: "{\"text\":\"one\"}").status == 201)
    #expect(try await first.stop().code == 0)
    let second = try await api(folder)
    #expect(try await second.post("/api/notes", json: "{\"text\":\"two\"}").status == 201)
    second.signal(SIGKILL)
    _ = try await second.waitForEnd()
    let third = try await api(folder)
    #expect(try await third.get("/api/notes").json([NoteAnswer].self).map(\.text) == ["two", "one"])
  }

  @Test("several instances make one new database together, and see each other's notes")
  func instances() async throws {
    let folder = try Folder()
    let path = folder.path("notes.db")
    let instances = try await withThrowingTaskGroup(of: RunningProgram.self) { group in
      for _ in 0..<4 {
        group.addTask { try await RunningProgram(["api"], environment: ["NOTES_DB_URL": "sqlite://\(path)"]) }
      }
      var all: [RunningProgram] = []
      for try await instance in group { all.append(instance) }
      return all
    }
    for instance in instances {
      #expect(try await instance.post("/api/notes", json: "{\"text\":\"from \(instance.port)\"}").status == 201)
    }
    for instance in instances {
      #expect(try await instance.get("/api/notes").json([NoteAnswer].self).count == 4)
    }
  }

  @Test("search finds words by their beginning, and takes every character as it is")
  func search() async throws {
    let folder = try Folder()
    let api = try await api(folder)
    for text in ["Brezeln kaufen", "100% sure_thing", "say \\\"hello\\\" AND go", "Größe (XL) -42*"] {
      #expect(try await api.post("/api/notes", json: "{\"text\":\"\(text)\"}").status == 201)
    }
    // The API may be gone: search reads the file, and is only ready once there is one.
    #expect(try await api.stop().code == 0)
    let search = try await RunningProgram(["search", "--database", folder.path("notes.db")])
    func found(_ query: String) async throws -> [String] {
      try await search.get("/search?q=\(query)").json([NoteAnswer].self).map(\.text)
    }
    #expect(try await found("bre") == ["Brezeln kaufen"])
    #expect(try await found("kaufen%20brez") == ["Brezeln kaufen"])
    #expect(try await found("ezeln") == [])
    #expect(try await found("100%25") == ["100% sure_thing"])
    #expect(try await found("%22hello%22%20AND") == ["say \"hello\" AND go"])
    #expect(try await found("grosse%20OR") == [])
    #expect(try await found("gro%CC%88%C3%9Fe") == ["Größe (XL) -42*"])
    #expect(try await found("(xl)%20-42*") == ["Größe (XL) -42*"])
    #expect(try await found("%20") == [])
    #expect(try await search.get("/healthz").status == 200)
  }

  @Test("search before there is a database is not ready, and says so")
  func searchTooEarly() async throws {
    let folder = try Folder()
    let search = try await RunningProgram(["search", "--database", folder.path("notes.db")])
    #expect(try await search.get("/healthz").status == 503)
    #expect(try await search.get("/search?q=x").status == 503)
    let api = try await api(folder)
    #expect(try await api.post("/api/notes", json: "{\"text\":\"now\"}").status == 201)
    #expect(try await search.get("/healthz").status == 200)
    #expect(try await search.get("/search?q=now").json([NoteAnswer].self).count == 1)
  }

  /// `web` stands for Weir's listener: it knows no `/call/search/search`, and so answers an error.
  @Test("the API's search degrades to an empty list that says so: no address, nobody there, an error, too late")
  func degradedSearch() async throws {
    let folder = try Folder()
    let faulty = try await RunningProgram(["web"])
    let addresses: [[String: String]] = [
      [:], ["WEIR_URL": ""], ["WEIR_URL": "http://127.0.0.1:1"], ["WEIR_URL": faulty.url],
    ]
    for environment in addresses {
      let api = try await api(folder, environment: environment)
      let answer = try await api.get("/api/search?q=x")
      #expect(answer.status == 200 && answer.text == "[]")
      #expect(answer.field("x-degraded") == "search")
    }
    try await faulty.faults("{\"hang\":true}")
    let api = try await api(folder, environment: ["WEIR_URL": faulty.url])
    let answer = try await api.get("/api/search?q=x", fields: ["weir-deadline": "100"])
    #expect(answer.status == 200 && answer.field("x-degraded") == "search")
    try await faulty.faults("{}")
  }

  @Test("a search is asked of Weir by name, with the caller's trace")
  func searchCall() async throws {
    let folder = try Folder()
    let listener = try await RunningProgram(["web", "--log-requests"])
    let api = try await api(folder, environment: ["WEIR_URL": listener.url + "/"])
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    _ = try await api.get("/api/search?q=a%20%26%C3%B6%2B", fields: ["traceparent": trace])
    let asked = try await listener.stop().lines.first { $0.event == "request" }
    #expect(asked?.path == "/call/search/search?q=a%20%26%C3%B6%2B")
    #expect(asked?.traceparent == trace)
  }
}
