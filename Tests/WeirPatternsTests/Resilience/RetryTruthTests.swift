// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirPatterns

#if DEBUG
  private let isDebug = true
#else
  private let isDebug = false
#endif

/// GT-AMP: what retries multiply, with ``RetryRule`` deciding.
struct AmplificationTruthTests {
  /// Attempts a call (1 − pⁿ)/(1 − p) and success 1 − pⁿ, printed values and their formula.
  @Test(
    "attempts a call and success are the closed form", arguments: [0.1, 0.5, 0.75, 0.9], [1, 2, 3, 4])
  func closedForm(failure p: Double, attempts n: Int) {
    var settings = RetryRule.Settings()
    settings.attempts = n
    let rule = RetryRule(settings)
    var random = SeededRandom(seed: UInt64(n) * 1000 + UInt64(p * 100))
    let calls = isDebug ? 20_000 : 400_000
    var sum = 0.0
    var squares = 0.0
    var good = 0.0
    for _ in 0..<calls {
      var made = 1
      var ok = !random.chance(p)
      while !ok, rule.judge(status: 503, RetryRule.Facts(attempts: made, method: .safe)) == .retry {
        made += 1
        ok = !random.chance(p)
      }
      sum += Double(made)
      squares += Double(made * made)
      good += ok ? 1 : 0
    }
    let mean = sum / Double(calls)
    let error = ((squares / Double(calls) - mean * mean) / Double(calls)).squareRoot()
    let expected = (1 - pow(p, Double(n))) / (1 - p)
    #expect(abs(mean - expected) <= 4 * error + 1e-12)
    let success = 1 - pow(p, Double(n))
    #expect(abs(good / Double(calls) - success) <= 4 * (success * (1 - success) / Double(calls)).squareRoot() + 1e-12)
  }

  /// Google SRE ch.
  ///
  /// 22: three layers of four attempts, 64; Amazon: five layers of three, 243. And what ends it: the header that tells
  /// an inner hop that an outer one retries.
  @Test("layers multiply, unless the inner ones are told", arguments: [(3, 4, 64), (5, 3, 243)])
  func layers(layers: Int, attempts: Int, product: Int) {
    var settings = RetryRule.Settings()
    settings.attempts = attempts
    let rule = RetryRule(settings)
    func call(_ layer: Int, outer: Bool, told: Bool) -> Int {
      if layer == 0 { return 1 }
      var sent = 0
      var made = 0
      repeat {
        made += 1
        sent += call(layer - 1, outer: true, told: told)
      } while rule.judge(
        status: 503, RetryRule.Facts(attempts: made, method: .safe, outerRetries: told && outer)) == .retry
      return sent
    }
    #expect(call(layers, outer: false, told: false) == product)
    #expect(call(layers, outer: false, told: true) == attempts)
  }
}

/// GT-BRK: Brooker's retry simulation (2022), columns no retry, three retries, and token bucket.
///
/// A hundred clients, each an open stream of 10 calls a second for 30 s; an attempt takes a round trip of exp(10 ms) each
/// way, a retry follows at once and starts with the next way. The server fails each attempt with the given probability,
/// whatever its load. Load is attempts ÷ calls. With the bucket there is no cap on attempts: the bucket alone decides.
///
/// The fourth column (breaker 10 %) is not reproduced: that breaker never refuses a call. It is a gate on retries that
/// compares failed attempts with calls over the client's whole life; ``CircuitBreaker`` has a window, opens and rests.
struct RetrySimulationTruthTests {
  enum Column: Sendable { case none, three, bucket }

  struct Truth: Sendable {
    var failure: Double
    var column: Column
    var load: Double
    var success: Double
  }

