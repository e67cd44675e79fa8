// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import TestPrograms
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirProxy
import WeirStorage
import WeirWire

/// Requests with a key on real sockets, with a state process that is a thread of the test (AM-5).
@Suite struct KeyedTests {
  /// A folder with a state process that can be ended and started again.
  final class State: Sendable {
    let folder: String
    private let running = Mutex<(stop: Descriptor, gone: Gate)?>(nil)
    /// While it is closed no answer gets to the disk.
    let disk: Disk

    final class Disk: Sendable {
      private let isOpen = Mutex(true)
      func set(_ open: Bool) { isOpen.withLock { $0 = open } }
      func wait() {
        // 20 s: a test that forgets to open it fails, and does not hang.
        let limit = SystemClock.now() + .seconds(20)
        while !isOpen.withLock({ $0 }) && SystemClock.now() < limit { SystemThread.pause(nanoseconds: 1_000_000) }
      }
    }

    private let settings: SQLiteStore.Settings

    init(running: Bool = true, _ settings: SQLiteStore.Settings = .init()) throws {
      disk = Disk()
      self.settings = settings
      folder = try Files.canonical(NSTemporaryDirectory()) + "/weir-\(UUID().uuidString.prefix(8))"
      try Files.makeFolder(folder)
      if running { try start() }
    }

    func start() throws {
      let (read, write) = try Descriptor.pipe()
      let gone = Gate()
      Listeners.waitUntilNone(at: StateProcess.socketPath(folder))
      let listener = try Listening.unix(path: StateProcess.socketPath(folder))
      let path = StateProcess.databasePath(folder)
      let (disk, settings) = (disk, settings)
      try SystemThread.start {
        do {
          let store = SlowStore(try SQLiteStore(path: path, settings), disk)
          try StateServer(listener: listener, store: store) { _ in }.serve(until: read.number)
        } catch { Issue.record("\(error)") }
        gone.open()
      }
      running.withLock { $0 = (write, gone) }
    }

    func end() throws {
      guard let (stop, gone) = running.withLock({ $0.take() }) else { return }
      try stop.writeAll([1])
      gone.wait()
    }

    deinit {
      try? end()
      try? FileManager.default.removeItem(atPath: folder)
    }
  }

  final class SlowStore: StateStore {
    private let inner: SQLiteStore
    private let disk: State.Disk
    init(_ inner: SQLiteStore, _ disk: State.Disk) {
      self.inner = inner
      self.disk = disk
    }
    var isLowOnSpace: Bool { inner.isLowOnSpace }
    func compact() throws { try inner.compact() }
    func transact<Result>(_ body: (any StateTransaction) throws -> Result) throws -> Result {
      disk.wait()
      return try inner.transact(body)
    }
  }

  static func setup(_ state: State, _ change: (inout IdempotencyRecord.Settings) -> Void = { _ in }) -> Setup {
    var setup = Setup()
    var settings = IdempotencyRecord.Settings()
    change(&settings)
    setup.route.idempotency = settings
    setup.route.timeout = .seconds(15)
    let folder = state.folder
    setup.configure = { configuration in
      configuration.keyed = [KeyedRoute(name: "orders")]
      configuration.statePath = StateProcess.socketPath(folder)
    }
    return setup
  }

  static func post(_ key: String, _ body: String = "a book", _ path: String = "/orders", _ more: String = "") -> String
  {
    "POST \(path) HTTP/1.1\r\nHost: test.example\r\nIdempotency-Key: \(key)\r\nContent-Length: \(body.utf8.count)\r\n"
      + "\(more)\r\n\(body)"
  }

  /// Says which execution it is.
  static func orders() throws -> Backend {
    try Backend(answering: { head, body, backend in
      let text = "order \(backend.count) of \(String(decoding: body, as: UTF8.self))"
      return "HTTP/1.1 201 Made\r\nLocation: /orders/\(backend.count)\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT\r\n"
        + "Connection: keep-alive\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)"
    })
  }

