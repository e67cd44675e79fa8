// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// Deliveries to one endpoint, over days of virtual time.
struct WebhookDeliveryTests {
  private static func s(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }

  private static func settings(_ change: (inout WebhookDelivery.Settings) -> Void = { _ in })
    -> WebhookDelivery.Settings
  {
    var settings = WebhookDelivery.Settings()
    settings.schedule.jitter = 0
    settings.breaker.restJitter = 0
    change(&settings)
    return settings
  }

  /// An endpoint and its queue: messages with their attempts so far, and when they are due.
  private struct World {
    struct Message {
      var attempts = 0
      var acceptedAt: Instant
      var dueAt: Instant
    }

    var delivery: WebhookDelivery
    var random = SeededRandom(seed: 7, stream: "webhook")
    var queue: [Message] = []
    var delivered = 0
    var gaveUp = 0
    /// When each attempt was made.
    var attemptsAt: [Instant] = []
    var disabled: WebhookEndpoint.Cause?

    init(_ settings: WebhookDelivery.Settings) { delivery = WebhookDelivery(settings) }

    mutating func publish(_ count: Int, at now: Instant) {
      for _ in 0..<count { queue.append(Message(acceptedAt: now, dueAt: now)) }
    }

    /// All that is due is taken and answered at once, as often as the delivery asks.
    mutating func turn(now: Instant, _ answer: (Instant) -> WebhookEndpoint.Outcome) {
      while true {
        let most = delivery.ask(now: now)
        if most == 0 { return }
        let due = Array(queue.filter { $0.dueAt <= now }.prefix(most))
        for message in due {
          if let index = queue.firstIndex(where: { $0.dueAt == message.dueAt && $0.acceptedAt == message.acceptedAt }) {
            queue.remove(at: index)
          }
        }
        delivery.leased(due.count)
        if due.isEmpty { return }
        var tickets: [(Message, CircuitBreaker.Ticket)] = []
        for message in due {
          switch delivery.admit(now: now, using: &random) {
          case .send(let ticket): tickets.append((message, ticket))
          case .giveBack: queue.append(message)
          }
        }
        for (message, ticket) in tickets {
          var message = message
          message.attempts += 1
          attemptsAt.append(now)
          switch delivery.ended(
            ticket, answer(now), attempts: message.attempts, acceptedAt: message.acceptedAt, now: now, using: &random)
          {
          case .ack: delivered += 1
          case .retry(let wait):
            message.dueAt = now.advanced(by: wait)
            queue.append(message)
          case .gaveUp: gaveUp += 1
          case .giveBack:
            message.attempts -= 1
            queue.append(message)
          default:
            disabled = delivery.record.disabled
            queue.append(message)
          }
        }
        #expect(delivery.violation() == nil)
      }
    }

    /// To the next moment at which something is due or may be asked for again.
    func next(after now: Instant) -> Instant? {
      let due = queue.map(\.dueAt).min()
      let wake = delivery.nextWake(now: now)
      guard let due else { return nil }
      // What is due and not asked for is not asked for later either: the endpoint is disabled.
      if wake == .distantFuture && due <= now { return nil }
      let at = max(due, wake == .distantFuture ? due : wake)
      return max(at, Instant(nanoseconds: now.nanoseconds + 1))
    }
  }

  @Test("one message at an endpoint that is down: the standard's attempts over days, and then it is given up")
  func schedule() {
    var world = World(Self.settings { $0.endpoint.disableAfter = .seconds(30 * 86_400) })
    world.publish(1, at: .zero)
    var now = Instant.zero
    var turns = 0
    while true {
      world.turn(now: now) { _ in .unanswered }
      guard let next = world.next(after: now), turns < 1000 else { break }
      now = next
      turns += 1
    }
    #expect(world.gaveUp == 1 && world.delivered == 0 && world.queue.isEmpty)
    let expected: [Double] = [0, 5, 305, 2105, 9305, 27_305, 63_305, 113_705, 185_705, 272_105]
    #expect(world.attemptsAt.count == expected.count)
    // The breaker's rests may move an attempt, and never before its moment.
    for (at, seconds) in zip(world.attemptsAt, expected) {
      #expect(at >= Self.s(seconds) && at <= Self.s(seconds + 120))
    }
    #expect(world.delivery.record.disabled == nil && world.delivery.record.failures == 10)
  }

  @Test("what is published while the breaker is open costs no attempt, and goes out when the endpoint is back")
  func rests() {
    var world = World(Self.settings())
    world.publish(200, at: .zero)
    var now = Instant.zero
    let back = Self.s(7200)
    var turns = 0
    while let next = world.next(after: now), turns < 20_000 {
      world.turn(now: now) { $0 < back ? .answered(503, retryAfter: nil) : .answered(204, retryAfter: nil) }
      now = next
      turns += 1
    }
    world.turn(now: now) { _ in .answered(204, retryAfter: nil) }
    #expect(world.delivered == 200 && world.gaveUp == 0)
    // Two hours down: without a breaker each of the 200 would have been tried five times.
    let failed = world.attemptsAt.filter { $0 < back }.count
    #expect(failed < 700, "\(failed)")
    #expect(world.delivery.record == WebhookEndpoint.Record())
  }

  @Test("410 disables at once: nothing more is asked for until an operator enables it")
  func gone() {
    var world = World(Self.settings())
    world.publish(40, at: .zero)
    world.turn(now: .zero) { _ in .answered(410, retryAfter: nil) }
    #expect(world.disabled == .gone && world.delivery.record.disabled == .gone)
    #expect(world.attemptsAt.count == 16 && world.queue.count == 40)
    #expect(world.delivery.ask(now: Self.s(1e6)) == 0 && world.delivery.nextWake(now: .zero) == .distantFuture)
    // What is kept of it is enough after a restart.
    var again = WebhookDelivery(Self.settings(), record: world.delivery.record)
    #expect(again.ask(now: Self.s(1)) == 0)
    again.enable()
    #expect(again.ask(now: Self.s(1)) == 16)
    again.unanswered(now: Self.s(1))
    again.disable()
    #expect(again.record.disabled == .byOperator && again.ask(now: Self.s(9)) == 0)
  }

