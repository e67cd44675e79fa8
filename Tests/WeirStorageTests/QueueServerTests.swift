// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// What the tests of queues say to the state process.
struct QueuePeer {
  let peer: StatePeer
  let queue: String

  init(_ folder: String, _ declaration: QueueDeclaration? = nil, queue: String = "q") throws {
    peer = try StatePeer(folder)
    self.queue = declaration?.name ?? queue
    if let declaration { #expect(try peer.ask(.declare([declaration])) == .declared) }
  }

  @discardableResult
  func enqueue(_ id: String, key: String = "", body: String = "x", at: Int64 = 0) throws -> StateReply {
    let message = NewMessage(id: bytes(id), key: bytes(key), notBefore: at, body: bytes(body))
    return try peer.ask(.enqueue(queue: queue, [message]))
  }

  func lease(_ max: UInt16 = 1, visibility: Int64? = nil, wait: Int64 = 0) throws -> [LeasedMessage] {
    let reply = try peer.ask(.lease(queue: queue, max: max, visibility: visibility, wait: wait))
    guard case .leased(let messages) = reply else {
      Issue.record("\(reply)")
      return []
    }
    return messages
  }

  func settle(_ message: LeasedMessage, _ verdict: Settlement.Verdict) throws -> SettleResult {
    let settlement = Settlement(sequence: message.sequence, attempt: message.attempt, verdict: verdict)
    let reply = try peer.ask(.settle(queue: queue, [settlement]))
    guard case .settled(let results) = reply, results.count == 1 else {
      Issue.record("\(reply)")
      return .lost
    }
    return results[0]
  }

  func fail(_ message: LeasedMessage, after: Int64? = nil, isFinal: Bool = false) throws -> SettleResult {
    try settle(message, .nack(error: "no", status: 503, latency: 7, retryAfter: after, isFinal: isFinal))
  }

  func counts() throws -> QueueCounts {
    let reply = try peer.ask(.look(queue: queue, .counts))
    guard case .counts(let counts) = reply else {
      Issue.record("\(reply)")
      return QueueCounts()
    }
    return counts
  }

  /// There is nothing in it, whatever its state.
  func isEmpty() throws -> Bool {
    var counts = try counts()
    #expect(counts.declaredAt > 0)
    counts.declaredAt = 0
    return counts == QueueCounts()
  }

  func view(_ id: String) throws -> MessageView? {
    let reply = try peer.ask(.look(queue: queue, .message(id: bytes(id))))
    guard case .message(let view) = reply else {
      Issue.record("\(reply)")
      return nil
    }
    return view
  }

  func steer(_ steer: QueueSteer) throws -> Int64 {
    let reply = try peer.ask(.steer(queue: queue, steer))
    guard case .steered(let count) = reply else {
      Issue.record("\(reply)")
      return -1
    }
    return count
  }
}

func text(_ message: LeasedMessage?) -> String { message.map { String(decoding: $0.message.id, as: UTF8.self) } ?? "-" }

/// A queue in which failed messages are tried again at once.
func quick(_ change: (inout QueueDeclaration) -> Void = { _ in }) -> QueueDeclaration {
  var declaration = QueueDeclaration(name: "q")
  declaration.backoffFirst = 1
  declaration.backoffMax = 1
  declaration.backoffJitter = 0
  change(&declaration)
  return declaration
}

@Suite struct QueueServerTests {
  private func start(_ scratch: Scratch, _ settings: SQLiteStore.Settings = .init()) throws -> RunningState {
    let path = StateProcess.databasePath(scratch.path)
    return try RunningState({ try SQLiteStore(path: path, settings) }, scratch.path)
  }

  private func taken(_ id: String, isDuplicate: Bool = false) -> StateReply {
    .enqueued([Enqueued(id: bytes(id), isDuplicate: isDuplicate)])
  }