  @Test("a repeat gets the same answer, another request with the key 422, another key another execution")
  func repeats() async throws {
    let state = try State()
    let backend = try Self.orders()
    try await withProxy(to: [backend.port], Self.setup(state)) { server, port in
      let client = try Wire(port: port)
      let first = try client.ask(Self.post("k-1"))
      #expect(first.status == 201 && first.text == "order 1 of a book" && first["location"] == "/orders/1")
      #expect(first["idempotency-replayed"] == nil && first["date"]?.contains("2001") == false)
      for _ in 0..<3 {
        let again = try client.ask(Self.post("k-1"))
        #expect(again.status == 201 && again.text == first.text && again["location"] == "/orders/1")
        #expect(again["idempotency-replayed"] == "true" && again["date"] != nil)
      }
      for other in [
        Self.post("k-1", "a pen"), Self.post("k-1", "a book", "/orders?now"), Self.post("k-1", "a book", "/other"),
        Self.post("k-1").replacing("POST", with: "PATCH"),
      ] {
        let answer = try client.ask(other)
        #expect(answer.status == 422 && answer.reason == "key-mismatch")
      }
      #expect(try client.ask(Self.post("k-2")).text == "order 2 of a book")
      // Without a key, and where a repeat does no harm anyway, nothing is looked up.
      let plain = "POST /orders HTTP/1.1\r\nHost: test.example\r\nContent-Length: 1\r\n\r\nx"
      #expect(try client.ask(plain).text == "order 3 of x")
      #expect(try client.get("/orders", "Idempotency-Key: k-1\r\n").text == "order 4 of ")
      #expect(backend.count == 4)
      let keyed = try #require(await server.reports().first?.keyed.first)
      #expect(keyed.executed == 2 && keyed.replayed == 3 && keyed.mismatched == 4)
    }
  }

  @Test("a key that must be there, and one that is none")
  func keys() async throws {
    let state = try State()
    let backend = try Self.orders()
    try await withProxy(to: [backend.port], Self.setup(state) { $0.required = true }) { _, port in
      let client = try Wire(port: port)
      let missing = try client.ask("POST / HTTP/1.1\r\nHost: test.example\r\nContent-Length: 1\r\n\r\nx")
      #expect(missing.status == 400 && missing.reason == "key-missing")
      for key in ["a b", String(repeating: "k", count: 256), "a\r\nidempotency-key: b", "\u{e4}"] {
        let answer = try client.ask(Self.post(key))
        #expect(answer.status == 400 && answer.reason == "key-malformed", "\(key)")
      }
      #expect(try client.ask(Self.post(String(repeating: "k", count: 255))).status == 201)
      #expect(try client.get("/").status == 201)
      #expect(backend.count == 2)
    }
  }

  /// AM-5: concurrent duplicates execute once.
  @Test("of a hundred at the same time one executes, and all get its answer", arguments: [1, 2])
  func hundred(loops: Int) async throws {
    let state = try State()
    let gate = Gate()
    let backend = try Backend(answering: { _, _, backend in
      gate.wait()
      return Backend.ok("order \(backend.count)")
    })
    var setup = Self.setup(state)
    setup.loops = loops
    try await withProxy(to: [backend.port], setup) { server, port in
      let replayed = Atomic<Int>(0)
      try SystemThread.start {
        // Once all have asked; those that come later are replayed without a wait.
        SystemThread.pause(nanoseconds: 300_000_000)
        gate.open()
      }
      try await onThreads(100) { _ in
        let answer = try Wire(port: port).ask(Self.post("one"))
        #expect(answer.status == 200 && answer.text == "order 1")
        if answer["idempotency-replayed"] == "true" { replayed.add(1, ordering: .relaxed) }
      }
      #expect(backend.count == 1)
      #expect(replayed.load(ordering: .relaxed) == 99)
    }
  }

  @Test("what was done is known to the next state process and the next plane")
  func restart() async throws {
    let state = try State()
    let backend = try Self.orders()
    try await withProxy(to: [backend.port], Self.setup(state)) { _, port in
      let client = try Wire(port: port)
      #expect(try client.ask(Self.post("k")).text == "order 1 of a book")
      try state.end()
      try state.start()
      let again = try client.ask(Self.post("k"))
      #expect(again.text == "order 1 of a book" && again["idempotency-replayed"] == "true")
    }
    try await withProxy(to: [backend.port], Self.setup(state)) { _, port in
      let again = try Wire(port: port).ask(Self.post("k"))
      #expect(again.text == "order 1 of a book" && again["idempotency-replayed"] == "true")
    }
    #expect(backend.count == 1)
  }

