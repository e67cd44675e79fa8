// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

/// Random lives of a queue beside a model that is obviously right: the same answers after every step, the invariants, and an
/// end to all waiting.
struct DeliveryQueueWalkTests {
  /// Few keys and tenants and short times, so that everything meets everything.
  private static func settings(_ random: inout SeededRandom) -> DeliveryQueue.Settings {
    var settings = DeliveryQueue.Settings()
    settings.visibility = .seconds(5)
    settings.attempts = 1 + random.index(below: 4)
    settings.backoff.first = .milliseconds(500)
    settings.backoff.max = .seconds(4)
    settings.keep = .seconds(20)
    settings.length = 4 + random.index(below: 24)
    settings.bytes = 100 + random.index(below: 400)
    if random.chance(0.3) { settings.atOnce = 1 + random.index(below: 5) }
    settings.keyAtOnce = 1 + random.index(below: 2) * random.index(below: 3)
    if random.chance(0.3) { settings.rate = Rate(perSecond: [0.5, 3, 40][random.index(below: 3)]) }
    return settings
  }

  @Test("walks beside a naive model", arguments: PatternSeeds.seeds(PatternSeeds.isDebug ? 150 : 1_000))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "delivery")
    let settings = Self.settings(&random)
    var queue = DeliveryQueue(settings)
    var model = DeliveryModel(settings)
    var now = Instant.zero
    var nextID: Int64 = 1
    /// Every lease that was given out, so that late and doubled words are said too.
    var leases: [(id: Int64, attempt: UInt16)] = []
    var numbers: Set<String> = []
    for step in 0..<250 {
      if random.chance(0.6) { now = now.advanced(by: random.nanoseconds(upTo: 1_500_000_000)) }
      let where_ = "WEIR_SEED=\(seed) step \(step)"
      let lease = leases.isEmpty ? (id: Int64(7), attempt: UInt16(1)) : leases[random.index(below: leases.count)]
      var twin = random
      switch random.index(below: 12) {
      case 0, 1, 2:
        twin = random
        let entry = DeliveryQueue.Entry(
          id: nextID, key: UInt64(random.index(below: 4)), tenant: UInt64(random.index(below: 3)),
          priority: UInt8(3 + random.index(below: 3)), bytes: Int32(random.index(below: 60)),
          due: random.chance(0.3) ? now.advanced(by: random.nanoseconds(upTo: 8_000_000_000)) : .zero,
          expires: now.advanced(by: random.nanoseconds(upTo: 30_000_000_000)))
        nextID += 1
        let answer = queue.offer(entry, now: now)
        let isAccepted = model.offer(entry, now: now)
        #expect((answer == .accepted) == isAccepted, "\(where_): \(answer)")
        if case .full(let retryAfter) = answer {
          #expect(retryAfter >= 1_000_000_000 && retryAfter <= 60_000_000_000, "\(where_)")
        }
      case 3, 4, 5:
        let most = 1 + random.index(below: 4)
        let length = 1 + random.nanoseconds(upTo: 6_000_000_000)
        var leased: [DeliveryQueue.Leased] = []
        queue.lease(most, for: length, now: now, into: &leased)
        let expected = model.lease(most, for: length, now: now)
        #expect(leased == expected, "\(where_)")
        for one in leased {
          leases.append((one.id, one.attempt))
          #expect(numbers.insert("\(one.id).\(one.attempt)").inserted, "\(where_): a lease's number came again")
        }
      case 6, 7:
        let a = queue.ack(lease.id, attempt: lease.attempt, now: now)
        let b = model.ack(lease.id, attempt: lease.attempt)
        #expect(a == b, "\(where_)")
      case 8:
        let retryAfter = random.chance(0.3) ? random.nanoseconds(upTo: 9_000_000_000) : 0
        let isFinal = random.chance(0.2)
        twin = random
        let a = queue.nack(
          lease.id, attempt: lease.attempt, retryAfter: retryAfter, isFinal: isFinal, now: now, using: &random)
        let b = model.nack(
          lease.id, attempt: lease.attempt, retryAfter: retryAfter, isFinal: isFinal, now: now, using: &twin)
        #expect(a == b && twin == random, "\(where_)")
      case 9:
        let by = random.nanoseconds(upTo: 6_000_000_000)
        let a = queue.extend(lease.id, attempt: lease.attempt, by: by, now: now)
        let b = model.extend(lease.id, attempt: lease.attempt, by: by, now: now)
        #expect(a == b, "\(where_)")
        if random.chance(0.5) {
          let a = queue.giveBack(lease.id, attempt: lease.attempt, now: now)
          let b = model.giveBack(lease.id, attempt: lease.attempt)
          #expect(a == b, "\(where_)")
        }
      case 10:
        if random.chance(0.3) {
          let a = queue.remove(lease.id)
          let b = model.remove(lease.id)
          #expect(a == b, "\(where_)")
        } else if random.chance(0.4) {
          let by = random.nanoseconds(upTo: 9_000_000_000)
          let a = queue.postpone(lease.id, attempt: lease.attempt, by: by, now: now)
          let b = model.postpone(lease.id, attempt: lease.attempt, by: by, now: now)
          #expect(a == b, "\(where_)")
        } else if random.chance(0.3) {
          queue.isPaused.toggle()
          model.isPaused.toggle()
        }
      default: break
      }
      // Every other step time is told, sometimes not to the end.
      if random.chance(0.6) {
        let most = random.chance(0.3) ? 1 : 100
        var changes: [DeliveryQueue.Change] = []
        twin = random
        let done = queue.tick(most, now: now, using: &random, into: &changes)
        let expected = model.tick(most, now: now, using: &twin)
        #expect(done == expected.0 && changes == expected.1 && twin == random, "\(where_): tick")
        if done < most { #expect(queue.nextWake > now, "\(where_): after a tick there is nothing left for now") }
      }
      if let wrong = queue.violation() { return PatternSeeds.fail("\(where_): \(wrong)") }
      #expect(queue.readings == model.readings, "\(where_)")
      #expect(queue.nextWake == model.nextWake, "\(where_)")
      for message in model.messages {
        #expect(queue.entry(message.entry.id) == message.entry, "\(where_)")
        #expect(queue.state(message.entry.id) == message.state, "\(where_)")
      }
      if queue.readings != model.readings { return }
    }
    var changes: [DeliveryQueue.Change] = []
    while queue.tick(10, now: now, using: &random, into: &changes) == 10 {}
    var again = DeliveryQueue(settings)
    for id in 1..<nextID { if let entry = queue.entry(id) { again.restore(entry, now: now) } }
    #expect(again.violation() == nil, "WEIR_SEED=\(seed)")
    for id in 1..<nextID {
      #expect(again.entry(id) == queue.entry(id) && again.state(id) == queue.state(id), "WEIR_SEED=\(seed)")
    }
    finish(&queue, now: now, random: &random, seed: seed)
    finish(&again, now: now, random: &random, seed: seed)
  }

  /// Liveness (RL-2): from wherever a walk has ended, a consumer that acks empties the queue, woken by `nextWake` alone.
  private func finish(_ queue: inout DeliveryQueue, now start: Instant, random: inout SeededRandom, seed: UInt64) {
    var now = start
    queue.isPaused = false
    var turns = 0
    while queue.count > 0 {
      turns += 1
      if turns > 1_000 { return PatternSeeds.fail("WEIR_SEED=\(seed): \(queue.readings) are never delivered") }
      var changes: [DeliveryQueue.Change] = []
      while queue.tick(10, now: now, using: &random, into: &changes) == 10 {}
      var leased: [DeliveryQueue.Leased] = []
      queue.lease(3, now: now, into: &leased)
      for one in leased { #expect(queue.ack(one.id, attempt: one.attempt, now: now) == .done) }
      if !leased.isEmpty || queue.count == 0 { continue }
      if queue.nextWake == .distantFuture {
        return PatternSeeds.fail("WEIR_SEED=\(seed): nothing goes, and nothing will: \(queue.readings)")
      }
      now = max(now, queue.nextWake)
    }
    #expect(queue == queue && queue.violation() == nil && queue.readings == DeliveryQueue.Readings())
  }
}