  @Test("five days without a success disable it, whatever the messages")
  func failing() {
    var world = World(Self.settings())
    var now = Instant.zero
    var hours = 0
    while world.disabled == nil && hours < 24 * 8 {
      world.publish(1, at: now)
      // Through the hour, as often as something may be asked for.
      let end = now + .seconds(3600)
      while now < end {
        world.turn(now: now) { _ in .answered(500, retryAfter: nil) }
        now = min(end, world.next(after: now) ?? end)
      }
      hours += 1
    }
    #expect(world.disabled == .failing)
    #expect((24 * 5...24 * 5 + 2).contains(hours), "\(hours)")
  }

  @Test("a refused message is tried again by itself; others go on")
  func refusedMessage() {
    var world = World(Self.settings { $0.slots = 1 })
    world.publish(1, at: .zero)
    world.turn(now: .zero) { _ in .answered(400, retryAfter: nil) }
    #expect(world.queue.first?.dueAt == Self.s(5))
    world.publish(9, at: Self.s(1))
    world.turn(now: Self.s(1)) { _ in .answered(200, retryAfter: nil) }
    #expect(world.delivered == 9 && world.queue.count == 1)
  }

  @Test("Retry-After of an endpoint that is unwell holds all of its messages back")
  func pause() {
    var world = World(Self.settings())
    world.publish(1, at: .zero)
    world.turn(now: .zero) { _ in .answered(429, retryAfter: 60_000_000_000) }
    world.publish(3, at: Self.s(1))
    world.turn(now: Self.s(1)) { _ in .answered(200, retryAfter: nil) }
    #expect(world.delivered == 0 && world.delivery.nextWake(now: Self.s(1)) == Self.s(60))
    #expect(world.delivery.ask(now: Self.s(59.9)) == 0)
    var now = Self.s(60)
    world.turn(now: now) { _ in .answered(200, retryAfter: nil) }
    if let next = world.next(after: now) {
      now = next
      world.turn(now: now) { _ in .answered(200, retryAfter: nil) }
    }
    #expect(world.delivered == 4)
  }

  @Test("no more are sent than the endpoint's rate, and what it does not want costs none of it")
  func rate() {
    var world = World(Self.settings { $0.rate = Rate(perSecond: 2) })
    world.publish(20, at: .zero)
    var now = Instant.zero
    var sent: [Int] = []
    for _ in 0..<11 {
      let before = world.delivered
      world.turn(now: now) { _ in .answered(200, retryAfter: nil) }
      sent.append(world.delivered - before)
      now = now + .seconds(1)
    }
    #expect(sent == [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 0])
    var other = WebhookDelivery(Self.settings { $0.rate = Rate(perSecond: 1) })
    for _ in 0..<10 {
      #expect(other.ask(now: .zero) == 1)
      other.leased(1)
      other.skipped()
    }
    #expect(other.inFlight == 0)
  }

  @Test("after a stop nothing is asked for or sent, and what was leased is given back")
  func stops() {
    var random = SeededRandom(seed: 1)
    var delivery = WebhookDelivery(Self.settings())
    #expect(delivery.ask(now: .zero) == 16)
    delivery.stop()
    delivery.leased(2)
    #expect(delivery.admit(now: .zero, using: &random) == .giveBack)
    #expect(delivery.admit(now: .zero, using: &random) == .giveBack)
    #expect(delivery.inFlight == 0 && delivery.ask(now: .zero) == 0)
  }

  @Test("an attempt that we cut off counts for nothing")
  func ignored() {
    var random = SeededRandom(seed: 1)
    var delivery = WebhookDelivery(Self.settings())
    _ = delivery.ask(now: .zero)
    delivery.leased(1)
    guard case .send(let ticket) = delivery.admit(now: .zero, using: &random) else {
      Issue.record("not admitted")
      return
    }
    let verdict = delivery.ended(ticket, .ignored, attempts: 1, acceptedAt: .zero, now: .zero, using: &random)
    #expect(verdict == .giveBack && delivery.ask(now: .zero) == 0 && delivery.record.failures == 0)
    #expect(delivery.nextWake(now: .zero) == Self.s(1))
  }

  @Test("random walks keep the invariants, and end with everything delivered", arguments: UInt64(0)..<100)
  func walks(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "walk")
    var world = World(Self.settings { $0.slots = 1 + random.index(below: 20) })
    var now = Instant.zero
    for _ in 0..<200 {
      if random.chance(0.3) { world.publish(random.index(below: 5), at: now) }
      let mood = random.index(below: 4)
      world.turn(now: now) { _ in
        switch mood {
        case 0: .answered(200, retryAfter: nil)
        case 1: .answered(503, retryAfter: random.chance(0.2) ? 30_000_000_000 : nil)
        case 2: .unanswered
        default: random.chance(0.5) ? .ignored : .answered(404, retryAfter: nil)
        }
      }
      now = now.advanced(by: random.nanoseconds(upTo: 600_000_000_000))
    }
    #expect(world.delivery.inFlight == 0 && world.disabled == nil, "seed \(seed)")
    var turns = 0
    while turns < 5000, !world.queue.isEmpty {
      world.turn(now: now) { _ in .answered(200, retryAfter: nil) }
      now = world.next(after: now) ?? now
      turns += 1
    }
    #expect(world.queue.isEmpty, "seed \(seed)")
  }
}
