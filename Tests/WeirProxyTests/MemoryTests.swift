// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// `gateway.memory` on sockets; what the process holds is said by the test.
@Suite struct MemoryTests {
  /// Bytes, as the proxy is told.
  private final class Held: Sendable {
    private let bytes = Atomic<Int>(0)
    var now: Int {
      get { bytes.load(ordering: .relaxed) }
      set { bytes.store(newValue, ordering: .relaxed) }
    }
  }

  private func setup(_ held: Held, loops: Int) -> Setup {
    var setup = Setup()
    setup.loops = loops
    setup.configure = {
      $0.memory = MemoryBound.Settings(limit: 1000)
      $0.heldMemory = { held.now }
    }
    return setup
  }

  /// Until each loop has done what the level asks for: it is told after the level is known, in the order of its work.
  private func enter(_ level: MemoryBound.Level, _ server: ProxyServer) async throws {
    try await eventually("the level is \(level)") { server.memory.bound?.level == level }
    _ = await server.reports()
    _ = await server.reports()
  }

  @Test(
    "near the bound bodies and connections wait, at it requests are refused; afterwards all go on", arguments: [1, 4])
  func bound(_ loops: Int) async throws {
    // Counts a request when its head is there.
    let backend = try Backend { wire, backend in
      while let head = try wire.head() {
        backend.requests.add(1, ordering: .relaxed)
        let (body, _) = try wire.body(of: head, isAnswer: false)
        try wire.send(Backend.ok("\(body.count)"))
      }
    }
    let held = Held()
    try await withProxy(to: [backend.port], setup(held, loops: loops)) { server, port in
      let kept = try Wire(port: port)
      #expect(try kept.get().status == 200)
      let upload = try Wire(port: port)
      let body = String(repeating: "x", count: 20_000)
      try upload.send("POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 40000\r\n\r\n\(body)")
      try await eventually("the upload has begun") { backend.count == 2 }

      held.now = 900
      try await enter(.pausing, server)
      let waiting = try Wire(port: port)
      try waiting.send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n")
      try upload.send(body)
      // Whoever is there already and sends no body does not notice.
      for _ in 0..<20 { #expect(try kept.get().status == 200) }
      #expect(await server.reports().reduce(0) { $0 + $1.clients } == 2)

      held.now = 960
      try await enter(.refusing, server)
      let refused = try kept.get()
      #expect(refused.status == 503 && refused.reason == "overloaded" && refused["retry-after"] == "1")

      held.now = 100
      #expect(try waiting.answer().status == 200)
      #expect(try upload.answer().text == "40000")
      #expect(try kept.get().status == 200)
      let memory = server.memory
      #expect(memory.pauses == 1 && memory.refusals == 1)
    }
  }

  @Test("a body that waits for longer than a body may is refused and gives back what it holds")
  func refusedBody() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    let held = Held()
    var setup = setup(held, loops: 1)
    let configure = setup.configure
    setup.configure = {
      configure(&$0)
      $0.limits.bodyIdle = .milliseconds(300)
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let kept = try Wire(port: port)
      #expect(try kept.get().status == 200)
      held.now = 900
      try await enter(.pausing, server)
      try kept.send("POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 40000\r\n\r\nbegin")
      let answer = try kept.answer()
      #expect(answer.status == 503 && answer.reason == "overloaded")
    }
  }

  @Test("without a bound nobody looks")
  func unbound() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    var setup = Setup()
    setup.configure = { $0.heldMemory = { .max } }
    try await withProxy(to: [backend.port], setup) { server, port in
      let answer = try Wire(port: port).get()
      #expect(answer.status == 200)
      #expect(server.memory.bound == nil)
    }
  }
}
