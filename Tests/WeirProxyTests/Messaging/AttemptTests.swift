// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirMessaging
import WeirPatterns
import WeirProxy
import WeirStorage
import WeirWire

/// The trace that the attempts of a message are in, and what the log says of each.
@Suite struct AttemptTests {
  /// The heads of all requests that came, and what is answered to which.
  private final class Seen: Sendable {
    private let heads = Mutex<[String]>([])

    func add(_ head: String) -> Int {
      heads.withLock {
        $0.append(head)
        return $0.count
      }
    }

    var all: [String] { heads.withLock { $0 } }

    /// Trace and span of each.
    func traces() throws -> [(trace: String, span: String)] {
      try all.map { head in
        let parts = try #require(field("traceparent", of: head)).split(separator: "-").map(String.init)
        try #require(parts.count == 4 && parts[0] == "00")
        return (parts[1], parts[2])
      }
    }
  }

  private static func hex(_ trace: AttemptEntry.Trace?) -> String {
    guard let trace else { return "" }
    return pad(trace.high) + pad(trace.low)
  }

  private static func pad(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  private static func attempts(_ count: Int, _ server: ProxyServer) async throws -> ([AttemptEntry], [AccessEntry]) {
    let found = Mutex<([AttemptEntry], [AccessEntry])>(([], []))
    try await eventually("\(count) attempts") {
      for report in await server.reports() {
        found.withLock { $0 = ($0.0 + report.attempts, $0.1 + report.access) }
      }
      return found.withLock { $0.0.count >= count }
    }
    return found.withLock { $0 }
  }

  @Test(
    "what comes through the gateway is brought in the request's trace, each attempt with a span and a line of its own")
  func queue() async throws {
    let state = try KeyedTests.State()
    let folder = state.folder
    let seen = Seen()
    let backend = try Backend(answering: { head, _, _ in seen.add(head) == 1 ? Backend.status(503) : Backend.ok() })
    var setup = Setup()
    setup.call.retry.attempts = 1
    setup.route.edge = nil
    setup.configure = { configuration in
      var queue = QueueDeclaration(name: "reports")
      queue.backoffFirst = 10
      queue.backoffMax = 20
      configuration.queues = [queue]
      configuration.statePath = StateProcess.socketPath(folder)
      configuration.edgePolicies = [EdgePolicy(queue: QueueRoute(queue: "reports", skip: 1))]
      configuration.pushes = [QueuePush(name: "reports", edge: 0, service: "s", path: "/build")]
    }
    try await withProxy(to: [backend.port], setup) { server, port in
      let wire = try Wire(port: port)
      let post = "POST /reports HTTP/1.1\r\nHost: test.example\r\nIdempotency-Key: r-1\r\nContent-Length: 2\r\n\r\n{}"
      try await eventually("the state process is there") { try wire.ask(post).status == 202 }
      let (entries, access) = try await Self.attempts(2, server)
      let traces = try seen.traces()
      #expect(traces.count == 2 && traces[0].trace == traces[1].trace && traces[0].span != traces[1].span)
      #expect(entries.map(\.outcome) == [.retry, .done] && entries.map(\.status) == [503, 200])
      #expect(
        entries.map(\.attempt) == [1, 2] && entries.allSatisfy { $0.work == .queue("reports") && $0.way?.edge == 0 })
      #expect(entries.allSatisfy { $0.id == Array("route.r-1".utf8) && $0.key == $0.id })
      #expect(entries.map { Self.hex($0.trace) } == traces.map(\.trace))
      #expect(entries.map { Self.pad($0.trace?.span ?? 0) } == traces.map(\.span))
      // The request that was taken, and its repeats, have lines; one of them is in this trace.
      let posts = access.map { Self.pad($0.traceHigh) + Self.pad($0.traceLow) }
      #expect(posts.contains(traces[0].trace), "\(posts)")
    }
    try state.end()
  }

