// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// What the tests of logs say to the state process.
private struct LogPeer {
  let peer: StatePeer
  let log: String

  init(_ folder: String, _ declaration: LogDeclaration? = nil, queues: [QueueDeclaration] = [], log: String = "t")
    throws
  {
    peer = try StatePeer(folder)
    self.log = declaration?.name ?? log
    if !queues.isEmpty { #expect(try peer.ask(.declare(queues)) == .declared) }
    if let declaration { #expect(try peer.ask(.declareLogs([declaration])) == .declared) }
  }

  @discardableResult
  func append(_ id: String, key: String = "", body: String = "x", expected: Int64? = nil) throws -> StateReply {
    try peer.ask(.append(log: log, [new(id, key: key, body: body, expected: expected)]))
  }

  func read(key: String? = nil, after: Int64 = 0, limit: UInt16 = 1000, wait: Int64 = 0) throws -> [LogEntry] {
    let reply = try peer.ask(.read(log: log, key: key.map(bytes), after: after, limit: limit, wait: wait))
    guard case .entries(let entries) = reply else {
      Issue.record("\(reply)")
      return []
    }
    return entries
  }

  func look() throws -> LogCounts {
    let reply = try peer.ask(.lookLog(log: log))
    guard case .logCounts(let counts) = reply else {
      Issue.record("\(reply)")
      return LogCounts()
    }
    return counts
  }
}

private func new(
  _ id: String, key: String = "", body: String = "x", expected: Int64? = nil, reads: Bool = false
) -> NewEntry {
  NewEntry(
    id: bytes(id), key: bytes(key), type: bytes("made"), fields: bytes("A: b\r\n"), body: bytes(body),
    expected: expected, reads: reads)
}

private func log(_ groups: LogGroup..., change: (inout LogDeclaration) -> Void = { _ in }) -> LogDeclaration {
  var declaration = LogDeclaration(name: "t")
  declaration.groups = groups
  change(&declaration)
  return declaration
}

/// Leases last, however long the machine stands still.
private func group(_ name: String, change: (inout QueueDeclaration) -> Void = { _ in }) -> QueueDeclaration {
  quick {
    $0.name = name
    $0.visibility = 3_600_000
    change(&$0)
  }
}

private func one(_ position: Int64, _ version: Int64 = 0, isDuplicate: Bool = false) -> StateReply {
  .appended([Appended(position: position, version: version, isDuplicate: isDuplicate)])
}

private func ids(_ entries: [LogEntry]) -> [String] { entries.map { String(decoding: $0.id, as: UTF8.self) } }

/// The payload of a `new` without a body.
private let fieldsCount: Int64 = 6

@Suite struct LogServerTests {
  private func start(
    _ scratch: Scratch, change: (inout StateServer.Settings) -> Void = { _ in }
  ) throws -> RunningState {
    let path = StateProcess.databasePath(scratch.path)
    var settings = StateServer.Settings()
    change(&settings)
    return try RunningState({ try SQLiteStore(path: path) }, scratch.path, settings)
  }

  // MARK: Entries

  @Test("positions and versions have no gap, an id is appended once; after a restart, too")
  func append() throws {
    let scratch = try Scratch()
    var state = try start(scratch)
    var t = try LogPeer(scratch.path, log())
    #expect(try t.append("a", key: "k") == one(1, 1))
    #expect(try t.append("b") == one(2))
    #expect(try t.append("c", key: "k") == one(3, 2))
    #expect(try t.append("a", key: "other") == one(1, 1, isDuplicate: true))
    try state.end()
    state = try start(scratch)
    t = try LogPeer(scratch.path)
    #expect(try t.append("c") == one(3, 2, isDuplicate: true))
    #expect(try t.append("d", key: "k") == one(4, 3))
    let entries = try t.read()
    #expect(ids(entries) == ["a", "b", "c", "d"] && entries.map(\.position) == [1, 2, 3, 4])
    #expect(entries.map(\.version) == [1, 0, 2, 3] && entries.allSatisfy { $0.type == bytes("made") })
    #expect(entries.allSatisfy { $0.fields == bytes("A: b\r\n") && $0.body == bytes("x") && $0.at > 0 })
    #expect(ids(try t.read(key: "k", after: 1)) == ["c", "d"])
    #expect(ids(try t.read(after: 1, limit: 2)) == ["b", "c"])
    #expect(try t.read(key: "none").isEmpty && t.read(after: 4).isEmpty)
    let counts = try t.look()
    #expect(counts.first == 1 && counts.last == 4 && counts.bytes == 4 * (fieldsCount + 1) && counts.groups.isEmpty)
    #expect(try LogPeer(scratch.path, log: "none").append("a") == .unknownQueue)
    try state.end()
  }

  @Test("a version that is another than expected refuses the whole batch; each entry counts for those behind it")
  func expected() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try LogPeer(scratch.path, log())
    #expect(try t.append("a", key: "k", expected: 1) == .conflict(index: 0, version: 0))
    #expect(try t.append("a", key: "k", expected: 0) == one(1, 1))
    #expect(try t.append("b", key: "k", expected: 0) == .conflict(index: 0, version: 1))
    // What was appended is answered, whatever is expected now.
    #expect(try t.append("a", key: "k", expected: 0) == one(1, 1, isDuplicate: true))
    func ask(_ entries: NewEntry...) throws -> StateReply { try t.peer.ask(.append(log: "t", entries)) }
    #expect(
      try ask(new("b", key: "k", expected: 1), new("c", key: "m", expected: 0), new("d", key: "k", expected: 1))
        == .conflict(index: 2, version: 2))
    #expect(try t.look().last == 1)
    #expect(
      try ask(new("b", key: "k", expected: 1), new("c", key: "m", expected: 0), new("b", key: "k", expected: 7))
        == .appended([
          Appended(position: 2, version: 2, isDuplicate: false), Appended(position: 3, version: 1, isDuplicate: false),
          Appended(position: 2, version: 2, isDuplicate: true),
        ]))
    // Only looked at.
    #expect(try ask(new("", key: "m", expected: 2, reads: true), new("e")) == .conflict(index: 0, version: 1))
    #expect(
      try ask(new("", key: "m", expected: 1, reads: true), new("e"))
        == .appended([
          Appended(position: 0, version: 1, isDuplicate: false), Appended(position: 4, version: 0, isDuplicate: false),
        ]))
    #expect(
      try ask(new("", key: "m", expected: 9, reads: true), new("e"))
        == .appended([
          Appended(position: 0, version: 1, isDuplicate: false), Appended(position: 4, version: 0, isDuplicate: true),
        ]))
    #expect(try ask(new("", key: "m", expected: 9, reads: true)) == .conflict(index: 0, version: 1))
    try state.end()
  }

  @Test("who waits for an entry gets it, first come first; of a stream only its own; nothing when the wait is over")
  func tail() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try LogPeer(scratch.path, log())
    let reader = try StatePeer(scratch.path)
    let all = try reader.send(.read(log: "t", key: nil, after: 0, limit: 1, wait: 600_000))
    let second = try reader.send(.read(log: "t", key: nil, after: 1, limit: 9, wait: 600_000))
    let stream = try reader.send(.read(log: "t", key: bytes("k"), after: 0, limit: 9, wait: 600_000))
    #expect(eventually { try t.look().readers == 3 })
    #expect(try t.append("a") == one(1))
    func comes(_ id: UInt64, _ expected: [String]) throws {
      let (of, reply) = try reader.next()
      guard case .entries(let entries) = reply else {
        Issue.record("\(reply)")
        return
      }
      #expect(of == id && ids(entries) == expected)
    }
    try comes(all, ["a"])
    #expect(try t.look().readers == 2)
    #expect(try t.append("b", key: "k") == one(2, 1))
    try comes(second, ["b"])
    try comes(stream, ["b"])
    #expect(try t.read(after: 2, wait: 1).isEmpty)
    #expect(try t.look().readers == 0)
    // Those of a connection that breaks are forgotten.
    do {
      let gone = try StatePeer(scratch.path)
      try gone.send(.read(log: "t", key: nil, after: 2, limit: 1, wait: 600_000))
      #expect(eventually { try t.look().readers == 1 })
      withExtendedLifetime(gone) {}
    }
    #expect(eventually { try t.look().readers == 0 })
    try state.end()
  }

  @Test("the first entry at or after a time is found by halving")
  func seek() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try LogPeer(scratch.path, log())
    #expect(try t.peer.ask(.seek(log: "t", time: 0)) == .position(1))
    for i in 0..<20 {
      try t.append("\(i)")
      SystemThread.pause(nanoseconds: 2_000_000)
    }
    let entries = try t.read()
    for entry in entries {
      let first = try #require(entries.first { $0.at >= entry.at })
      #expect(try t.peer.ask(.seek(log: "t", time: entry.at)) == .position(first.position))
      let next = entries.first { $0.at > entry.at }?.position ?? 21
      #expect(try t.peer.ask(.seek(log: "t", time: entry.at + 1)) == .position(next))
    }
    try state.end()
  }

  // MARK: Groups

  @Test("a group gets what is appended from its beginning on, with the entry's place; one from the start gets all")
  func groups() throws {
    let scratch = try Scratch()
    var state = try start(scratch)
    let queues = ["t.a", "t.b"].map { group($0) }
    var t = try LogPeer(scratch.path, log(), queues: queues)
    try t.append("one", key: "k")
    let both = log(LogGroup(queue: "t.a"), LogGroup(queue: "t.b", fromStart: true))
    #expect(try t.peer.ask(.declareLogs([both])) == .declared)
    try t.append("two", key: "k", body: "payload")
    let a = try QueuePeer(scratch.path, queue: "t.a")
    let leased = try a.lease(9)
    #expect(leased.map(text) == ["2"])
    let message = try #require(leased.first)
    #expect(message.message.body == bytes("payload") && message.message.key == bytes("k"))
    #expect(message.message.fields == bytes("A: b\r\n"))
    let entry = try #require(message.entry)
    #expect(entry.position == 2 && entry.version == 2 && entry.id == bytes("two") && entry.type == bytes("made"))
    #expect(try a.view("2")?.body == bytes("payload"))
    // In order, though the first was fed later than the group was made.
    var b = try QueuePeer(scratch.path, queue: "t.b")
    #expect(eventually { try b.counts().waiting == 2 })
    var counts = try t.look()
    #expect(counts.groups.map(\.name) == ["t.a", "t.b"] && counts.groups.map(\.lag) == [1, 2])
    #expect(counts.groups.map(\.position) == [1, 0])
    #expect(try a.settle(message, .ack(result: [])) == .done)
    counts = try t.look()
    #expect(counts.groups.map(\.lag) == [0, 2] && counts.groups.map(\.position) == [2, 0])
    try state.end()
    state = try start(scratch)
    t = try LogPeer(scratch.path)
    b = try QueuePeer(scratch.path, queue: "t.b")
    try t.append("three", key: "k")
    for position in 1...3 {
      let next = try b.lease(9)
      #expect(next.map(text) == ["\(position)"], "one key, one after the other")
      #expect(try b.settle(try #require(next.first), .ack(result: [])) == .done)
    }
    #expect(try t.peer.ask(.declareLogs([log(LogGroup(queue: "none"))])) == .unknownQueue)
    try state.end()
  }

  /// Taken out of the file by mistake and put in again, it has missed nothing.
  @Test("a group that was taken out and comes again goes on where it was")
  func comesAgain() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let with = log(LogGroup(queue: "t.a"))
    let t = try LogPeer(scratch.path, with, queues: [group("t.a")])
    let a = try QueuePeer(scratch.path, queue: "t.a")
    try t.append("1")
    #expect(try t.peer.ask(.declareLogs([log()])) == .declared)
    try t.append("2")
    #expect(try a.counts().waiting == 1 && t.look().groups.isEmpty)
    #expect(try t.peer.ask(.declareLogs([with])) == .declared)
    try t.append("3")
    #expect(eventually { try a.counts().waiting == 3 })
    #expect(try a.lease(9).map(text) == ["1", "2", "3"])
    try state.end()
  }

  @Test("a full group refuses the append, and nothing of it is anywhere; one from the start falls behind instead")
  func full() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let queues = ["t.a", "t.b"].map { name in
      group(name) { $0.length = 2 }
    }
    let t = try LogPeer(
      scratch.path, log(LogGroup(queue: "t.a"), LogGroup(queue: "t.b", fromStart: true)), queues: queues)
    let a = try QueuePeer(scratch.path, queue: "t.a")
    let b = try QueuePeer(scratch.path, queue: "t.b")
    try t.append("1")
    try t.append("2")
    guard case .queueFull(let wait) = try t.append("3") else {
      Issue.record("it was taken")
      return
    }
    #expect(try wait > 0 && t.look().last == 2 && t.look().refused == 1 && t.read().count == 2)
    for message in try a.lease(9) { #expect(try a.settle(message, .ack(result: [])) == .done) }
    #expect(try t.append("3") == one(3))
    #expect(try t.append("4") == one(4))
    #expect(try b.counts().waiting == 2 && t.look().groups[1].lag == 4)
    for position in 1...4 {
      var next: LeasedMessage?
      #expect(
        eventually {
          next = try b.lease().first
          return next != nil
        })
      #expect(text(next) == "\(position)")
      #expect(try b.settle(try #require(next), .ack(result: [])) == .done)
    }
    #expect(try t.look().groups[1].lag == 0)
    // It is fed at once again.
    for message in try a.lease(9) { #expect(try a.settle(message, .ack(result: [])) == .done) }
    #expect(try t.append("5") == one(5))
    #expect(try b.lease().map(text) == ["5"])
    try state.end()
  }

  @Test("replayed in order and in pieces; what lives in the group is not doubled, what is dead there is put again")
  func replay() throws {
    let scratch = try Scratch()
    let state = try start(scratch) { $0.logs.piece = 7 }
    let t = try LogPeer(scratch.path, log(LogGroup(queue: "t.a")), queues: [group("t.a")])
    let a = try QueuePeer(scratch.path, queue: "t.a")
    #expect(
      try t.peer.ask(.append(log: "t", (1...40).map { new("\($0)") }))
        == .appended((1...40).map { Appended(position: $0, version: 0, isDuplicate: false) }))
    for message in try a.lease(38) {
      if text(message) == "20" {
        #expect(try a.fail(message, isFinal: true) == .dead)
      } else {
        #expect(try a.settle(message, .ack(result: [])) == .done)
      }
    }
    #expect(try a.counts().dead == 1 && t.look().groups[0].position == 38)
    #expect(try t.peer.ask(.replay(log: "t", group: "t.a", from: 11, to: nil)) == .steered(28))
    let counts = try a.counts()
    #expect(counts.waiting == 30 && counts.dead == 0)
    #expect(try a.lease(99).map(text) == (["39", "40"] + (11...38).map { "\($0)" }))
    #expect(try t.peer.ask(.replay(log: "t", group: "t.a", from: 0, to: 3)) == .steered(3))
    #expect(try t.peer.ask(.replay(log: "t", group: "t.a", from: 41, to: nil)) == .steered(0))
    #expect(try t.peer.ask(.replay(log: "t", group: "none", from: 0, to: nil)) == .unknownQueue)
    try state.end()
  }

  @Test("a replay into a group that is full goes on as there is room")
  func replayFull() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let queue = group("t.a") { $0.length = 4 }
    let t = try LogPeer(scratch.path, log(LogGroup(queue: "t.a")), queues: [queue])
    let a = try QueuePeer(scratch.path, queue: "t.a")
    for id in 1...12 {
      #expect(try t.append("\(id)") == one(Int64(id)))
      for message in try a.lease(9) { #expect(try a.settle(message, .ack(result: [])) == .done) }
    }
    let asked = try t.peer.send(.replay(log: "t", group: "t.a", from: 1, to: nil))
    var seen: [String] = []
    let isWhole = eventually {
      for message in try a.lease(1) {
        seen.append(text(message))
        #expect(try a.settle(message, .ack(result: [])) == .done)
      }
      return seen.count == 12
    }
    #expect(isWhole)
    #expect(seen == (1...12).map { "\($0)" })
    let (of, reply) = try t.peer.next()
    #expect(of == asked && reply == .steered(12))
    try state.end()
  }

  @Test("a group joins while Weir runs, also over a restart and a declaration, and leaves with its messages")
  func join() throws {
    let scratch = try Scratch()
    var state = try start(scratch)
    var t = try LogPeer(scratch.path, log())
    try t.append("1")
    let queue = group("webhooks.w.x")
    #expect(try t.peer.ask(.join(log: "t", queue)) == .declared)
    #expect(try t.peer.ask(.join(log: "t", queue)) == .declared)
    try t.append("2")
    try state.end()
    state = try start(scratch)
    t = try LogPeer(scratch.path, log())
    try t.append("3")
    var x = try QueuePeer(scratch.path, queue: "webhooks.w.x")
    #expect(try x.lease(1).map(text) == ["2"])
    let poller = try StatePeer(scratch.path)
    #expect(try x.lease(9).map(text) == ["3"])
    let poll = try poller.send(.lease(queue: "webhooks.w.x", max: 1, visibility: nil, wait: 600_000))
    #expect(eventually { try x.counts().pollers == 1 })
    #expect(try t.peer.ask(.leave(log: "t", group: "webhooks.w.x")) == .steered(1))
    let (of, reply) = try poller.next()
    #expect(of == poll && reply == .unknownQueue)
    #expect(try t.peer.ask(.leave(log: "t", group: "webhooks.w.x")) == .steered(0))
    #expect(try x.enqueue("y") == .unknownQueue && t.look().groups.isEmpty)
    try t.append("4")
    // Its name is free at once, and has nothing of what was.
    #expect(try t.peer.ask(.join(log: "t", queue)) == .declared)
    #expect(try x.isEmpty())
    try t.append("5")
    #expect(try x.lease(9).map(text) == ["5"])
    try state.end()
    state = try start(scratch)
    x = try QueuePeer(scratch.path, queue: "webhooks.w.x")
    #expect(try x.counts().inFlight == 1)
    try state.end()
    // What was left of the queue that is gone goes in the background.
    let store = try SQLiteStore(path: StateProcess.databasePath(scratch.path))
    var rounds = 0
    while try store.transact({ try $0.clearGone(limit: 1) }) > 0 { rounds += 1 }
    #expect(rounds <= 3)
    #expect(try store.transact { try $0.queues() }.map(\.declaration.name) == ["webhooks.w.x"])
    try store.close()
  }

  @Test(
    "a queue has one log: another that would feed it, or a journal, or a queue of its own, is refused and nothing breaks"
  )
  func twoLogs() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try LogPeer(
      scratch.path, log(LogGroup(queue: "sagas.pay")), queues: [group("sagas.pay"), group("own"), group("u.x")])
    try t.append("1")
    func named(_ name: String, _ groups: LogGroup..., change: (inout LogDeclaration) -> Void = { _ in })
      -> LogDeclaration
    {
      log {
        $0.name = name
        $0.groups = groups
        change(&$0)
      }
    }
    func declare(_ logs: LogDeclaration...) throws -> StateReply { try t.peer.ask(.declareLogs(logs)) }
    #expect(try declare(named("u", LogGroup(queue: "sagas.pay"))) == .failed(.taken))
    #expect(try declare(named("u", LogGroup(queue: "u.x")), named("v", LogGroup(queue: "u.x"))) == .failed(.taken))
    // The journal of a saga has the name of its queue.
    #expect(try declare(named("sagas.pay") { $0.forgetting = .streams }) == .failed(.taken))
    #expect(try declare(named("own") { $0.forgetting = .streams }, named("u")) == .declared)
    #expect(try declare(named("u", LogGroup(queue: "own"))) == .failed(.taken))
    // What a journal forgets a group may still need.
    #expect(
      try declare(
        named("own", LogGroup(queue: "u.x")) { $0.forgetting = .streams }) == .failed(.taken))
    #expect(try t.peer.ask(.join(log: "own", group("z"))) == .failed(.taken))
    for name in ["sagas.pay", "own", "u.x"] {
      #expect(try t.peer.ask(.join(log: "u", group(name))) == .failed(.taken), "\(name)")
    }
    #expect(try t.peer.ask(.join(log: "u", group("w.1"))) == .declared)
    #expect(try t.peer.ask(.join(log: "t", group("w.1"))) == .failed(.taken))
    #expect(try t.append("2") == one(2))
    #expect(try LogPeer(scratch.path, log: "u").append("1") == one(1))
    #expect(try QueuePeer(scratch.path, queue: "sagas.pay").lease(9).map(text) == ["1", "2"])
    #expect(try QueuePeer(scratch.path, queue: "w.1").lease(9).map(text) == ["1"])
    try state.end()
  }

  @Test("a group that the file has no more joins: it goes on where it was, and leaves again as what has joined does")
  func joinsAgain() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try LogPeer(scratch.path, log(LogGroup(queue: "t.a")), queues: [group("t.a")])
    try t.append("1")
    #expect(try t.peer.ask(.declareLogs([log()])) == .declared)
    try t.append("2")
    #expect(try t.look().groups.isEmpty)
    #expect(try t.peer.ask(.join(log: "t", group("t.a"))) == .declared)
    try t.append("3")
    let a = try QueuePeer(scratch.path, queue: "t.a")
    #expect(eventually { try a.counts().waiting == 3 })
    #expect(try t.peer.ask(.declareLogs([log()])) == .declared)
    #expect(try t.look().groups.map(\.name) == ["t.a"])
    #expect(try a.lease(9).map(text) == ["1", "2", "3"])
    #expect(try t.peer.ask(.leave(log: "t", group: "t.a")) == .steered(1))
    #expect(try t.look().groups.isEmpty)
    try state.end()
  }

  /// What a log has forgotten meanwhile never comes: it is nothing that the group has yet to do.
  @Test("the lag of a group that was out of the file does not count what was forgotten meanwhile")
  func lagOfForgotten() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let short = log { $0.bytes = 100 }
    let t = try LogPeer(scratch.path, log(LogGroup(queue: "t.a")), queues: [group("t.a") { $0.length = 1 }])
    try t.append("1")
    #expect(try t.peer.ask(.declareLogs([short])) == .declared)
    for id in 2...9 { try t.append("\(id)", body: String(repeating: "x", count: 90)) }
    #expect(eventually { try t.look().first == 9 })
    // Its queue is full: it stays behind.
    var with = short
    with.groups = [LogGroup(queue: "t.a")]
    #expect(try t.peer.ask(.declareLogs([with])) == .declared)
    let counts = try #require(try t.look().groups.first)
    #expect(counts.counts.waiting == 1 && counts.lag == 2)
    try state.end()
  }

  @Test("without room nothing is appended, but to the journals of what is under way, which ends")
  func withoutRoom() throws {
    let scratch = try Scratch()
    let path = StateProcess.databasePath(scratch.path)
    let journal = log {
      $0.name = "sagas.pay"
      $0.forgetting = .streams
    }
    do {
      let state = try start(scratch)
      let t = try LogPeer(scratch.path, log(), queues: [group("sagas.pay")])
      #expect(try t.peer.ask(.declareLogs([journal])) == .declared)
      #expect(try QueuePeer(scratch.path, queue: "sagas.pay").enqueue("s") != .failed(.full))
      try state.end()
    }
    var settings = SQLiteStore.Settings()
    settings.reserveBytes = .max
    let state = try RunningState({ [settings] in try SQLiteStore(path: path, settings) }, scratch.path)
    let t = try LogPeer(scratch.path)
    #expect(try t.append("1") == .failed(.full))
    let saga = try QueuePeer(scratch.path, queue: "sagas.pay")
    #expect(try saga.enqueue("new") == .failed(.full))
    let leased = try #require(try saga.lease().first)
    let steps = try LogPeer(scratch.path, log: "sagas.pay")
    #expect(try steps.append("s/1", key: "s", expected: 0) == one(1, 1))
    #expect(try steps.append("s/2", key: "s", expected: 1) == one(2, 2))
    #expect(try saga.settle(leased, .ack(result: [])) == .done)
    try state.end()
  }

  // MARK: Documents

  @Test(
    "a document is replaced as a whole, by who knows its version; one that comes again is not taken for the old one")
  func documents() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try LogPeer(scratch.path, log())
    func save(_ key: String, _ body: String, _ expected: Int64? = nil) throws -> StateReply {
      try t.peer.ask(.saveDocument(log: "t", key: bytes(key), body: bytes(body), expected: expected))
    }
    func document(_ key: String) throws -> LogDocument? {
      let reply = try t.peer.ask(.document(log: "t", key: bytes(key)))
      guard case .document(let document) = reply else {
        Issue.record("\(reply)")
        return nil
      }
      return document
    }
    #expect(try document("a") == nil)
    #expect(try save("a", "1", 1) == .conflict(index: 0, version: 0))
    #expect(try save("a", "1", 0) == .saved(version: 1))
    #expect(try save("a", "2", 0) == .conflict(index: 0, version: 1))
    #expect(try save("a", "2", 1) == .saved(version: 2))
    #expect(try save("b", "3") == .saved(version: 1))
    #expect(try document("a") == LogDocument(key: bytes("a"), version: 2, body: bytes("2")))
    func list(_ after: String, _ limit: UInt16) throws -> StateReply {
      try t.peer.ask(.documents(log: "t", after: bytes(after), limit: limit))
    }
    let both = [
      LogDocument(key: bytes("a"), version: 2, body: bytes("2")),
      LogDocument(key: bytes("b"), version: 1, body: bytes("3")),
    ]
    #expect(try list("", 9) == .documentList(both))
    #expect(try list("", 1) == .documentList([both[0]]))
    #expect(try list("a", 9) == .documentList([both[1]]))
    #expect(try save("a", "", 2) == .saved(version: 3))
    #expect(try document("a") == nil)
    #expect(try save("a", "4", 0) == .saved(version: 4))
    #expect(try save("a", "5", 1) == .conflict(index: 0, version: 4))
    try state.end()
  }

  // MARK: Forgetting

  @Test("the oldest entries go by their number of bytes; one that a message needs goes after that")
  func forgetsBytes() throws {
    let scratch = try Scratch()
    let state = try start(scratch) { $0.forgetEvery = .milliseconds(5) }
    let t = try LogPeer(
      scratch.path, log(LogGroup(queue: "t.a")) { $0.bytes = 5 * (fieldsCount + 1) },
      queues: [group("t.a")])
    let a = try QueuePeer(scratch.path, queue: "t.a")
    for id in 1...3 { try t.append("\(id)") }
    let leased = try a.lease(9)
    for message in leased where text(message) != "2" { #expect(try a.settle(message, .ack(result: [])) == .done) }
    for id in 4...9 { try t.append("\(id)") }
    #expect(eventually { try t.look().first == 5 })
    var counts = try t.look()
    #expect(counts.last == 9 && counts.bytes == 5 * (fieldsCount + 1))
    #expect(try t.read().map(\.position) == [5, 6, 7, 8, 9])
    #expect(try t.peer.ask(.seek(log: "t", time: 0)) == .position(5))
    // Its message is there with all it has.
    #expect(try a.view("2")?.body == bytes("x"))
    #expect(try t.append("1") == one(10), "it is not known any more")
    #expect(try t.append("2") == one(2, isDuplicate: true), "it is still known")
    #expect(try a.settle(leased[1], .ack(result: [])) == .done)
    #expect(eventually { try t.append("2") != one(2, isDuplicate: true) })
    counts = try t.look()
    #expect(counts.last == 11)
    // What waits in the group is not forgotten, whatever the size.
    #expect(try a.lease(99).map(text) == (4...11).map { "\($0)" })
    try state.end()
  }

  @Test("entries go by their age; positions go on, also when none is left and after a restart")
  func forgetsAge() throws {
    let scratch = try Scratch()
    var state = try start(scratch) { $0.forgetEvery = .milliseconds(5) }
    var t = try LogPeer(scratch.path, log { $0.keep = 1 })
    for id in 1...20 { try t.append("\(id)", key: "k") }
    #expect(eventually { try t.look().first == 21 })
    let counts = try t.look()
    #expect(counts.bytes == 0 && counts.last == 20)
    try state.end()
    state = try start(scratch)
    t = try LogPeer(scratch.path)
    #expect(try t.read().isEmpty)
    #expect(try t.append("a") == one(21))
    try state.end()
  }

  @Test("whole streams are forgotten once their last entry is old, unless a message has their name")
  func forgetsStreams() throws {
    let scratch = try Scratch()
    let state = try start(scratch) { $0.forgetEvery = .milliseconds(5) }
    let t = try LogPeer(
      scratch.path,
      log {
        $0.forgetting = .streams
        $0.keep = 1
      }, queues: [group("t")])
    let q = try QueuePeer(scratch.path, queue: "t")
    try q.enqueue("living")
    try q.enqueue("dead")
    let leased = try q.lease(9)
    #expect(try q.fail(leased[1], isFinal: true) == .dead)
    for round in 1...3 { for key in ["living", "dead", "over"] { try t.append("\(key)\(round)", key: key) } }
    #expect(eventually { try t.read(key: "over").isEmpty })
    #expect(try t.read(key: "living").count == 3 && t.read(key: "dead").count == 3)
    #expect(try q.settle(leased[0], .ack(result: [])) == .done)
    #expect(eventually { try t.read(key: "living").isEmpty })
    #expect(try t.read(key: "dead").count == 3 && t.look().bytes == 3 * (fieldsCount + 1))
    #expect(try t.append("again", key: "over") == one(10, 1), "its versions begin anew")
    try state.end()
  }

  // MARK: Failure

  @Test("an append that fails has happened nowhere: not in the log, not in a group, not for who waits")
  func failing() throws {
    let scratch = try Scratch()
    let fails = Switch()
    let path = StateProcess.databasePath(scratch.path)
    let state = try RunningState({ FailingStore(try SQLiteStore(path: path), fails) }, scratch.path)
    let t = try LogPeer(scratch.path, log(LogGroup(queue: "t.a")), queues: [group("t.a")])
    let a = try QueuePeer(scratch.path, queue: "t.a")
    try t.append("1", key: "k")
    let reader = try StatePeer(scratch.path)
    try reader.send(.read(log: "t", key: nil, after: 1, limit: 9, wait: 600_000))
    #expect(eventually { try t.look().readers == 1 })
    fails.isOn = true
    #expect(try t.append("2", key: "k") == .failed(.broken))
    #expect(try t.peer.ask(.join(log: "t", group("x"))) == .failed(.broken))
    #expect(try t.peer.ask(.declareLogs([LogDeclaration(name: "u")])) == .failed(.broken))
    fails.isOn = false
    #expect(eventually { try t.append("3", key: "k") == one(2, 2) })
    let (_, reply) = try reader.next()
    guard case .entries(let entries) = reply else {
      Issue.record("\(reply)")
      return
    }
    #expect(ids(entries) == ["3"] && entries.map(\.position) == [2])
    #expect(try t.peer.ask(.lookLog(log: "u")) == .unknownQueue)
    #expect(try t.look().groups.map(\.name) == ["t.a"] && a.counts().waiting == 2)
    let first = try #require(try a.lease(9).first)
    #expect(text(first) == "1")
    #expect(try a.settle(first, .ack(result: [])) == .done)
    #expect(try a.lease(9).map(text) == ["2"])
    try state.end()
  }
}

