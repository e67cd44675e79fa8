// SPDX-License-Identifier: Apache-2.0

import Synchronization
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// Writers to a log, who reads along, and groups, on a state process that is killed again and again.
///
/// Each writer has a stream and appends numbers, one after the other, expecting the version that the last one got. Readers go
/// from position to position: what they get next must be the next position, and of its stream the next number. In each group a
/// stream's numbers must come one after the other, none again after its ack, none left out. At the end whatever was
/// acknowledged must have been read at the position that its writer was told, and have come in each group.
final class LogDrill: Sendable {
  struct Options {
    /// 0: as many as there is time for.
    var kills = 100
    var cuts = 0
    /// 0: until all kills are done.
    var seconds = 0
    /// Milliseconds between two kills, at least; up to five times as long.
    var every = 30
    var seed: UInt64 = 1
    var writers = 64
    var readers = 2
    var shim: String?
  }

  private struct Stream {
    /// What its writer was told, by number.
    var acknowledged: [Int64] = []
    /// What the first reader has got, by number.
    var read: [Int64] = []
    /// Of each group: the last number acked, whether the one after it may be, and the highest attempt of which number.
    var settled: [Int]
    var isInDoubt: [Bool]
    var attempt: [(number: Int, attempt: Int)]
  }

  private struct Ledger {
    var streams: [Stream]
    var violations: [String] = []
    var refused = 0
    var duplicates = 0
    var positions: [Int64]
    var delivered = 0
    var writing = true
    var reading = true
    var threads = 0
  }

  private let options: Options
  private let folder: String
  private let ledger: Mutex<Ledger>
  private static let log = "drill"
  /// One that refuses when it is full, and one from the start, which is small and falls behind.
  private static let groups = ["drill.all", "drill.behind"]

  init(_ folder: String, _ options: Options) {
    self.folder = folder
    self.options = options
    let count = LogDrill.groups.count
    let stream = Stream(
      settled: Array(repeating: 0, count: count), isInDoubt: Array(repeating: false, count: count),
      attempt: Array(repeating: (0, 0), count: count))
    ledger = Mutex(
      Ledger(
        streams: Array(repeating: stream, count: options.writers),
        positions: Array(repeating: 0, count: options.readers)))
  }

  /// True if everything was as it must be.
  func run() throws -> Bool {
    let victim = Victim(folder, "drill", shim: options.cuts > 0 ? options.shim : nil)
    var cut = try PowerCut(folder)
    try victim.start()
    try declare()
    for i in 0..<options.writers { try begin { try self.write(i) } }
    for i in 0..<options.readers { try begin { try self.read(i) } }
    for i in LogDrill.groups.indices { for j in 0..<2 { try begin { try self.consume(i, j) } } }
    var random = SeededRandom(seed: options.seed, stream: "kills")
    let end = SystemClock.now() + .seconds(Int64(options.seconds))
    var cuts = 0
    var kills = 0
    let every = Int64(options.every) * 1_000_000
    while options.seconds > 0 ? SystemClock.now() < end : kills < options.kills {
      SystemThread.pause(nanoseconds: every + random.nanoseconds(upTo: 4 * every))
      victim.kill()
      kills += 1
      if cuts < options.cuts && cuts * options.kills <= kills * options.cuts {
        cuts += 1
        try cut.cut(folder, journal: victim.journal, using: &random)
      } else if options.cuts > 0 {
        try Files.remove(victim.journal)
        cut = try PowerCut(folder, counting: (cut.kept, cut.dropped, cut.torn))
      }
      try victim.start()
      if kills % 100 == 0 {
        say("\(kills) kills, \(cuts) of them power cuts, \(ledger.withLock { $0.positions }) read")
      }
      if ledger.withLock({ !$0.violations.isEmpty }) { break }
    }
    ledger.withLock { $0.writing = false }
    let isWhole = wait(seconds: 120) { ledger in
      ledger.streams.allSatisfy { stream in
        stream.read.count >= stream.acknowledged.count
          && stream.settled.indices.allSatisfy {
            stream.settled[$0] + (stream.isInDoubt[$0] ? 1 : 0) >= stream.acknowledged.count
          }
      }
    }
    ledger.withLock { $0.reading = false }
    _ = wait(seconds: 60) { $0.threads == 0 }
    let counts = try? Peer(folder).ask(.lookLog(log: LogDrill.log))
    victim.kill()
    return ledger.withLock { ledger in
      if ledger.violations.isEmpty { judge(&ledger, isWhole) }
      let acknowledged = ledger.streams.reduce(0) { $0 + $1.acknowledged.count }
      say(
        "\(kills) kills, \(cuts) of them power cuts (of unsynced writes \(cut.kept) were kept, \(cut.dropped) dropped, "
          + "\(cut.torn) torn); \(options.writers) writers: \(acknowledged) entries acknowledged, readers at "
          + "\(ledger.positions), \(ledger.delivered) deliveries in \(LogDrill.groups.count) groups, "
          + "\(ledger.duplicates) said twice, \(ledger.refused) refused for a while")
      if case .logCounts(let counts) = counts {
        say("the log: \(counts.first) to \(counts.last), \(counts.bytes) bytes")
      }
      for violation in ledger.violations.prefix(20) { say("violation: \(violation)") }
      return ledger.violations.isEmpty
    }
  }

