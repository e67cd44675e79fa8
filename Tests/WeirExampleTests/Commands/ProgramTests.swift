// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// What all programs do: faults, health, workers, service time, end.
@Suite(.timeLimit(.minutes(2)))
struct ProgramTests {
  @Test("faults are only there for who has the token, and not at all without one in the environment")
  func token() async throws {
    let program = try await RunningProgram(["web"])
    #expect(try await program.get("/faults").status == 404)
    #expect(try await program.get("/faults", fields: ["x-fault-token": "guess"]).status == 404)
    #expect(try await program.get("/faults", fields: ["x-fault-token": "test"]).text == "{}")
    let closed = try await RunningProgram(["web"], environment: ["WEIR_EXAMPLE_FAULTS": ""])
    #expect(try await closed.get("/faults", fields: ["x-fault-token": ""]).status == 404)
  }

  @Test("a fault of a wrong form is refused and changes nothing")
  func wrongFaults() async throws {
    let program = try await RunningProgram(["web"])
    for wrong in ["{\"statu\":500}", "{\"status\":99}", "{\"share\":2}", "{\"slow\":\"fast\"}", "[", "{\"slow\":2}"] {
      #expect(try await program.faults(wrong).status == 400, "\(wrong)")
    }
    #expect(try await program.get("/").status == 200)
  }

