// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestPrograms
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy
import WeirWire

/// Answers compressed on their way, on real sockets: read by the system's own tools, and left alone where they must be.
@Suite struct CompressionTests {
  static let text = String(
    repeating: "All that is gold does not glitter, not all those who wander are lost. ", count: 200)

  static func setup(types: [String] = ["text/*", "application/json"]) -> Setup {
    let rule = CompressionRule(types: types, atLeast: 100, offered: [.gzip, .brotli, .zstd])
    var setup = Setup()
    setup.configure = { $0.edgePolicies = [EdgePolicy(compression: rule)] }
    return setup
  }

  /// What a tool makes of it; nil where there is no such tool.
  static func decode(_ bytes: [UInt8], _ coding: String) throws -> String? {
    let tool = ["gzip": "gzip", "br": "brotli", "zstd": "zstd"][coding] ?? coding
    return try TestProgram.unpacked(bytes, by: tool).map { String(decoding: $0, as: UTF8.self) }
  }

  static func body(_ head: String) -> String {
    let path = head.split(separator: " ")[1]
    let type = "Content-Type: text/plain\r\n"
    switch path {
    case "/chunked":
      let half = text.utf8.count / 2
      let parts = [text.prefix(half), text.dropFirst(half)].map { "\(String($0.utf8.count, radix: 16))\r\n\($0)\r\n" }
      return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\(type)\r\n\(parts.joined())0\r\n\r\n"
    case "/until-close":
      return "HTTP/1.1 200 OK\r\nConnection: close\r\n\(type)\r\n\(text)"
    case "/etag": return Backend.ok(text, type + "ETag: \"a\"\r\nAccept-Ranges: bytes\r\nDigest: x\r\n")
    case "/weak": return Backend.ok(text, type + "ETag: W/\"a\"\r\nVary: Accept-Encoding\r\n")
    case "/small": return Backend.ok("small", type)
    case "/picture": return Backend.ok(text, "Content-Type: image/png\r\n")
    case "/typeless": return Backend.ok(text)
    case "/twice": return Backend.ok(text, type + "Content-Encoding: gzip\r\n")
    case "/no-transform": return Backend.ok(text, type + "Cache-Control: public, no-transform\r\n")
    case "/part":
      return "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-199/900\r\nContent-Length: 200\r\n\(type)\r\n"
        + text.prefix(200)
    case "/unchanged": return "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"
    case "/empty": return "HTTP/1.1 204 No Content\r\n\r\n"
    case "/events": return Backend.ok(text, "Content-Type: text/event-stream\r\n")
    default: return Backend.ok(text, type)
    }
  }

  static func backend() throws -> Backend {
    try Backend { wire, backend in
      while let head = try wire.head() {
        let answer = body(head)
        if head.hasPrefix("HEAD ") {
          try wire.send((answer.components(separatedBy: "\r\n\r\n").first ?? "") + "\r\n\r\n")
        } else {
          try wire.send(answer)
        }
        if answer.contains("Connection: close") { return wire.finishSending() }
      }
    }
  }

