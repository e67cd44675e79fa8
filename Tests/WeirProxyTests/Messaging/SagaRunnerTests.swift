// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy
import WeirStorage
import WeirWire

/// Sagas on real sockets, with a state process that is killed at each of its changes, and a proxy that ends at each call (AM-4).
@Suite struct SagaRunnerTests {
  /// What participants have done, by key; an undo bars its step.
  final class Participants: Sendable {
    struct Row {
      var done = 0
      var undone = 0
      var isBarred = false
    }
    private struct Shared {
      var rows: [String: Row] = [:]
      var calls = 0
      var violation: String?
    }
    private let shared = Mutex(Shared())
    /// The path that says no; nil: none does.
    let refused: String?
    /// Told of each call when its effect is there, and before it is answered.
    let whenDone: @Sendable (Int) -> Void

    init(refused: String?, whenDone: @escaping @Sendable (Int) -> Void = { _ in }) {
      self.refused = refused
      self.whenDone = whenDone
    }

    func answer(_ head: String) -> String {
      let path = head.split(separator: " ").dropFirst().first.map(String.init) ?? ""
      let key = field("idempotency-key", of: head) ?? ""
      let isUndo = key.hasSuffix("/undo")
      let step = isUndo ? String(key.dropLast(5)) : key
      let (status, call) = shared.withLock { shared in
        shared.calls += 1
        var row = shared.rows[step] ?? Row()
        defer { shared.rows[step] = row }
        if isUndo {
          row.isBarred = true
          row.undone = row.done
          return (200, shared.calls)
        }
        if path == refused || row.isBarred { return (422, shared.calls) }
        if row.done == 0 { row.done = 1 }
        return (200, shared.calls)
      }
      whenDone(call)
      return Backend.status(status)
    }

    /// Of the saga with this id, by step.
    func effects(_ id: String, of count: Int) -> [Int] {
      shared.withLock { shared in
        (1...count).map { step in shared.rows["order/\(id)/\(step)"].map { $0.done - $0.undone } ?? 0 }
      }
    }
  }

  static let script = SagaScript([
    [.init(act: "POST s/1", undo: "POST s/1/undo")], [.init(act: "POST s/2", undo: "POST s/2/undo")],
    [.init(act: "POST s/3", undo: "POST s/3/undo")],
  ])

  static func setup(_ folder: String) -> Setup {
    var setup = Setup()
    setup.call.retry.attempts = 1
    setup.configure = { configuration in
      configuration.statePath = StateProcess.socketPath(folder)
      var queue = QueueDeclaration(name: "sagas.order")
      // So that what a dead runner had is soon another's.
      queue.visibility = 2000
      queue.attempts = .max
      queue.backoffFirst = 100
      queue.backoffMax = 500
      configuration.queues = [queue]
      var log = LogDeclaration(name: "sagas.order")
      log.forgetting = .streams
      configuration.logs = [log]
      var settings = SagaRun.Settings()
      settings.visibility = .seconds(2)
      settings.rest = .milliseconds(100)
      settings.saga.first = .milliseconds(20)
      settings.saga.max = .milliseconds(100)
      settings.saga.attempts = 50
      var calls: [String: SagaWork.Call] = [:]
      for step in script.steps {
        for target in [step.act, step.undo ?? ""] {
          calls[target] = SagaWork.Call(
            edge: 0, service: "s", method: "POST", path: String(target.dropFirst(6)), slots: 16)
        }
      }
      configuration.sagas = [SagaWork(name: "order", script: script, settings: settings, calls: calls)]
    }
    return setup
  }

  /// The state process, started again whenever it has died.
  final class Kept: Sendable {
    let folder: String
    private let pid = Mutex<Int32>(-1)
    private let died = Mutex(0)

    init(dyingAt number: Int, _ point: String) throws {
      folder = try Files.canonical(NSTemporaryDirectory()) + "/weir-\(UUID().uuidString.prefix(8))"
      try Files.makeFolder(folder)
      try start(number, point)
    }

    private func start(_ number: Int, _ point: String) throws {
      let spawn = Spawn(
        path: Files.parent(of: Files.ownExecutable ?? "") + "/weir-state-fixture",
        arguments: ["weir-state-fixture", folder, "\(number)", point],
        environment: [(name: "PATH", value: "/usr/bin:/bin")])
      let started = try spawn.start()
      pid.withLock { $0 = started }
    }

    var deaths: Int { died.withLock { $0 } }

    /// Has it run again, if it has died.
    func look() throws {
      guard case .ended = Children.reap(pid: pid.withLock { $0 }, waiting: false) else { return }
      died.withLock { $0 += 1 }
      try start(0, "never")
    }

    func end() {
      let pid = pid.withLock { $0 }
      Children.send(.kill, to: pid)
      _ = Children.reap(pid: pid, waiting: true)
      try? FileManager.default.removeItem(atPath: folder)
    }
  }

  static func begin(_ id: String, _ server: ProxyServer, _ kept: Kept) async throws {
    let message = NewMessage(id: Array(id.utf8), body: Array("{}".utf8))
    try await eventually("\(id) is accepted") {
      try kept.look()
      if case .enqueued = await server.ask(.enqueue(queue: "sagas.order", [message]), within: 1_000_000_000) {
        return true
      }
      return false
    }
  }