  @Test(
    "a message keeps its sender's trace; one without has its own over all attempts, and its state is passed on only with it"
  )
  func senders() async throws {
    let state = try KeyedTests.State()
    let folder = state.folder
    let seen = Seen()
    let backend = try Backend(answering: { head, _, _ in seen.add(head) % 2 == 1 ? Backend.status(503) : Backend.ok() })
    var setup = Setup()
    setup.call.retry.attempts = 1
    setup.configure = { configuration in
      var queue = QueueDeclaration(name: "work")
      queue.backoffFirst = 10
      queue.backoffMax = 20
      queue.atOnce = 1
      configuration.queues = [queue]
      configuration.statePath = StateProcess.socketPath(folder)
      configuration.pushes = [QueuePush(name: "work", edge: 0, service: "s", path: "/w")]
    }
    let given = "4bf92f3577b34da6a3ce929d0e0e4736"
    try await withProxy(to: [backend.port], setup) { server, _ in
      for (i, fields) in [
        "traceparent: 00-\(given)-00f067aa0ba902b7-01\r\ntracestate: a=1\r\n", "",
        "traceparent: x\r\ntracestate: b=2\r\n",
        "traceparent: 00-\(given)-00f067aa0ba902b7-01\r\ntraceparent: 00-\(given)-00f067aa0ba902b8-01\r\n",
      ].enumerated() {
        let message = NewMessage(id: Array("m\(i)".utf8), fields: Array(fields.utf8), body: Array("{}".utf8))
        try await eventually("it is taken") {
          if case .enqueued = await server.ask(.enqueue(queue: "work", [message]), within: 1_000_000_000) {
            return true
          }
          return false
        }
        _ = try await Self.attempts(2, server)
      }
      let (traces, heads) = (try seen.traces(), seen.all)
      #expect(traces.count == 8 && Set(traces.map(\.span)).count == 8)
      for i in 0..<4 { #expect(traces[2 * i].trace == traces[2 * i + 1].trace, "message \(i)") }
      #expect(traces[0].trace == given && Set(traces.map(\.trace)).count == 4)
      #expect(heads.map { field("tracestate", of: $0) } == ["a=1", "a=1", nil, nil, nil, nil, nil, nil])
    }
    try state.end()
  }

  @Test("all steps of a saga are in one trace, and each call has a line with its step and its key")
  func saga() async throws {
    let kept = try SagaRunnerTests.Kept(dyingAt: 0, "never")
    defer { kept.end() }
    let seen = Seen()
    let participants = SagaRunnerTests.Participants(refused: "/3")
    let backend = try Backend(answering: { head, _, _ in
      _ = seen.add(head)
      return participants.answer(head)
    })
    try await withProxy(to: [backend.port], SagaRunnerTests.setup(kept.folder)) { server, _ in
      try await SagaRunnerTests.begin("o", server, kept)
      _ = try await SagaRunnerTests.end("o", server, kept)
      let (entries, _) = try await Self.attempts(5, server)
      #expect(Set(try seen.traces().map(\.trace)).count == 1)
      let works: [AttemptEntry.Work] = [
        .saga("order", step: 1, isUndo: false), .saga("order", step: 2, isUndo: false),
        .saga("order", step: 3, isUndo: false), .saga("order", step: 2, isUndo: true),
        .saga("order", step: 1, isUndo: true),
      ]
      #expect(entries.map(\.work) == works)
      #expect(entries.map(\.outcome) == [.done, .done, .refused, .done, .done])
      #expect(
        entries.map { String(decoding: $0.key, as: UTF8.self) }
          == ["order/o/1", "order/o/2", "order/o/3", "order/o/2/undo", "order/o/1/undo"])
      #expect(entries.allSatisfy { $0.id == Array("o".utf8) && $0.attempt == 1 })
      #expect(Set(entries.map { Self.hex($0.trace) }) == Set(try seen.traces().map(\.trace)))
    }
  }
}