/// Groups that leave.
@Suite struct LogLeavingTests {
  @Test("a group that cannot leave is as it was: its messages, who waits for more, and the log feeds it")
  func failing() throws {
    let scratch = try Scratch()
    let fails = Switch()
    let path = StateProcess.databasePath(scratch.path)
    let state = try RunningState({ FailingStore(try SQLiteStore(path: path), fails) }, scratch.path)
    let t = try LogPeer(scratch.path, log(), queues: [group("other")])
    #expect(try t.peer.ask(.join(log: "t", group("x"))) == .declared)
    try t.append("1")
    let x = try QueuePeer(scratch.path, queue: "x")
    let one = try #require(try x.lease(1).first)
    let poller = try StatePeer(scratch.path)
    let poll = try poller.send(.lease(queue: "x", max: 1, visibility: nil, wait: 600_000))
    #expect(eventually { try x.counts().pollers == 1 })
    fails.isOn = true
    #expect(try t.peer.ask(.leave(log: "t", group: "x")) == .failed(.broken))
    fails.isOn = false
    #expect(eventually { try t.append("2") == .appended([Appended(position: 2, version: 0, isDuplicate: false)]) })
    let (of, reply) = try poller.next()
    guard of == poll, case .leased(let leased) = reply else {
      Issue.record("\(reply)")
      return
    }
    #expect(leased.map(text) == ["2"])
    #expect(try x.settle(one, .ack(result: [])) == .done)
    #expect(try t.look().groups.map(\.name) == ["x"])
    #expect(eventually { try t.peer.ask(.leave(log: "t", group: "x")) == .steered(1) })
    #expect(try x.peer.ask(.look(queue: "x", .counts)) == .unknownQueue)
    #expect(try QueuePeer(scratch.path, queue: "other").counts().waiting == 0)
    try state.end()
  }

