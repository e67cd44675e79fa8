// SPDX-License-Identifier: Apache-2.0

import Synchronization
import WeirBase
import WeirPlatform
import WeirStorage
import WeirWire

/// Producers and consumers on a state process that is killed again and again, and what they hold it to.
///
/// Each producer has a key and sends numbers, one after the other, each until it is acknowledged. What consumers get of a key
/// must be the number after the last one acked (or one further, where an ack was sent and its answer lost), with an attempt
/// higher than ever before; and at the end everything acknowledged must have come.
final class Drill: Sendable {
  struct Options {
    var kills = 100
    /// Of the kills, so many are power cuts.
    var cuts = 0
    var seed: UInt64 = 1
    var producers = 64
    var consumers = 4
    /// Where the journal of writes is; without it there are no power cuts.
    var shim: String?
  }

  private struct Key {
    /// Acknowledged to the producer.
    var accepted = 0
    /// Acked, and that was answered.
    var settled = 0
    /// An ack of the one after `settled` was sent, and nobody knows.
    var isInDoubt = false
    /// The highest attempt seen, and of which number.
    var attempt = 0
    var attemptOf = 0
  }

  private struct Ledger {
    var keys: [Key]
    var violations: [String] = []
    var refused = 0
    var duplicates = 0
    var delivered = 0
    var nacked = 0
    var producing = true
    var consuming = true
    var threads = 0
  }

  private let options: Options
  private let folder: String
  private let ledger: Mutex<Ledger>
  private static let queue = "drill"

  init(_ folder: String, _ options: Options) {
    self.folder = folder
    self.options = options
    ledger = Mutex(Ledger(keys: Array(repeating: Key(), count: options.producers)))
  }