  @Test("without a state process what has a key is refused, and nothing else")
  func away() async throws {
    let state = try State(running: false)
    let backend = try Self.orders()
    try await withProxy(to: [backend.port], Self.setup(state)) { _, port in
      let client = try Wire(port: port)
      let answer = try client.ask(Self.post("k"))
      #expect(answer.status == 503 && answer.reason == "state-unavailable" && answer["retry-after"] == "1")
      #expect(try client.get("/").status == 201)
      #expect(backend.count == 1)
      try state.start()
      #expect(try client.ask(Self.post("k")).text == "order 2 of a book")
    }
  }

  @Test("an answer is on the disk before it is sent")
  func stored() async throws {
    let state = try State()
    let executed = Gate()
    let backend = try Backend(answering: { _, _, _ in
      // Closed before the answer leaves: its transaction must wait.
      state.disk.set(false)
      executed.open()
      return Backend.ok("done")
    })
    try await withProxy(to: [backend.port], Self.setup(state)) { _, port in
      let client = try Wire(port: port)
      try client.send(Self.post("k"))
      executed.wait()
      var interests = [Poll.Interest(client.socket.number)]
      #expect(try Poll.wait(&interests, nanoseconds: 300_000_000) == 0)
      state.disk.set(true)
      #expect(try client.answer().text == "done")
    }
  }

  @Test("a state process that dies while the request is executed costs a moment")
  func dies() async throws {
    let state = try State()
    let backend = try Backend(answering: { _, _, backend in
      try? state.end()
      try? SystemThread.start {
        SystemThread.pause(nanoseconds: 200_000_000)
        try? state.start()
      }
      return Backend.ok("order \(backend.count)")
    })
    try await withProxy(to: [backend.port], Self.setup(state)) { _, port in
      let client = try Wire(port: port)
      #expect(try client.ask(Self.post("k")).text == "order 1")
      #expect(try client.ask(Self.post("k"))["idempotency-replayed"] == "true")
      #expect(backend.count == 1)
    }
  }

  @Test("a failure is not kept: the repeat executes again", arguments: [500, 503, 429, 0])
  func failures(status: Int) async throws {
    let state = try State()
    let backend = try Backend { wire, backend in
      while let head = try wire.head() {
        _ = try wire.body(of: head, isAnswer: false)
        if backend.requests.add(1, ordering: .relaxed).oldValue == 0 {
          if status == 0 { return wire.reset() }
          try wire.send(Backend.status(status))
        } else {
          try wire.send(Backend.ok("second"))
        }
      }
    }
    var setup = Self.setup(state)
    setup.call.retry.attempts = 1
    setup.call.breaks = false
    try await withProxy(to: [backend.port], setup) { _, port in
      let client = try Wire(port: port)
      #expect(try client.ask(Self.post("k")).status == (status == 0 ? 502 : status))
      let again = try client.ask(Self.post("k"))
      #expect(again.text == "second" && again["idempotency-replayed"] == nil)
      #expect(try client.ask(Self.post("k"))["idempotency-replayed"] == "true")
      #expect(backend.count == 2)
    }
  }

