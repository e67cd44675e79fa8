// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy

/// Copies of requests, on real sockets: they reach the mirror, and nobody notices.
@Suite("mirrors") struct MirrorTests {
  private func gateway(_ ports: [Int], share: Double = 1, atOnce: Int32 = 16) -> Setup {
    var policy = RoutePolicy(name: "api")
    policy.mirrorCompares = true
    var setup = Setup()
    setup.configure = { [policy] configuration in
      let call = configuration.plan.edges[0].call
      var copies = CallSettings()
      copies.timeout = .seconds(2)
      copies.attempt = .seconds(2)
      copies.retry.attempts = 1
      copies.breaks = false
      copies.queue.length = 0
      copies.atOnce = atOnce
      configuration.plan.services = ports.map { _ in .init(instances: 1) }
      configuration.plan.edges = [.init(service: 0, call: call), .init(service: 1, call: copies)]
      configuration.plan.routes[0].mirror = .init(edge: 1, share: MirrorShare(share: share, salt: 3))
      configuration.addresses = ports.map { [.tcp(host: "127.0.0.1", port: $0)] }
      configuration.routes = [policy]
    }
    return setup
  }

  private func report(_ server: ProxyServer) async throws -> MirrorReport {
    try #require(await server.reports()[0].mirrors[0])
  }

  @Test("a copy with its body and a mark reaches the mirror; equal answers are equal however they are framed")
  func copies() async throws {
    let given = try Backend(answering: { head, body, _ in
      Backend.ok(head.contains("Weir-Mirror") ? "no" : String(decoding: body, as: UTF8.self) + "-answer")
    })
    let mirror = try Backend { wire, backend in
      while let head = try wire.head() {
        let (body, _) = try wire.body(of: head, isAnswer: false)
        let text = head.contains("Weir-Mirror: yes\r\n") ? String(decoding: body, as: UTF8.self) + "-answer" : "no mark"
        backend.requests.add(1, ordering: .relaxed)
        try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n\(text.prefix(1))\r\n")
        try wire.send("\(String(text.utf8.count - 1, radix: 16))\r\n\(text.dropFirst())\r\n0\r\n\r\n")
      }
    }
    try await withProxy(to: [given.port], gateway([given.port, mirror.port])) { server, port in
      let client = try Wire(port: port)
      for number in 0..<10 {
        let body = "body \(number)"
        let answer = try client.ask(
          "POST /x HTTP/1.1\r\nHost: test.example\r\nWeir-Mirror: yes\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
        )
        #expect(answer.text == body + "-answer")
      }
      #expect(try client.get("/y").text == "-answer")
      try await eventually("all copies are answered") { try await report(server).compared == 11 }
      let found = try await report(server)
      #expect(found.count(.same) == 11 && found.skipped == 0 && found.examples.isEmpty)
      #expect(found.given.count == 11 && found.mirrored.count == 11)
      #expect(mirror.count == 11)
      let reports = await server.reports()
      #expect(reports[0].ledger.routes[0].requests == 11)
      #expect(reports[0].clients == 1)
    }
  }

  @Test("what differs is counted by how, with the last examples")
  func differences() async throws {
    let given = try Backend(answering: { _, _, _ in Backend.ok("one") })
    let mirror = try Backend { wire, _ in
      while let head = try wire.head() {
        let path = head.split(separator: " ")[1]
        if path.hasPrefix("/gone") { return }
        try wire.send(path.hasPrefix("/status") ? Backend.status(500) : Backend.ok("two"))
      }
    }
    try await withProxy(to: [given.port], gateway([given.port, mirror.port])) { server, port in
      let client = try Wire(port: port)
      for path in ["/status?token=secret", "/body", "/gone"] { #expect(try client.get(path).text == "one") }
      try await eventually("all copies are over") { try await report(server).compared == 3 }
      let found = try await report(server)
      #expect(found.count(.otherStatus) == 1 && found.count(.otherBody) == 1 && found.count(.unanswered) == 1)
      #expect(Set(found.examples.map(\.request)) == ["GET /status", "GET /body", "GET /gone"])
    }
  }

  @Test("a mirror that hangs, or is not there, delays nobody, and gets no more than so many at once")
  func hanging() async throws {
    let given = try Backend(answering: { _, _, _ in Backend.ok("one") })
    let gate = Gate()
    let mirror = try Backend { wire, _ in
      while try wire.head() != nil {
        gate.wait()
        try wire.send(Backend.ok("one"))
      }
    }
    try await withProxy(to: [given.port], gateway([given.port, mirror.port], atOnce: 2)) { server, port in
      let client = try Wire(port: port)
      let clock = ContinuousClock()
      let began = clock.now
      for _ in 0..<20 { #expect(try client.get("/").text == "one") }
      // The mirror waits for the test: whoever waited for it would wait for ever.
      #expect(clock.now - began < .seconds(10))
      #expect(mirror.connections.load(ordering: .relaxed) <= 2)
      try await eventually("what is too much is skipped") { try await report(server).skipped >= 18 }
      gate.open()
      try await eventually("the others are compared") {
        let found = try await report(server)
        return found.compared + found.skipped == 20
      }
    }
    try await withProxy(to: [given.port], gateway([given.port, 1])) { server, port in
      let client = try Wire(port: port)
      for _ in 0..<5 { #expect(try client.get("/").text == "one") }
      try await eventually("all are unanswered") { try await report(server).count(.unanswered) == 5 }
    }
  }

  @Test("a share of the requests is copied")
  func share() async throws {
    let given = try Backend(answering: { _, _, _ in Backend.ok("one") })
    let mirror = try Backend(answering: { _, _, _ in Backend.ok("one") })
    try await withProxy(to: [given.port], gateway([given.port, mirror.port], share: 0.25)) { server, port in
      let client = try Wire(port: port)
      for _ in 0..<400 { #expect(try client.get("/").status == 200) }
      try await eventually("copies are over") { try await Int(report(server).compared) == mirror.count }
      // 100 of 400 with a deviation of 8.7: five of them on each side.
      #expect((57...143).contains(mirror.count))
    }
  }
}