  /// True if everything was as it must be.
  func run() throws -> Bool {
    let victim = Victim(folder, "drill", shim: options.cuts > 0 ? options.shim : nil)
    var cut = try PowerCut(folder)
    try victim.start()
    try declare()
    for i in 0..<options.producers { try begin { try self.produce(i) } }
    for i in 0..<options.consumers { try begin { try self.consume(i) } }
    var random = SeededRandom(seed: options.seed, stream: "kills")
    var cuts = 0
    for kill in 1...max(1, options.kills) {
      SystemThread.pause(nanoseconds: 30_000_000 + random.nanoseconds(upTo: 120_000_000))
      victim.kill()
      // Spread evenly over the kills.
      if cuts < options.cuts && cuts * options.kills <= kill * options.cuts {
        cuts += 1
        try cut.cut(folder, journal: victim.journal, using: &random)
      } else if options.cuts > 0 {
        // All that was written is there: the disk goes on from that.
        try Files.remove(victim.journal)
        let kept = (cut.kept, cut.dropped, cut.torn)
        cut = try PowerCut(folder, counting: kept)
      }
      try victim.start()
      if kill % 100 == 0 { say("\(kill) kills, \(cuts) of them power cuts") }
      if ledger.withLock({ !$0.violations.isEmpty }) { break }
    }
    ledger.withLock { $0.producing = false }
    // An ack whose answer was lost for so long that its record is gone stays in doubt.
    let isWhole =
      wait(seconds: 60) { $0.keys.allSatisfy { $0.settled >= $0.accepted } }
      || ledger.withLock { $0.keys.allSatisfy { $0.settled + ($0.isInDoubt ? 1 : 0) >= $0.accepted } }
    ledger.withLock { $0.consuming = false }
    _ = wait(seconds: 60) { $0.threads == 0 }
    victim.kill()
    return ledger.withLock { ledger in
      if !isWhole && ledger.violations.isEmpty {
        for (i, key) in ledger.keys.enumerated() where key.settled < key.accepted {
          ledger.violations.append("key \(i): \(key.accepted) acknowledged, \(key.settled) delivered and acked")
        }
      }
      let accepted = ledger.keys.reduce(0) { $0 + $1.accepted }
      say(
        "\(options.kills) kills, \(cuts) of them power cuts (of unsynced writes \(cut.kept) were kept, \(cut.dropped) dropped, "
          + "\(cut.torn) torn); \(accepted) messages acknowledged, \(ledger.delivered) deliveries, \(ledger.nacked) of "
          + "them failed, \(ledger.duplicates) said twice, \(ledger.refused) refused for a while")
      for violation in ledger.violations.prefix(20) { say("violation: \(violation)") }
      return ledger.violations.isEmpty
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

  private func declare() throws {
    var declaration = QueueDeclaration(name: Drill.queue)
    declaration.visibility = 3000
    declaration.attempts = 1000
    declaration.backoffFirst = 1
    declaration.backoffMax = 5
    // Longer than a producer takes to say it again; rows do not gather.
    declaration.dedup = 10_000
    declaration.length = 3000
    let reply = try Peer(folder).ask(.declare([declaration]))
    if reply != .declared { complain("declare: \(reply)") }
  }

  // MARK: Producers

  private func produce(_ key: Int) throws {
    let peer = Peer(folder)
    peer.limit = SystemClock.now() + .seconds(86_400)
    var number = 1
    while ledger.withLock({ $0.producing && $0.violations.isEmpty }) {
      let text = Array("\(key)-\(number)".utf8)
      let message = NewMessage(
        id: text, key: Array("\(key)".utf8), fields: Array("Content-Type: text/plain\r\n".utf8),
        body: text + Array(repeating: 46, count: (number * 37 + key) % 600))
      switch try peer.ask(.enqueue(queue: Drill.queue, [message])) {
      case .enqueued(let all):
        let isDuplicate = all.first?.isDuplicate == true
        if isDuplicate && !peer.hasBroken { complain("key \(key): \(number) was there before it was sent") }
        ledger.withLock {
          $0.keys[key].accepted = number
          if isDuplicate { $0.duplicates += 1 }
        }
        number += 1
      case .queueFull:
        ledger.withLock { $0.refused += 1 }
        SystemThread.pause(nanoseconds: 5_000_000)
      case let other: complain("enqueue: \(other)")
      }
    }
  }

  // MARK: Consumers

  private func consume(_ consumer: Int) throws {
    let peer = Peer(folder)
    peer.limit = SystemClock.now() + .seconds(86_400)
    var random = SeededRandom(seed: options.seed, stream: "consumer \(consumer)")
    while ledger.withLock({ $0.consuming && $0.violations.isEmpty }) {
      let reply = try peer.ask(.lease(queue: Drill.queue, max: 20, visibility: nil, wait: 200))
      guard case .leased(let messages) = reply else {
        complain("lease: \(reply)")
        return
      }
      var settlements: [Settlement] = []
      for message in messages {
        guard let (key, number) = came(message) else { continue }
        let acks = !random.chance(0.1)
        if acks { ledger.withLock { if $0.keys[key].settled < number { $0.keys[key].isInDoubt = true } } }
        settlements.append(
          Settlement(
            sequence: message.sequence, attempt: message.attempt,
            verdict: acks
              ? .ack(result: [])
              : .nack(error: "no", status: 500, latency: 1, retryAfter: nil, isFinal: false)))
      }
      if settlements.isEmpty { continue }
      let settled = try peer.ask(.settle(queue: Drill.queue, settlements))
      guard case .settled(let results) = settled, results.count == settlements.count else {
        complain("settle: \(settled)")
        return
      }
      for (message, (settlement, result)) in zip(messages, zip(settlements, results)) {
        ended(message, settlement, result)
      }
    }
  }

  private func words(_ message: LeasedMessage) -> (key: Int, number: Int)? {
    let text = String(decoding: message.message.id, as: UTF8.self).split(separator: "-").compactMap { Int($0) }
    let body = message.message.body
    guard text.count == 2, body.starts(with: message.message.id),
      body.count == message.message.id.count + (text[1] * 37 + text[0]) % 600
    else { return nil }
    return (text[0], text[1])
  }

  /// A message has come; nil unless it is one that somebody has sent.
  private func came(_ message: LeasedMessage) -> (key: Int, number: Int)? {
    guard let (key, number) = words(message) else {
      complain("a message that nobody has sent: \(message.message.id)")
      return nil
    }
    return ledger.withLock { ledger in
      ledger.delivered += 1
      var state = ledger.keys[key]
      defer { ledger.keys[key] = state }
      if state.isInDoubt && number == state.settled + 2 {
        // The ack before had been done.
        state.settled += 1
        state.isInDoubt = false
      }
      if number <= state.settled {
        ledger.violations.append("key \(key): \(number) came again after it was acked")
      } else if number != state.settled + 1 {
        ledger.violations.append("key \(key): \(number) came after \(state.settled)")
      }
      let attempt = Int(message.attempt)
      if state.attemptOf == number && attempt <= state.attempt {
        ledger.violations.append("key \(key): attempt \(attempt) of \(number) after attempt \(state.attempt)")
      }
      state.attemptOf = number
      state.attempt = attempt
      return (key, number)
    }
  }

  private func ended(_ message: LeasedMessage, _ settlement: Settlement, _ result: SettleResult) {
    guard let (key, number) = words(message) else { return }
    ledger.withLock { ledger in
      switch (settlement.verdict, result) {
      case (.ack, .done):
        if number == ledger.keys[key].settled + 1 {
          ledger.keys[key].settled = number
          ledger.keys[key].isInDoubt = false
        }
      case (.ack, .lost): break
      case (.nack, .retry): ledger.nacked += 1
      case (.nack, .lost): break
      default: ledger.violations.append("key \(key): \(settlement.verdict) of \(number) led to \(result)")
      }
    }
  }
}