  @Test("a request with a key is repeated by itself when its connection is lost")
  func repeatable() async throws {
    let state = try State()
    let backend = try Backend { wire, backend in
      while let head = try wire.head() {
        let (body, _) = try wire.body(of: head, isAnswer: false)
        #expect(field("idempotency-key", of: head) == "k")
        if backend.requests.add(1, ordering: .relaxed).oldValue == 0 { return wire.reset() }
        try wire.send(Backend.ok(String(decoding: body, as: UTF8.self)))
      }
    }
    try await withProxy(to: [backend.port], Self.setup(state)) { _, port in
      let client = try Wire(port: port)
      #expect(
        try client.ask(
          "POST / HTTP/1.1\r\nHost: test.example\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n"
            + "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        ).text == "abcde")
      #expect(backend.count == 2)
    }
  }

  /// What keys are for: the answer is lost on the way, and the client asks again.
  @Test("a caller that leaves finds the answer when it comes back")
  func leaves() async throws {
    let state = try State()
    let arrived = Gate()
    let gate = Gate()
    let backend = try Backend(answering: { _, _, backend in
      arrived.open()
      gate.wait()
      return Backend.ok("order \(backend.count)")
    })
    try await withProxy(to: [backend.port], Self.setup(state)) { server, port in
      do {
        let client = try Wire(port: port)
        try client.send(Self.post("k"))
        arrived.wait()
        client.reset()
      }
      let second = try Wire(port: port)
      try second.send(Self.post("k"))
      gate.open()
      let answer = try second.answer()
      #expect(answer.text == "order 1" && answer["idempotency-replayed"] == "true")
      #expect(backend.count == 1)
      try await eventually("nothing is left under way") {
        await server.reports().allSatisfy { $0.clients <= 1 }
      }
    }
  }

  @Test("bodies and answers of every framing are kept, as far as they may be long")
  func framings() async throws {
    let state = try State()
    let backend = try Backend { wire, backend in
      while let head = try wire.head() {
        _ = try wire.body(of: head, isAnswer: false)
        backend.requests.add(1, ordering: .relaxed)
        if head.contains(" /chunked ") {
          try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n4\r\nchun\r\n")
          try wire.send("3\r\nked\r\n0\r\nT: x\r\n\r\n")
        } else if head.contains(" /close ") {
          try wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil ")
          try wire.send("the end")
          return
        } else if head.contains(" /nothing ") {
          try wire.send("HTTP/1.1 204 No Content\r\nA: b\r\n\r\n")
        } else if head.contains(" /large ") {
          try wire.send(Backend.ok(String(repeating: "x", count: 5000)))
        } else {
          try wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
          for _ in 0..<5 { try wire.send("3e8\r\n" + String(repeating: "y", count: 1000) + "\r\n") }
          try wire.send("0\r\n\r\n")
        }
      }
    }
    try await withProxy(to: [backend.port], Self.setup(state) { $0.answer = 4000 }) { server, port in
      let client = try Wire(port: port)
      for (path, text) in [("/chunked", "chunked"), ("/close", "until the end"), ("/nothing", "")] {
        let first = try client.ask(Self.post(path, "b", path))
        let again = try client.ask(Self.post(path, "b", path))
        #expect(first.text == text && again.text == text && again.status == first.status)
        #expect(again["idempotency-replayed"] == "true" && again["a"] == first["a"])
        #expect(again["transfer-encoding"] == nil && again["trailer"] == nil)
      }
      #expect(backend.count == 3)
      // Done, and too large to be kept: it goes out once.
      for path in ["/large", "/long"] {
        #expect(try client.ask(Self.post(path, "b", path)).body.count == 5000)
        let again = try client.ask(Self.post(path, "b", path))
        #expect(again.status == 409 && again.reason == "answer-not-kept")
      }
      #expect(backend.count == 5)
      let big = String(repeating: "z", count: 70_000)
      #expect(try Wire(port: port).ask(Self.post("big", big)).status == 413)
      #expect(backend.count == 5)
    }
  }

  @Test("a repeat that waits too long is told so, and a full disk refuses before anything is done")
  func inUseAndFull() async throws {
    let state = try State()
    let gate = Gate()
    let arrived = Gate()
    let backend = try Backend { wire, backend in
      while let head = try wire.head() {
        _ = try wire.body(of: head, isAnswer: false)
        backend.requests.add(1, ordering: .relaxed)
        // It has begun to answer, so its timeout is met.
        try wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl")
        arrived.open()
        gate.wait()
        try wire.send("ow")
      }
    }
    var setup = Self.setup(state)
    setup.route.timeout = .seconds(5)
    try await withProxy(to: [backend.port], setup) { _, port in
      let first = try Wire(port: port)
      try first.send(Self.post("k"))
      arrived.wait()
      let second = try Wire(port: port).ask(Self.post("k"))
      #expect(second.status == 409 && second.reason == "key-in-use" && second["retry-after"] != nil)
      gate.open()
      #expect(try first.answer().text == "slow")
      #expect(backend.count == 1)
    }
    var full = SQLiteStore.Settings()
    full.reserveBytes = .max
    let other = try State(running: true, full)
    try await withProxy(to: [backend.port], Self.setup(other)) { _, port in
      let answer = try Wire(port: port).ask(Self.post("k"))
      #expect(answer.status == 507 && answer.reason == "state-full")
      #expect(backend.count == 1)
    }
  }

  @Test("a client of HTTP/2 gets the same", .enabled(if: Script.has("h2")))
  func http2() async throws {
    let state = try State()
    let backend = try Self.orders()
    try await withProxy(to: [backend.port], Self.setup(state)) { _, port in
      try HTTP2Tests.play("keyed", port)
      #expect(backend.count == 1)
    }
  }
}
