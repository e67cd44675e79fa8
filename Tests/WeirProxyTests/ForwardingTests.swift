// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy

/// What goes through, on real sockets, against servers that do exactly what the test says.
@Suite struct ForwardingTests {
  static let request = "GET /a/b?c=d HTTP/1.1\r\nHost: test.example\r\nAccept: */*\r\n\r\n"

  @Test("a request goes on with its own fields, without hop-by-hop ones, with ours; the answer comes back")
  func plain() async throws {
    let backend = try Backend { wire, _ in
      while let head = try wire.head() { try wire.send(Backend.ok(head, "Weir-Inner: x\r\nKeep-Alive: 5\r\nA: b\r\n")) }
    }
    try await withProxy(to: [backend.port]) { server, port in
      let client = try Wire(port: port)
      let answer = try client.ask(
        "GET /a/b?c=d HTTP/1.1\r\nHost: test.example\r\nAccept: */*\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n"
          + "X-Forwarded-For: 6.6.6.6\r\nWeir-Deadline: 1\r\nTE: trailers\r\n\r\n")
      #expect(answer.status == 200)
      let seen = answer.text
      #expect(seen.hasPrefix("GET /a/b?c=d HTTP/1.1\r\nHost: test.example\r\nAccept: */*\r\n"))
      #expect(field("x-forwarded-for", of: seen) == "127.0.0.1")
      #expect(field("x-forwarded-proto", of: seen) == "http")
      #expect(field("x-forwarded-host", of: seen) == "test.example")
      #expect(field("weir-retries", of: seen) == "taken")
      #expect((field("weir-deadline", of: seen).flatMap(Int.init) ?? 0) > 4000)
      #expect(field("traceparent", of: seen)?.utf8.count == 55)
      #expect(!seen.contains("X-Hop") && !seen.contains("TE:") && !seen.lowercased().contains("connection"))
      #expect(answer["a"] == "b")
      #expect(answer["date"] != nil)
      #expect(answer["weir-inner"] == nil && answer["keep-alive"] == nil && answer["connection"] == nil)
      // The same connections are used again, on both sides.
      for _ in 0..<50 { #expect(try client.ask(Self.request).status == 200) }
      #expect(backend.connections.load(ordering: .relaxed) == 1)
      let reports = await server.reports()
      #expect(reports[0].ledger.edges[0].answered == 51)
      #expect(reports[0].records.count == 51)
      #expect(reports[0].access.first?.path == "/a/b")
      #expect(reports[0].access.map(\.tag) == reports[0].records.map(\.tag))
    }
  }

  /// The log had no line for a request that a later one had overtaken: its tag was given when it began.
  @Test("every request has its line of the access log, also one that others overtake")
  func overtaken() async throws {
    let gate = Gate()
    let backend = try Backend(answering: { head, _, _ in
      if head.contains("/slow") { gate.wait() }
      return Backend.ok()
    })
    try await withProxy(to: [backend.port]) { server, port in
      let slow = try Wire(port: port)
      try slow.send("GET /slow HTTP/1.1\r\nHost: test.example\r\n\r\n")
      try await eventually("the slow one is under way") { backend.count == 1 }
      let quick = try Wire(port: port)
      #expect(try quick.get("/quick").status == 200)
      // Nothing can be said of this one but who sent it.
      #expect(try Wire(port: port).ask("nonsense\r\n\r\n").status == 400)
      gate.open()
      #expect(try slow.answer().status == 200)
      let report = await server.reports()[0]
      #expect(report.finished.map(\.entry.path) == ["/quick", "", "/slow"])
      #expect(report.finished.map(\.record.status) == [200, 400, 200])
      #expect(report.finished.map(\.record) == report.records)
    }
  }

  @Test("a request that comes byte by byte is the same request", arguments: [1, 4])
  func splitHeads(_ loops: Int) async throws {
    let backend = try Backend(answering: { _, body, _ in Backend.ok("<" + String(decoding: body, as: UTF8.self) + ">") }
    )
    var setup = Setup()
    setup.loops = loops
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      let text = "POST /x HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5\r\n\r\nhello"
      for byte in text.utf8 { try client.send([byte]) }
      #expect(try client.answer().text == "<hello>")
    }
  }

