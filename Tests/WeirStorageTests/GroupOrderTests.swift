// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// A log with one group whose events are sorted, and who says what to both.
private struct Sorted {
  let log: StatePeer
  let group: QueuePeer

  init(_ folder: String, _ order: GroupOrder?, change: (inout QueueDeclaration) -> Void = { _ in }) throws {
    log = try StatePeer(folder)
    let queue = quick {
      $0.name = "t.g"
      $0.visibility = 3_600_000
      $0.order = order
      change(&$0)
    }
    group = try QueuePeer(folder, queue, queue: "t.g")
    var declaration = LogDeclaration(name: "t")
    declaration.groups = [LogGroup(queue: "t.g")]
    #expect(try log.ask(.declareLogs([declaration])) == .declared)
  }

  /// An event of key `key` with the number `n`, by an id of its own.
  func append(_ id: String, _ key: String, _ n: Int, event: String = "", fields: String = "") throws {
    try append([(id, key, n, event, fields)])
  }

  @discardableResult
  func append(
    _ events: [(id: String, key: String, n: Int, event: String, fields: String)], tells: Bool = true
  ) throws -> Bool {
    let entries = events.map { one in
      NewEntry(
        id: bytes(one.id), key: bytes(one.key), fields: bytes(one.fields),
        body: bytes("{\"n\":\(one.n),\"event\":{\"id\":\"\(one.event)\"},\"key\":\"\(one.key)\"}"))
    }
    if case .appended = try log.ask(.append(log: "t", entries)) { return true }
    if tells { Issue.record("not appended") }
    return false
  }

  /// Works on all that there is, each key in its order; `key:number` of each.
  func work(failing: Bool = false) throws -> [String] {
    var done: [String] = []
    var failed = 0
    while true {
      // What has failed comes again after a moment.
      let leased = try group.lease(9, wait: failed > 0 ? 600_000 : 0)
      if leased.isEmpty { return done }
      for message in leased {
        if message.attempt > 1 { failed -= 1 }
        if failing && message.attempt == 1 {
          failed += 1
          _ = try group.fail(message)
          continue
        }
        done.append(Sorted.word(message))
        #expect(try group.settle(message, .ack(result: [])) == .done)
      }
    }
  }

  static func word(_ message: LeasedMessage) -> String {
    let body = String(decoding: message.message.body, as: UTF8.self)
    let number = body.split(separator: ",")[0].split(separator: ":")[1]
    return "\(String(decoding: message.message.key, as: UTF8.self)):\(number)"
  }

  func counts() throws -> OrderCounts { try group.counts().order ?? OrderCounts() }
}

private func order(wait: Int64 = 3_600_000, stops: Bool = false, dedup: String? = "event.id") -> GroupOrder {
  GroupOrder(
    sequence: .init(by: "n", wait: wait, stops: stops),
    dedup: dedup.map { .init(by: $0.isEmpty ? nil : $0, within: 3_600_000) })
}

/// Events of a group that are sorted before they are in its queue.
@Suite struct GroupOrderTests {
  private func start(_ scratch: Scratch) throws -> RunningState {
    let path = StateProcess.databasePath(scratch.path)
    return try RunningState({ try SQLiteStore(path: path) }, scratch.path)
  }