  @Test("groups that come and go leave nothing behind, and who works on other queues finds these")
  func freed() throws {
    let scratch = try Scratch()
    let store = try SQLiteStore(path: StateProcess.databasePath(scratch.path))
    var settings = QueueDesk.Settings()
    settings.piece = 2
    var queues = QueueDesk(settings, seed: 1)
    var logs = LogDesk()
    var replies: [StateReply] = []
    let asker = StateAsker(connection: 1, id: 1)
    func ask(_ requests: StateRequest...) throws {
      let now = SystemClock.now()
      let wall = SystemClock.wall()
      replies = try store.transact { table in
        try queues.advance(in: table, now: now, wall: wall)
        try logs.advance(in: table, queues: &queues, now: now, wall: wall)
        var answers: [StateReply] = []
        for request in requests {
          let answer =
            switch request {
            case .declare, .enqueue, .lease, .settle, .look, .steer:
              try queues.decide(request, by: asker, in: table, isLowOnSpace: false, now: now, wall: wall)
            default:
              try logs.decide(
                request, by: asker, in: table, queues: &queues, isLowOnSpace: false, now: now, wall: wall)
            }
          if let answer { answers.append(answer) }
        }
        try queues.serve(in: table, now: now, wall: wall)
        return answers
      }
      replies += queues.commit().map(\.reply) + logs.commit().map(\.reply)
      if let wrong = queues.violation() { Issue.record("\(wrong)") }
    }
    try ask(.declare([group("a")]))
    try ask(.declareLogs([LogDeclaration(name: "t")]), .join(log: "t", group("gone")))
    try ask(.declare([group("b"), group("c")]))
    let messages = (0..<5).map { NewMessage(id: [$0], body: [1]) }
    try ask(.enqueue(queue: "b", messages), .enqueue(queue: "c", messages))
    // An order of many messages goes on over the leaving, and another one's is over with its queue.
    try ask(
      .steer(queue: "b", .purge(all: true)), .steer(queue: "gone", .purge(all: true)), .leave(log: "t", group: "gone"))
    #expect(replies == [.steered(1), .unknownQueue] && queues.count == 3)
    for _ in 0..<9 where replies != [.steered(5)] { try ask() }
    #expect(replies == [.steered(5)])
    try ask(.look(queue: "c", .counts), .look(queue: "gone", .counts))
    guard case .counts(let counts)? = replies.first else { throw StatePeer.Ended() }
    #expect(counts.waiting == 5 && replies.last == .unknownQueue)
    for i in 0..<20 {
      try ask(.join(log: "t", group("x.\(i)")))
      // Gone and there again within one transaction.
      try ask(.leave(log: "t", group: "x.\(i)"), .join(log: "t", group("x.\(i)")), .leave(log: "t", group: "x.\(i)"))
    }
    #expect(queues.count == 3)
    try ask(.lease(queue: "c", max: 9, visibility: nil, wait: 0))
    guard case .leased(let leased)? = replies.first else { throw StatePeer.Ended() }
    #expect(leased.count == 5)
    try store.close()
  }
}

