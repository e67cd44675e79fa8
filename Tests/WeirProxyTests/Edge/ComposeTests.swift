// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy

/// Answers made of several calls, on real sockets.
@Suite struct ComposeTests {
  /// A route made of `products` (must be there) and `advice` (may be missing), at two services.
  static func setup(advice: Int, call: CallSettings = CallSettings(), timeout: Duration? = nil) -> Setup {
    var setup = Setup()
    setup.route = FlowPlan.Route(edge: nil)
    setup.route.parts = [FlowPlan.Part(edge: 0), FlowPlan.Part(edge: 1, isOptional: true)]
    var call = call
    call.backoff.first = .milliseconds(5)
    call.backoff.max = .milliseconds(10)
    setup.call = call
    let made = call
    setup.configure = { configuration in
      configuration.plan.services.append(FlowPlan.Service(instances: 1))
      configuration.plan.edges.append(FlowPlan.Edge(service: 1, call: made))
      configuration.addresses.append([.tcp(host: "127.0.0.1", port: advice)])
      let policy = ComposePolicy(
        parts: [
          .init(name: "products", edge: 0, path: "/top", isOptional: false),
          .init(name: "advice", edge: 1, path: "/for-me", isOptional: true),
        ], timeout: timeout)
      configuration.edgePolicies = [EdgePolicy(compose: policy)]
    }
    return setup
  }

  static func json(_ text: String) -> String { Backend.ok(text, "Content-Type: application/json\r\n") }

