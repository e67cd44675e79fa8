// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirFlows
import WeirPatterns
import WeirProxy

/// RP-5: for each reason of the closed list, the test that sees it on real sockets, or the layer that gives it and why not.
@Suite struct ReasonPlacesTests {
  private enum Place {
    /// A test of this folder names it: file, and the name of the test's function.
    case sockets(String, String)
    /// It cannot be brought about on the sockets of one machine: the flow's test gives it.
    case flow(String)
  }

  /// Exhaustive on purpose: a new reason has to say here where it is seen.
  private static func place(_ reason: Reason) -> Place? {
    switch reason {
    case .none: nil
    case .badRequest, .targetTooLong, .headTooLarge, .noRoute, .methodNotAllowed, .bodyTooLarge, .upgradeNotSupported,
      .expectationFailed:
      .sockets("RefusalTests", "reasons")
    case .senderTooSlow: .sockets("RefusalTests", "slowSenders")
    case .limitReached: .sockets("RefusalTests", "rateLimit")
    case .tooManyConnections: .sockets("RefusalTests", "addressLimit")
    case .draining: .sockets("RefusalTests", "draining")
    case .overloaded: .sockets("RefusalTests", "overloaded")
    case .callerGone: .sockets("ForwardingTests", "callerGone")
    case .answerCut: .sockets("ForwardingTests", "cutAnswer")
    case .queueFull, .queueTimeout, .failedAnswer: .sockets("ReasonPlacesTests", "callsOwn")
    case .breakerOpen, .noHealthyInstance, .deadlinePassed, .connectFailed, .connectionLost, .attemptTimeout,
      .badAnswer:
      .sockets("BarsTests", "reasons")
    case .identityMissing, .identityInvalid, .notAllowed: .sockets("IdentityTests", "refusals")
    case .identityUnavailable: .sockets("IdentityTests", "several")
    case .replayed: .sockets("IdentityTests", "passwordsAndSignatures")
    case .tooManyFailures: .sockets("IdentityTests", "brake")
    case .retired: .sockets("Routes/TreatmentTests", "retirement")
    case .tunnelIdle: .sockets("WebSocketProxyTests", "idle")
    case .tlsFailed: .sockets("Security/SecurityTests", "upstreams")
    case .shed: .sockets("LimitTests", "adaptive")
    case .throttled: .sockets("LimitTests", "throttle")
    case .subsetEmpty: .sockets("Routes/SubsetTests", "subsets")
    case .keyMissing, .keyMalformed: .sockets("State/KeyedTests", "keys")
    case .keyMismatch: .sockets("State/KeyedTests", "repeats")
    case .keyInUse, .stateFull: .sockets("State/KeyedTests", "inUseAndFull")
    case .answerNotKept: .sockets("State/KeyedTests", "framings")
    case .stateUnavailable: .sockets("State/KeyedTests", "away")
    case .queueUnknown, .messageUnknown, .messageMalformed, .backlogFull, .leaseLost, .topicUnknown, .streamUnknown,
      .groupUnknown, .versionConflict, .eventMisfit, .snapshotUnknown:
      .sockets("State/MessagingTests", "reasons")
    case .bodyMisfit: .sockets("Routes/JSONBodiesTests", "refused")
    case .sagaUnknown: .flow("HTTP of sagas is a translation of its own: SagaAPITests give it")
    case .connectTimeout: .flow("the loopback either accepts or refuses; a host that swallows packets takes a network")
    case .internalError: .flow("a defect of ours: no input is known that leads to it")
    }
  }

  @Test(
    "every reason is seen on sockets, or its flow gives it and this says why", arguments: Reason.allCases.dropFirst())
  func everyReason(_ reason: Reason) throws {
    let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    func holds(_ path: String, _ words: [String]) throws -> Bool {
      let text = try String(contentsOf: folder.appendingPathComponent(path), encoding: .utf8)
      return words.contains { text.contains($0) }
    }
    switch try #require(Self.place(reason)) {
    case .sockets(let file, let test):
      #expect(try holds(file + ".swift", ["func \(test)"]))
      #expect(try holds(file + ".swift", ["\"\(reason.name)\"", "(.\(reason)", " .\(reason)"]))
    case .flow(let why):
      #expect(!why.isEmpty)
      #expect(try holds("../WeirFlowsTests/ReasonsGivenTests.swift", [".\(reason)"]))
    }
  }

  @Test("a full queue, a wait that is too long and a failed answer with a fallback", arguments: [1, 4])
  func callsOwn(_ loops: Int) async throws {
    func seen(_ reason: Reason, gate: Gate?, _ adjust: (inout Setup) -> Void) async throws {
      let backend = try Backend(answering: { _, _, _ in
        gate?.wait()
        return gate == nil ? Backend.status(500) : Backend.ok()
      })
      var setup = Setup()
      setup.loops = loops
      setup.call.retry.attempts = 1
      adjust(&setup)
      try await withProxy(to: [backend.port], setup) { server, port in
        let first = try Wire(port: port)
        try first.send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n")
        try await eventually("the first is there") { backend.count == 1 }
        if gate != nil { #expect(try Wire(port: port).get().reason == "\(reason.name)") }
        gate?.open()
        _ = try first.answer()
        let reports = await server.reports()
        #expect(reports.flatMap(\.records).contains { $0.reason == reason })
        #expect(reports.reduce(0) { $0 + Int($1.ledger.edgeReason(0, reason)) } == 1)
      }
    }
    try await seen(.queueFull, gate: Gate()) {
      $0.atOnce = 1
      $0.call.queue.length = 0
    }
    try await seen(.queueTimeout, gate: Gate()) {
      $0.atOnce = 1
      $0.call.queue.length = 4
      $0.call.queue.wait = .milliseconds(50)
    }
    try await seen(.failedAnswer, gate: nil) { $0.call.optional = true }
  }
}
