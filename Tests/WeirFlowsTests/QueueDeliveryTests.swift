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
}
