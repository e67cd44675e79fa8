// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirPatterns
package import WeirWire

/// Who asked: a connection, and the number of the request on it.
package struct StateAsker: Sendable, Hashable {
  package var connection: Int
  package var id: UInt64

  package init(connection: Int, id: UInt64) {
    self.connection = connection
    self.id = id
  }
}

/// Answers claims, completions and releases by the records of a store, and knows who waits for whose end.
///
/// Confined to one thread. Its decisions are made within a transaction (`decide`) and count once that is on the disk
/// (`settle`): when the transaction fails nothing of them has happened.
///
/// ## Invariants
/// 1. Each request is answered once, or waits; who waits is answered at the latest when its patience ends.
/// 2. Of one key's waiters who came first is asked first.
package struct IdempotencyDesk {
  package struct Settings: Sendable {
    /// Claims that may wait at the same time; more are refused.
    package var waitersMax = 65_536
    package init() {}
  }

  struct Waiter {
    var asker: StateAsker
    var claim: StateRequest.Claim
    /// When it is answered in any case.
    var giveUpAt: Instant
    /// When the lease that it waits for ends.
    var until: WallTime
  }

  /// What a request leads to once its transaction is on the disk.
  package enum Outcome {
    case reply(StateReply)
    /// It waits for the end of a lease.
    case waits(StateRequest.Claim, giveUpAt: Instant, until: WallTime)
  }

  private let settings: Settings
  private var waiting: [StateDigest: [Waiter]] = [:]
  package private(set) var waiters = 0

  package init(_ settings: Settings = Settings()) { self.settings = settings }

  /// Within a transaction: what is to be answered.
  ///
  /// `settled` gets the keys about whose waiters there is news. `giveUpAt` is of a claim that has waited before.
  package func decide(
    _ request: StateRequest, giveUpAt: Instant? = nil, in table: any IdempotencyTable, isLowOnSpace: Bool, now: Instant,
    wall: WallTime, settled: inout [StateDigest]
  ) throws -> Outcome {
    switch request {
    case .hello: return .reply(.failed(.version))
    // The desks of queues and of logs answer these.
    case .declare, .enqueue, .lease, .settle, .look, .steer, .declareLogs, .append, .read, .seek, .lookLog, .join,
      .leave,
      .replay, .saveDocument, .document, .documents, .planBackup, .lookBackup:
      return .reply(.unknownQueue)
    case .claim(let claim):
      var record = try table.record(claim.key)
      let decision = IdempotencyRecord.claim(
        &record,
        .init(
          fingerprint: .init(claim.fingerprint), owner: .init(high: claim.owner.high, low: claim.owner.low),
          lease: claim.lease, keep: claim.keep), now: wall)
      switch decision {
      case .execute:
        guard let record, !isLowOnSpace else { return .reply(.failed(.full)) }
        try table.save(record, claim.key, answer: nil)
        return .reply(.execute)
      case .replay:
        // A record without its answer: nobody has written that.
        guard let answer = try table.answer(claim.key) else { return .reply(.failed(.broken)) }
        return .reply(.replay(answer, waited: giveUpAt != nil))
      case .notKept: return .reply(.notKept)
      case .mismatch: return .reply(.mismatch)
      case .wait(let until):
        let giveUpAt = giveUpAt ?? now.advanced(by: min(claim.wait, 86_400_000) * 1_000_000)
        let left = max(1, until.milliseconds - wall.milliseconds)
        if now >= giveUpAt { return .reply(.busy(left)) }
        if waiters >= settings.waitersMax { return .reply(.failed(.tooMany)) }
        return .waits(claim, giveUpAt: giveUpAt, until: until)
      }
    case .complete(let key, let owner, let answer):
      guard var record = try table.record(key) else { return .reply(.lost) }
      switch record.complete(by: .init(high: owner.high, low: owner.low), isKept: answer != nil, now: wall) {
      case .lost: return .reply(.lost)
      case .already: return .reply(.stored)
      case .stored:
        try table.save(record, key, answer: answer)
        settled.append(key)
        return .reply(.stored)
      }
    case .release(let key, let owner):
      if try table.record(key)?.isReleased(by: .init(high: owner.high, low: owner.low)) == true {
        try table.remove(key)
        settled.append(key)
      }
      return .reply(.released)
    }
  }

  /// The transaction is on the disk: who waits is written down.
  package mutating func settle(_ asker: StateAsker, _ outcome: Outcome) {
    guard case .waits(let claim, let giveUpAt, let until) = outcome else { return }
    waiting[claim.key, default: []].append(Waiter(asker: asker, claim: claim, giveUpAt: giveUpAt, until: until))
    waiters += 1
  }

  /// Takes all who wait for this key, in their order: there is news of it.
  package mutating func take(_ key: StateDigest) -> [(asker: StateAsker, claim: StateRequest.Claim, giveUpAt: Instant)]
  {
    guard let all = waiting.removeValue(forKey: key) else { return [] }
    waiters -= all.count
    return all.map { ($0.asker, $0.claim, $0.giveUpAt) }
  }

  /// Keys of which somebody's patience or the lease is over; in the order of the keys' bits, for it must not change.
  package func due(now: Instant, wall: WallTime) -> [StateDigest] {
    if waiters == 0 { return [] }
    return waiting.filter { $0.value.contains { now >= $0.giveUpAt || wall >= $0.until } }.keys
      .sorted { ($0.a, $0.b, $0.c, $0.d) < ($1.a, $1.b, $1.c, $1.d) }
  }

  /// Whoever asked through it is gone.
  package mutating func drop(connection: Int) {
    for key in Array(waiting.keys) {
      guard let all = waiting[key], all.contains(where: { $0.asker.connection == connection }) else { continue }
      let left = all.filter { $0.asker.connection != connection }
      waiters -= all.count - left.count
      waiting[key] = left.isEmpty ? nil : left
    }
  }

  /// What is wrong with this state, or nil.
  package func violation() -> String? {
    let count = waiting.reduce(0) { $0 + $1.value.count }
    return count == waiters ? nil : "\(count) wait and \(waiters) are counted"
  }
}
