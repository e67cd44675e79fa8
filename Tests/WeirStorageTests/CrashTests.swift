// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// `kill -9` of the state process at every change that a few requests make, before and after its commit.
@Suite struct CrashTests {
  static var executable: String { Files.parent(of: Files.ownExecutable ?? "") + "/weir-state-fixture" }

  /// The process, started again whenever it has died.
  private final class Kept {
    let folder: String
    private var pid: Int32 = -1

    init(_ folder: String, dyingAt number: Int, _ point: String) throws {
      self.folder = folder
      try start(number, point)
    }

    func start(_ number: Int = 0, _ point: String = "never") throws {
      if pid > 0 { _ = Children.reap(pid: pid, waiting: true) }
      let spawn = Spawn(
        path: CrashTests.executable, arguments: ["weir-state-fixture", folder, "\(number)", point],
        environment: [(name: "PATH", value: "/usr/bin:/bin")])
      pid = try spawn.start()
    }

    func start(kills: Bool) throws {
      if kills { Children.send(.kill, to: pid) }
      try start()
    }

    func end() {
      Children.send(.kill, to: pid)
      _ = Children.reap(pid: pid, waiting: true)
    }
  }

  /// Three keys are executed and completed, one is released and executed again: nine changes.
  ///
  /// The process dies at each; whoever asks repeats what was not answered, as the plane does.
  @Test("nothing that was said is forgotten, nothing is executed twice", arguments: 1...9, ["inside", "after"])
  func each(number: Int, point: String) throws {
    let scratch = try Scratch()
    let kept = try Kept(scratch.path, dyingAt: number, point)
    defer { kept.end() }
    var peer = try StatePeer(scratch.path)
    var deaths = 0
    func ask(_ request: StateRequest) throws -> StateReply {
      while true {
        do { return try peer.ask(request) } catch {
          deaths += 1
          #expect(deaths == 1, "it dies once")
          if deaths > 1 { throw error }
          try kept.start()
          peer = try StatePeer(scratch.path)
        }
      }
    }
    for key in 1...3 as ClosedRange<UInt64> {
      #expect(try ask(claim(key, by: key)) == .execute)
      #expect(try ask(.complete(key: digest(key), owner: owner(key), answer: answer("\(key)"))) == .stored)
    }
    #expect(try ask(claim(4, by: 4)) == .execute)
    #expect(try ask(.release(key: digest(4), owner: owner(4))) == .released)
    #expect(try ask(claim(4, by: 5)) == .execute)
    #expect(deaths == 1)
    for key in 1...3 as ClosedRange<UInt64> {
      #expect(try ask(claim(key, by: 50)) == .replay(answer("\(key)")))
    }
    #expect(isBusy(try ask(claim(4, by: 60))))
  }

  /// Three messages, two of one key, of which the first fails once: at least twelve changes.
  @Test(
    "no message is lost, none comes again after its ack, none passes by another of its key", arguments: 1...12,
    ["inside", "after"])
  func messages(number: Int, point: String) throws {
    let scratch = try Scratch()
    let kept = try Kept(scratch.path, dyingAt: number, point)
    defer { kept.end() }
    var peer = try StatePeer(scratch.path)
    var deaths = 0
    func ask(_ request: StateRequest) throws -> StateReply {
      while true {
        do { return try peer.ask(request) } catch {
          deaths += 1
          #expect(deaths == 1, "it dies once")
          if deaths > 1 { throw error }
          try kept.start()
          peer = try StatePeer(scratch.path)
        }
      }
    }
    func enqueue(_ id: String, key: String) throws -> Bool {
      let reply = try ask(
        .enqueue(queue: "q", [NewMessage(id: bytes(id), key: bytes(key), body: bytes("body of \(id)"))]))
      guard case .enqueued(let all) = reply, all.count == 1 else {
        Issue.record("\(reply)")
        return true
      }
      return all[0].isDuplicate
    }
    #expect(try ask(.declare([quick()])) == .declared)
    for (id, key) in [("a1", "a"), ("a2", "a"), ("b1", "")] {
      let before = deaths
      // Said twice, for its answer was lost.
      #expect(try !enqueue(id, key: key) || deaths > before)
    }
    var acked: [String] = []
    var attempts: [String: UInt16] = [:]
    var hasFailed = false
    while acked.count < 3 {
      let before = deaths
      let reply = try ask(.lease(queue: "q", max: 1, visibility: 500, wait: 30_000))
      guard case .leased(let leased) = reply, let message = leased.first else {
        Issue.record("nothing came any more, acked were \(acked): \(reply)")
        return
      }
      let id = text(message)
      #expect(message.message.body == bytes("body of \(id)"))
      #expect(!acked.contains(id), "it came again after its ack")
      #expect(id != "a2" || acked.contains("a1"))
      #expect(message.attempt > attempts[id] ?? 0)
      attempts[id] = message.attempt
      let fails = id == "a1" && !hasFailed
      if fails { hasFailed = true }
      let settlement = Settlement(
        sequence: message.sequence, attempt: message.attempt,
        verdict: fails
          ? .nack(error: "no", status: 500, latency: 1, retryAfter: nil, isFinal: false) : .ack(result: [1]))
      let settled = try ask(.settle(queue: "q", [settlement]))
      if settled == .settled([.done]) { acked.append(id) }
      // A failure said twice is lost the second time; so is all that took longer than its lease.
      if settled == .settled([.lost]) {
        #expect(deaths > before || message.until < SystemClock.wall().milliseconds + 1)
      }
    }
    #expect(deaths == 1)
    try kept.start(kills: true)
    peer = try StatePeer(scratch.path)
    #expect(try enqueue("a1", key: "a"))
    #expect(try ask(.lease(queue: "q", max: 9, visibility: nil, wait: 0)) == .leased([]))
    for id in acked {
      guard case .message(let view?) = try ask(.look(queue: "q", .message(id: bytes(id)))) else {
        Issue.record("\(id) is not known")
        continue
      }
      #expect(view.state == .done && view.result == [1])
    }
  }