  /// How it has ended, when it has.
  static func end(_ id: String, _ server: ProxyServer, _ kept: Kept) async throws -> SagaHistory.State {
    let state = Mutex<SagaHistory.State?>(nil)
    let seen = Mutex("")
    try await eventually("\(id) is over") {
      try kept.look()
      let reply = await server.ask(
        .read(log: "sagas.order", key: Array(id.utf8), after: 0, limit: 1000, wait: 0), within: 1_000_000_000)
      guard case .entries(let entries) = reply else { return false }
      guard let history = SagaHistory(entries.map(\.body)) else { return false }
      seen.withLock { $0 = "\(history.entries)" }
      guard history.isOver else { return false }
      state.withLock { $0 = history.state }
      return true
    }
    return try #require(state.withLock { $0 }, "\(seen.withLock { $0 })")
  }

  /// Declared, begun, leased, eight or more commits, settled: at each the process dies.
  @Test("a state process that is killed at each change", arguments: 1...14, ["inside", "after"])
  func dyingState(number: Int, point: String) async throws {
    for refused in [nil, "/3"] {
      let kept = try Kept(dyingAt: number, point)
      defer { kept.end() }
      let participants = Participants(refused: refused)
      let backend = try Backend(answering: { head, _, _ in participants.answer(head) })
      try await withProxy(to: [backend.port], Self.setup(kept.folder)) { server, _ in
        try await Self.begin("o", server, kept)
        let state = try await Self.end("o", server, kept)
        #expect(state == (refused == nil ? .finished : .compensated))
      }
      #expect(participants.effects("o", of: 3) == (refused == nil ? [1, 1, 1] : [0, 0, 0]))
      // The last changes are there only when it goes back.
      #expect(kept.deaths == 1 || number > 5)
    }
  }

  /// The effect of a call is there, its answer is never read, for the proxy has ended; the next one goes on.
  @Test("a proxy that ends at each call", arguments: 1...5)
  func endingProxy(number: Int) async throws {
    for refused in [nil, "/3"] {
      let kept = try Kept(dyingAt: 0, "never")
      defer { kept.end() }
      let reached = Mutex(false)
      let held = Gate()
      let participants = Participants(refused: refused) { call in
        guard call == number else { return }
        reached.withLock { $0 = true }
        held.wait()
      }
      let backend = try Backend(answering: { head, _, _ in participants.answer(head) })
      let calls = refused == nil ? 3 : 5
      try await withProxy(to: [backend.port], Self.setup(kept.folder)) { server, _ in
        try await Self.begin("o", server, kept)
        if number > calls {
          _ = try await Self.end("o", server, kept)
        } else {
          try await eventually("call \(number)") { reached.withLock { $0 } }
        }
      }
      try await withProxy(to: [backend.port], Self.setup(kept.folder)) { server, _ in
        let state = try await Self.end("o", server, kept)
        #expect(state == (refused == nil ? .finished : .compensated))
      }
      held.open()
      #expect(participants.effects("o", of: 3) == (refused == nil ? [1, 1, 1] : [0, 0, 0]))
    }
  }

  /// `WEIR_SAGAS=10000` has as many as docs/bars.md speaks of.
  @Test("many in flight at the same time, all with a call out or in line; all are finished")
  func many() async throws {
    let count = ProcessInfo.processInfo.environment["WEIR_SAGAS"].flatMap { Int($0) } ?? 500
    let kept = try Kept(dyingAt: 0, "never")
    defer { kept.end() }
    let isOpen = Mutex(false)
    let participants = Participants(refused: nil) { _ in
      // A minute: a test that forgets to open it fails, and does not hang.
      let limit = SystemClock.now() + .seconds(60)
      while !isOpen.withLock({ $0 }) && SystemClock.now() < limit { SystemThread.pause(nanoseconds: 10_000_000) }
    }
    let backend = try Backend(answering: { head, _, _ in participants.answer(head) })
    var setup = Self.setup(kept.folder)
    setup.loops = 2
    let configure = setup.configure
    setup.configure = { configuration in
      configure(&configuration)
      configuration.queues[0].visibility = 60_000
      configuration.sagas[0].settings.visibility = .seconds(60)
    }
    try await withProxy(to: [backend.port], setup) { server, _ in
      func counts() async -> QueueCounts? {
        guard case .counts(let counts) = await server.ask(.look(queue: "sagas.order", .counts), within: 10_000_000_000)
        else { return nil }
        return counts
      }
      let before = OwnMemory.heap ?? 0
      for start in stride(from: 0, to: count, by: 500) {
        let messages = (start..<min(count, start + 500)).map {
          NewMessage(id: Array("m-\($0)".utf8), body: Array("{}".utf8))
        }
        let reply = await server.ask(.enqueue(queue: "sagas.order", messages), within: 60_000_000_000)
        guard case .enqueued = reply else {
          Issue.record("\(String(describing: reply))")
          return
        }
      }
      try await eventually("all are in flight") { await counts()?.inFlight == Int64(count) }
      try await eventually("each has begun") {
        guard case .logCounts(let log) = await server.ask(.lookLog(log: "sagas.order"), within: 10_000_000_000) else {
          return false
        }
        return log.last >= Int64(count)
      }
      let held = max(0, (OwnMemory.heap ?? 0) - before)
      isOpen.withLock { $0 = true }
      try await eventually("all are over") {
        guard let counts = await counts() else { return false }
        return counts.inFlight + counts.waiting + counts.delayed == 0
      }
      print("\(count) sagas in flight: \(held / count) bytes each in the proxy, \(held >> 20) MiB together")
      #expect(server.sagaTallies["order"]?.finished == count)
      for i in 0..<count { #expect(participants.effects("m-\(i)", of: 3) == [1, 1, 1]) }
    }
  }
}