  static let truths: [Truth] = [
    Truth(failure: 0.01, column: .none, load: 1, success: 0.990),
    Truth(failure: 0.10, column: .none, load: 1, success: 0.900),
    Truth(failure: 0.30, column: .none, load: 1, success: 0.699),
    Truth(failure: 0.50, column: .none, load: 1, success: 0.499),
    Truth(failure: 0.01, column: .three, load: 1.0097, success: 1.0000),
    Truth(failure: 0.10, column: .three, load: 1.1117, success: 0.9999),
    Truth(failure: 0.30, column: .three, load: 1.4286, success: 0.9914),
    Truth(failure: 0.50, column: .three, load: 1.8672, success: 0.9393),
    Truth(failure: 0.01, column: .bucket, load: 1.0105, success: 1.0000),
    Truth(failure: 0.10, column: .bucket, load: 1.0950, success: 0.9883),
    Truth(failure: 0.30, column: .bucket, load: 1.1130, success: 0.7833),
    Truth(failure: 0.50, column: .bucket, load: 1.1143, success: 0.5642),
  ]

  /// The truth is one run of 30 s, ours several: the error of one run counts for theirs.
  @Test("load and success are the published ones", arguments: truths)
  func published(truth: Truth) {
    let runs = isDebug ? 5 : 40
    var random = SeededRandom(seed: 21, stream: "\(truth.failure) \(truth.column)")
    var loads: [Double] = []
    var successes: [Double] = []
    for _ in 0..<runs {
      let (load, success) = run(truth, using: &random)
      loads.append(load)
      successes.append(success)
    }
    for (name, values, expected) in [("load", loads, truth.load), ("success", successes, truth.success)] {
      let n = Double(runs)
      let mean = values.reduce(0, +) / n
      let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (n - 1)
      // One run's error, of theirs and ours; half of the last printed digit on top.
      let error = (variance + variance / n).squareRoot()
      #expect(abs(mean - expected) <= 4 * error + 0.0005, "\(name) \(mean), published \(expected)")
    }
    if truth.column == .bucket {
      // The closed form of the cap: 1 + share + burst · clients ÷ calls; calls vary by √30 000 a run.
      #expect(loads.allSatisfy { $0 <= 1.1167 + 0.0003 })
    }
  }

  private func run(_ truth: Truth, using random: inout SeededRandom) -> (Double, Double) {
    struct Pending {
      var at: Double
      var attempts: Int
    }
    var rule = RetryRule.Settings()
    rule.attempts = truth.column == .three ? 4 : truth.column == .none ? 1 : 1_000_000
    let retry = RetryRule(rule)
    var calls = 0
    var attempts = 0
    var good = 0
    func exponential(_ mean: Double) -> Double { -mean * log(1 - random.unit()) }
    // The server does not mind its load, so clients are apart and can be played one after the other.
    for _ in 0..<100 {
      var budget = RetryBudget(.tokenBucket)
      var next = exponential(0.01)
      // Answers under way, few at a time: 10 a second for 20 ms.
      var pending: [Pending] = []
      while next <= 30 || !pending.isEmpty {
        let earliest = pending.indices.min { pending[$0].at < pending[$1].at }
        if next <= 30, earliest.map({ next <= pending[$0].at }) ?? true {
          calls += 1
          attempts += 1
          budget.deposit(now: Instant(nanoseconds: Int64(next * 1e9)))
          pending.append(Pending(at: next + exponential(0.01) + exponential(0.01), attempts: 1))
          next += exponential(0.1)
          continue
        }
        guard let earliest else { break }
        let answer = pending.remove(at: earliest)
        if !random.chance(truth.failure) {
          good += 1
          continue
        }
        let now = Instant(nanoseconds: Int64(answer.at * 1e9))
        guard retry.judge(status: 503, RetryRule.Facts(attempts: answer.attempts, method: .safe)) == .retry else {
          continue
        }
        if truth.column == .bucket && !budget.withdraw(now: now) { continue }
        attempts += 1
        pending.append(
          Pending(at: answer.at + exponential(0.01) + exponential(0.01), attempts: answer.attempts + 1))
      }
    }
    return (Double(attempts) / Double(calls), Double(good) / Double(calls))
  }
}