  @Test("a status, for all and for a share; health tells the truth unless told otherwise")
  func status() async throws {
    let program = try await RunningProgram(["web"])
    try await program.faults("{\"status\":500}")
    for _ in 0..<3 { #expect(try await program.get("/").status == 500) }
    #expect(try await program.get("/healthz").status == 200)
    try await program.faults("{\"status\":503,\"share\":0.5,\"health\":false}")
    var hit = 0
    for _ in 0..<100 where try await program.get("/").status == 503 { hit += 1 }
    // 100 draws of one half: 50 ± 4 standard errors of 5.
    #expect((30...70).contains(hit))
    #expect(try await program.get("/healthz").status == 503)
    try await program.faults("{}")
    #expect(try await program.get("/").status == 200)
    #expect(try await program.get("/healthz").status == 200)
  }

  @Test("slow takes at least so long; close ends the connection; hang hangs until it is changed")
  func slowCloseHang() async throws {
    let program = try await RunningProgram(["web"])
    let clock = ContinuousClock()
    try await program.faults("{\"slow\":\"300ms\"}")
    let took = try await clock.measure {
      let status = try await program.get("/").status
      #expect(status == 200)
    }
    #expect(took >= .milliseconds(300))
    try await program.faults("{\"close\":true}")
    await #expect(throws: (any Error).self) { try await program.get("/") }
    try await program.faults("{\"hang\":true}")
    let hanging = Task { try await program.get("/") }
    try await program.wait { $0.working == 1 }
    #expect(try await program.get("/healthz").status == 200)
    try await program.faults("{}")
    #expect(try await hanging.value.status == 200)
  }

  @Test("a request takes its service time, and those beyond the workers wait")
  func workers() async throws {
    let program = try await RunningProgram(["web", "--workers", "2", "--work-median", "50ms"])
    let clock = ContinuousClock()
    let took = try await clock.measure {
      try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<8 { group.addTask { try await program.get("/").status } }
        for try await status in group { #expect(status == 200) }
      }
    }
    // 8 requests of 50 ms by 2 workers.
    #expect(took >= .milliseconds(200))
  }

  @Test("what finds the queue full is answered 503")
  func fullQueue() async throws {
    let program = try await RunningProgram(["web", "--workers", "1", "--waiting-max", "0"])
    try await program.faults("{\"hang\":true}")
    let first = Task { try await program.get("/") }
    try await program.wait { $0.working == 1 }
    let second = try await program.get("/")
    #expect(second.status == 503 && second.field("retry-after") == "1")
    try await program.faults("{}")
    #expect(try await first.value.status == 200)
  }

  @Test("SIGTERM: what was begun is finished, nothing new is taken, the end is 0 and says so")
  func gracefulStop() async throws {
    let program = try await RunningProgram(["web"])
    try await program.faults("{\"slow\":\"2s\"}")
    let last = Task { try await program.get("/") }
    try await program.wait { $0.working == 1 }
    let clock = ContinuousClock()
    let began = clock.now
    program.signal(SIGTERM)
    #expect(try await last.value.status == 200)
    let end = try await program.waitForEnd()
    #expect(end.code == 0)
    #expect(end.lines.last?.event == "stopped" && end.lines.last?.abandoned == 0)
    // Five seconds by its own clock; the rest is a busy machine's.
    #expect(clock.now - began < .seconds(10))
    await #expect(throws: (any Error).self) { try await program.get("/healthz") }
  }

  @Test("SIGTERM with a request that hangs: the process is gone within 5 s, with 0, and counts what it left")
  func stopWithHanging() async throws {
    let program = try await RunningProgram(["web"])
    try await program.faults("{\"hang\":true}")
    let hanging = Task { try await program.get("/") }
    try await program.wait { $0.working == 1 }
    let clock = ContinuousClock()
    let began = clock.now
    program.signal(SIGTERM)
    let end = try await program.waitForEnd()
    #expect(end.code == 0)
    #expect(end.lines.last?.abandoned == 1)
    // Five seconds by its own clock; the rest is a busy machine's.
    #expect(clock.now - began < .seconds(10))
    await #expect(throws: (any Error).self) { try await hanging.value }
  }

  @Test("the page is whole, is kept by its tag, and allows nothing but itself")
  func page() async throws {
    let program = try await RunningProgram(["web"])
    let page = try await program.get("/")
    #expect(page.status == 200 && page.text.contains("<title>Notes</title>"))
    #expect(page.field("content-security-policy")?.contains("default-src 'none'") == true)
    #expect(page.field("cache-control") == "no-cache")
    let tag = try #require(page.field("etag"))
    #expect(try await program.get("/", fields: ["if-none-match": "\"other\", W/\(tag)"]).status == 304)
    #expect(try await program.get("/", fields: ["if-none-match": "\"other\""]).status == 200)
    let pattern = /(?:href|src)="(\/[^"#]+)"/
    let linked = Set(page.text.matches(of: pattern).map { String($0.1) })
    #expect(linked == ["/style.css", "/app.js", "/icon.svg"])
    for path in linked.union(["/api.js", "/view.js"]) {
      #expect(try await program.get(path).status == 200, "\(path)")
    }
    #expect(try await program.send("HEAD", "/").body.isEmpty)
  }

  @Test(
    "wrong use is a sentence and 2",
    arguments: [
      (["api", "--port", "0"], "no database"), (["web"], "no port"),
      (["api", "--port", "0", "--database", "postgres://x/y"], "neither a path nor a sqlite: URL"),
      (["api", "--port", "0", "--database", "/proc/none/notes.db"], "cannot open the database"),
      (["web", "--port", "0", "--work-median", "5ms", "--work-p99", "1ms"], "at least --work-median"),
      (["web", "--port", "99999"], "0 to 65535"),
      (["load", "--target", "ftp://x", "--path", "/", "--rate", "1"], "is not an address"),
      (["load", "--target", "http://127.0.0.1:1", "--mix", "/none.json"], "cannot read /none.json"),
    ])
  func wrongUse(arguments: [String], sentence: String) async throws {
    let end = try await run(arguments)
    #expect(end.code == 2)
    #expect(end.errors.contains(sentence), "\(end.errors)")
  }

  @Test("a taken port is said")
  func takenPort() async throws {
    let program = try await RunningProgram(["web"])
    let end = try await run(["web", "--port", "\(program.port)"])
    #expect(end.code == 2 && end.errors.contains("another program listens there"))
  }
}

extension RunningProgram {
  struct State: Decodable {
    var inside: Int
    var working: Int
    var waiting: Int
    var served: Int
  }

  /// Waits until the program is in a state, at most as long as the suite may take.
  func wait(until condition: (State) -> Bool) async throws {
    while !condition(try await get("/state", fields: ["x-fault-token": RunningProgram.faultToken]).json(State.self)) {
      await Task.yield()
    }
  }
}
