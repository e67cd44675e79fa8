// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirFlows
import WeirPatterns

import WeirProxy

// HTTP/2 by clients that know beforehand; what they ask and want is in Tests/HTTP2/client.py, one function a case.
@Suite(.enabled(if: Script.has("h2"))) struct HTTP2Tests {
  /// Says back what it was asked: the head, or the body (in chunks, and with trailers, when it came so).
  static func mirror() throws -> Backend {
    try Backend { wire, backend in
      while let head = try wire.head() {
        let (body, trailers) = try wire.body(of: head, isAnswer: false)
        backend.requests.add(1, ordering: .relaxed)
        if head.hasPrefix("GET /large ") {
          try wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(4 << 20)\r\n\r\n")
          for _ in 0..<64 { try wire.send([UInt8](repeating: 120, count: 64 << 10)) }
        } else if !head.contains(" /echo ") {
          let isHead = head.hasPrefix("HEAD ")
          try wire.send(
            "HTTP/1.1 200 OK\r\nContent-Length: \(head.utf8.count)\r\nKeep-Alive: timeout=5\r\n\r\n\(isHead ? "" : head)"
          )
        } else if field("transfer-encoding", of: head) == nil {
          try wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(body.count)\r\n\r\n")
          try wire.send(body)
        } else {
          try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
          for start in stride(from: 0, to: body.count, by: 7000) {
            let part = Array(body[start..<min(start + 7000, body.count)])
            try wire.send(String(part.count, radix: 16) + "\r\n")
            try wire.send(part + [13, 10])
          }
          try wire.send("0\r\n" + trailers.map { $0 + "\r\n" }.joined() + "\r\n")
        }
      }
    }
  }

  static func play(_ name: String, _ port: Int) throws {
    let failure = try Script("HTTP2/client.py", "\(port)", name).failure()
    #expect(failure == nil)
  }

  @Test(
    "a stock client, and frames by hand",
    arguments: [
      "get", "post", "stream", "expect", "many", "large", "early", "malformed", "downgrade", "too_large", "floods",
      "too_many", "broken", "slow_preface",
    ])
  func speaks(_ name: String) async throws {
    let backend = try Self.mirror()
    try await withProxy(to: [backend.port], Setup()) { server, port in
      try Self.play(name, port)
    }
  }

  // A stream that its client resets is a caller that went away: the callee's connection ends, and it is said so.
  @Test("a reset reaches the callee") func cancels() async throws {
    let ended = Gate()
    let backend = try Backend { wire, _ in
      while let head = try wire.head() {
        if head.hasPrefix("GET /slow") {
          try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
          if try wire.ends() { ended.open() }
          return
        }
        try wire.send(Backend.ok())
      }
    }
    try await withProxy(to: [backend.port], Setup()) { server, port in
      try Self.play("cancel", port)
      ended.wait()
      try await eventually("the record of the caller that went away") {
        await server.reports().contains { $0.records.contains { $0.reason == .callerGone } }
      }
    }
  }

  // GOAWAY in two steps: no stream that was on its way is lost (RFC 9113 §6.8).
  @Test("a drain loses no stream") func drains() async throws {
    let gate = Gate()
    let arrived = Gate()
    let backend = try Backend { wire, _ in
      while let head = try wire.head() {
        if head.hasPrefix("GET /slow") {
          arrived.open()
          gate.wait()
        } else {
          gate.open()
        }
        try wire.send(Backend.ok())
      }
    }
    try await withProxy(to: [backend.port], Setup()) { server, port in
      let client = try Script("HTTP2/client.py", "\(port)", "drain")
      #expect(client.line() == "open")
      arrived.wait()
      let isClean = await server.drain(within: .seconds(200))
      #expect(isClean)
      let failure = client.failure()
      #expect(failure == nil)
    }
  }

  // Connections are counted by address, not their streams.
  @Test("streams are not connections") func countsConnections() async throws {
    let backend = try Self.mirror()
    var setup = Setup()
    setup.configure = { $0.addressLimit.perAddress = 2 }
    try await withProxy(to: [backend.port], setup) { _, port in
      for _ in 0..<4 { try Self.play("many", port) }
    }
  }
}
