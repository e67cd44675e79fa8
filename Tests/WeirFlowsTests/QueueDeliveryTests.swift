// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

struct QueueDeliveryTests {
  private var random = SeededRandom(seed: 1, stream: "delivery")
  private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

  private func delivery(slots: Int) -> QueueDelivery {
    var settings = QueueDelivery.Settings()
    settings.slots = slots
    settings.rest.jitter = 0
    return QueueDelivery(settings)
  }

  @Test("asks for what is free, once at a time")
  func asks() {
    var delivery = delivery(slots: 3)
    #expect(delivery.ask(now: at(0)) == 3)
    #expect(delivery.ask(now: at(0)) == 0)
    delivery.leased(2)
    #expect(delivery.ask(now: at(0)) == 1)
    delivery.leased(1)
    #expect(delivery.ask(now: at(0)) == 0)
    #expect(delivery.nextWake == .distantFuture)
  }

  @Test(
    "an answer's status decides",
    arguments: [
      (200, QueueDelivery.Verdict.ack), (204, .ack), (301, .retry(after: nil)), (400, .refused), (404, .refused),
      (408, .retry(after: nil)), (409, .retry(after: nil)), (410, .refused), (425, .retry(after: nil)),
      (429, .retry(after: nil)), (500, .retry(after: nil)), (503, .retry(after: nil)), (0, .retry(after: nil)),
    ] as [(UInt16, QueueDelivery.Verdict)])
  func verdicts(_ status: UInt16, _ verdict: QueueDelivery.Verdict) {
    #expect(QueueDelivery.verdict(status: status, retryAfter: nil) == verdict)
  }

  @Test("a service can hold its message back for twelve hours, and no longer")
  func heldBack() {
    let most = QueueDelivery.Settings.retryAfterMax.inNanoseconds
    #expect(most == 12 * 3600 * 1_000_000_000)
    for status in [429, 503] as [UInt16] {
      #expect(QueueDelivery.verdict(status: status, retryAfter: most) == .retry(after: most))
      #expect(QueueDelivery.verdict(status: status, retryAfter: .max) == .retry(after: most))
    }
  }