  @Test("enqueued, leased, acked, shown; an ack may be said twice, another's lease is lost")
  func life() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let q = try QueuePeer(scratch.path, quick())
    #expect(try q.enqueue("a", key: "k", body: "payload") == taken("a"))
    #expect(try q.view("a")?.state == .waiting)
    let leased = try #require(try q.lease().first)
    #expect(leased.attempt == 1 && leased.message.body == bytes("payload") && leased.message.key == bytes("k"))
    #expect(leased.until > leased.enqueuedAt && text(leased) == "a")
    #expect(try q.lease().isEmpty)
    #expect(try q.view("a")?.state == .inFlight)
    var late = leased
    late.attempt = 2
    #expect(try q.settle(late, .ack(result: [])) == .lost)
    #expect(try q.settle(leased, .ack(result: [7])) == .done)
    #expect(try q.settle(leased, .ack(result: [7])) == .done)
    #expect(try q.fail(leased) == .lost)
    let view = try #require(try q.view("a"))
    #expect(view.state == .done && view.result == [7] && view.attempts == 1 && view.endedAt != nil)
    #expect(try q.isEmpty())
    #expect(try q.view("b") == nil)
    #expect(try QueuePeer(scratch.path, queue: "none").enqueue("a") == .unknownQueue)
    try state.end()
  }

