// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct AtOnceTests {
  private func slot(_ index: UInt32) -> Slot { Slot(index: index, generation: 0) }
  private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

  private func gate(_ limit: Int, _ length: Int) -> AtOnce {
    var settings = AtOnce.Settings()
    settings.limit = limit
    settings.queue.length = length
    settings.queue.wait = .milliseconds(100)
    return AtOnce(settings)
  }

  // A timeline: two places, one may wait.
  @Test("two enter, one waits, one is refused; a place given back goes to who waits")
  func timeline() {
    var gate = gate(2, 1)
    #expect(gate.acquire(slot(1), now: at(0), deadline: .distantFuture) == .enter)
    #expect(gate.acquire(slot(2), now: at(1), deadline: .distantFuture) == .enter)
    #expect(gate.acquire(slot(3), now: at(2), deadline: .distantFuture) == .waits(until: at(102)))
    #expect(gate.acquire(slot(4), now: at(3), deadline: .distantFuture) == .full)
    #expect(gate.release(now: at(4)) == slot(3))
    #expect(gate.inside == 2)
    #expect(gate.release(now: at(5)) == nil)
    #expect(gate.acquire(slot(5), now: at(5), deadline: .distantFuture) == .enter)
  }

  @Test("a place is not given to a wait that is over, and not lost either")
  func expiredWaiter() {
    var gate = gate(1, 2)
    _ = gate.acquire(slot(1), now: at(0), deadline: .distantFuture)
    _ = gate.acquire(slot(2), now: at(0), deadline: at(10))
    #expect(gate.release(now: at(10)) == nil)
    #expect(gate.inside == 0)
    #expect(gate.acquire(slot(3), now: at(11), deadline: .distantFuture) == .enter)
  }

  @Test("a raised limit lets waiters in by next, a lowered one throws nobody out")
  func limitMoves() {
    var gate = gate(1, 4)
    for index in UInt32(1)...3 { _ = gate.acquire(slot(index), now: at(0), deadline: .distantFuture) }
    gate.limit = 3
    // Nobody overtakes those who wait, though a place is free until `next` is asked.
    #expect(gate.acquire(slot(4), now: at(1), deadline: .distantFuture) == .waits(until: at(101)))
    #expect(gate.next(now: at(1)) == slot(2))
    #expect(gate.next(now: at(1)) == slot(3))
    #expect(gate.next(now: at(1)) == nil)
    gate.limit = 1
    #expect(gate.release(now: at(2)) == nil)
    #expect(gate.inside == 2)
    #expect(gate.acquire(slot(9), now: at(2), deadline: .distantFuture) == .waits(until: at(102)))
  }

  // Erlang C by Little's law is the simulator's test; here only that nobody overtakes and nothing is lost.
  @Test("walk: never above the limit, in order of arrival", arguments: PatternSeeds.seeds(100))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let limit = 1 + random.index(below: 4)
    var gate = gate(limit, 1 + random.index(below: 6))
    var waiting: [Slot] = []
    var now = Instant.zero
    var next: UInt32 = 0
    for step in 0..<1_000 {
      now = now.advanced(by: Int64(random.index(below: 5_000_000)))
      switch random.index(below: 3) {
      case 0:
        next += 1
        switch gate.acquire(slot(next), now: now, deadline: .distantFuture) {
        case .enter: if !waiting.isEmpty { return fail(seed, step, "overtook \(waiting.count)") }
        case .waits: waiting.append(slot(next))
        case .full: break
        }
      case 1 where gate.inside > 0:
        if let slot = gate.release(now: now) {
          // Those before it have expired; it may not be behind one that has not.
          guard let place = waiting.firstIndex(of: slot) else { return fail(seed, step, "an unknown slot") }
          waiting.removeFirst(place + 1)
        } else {
          waiting.removeAll()
        }
      case 2 where !waiting.isEmpty:
        gate.leave(waiting.remove(at: random.index(below: waiting.count)))
      default: break
      }
      if gate.inside > limit { return fail(seed, step, "\(gate.inside) inside") }
      if let violation = gate.violation() { return fail(seed, step, violation) }
    }
  }

  private func fail(_ seed: UInt64, _ step: Int, _ what: String) {
    Issue.record("WEIR_SEED=\(seed), step \(step): \(what)")
  }
}
