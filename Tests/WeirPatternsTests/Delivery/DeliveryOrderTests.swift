// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

/// Order within a key under every interleaving of a few steps: enumerated, not sampled.
struct DeliveryOrderTests {
  private enum Step: CaseIterable { case lease, ack, nack, giveBack, postpone, late, wake }

  private struct World {
    var queue: DeliveryQueue
    var now = Instant.zero
    var leases: [DeliveryQueue.Leased] = []
    /// The messages of the key in the order they were done or dead.
    var settled: [Int64] = []
    var random = SeededRandom(seed: 1)

    init() {
      var settings = DeliveryQueue.Settings()
      settings.attempts = 2
      settings.backoff.kind = .none
      queue = DeliveryQueue(settings)
      for id in Int64(1)...3 {
        _ = queue.offer(.init(id: id, key: 7, due: .zero, expires: .distantFuture), now: .zero)
      }
      _ = queue.offer(.init(id: 4, key: 8, due: .zero, expires: .distantFuture), now: .zero)
    }

    mutating func note(_ id: Int64, _ settled: DeliveryQueue.Settled) {
      switch settled {
      case .done, .dead: if id <= 3 { self.settled.append(id) }
      case .retry, .extended, .givenBack, .lost: break
      }
    }

    mutating func tick() {
      var changes: [DeliveryQueue.Change] = []
      while queue.tick(2, now: now, using: &random, into: &changes) == 2 {}
      for change in changes { note(change.id, change.settled) }
    }

    /// False: the step changes nothing here, so what follows it is enumerated without it.
    mutating func take(_ step: Step) -> Bool {
      switch step {
      case .lease:
        let before = leases.count
        queue.lease(1, now: now, into: &leases)
        return leases.count > before
      case .ack, .nack, .giveBack, .postpone:
        guard let lease = leases.popLast() else { return false }
        let settled =
          switch step {
          case .ack: queue.ack(lease.id, attempt: lease.attempt, now: now)
          case .nack: queue.nack(lease.id, attempt: lease.attempt, now: now, using: &random)
          case .postpone: queue.postpone(lease.id, attempt: lease.attempt, by: 1, now: now)
          default: queue.giveBack(lease.id, attempt: lease.attempt, now: now)
          }
        note(lease.id, settled)
      case .late:
        // All leases are over; their owners still hold them, and may speak later.
        if queue.readings.inFlight == 0 { return false }
        now = now + .seconds(30)
        tick()
      case .wake:
        let wake = queue.nextWake
        if wake == .distantFuture { return false }
        now = wake
        tick()
      }
      return true
    }

    var wrong: String? {
      if settled != settled.sorted() { return "settled in the order \(settled)" }
      let inFlight = (Int64(1)...3).filter { queue.state($0) == .inFlight }
      if inFlight.count > 1 { return "\(inFlight) are in flight together" }
      if let id = inFlight.first, settled.count + 1 != Int(id) { return "\(id) goes after \(settled)" }
      return queue.violation()
    }
  }

  @Test("with one at once the messages of a key are leased and settled in order, whatever happens")
  func everyInterleaving() {
    var seen = 0
    var trace: [Step] = []
    func explore(_ world: World, _ depth: Int) {
      if depth == 0 { return }
      for step in Step.allCases {
        var next = world
        if !next.take(step) { continue }
        seen += 1
        trace.append(step)
        if let wrong = next.wrong { return PatternSeeds.fail("\(wrong) after \(trace)") }
        explore(next, depth - 1)
        trace.removeLast()
      }
    }
    explore(World(), PatternSeeds.isDebug ? 7 : 9)
    #expect(seen > 5_000)
  }
}