  /// What can be said at the end only.
  private func judge(_ ledger: inout Ledger, _ isWhole: Bool) {
    for (i, stream) in ledger.streams.enumerated() {
      for (number, position) in stream.acknowledged.enumerated() {
        let read = number < stream.read.count ? stream.read[number] : 0
        if read != position {
          ledger.violations.append("stream \(i): \(number + 1) was acknowledged at \(position) and read at \(read)")
          break
        }
      }
      for (g, name) in LogDrill.groups.enumerated() where !isWhole && stream.settled[g] < stream.acknowledged.count {
        ledger.violations.append(
          "stream \(i): \(stream.acknowledged.count) acknowledged, \(stream.settled[g]) delivered and acked in \(name)")
      }
    }
  }

  private func wait(seconds: Int64, _ condition: (Ledger) -> Bool) -> Bool {
    let limit = SystemClock.now() + .seconds(seconds)
    while SystemClock.now() < limit {
      if ledger.withLock({ condition($0) || !$0.violations.isEmpty && $0.threads == 0 }) { return true }
      SystemThread.pause(nanoseconds: 5_000_000)
    }
    return false
  }

  private func begin(_ body: @escaping @Sendable () throws -> Void) throws {
    ledger.withLock { $0.threads += 1 }
    try SystemThread.start { [self] in
      do { try body() } catch { complain("\(error)") }
      ledger.withLock { $0.threads -= 1 }
    }
  }

  private func complain(_ text: String) { ledger.withLock { $0.violations.append(text) } }

  private func peer() -> Peer {
    let peer = Peer(folder)
    peer.limit = SystemClock.now() + .seconds(86_400)
    return peer
  }

  private func declare() throws {
    let peer = Peer(folder)
    let queues = LogDrill.groups.enumerated().map { i, name in
      var queue = QueueDeclaration(name: name)
      queue.visibility = 3000
      queue.attempts = 1000
      queue.backoffFirst = 1
      queue.backoffMax = 5
      queue.length = i == 0 ? 3000 : 200
      return queue
    }
    var log = LogDeclaration(name: LogDrill.log)
    // So many that no reader is so far behind, so few that the oldest are forgotten.
    log.bytes = options.cuts > 0 ? 8 << 20 : 64 << 20
    log.groups = [
      LogGroup(queue: LogDrill.groups[0]), LogGroup(queue: LogDrill.groups[1], fromStart: true),
    ]
    for request in [StateRequest.declare(queues), .declareLogs([log])] {
      let reply = try peer.ask(request)
      if reply != .declared { complain("declare: \(reply)") }
    }
  }

  private static func body(_ stream: Int, _ number: Int) -> [UInt8] {
    Array("\(stream)-\(number)".utf8) + Array(repeating: 46, count: (number * 37 + stream) % 300)
  }

  private static func words(_ id: [UInt8], _ body: [UInt8]) -> (stream: Int, number: Int)? {
    let words = String(decoding: id, as: UTF8.self).split(separator: "-").compactMap { Int($0) }
    guard words.count == 2, body == LogDrill.body(words[0], words[1]) else { return nil }
    return (words[0], words[1])
  }

  // MARK: Writers

  private func write(_ stream: Int) throws {
    let peer = peer()
    var number = 1
    while ledger.withLock({ $0.writing && $0.violations.isEmpty }) {
      let entry = NewEntry(
        id: Array("\(stream)-\(number)".utf8), key: Array("\(stream)".utf8), type: Array("drill".utf8),
        body: LogDrill.body(stream, number), expected: Int64(number - 1))
      switch try peer.ask(.append(log: LogDrill.log, [entry])) {
      case .appended(let all):
        guard let one = all.first, all.count == 1, one.version == number else {
          complain("stream \(stream): \(number) was appended as \(all)")
          return
        }
        if one.isDuplicate && !peer.hasBroken { complain("stream \(stream): \(number) was there before it was sent") }
        ledger.withLock {
          $0.streams[stream].acknowledged.append(one.position)
          if one.isDuplicate { $0.duplicates += 1 }
        }
        number += 1
      case .queueFull:
        ledger.withLock { $0.refused += 1 }
        SystemThread.pause(nanoseconds: 5_000_000)
      case let other: complain("stream \(stream): append of \(number): \(other)")
      }
    }
  }

  // MARK: Readers