  @Test("the parts are asked at the same time, with the caller's fields, and become one object")
  func whole() async throws {
    // Each waits for the other: one after the other they would never end.
    let first = Gate()
    let second = Gate()
    let heads = Heads()
    let products = try Backend(answering: { head, _, _ in
      heads.add(head)
      first.open()
      second.wait()
      return Self.json("[1, 2]")
    })
    let advice = try Backend(answering: { head, _, _ in
      heads.add(head)
      second.open()
      first.wait()
      return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n2\r\n1}\r\n0\r\n\r\n"
    })
    try await withProxy(to: [products.port], Self.setup(advice: advice.port)) { server, port in
      let client = try Wire(port: port)
      let answer = try client.get(
        "/home?lang=en",
        "Authorization: Bearer x\r\nAccept-Encoding: gzip\r\nIf-None-Match: \"a\"\r\n"
          + "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n")
      #expect(answer.status == 200 && answer.text == #"{"products":[1, 2],"advice":{"a":1}}"#)
      #expect(answer["content-type"] == "application/json" && answer["proxy-status"] == nil)
      let seen = heads.all
      #expect(
        seen.map { String($0.prefix { $0 != "\r\n" }) }.sorted() == [
          "GET /for-me?lang=en HTTP/1.1", "GET /top?lang=en HTTP/1.1",
        ])
      for head in seen {
        #expect(field("authorization", of: head) == "Bearer x" && field("host", of: head) == "test.example")
        #expect(field("accept-encoding", of: head) == nil && field("if-none-match", of: head) == nil)
        #expect(field("x-forwarded-for", of: head) == "127.0.0.1")
        let trace = field("traceparent", of: head) ?? ""
        #expect(trace.hasPrefix("00-0af7651916cd43dd8448eb211c80319c-") && !trace.contains("b7ad6b7169203331"))
      }
      #expect(Set(seen.compactMap { field("traceparent", of: $0) }).count == 2)
      let report = await server.reports()[0]
      #expect(report.ledger.routes[0].requests == 1)
      #expect(report.ledger.edges.map(\.calls) == [1, 1])
    }
  }

  @Test("a part that may be missing is left out, and it is said why")
  func optional() async throws {
    let products = try Backend(answering: { _, _, _ in Self.json("1") })
    let broken = try Backend(answering: { head, _, _ in
      switch head.split(separator: " ")[1].split(separator: "?").last {
      case "json": Self.json("{\"a\":1")
      case "404": Backend.status(404)
      case "204": "HTTP/1.1 204 No Content\r\n\r\n"
      case "large": Self.json("\"" + String(repeating: "x", count: 2 << 20) + "\"")
      default: Backend.status(500)
      }
    })
    var call = CallSettings()
    call.retry.attempts = 1
    call.breaks = false
    try await withProxy(to: [products.port], Self.setup(advice: broken.port, call: call)) { _, port in
      let client = try Wire(port: port)
      for (query, reason) in [
        ("json", "bad-answer"), ("404", "failed-answer"), ("500", "failed-answer"), ("large", "bad-answer"),
      ] {
        let answer = try client.get("/?\(query)")
        #expect(answer.status == 200 && answer.text == #"{"products":1}"#, "\(query)")
        #expect(answer.reason == "advice omitted: \(reason)", "\(query)")
      }
      #expect(try client.get("/?204").text == #"{"products":1,"advice":null}"#)
    }
    // Port 1 (tcpmux) is never handed out, so nothing listens there.
    try await withProxy(to: [products.port], Self.setup(advice: 1, call: call)) { _, port in
      let answer = try Wire(port: port).get("/")
      #expect(answer.reason == "advice omitted: connect-failed")
    }
  }

  @Test("a part that must be there fails the whole, with its reason, and the others are not waited for")
  func required() async throws {
    let gate = Gate()
    let slow = try Backend(answering: { _, _, _ in
      gate.wait()
      return Self.json("1")
    })
    var call = CallSettings()
    call.retry.attempts = 1
    call.breaks = false
    try await withProxy(to: [1], Self.setup(advice: slow.port, call: call)) { server, port in
      let client = try Wire(port: port)
      #expect(try client.get("/").reason == "connect-failed")
      #expect(try client.get("/").status == 502)
      try await eventually("what is left is given up") { await server.reports()[0].ledger.edges[1].ended >= 2 }
    }
    gate.open()
    let refusing = try Backend(answering: { head, _, _ in
      head.hasPrefix("GET /top?404")
        ? "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nnone" : Backend.status(500)
    })
    try await withProxy(to: [refusing.port], Self.setup(advice: 1, call: call)) { _, port in
      let client = try Wire(port: port)
      let none = try client.get("/?404")
      #expect(none.status == 404 && none.text == "none" && none["content-type"] == "text/plain")
      let failed = try client.get("/")
      #expect(failed.status == 502 && failed.reason == "failed-answer")
    }
  }

  @Test("the route's time holds for all of it; a caller that goes ends all of it")
  func time() async throws {
    let gate = Gate()
    let slow = try Backend(answering: { _, _, _ in
      gate.wait()
      return Self.json("1")
    })
    var call = CallSettings()
    call.retry.attempts = 1
    let setup = Self.setup(advice: slow.port, call: call, timeout: .milliseconds(100))
    try await withProxy(to: [slow.port], setup) { server, port in
      let client = try Wire(port: port)
      let status = try client.get("/").status
      #expect(status == 504 || status == 503)
      try client.send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n")
      client.reset()
      try await eventually("all calls have ended") {
        let edges = await server.reports()[0].ledger.edges
        return edges.allSatisfy { $0.calls == 2 && $0.ended == 2 }
          || edges.allSatisfy { $0.calls == 1 && $0.ended == 1 }
      }
    }
    gate.open()
  }

  @Test("reads only")
  func methods() async throws {
    let products = try Backend(answering: { _, _, _ in Self.json("1") })
    try await withProxy(to: [products.port], Self.setup(advice: products.port)) { _, port in
      let client = try Wire(port: port)
      let head = try client.ask("HEAD / HTTP/1.1\r\nHost: test.example\r\n\r\n", toHead: true)
      #expect(head.status == 200 && head["content-length"] == "25")
      let post = try client.ask("POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 2\r\n\r\n{}")
      #expect(post.status == 405 && post["allow"] == "GET, HEAD")
      #expect(try client.get("/").text == #"{"products":1,"advice":1}"#)
    }
  }
}

/// What backends have seen, from their threads.
final class Heads: Sendable {
  private let state = Mutex<[String]>([])
  var all: [String] { state.withLock { $0 } }
  func add(_ head: String) { state.withLock { $0.append(head) } }
}
