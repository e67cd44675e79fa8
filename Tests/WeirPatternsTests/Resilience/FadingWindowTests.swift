// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirPatterns

/// The window that forgets gradually, against the closed form of its weights: 2^(−age ÷ half-life) (RL-3).
@Suite struct FadingWindowTests {
  private func breaker(halfLife: Int, _ edit: (inout CircuitBreaker.Settings) -> Void = { _ in }) -> CircuitBreaker {
    var settings = CircuitBreaker.Settings()
    settings.window = .ewma(halfLife: .milliseconds(halfLife))
    settings.inARow = 0
    settings.ofAtLeast = 1_000_000
    edit(&settings)
    return CircuitBreaker(settings)
  }

  private func at(_ milliseconds: Int) -> Instant { Instant(nanoseconds: Int64(milliseconds) * 1_000_000) }

  @Test("totals are the sums of the weights, at any spacing", arguments: 1...20)
  func closedForm(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let halfLife = 100 + random.index(below: 5000)
    var breaker = breaker(halfLife: halfLife)
    var past: [(at: Int, failed: Bool)] = []
    var now = 0
    for _ in 0..<400 {
      now += random.index(below: 300)
      let failed = random.chance(0.3)
      past.append((now, failed))
      _ = breaker.settle(.init(epoch: 0), failed ? .failure : .success, now: at(now), using: &random)
      let weights = past.map { pow(2, -Double(now - $0.at) / Double(halfLife)) }
      let calls = weights.reduce(0, +)
      let failures = zip(past, weights).reduce(0) { $1.0.failed ? $0 + $1.1 : $0 }
      // A 64th for the rounding, and the error of the approximated power (WeirBase, EWMA).
      #expect(abs(Double(breaker.totals.calls) / 64 - calls) < 1.0 / 64 + 2e-3 * calls)
      #expect(abs(Double(breaker.totals.failures) / 64 - failures) < 1.0 / 64 + 2e-3 * failures)
    }
    #expect(breaker.violation() == nil)
  }

  /// 1 − 2^(−t ÷ halfLife): with a threshold of a half that is one half-life, at any rate that is enough to judge by.
  @Test("a callee that starts to fail opens it after one half-life", arguments: [5, 20, 100], [1000, 4000])
  func reaction(gap: Int, halfLife: Int) {
    var random = SeededRandom(seed: 1)
    var breaker = breaker(halfLife: halfLife) { $0.ofAtLeast = 10 }
    var now = 0
    while now < 20 * halfLife {
      now += gap
      let change = breaker.settle(.init(epoch: 0), .success, now: at(now), using: &random)
      #expect(change == .none)
    }
    let began = now
    while breaker.phase == .closed, now < began + 10 * halfLife {
      now += gap
      _ = breaker.settle(.init(epoch: 0), .failure, now: at(now), using: &random)
    }
    // A call or two: the first failure counts whole, and calls come only so often.
    #expect(abs(now - began - halfLife) <= 2 * gap + halfLife / 100)
  }

  @Test("at a steady rate the count tends to rate · halfLife ÷ ln 2; fewer than ofAtLeast never open it")
  func count() {
    for (ofAtLeast, opens) in [(28, true), (30, false)] {
      var random = SeededRandom(seed: 1)
      // Ten a second and two seconds: 10 · 2 ÷ ln 2 = 28.9, and half a call more right after one has come.
      var breaker = breaker(halfLife: 2000) { $0.ofAtLeast = ofAtLeast }
      for i in 1...1000 {
        let outcome: CircuitBreaker.Outcome = i % 2 == 0 ? .failure : .success
        _ = breaker.settle(.init(epoch: breaker.epoch), outcome, now: at(i * 100), using: &random)
        if breaker.phase != .closed { break }
      }
      #expect((breaker.phase == .open) == opens)
      if !opens { #expect(abs(Double(breaker.totals.calls) / 64 - 29.36) < 0.1) }
    }
  }

  @Test("slow calls fade alike; a loop's copy judges as the breaker does, outcomes in whole calls")
  func views() {
    var random = SeededRandom(seed: 1)
    var breaker = breaker(halfLife: 1000) {
      $0.ofAtLeast = 10
      $0.slow = .seconds(1)
    }
    var good = CircuitBreaker.Outcomes()
    for _ in 0..<16 { good.add(.success) }
    var change = breaker.absorb(good, epoch: 0, now: at(0), using: &random)
    #expect(change == .none)
    // By two half-lives later the sixteen weigh four: with three slow ones the share is below a half, with four it is not,
    // and with six there are ten to judge by.
    var none = CircuitBreaker.Outcomes()
    none.add(.success)
    change = breaker.absorb(none, epoch: 0, now: at(2000), using: &random)
    #expect(change == .none && abs(Int(breaker.totals.calls) - 5 * 64) <= 1)
    var slow = CircuitBreaker.Outcomes()
    for _ in 0..<5 { slow.add(.slow) }
    let five = breaker.view.trips(adding: slow, by: breaker.thresholds)
    slow.add(.slow)
    let six = breaker.view.trips(adding: slow, by: breaker.thresholds)
    #expect(six && five == (breaker.totals.calls >= 5 * 64))
    change = breaker.absorb(slow, epoch: 0, now: at(2000), using: &random)
    #expect(change != .none && breaker.totals == CircuitBreaker.Totals())
  }
}
