// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy

/// WebSockets through the proxy, on real sockets, frame by frame.
@Suite struct WebSocketProxyTests {
  static let handshake =
    "GET /live HTTP/1.1\r\nHost: test.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
  static let agreed =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

  /// A frame; a client's is masked.
  static func frame(_ opcode: UInt8, _ payload: [UInt8], masked: Bool, last: Bool = true) -> [UInt8] {
    var bytes: [UInt8] = [(last ? 0x80 : 0) | opcode]
    let bit: UInt8 = masked ? 0x80 : 0
    if payload.count < 126 {
      bytes.append(bit | UInt8(payload.count))
    } else if payload.count < 65_536 {
      bytes += [bit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
    } else {
      bytes.append(bit | 127)
      for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(payload.count >> shift & 255)) }
    }
    let mask: [UInt8] = [1, 2, 3, 4]
    if masked { bytes += mask }
    return bytes + payload.enumerated().map { masked ? $0.element ^ mask[$0.offset & 3] : $0.element }
  }

  static func close(_ code: UInt16, masked: Bool) -> [UInt8] {
    frame(8, [UInt8(code >> 8), UInt8(code & 255)], masked: masked)
  }

  /// The next frame.
  static func read(_ wire: Wire) throws -> (opcode: UInt8, payload: [UInt8], isLast: Bool) {
    let head = try wire.take(2)
    var length = Int(head[1] & 0x7f)
    if length == 126 { length = try wire.take(2).reduce(0) { $0 << 8 | Int($1) } }
    if length == 127 { length = try wire.take(8).reduce(0) { $0 << 8 | Int($1) } }
    let mask = head[1] & 0x80 != 0 ? try wire.take(4) : [0, 0, 0, 0]
    let payload = try wire.take(length).enumerated().map { $0.element ^ mask[$0.offset & 3] }
    return (head[0] & 15, payload, head[0] & 0x80 != 0)
  }

  static func code(_ payload: [UInt8]) -> Int { payload.count < 2 ? 1005 : Int(payload[0]) << 8 | Int(payload[1]) }

  /// What a service saw of its tunnels' ends: close codes, 0 for a connection that just ended.
  final class Seen: Sendable {
    let codes = Mutex<[Int]>([])
    let heads = Mutex<[String]>([])
  }

  /// Echoes messages; answers a close with the same code.
  static func echo(_ seen: Seen = Seen(), greeting: [UInt8] = []) throws -> Backend {
    try Backend { wire, backend in
      guard let head = try wire.head() else { return }
      seen.heads.withLock { $0.append(head) }
      backend.requests.add(1, ordering: .relaxed)
      try wire.send(Array(agreed.utf8) + greeting)
      do {
        while true {
          let (opcode, payload, isLast) = try read(wire)
          if opcode == 8 {
            seen.codes.withLock { $0.append(code(payload)) }
            // Whoever closes may have gone by now.
            try? wire.send(frame(8, payload, masked: false))
            return
          }
          try wire.send(frame(opcode == 9 ? 10 : opcode, payload, masked: false, last: isLast))
        }
      } catch {
        seen.codes.withLock { $0.append(0) }
        throw error
      }
    }
  }

  static func setup(_ change: (inout TunnelWatch.Settings) -> Void = { _ in }) -> Setup {
    var setup = Setup()
    var settings = TunnelWatch.Settings()
    change(&settings)
    setup.route.webSocket = settings
    return setup
  }

  static func open(_ port: Int) throws -> Wire {
    let wire = try Wire(port: port)
    try wire.send(handshake)
    let head = try #require(try wire.head())
    #expect(head.hasPrefix("HTTP/1.1 101 "))
    #expect(field("upgrade", of: head) == "websocket")
    #expect(field("connection", of: head)?.lowercased() == "upgrade")
    #expect(field("sec-websocket-accept", of: head) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    return wire
  }

  /// The answer to a request on a connection of its own.
  static func ask(_ port: Int, _ text: String) throws -> Answer { try Wire(port: port).ask(text) }

  /// The only record of the proxy, once it is there.
  static func record(_ server: ProxyServer) async throws -> (RequestRecord, AccessEntry)? {
    var found: (RequestRecord, AccessEntry)?
    try await eventually("a record") {
      for report in await server.reports() {
        if let record = report.records.first, let entry = report.access.first { found = (record, entry) }
      }
      return found != nil
    }
    return found
  }

  @Test("messages of all sizes pass both ways; the close handshake ends it; one record says what passed")
  func passes() async throws {
    let seen = Seen()
    let backend = try Self.echo(seen, greeting: Self.frame(1, Array("hello".utf8), masked: false))
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wire = try Self.open(port)
      // Sent right behind the 101, in one piece with it or not.
      #expect(try Self.read(wire).payload == Array("hello".utf8))
      for size in [0, 1, 125, 126, 65_535, 65_536, 300_000] {
        let payload = (0..<size).map { UInt8($0 & 255) }
        try wire.send(Self.frame(2, payload, masked: true))
        let (opcode, back, _) = try Self.read(wire)
        #expect(opcode == 2 && back == payload)
      }
      try wire.send(Self.frame(9, [7], masked: true))
      #expect(try Self.read(wire).opcode == 10)
      let reports = await server.reports()
      // The call is over with the 101: a tunnel holds no place.
      #expect(reports[0].ledger.edges[0].answered == 1)
      #expect(reports[0].tunnels[0].open == 1)
      #expect(reports[0].tunnels[0].messagesIn == 7 && reports[0].tunnels[0].messagesOut == 8)
      try wire.send(Self.close(1000, masked: true))
      let (opcode, payload, _) = try Self.read(wire)
      #expect(opcode == 8 && Self.code(payload) == 1000)
      #expect(try wire.ends())
      let (record, entry) = try #require(try await Self.record(server))
      #expect(record.status == 101 && record.reason == .none)
      #expect(entry.path == "/live" && entry.bytesIn > 431_000 && entry.bytesOut > 431_000)
      #expect(await server.reports()[0].tunnels[0].open == 0)
      // No latency: the tunnel lasted as long as its client liked.
      #expect(await server.reports()[0].ledger.routeLatencies[0].count == 0)
      let head = try #require(seen.heads.withLock { $0.first })
      #expect(head.contains("Connection: Upgrade\r\nUpgrade: websocket\r\n"))
      #expect(field("x-forwarded-for", of: head) == "127.0.0.1")
      try await eventually("the service hears of it") { seen.codes.withLock { $0 } == [1000] }
    }
  }

  @Test("frames that come byte by byte are the same frames")
  func splits() async throws {
    let backend = try Self.echo()
    try await withProxy(to: [backend.port], Self.setup()) { _, port in
      let wire = try Self.open(port)
      let bytes =
        Self.frame(1, Array("he".utf8), masked: true, last: false) + Self.frame(9, [1], masked: true)
        + Self.frame(0, Array("y".utf8), masked: true)
      for byte in bytes { try wire.send([byte]) }
      #expect(try Self.read(wire).payload == Array("he".utf8))
      #expect(try Self.read(wire).payload == [1])
      #expect(try Self.read(wire).payload == Array("y".utf8))
    }
  }

  static let broken: [([UInt8], Int, Int, String)] = [
    (frame(1, [1], masked: false), 1002, 1001, "bad-request"),
    (frame(3, [], masked: true), 1002, 1001, "bad-request"),
    ([0xc1, 0x80, 1, 2, 3, 4], 1002, 1001, "bad-request"),
    (frame(9, Array(repeating: 0, count: 126), masked: true), 1002, 1001, "bad-request"),
    (frame(0, [1], masked: true), 1002, 1001, "bad-request"),
    (frame(8, [3], masked: true), 1002, 1001, "bad-request"),
    (frame(2, Array(repeating: 0, count: 101), masked: true), 1009, 1001, "body-too-large"),
    (
      frame(2, Array(repeating: 0, count: 60), masked: true, last: false)
        + frame(0, Array(repeating: 0, count: 60), masked: true), 1009, 1001, "body-too-large"
    ),
  ]

  @Test("a client that breaks the protocol is told so, and the service that it is gone", arguments: broken)
  func breaks(_ bytes: [UInt8], _ toClient: Int, _ toServer: Int, _ reason: String) async throws {
    let seen = Seen()
    let backend = try Self.echo(seen)
    try await withProxy(to: [backend.port], Self.setup { $0.messageBytes = 100 }) { server, port in
      let wire = try Self.open(port)
      try wire.send(Self.frame(1, [65], masked: true) + bytes)
      var last = try Self.read(wire)
      while last.opcode != 8 { last = try Self.read(wire) }
      #expect(Self.code(last.payload) == toClient)
      #expect(try wire.ends())
      let (record, _) = try #require(try await Self.record(server))
      #expect("\(record.reason.name)" == reason)
      // Within a message of which the first frame has gone on the close frame comes all the same: between frames it may.
      try await eventually("the service hears of it") { seen.codes.withLock { $0 } == [toServer] }
    }
  }

  @Test("a service that breaks the protocol is told so, and the client that it is an error behind us")
  func serverBreaks() async throws {
    let seen = Seen()
    let backend = try Self.echo(seen, greeting: Self.frame(1, [1], masked: true))
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wire = try Self.open(port)
      #expect(try Self.code(Self.read(wire).payload) == 1011)
      try wire.send(Self.close(1011, masked: true))
      #expect(try wire.ends())
      let (record, _) = try #require(try await Self.record(server))
      #expect(record.reason == .badAnswer)
      try await eventually("the service hears of it") { seen.codes.withLock { $0 } == [1002] }
    }
  }

  @Test("messages that come too fast close it with 1008; the one too many does not reach the service")
  func rate() async throws {
    let seen = Seen()
    let backend = try Self.echo(seen)
    let setup = Self.setup {
      $0.messages = Rate(perSecond: 0.001)
      $0.burst = 3
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let wire = try Self.open(port)
      for i in 0..<4 { try wire.send(Self.frame(1, [UInt8(i)], masked: true)) }
      var echoed = 0
      var last = try Self.read(wire)
      while last.opcode != 8 {
        echoed += 1
        last = try Self.read(wire)
      }
      // The echoes may come behind the close frame, and are dropped then.
      #expect(echoed <= 3)
      #expect(Self.code(last.payload) == 1008)
      #expect(try wire.ends())
      let (record, _) = try #require(try await Self.record(server))
      #expect(record.reason == .limitReached && record.status == 101)
      try await eventually("the service hears of it") { seen.codes.withLock { $0 } == [1001] }
    }
  }

  @Test("one in which nothing moves is closed on both sides")
  func idle() async throws {
    let seen = Seen()
    let backend = try Self.echo(seen)
    try await withProxy(to: [backend.port], Self.setup { $0.idle = .milliseconds(200) }) { server, port in
      let wire = try Self.open(port)
      #expect(try Self.code(Self.read(wire).payload) == 1001)
      try wire.send(Self.close(1001, masked: true))
      #expect(try wire.ends())
      let (record, _) = try #require(try await Self.record(server))
      #expect(record.reason == .tunnelIdle)
      try await eventually("the service hears of it") { seen.codes.withLock { $0 } == [1001] }
    }
  }

  @Test("what is no 101 is an ordinary answer, and the connection goes on")
  func declined() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.status(403) })
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wire = try Wire(port: port)
      #expect(try wire.ask(Self.handshake).status == 403)
      #expect(try wire.get("/x").status == 403)
      #expect(await server.reports()[0].tunnels[0].opened == 0)
    }
  }

  @Test("bytes behind a handshake that was declined are no request")
  func declinedWithBytes() async throws {
    let backend = try Backend(answering: { _, _, _ in Backend.status(403) })
    try await withProxy(to: [backend.port], Self.setup()) { _, port in
      let wire = try Wire(port: port)
      let answer = try wire.ask(Self.handshake + "GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n")
      #expect(answer.status == 403 && answer["connection"] == "close")
      #expect(try wire.ends())
      #expect(backend.count == 1)
    }
  }

  static let badAnswers = [
    agreed.replacing("s3p", with: "S3p"), agreed.replacing("Upgrade: websocket\r\n", with: ""),
    agreed.replacing("\r\n\r\n", with: "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
  ]

  @Test("a 101 that is none is a bad answer", arguments: badAnswers)
  func badAnswer(_ text: String) async throws {
    let backend = try Backend { wire, _ in
      while try wire.head() != nil { try wire.send(text) }
    }
    try await withProxy(to: [backend.port], Self.setup()) { _, port in
      let answer = try Wire(port: port).ask(Self.handshake)
      #expect(answer.status == 502 && answer.reason == "bad-answer")
    }
  }

  @Test("a handshake is tried elsewhere when its first instance refuses the connection")
  func retries() async throws {
    // Port 1 is nobody's here; one that was given back could be another test's server by now.
    let backend = try Self.echo()
    try await withProxy(to: [backend.port, 1], Self.setup()) { _, port in
      for _ in 0..<6 {
        let wire = try Self.open(port)
        try wire.send(Self.frame(1, [65], masked: true))
        #expect(try Self.read(wire).payload == [65])
      }
    }
  }

  @Test("without the key, or without a right handshake, an upgrade is refused by its reason")
  func refused() async throws {
    let backend = try Self.echo()
    try await withProxy(to: [backend.port]) { _, port in
      let answer = try Self.ask(port, Self.handshake)
      #expect(answer.status == 501)
    }
    try await withProxy(to: [backend.port], Self.setup()) { _, port in
      let old = try Wire(port: port).ask(Self.handshake.replacing("Version: 13", with: "Version: 8"))
      #expect(old.status == 426 && old["sec-websocket-version"] == "13" && old.reason == "upgrade-not-supported")
      #expect(try Self.ask(port, Self.handshake.replacing("Key: dGh", with: "Key: dG")).status == 400)
      #expect(try Self.ask(port, Self.handshake.replacing("GET", with: "POST")).status == 400)
      #expect(try Self.ask(port, Self.handshake.replacing(" websocket", with: " other")).status == 501)
    }
  }

  @Test("a route has as many as it may; one that ended makes room")
  func atOnce() async throws {
    let backend = try Self.echo()
    var setup = Self.setup { $0.atOnce = 2 }
    setup.loops = 2
    try await withProxy(to: [backend.port], setup) { server, port in
      let first = try Self.open(port)
      let second = try Self.open(port)
      let refused = try Wire(port: port).ask(Self.handshake)
      #expect(refused.status == 503 && refused.reason == "queue-full")
      try first.send(Self.close(1000, masked: true))
      _ = try Self.read(first)
      #expect(try first.ends())
      try await eventually("room") { await server.reports().reduce(0) { $0 + $1.tunnels[0].open } == 1 }
      _ = try Self.open(port)
      _ = second
    }
  }

  @Test("a node that stops closes its tunnels within its window, each at a moment of its own")
  func drains() async throws {
    let seen = Seen()
    let backend = try Self.echo(seen)
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wires = try (0..<20).map { _ in try Self.open(port) }
      async let drained = server.drain(within: .seconds(3))
      let clock = ContinuousClock()
      let begin = clock.now
      let times = Mutex<[Duration]>([])
      try await onThreads(wires.count) { i in
        #expect(try Self.code(Self.read(wires[i]).payload) == 1001)
        times.withLock { $0.append(clock.now - begin) }
        try wires[i].send(Self.close(1001, masked: true))
        #expect(try wires[i].ends())
      }
      #expect(await drained)
      let sorted = times.withLock { $0.sorted() }
      #expect(sorted[19] - sorted[0] > .milliseconds(300))
      try await eventually("the service hears of it") {
        seen.codes.withLock { $0 } == Array(repeating: 1001, count: 20)
      }
      #expect(await server.reports()[0].records.allSatisfy { $0.reason == .draining })
    }
  }

  @Test("a service that dies, or a client that goes, ends the other side; the record says who")
  func deaths() async throws {
    let gate = Gate()
    let backend = try Backend { wire, _ in
      _ = try wire.head()
      try wire.send(Self.agreed)
      gate.wait()
    }
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      let wire = try Self.open(port)
      gate.open()
      #expect(try wire.ends())
      let (record, _) = try #require(try await Self.record(server))
      #expect(record.reason == .answerCut)
    }
    let seen = Seen()
    let other = try Self.echo(seen)
    try await withProxy(to: [other.port], Self.setup()) { server, port in
      do {
        let wire = try Self.open(port)
        wire.finishSending()
        #expect(try wire.ends())
      }
      let (record, _) = try #require(try await Self.record(server))
      #expect(record.reason == .callerGone)
      try await eventually("the service hears of it") { seen.codes.withLock { $0 == [0] } }
    }
  }

  @Test("a reader that does not read holds back the writer, and nothing is lost")
  func backPressure() async throws {
    let frames = 400
    let backend = try Backend { wire, _ in
      _ = try wire.head()
      try wire.send(Self.agreed)
      let payload = [UInt8](repeating: 7, count: 64 << 10)
      for _ in 0..<frames { try wire.send(Self.frame(2, payload, masked: false)) }
      try wire.send(Self.close(1000, masked: false))
      _ = try? Self.read(wire)
    }
    try await withProxy(to: [backend.port], Self.setup()) { _, port in
      let wire = try Self.open(port)
      var count = 0
      var next = try Self.read(wire)
      while next.opcode == 2 {
        count += next.payload.count
        next = try Self.read(wire)
      }
      #expect(count == frames * 64 << 10)
      #expect(Self.code(next.payload) == 1000)
    }
  }
}