  /// A group whose events are sorted: one is early, one comes twice, one closes the gap; each is worked on.
  @Test(
    "a sorted group: each event once, in the order of the numbers, whichever change it dies at", arguments: 1...10,
    ["inside", "after"])
  func sorted(number: Int, point: String) throws {
    let scratch = try Scratch()
    let kept = try Kept(scratch.path, dyingAt: number, point)
    defer { kept.end() }
    var peer = try StatePeer(scratch.path)
    var deaths = 0
    var group = quick { $0.name = "t.g" }
    group.order = GroupOrder(
      sequence: .init(by: "n", wait: 3_600_000), dedup: .init(by: "event", within: 3_600_000))
    var log = LogDeclaration(name: "t")
    log.groups = [LogGroup(queue: "t.g")]
    func again() throws {
      try kept.start(kills: false)
      peer = try StatePeer(scratch.path)
    }
    func ask(_ request: StateRequest) throws -> StateReply {
      while true {
        do { return try peer.ask(request) } catch {
          deaths += 1
          #expect(deaths == 1, "it dies once")
          if deaths > 1 { throw error }
          try again()
        }
      }
    }
    #expect(try ask(.declare([group])) == .declared)
    #expect(try ask(.declareLogs([log])) == .declared)
    for (id, n) in [("a", 3), ("b", 2), ("b-again", 2), ("c", 1)] {
      let entry = NewEntry(id: bytes(id), key: bytes("k"), body: bytes("{\"n\":\(n),\"event\":\"\(n)\"}"))
      guard case .appended = try ask(.append(log: "t", [entry])) else {
        Issue.record("\(id) is not appended")
        return
      }
    }
    var acked: [Int64] = []
    while acked.count < 3 {
      let reply = try ask(.lease(queue: "t.g", max: 9, visibility: 500, wait: 30_000))
      guard case .leased(let leased) = reply, let message = leased.first, leased.count == 1 else {
        Issue.record("acked were \(acked): \(reply)")
        return
      }
      var facts = EventFacts(fields: message.message.fields, body: message.message.body)
      let number = facts.number("n")
      let n = try #require(number)
      #expect(n == Int64(acked.count + 1), "acked were \(acked)")
      let settlement = Settlement(
        sequence: message.sequence, attempt: message.attempt, verdict: .ack(result: []))
      if try ask(.settle(queue: "t.g", [settlement])) == .settled([.done]) { acked.append(n) }
    }
    #expect(deaths == 1)
    try kept.start(kills: true)
    peer = try StatePeer(scratch.path)
    #expect(try ask(.lease(queue: "t.g", max: 9, visibility: nil, wait: 0)) == .leased([]))
    guard case .counts(let counts) = try ask(.look(queue: "t.g", .counts)) else {
      Issue.record("no counts")
      return
    }
    #expect(counts.order?.copies == 1 && counts.order?.kept == 2 && counts.order?.keeping == 0 && counts.dead == 0)
  }

  /// MQ-7, a few seconds of it: `script/crash --of logs --seconds 600` goes on for ten minutes.
  @Test("64 writers, readers and groups of a log, killed at any moment: nothing skipped, repeated or lost")
  func logDrill() throws {
    let scratch = try Scratch()
    let spawn = Spawn(
      path: CrashTests.executable,
      arguments: [
        "weir-state-fixture", "logs", scratch.path, "--kills", "6", "--producers", "64", "--seed", "7",
      ],
      environment: [(name: "PATH", value: "/usr/bin:/bin")])
    let pid = try spawn.start()
    #expect(Children.reap(pid: pid, waiting: true) == .ended(pid: pid, .code(0)))
  }

  /// A few kills of what `script/crash` does a thousand times.
  @Test("killed at any moment, with 16 producers")
  func drill() throws {
    let scratch = try Scratch()
    let spawn = Spawn(
      path: CrashTests.executable,
      arguments: [
        "weir-state-fixture", "drill", scratch.path, "--kills", "6", "--producers", "16", "--seed", "7",
      ],
      environment: [(name: "PATH", value: "/usr/bin:/bin")])
    let pid = try spawn.start()
    #expect(Children.reap(pid: pid, waiting: true) == .ended(pid: pid, .code(0)))
  }
}