/// What else is new with logs: messages that are postponed, leases that nobody has heard of, a store of before.
@Suite struct LogNeighbourTests {
  @Test("a postponed message comes again at its time with no attempt counted, and holds its key; over a restart, too")
  func postpone() throws {
    let scratch = try Scratch()
    let path = StateProcess.databasePath(scratch.path)
    var state = try RunningState({ try SQLiteStore(path: path) }, scratch.path)
    var q = try QueuePeer(scratch.path, group("q") { $0.attempts = 1 })
    try q.enqueue("a", key: "k")
    try q.enqueue("b", key: "k")
    let first = try #require(try q.lease().first)
    guard case .retry(let at) = try q.settle(first, .postpone(by: 3_600_000)) else {
      Issue.record("it was not postponed")
      return
    }
    #expect(at >= first.enqueuedAt + 3_600_000 && text(first) == "a")
    #expect(try q.lease().isEmpty)
    try state.end()
    state = try RunningState({ try SQLiteStore(path: path) }, scratch.path)
    q = try QueuePeer(scratch.path)
    #expect(try q.lease().isEmpty, "its key is held")
    let view = try #require(try q.view("a"))
    #expect(view.state == .delayed && view.dueAt == at && view.attempts == 0 && view.history.isEmpty)
    #expect(try q.steer(.remove([first.sequence])) == 1)
    let second = try #require(try q.lease().first)
    #expect(text(second) == "b")
    guard case .retry = try q.settle(second, .postpone(by: 0)) else {
      Issue.record("it was not postponed")
      return
    }
    var again: LeasedMessage?
    #expect(
      eventually {
        again = try q.lease().first
        return again != nil
      })
    #expect(again?.attempt == 2)
    try state.end()
  }

  /// The answer is larger than a socket holds, so that part of it is still here when the connection breaks.
  @Test("a lease whose answer has not left when its connection breaks is given back at once")
  func unheard() throws {
    let scratch = try Scratch()
    let path = StateProcess.databasePath(scratch.path)
    let state = try RunningState({ try SQLiteStore(path: path) }, scratch.path)
    let q = try QueuePeer(scratch.path, quick { $0.visibility = 3_600_000 })
    for id in ["a", "b", "c"] { try q.enqueue(id, body: String(repeating: "x", count: 1 << 20)) }
    do {
      let gone = try StatePeer(scratch.path)
      try gone.send(.lease(queue: "q", max: 3, visibility: nil, wait: 0))
      #expect(eventually { try q.counts().inFlight == 3 })
      withExtendedLifetime(gone) {}
    }
    #expect(eventually { try q.counts().inFlight == 0 })
    let leased = try q.lease(9)
    #expect(leased.map(text) == ["a", "b", "c"] && leased.map(\.attempt) == [2, 2, 2])
    #expect(try q.view("a")?.attempts == 1)
    try state.end()
  }

  /// The index is stale for as long as nothing is begun after a failure: what is to be given back is not forgotten meanwhile.
  @Test("a lease that nobody has heard of is given back also when its connection breaks right after a failure")
  func unheardAfterFailure() throws {
    let scratch = try Scratch()
    let path = StateProcess.databasePath(scratch.path)
    let fails = Switch()
    var settings = StateServer.Settings()
    settings.queues.restAfterFailure = .seconds(1)
    let state = try RunningState({ FailingStore(try SQLiteStore(path: path), fails) }, scratch.path, settings)
    let q = try QueuePeer(scratch.path, quick { $0.visibility = 3_600_000 })
    for id in ["a", "b", "c"] { try q.enqueue(id, body: String(repeating: "x", count: 1 << 20)) }
    do {
      let gone = try StatePeer(scratch.path)
      try gone.send(.lease(queue: "q", max: 3, visibility: nil, wait: 0))
      #expect(eventually { try q.counts().inFlight == 3 })
      fails.isOn = true
      #expect(try q.enqueue("d") == .failed(.broken))
      fails.isOn = false
      withExtendedLifetime(gone) {}
    }
    let isBack = eventually {
      guard case .counts(let counts) = try q.peer.ask(.look(queue: "q", .counts)) else { return false }
      return counts.inFlight == 0
    }
    #expect(isBack)
    #expect(try q.lease(9).map(text) == ["a", "b", "c"])
    try state.end()
  }

  /// The tables as the version before had them, with messages in all states.
  @Test("a store of the version before opens, and has its messages")
  func migration() throws {
    let scratch = try Scratch()
    let path = StateProcess.databasePath(scratch.path)
    var state = try RunningState({ try SQLiteStore(path: path) }, scratch.path)
    var q = try QueuePeer(scratch.path, quick { $0.visibility = 3_600_000 })
    for id in ["a", "b", "c", "d"] { try q.enqueue(id, key: id, body: "of \(id)") }
    let leased = try q.lease(3)
    #expect(try q.settle(leased[0], .ack(result: [1])) == .done)
    #expect(try q.fail(leased[1], isFinal: true) == .dead)
    try state.end()
    let store = try SQLiteStore(path: path)
    try store.runForTesting(
      """
      DROP TABLE log; DROP TABLE log_group; DROP TABLE entry; DROP TABLE document;
      DROP INDEX message_entry; DROP INDEX message_position; DROP INDEX message_due;
      CREATE INDEX message_live ON message (queue, sequence) WHERE state < 2;
      ALTER TABLE message DROP COLUMN log; ALTER TABLE message DROP COLUMN position;
      ALTER TABLE message DROP COLUMN is_postponed; ALTER TABLE queue DROP COLUMN is_gone;
      DELETE FROM grdb_migrations WHERE identifier IN ('queue 2', 'log 1');
      """)
    try store.close()
    state = try RunningState({ try SQLiteStore(path: path) }, scratch.path)
    q = try QueuePeer(scratch.path)
    #expect(try q.view("a")?.state == .done && q.view("b")?.state == .dead && q.view("c")?.state == .inFlight)
    #expect(try q.view("b")?.body == bytes("of b"))
    let next = try q.lease(9)
    #expect(next.map(text) == ["d"] && next.first?.message.body == bytes("of d") && next.first?.entry == nil)
    #expect(try q.settle(leased[2], .ack(result: [])) == .done)
    #expect(try q.steer(.redrive([])) == 1)
    #expect(try q.lease(9).map(text) == ["b"])
    try state.end()
  }
}