  @Test("each coding, however the service frames its body", arguments: ["gzip", "br", "zstd"])
  func codings(_ coding: String) async throws {
    let backend = try Self.backend()
    try await withProxy(to: [backend.port], Self.setup()) { _, port in
      let client = try Wire(port: port)
      for path in ["/", "/chunked", "/until-close", "/etag", "/"] {
        let answer = try client.get(path, "Accept-Encoding: \(coding)\r\n")
        #expect(answer["content-encoding"] == coding, "\(path)")
        #expect(answer["transfer-encoding"] == "chunked" && answer["content-length"] == nil)
        #expect(answer["vary"] == "Accept-Encoding")
        #expect(answer.body.count < 1000)
        if let text = try Self.decode(answer.body, coding) { #expect(text == Self.text, "\(path)") }
      }
    }
  }

  @Test("what the caller likes best; identity where it likes nothing")
  func negotiation() async throws {
    let backend = try Self.backend()
    try await withProxy(to: [backend.port], Self.setup()) { _, port in
      let client = try Wire(port: port)
      for (accepts, expected) in [
        ("gzip, br, zstd", "zstd"), ("gzip, br", "br"), ("zstd;q=0.5, gzip", "gzip"), ("*", "zstd"),
        ("identity", nil), ("deflate", nil), ("gzip;q=0", nil),
      ] as [(String, String?)] {
        let answer = try client.get("/", "Accept-Encoding: \(accepts)\r\n")
        #expect(answer["content-encoding"] == expected, "\(accepts)")
        #expect(answer["vary"] == "Accept-Encoding", "\(accepts)")
        if expected == nil { #expect(answer.text == Self.text) }
      }
      let old = try Wire(port: port)
      let answer = try old.ask("GET / HTTP/1.0\r\nHost: test.example\r\nAccept-Encoding: gzip\r\n\r\n")
      #expect(answer.text == Self.text)
    }
  }

  @Test("never twice, never what is packed already, never what must stay as it is")
  func left() async throws {
    let backend = try Self.backend()
    try await withProxy(to: [backend.port], Self.setup()) { _, port in
      let client = try Wire(port: port)
      for path in ["/picture", "/typeless", "/twice", "/no-transform", "/events"] {
        let answer = try client.get(path, "Accept-Encoding: gzip\r\n")
        #expect(answer.text == Self.text, "\(path)")
        #expect(answer["content-encoding"] == (path == "/twice" ? "gzip" : nil), "\(path)")
        #expect(answer["vary"] == nil, "\(path)")
      }
      let part = try client.get("/part", "Accept-Encoding: gzip\r\nRange: bytes=0-199\r\n")
      #expect(part.status == 206 && part.body.count == 200 && part["content-encoding"] == nil)
      let small = try client.get("/small", "Accept-Encoding: gzip\r\n")
      #expect(small.text == "small" && small["vary"] == "Accept-Encoding")
      #expect(try client.get("/empty", "Accept-Encoding: gzip\r\n").status == 204)
      let asked = try client.get("/", "Accept-Encoding: gzip\r\nCache-Control: no-transform\r\n")
      #expect(asked.text == Self.text)
    }
  }

  @Test("tags become weak, ranges and digests go, a head says what its body would be")
  func heads() async throws {
    let backend = try Self.backend()
    try await withProxy(to: [backend.port], Self.setup()) { _, port in
      let client = try Wire(port: port)
      let strong = try client.get("/etag", "Accept-Encoding: gzip\r\n")
      #expect(strong["etag"] == "W/\"a\"" && strong["accept-ranges"] == nil && strong["digest"] == nil)
      let plain = try client.get("/etag")
      #expect(plain["etag"] == "\"a\"" && plain["accept-ranges"] == "bytes" && plain.text == Self.text)
      let weak = try client.get("/weak", "Accept-Encoding: gzip\r\n")
      #expect(weak["etag"] == "W/\"a\"" && weak.head.components(separatedBy: "Vary").count == 2)
      let unchanged = try client.get("/unchanged", "Accept-Encoding: gzip\r\nIf-None-Match: W/\"a\"\r\n")
      #expect(unchanged.status == 304 && unchanged["etag"] == "W/\"a\"" && unchanged["vary"] == "Accept-Encoding")
      let head = try client.ask(
        "HEAD /etag HTTP/1.1\r\nHost: test.example\r\nAccept-Encoding: gzip\r\n\r\n", toHead: true)
      #expect(head["content-encoding"] == "gzip" && head["content-length"] == nil && head["etag"] == "W/\"a\"")
      #expect(try client.get("/").text == Self.text)
    }
  }

  @Test("events that are to be compressed come at once, one by one")
  func events() async throws {
    let gate = Gate()
    let backend = try Backend { wire, _ in
      _ = try wire.head()
      try wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
      let event = "data: first event of many\n\n"
      try wire.send("\(String(event.utf8.count, radix: 16))\r\n\(event)\r\n")
      gate.wait()
      try wire.send("0\r\n\r\n")
    }
    try await withProxy(to: [backend.port], Self.setup(types: ["text/event-stream"])) { _, port in
      let client = try Wire(port: port)
      try client.send("GET / HTTP/1.1\r\nHost: test.example\r\nAccept-Encoding: gzip\r\n\r\n")
      let head = try #require(try client.head())
      #expect(field("content-encoding", of: head) == "gzip")
      let size = try #require(Int(try client.line(), radix: 16))
      var body = try client.take(size)
      _ = try client.line()
      // All of the event is there, though the stream goes on: what is missing is only its end.
      #expect(body.count > 20)
      gate.open()
      while let size = Int(try client.line(), radix: 16) {
        if size == 0 { break }
        body += try client.take(size)
        _ = try client.line()
      }
      #expect(try Self.decode(body, "gzip") == "data: first event of many\n\n")
    }
  }

  @Test("a caller that goes in the middle leaves its encoder to the next", arguments: ["gzip", "br", "zstd"])
  func gone(_ coding: String) async throws {
    let backend = try Backend { wire, _ in
      while let head = try wire.head() {
        if head.hasPrefix("GET /endless") {
          try wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
          while (try? wire.send(Self.text)) != nil {}
          return
        }
        try wire.send(Backend.ok(Self.text, "Content-Type: text/plain\r\n"))
      }
    }
    try await withProxy(to: [backend.port], Self.setup()) { server, port in
      for _ in 0..<5 {
        let client = try Wire(port: port)
        try client.send("GET /endless HTTP/1.1\r\nHost: test.example\r\nAccept-Encoding: \(coding)\r\n\r\n")
        _ = try client.head()
        _ = try client.take(10)
        client.reset()
      }
      let client = try Wire(port: port)
      for _ in 0..<3 {
        let answer = try client.get("/", "Accept-Encoding: \(coding)\r\n")
        #expect(answer["content-encoding"] == coding)
        if let text = try Self.decode(answer.body, coding) { #expect(text == Self.text) }
      }
      _ = server
    }
  }
}