  @Test("each once, in the order of the numbers; other keys do not wait; what was kept is known after a restart")
  func sorted() throws {
    let scratch = try Scratch()
    var state = try start(scratch)
    var t = try Sorted(scratch.path, order())
    try t.append("a2", "k", 2, event: "two")
    try t.append("b1", "m", 1, event: "m-one")
    try t.append("a4", "k", 4, event: "four")
    #expect(try t.work() == ["m:1"])
    var counts = try t.counts()
    #expect(counts.keeping == 2 && counts.kept == 2 && counts.gaps == 1 && counts.copies == 0)
    // Not to be had, and not done: whoever looks sees why.
    #expect(try t.group.counts().delayed == 2 && t.group.view("1")?.state == .delayed)
    try state.end()

    state = try start(scratch)
    t = try Sorted(scratch.path, order())
    #expect(try t.counts() == counts)
    // The same event in a message of its own: while the first is kept, and when it is done.
    try t.append("a2-again", "k", 2, event: "two")
    try t.append("b1-again", "m", 1, event: "m-one")
    #expect(try t.work().isEmpty)
    try t.append("a1", "k", 1, event: "one")
    #expect(try t.work(failing: true) == ["k:1", "k:2"])
    try t.append("a3", "k", 3, event: "three")
    #expect(try t.work() == ["k:3", "k:4"])
    counts = try t.counts()
    #expect(counts.keeping == 0 && counts.gaps == 0 && counts.copies == 2 && counts.late == 0 && counts.skipped == 0)
    #expect(try t.group.counts().dead == 0)
    let copy = try t.group.view("4")
    #expect(
      copy?.state == .done && copy.map { String(decoding: $0.result, as: UTF8.self) }?.contains("position 1") == true)
    try state.end()
  }

  @Test("a gap is waited for, and told; who comes after that is dead, also when it comes again")
  func late() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try Sorted(scratch.path, order(wait: 1))
    try t.append("a3", "k", 3, event: "three")
    var seen: [String] = []
    #expect(
      eventually {
        seen += try t.work()
        return !seen.isEmpty
      })
    try t.append("a4", "k", 4, event: "four")
    #expect(try seen == ["k:3"] && t.work() == ["k:4"])
    try t.append("a1", "k", 1, event: "one")
    try t.append("a1-again", "k", 1, event: "one")
    #expect(try t.work().isEmpty)
    let counts = try t.counts()
    #expect(counts.skipped == 2 && counts.late == 2 && counts.copies == 0 && counts.keeping == 0)
    #expect(try t.group.counts().dead == 2 && t.group.view("3")?.death == .late)
    // A human may look at it, and have it worked on.
    #expect(try t.group.steer(.redrive([])) == 2 && t.work() == ["k:1", "k:1"])
    try state.end()
  }

  @Test("a key that stops waits until the missing one has come; without dedup what has passed is left out")
  func stops() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try Sorted(scratch.path, order(wait: 1, stops: true, dedup: nil))
    try t.append("a2", "k", 2)
    try t.append("b2", "m", 2)
    try t.append("a2-again", "k", 2)
    // Its time is over by then, or another would be in the queue.
    #expect(eventually { try t.group.view("1").map { $0.dueAt < SystemClock.wall().milliseconds } == true })
    #expect(try t.work().isEmpty && t.counts().gaps == 2)
    try t.append("a1", "k", 1)
    try t.append("a1-again", "k", 1)
    #expect(try t.work() == ["k:1", "k:2"])
    let counts = try t.counts()
    #expect(counts.copies == 2 && counts.late == 0 && counts.skipped == 0 && counts.keeping == 1)
    // It is not waited for by who has removed it.
    #expect(try t.group.steer(.purge(all: true)) >= 1)
    #expect(try t.counts().keeping == 0)
    try t.append("b1", "m", 1)
    try t.append("b3", "m", 3)
    #expect(try t.work() == ["m:1", "m:3"])
    try state.end()
  }

  @Test("without a number, or a key, an event goes as it comes; a number may stand in an attribute or a field")
  func whereItStands() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try Sorted(scratch.path, GroupOrder(sequence: .init(by: "Number", wait: 3_600_000)))
    try t.append("a", "k", 9)
    try t.append("b", "", 8, fields: "weir-said-number: 5\r\n")
    #expect(try t.work() == ["k:9", ":8"])
    try t.append("c", "k", 2, fields: "ce-specversion: 1.0\r\nce-number: 2\r\n")
    try t.append("d", "k", 7, fields: "weir-said-number: no\r\n")
    #expect(try t.work() == ["k:7"])
    try t.append("e", "k", 1, fields: "weir-said-number: 1\r\n")
    #expect(try t.work() == ["k:1", "k:2"])
    try state.end()
  }

  @Test("dedup alone: by the id that is said, or a member; heard again what was worked on, and no copy of it")
  func copies() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try Sorted(scratch.path, GroupOrder(dedup: .init(by: "event.id", within: 3_600_000)))
    try t.append("1", "k", 1, event: "one")
    try t.append("2", "k", 2, event: "one")
    try t.append("3", "k", 3, event: "two")
    try t.append("4", "k", 4)
    #expect(try t.work() == ["k:1", "k:3", "k:4"] && t.counts().copies == 1)
    guard case .steered = try t.log.ask(.replay(log: "t", group: "t.g", from: 1, to: nil)) else {
      Issue.record("not played again")
      return
    }
    #expect(try t.work() == ["k:1", "k:3", "k:4"])
    // What was given up may come again.
    try t.append("5", "k", 5, event: "five")
    let five = try #require(try t.group.lease().first)
    #expect(try t.group.fail(five, isFinal: true) == .dead)
    try t.append("6", "k", 6, event: "five")
    #expect(try t.work() == ["k:6"])
    try state.end()
  }

  @Test("what is sorted by numbers is not played again, and says so")
  func replay() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    let t = try Sorted(scratch.path, order())
    try t.append("1", "k", 1, event: "one")
    #expect(try t.log.ask(.replay(log: "t", group: "t.g", from: 1, to: nil)) == .failed(.sorted))
    try state.end()
  }

  @Test("declared anew: what was kept goes on when it is sorted no more, and is waited for as is said now")
  func declared() throws {
    let scratch = try Scratch()
    let state = try start(scratch)
    var t = try Sorted(scratch.path, order())
    try t.append("3", "k", 3, event: "three")
    try t.append("2", "k", 2, event: "two")
    t = try Sorted(scratch.path, order(wait: 1))
    var seen: [String] = []
    #expect(
      eventually {
        seen += try t.work()
        return seen.count == 2
      })
    #expect(try seen == ["k:2", "k:3"] && t.counts().skipped == 1)
    t = try Sorted(scratch.path, order())
    try t.append("6", "k", 6, event: "six")
    try t.append("5", "k", 5, event: "five")
    #expect(try t.work().isEmpty)
    t = try Sorted(scratch.path, nil)
    #expect(try t.work() == ["k:5", "k:6"] && t.group.counts().order == nil)
    try state.end()
  }

  @Test(
    "drawn stories: shuffled, doubled, batched, failing, with restarts and transactions that fail: each once, in order")
  func stories() throws {
    for seed in UInt64(1)...4 {
      var random = SeededRandom(seed: seed, stream: "sorted groups")
      let scratch = try Scratch()
      let fails = Switch()
      func begin() throws -> RunningState {
        let path = StateProcess.databasePath(scratch.path)
        return try RunningState({ FailingStore(try SQLiteStore(path: path), fails) }, scratch.path)
      }
      var state = try begin()
      var t = try Sorted(scratch.path, order())
      var events: [(id: String, key: String, n: Int, event: String, fields: String)] = []
      for key in 1...12 {
        for n in 1...10 {
          for copy in 0..<(random.next() % 4 == 0 ? 2 : 1) {
            events.append(("\(key)-\(n)-\(copy)", "\(key)", n, "\(key)-\(n)", ""))
          }
        }
      }
      events.shuffle(using: &random)
      var done: [String: [Int]] = [:]
      func work() throws {
        for word in try t.work(failing: random.next() % 3 == 0) {
          let parts = word.split(separator: ":")
          done[String(parts[0]), default: []].append(Int(parts[1]) ?? 0)
        }
      }
      var at = 0
      while at < events.count {
        let end = min(events.count, at + 1 + Int(random.next() % 9))
        if random.next() % 8 == 0 {
          fails.isOn = true
          let entry = NewEntry(id: bytes("lost"), key: bytes("1"), body: bytes(#"{"n":1,"event":{"id":"1-1"}}"#))
          #expect(try t.log.ask(.append(log: "t", [entry])) == .failed(.broken))
          fails.isOn = false
          // It rests after that, and takes nothing.
          #expect(eventually { try t.append(Array(events[at..<end]), tells: false) })
        } else {
          try t.append(Array(events[at..<end]))
        }
        at = end
        if random.next() % 3 == 0 { try work() }
        if random.next() % 12 == 0 {
          try state.end()
          state = try begin()
          t = try Sorted(scratch.path, order())
        }
      }
      try work()
      #expect(done.count == 12 && done.values.allSatisfy { $0 == Array(1...10) }, "seed \(seed)")
      let counts = try t.counts()
      #expect(counts.copies == Int64(events.count - 120) && counts.keeping == 0 && counts.late == 0)
      try state.end()
    }
  }
}
