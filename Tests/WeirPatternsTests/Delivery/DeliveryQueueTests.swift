// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct DeliveryQueueTests {
  private typealias Entry = DeliveryQueue.Entry
  private var random = SeededRandom(seed: 1)

  private static func entry(
    _ id: Int64, key: UInt64 = 0, tenant: UInt64 = 0, priority: UInt8 = 4, bytes: Int32 = 1, due: Instant = .zero
  ) -> Entry {
    Entry(id: id, key: key, tenant: tenant, priority: priority, bytes: bytes, due: due, expires: .s(10_000))
  }

  /// A queue of these, whose retries come 1 s, 2 s, 4 s … after a failure.
  private static func queue(_ entries: [Entry], _ set: (inout DeliveryQueue.Settings) -> Void = { _ in })
    -> DeliveryQueue
  {
    var settings = DeliveryQueue.Settings()
    settings.backoff.kind = .none
    set(&settings)
    var queue = DeliveryQueue(settings)
    for entry in entries { #expect(queue.offer(entry, now: .zero) == .accepted) }
    return queue
  }

  private func lease(_ queue: inout DeliveryQueue, _ max: Int = 1, at now: Instant = .zero) -> [Int64] {
    leased(&queue, max, at: now).map(\.id)
  }

  private func leased(
    _ queue: inout DeliveryQueue, _ max: Int = 1, at now: Instant = .zero
  ) -> [DeliveryQueue.Leased] {
    var leased: [DeliveryQueue.Leased] = []
    queue.lease(max, now: now, into: &leased)
    return leased
  }

  private mutating func tick(_ queue: inout DeliveryQueue, at now: Instant) -> [DeliveryQueue.Change] {
    var changes: [DeliveryQueue.Change] = []
    while queue.tick(3, now: now, using: &random, into: &changes) == 3 {}
    return changes
  }

  // MARK: Which one

  @Test("the highest priority first, of a tenant the lowest id")
  func priority() {
    var queue = Self.queue([
      Self.entry(1, priority: 0), Self.entry(2), Self.entry(3, priority: 9), Self.entry(4),
      Self.entry(5, priority: 200),
    ])
    #expect(lease(&queue, 9) == [3, 5, 2, 4, 1])
    #expect(queue.entry(5)?.priority == 9, "above 9 is 9")
  }

  /// The low message of a key is its first, and the high one behind it waits: order is what a key is for.
  @Test("a key has the priority of its first message")
  func priorityOfAKey() {
    var queue = Self.queue([Self.entry(1, key: 7, priority: 0), Self.entry(2, key: 7, priority: 9), Self.entry(3)])
    #expect(lease(&queue, 9) == [3, 1])
    #expect(queue.readings.blocked == 1)
    #expect(queue.ack(1, attempt: 1, now: .zero) == .done)
    #expect(lease(&queue, 9) == [2])
  }

  @Test("one key after the other, other keys beside it", arguments: [1, 2, 3])
  func keys(keyAtOnce: Int) {
    var queue = Self.queue([
      Self.entry(1, key: 7), Self.entry(2, key: 7), Self.entry(3, key: 7), Self.entry(4, key: 8),
    ]) { $0.keyAtOnce = keyAtOnce }
    #expect(lease(&queue, 9) == [[1, 4], [1, 2, 4], [1, 2, 3, 4]][keyAtOnce - 1])
  }

  /// A million of one tenant are in front; what another one offers later is the first or second to go.
  @Test("who has many waiting delays another's by one message at most, message by message")
  func fairness() {
    var queue = Self.queue((1...2_000).map { Self.entry($0, tenant: 1) })
    for id in Int64(3_000)..<3_500 {
      #expect(queue.offer(Self.entry(id, tenant: 2), now: .zero) == .accepted)
      #expect(lease(&queue, 2).contains(id), "the other tenant's \(id) waits for more than one")
    }
    #expect(queue.readings.inFlight == 1_000, "half of what went is the first tenant's")
  }

  @Test("tenants that always have something differ by one lease at most", arguments: [2, 3, 10])
  func turns(tenants: Int) {
    var entries: [DeliveryQueue.Entry] = []
    // Unequal shares: tenant 0 has half of them.
    for id in 1...2_000 {
      entries.append(Self.entry(Int64(id), tenant: UInt64(id % 2 == 0 ? 0 : 1 + id / 2 % (tenants - 1))))
    }
    var queue = Self.queue(entries)
    var counts = [Int](repeating: 0, count: tenants)
    for _ in 0..<(60 * tenants) {
      for id in lease(&queue) { counts[Int(queue.entry(id)?.tenant ?? 0)] += 1 }
      #expect((counts.max() ?? 0) - (counts.min() ?? 0) <= 1, "\(counts)")
    }
  }

  // MARK: When

  @Test("a delayed one goes when it is due, to the nanosecond, and stands behind what was due before it")
  mutating func delay() {
    var queue = Self.queue([Self.entry(1, key: 7, due: .s(5))])
    #expect(queue.offer(Self.entry(2, key: 7), now: .s(3)) == .accepted)
    #expect(queue.offer(Self.entry(3, key: 7), now: .s(7)) == .accepted)
    #expect(queue.nextWake == .s(5))
    _ = tick(&queue, at: Instant(nanoseconds: 4_999_999_999))
    #expect(queue.readings.delayed == 1)
    _ = tick(&queue, at: .s(5))
    #expect(queue.readings.delayed == 0 && queue.readings.waiting == 3)
    var order: [Int64] = []
    while let one = leased(&queue, at: .s(8)).first {
      order.append(one.id)
      _ = queue.ack(one.id, attempt: one.attempt, now: .s(8))
    }
    #expect(order == [2, 1, 3])
  }

  @Test("failures wait 1, 2, 4 s, or what was asked for if that is longer, and the last of them is dead")
  mutating func retries() {
    var queue = Self.queue([Self.entry(1)]) { $0.attempts = 4 }
    #expect(lease(&queue) == [1])
    #expect(queue.nack(1, attempt: 1, now: .s(1), using: &random) == .retry(at: .s(2)))
    _ = tick(&queue, at: .s(2))
    #expect(lease(&queue, at: .s(2)) == [1])
    #expect(queue.nack(1, attempt: 2, retryAfter: 1_000, now: .s(3), using: &random) == .retry(at: .s(5)))
    #expect(queue.nack(1, attempt: 2, now: .s(3), using: &random) == .lost, "settled once")
    _ = tick(&queue, at: .s(5))
    #expect(lease(&queue, at: .s(5)) == [1])
    #expect(queue.nack(1, attempt: 3, retryAfter: 60_000_000_000, now: .s(6), using: &random) == .retry(at: .s(66)))
    _ = tick(&queue, at: .s(66))
    #expect(lease(&queue, at: .s(66)) == [1])
    #expect(queue.nack(1, attempt: 4, now: .s(67), using: &random) == .dead(.attempts))
    #expect(queue.count == 0)
  }

  @Test("the default reaches over a night: the twentieth attempt is 8 to 12.3 hours after the first")
  func night() {
    var settings = DeliveryQueue.Settings()
    #expect(settings.attempts == 20)
    var longest = 0.0
    var shortest = 0.0
    settings.backoff.kind = .none
    var random = SeededRandom(seed: 1)
    for attempt in 1..<settings.attempts {
      let wait = Double(Backoff(settings.backoff).wait(after: attempt, using: &random)) / 3.6e12
      shortest += wait
      longest += wait * (1 + settings.backoff.jitter)
    }
    #expect(shortest > 8 && longest < 12.3, "\(shortest) … \(longest) h")
  }

  @Test("what cannot be helped is dead at once, and what would come back too old")
  mutating func dead() {
    var queue = Self.queue([Self.entry(1), Self.entry(2), Self.entry(3)])
    #expect(lease(&queue, 3) == [1, 2, 3])
    #expect(queue.nack(1, attempt: 1, isFinal: true, now: .s(1), using: &random) == .dead(.refused))
    #expect(queue.nack(2, attempt: 1, now: .s(9_999), using: &random) == .dead(.expired))
    #expect(queue.nack(3, attempt: 1, now: .s(9_998.9), using: &random) == .retry(at: .s(9_999.9)))
    #expect(tick(&queue, at: .s(9_999.9)) == [])
    #expect(tick(&queue, at: .s(10_000)) == [.init(id: 3, settled: .dead(.expired))])
  }

  @Test("a lease that is over has failed; what its owner says then counts while nobody else has it")
  mutating func late() {
    var queue = Self.queue([Self.entry(1), Self.entry(2)])
    #expect(lease(&queue, 2) == [1, 2])
    #expect(tick(&queue, at: Instant(nanoseconds: 29_999_999_999)) == [])
    #expect(tick(&queue, at: .s(30)).map(\.settled) == [.retry(at: .s(31)), .retry(at: .s(31))])
    #expect(queue.extend(1, attempt: 1, by: 1, now: .s(30)) == .lost)
    #expect(queue.nack(1, attempt: 1, now: .s(30), using: &random) == .lost)
    #expect(queue.ack(1, attempt: 1, now: .s(30)) == .done)
    _ = tick(&queue, at: .s(31))
    #expect(leased(&queue, at: .s(31)) == [.init(id: 2, attempt: 2, until: .s(61))])
    #expect(queue.ack(2, attempt: 1, now: .s(32)) == .lost)
    #expect(queue.ack(2, attempt: 2, now: .s(32)) == .done)
  }

  @Test("a lease is extended, never shortened")
  mutating func extend() {
    var queue = Self.queue([Self.entry(1)])
    #expect(lease(&queue) == [1])
    #expect(queue.extend(1, attempt: 1, by: 5_000_000_000, now: .s(10)) == .extended(until: .s(30)))
    #expect(queue.extend(1, attempt: 1, by: 60_000_000_000, now: .s(10)) == .extended(until: .s(70)))
    #expect(queue.extend(1, attempt: 2, by: 1, now: .s(10)) == .lost)
    #expect(tick(&queue, at: .s(69)) == [] && queue.nextWake == .s(70))
  }

  /// The number goes on, so that the one who gave back cannot take the lease from who has it now.
  @Test("what is given back is first again, its attempt does not count, and its number does not come again")
  mutating func giveBack() {
    var queue = Self.queue([Self.entry(1, key: 7), Self.entry(2, key: 7)]) { $0.attempts = 1 }
    for number in UInt16(1)...5 {
      #expect(leased(&queue).map(\.attempt) == [number])
      #expect(queue.giveBack(1, attempt: number, now: .zero) == .givenBack)
      #expect(queue.giveBack(1, attempt: number, now: .zero) == .lost)
      #expect(queue.ack(1, attempt: number, now: .zero) == .lost)
    }
    #expect(leased(&queue).map(\.id) == [1])
    #expect(queue.nack(1, attempt: 6, now: .zero, using: &random) == .dead(.attempts))
    #expect(lease(&queue) == [2])
  }

  /// One lease more would have the number of the one before, and the count of those given back has no room for it.
  @Test("given back at the last number that a lease can have it is dead, and its key goes on")
  mutating func giveBackLast() {
    var queue = Self.queue([])
    var first = Self.entry(1, key: 7)
    first.attempts = .max - 2
    first.givenBack = .max - 2
    queue.restore(first, now: .zero)
    queue.restore(Self.entry(2, key: 7), now: .zero)
    #expect(leased(&queue).map(\.attempt) == [.max - 1])
    #expect(queue.giveBack(1, attempt: .max - 1, now: .zero) == .givenBack)
    #expect(leased(&queue).map(\.attempt) == [.max])
    #expect(queue.giveBack(1, attempt: .max, now: .zero) == .dead(.attempts))
    #expect(queue.violation() == nil && lease(&queue, 9) == [2])
  }

  /// It has begun: its key waits for it, and nobody of its key overtakes it, also not when it is given back later.
  @Test("what is postponed goes on later, as the first of its key, however often; no attempt is counted")
  mutating func postpone() {
    var queue = Self.queue([Self.entry(1, key: 7), Self.entry(2, key: 7), Self.entry(3, key: 8)]) { $0.attempts = 1 }
    var now = Instant.zero
    for number in UInt16(1)...5 {
      #expect(lease(&queue, 1, at: now) == [1])
      #expect(
        queue.postpone(1, attempt: number, by: 2_000_000_000, now: now) == .retry(at: now + .seconds(2)))
      #expect(queue.postpone(1, attempt: number, by: 1, now: now) == .lost)
      #expect(queue.readings.retrying == 1 && queue.readings.blocked == 1 && queue.violation() == nil)
      if number == 1 { #expect(lease(&queue, 9, at: now) == [3]) } else { #expect(lease(&queue, 9, at: now) == []) }
      // As it is written down it comes again.
      var again = Self.queue([]) { $0.attempts = 1 }
      for id in Int64(1)...2 { if let entry = queue.entry(id) { again.restore(entry, now: now) } }
      #expect(lease(&again, 9, at: now) == [])
      now = now + .seconds(2)
      _ = tick(&queue, at: now)
    }
    #expect(lease(&queue, 1, at: now) == [1])
    #expect(queue.giveBack(1, attempt: 6, now: now) == .givenBack)
    #expect(lease(&queue, 1, at: now) == [1])
    #expect(queue.postpone(1, attempt: 7, by: 9_999_000_000_000, now: now) == .dead(.expired))
    #expect(lease(&queue, 1, at: now) == [2])
  }

  /// MQ-4: message 1 fails for ever.
  ///
  /// Everything else is done at once, but for what stands behind it.
  @Test("a poison message blocks nothing but its key, and that until it is dead")
  mutating func poison() {
    var queue = Self.queue(
      [Self.entry(1, key: 7), Self.entry(2, key: 7)] + (3...50).map { Self.entry($0, key: UInt64($0 % 5) * 10) }
    ) { $0.attempts = 5 }
    var now = Instant.zero
    var done: [Int64: Instant] = [:]
    while queue.count > 0 {
      for change in tick(&queue, at: now) { Issue.record("\(change)") }
      let leased = leased(&queue, 10, at: now)
      for one in leased {
        if one.id == 1 {
          _ = queue.nack(1, attempt: one.attempt, now: now, using: &random)
        } else {
          #expect(queue.ack(one.id, attempt: one.attempt, now: now) == .done)
          done[one.id] = now
        }
      }
      if leased.isEmpty { now = queue.nextWake }
    }
    #expect(done.count == 49 && done[2] == .s(15), "1 + 2 + 4 + 8 s of backoff")
    #expect(done.filter { $0.key != 2 }.allSatisfy { $0.value == .zero })
  }

  // MARK: How much

  @Test("no more are in flight than may be")
  func atOnce() {
    var queue = Self.queue((1...5).map { Self.entry($0) }) { $0.atOnce = 2 }
    #expect(lease(&queue, 9) == [1, 2])
    #expect(lease(&queue, 9) == [])
    #expect(queue.ack(1, attempt: 1, now: .zero) == .done)
    #expect(lease(&queue, 9) == [3])
  }

  /// The consumer takes what it gets at random moments; every window of every length is looked at.
  @Test(
    "never more leases than burst + rate·t in any window, and no fewer when it waits for them",
    arguments: PatternSeeds.seeds(20))
  mutating func rate(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "delivery rate")
    let rate = [0.5, 3, 25, 400][random.index(below: 4)]
    var queue = Self.queue((1...300).map { Self.entry($0) }) {
      $0.rate = Rate(perSecond: rate)
      $0.keep = .seconds(1_000_000)
    }
    let burst = max(1, Int(rate / 10))
    var now = Instant.s(1)
    var at: [Int64] = []
    while at.count < 300 {
      _ = tick(&queue, at: now)
      let before = at.count
      for one in leased(&queue, 1 + random.index(below: 50), at: now) {
        at.append(now.nanoseconds)
        #expect(queue.ack(one.id, attempt: one.attempt, now: now) == .done)
      }
      if at.count == before {
        #expect(queue.nextWake > now, "held back by the rate, and it says until when")
        now = queue.nextWake
      } else if random.chance(0.2) {
        now = now.advanced(by: random.nanoseconds(upTo: Int64(2e9 / rate)))
      }
    }
    for first in at.indices {
      for last in first..<at.count {
        let most = Double(burst) + rate * Double(at[last] - at[first]) / 1e9
        #expect(Double(last - first + 1) <= most + 1e-6, "WEIR_SEED=\(seed)")
      }
    }
    let slowest = Double(300 + 1) / rate * 2 + 2
    #expect(Double(at[299]) / 1e9 < 1 + slowest, "WEIR_SEED=\(seed): \(Double(at[299]) / 1e9) s at \(rate)/s")
  }

  @Test("a paused queue leases nothing and wakes nobody for it; time goes on")
  mutating func pause() {
    var queue = Self.queue([Self.entry(1), Self.entry(2, due: .s(3))])
    queue.isPaused = true
    #expect(lease(&queue, 9) == [] && queue.nextWake == .s(3))
    _ = tick(&queue, at: .s(3))
    #expect(queue.readings.waiting == 2 && queue.nextWake == .s(10_000))
    queue.isPaused = false
    #expect(lease(&queue, 9, at: .s(3)) == [1, 2])
  }

  @Test("full by number, and by bytes; an empty queue takes any one message")
  func full() {
    var queue = Self.queue([Self.entry(1, bytes: 60), Self.entry(2, bytes: 30)]) {
      $0.length = 3
      $0.bytes = 100
    }
    #expect(queue.room(for: 1, bytes: 10, now: .zero) == .accepted)
    #expect(queue.room(for: 2, bytes: 10, now: .zero) != .accepted)
    #expect(queue.offer(Self.entry(3, bytes: 11), now: .zero) == .full(retryAfter: 60_000_000_000))
    #expect(queue.offer(Self.entry(3, bytes: 10), now: .zero) == .accepted)
    #expect(queue.offer(Self.entry(4, bytes: 0), now: .zero) != .accepted)
    #expect(queue.count == 3 && queue.readings.bytes == 100 && queue.violation() == nil)
    for id in Int64(1)...3 { #expect(queue.remove(id) && !queue.remove(id)) }
    #expect(queue.offer(Self.entry(5, bytes: 1_000), now: .zero) == .accepted)
    #expect(queue.offer(Self.entry(6), now: .zero) != .accepted)
  }

  /// 100 a second leave; 1 000 are refused.
  ///
  /// The k-th is told k ÷ 100 seconds: they come as the places fall free.
  @Test("who is refused is told when there will be room, one after the other")
  func retryAfter() {
    var queue = Self.queue([]) { $0.length = 10 }
    var id: Int64 = 0
    var now = Instant.s(100)
    while now < .s(110) {
      id += 1
      #expect(queue.offer(Self.entry(id), now: now) == .accepted)
      for one in leased(&queue, at: now) { _ = queue.ack(one.id, attempt: one.attempt, now: now) }
      now = now.advanced(by: 10_000_000)
    }
    for _ in 0..<10 {
      id += 1
      _ = queue.offer(Self.entry(id), now: now)
    }
    var told: [Double] = []
    for _ in 0..<1_000 {
      if case .full(let retryAfter) = queue.offer(Self.entry(id + 1), now: now) {
        told.append(Double(retryAfter) / 1e9)
      }
    }
    #expect(told.count == 1_000 && told[0] == 1)
    #expect(abs(told[499] - 5) < 0.1 && abs(told[999] - 10) < 0.1, "\(told[499]) \(told[999])")
  }

  // MARK: Changes from outside

  @Test("other settings hold at once: keys in parallel, rate, pause of a key")
  func change() {
    var queue = Self.queue((1...6).map { Self.entry($0, key: 7) })
    #expect(lease(&queue, 9) == [1])
    var settings = queue.settings
    settings.keyAtOnce = 3
    queue.change(to: settings, now: .zero)
    #expect(queue.violation() == nil)
    #expect(lease(&queue, 9) == [2, 3])
    settings.keyAtOnce = 1
    settings.rate = Rate(perSecond: 1)
    queue.change(to: settings, now: .zero)
    #expect(queue.violation() == nil && lease(&queue, 9) == [])
    for id in Int64(1)...3 { #expect(queue.ack(id, attempt: 1, now: .zero) == .done) }
    #expect(lease(&queue, 9) == [4])
    #expect(queue.ack(4, attempt: 1, now: .zero) == .done)
    #expect(lease(&queue, 9) == [] && queue.nextWake == .s(1))
    settings.rate = nil
    queue.change(to: settings, now: .zero)
    #expect(lease(&queue, 9) == [5])
  }

  /// After a restart: the rows in the order of their ids say all that matters.
  @Test("restored from its entries it goes on as before, over its length too")
  mutating func restore() {
    var queue = Self.queue(
      [Self.entry(1, key: 7), Self.entry(2, key: 7), Self.entry(3, key: 8), Self.entry(4, key: 8), Self.entry(5)])
    #expect(lease(&queue, 2) == [1, 3])
    #expect(queue.nack(3, attempt: 1, now: .zero, using: &random) == .retry(at: .s(1)))
    var settings = queue.settings
    settings.length = 1
    var again = DeliveryQueue(settings)
    for id in Int64(1)...5 { if let entry = queue.entry(id) { again.restore(entry) } }
    _ = tick(&again, at: .zero)
    #expect(again.violation() == nil && again.readings == queue.readings)
    #expect(lease(&again, 9) == [5], "1 is in flight, 3 waits for its retry: both hold their keys")
    #expect(again.ack(1, attempt: 1, now: .zero) == .done)
    _ = tick(&again, at: .s(1))
    #expect(lease(&again, 9, at: .s(1)) == [2, 3])
  }
}