  @Test("the same id is taken once: in one request, in another, after a restart; again when its window is over")
  func dedup() throws {
    let scratch = try Scratch()
    var state = try start(scratch)
    var q = try QueuePeer(scratch.path, quick())
    let twice = [NewMessage(id: [1], body: [1]), NewMessage(id: [2], body: [2]), NewMessage(id: [1], body: [3])]
    let reply = try q.peer.ask(.enqueue(queue: "q", twice))
    #expect(
      reply
        == .enqueued([
          Enqueued(id: [1], isDuplicate: false), Enqueued(id: [2], isDuplicate: false),
          Enqueued(id: [1], isDuplicate: true),
        ]))
    #expect(try q.counts().waiting == 2)
    try state.end()
    state = try start(scratch)
    q = try QueuePeer(scratch.path)
    #expect(try q.peer.ask(.enqueue(queue: "q", [twice[0]])) == .enqueued([Enqueued(id: [1], isDuplicate: true)]))
    let first = try #require(try q.lease().first)
    #expect(first.message.body == [1])
    #expect(try q.settle(first, .ack(result: [])) == .done)
    #expect(try q.peer.ask(.enqueue(queue: "q", [twice[0]])) == .enqueued([Enqueued(id: [1], isDuplicate: true)]))
    // No window any more: who is done can come again, who waits not.
    #expect(try q.peer.ask(.declare([quick { $0.dedup = 0 }])) == .declared)
    #expect(try q.peer.ask(.enqueue(queue: "q", [twice[2]])) == .enqueued([Enqueued(id: [1], isDuplicate: false)]))
    #expect(try q.peer.ask(.enqueue(queue: "q", [twice[1]])) == .enqueued([Enqueued(id: [2], isDuplicate: true)]))
    #expect(try q.lease(10).map(\.message.body) == [[2], [3]])
    try state.end()
  }

  @Test("a key's messages go one after the other, also over a restart and a failure")
  func order() throws {
    let scratch = try Scratch()
    var state = try start(scratch)
    var q = try QueuePeer(
      scratch.path,
      quick {
        $0.backoffFirst = 600_000; $0.backoffMax = 600_000
      })
    for i in 1...3 { try q.enqueue("a\(i)", key: "a") }
    try q.enqueue("b1", key: "b")
    let leased = try q.lease(10)
    #expect(leased.map(text) == ["a1", "b1"])
    #expect(try q.counts().blocked == 2)
    try state.end()
    state = try start(scratch)
    q = try QueuePeer(scratch.path)
    // The leases are what they were.
    #expect(try q.lease(10).isEmpty)
    #expect(try q.settle(leased[1], .ack(result: [])) == .done)
    guard case .retry = try q.fail(leased[0]) else {
      Issue.record("not tried again")
      return
    }
    #expect(try q.lease(10).isEmpty)
    try state.end()
    state = try start(scratch)
    q = try QueuePeer(scratch.path)
    // It waits for its retry, and holds its key.
    #expect(try q.lease(10).isEmpty)
    let counts = try q.counts()
    #expect(counts.retrying == 1 && counts.blocked == 2 && counts.delayed == 1)
    #expect(try q.peer.ask(.declare([quick()])) == .declared)
    #expect(try q.steer(.remove([leased[0].sequence])) == 1)
    for i in 2...3 {
      let next = try q.lease(10)
      #expect(next.map(text) == ["a\(i)"])
      #expect(try q.settle(try #require(next.first), .ack(result: [])) == .done)
    }
    try state.end()
  }

  @Test("who polls is served in turn by what comes: a message, a delay, a lease that is over, a retry; or by nothing")
  func polls() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let q = try QueuePeer(scratch.path, quick())
    let others = try (0..<2).map { _ in try QueuePeer(scratch.path) }
    let poll = StateRequest.lease(queue: "q", max: 1, visibility: 100, wait: 60_000)
    try others[0].peer.send(poll)
    #expect(eventually { try q.counts().pollers == 1 })
    try others[1].peer.send(poll)
    #expect(eventually { try q.counts().pollers == 2 })
    // It does not pass by who came before.
    #expect(try q.lease(wait: 0).isEmpty)
    try q.enqueue("a")
    guard case .leased(let first) = try others[0].peer.next().reply else {
      Issue.record("nothing was leased")
      return
    }
    #expect(first.map(text) == ["a"] && first[0].attempt == 1)
    // Its lease of 100 ms is over, and it is tried again.
    guard case .leased(let second) = try others[1].peer.next().reply else {
      Issue.record("nothing was leased")
      return
    }
    #expect(second.map(text) == ["a"] && second[0].attempt == 2)
    #expect(try q.settle(first[0], .ack(result: [])) == .lost)
    guard case .extended = try q.settle(second[0], .extend(by: 600_000)) else {
      Issue.record("not extended")
      return
    }
    guard case .retry = try q.fail(second[0]) else {
      Issue.record("not tried again")
      return
    }
    let third = try q.lease(wait: 60_000)
    #expect(third.map(\.attempt) == [3])
    #expect(try q.view("a")?.history.map(\.status) == [0, 503])
    #expect(try q.settle(third[0], .giveBack) == .givenBack)
    let fourth = try q.lease(wait: 60_000)
    #expect(fourth.map(\.attempt) == [4])
    #expect(try q.view("a")?.attempts == 3)
    try q.enqueue("later", at: SystemClock.wall().milliseconds + 300)
    #expect(try q.counts().delayed == 1)
    #expect(try q.lease(wait: 60_000).map(text) == ["later"])
    #expect(try q.lease(wait: 50).isEmpty)
    #expect(try q.counts().pollers == 0)
    try state.end()
  }

  @Test("attempts used up or final: dead, with its history; redriven, removed, purged")
  func dead() throws {
    let scratch = try Scratch()
    var state = try start(scratch)
    var q = try QueuePeer(scratch.path, quick { $0.attempts = 2 })
    try q.enqueue("a", key: "k")
    try q.enqueue("b", key: "k")
    guard case .retry = try q.fail(try #require(try q.lease(wait: 60_000).first)) else {
      Issue.record("not tried again")
      return
    }
    let last = try #require(try q.lease(wait: 60_000).first)
    #expect(try q.fail(last) == .dead)
    #expect(try q.fail(try #require(try q.lease(wait: 60_000).first), isFinal: true) == .dead)
    #expect(try q.counts().dead == 2)
    try state.end()
    state = try start(scratch)
    q = try QueuePeer(scratch.path)
    #expect(try q.counts().dead == 2)
    #expect(try q.view("a")?.death == .attempts && q.view("b")?.death == .refused)
    #expect(try q.view("a")?.history.map(\.attempt) == [1, 2])
    let reply = try q.peer.ask(.look(queue: "q", .list(.dead, after: 0, limit: 10)))
    guard case .messages(let dead) = reply else {
      Issue.record("\(reply)")
      return
    }
    #expect(dead.map(\.id) == [bytes("a"), bytes("b")])
    #expect(try q.steer(.redrive([dead[0].sequence, 99_999])) == 1)
    // An old lease is nobody's, the number of attempts goes on.
    #expect(try q.settle(last, .ack(result: [])) == .lost)
    let again = try #require(try q.lease().first)
    #expect(text(again) == "a" && again.attempt == 3 && again.message.body == bytes("x"))
    guard case .retry = try q.fail(again) else {
      Issue.record("its attempts are not counted anew")
      return
    }
    #expect(try q.steer(.redrive([])) == 1)
    #expect(try q.counts().dead == 0)
    try q.enqueue("c")
    #expect(try q.fail(try #require(try q.lease(10, wait: 60_000).first { text($0) == "c" }), isFinal: true) == .dead)
    #expect(try q.steer(.purge(all: false)) == 1)
    #expect(try q.view("c") == nil)
    #expect(try q.steer(.purge(all: true)) == 2)
    #expect(try q.isEmpty())
    #expect(try q.enqueue("a") == taken("a"))
    try state.end()
  }

  @Test("an order over many messages goes in pieces, and counts all of them")
  func pieces() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let q = try QueuePeer(scratch.path, quick())
    for round in 0..<3 {
      let messages = (0..<1000).map { NewMessage(id: bytes("\(round)-\($0)"), body: [1]) }
      guard case .enqueued(let all) = try q.peer.ask(.enqueue(queue: "q", messages)) else {
        Issue.record("refused")
        return
      }
      #expect(all.count == 1000)
    }
    for _ in 0..<2 {
      let leased = try q.lease(1000)
      let settlements = leased.map {
        Settlement(
          sequence: $0.sequence, attempt: $0.attempt,
          verdict: .nack(error: "", status: 400, latency: 0, retryAfter: nil, isFinal: true))
      }
      #expect(try q.peer.ask(.settle(queue: "q", settlements)) == .settled(settlements.map { _ in .dead }))
    }
    #expect(try q.steer(.redrive([])) == 2000)
    #expect(try q.counts().waiting == 3000)
    #expect(try q.lease(1000).count == 1000)
    #expect(try q.steer(.purge(all: true)) == 3000)
    try state.end()
  }

  @Test("what is too long is refused whole, with a time to come again; paused it takes and gives nothing")
  func limits() throws {
    let scratch = try Scratch()
    var state = try start(scratch)
    var q = try QueuePeer(scratch.path, quick { $0.length = 2 })
    #expect(try q.enqueue("a") == taken("a"))
    let two = [NewMessage(id: [1], body: []), NewMessage(id: [2], body: [])]
    guard case .queueFull(let milliseconds) = try q.peer.ask(.enqueue(queue: "q", two)) else {
      Issue.record("not refused")
      return
    }
    #expect((1000...60_000).contains(milliseconds))
    #expect(try q.counts().waiting == 1)
    #expect(try q.enqueue("b") == taken("b"))
    #expect(try q.enqueue("a") == taken("a", isDuplicate: true))
    #expect(try q.steer(.pause) == 0)
    #expect(try q.lease().isEmpty)
    try state.end()
    state = try start(scratch)
    q = try QueuePeer(scratch.path)
    #expect(try q.counts().isPaused)
    #expect(try q.lease(wait: 20).isEmpty)
    #expect(try q.steer(.resume) == 0)
    #expect(try q.lease(10).map(text) == ["a", "b"])
    try state.end()
  }

  @Test("an answer holds four mebibytes of messages and one more; the rest comes with the next")
  func large() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let q = try QueuePeer(scratch.path, quick())
    let body = [UInt8](repeating: 7, count: 1 << 20)
    for i in 0..<6 as Range<UInt8> {
      #expect(
        try q.peer.ask(.enqueue(queue: "q", [NewMessage(id: [i], body: body)]))
          == .enqueued([Enqueued(id: [i], isDuplicate: false)]))
    }
    #expect(try q.lease(10).map(\.message.id) == [[0], [1], [2], [3]])
    #expect(try q.lease(10).map(\.message.id) == [[4], [5]])
    try state.end()
  }

  @Test("many polls for large messages are served within several transactions, all of them")
  func sated() throws {
    let scratch = try Scratch()
    let path = StateProcess.databasePath(scratch.path)
    var settings = StateServer.Settings()
    settings.queues.leasedBytesMax = 2 << 20
    let state = try RunningState({ try SQLiteStore(path: path) }, scratch.path, settings)
    let q = try QueuePeer(scratch.path, quick())
    let poller = try QueuePeer(scratch.path)
    for _ in 0..<6 { try poller.peer.send(.lease(queue: "q", max: 1, visibility: nil, wait: 60_000)) }
    #expect(eventually { try q.counts().pollers == 6 })
    let messages = (0..<6).map { NewMessage(id: [$0], body: [UInt8](repeating: $0, count: 1 << 20)) }
    guard case .enqueued = try q.peer.ask(.enqueue(queue: "q", messages)) else {
      Issue.record("refused")
      return
    }
    for i in 0..<6 as Range<UInt8> {
      guard case .leased(let leased) = try poller.peer.next().reply else {
        Issue.record("nothing was leased")
        return
      }
      #expect(leased.map(\.message.id) == [[i]])
    }
    try state.end()
  }

  @Test("a message whose payload somebody has deleted is dead, and holds up nobody")
  func payloadGone() throws {
    let scratch = try Scratch()
    var state = try start(scratch)
    var q = try QueuePeer(scratch.path, quick())
    for id in ["a", "b"] { try q.enqueue(id, key: "k") }
    try state.end()
    let store = try SQLiteStore(path: StateProcess.databasePath(scratch.path))
    try store.runForTesting("DELETE FROM message_body WHERE sequence = (SELECT min(sequence) FROM message)")
    try store.close()
    state = try start(scratch)
    q = try QueuePeer(scratch.path)
    #expect(try q.lease(10).map(text) == ["b"])
    #expect(try q.view("a")?.state == .dead && q.view("a")?.history.map(\.error) == ["its payload is gone"])
    try state.end()
  }

  @Test("without room nothing is taken, and what is there is worked on")
  func full() throws {
    let scratch = try Scratch()
    var settings = SQLiteStore.Settings()
    do {
      let state = try start(scratch)
      let q = try QueuePeer(scratch.path, quick())
      for id in ["a", "b", "c"] { #expect(try q.enqueue(id) == taken(id)) }
      try state.end()
    }
    settings.reserveBytes = .max
    let state = try start(scratch, settings)
    let q = try QueuePeer(scratch.path, quick())
    #expect(try q.enqueue("d") == .failed(.full))
    #expect(try q.enqueue("a") == taken("a", isDuplicate: true))
    let leased = try q.lease(2)
    #expect(leased.map(text) == ["a", "b"])
    #expect(try q.settle(leased[0], .ack(result: [])) == .done)
    #expect(try q.fail(leased[1], isFinal: true) == .dead)
    #expect(try q.view("a")?.state == .done && q.view("b")?.state == .dead)
    try state.end()
  }

  @Test("a transaction that fails has not happened: who asked is told, the index is that of the disk again")
  func failing() throws {
    let scratch = try Scratch()
    let fails = Switch()
    let path = StateProcess.databasePath(scratch.path)
    let state = try RunningState({ FailingStore(try SQLiteStore(path: path), fails) }, scratch.path)
    let q = try QueuePeer(scratch.path, quick())
    for id in ["a", "b", "c"] { #expect(try q.enqueue(id, key: "k") == taken(id)) }
    let first = try #require(try q.lease().first)
    fails.isOn = true
    #expect(
      try q.peer.ask(
        .settle(
          queue: "q",
          [
            Settlement(sequence: first.sequence, attempt: 1, verdict: .ack(result: []))
          ])) == .failed(.broken))
    #expect(try q.enqueue("d") == .failed(.broken))
    #expect(try q.peer.ask(.declare([QueueDeclaration(name: "new")])) == .failed(.broken))
    #expect(try q.peer.ask(.steer(queue: "q", .purge(all: true))) == .failed(.broken))
    fails.isOn = false
    #expect(
      eventually {
        if case .counts = try q.peer.ask(.look(queue: "q", .counts)) { return true }
        return false
      })
    let counts = try q.counts()
    #expect(counts.inFlight == 1 && counts.waiting == 2 && counts.blocked == 2)
    #expect(try q.peer.ask(.look(queue: "new", .counts)) == .unknownQueue)
    #expect(try q.settle(first, .ack(result: [])) == .done)
    #expect(try q.enqueue("d", key: "k") == taken("d"))
    for id in ["b", "c", "d"] {
      let next = try q.lease(10)
      #expect(next.map(text) == [id])
      #expect(try q.settle(try #require(next.first), .ack(result: [])) == .done)
    }
    try state.end()
  }
}

/// Asks again and again until it is so, for half a minute at most.
func eventually(_ condition: () throws -> Bool) -> Bool {
  let limit = SystemClock.now() + .seconds(30)
  while SystemClock.now() < limit {
    if (try? condition()) == true { return true }
    SystemThread.pause(nanoseconds: 2_000_000)
  }
  return false
}

final class Switch: Sendable {
  private let state = Mutex(false)
  var isOn: Bool {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}

/// A store whose changes fail, after they were made, as long as the switch is on.
final class FailingStore: StateStore {
  private let inner: SQLiteStore
  private let fails: Switch

  init(_ inner: SQLiteStore, _ fails: Switch) {
    self.inner = inner
    self.fails = fails
  }

  var isLowOnSpace: Bool { inner.isLowOnSpace }
  func compact() throws { try inner.compact() }
  func transact<Result>(_ body: (any StateTransaction) throws -> Result) throws -> Result {
    try inner.transact { table in
      let before = table.changes
      let result = try body(table)
      if fails.isOn && table.changes > before { throw StateStoreError.broken("switched off") }
      return result
    }
  }
}
