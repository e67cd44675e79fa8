// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct WebhookTests {
  private static let hour: Int64 = 3600 * 1_000_000_000

  private func schedule(giveUpAfter: Duration = .seconds(4 * 86_400), jitter: Double = 0) -> WebhookSchedule {
    var settings = WebhookSchedule.Settings()
    settings.giveUpAfter = giveUpAfter
    settings.jitter = jitter
    return WebhookSchedule(settings)
  }

  /// The table of the standard: delays, and the time since the start.
  @Test("the attempts are where Standard Webhooks puts them")
  func standard() {
    var random = SeededRandom(seed: 1)
    let schedule = schedule()
    let expected = [5, 305, 2105, 9305, 27_305, 63_305, 113_705, 185_705, 272_105]
    var now = Instant.zero
    for (index, seconds) in expected.enumerated() {
      let next = schedule.next(after: index + 1, acceptedAt: .zero, retryAfter: nil, now: now, using: &random)
      #expect(next == .s(Double(seconds)))
      now = next ?? now
    }
    #expect(schedule.next(after: 10, acceptedAt: .zero, retryAfter: nil, now: now, using: &random) == nil)
  }

  @Test("given up at the moment, and the last wait repeats when there is longer")
  func giveUp() {
    var random = SeededRandom(seed: 1)
    let three = schedule(giveUpAfter: .seconds(3 * 86_400))
    #expect(three.next(after: 9, acceptedAt: .zero, retryAfter: nil, now: .s(185_705), using: &random) == nil)
    let exact = schedule(giveUpAfter: .seconds(305))
    #expect(exact.next(after: 2, acceptedAt: .zero, retryAfter: nil, now: .s(5), using: &random) == .s(305))
    let less = schedule(giveUpAfter: .seconds(304))
    #expect(less.next(after: 2, acceptedAt: .zero, retryAfter: nil, now: .s(5), using: &random) == nil)
    let week = schedule(giveUpAfter: .seconds(7 * 86_400))
    let tenth = week.next(after: 10, acceptedAt: .zero, retryAfter: nil, now: .s(272_105), using: &random)
    #expect(tenth == .s(272_105 + 86_400))
  }

  @Test(
    "what the endpoint asks for is heeded when it is longer, up to a day",
    arguments: [(1, 5), (60, 60), (86_400, 86_400), (900_000, 86_400), (-5, 5)] as [(Int64, Int64)])
  func retryAfter(asked: Int64, waits: Int64) {
    var random = SeededRandom(seed: 1)
    let next = schedule().next(
      after: 1, acceptedAt: .zero, retryAfter: asked * 1_000_000_000, now: .zero, using: &random)
    #expect(next == .s(Double(waits)))
  }

  @Test("by default ten attempts fit, with any jitter, and they are spread", arguments: resilienceSeeds(50))
  func jitter(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "webhook")
    let schedule = WebhookSchedule()
    var now = Instant.zero
    var attempts = 1
    while let next = schedule.next(after: attempts, acceptedAt: .zero, retryAfter: nil, now: now, using: &random) {
      let wait = WebhookSchedule.waits[min(attempts, 9) - 1].inNanoseconds
      #expect(next.since(now) >= wait && next.since(now) <= wait + wait / 10 + 1, "WEIR_SEED=\(seed)")
      now = next
      attempts += 1
    }
    #expect(attempts == 10, "WEIR_SEED=\(seed)")
  }

  // MARK: The endpoint

  private struct Run {
    var endpoint = WebhookEndpoint()
    var random = SeededRandom(seed: 1)

    mutating func admit(_ now: Instant) -> WebhookEndpoint.Admission { endpoint.admit(now: now, using: &random) }

    /// Sends one message's next attempt, which must be admitted.
    mutating func send(
      _ outcome: WebhookEndpoint.Outcome, attempts: Int = 1, acceptedAt: Instant = .zero, _ now: Instant
    ) -> WebhookEndpoint.Settlement? {
      guard case .send(let ticket) = admit(now) else { return nil }
      defer { #expect(endpoint.violation() == nil) }
      return endpoint.settle(
        ticket, outcome, attempts: attempts, acceptedAt: acceptedAt, now: now, using: &random)
    }
  }

  private func answered(_ status: UInt16, retryAfter: Int64? = nil) -> WebhookEndpoint.Outcome {
    .answered(status, retryAfter: retryAfter)
  }

  @Test(
    "2xx is delivered, anything else is sent again",
    arguments: [200, 204, 299, 100, 301, 400, 404, 429, 500, 502] as [UInt16])
  func statuses(status: UInt16) throws {
    var run = Run()
    let sent = run.send(answered(status), .zero)
    let settlement = try #require(sent)
    if status >= 200 && status < 300 {
      #expect(settlement == .delivered && run.endpoint.record.failures == 0)
    } else if case .retry(let at) = settlement {
      #expect(at >= .s(5) && at <= .s(5.5) && run.endpoint.record.failures == 1)
    } else {
      Issue.record("\(status): \(settlement)")
    }
  }

  @Test("410 disables: nothing is sent any more, after a restart neither, until an operator enables it")
  func gone() {
    var run = Run()
    #expect(run.send(answered(410), .zero) == .disabled(.gone))
    #expect(run.admit(.s(1_000_000)) == .disabled(.gone))
    var again = WebhookEndpoint(record: run.endpoint.record)
    #expect(again.admit(now: .zero, using: &run.random) == .disabled(.gone))
    again.enable()
    guard case .send = again.admit(now: .zero, using: &run.random) else {
      Issue.record("not enabled")
      return
    }
    again.disable()
    #expect(again.admit(now: .zero, using: &run.random) == .disabled(.byOperator))
  }

  @Test("an attempt under way while it is disabled is delivered, or comes back as disabled")
  func meanwhile() {
    var run = Run()
    guard case .send(let first) = run.admit(.zero), case .send(let second) = run.admit(.zero) else {
      Issue.record("not admitted")
      return
    }
    run.endpoint.disable()
    let delivered = run.endpoint.settle(
      first, answered(200), attempts: 1, acceptedAt: .zero, now: .zero, using: &run.random)
    let failed = run.endpoint.settle(
      second, answered(500), attempts: 1, acceptedAt: .zero, now: .zero, using: &run.random)
    #expect(delivered == .delivered && failed == .disabled(.byOperator))
  }

  @Test("five failures in a row rest it; a 404 does not, for that is the message's")
  func breaker() {
    var run = Run()
    for _ in 0..<20 { #expect(run.send(answered(404), .zero) != nil) }
    for _ in 0..<5 { #expect(run.send(.unanswered, .s(1)) != nil) }
    // Among twenty good ones a row must last a second.
    #expect(run.send(answered(503), .s(2.5)) != nil)
    guard case .wait(let until) = run.admit(.s(2.5)) else {
      Issue.record("no rest")
      return
    }
    #expect(until > .s(20) && until <= .s(40))
    guard case .send = run.admit(until) else {
      Issue.record("no probe")
      return
    }
    guard case .wait = run.admit(until) else {
      Issue.record("more than a probe")
      return
    }
  }

  @Test("Retry-After of a 429 or a 503 pauses the endpoint, not only the message")
  func pause() {
    var run = Run()
    guard case .retry(let at) = run.send(answered(429, retryAfter: 90 * 1_000_000_000), .zero) else {
      Issue.record("not retried")
      return
    }
    #expect(at == .s(90))
    #expect(run.admit(.s(89.9)) == .wait(until: .s(90)))
    guard case .send = run.admit(.s(90)) else {
      Issue.record("still paused")
      return
    }
  }

  @Test("what failed for five days is disabled, not a moment before, and not for one message alone")
  func failing() {
    let day: Double = 86_400
    var run = Run()
    for attempt in 1...11 { #expect(run.send(answered(404), attempts: 1, .s(Double(attempt))) != nil) }
    let record = run.endpoint.record
    #expect(record.failures == 11 && record.failingSince == .s(1))
    var early = run
    guard case .retry = early.send(answered(404), acceptedAt: .s(5 * day), .s(5 * day + 0.9)) else {
      Issue.record("too early")
      return
    }
    var few = run
    few.endpoint = WebhookEndpoint(record: record)
    #expect(few.send(answered(404), .s(5 * day + 1)) == .disabled(.failing), "twelve, and five days")
    var one = Run()
    for attempt in 1...10 { _ = one.send(answered(404), attempts: attempt, .s(Double(attempt))) }
    guard case .retry = one.send(answered(404), acceptedAt: .s(6 * day), .s(6 * day)) else {
      Issue.record("eleven are too few")
      return
    }
    var well = run
    #expect(well.send(answered(200), .s(4 * day)) == .delivered)
    guard case .retry = well.send(answered(404), acceptedAt: .s(5 * day + 1), .s(5 * day + 1)) else {
      Issue.record("a success counts")
      return
    }
  }

  /// Messages over days to an endpoint of moods: each ends in time, nothing is sent where nothing may be, no wait is for ever.
  @Test("walks", arguments: resilienceSeeds(100))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "webhook walk")
    var run = Run()
    run.random = SeededRandom(seed: seed, stream: "webhook own")
    var now = Instant.zero
    var mood = 0
    for message in 0..<20 {
      let acceptedAt = now
      var attempts = 0
      var waits = 0
      delivery: while true {
        if random.index(below: 6) == 0 { mood = random.index(below: 4) }
        switch run.admit(now) {
        case .disabled:
          if run.endpoint.record.disabled == nil { return PatternSeeds.fail("WEIR_SEED=\(seed): not disabled") }
          run.endpoint.enable()
        case .wait(let until):
          waits += 1
          if until <= now || waits > 400 {
            return PatternSeeds.fail("WEIR_SEED=\(seed) message \(message): waits for ever")
          }
          now = until
        case .send(let ticket):
          if run.endpoint.record.disabled != nil { return PatternSeeds.fail("WEIR_SEED=\(seed): sent while disabled") }
          attempts += 1
          waits = 0
          var outcome = WebhookEndpoint.Outcome.unanswered
          switch (mood, random.index(below: 10)) {
          case (0, _), (1, 0..<5): outcome = answered(200)
          case (1, _): outcome = answered(503, retryAfter: Int64(random.index(below: 100)) * 1_000_000_000)
          case (2, 0): outcome = answered(410)
          case (2, 1..<9): outcome = answered(UInt16(300 + random.index(below: 300)))
          case (3, 0): outcome = .ignored
          default: break
          }
          now = now.advanced(by: Int64(random.index(below: 20)) * 1_000_000_000)
          let settled = run.endpoint.settle(
            ticket, outcome, attempts: attempts, acceptedAt: acceptedAt, now: now, using: &run.random)
          if let wrong = run.endpoint.violation() { return PatternSeeds.fail("WEIR_SEED=\(seed): \(wrong)") }
          switch settled {
          case .again: attempts -= 1
          case .retry(let at):
            if at <= now || at.since(acceptedAt) > 96 * Self.hour {
              return PatternSeeds.fail("WEIR_SEED=\(seed): \(at)")
            }
            now = at
          case .delivered, .gaveUp, .disabled: break delivery
          }
          if attempts > 11 { return PatternSeeds.fail("WEIR_SEED=\(seed) message \(message): \(attempts) attempts") }
        }
      }
      now = now.advanced(by: Int64(random.index(below: 3600)) * 1_000_000_000)
    }
  }
}