  private func read(_ reader: Int) throws {
    let peer = peer()
    var last: Int64 = 0
    var at: Int64 = 0
    var numbers = Array(repeating: 0, count: options.writers)
    while ledger.withLock({ $0.reading && $0.violations.isEmpty }) {
      let reply = try peer.ask(.read(log: LogDrill.log, key: nil, after: last, limit: 500, wait: 200))
      guard case .entries(let entries) = reply else {
        complain("read: \(reply)")
        return
      }
      for entry in entries {
        guard let (stream, number) = LogDrill.words(entry.id, entry.body) else {
          complain("an entry that nobody has sent: \(entry.id)")
          return
        }
        if entry.position != last + 1 { complain("reader \(reader): \(entry.position) after \(last)") }
        if number != numbers[stream] + 1 || entry.version != number {
          complain("reader \(reader): \(number) of stream \(stream) as \(entry.version) after \(numbers[stream])")
        }
        if entry.at < at { complain("reader \(reader): \(entry.position) is of \(entry.at), the one before of \(at)") }
        last = entry.position
        at = entry.at
        numbers[stream] = number
        if reader == 0 { ledger.withLock { $0.streams[stream].read.append(entry.position) } }
      }
      ledger.withLock { $0.positions[reader] = last }
    }
  }

  // MARK: Groups

  private func consume(_ group: Int, _ consumer: Int) throws {
    let peer = peer()
    let queue = LogDrill.groups[group]
    var random = SeededRandom(seed: options.seed, stream: "consumer \(group) \(consumer)")
    while ledger.withLock({ $0.reading && $0.violations.isEmpty }) {
      let reply = try peer.ask(.lease(queue: queue, max: 100, visibility: nil, wait: 200))
      guard case .leased(let messages) = reply else {
        complain("lease: \(reply)")
        return
      }
      var settlements: [(settlement: Settlement, stream: Int, number: Int)] = []
      for message in messages {
        guard let (stream, number) = came(message, group) else { continue }
        let verdict: Settlement.Verdict
        if random.chance(0.9) {
          ledger.withLock {
            if $0.streams[stream].settled[group] < number { $0.streams[stream].isInDoubt[group] = true }
          }
          verdict = .ack(result: [])
        } else if random.chance(0.5) {
          verdict = .nack(error: "no", status: 500, latency: 1, retryAfter: nil, isFinal: false)
        } else {
          verdict = .postpone(by: 3)
        }
        settlements.append(
          (Settlement(sequence: message.sequence, attempt: message.attempt, verdict: verdict), stream, number))
      }
      if settlements.isEmpty { continue }
      let settled = try peer.ask(.settle(queue: queue, settlements.map(\.settlement)))
      guard case .settled(let results) = settled, results.count == settlements.count else {
        complain("settle: \(settled)")
        return
      }
      ledger.withLock { ledger in
        for ((settlement, stream, number), result) in zip(settlements, results) {
          switch (settlement.verdict, result) {
          case (.ack, .done):
            if number == ledger.streams[stream].settled[group] + 1 {
              ledger.streams[stream].settled[group] = number
              ledger.streams[stream].isInDoubt[group] = false
            }
          case (.nack, .retry), (.postpone, .retry), (_, .lost): break
          default:
            ledger.violations.append(
              "\(queue): \(settlement.verdict) of \(number) of stream \(stream) led to \(result)")
          }
        }
      }
    }
  }

  /// A message has come; nil unless it is of an entry that somebody has sent.
  private func came(_ message: LeasedMessage, _ group: Int) -> (stream: Int, number: Int)? {
    guard let entry = message.entry, let (stream, number) = LogDrill.words(entry.id, message.message.body),
      message.message.id == Array(String(entry.position).utf8), message.message.key == Array("\(stream)".utf8),
      entry.version == number
    else {
      complain("a message of no entry: \(message.message.id)")
      return nil
    }
    let name = LogDrill.groups[group]
    return ledger.withLock { ledger in
      ledger.delivered += 1
      var state = ledger.streams[stream]
      if state.isInDoubt[group] && number == state.settled[group] + 2 {
        // The ack before had been done.
        state.settled[group] += 1
        state.isInDoubt[group] = false
      }
      if number <= state.settled[group] {
        ledger.violations.append("\(name): \(number) of stream \(stream) came again after it was acked")
      } else if number != state.settled[group] + 1 {
        ledger.violations.append("\(name): \(number) of stream \(stream) came after \(state.settled[group])")
      }
      let attempt = Int(message.attempt)
      if state.attempt[group].number == number && attempt <= state.attempt[group].attempt {
        ledger.violations.append(
          "\(name): attempt \(attempt) of \(number) of stream \(stream) after \(state.attempt[group].attempt)")
      }
      state.attempt[group] = (number, attempt)
      ledger.streams[stream].settled[group] = state.settled[group]
      ledger.streams[stream].isInDoubt[group] = state.isInDoubt[group]
      ledger.streams[stream].attempt[group] = state.attempt[group]
      return (stream, number)
    }
  }
}