  @Test("pipelined requests are answered in order, whatever they are")
  func pipelining() async throws {
    let backend = try Backend(answering: { head, body, _ in
      Backend.ok(String(head.split(separator: " ")[1]) + String(decoding: body, as: UTF8.self))
    })
    try await withProxy(to: [backend.port]) { _, port in
      let client = try Wire(port: port)
      let host = "Host: test.example\r\n"
      try client.send(
        "GET /1 HTTP/1.1\r\n\(host)\r\nPOST /2 HTTP/1.1\r\n\(host)Content-Length: 3\r\n\r\nabc"
          + "GET /3 HTTP/1.1\r\nHost: nobody.example\r\n\r\n"
          + "POST /4 HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\nGET /5 HTTP/1.1\r\n\(host)\r\n"
      )
      #expect(try client.answer().text == "/1")
      #expect(try client.answer().text == "/2abc")
      #expect(try client.answer().reason == "no-route")
      #expect(try client.answer().text == "/4de")
      #expect(try client.answer().text == "/5")
    }
  }

  @Test("chunks and trailers go through both ways as they are")
  func chunked() async throws {
    let backend = try Backend { wire, _ in
      while let head = try wire.head() {
        let (body, trailers) = try wire.body(of: head, isAnswer: false)
        let text = String(decoding: body, as: UTF8.self) + "|" + trailers.joined(separator: ",")
        try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\(String(text.utf8.count, radix: 16))\r\n")
        try wire.send("\(text)\r\n0\r\nX-Sum: 7\r\n\r\n")
      }
    }
    try await withProxy(to: [backend.port]) { _, port in
      let client = try Wire(port: port)
      for _ in 0..<3 {
        try client.send("POST / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhel")
        try client.send("lo\r\n1\r\n!\r\n0\r\nX-Check: 1\r\n\r\n")
        let answer = try client.answer()
        #expect(answer.text == "hello!|X-Check: 1")
        #expect(answer.trailers == ["X-Sum: 7"])
      }
      #expect(backend.connections.load(ordering: .relaxed) == 1)
    }
  }

