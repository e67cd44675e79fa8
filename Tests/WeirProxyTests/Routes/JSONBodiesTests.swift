// SPDX-License-Identifier: Apache-2.0
import TestPrograms
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy
import WeirWire

/// Bodies changed on their way, on real sockets: framed right whatever they came as, refused where they cannot be changed.
@Suite struct JSONBodiesTests {
  typealias Direction = JSONPolicy.Direction

  static func setup(
    request: Direction? = nil, response: Direction? = nil, most: Int = 1 << 10,
    _ change: @escaping @Sendable (inout ProxyConfiguration) -> Void = { _ in }
  ) -> Setup {
    var policy = RoutePolicy(name: "notes")
    policy.json = JSONPolicy(request: request, response: response, most: most)
    var setup = Setup()
    setup.configure = { [policy] in
      $0.routes = [policy]
      change(&$0)
    }
    return setup
  }

  /// Takes `secret` out, names `id` `key`, and sets who asks.
  static func request() throws -> Direction {
    Direction(
      edits: try JSONEdits(remove: ["secret"], rename: [("id", "key")], set: ["by", "n"]),
      values: [.text(try Template("$method $path")), .json(Array("1.50".utf8))])
  }

  static func response() throws -> Direction {
    Direction(
      edits: try JSONEdits(remove: ["items[].cost"], template: #"{"data":"$body","path":"$path"}"#),
      values: [.text(try Template("$path"))])
  }

  /// Answers with what it was sent: the body, and how it was framed.
  static func echo() throws -> Backend {
    try Backend { wire, _ in
      while let head = try wire.head() {
        let body = try wire.body(of: head, isAnswer: false).body
        let fields = ["content-length", "transfer-encoding", "accept-encoding", "range", "digest"].map {
          "X-\($0): \(field($0, of: head) ?? "none")\r\n"
        }
        try wire.send(Backend.ok(String(decoding: body, as: UTF8.self), fields.joined()))
      }
    }
  }

  private static func post(_ body: String, _ fields: String = "", type: String = "application/json") -> String {
    "POST /notes?x=1 HTTP/1.1\r\nHost: test.example\r\nContent-Type: \(type)\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }

  private static func chunked(_ parts: [String]) -> String {
    "POST /notes HTTP/1.1\r\nHost: test.example\r\nContent-Type: application/merge-patch+json\r\nTransfer-Encoding: chunked\r\n\r\n"
      + parts.map { "\(String($0.utf8.count, radix: 16))\r\n\($0)\r\n" }.joined() + "0\r\nX-Trailer: 1\r\n\r\n"
  }

  @Test("requests: changed and framed anew, along one connection, however they came")
  func requests() async throws {
    let backend = try Self.echo()
    try await withProxy(to: [backend.port], Self.setup(request: Self.request())) { _, port in
      let client = try Wire(port: port)
      let whole = Self.post(#"{ "id": 7, "secret": "s", "n": 2, "z": 1e400 }"#, "Digest: x\r\n")
      let changed = #"{ "key": 7, "n": 1.50, "z": 1e400,"by":"POST /notes" }"#
      // Two in one write: what stands behind a body is the next request.
      try client.send(whole + whole)
      for _ in 0..<2 {
        let answer = try client.answer()
        #expect(answer.text == changed)
        #expect(answer["x-content-length"] == "\(changed.utf8.count)" && answer["x-transfer-encoding"] == "none")
        #expect(answer["x-digest"] == "none")
      }
      let pieces = try client.ask(Self.chunked([#"{"i"#, #"d":[1"#, "]}"]))
      #expect(pieces.text == #"{"key":[1],"by":"POST /notes","n":1.50}"# && pieces["x-transfer-encoding"] == "none")
      #expect(try client.get("/notes").text == "")
      // Byte by byte, and its client waits to be told to send.
      let body = #"{"id":1}"#
      try client.send(
        "PUT /a HTTP/1.1\r\nHost: test.example\r\nContent-Type: application/json; charset=utf-8\r\nExpect: 100-continue\r\n"
          + "Content-Length: \(body.utf8.count)\r\n\r\n")
      #expect(try client.head()?.hasPrefix("HTTP/1.1 100 ") == true)
      for byte in body.utf8 { try client.send([byte]) }
      #expect(try client.answer().text == #"{"key":1,"by":"PUT /a","n":1.50}"#)
    }
  }

  @Test("requests that cannot be changed are refused, and say why; their connections go on where they can")
  func refused() async throws {
    let backend = try Self.echo()
    try await withProxy(to: [backend.port], Self.setup(request: Self.request(), most: 100)) { server, port in
      let client = try Wire(port: port)
      for (wrong, detail) in [
        (Self.post("{}", type: "text/plain"), "must be JSON here"),
        (Self.post("{}", "Content-Encoding: gzip\r\n"), "not compressed"),
        (Self.post(#"{"a":"#), "is no JSON"), (Self.post("[1]"), "must be a JSON object"),
        (Self.chunked(["nul"]), "is no JSON"),
      ] {
        let own = wrong.contains("chunked") ? try Wire(port: port) : client
        let answer = try own.ask(wrong)
        #expect(answer.status == 422 && answer["proxy-status"]?.contains("body-misfit") == true)
        #expect(answer.text.contains(detail), "\(answer.text)")
      }
      let long = "\"" + String(repeating: "x", count: 100) + "\""
      for large in [
        Self.post("{\"a\":\(long)}"), Self.chunked(["{\"a\":", long, "}"]), Self.post("{\"a\":\(long.dropLast(20))\"}"),
      ] {
        let answer = try Wire(port: port).ask(large)
        #expect(answer.status == 413 && answer.text.contains("json.max"), "\(answer.text)")
      }
      #expect(try client.ask(Self.post("{}")).text == #"{"by":"POST /notes","n":1.50}"#)
      try await eventually("the records") {
        await server.reports().flatMap(\.records).filter { $0.reason == .bodyMisfit }.count == 5
      }
    }
  }

  static let items = #"{"items":[{"id":1,"cost":3},{"id":2}]}"#
  static let changed = #"{"data":{"items":[{"id":1},{"id":2}]},"path":"/"}"#

  static func answering() throws -> Backend {
    try Backend { wire, _ in
      while let head = try wire.head() {
        let json = "Content-Type: application/json\r\n"
        let chunk = "\(String(items.utf8.count, radix: 16))\r\n\(items)\r\n0\r\n\r\n"
        let path = head.split(separator: " ")[1].dropFirst()
        let asked = "X-Asked: \(field("accept-encoding", of: head) ?? "none") \(field("range", of: head) ?? "none")\r\n"
        switch path {
        case "chunked": try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\(json)\r\n" + chunk)
        case "close":
          try wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\(json)\r\n\(items)")
          return wire.finishSending()
        case "text": try wire.send(Backend.ok(items, "Content-Type: text/plain\r\nETag: \"a\"\r\n"))
        case "failed": try wire.send(Backend.status(404, json))
        case "packed": try wire.send(Backend.ok(items, json + "Content-Encoding: gzip\r\n"))
        case "part": try wire.send("HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\(json)\r\n{}")
        case "broken": try wire.send(Backend.ok("{", json))
        case "large": try wire.send(Backend.ok("\"" + String(repeating: "x", count: 1 << 10) + "\"", json))
        case "cut":
          try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\(json)\r\n{")
          return wire.finishSending()
        default:
          let head = Backend.ok(items, json + asked + "ETag: \"a\"\r\nAccept-Ranges: bytes\r\n")
          try wire.send(head)
        }
      }
    }
  }

  @Test("answers: changed, with their own length and a weak tag, however the service frames them")
  func answers() async throws {
    let backend = try Self.answering()
    try await withProxy(to: [backend.port], Self.setup(response: Self.response())) { _, port in
      let client = try Wire(port: port)
      let whole = try client.get("/", "Accept-Encoding: gzip\r\nRange: bytes=0-1\r\n")
      #expect(whole.text == Self.changed && whole["content-length"] == "\(Self.changed.utf8.count)")
      #expect(whole["etag"] == "W/\"a\"" && whole["accept-ranges"] == nil && whole["x-asked"] == "identity none")
      for path in ["/chunked", "/close", "/chunked"] {
        let answer = try client.get(path)
        #expect(answer.text == Self.changed.replacing("\"/\"", with: "\"\(path)\""))
        #expect(answer["transfer-encoding"] == nil && answer["content-length"] == "\(answer.body.count)")
      }
      // What is not JSON, and what failed, goes on as it is.
      let text = try client.get("/text")
      #expect(text.text == Self.items && text["etag"] == "\"a\"")
      #expect(try client.get("/failed").status == 404)
    }
  }

  @Test("answers that cannot be changed do not get through as they are")
  func refusedAnswers() async throws {
    let backend = try Self.answering()
    try await withProxy(to: [backend.port], Self.setup(response: Self.response())) { _, port in
      let client = try Wire(port: port)
      for (path, detail) in [
        ("/packed", "compressed"), ("/part", "a part"), ("/broken", "no JSON"), ("/large", "json.max"),
      ] {
        let answer = try client.get(path)
        #expect(answer.status == 502 && answer["proxy-status"]?.contains("bad-answer") == true)
        #expect(answer.text.contains(detail), "\(answer.text)")
      }
      let cut = try Wire(port: port).get("/cut")
      #expect(cut.status == 502 && cut["proxy-status"]?.contains("answer-cut") == true, "\(cut.text)")
      #expect(try client.get("/").text == Self.changed)
    }
  }

  // What is compressed on its way is what was changed before.
  @Test("with compression")
  func compressed() async throws {
    let backend = try Self.answering()
    let rule = CompressionRule(types: ["application/json"], atLeast: 10, offered: [.gzip])
    let setup = try Self.setup(response: Self.response()) { $0.edgePolicies = [EdgePolicy(compression: rule)] }
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      for _ in 0..<2 {
        let answer = try client.get("/", "Accept-Encoding: gzip\r\n")
        #expect(answer["content-encoding"] == "gzip" && answer["etag"] == "W/\"a\"" && answer["content-length"] == nil)
        #expect(try TestProgram.unpacked(answer.body, by: "gzip") == Array(Self.changed.utf8))
      }
    }
  }
}
