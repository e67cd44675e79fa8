// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct IdempotencyRecordTests {
  private func at(_ milliseconds: Int64) -> WallTime { WallTime(milliseconds: milliseconds) }
  private func owner(_ number: UInt64) -> IdempotencyRecord.Owner { .init(high: 7, low: number) }
  private func claim(_ number: UInt64, print: UInt64 = 1) -> IdempotencyRecord.Claim {
    .init(fingerprint: .init(print, 2, 3, 4), owner: owner(number), lease: 1000, keep: 10_000)
  }

  /// The whole life of a key, as the page tells it.
  @Test("executed once, replayed until it is forgotten, then executed again")
  func life() {
    var record: IdempotencyRecord?
    #expect(IdempotencyRecord.claim(&record, claim(1), now: at(0)) == .execute(until: at(1000)))
    #expect(IdempotencyRecord.claim(&record, claim(2), now: at(5)) == .wait(until: at(1000)))
    #expect(IdempotencyRecord.claim(&record, claim(3, print: 9), now: at(5)) == .mismatch)
    #expect(record?.complete(by: owner(1), isKept: true, now: at(50)) == .stored)
    #expect(record?.complete(by: owner(1), isKept: true, now: at(60)) == .already)
    #expect(record?.complete(by: owner(2), isKept: true, now: at(60)) == .lost)
    #expect(IdempotencyRecord.claim(&record, claim(2), now: at(10_049)) == .replay)
    #expect(IdempotencyRecord.claim(&record, claim(3, print: 9), now: at(10_049)) == .mismatch)
    #expect(IdempotencyRecord.claim(&record, claim(3, print: 9), now: at(10_050)) == .execute(until: at(11_050)))
  }

  @Test("what was too large to be kept is done all the same")
  func notKept() {
    var record: IdempotencyRecord?
    _ = IdempotencyRecord.claim(&record, claim(1), now: at(0))
    #expect(record?.complete(by: owner(1), isKept: false, now: at(1)) == .stored)
    #expect(IdempotencyRecord.claim(&record, claim(2), now: at(2)) == .notKept)
  }

  /// An owner that died (kill -9 of the plane): the lease ends, and the next one to ask takes over.
  @Test("a lease is taken over when it is over, to the millisecond", arguments: [(999, false), (1000, true)])
  func lease(now: Int64, isOver: Bool) {
    var record: IdempotencyRecord?
    _ = IdempotencyRecord.claim(&record, claim(1), now: at(0))
    let decision = IdempotencyRecord.claim(&record, claim(2), now: at(now))
    #expect(decision == (isOver ? .execute(until: at(now + 1000)) : .wait(until: at(1000))))
    #expect(record?.complete(by: owner(1), isKept: true, now: at(now)) == (isOver ? .lost : .stored))
  }

  /// Nobody else has asked: a late answer is better than a second execution.
  @Test("an owner that is late still completes while nobody has taken over")
  func late() {
    var record: IdempotencyRecord?
    _ = IdempotencyRecord.claim(&record, claim(1), now: at(0))
    #expect(record?.complete(by: owner(1), isKept: true, now: at(5000)) == .stored)
  }

  /// The state process was killed between the commit and the answer, and the plane asks again.
  @Test("the owner that asks again gets the same answer, with a new lease")
  func again() {
    var record: IdempotencyRecord?
    _ = IdempotencyRecord.claim(&record, claim(1), now: at(0))
    #expect(IdempotencyRecord.claim(&record, claim(1), now: at(300)) == .execute(until: at(1300)))
    #expect(record?.isReleased(by: owner(1)) == true && record?.isReleased(by: owner(2)) == false)
  }

  @Test(
    "outcomes are kept, what says \"not now\" or nothing is not",
    arguments: [
      (200, true), (201, true), (204, true), (301, true), (400, true), (404, true), (409, true), (422, true),
      (499, true), (100, false), (101, false), (408, false), (425, false), (429, false), (500, false), (503, false),
    ] as [(UInt16, Bool)])
  func statuses(status: UInt16, keeps: Bool) { #expect(IdempotencyRecord.keeps(status: status) == keeps) }

  /// Random claims, completions and releases by a few owners with two bodies: the invariants after every step, at most one
  /// outcome while it is remembered, and an end to all waiting.
  @Test("walks", arguments: resilienceSeeds(200))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "idempotency")
    var record: IdempotencyRecord?
    var now: Int64 = 0
    /// Who may complete, by the answers that were given.
    var leases: [UInt64: Int64] = [:]
    var outcome: (by: UInt64, until: Int64)?
    for step in 0..<200 {
      now += Int64(random.index(below: 700))
      let who = UInt64(random.index(below: 4))
      let before = record
      switch random.index(below: 4) {
      case 0, 1:
        let print: UInt64 = random.index(below: 8) == 0 ? 9 : 1
        switch IdempotencyRecord.claim(&record, claim(who, print: print), now: at(now)) {
        case .execute(let until):
          let running = leases.filter { $0.key != who && now < $0.value }
          #expect(running.isEmpty, "WEIR_SEED=\(seed) step \(step): \(running) still execute")
          #expect(outcome.map { now >= $0.until } ?? true, "WEIR_SEED=\(seed) step \(step): executed after its outcome")
          leases = [who: until.milliseconds]
          outcome = nil
        case .replay, .notKept: #expect(outcome.map { now < $0.until } ?? false, "WEIR_SEED=\(seed) step \(step)")
        case .wait(let until):
          #expect(until.milliseconds > now && record == before, "WEIR_SEED=\(seed) step \(step)")
        case .mismatch: #expect(record == before, "WEIR_SEED=\(seed) step \(step)")
        }
      case 2:
        switch record?.complete(by: owner(who), isKept: random.index(below: 2) == 0, now: at(now)) {
        case .stored:
          #expect(leases[who] != nil && outcome == nil, "WEIR_SEED=\(seed) step \(step)")
          outcome = (who, now + 10_000)
          leases = [:]
        case .already: #expect(outcome?.by == who && record == before, "WEIR_SEED=\(seed) step \(step)")
        case .lost, nil: #expect(record == before, "WEIR_SEED=\(seed) step \(step)")
        }
      default:
        if record?.isReleased(by: owner(who)) == true {
          #expect(leases[who] != nil, "WEIR_SEED=\(seed) step \(step)")
          record = nil
          leases = [:]
        }
      }
      if let wrong = record?.violation() { Issue.record("WEIR_SEED=\(seed) step \(step): \(wrong)") }
    }
    // Liveness: whatever was left behind, a lease and a keep later anybody may execute.
    let decision = IdempotencyRecord.claim(&record, claim(99, print: 77), now: at(now + 11_000))
    #expect(decision == .execute(until: at(now + 12_000)), "WEIR_SEED=\(seed)")
  }
}