  @Test("bodies of 1 MiB come through unchanged, by length and in chunks", arguments: [1, 4])
  func largeBodies(_ loops: Int) async throws {
    let backend = try Backend { wire, _ in
      while let head = try wire.head() {
        let (body, _) = try wire.body(of: head, isAnswer: false)
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(body.count)\r\n\r\n")
        try wire.send(body)
      }
    }
    var setup = Setup()
    setup.loops = loops
    try await withProxy(to: [backend.port], setup) { _, port in
      let body = (0..<(1 << 20)).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) }
      let client = try Wire(port: port)
      try client.send("POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: \(body.count)\r\n\r\n")
      try client.send(body)
      #expect(try client.answer().body == body)
      try client.send("POST / HTTP/1.1\r\nHost: test.example\r\nTransfer-Encoding: chunked\r\n\r\n")
      for start in stride(from: 0, to: body.count, by: 100_000) {
        let part = body[start..<min(body.count, start + 100_000)]
        try client.send("\(String(part.count, radix: 16))\r\n")
        try client.send(Array(part))
        try client.send("\r\n")
      }
      try client.send("0\r\n\r\n")
      #expect(try client.answer().body == body)
    }
  }

  @Test("a slow reader holds up its own server and nobody else, and still gets every byte")
  func slowReader() async throws {
    let size = 24 << 20
    // Its period is a prime: a byte that is lost, doubled or out of order shows.
    let pattern = (0..<65_521).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) }
    let isHeldUp = Mutex(false)
    let backend = try Backend { wire, _ in
      while let head = try wire.head() {
        if head.hasPrefix("GET /small") {
          try wire.send(Backend.ok())
          continue
        }
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
        try wire.socket.setNonblocking()
        var left = size
        while left > 0 {
          guard let count = try? wire.socket.write(pattern.dropFirst((size - left) % pattern.count).prefix(left)) else {
            isHeldUp.withLock { $0 = true }
            var room = [Poll.Interest(wire.socket.number, read: false, write: true)]
            try Poll.wait(&room, nanoseconds: 20_000_000_000)
            continue
          }
          left -= count
        }
        try wire.socket.setNonblocking(false)
      }
    }
    try await withProxy(to: [backend.port]) { _, port in
      let slow = try Wire(port: port)
      try slow.send("GET /large HTTP/1.1\r\nHost: test.example\r\n\r\n")
      try await eventually("the server is held up") { isHeldUp.withLock { $0 } }
      let other = try Wire(port: port)
      #expect(try other.get("/small").text == "ok")
      let body = try slow.answer().body
      #expect(body.count == size)
      for start in stride(from: 0, to: body.count, by: pattern.count) {
        let part = body[start..<min(body.count, start + pattern.count)]
        #expect(part.elementsEqual(pattern.prefix(part.count)), "from byte \(start) on")
      }
      // What has caught up is as before.
      #expect(try slow.get("/small").text == "ok")
    }
  }

  @Test("HEAD has a length and no body; 204 and 304 have none; interim answers are passed over")
  func withoutBody() async throws {
    let backend = try Backend(answering: { head, _, _ in
      let path = head.split(separator: " ")[1]
      if path == "/204" { return "HTTP/1.1 204 No Content\r\n\r\n" }
      if path == "/304" { return "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" }
      if path == "/103" { return "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + Backend.ok("late") }
      return head.hasPrefix("HEAD") ? "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" : Backend.ok()
    })
    try await withProxy(to: [backend.port]) { _, port in
      let client = try Wire(port: port)
      let answer = try client.ask("HEAD / HTTP/1.1\r\nHost: test.example\r\n\r\n", toHead: true)
      #expect(answer["content-length"] == "1000")
      #expect(try client.get("/204").status == 204)
      #expect(try client.get("/304").status == 304)
      #expect(try client.get("/103").text == "late")
      let refused = try client.ask("HEAD / HTTP/1.1\r\nHost: nobody.example\r\n\r\n", toHead: true)
      #expect(refused.reason == "no-route")
      #expect(try client.get("/").text == "ok")
    }
  }

  @Test("HTTP/1.0: kept only when asked for, no chunks, no Host needed by the callee's side")
  func http10() async throws {
    let backend = try Backend(answering: { head, _, _ in
      if head.contains("/chunked") {
        return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
      }
      return Backend.ok(field("host", of: head) ?? "none")
    })
    try await withProxy(to: [backend.port]) { _, port in
      let kept = try Wire(port: port)
      for _ in 0..<2 {
        let answer = try kept.ask("GET / HTTP/1.0\r\nHost: test.example\r\nConnection: keep-alive\r\n\r\n")
        #expect(answer.text == "test.example")
        #expect(answer["connection"] == "keep-alive")
      }
      let once = try Wire(port: port)
      try once.send("GET /chunked HTTP/1.0\r\nHost: test.example\r\n\r\n")
      let head = try once.head() ?? ""
      #expect(field("transfer-encoding", of: head) == nil)
      #expect(field("connection", of: head) == "close")
      #expect(String(decoding: try once.takeAll(), as: UTF8.self) == "hello!")
    }
  }

  @Test("an answer that ends with its connection becomes chunks; the client's connection stays")
  func untilClose() async throws {
    let backend = try Backend { wire, _ in
      guard try wire.head() != nil else { return }
      try wire.send("HTTP/1.0 200 OK\r\nA: b\r\n\r\nhello")
      try wire.send(" world")
    }
    try await withProxy(to: [backend.port]) { _, port in
      let client = try Wire(port: port)
      for _ in 0..<3 {
        let answer = try client.get()
        #expect(answer.head.hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(answer.text == "hello world")
      }
    }
  }

  @Test("Expect: 100-continue is answered by us, once there is somebody to take the body")
  func expectContinue() async throws {
    let backend = try Backend(answering: { head, body, _ in
      Backend.ok((field("expect", of: head) ?? "none") + String(decoding: body, as: UTF8.self))
    })
    try await withProxy(to: [backend.port]) { _, port in
      let client = try Wire(port: port)
      for _ in 0..<2 {
        try client.send(
          "POST / HTTP/1.1\r\nHost: test.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        #expect(try client.head() == "HTTP/1.1 100 Continue\r\n\r\n")
        try client.send("hello")
        #expect(try client.answer().text == "nonehello")
      }
      // Refused without it: the body need not come, and what follows could not be told apart.
      try client.send("POST / HTTP/1.1\r\nHost: nobody\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
      let refused = try client.answer()
      #expect(refused.reason == "no-route")
      #expect(refused["connection"] == "close")
    }
  }

  @Test("an answer before the request's end: what is left is read when it is little, else the connection ends")
  func earlyAnswer() async throws {
    let backend = try Backend { wire, _ in
      while let head = try wire.head() {
        if head.hasPrefix("POST") {
          try wire.send(Backend.status(413))
          _ = try? wire.takeAll()
          return
        }
        try wire.send(Backend.ok())
      }
    }
    try await withProxy(to: [backend.port]) { _, port in
      let small = try Wire(port: port)
      try small.send("POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 1000\r\n\r\nabc")
      #expect(try small.answer().status == 413)
      try small.send([UInt8](repeating: 120, count: 997))
      #expect(try small.get().text == "ok")

      let large = try Wire(port: port)
      try large.send("POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 5000000\r\n\r\nabc")
      let answer = try large.answer()
      #expect(answer.status == 413)
      #expect(answer["connection"] == "close")
      #expect(try large.ends())
    }
  }

  @Test("an answer that is cut shows as cut: the connection ends short of its length")
  func cutAnswer() async throws {
    let backend = try Backend { wire, _ in
      guard try wire.head() != nil else { return }
      try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + String(repeating: "x", count: 50))
    }
    try await withProxy(to: [backend.port]) { server, port in
      let client = try Wire(port: port)
      try client.send(Self.request)
      let head = try client.head() ?? ""
      #expect(field("content-length", of: head) == "100")
      #expect(try client.takeAll().count == 50)
      let report = await server.reports()[0]
      #expect(report.records.last?.reason == .answerCut)
    }
  }

  @Test("a client that has sent all and closes its side still gets its answer")
  func halfClosed() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.ok() })
    try await withProxy(to: [backend.port]) { _, port in
      let client = try Wire(port: port)
      try client.send(Self.request)
      client.finishSending()
      #expect(try client.answer().text == "ok")
      #expect(try client.ends())
    }
  }

  @Test("a client that goes away has its call cancelled")
  func callerGone() async throws {
    let isCancelled = Mutex(false)
    let hasBegun = Mutex(false)
    let backend = try Backend { wire, _ in
      guard try wire.head() != nil else { return }
      hasBegun.withLock { $0 = true }
      if try wire.ends() { isCancelled.withLock { $0 = true } }
    }
    try await withProxy(to: [backend.port]) { server, port in
      do {
        let client = try Wire(port: port)
        // More than is read ahead stays unread, so that closing resets the connection.
        try client.send(Self.request)
        try await eventually("the request is there") { hasBegun.withLock { $0 } }
        client.reset()
      }
      try await eventually("the call is cancelled") { isCancelled.withLock { $0 } }
      try await eventually("it is recorded") {
        await server.reports()[0].ledger.routeReason(0, .callerGone) == 1
      }
    }
  }

  @Test("trusted proxies are believed, and the chain grows")
  func trusted() async throws {
    let backend = try Backend(answering: { head, _, _ in Backend.ok(head) })
    var setup = Setup()
    setup.configure = { $0.trusted = [AddressRange("127.0.0.0/8")].compactMap { $0 } }
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      let seen = try client.get(
        "/", "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=9.9.9.9\r\n"
      ).text
      #expect(field("x-forwarded-for", of: seen) == "9.9.9.9, 127.0.0.1")
      #expect(field("x-forwarded-proto", of: seen) == "https")
      #expect(field("forwarded", of: seen) == "for=9.9.9.9, for=127.0.0.1;proto=http;host=\"test.example\"")
    }
  }

  @Test("a trace goes on under a span of ours")
  func traces() async throws {
    let backend = try Backend(answering: { head, _, _ in Backend.ok(head) })
    try await withProxy(to: [backend.port]) { _, port in
      let client = try Wire(port: port)
      let id = "0af7651916cd43dd8448eb211c80319c"
      let seen = try client.get("/", "traceparent: 00-\(id)-b7ad6b7169203331-01\r\ntracestate: a=b\r\n").text
      let given = field("traceparent", of: seen) ?? ""
      #expect(given.hasPrefix("00-\(id)-") && given.hasSuffix("-01") && !given.contains("b7ad6b7169203331"))
      #expect(field("tracestate", of: seen) == "a=b")
    }
  }
}
