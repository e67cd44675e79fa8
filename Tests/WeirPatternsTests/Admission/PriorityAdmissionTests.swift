// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct PriorityAdmissionTests {
  private typealias Answer = PriorityAdmission.Answer
  private func slot(_ index: UInt32) -> Slot { Slot(index: index, generation: 0) }
  private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

  private func gate(
    _ limit: Int, _ length: Int, _ order: PriorityAdmission.Order = .adaptive
  ) -> PriorityAdmission {
    var settings = PriorityAdmission.Settings()
    settings.limit = limit
    settings.order = order
    settings.queue.length = length
    settings.queue.wait = .seconds(5)
    return PriorityAdmission(settings)
  }

  private func acquire(
    _ gate: inout PriorityAdmission, _ index: UInt32, _ rank: PriorityAdmission.Class, _ milliseconds: Int64
  ) -> Answer {
    gate.acquire(slot(index), rank, now: at(milliseconds), deadline: .distantFuture)
  }

  @Test(
    "shares of the places, rounded up, at least one", arguments: [(100, 95, 85), (20, 19, 17), (5, 5, 5), (1, 1, 1)])
  func places(limit: Int, normal: Int, low: Int) {
    var gate = gate(limit, 0)
    #expect(gate.places(for: .critical) == limit)
    #expect(gate.places(for: .normal) == normal)
    #expect(gate.places(for: .low) == low)
    for index in 0..<UInt32(low) { #expect(acquire(&gate, index, .low, 0) == .enter) }
    #expect(acquire(&gate, 1000, .low, 0) == .full)
    for index in UInt32(low)..<UInt32(normal) { #expect(acquire(&gate, index, .normal, 0) == .enter) }
    #expect(acquire(&gate, 1000, .normal, 0) == .full)
    for index in UInt32(normal)..<UInt32(limit) { #expect(acquire(&gate, index, .critical, 0) == .enter) }
    #expect(acquire(&gate, 1000, .critical, 0) == .full)
  }

  @Test("critical before normal before low, within a class the oldest; the lowest is pushed out, newest first")
  func calm() {
    var gate = gate(1, 4)
    #expect(acquire(&gate, 1, .low, 0) == .enter)
    _ = acquire(&gate, 2, .low, 1)
    _ = acquire(&gate, 3, .low, 2)
    _ = acquire(&gate, 4, .normal, 3)
    _ = acquire(&gate, 5, .normal, 4)
    #expect(acquire(&gate, 6, .low, 5) == .full)
    #expect(acquire(&gate, 7, .critical, 6) == .waits(until: at(5006), pushedOut: slot(3)))
    #expect(acquire(&gate, 8, .normal, 7) == .waits(until: at(5007), pushedOut: slot(2)))
    #expect(acquire(&gate, 9, .normal, 8) == .full)
    #expect(acquire(&gate, 10, .critical, 9) == .waits(until: at(5009), pushedOut: slot(8)))
    for index in [7, 10, 4, 5] as [UInt32] { #expect(gate.release(now: at(10)) == .enters(slot(index))) }
    #expect(gate.release(now: at(11)) == .nobody)
    #expect(gate.inside == 0)
  }

  @Test("newest first once the queue has stood for 100 ms, the oldest makes room")
  func crowded() {
    var gate = gate(1, 3)
    _ = acquire(&gate, 1, .normal, 0)
    for index in UInt32(2)...4 { _ = acquire(&gate, index, .normal, Int64(index)) }
    #expect(acquire(&gate, 5, .normal, 50) == .full)
    #expect(!gate.isCrowded(.normal, now: at(101)) && gate.isCrowded(.normal, now: at(102)))
    #expect(acquire(&gate, 6, .normal, 110) == .waits(until: at(5110), pushedOut: slot(2)))
    #expect(gate.release(now: at(111)) == .enters(slot(6)))
    #expect(gate.release(now: at(112)) == .enters(slot(4)))
    #expect(gate.release(now: at(113)) == .enters(slot(3)))
    // Empty again: the oldest first.
    _ = acquire(&gate, 7, .normal, 114)
    _ = acquire(&gate, 8, .normal, 115)
    #expect(gate.release(now: at(116)) == .enters(slot(7)))
  }

  @Test("overload: who has waited for 20 ms is dropped, but for critical ones, until a second passes without")
  func overload() {
    var gate = gate(1, 8)
    _ = acquire(&gate, 1, .normal, 0)
    _ = acquire(&gate, 2, .critical, 1)
    _ = acquire(&gate, 3, .low, 1)
    _ = acquire(&gate, 4, .normal, 2)
    #expect(!gate.isOverloaded(now: at(1000)))
    #expect(gate.next(now: at(1001)) == .drops(slot(3)))
    #expect(gate.next(now: at(1002)) == .drops(slot(4)))
    #expect(gate.next(now: at(1002)) == .nobody)
    _ = acquire(&gate, 5, .low, 1100)
    #expect(gate.release(now: at(1110)) == .enters(slot(2)))
    #expect(gate.next(now: at(1119)) == .nobody)
    #expect(gate.next(now: at(1120)) == .drops(slot(5)))
    #expect(gate.isOverloaded(now: at(2119)) && !gate.isOverloaded(now: at(2120)))
    _ = acquire(&gate, 6, .low, 2130)
    #expect(gate.next(now: at(2200)) == .nobody)
    #expect(gate.release(now: at(2201)) == .enters(slot(6)))
  }

  @Test("the order codel: drops from the front of a queue that stands")
  func codel() {
    var gate = gate(1, 100, .codel)
    _ = acquire(&gate, 1, .normal, 0)
    for index in UInt32(2)...90 { _ = acquire(&gate, index, .normal, 1) }
    var drops: [Int64] = []
    for milliseconds in Int64(10)...80 {
      var turn = gate.release(now: at(milliseconds * 10))
      while case .drops = turn {
        drops.append(milliseconds * 10)
        turn = gate.next(now: at(milliseconds * 10))
      }
    }
    #expect(Array(drops.prefix(4)) == [200, 300, 380, 430])
  }

  @Test("a deadline that is over pushes nobody out; who expired does not keep others from entering")
  func expired() {
    var gate = gate(1, 1)
    _ = acquire(&gate, 1, .normal, 0)
    #expect(gate.acquire(slot(2), .low, now: at(1), deadline: at(10)) == .waits(until: at(10), pushedOut: nil))
    #expect(gate.acquire(slot(3), .critical, now: at(5), deadline: at(5)) == .waits(until: at(5), pushedOut: nil))
    #expect(
      gate.acquire(slot(4), .low, now: at(10), deadline: .distantFuture) == .waits(until: at(5010), pushedOut: nil))
    gate.leave(slot(4))
    #expect(gate.release(now: at(11)) == .nobody)
    #expect(acquire(&gate, 5, .low, 12) == .enter)
  }

  // Against a list that is looked through: the classes, the bounds, and that nobody is lost or served twice.
  @Test("walk", arguments: PatternSeeds.seeds(150))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let length = random.index(below: 7)
    var gate = gate(1 + random.index(below: 12), length, [.adaptive, .oldest, .codel][random.index(below: 3)])
    var waiting: [(slot: Slot, rank: PriorityAdmission.Class, until: Instant)] = []
    var inside = 0
    var now = Instant.zero
    var next: UInt32 = 0
    func fail(_ step: Int, _ what: String) { Issue.record("WEIR_SEED=\(seed), step \(step): \(what)") }
    for step in 0..<1_500 {
      now = now.advanced(by: random.nanoseconds(upTo: 40_000_000))
      // Owners wake at their ends.
      for waiter in waiting where waiter.until <= now { gate.leave(waiter.slot) }
      waiting.removeAll { $0.until <= now }
      var turn = PriorityAdmission.Turn.nobody
      switch random.index(below: 6) {
      case 0, 1, 2:
        next += 1
        let rank = PriorityAdmission.Class.allCases[random.index(below: 3)]
        let deadline = now.advanced(by: 1 + random.nanoseconds(upTo: 8_000_000_000))
        switch gate.acquire(slot(next), rank, now: now, deadline: deadline) {
        case .enter:
          inside += 1
          if inside > gate.places(for: rank) { return fail(step, "\(inside) inside for \(rank)") }
          if waiting.contains(where: { $0.rank.rawValue <= rank.rawValue }) { return fail(step, "overtook its class") }
        case .waits(let until, let pushedOut):
          if let pushedOut {
            guard let place = waiting.firstIndex(where: { $0.slot == pushedOut }) else { return fail(step, "unknown") }
            if waiting[place].rank.rawValue < rank.rawValue { return fail(step, "pushed out by a lower class") }
            waiting.remove(at: place)
          }
          waiting.append((slot(next), rank, until))
        case .full: if waiting.count < length { return fail(step, "\(waiting.count) of \(length) wait: full") }
        }
      case 3, 4:
        guard inside > 0 else { continue }
        inside -= 1
        turn = gate.release(now: now)
      default:
        if random.chance(0.2) { gate.limit = 1 + random.index(below: 12) }
        turn = gate.next(now: now)
      }
      while turn != .nobody {
        switch turn {
        case .enters(let slot), .drops(let slot):
          guard let place = waiting.firstIndex(where: { $0.slot == slot }) else { return fail(step, "not waiting") }
          if case .enters = turn {
            inside += 1
            if inside > gate.places(for: waiting[place].rank) { return fail(step, "\(inside) inside") }
          }
          waiting.remove(at: place)
        case .nobody: break
        }
        turn = gate.next(now: now)
      }
      if gate.inside != inside { return fail(step, "\(gate.inside) inside, not \(inside)") }
      if gate.waiting != waiting.count { return fail(step, "\(gate.waiting) wait, not \(waiting.count)") }
      if let violation = gate.violation() { return fail(step, violation) }
    }
    // Nothing is lost: when all have left, everybody may enter.
    while inside > 0 {
      inside -= 1
      if case .enters = gate.release(now: now) { inside += 1 }
    }
    var turn = gate.next(now: now)
    while turn != .nobody { turn = gate.next(now: now) }
    if gate.waiting != 0, gate.inside == 0 { fail(-1, "\(gate.waiting) wait for an empty house") }
  }
}