  @Test("a service that is away costs no attempt: rests of 100, 200, 400 ms …, at most 5 s, and one message alone")
  mutating func away() {
    var delivery = delivery(slots: 8)
    #expect(delivery.ask(now: at(0)) == 8)
    delivery.leased(8)
    // All of them at once are one failure.
    for _ in 0..<8 {
      let verdict = delivery.ended(
        status: 0, reason: .noHealthyInstance, attempts: 0, retryAfter: nil, now: at(0), using: &random)
      #expect(verdict == .giveBack)
    }
    var now: Int64 = 0
    for rest in [100, 200, 400, 800, 1600, 3200, 5000, 5000] as [Int64] {
      #expect(delivery.nextWake == at(now + rest))
      #expect(delivery.ask(now: at(now + rest - 1)) == 0)
      now += rest
      #expect(delivery.ask(now: at(now)) == 1)
      delivery.leased(1)
      #expect(delivery.ask(now: at(now)) == 0)
      _ = delivery.ended(status: 0, reason: .breakerOpen, attempts: 0, retryAfter: nil, now: at(now), using: &random)
    }
    now += 5000
    #expect(delivery.ask(now: at(now)) == 1)
    delivery.leased(1)
    #expect(
      delivery.ended(status: 200, reason: .none, attempts: 1, retryAfter: nil, now: at(now), using: &random) == .ack)
    #expect(delivery.ask(now: at(now)) == 8)
  }

  @Test("an attempt that reached the service counts, whatever came of it")
  mutating func reached() {
    var delivery = delivery(slots: 2)
    _ = delivery.ask(now: at(0))
    delivery.leased(2)
    #expect(
      delivery.ended(status: 504, reason: .attemptTimeout, attempts: 1, retryAfter: nil, now: at(5), using: &random)
        == .retry(after: nil))
    #expect(
      delivery.ended(status: 503, reason: .none, attempts: 1, retryAfter: 7, now: at(5), using: &random)
        == .retry(after: 7))
    #expect(delivery.ask(now: at(5)) == 2)
  }

  @Test("a state process that is away is asked again after a rest")
  mutating func unanswered() {
    var delivery = delivery(slots: 2)
    _ = delivery.ask(now: at(0))
    delivery.unanswered(now: at(10), using: &random)
    #expect(delivery.nextWake == at(110))
    #expect(delivery.ask(now: at(109)) == 0)
    #expect(delivery.ask(now: at(110)) == 1)
  }

  @Test("stopped, it asks for nothing; what is under way ends")
  mutating func stopped() {
    var delivery = delivery(slots: 2)
    _ = delivery.ask(now: at(0))
    delivery.leased(2)
    delivery.stop()
    delivery.declined()
    #expect(
      delivery.ended(status: 200, reason: .none, attempts: 1, retryAfter: nil, now: at(1), using: &random) == .ack)
    #expect(delivery.inFlight == 0 && delivery.ask(now: at(2)) == 0 && delivery.nextWake == .distantFuture)
  }

  @Test("a plan with fewer slots holds as soon as what is too many has ended")
  mutating func moved() {
    var delivery = delivery(slots: 4)
    _ = delivery.ask(now: at(0))
    delivery.leased(4)
    var settings = QueueDelivery.Settings()
    settings.slots = 2
    delivery.moved(to: settings)
    for left in [3, 2, 1] {
      #expect(delivery.ask(now: at(0)) == 0)
      _ = delivery.ended(status: 200, reason: .none, attempts: 1, retryAfter: nil, now: at(0), using: &random)
      #expect(delivery.inFlight == left)
    }
    #expect(delivery.ask(now: at(0)) == 1)
  }

  @Test("any order of inputs keeps the slots, and never rests for ever", arguments: 0..<50)
  func walk(_ seed: Int) {
    var random = SeededRandom(seed: UInt64(seed), stream: "walk")
    let slots = 1 + Int(random.next() % 5)
    var delivery = delivery(slots: slots)
    var now = Instant.zero
    for _ in 0..<2_000 {
      now = now.advanced(by: Int64(random.next() % 300_000_000))
      switch random.next() % 4 {
      case 0:
        let asked = delivery.ask(now: now)
        if asked > 0 {
          if random.next() % 4 == 0 {
            delivery.unanswered(now: now, using: &random)
          } else {
            delivery.leased(Int(random.next() % UInt64(asked + 1)))
          }
        }
      case 1 where delivery.inFlight > 0:
        _ = delivery.ended(
          status: 0, reason: .noHealthyInstance, attempts: 0, retryAfter: nil, now: now, using: &random)
      case 2 where delivery.inFlight > 0:
        _ = delivery.ended(status: 200, reason: .none, attempts: 1, retryAfter: nil, now: now, using: &random)
      default: break
      }
      #expect(delivery.violation() == nil && delivery.inFlight <= slots, "seed \(seed)")
    }
    while delivery.inFlight > 0 { delivery.declined() }
    #expect(delivery.ask(now: now + .seconds(8)) > 0, "seed \(seed)")
  }

  private func batches(slots: Int, of batch: Int) -> QueueDelivery {
    var settings = QueueDelivery.Settings()
    settings.slots = slots
    settings.batch = batch
    return QueueDelivery(settings)
  }

  @Test("a batch is one call: so many are asked for as the free calls carry, and what comes is shared out")
  mutating func batches() {
    var delivery = batches(slots: 2, of: 3)
    #expect(delivery.ask(now: at(0)) == 6)
    #expect(delivery.leased(attempts: [1, 1, 1, 1]).calls == [[0, 1, 2], [3]])
    #expect(delivery.inFlight == 2 && delivery.ask(now: at(0)) == 0)
    #expect(
      delivery.ended(
        status: 204, reason: .none, attempts: 1, retryAfter: nil, messages: 3, now: at(1), using: &random) == .ack)
    #expect(delivery.ask(now: at(1)) == 3)
    #expect(delivery.leased(attempts: []) == .init())
    #expect(delivery.inFlight == 1)
  }

  @Test("a batch that is refused is tried again, one by one, and then there are batches again")
  mutating func refusedBatch() {
    var delivery = batches(slots: 1, of: 3)
    #expect(delivery.ask(now: at(0)) == 3)
    #expect(delivery.leased(attempts: [1, 1, 1]).calls == [[0, 1, 2]])
    #expect(
      delivery.ended(
        status: 422, reason: .none, attempts: 1, retryAfter: nil, messages: 3, now: at(1), using: &random)
        == .retry(after: nil))
    // Alone each is told the truth.
    for (status, verdict) in [(204, QueueDelivery.Verdict.ack), (422, .refused), (204, .ack)]
      as [(UInt16, QueueDelivery.Verdict)]
    {
      #expect(delivery.ask(now: at(2)) == 1)
      #expect(delivery.leased(attempts: [2]).calls == [[0]])
      #expect(
        delivery.ended(status: status, reason: .none, attempts: 1, retryAfter: nil, now: at(2), using: &random)
          == verdict)
    }
    #expect(delivery.ask(now: at(3)) == 3)
  }

  @Test("what has failed before goes alone as long as there is room, then among its like, never with new ones")
  mutating func retriedAlone() {
    func packed(slots: Int, _ attempts: [UInt16]) -> QueueDelivery.Calls {
      var delivery = batches(slots: slots, of: 3)
      _ = delivery.ask(now: at(0))
      return delivery.leased(attempts: attempts)
    }
    #expect(packed(slots: 3, [1, 2, 1, 3]).calls == [[0, 2], [3], [1]])
    #expect(packed(slots: 2, [1, 2, 1, 3]).calls == [[0, 2], [3, 1]])
    #expect(packed(slots: 3, [2, 3, 2, 3, 1]) == .init(calls: [[4], [1, 3], [0, 2]], back: []))
    // New ones fill all calls: what has failed is given back.
    #expect(packed(slots: 2, [1, 1, 2, 1, 1]) == .init(calls: [[0, 1, 3], [4]], back: [2]))
  }

  @Test("what there was no call for goes one by one, next")
  mutating func givenBack() {
    var delivery = batches(slots: 1, of: 3)
    #expect(delivery.ask(now: at(0)) == 3)
    #expect(delivery.leased(attempts: [2, 1, 1]) == .init(calls: [[1, 2]], back: [0]))
    func ended(_ messages: Int) -> QueueDelivery.Verdict {
      delivery.ended(
        status: 200, reason: .none, attempts: 1, retryAfter: nil, messages: messages, now: at(1), using: &random)
    }
    #expect(ended(2) == .ack)
    #expect(delivery.ask(now: at(1)) == 1)
    #expect(delivery.leased(attempts: [3]) == .init(calls: [[0]], back: []))
    #expect(ended(1) == .ack)
    #expect(delivery.ask(now: at(1)) == 3)
  }

  @Test("the last attempt is alone")
  mutating func lastAlone() {
    var delivery = QueueDelivery(QueueDelivery.Settings(atOnce: 9, batch: 3, attempts: 3))
    #expect(delivery.ask(now: at(0)) == 9)
    #expect(delivery.leased(attempts: [3, 2, 2, 3, 2]).calls == [[0], [3], [1, 2, 4]])
  }

  @Test("as many calls as the messages at once make; one loop makes those of several messages")
  func settings() {
    #expect(QueueDelivery.Settings(atOnce: 100, batch: 10).slots == 10)
    #expect(QueueDelivery.Settings(atOnce: 5, batch: 10).slots == 1)
    #expect(QueueDelivery.Settings(atOnce: .max).slots == 1024)
    #expect(QueueDelivery.Settings(atOnce: 5).isDelivered(onLoop: 2))
    #expect(QueueDelivery.Settings(atOnce: 5, batch: 2).isDelivered(onLoop: 0))
    #expect(!QueueDelivery.Settings(atOnce: 5, batch: 2).isDelivered(onLoop: 1))
    var delivery = QueueDelivery(QueueDelivery.Settings(atOnce: .max, batch: 100))
    #expect(delivery.ask(now: at(0)) == 1000)
  }

  @Test("a batch that nobody was asked about is given back, and counts for nothing")
  mutating func unreachedBatch() {
    var delivery = batches(slots: 1, of: 3)
    _ = delivery.ask(now: at(0))
    _ = delivery.leased(attempts: [1, 1, 1])
    #expect(
      delivery.ended(
        status: 0, reason: .noHealthyInstance, attempts: 0, retryAfter: nil, messages: 3, now: at(0), using: &random)
        == .giveBack)
    #expect(delivery.ask(now: delivery.nextWake) == 1)
    #expect(delivery.leased(attempts: [1]).calls == [[0]])
    _ = delivery.ended(status: 204, reason: .none, attempts: 1, retryAfter: nil, now: at(900), using: &random)
    #expect(delivery.ask(now: at(900)) == 3)
  }

  /// One of a hundred cannot be worked on: it alone is dead in the end, however it was mixed with others.
  @Test("a poisoned message takes no other with it", arguments: 0..<50)
  func poison(_ seed: Int) {
    var random = SeededRandom(seed: UInt64(seed), stream: "poison")
    var delivery = batches(slots: 3, of: 10)
    var waiting = (0..<100).map { (id: $0, attempt: UInt16(1)) }
    var dead: [Int] = []
    var time: Int64 = 0
    while !waiting.isEmpty && time < 10_000 {
      time += 1
      let count = min(delivery.ask(now: at(time)), waiting.count)
      if count == 0 { continue }
      // Retries come back at any moment.
      waiting.shuffle(using: &random)
      let leased = Array(waiting.suffix(count))
      waiting.removeLast(count)
      let packed = delivery.leased(attempts: leased.map(\.attempt))
      for i in packed.back { waiting.append((leased[i].id, leased[i].attempt + 1)) }
      for call in packed.calls {
        let isPoisoned = call.contains { leased[$0].id == 13 }
        let verdict = delivery.ended(
          status: isPoisoned ? 400 : 200, reason: .none, attempts: 1, retryAfter: nil, messages: call.count,
          now: at(time), using: &random)
        for i in call {
          switch verdict {
          case .ack: #expect(!isPoisoned)
          case .refused: dead.append(leased[i].id)
          case .retry, .giveBack: waiting.append((leased[i].id, leased[i].attempt + 1))
          }
        }
      }
      #expect(delivery.inFlight == 0)
    }
    #expect(waiting.isEmpty && dead == [13])
  }

  /// As the queue does it: the oldest first, retries after a while, dead after `attempts`; there are always new ones.
  ///
  /// Two of the first hundred fail whatever request they are in. They alone are dead in the end, however few calls there
  /// are: everything else is done, in few attempts, and nothing waits for ever.
  @Test(
    "under load, too, a poisoned message takes no other with it", arguments: 0..<20,
    [(slots: 1, batch: 10, attempts: 3), (1, 4, 20), (3, 10, 4), (2, 50, 5), (4, 2, 2)])
  func poisonUnderLoad(_ seed: Int, _ shape: (slots: Int, batch: Int, attempts: Int)) {
    var random = SeededRandom(seed: UInt64(seed), stream: "poison under load")
    var delivery = QueueDelivery(
      QueueDelivery.Settings(atOnce: shape.slots * shape.batch, batch: shape.batch, attempts: shape.attempts))
    struct Waiting {
      var id: Int
      var leases: UInt16 = 0
      var failures = 0
      var due: Int64 = 0
    }
    var waiting: [Waiting] = []
    var under: [(ends: Int64, members: [Waiting])] = []
    var dead: [Int] = []
    var done = Set<Int>()
    var next = 0
    var time: Int64 = 0
    while dead.count < 2 || done.count < 98 {
      time += 1
      guard time < 100_000 else { break }
      // More than the calls can carry.
      for _ in 0..<max(1, shape.slots * shape.batch / 4) where next < 20_000 {
        waiting.append(Waiting(id: next))
        next += 1
      }
      for call in under where call.ends <= time {
        let isPoisoned = call.members.contains { $0.id == 13 || $0.id == 14 }
        let verdict = delivery.ended(
          status: isPoisoned ? 500 : 200, reason: .none, attempts: 1, retryAfter: nil, messages: call.members.count,
          now: at(time), using: &random)
        for var one in call.members {
          if verdict == .ack {
            if one.id < 100 { done.insert(one.id) }
            continue
          }
          one.failures += 1
          one.due = time + Int64(1 << min(one.failures, 6)) + random.nanoseconds(upTo: 4)
          if one.failures >= shape.attempts { dead.append(one.id) } else { waiting.append(one) }
        }
      }
      under.removeAll { $0.ends <= time }
      let count = delivery.ask(now: at(time))
      if count == 0 { continue }
      waiting.sort { ($0.due > time ? 1 : 0, $0.id) < ($1.due > time ? 1 : 0, $1.id) }
      var leased = Array(waiting.prefix(count).prefix { $0.due <= time })
      waiting.removeFirst(leased.count)
      for i in leased.indices { leased[i].leases += 1 }
      let packed = delivery.leased(attempts: leased.map(\.leases))
      #expect(delivery.inFlight <= shape.slots)
      for i in packed.back { waiting.append(leased[i]) }
      for call in packed.calls {
        #expect(!call.isEmpty && call.count <= shape.batch)
        let members = call.map { leased[$0] }
        #expect(members.count == 1 || members.allSatisfy { $0.leases == 1 } || members.allSatisfy { $0.leases > 1 })
        under.append((time + 1 + random.nanoseconds(upTo: 5), members))
      }
      #expect(packed.back.count + packed.calls.reduce(0) { $0 + $1.count } == leased.count)
    }
    #expect(dead.sorted() == [13, 14] && done.count == 98, "after \(time): \(dead), \(done.count) done")
  }
}
