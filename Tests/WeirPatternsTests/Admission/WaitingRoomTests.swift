// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct WaitingRoomTests {
  private func slot(_ index: UInt32, _ generation: UInt32 = 0) -> Slot { Slot(index: index, generation: generation) }
  private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

  private func room(_ length: Int, wait: Duration = .milliseconds(100)) -> WaitingRoom {
    var settings = WaitingRoom.Settings()
    settings.length = length
    settings.wait = wait
    return WaitingRoom(settings)
  }

  @Test("length wait, the next one is told full")
  func boundedByLength() {
    var room = room(2)
    #expect(room.offer(slot(1), now: at(0), deadline: .distantFuture) == .waits(until: at(100)))
    #expect(room.offer(slot(2), now: at(1), deadline: .distantFuture) == .waits(until: at(101)))
    #expect(room.offer(slot(3), now: at(2), deadline: .distantFuture) == .full)
    #expect(room.count == 2)
  }

  @Test("the wait ends at the deadline if that comes first")
  func deadlineCutsTheWait() {
    var room = room(4)
    #expect(room.offer(slot(1), now: at(0), deadline: at(30)) == .waits(until: at(30)))
    #expect(room.offer(slot(2), now: at(0), deadline: at(100)) == .waits(until: at(100)))
    #expect(room.offer(slot(3), now: at(0), deadline: at(101)) == .waits(until: at(100)))
  }

  @Test("a length or a wait of 0 switches queueing off", arguments: [(0, 100), (4, 0)])
  func switchedOff(length: Int, milliseconds: Int) {
    var room = room(length, wait: .milliseconds(milliseconds))
    #expect(room.offer(slot(1), now: at(0), deadline: .distantFuture) == .full)
    #expect(room.take(now: at(0)) == nil)
  }

  @Test("a deadline that is over takes no place")
  func deadlineOver() {
    var room = room(1)
    #expect(room.offer(slot(1), now: at(50), deadline: at(50)) == .waits(until: at(50)))
    #expect(room.count == 0)
    #expect(room.take(now: at(50)) == nil)
  }

  @Test("first in, first out; who left or expired is passed over")
  func order() {
    var room = room(8)
    for index in UInt32(1)...5 { _ = room.offer(slot(index), now: at(0), deadline: at(Int64(index) * 10)) }
    room.leave(slot(4))
    #expect(room.count == 4)
    #expect(room.take(now: at(9)) == slot(1))
    #expect(room.take(now: at(20)) == slot(3))
    #expect(room.take(now: at(20)) == slot(5))
    #expect(room.take(now: at(20)) == nil)
    #expect(room.count == 0)
  }

  // Whoever still waits at `until` is woken by its own timer at that very moment, so it must not also be taken then.
  @Test("at its end a wait is over, a nanosecond before it is not")
  func boundary() {
    var early = room(1)
    _ = early.offer(slot(1), now: at(0), deadline: .distantFuture)
    var late = early
    #expect(early.take(now: Instant(nanoseconds: 99_999_999)) == slot(1))
    #expect(late.take(now: at(100)) == nil)
  }

  @Test("expired ones at the head make room for a newcomer")
  func expiredMakeRoom() {
    var room = room(2)
    _ = room.offer(slot(1), now: at(0), deadline: .distantFuture)
    _ = room.offer(slot(2), now: at(50), deadline: .distantFuture)
    #expect(room.offer(slot(3), now: at(99), deadline: .distantFuture) == .full)
    #expect(room.offer(slot(3), now: at(100), deadline: .distantFuture) == .waits(until: at(200)))
    #expect(room.count == 2)
  }

  @Test("leaving twice, or with a stale generation, changes nothing")
  func leaveIsHarmless() {
    var room = room(2)
    _ = room.offer(slot(7, 1), now: at(0), deadline: .distantFuture)
    room.leave(slot(7, 0))
    #expect(room.count == 1)
    room.leave(slot(7, 1))
    room.leave(slot(7, 1))
    #expect(room.count == 0)
    #expect(room.violation() == nil)
  }

  // The oracle is an array; 200 seeds × 2 000 steps.
  @Test("walk against an array", arguments: PatternSeeds.seeds(200))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let length = 1 + random.index(below: 12)
    var room = room(length)
    var oracle: [(slot: Slot, until: Instant)] = []
    var now = Instant.zero
    var generation: UInt32 = 0
    for step in 0..<2_000 {
      now = now.advanced(by: Int64(random.index(below: 20_000_000)))
      switch random.index(below: 4) {
      case 0, 1:
        generation += 1
        let slot = slot(UInt32(random.index(below: 16)), generation)
        let deadline = now.advanced(by: Int64(random.index(below: 150_000_000)) - 5_000_000)
        let answer = room.offer(slot, now: now, deadline: deadline)
        if deadline <= now {
          if answer != .waits(until: deadline) { return fail(seed, step, "\(answer)") }
          continue
        }
        if oracle.count == length { while let first = oracle.first, first.until <= now { oracle.removeFirst() } }
        if oracle.count == length {
          if answer != .full { return fail(seed, step, "\(answer)") }
        } else {
          let until = min(deadline, now.advanced(by: 100_000_000))
          if answer != .waits(until: until) { return fail(seed, step, "\(answer)") }
          oracle.append((slot, until))
        }
      case 2:
        while let first = oracle.first, first.until <= now { oracle.removeFirst() }
        let expected = oracle.isEmpty ? nil : oracle.removeFirst().slot
        if room.take(now: now) != expected { return fail(seed, step, "take") }
      default:
        if oracle.isEmpty { continue }
        let index = random.index(below: oracle.count)
        room.leave(oracle.remove(at: index).slot)
      }
      if room.count != oracle.count { return fail(seed, step, "\(room.count) wait, not \(oracle.count)") }
      if let violation = room.violation() { return fail(seed, step, violation) }
    }
  }

  private func fail(_ seed: UInt64, _ step: Int, _ what: String) {
    Issue.record("WEIR_SEED=\(seed), step \(step): \(what)")
  }
}
