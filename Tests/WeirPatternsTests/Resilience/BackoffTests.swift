// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

private let ms: Int64 = 1_000_000

struct BackoffTests {
  /// The seeds: 100 + 0…50, 200 + 0…100, 400 + 0…200 ms; then doubling up to the cap.
  @Test(
    "the default waits are the seeds'",
    arguments: [
      (1, 100, 150), (2, 200, 300), (3, 400, 600), (4, 800, 1200), (7, 6400, 9600), (8, 10_000, 15_000),
      (29, 10_000, 15_000),
    ]
      as [(Int, Int64, Int64)])
  func seed(attempt: Int, low: Int64, high: Int64) {
    var random = SeededRandom(seed: 1)
    let backoff = Backoff()
    var least = Int64.max
    var most: Int64 = 0
    for _ in 0..<5000 {
      let wait = backoff.wait(after: attempt, using: &random)
      least = min(least, wait)
      most = max(most, wait)
    }
    // Both ends are reached within 1 %.
    #expect(least >= low * ms && least <= low * ms * 101 / 100)
    #expect(most <= high * ms && most >= high * ms * 99 / 100)
  }

  /// Where each kind's waits lie and what their mean is, for v = 800 ms.
  @Test(
    "each kind of jitter has its range and its mean",
    arguments: [
      (.seed, 800, 1200, 1000), (.full, 0, 800, 400), (.equal, 400, 800, 600), (.around, 400, 1200, 800),
      (.none, 800, 800, 800),
    ] as [(Backoff.Settings.Kind, Int64, Int64, Double)])
  func kinds(kind: Backoff.Settings.Kind, low: Int64, high: Int64, mean: Double) {
    var settings = Backoff.Settings()
    settings.kind = kind
    let backoff = Backoff(settings)
    var random = SeededRandom(seed: 2)
    var sum = 0.0
    let n = 20_000
    for _ in 0..<n {
      let wait = backoff.wait(after: 4, using: &random)
      if wait < low * ms || wait > high * ms { Issue.record("\(kind): \(wait)") }
      sum += Double(wait) / Double(ms)
    }
    // A uniform's standard deviation is its width ÷ √12.
    let error = Double(high - low) / Double(12 * n).squareRoot()
    #expect(abs(sum / Double(n) - mean) <= 4 * error)
  }

  @Test("decorrelated waits lie between the first and thrice the one before")
  func decorrelated() {
    var settings = Backoff.Settings()
    settings.kind = .decorrelated
    settings.max = .seconds(2)
    let backoff = Backoff(settings)
    var random = SeededRandom(seed: 3)
    var previous: Int64 = 0
    for attempt in 1...10_000 {
      let wait = backoff.wait(after: attempt, previous: previous, using: &random)
      let upper = min(2000 * ms, 3 * max(previous, 100 * ms))
      if wait < 100 * ms || wait > upper { Issue.record("\(wait) after \(previous)") }
      previous = attempt % 50 == 0 ? 0 : wait
    }
  }

  @Test("no attempt number and no setting leads out of bounds", arguments: Backoff.Settings.Kind.allKinds)
  func extremes(kind: Backoff.Settings.Kind) {
    var random = SeededRandom(seed: 4)
    for (first, most, factor, jitter) in [
      (Duration.zero, Duration.zero, 2.0, 1.0), (.seconds(100), .seconds(1), 2, 0.5),
      (.nanoseconds(1), .seconds(1 << 40), 1, 9),
      (.seconds(1), .seconds(Int64.max), 1e300, 1), (.seconds(-5), .seconds(-1), -3, -1),
    ] {
      var settings = Backoff.Settings()
      settings.kind = kind
      settings.first = first
      settings.max = most
      settings.factor = factor
      settings.jitter = jitter
      let backoff = Backoff(settings)
      #expect(backoff.violation() == nil)
      for attempt in [Int.min, -1, 0, 1, 2, 64, 65, 1000, .max] {
        for previous in [0, 1, Int64.max] {
          #expect(backoff.wait(after: attempt, previous: previous, using: &random) >= 0)
        }
      }
    }
  }

  /// GT-DEF: the SDKs' U(0, 1)·min(2^i s, 20 s); resilience4j's 500 ms · 1.5^(n−1), ± half.
  @Test("the presets are their incumbents'")
  func presets() {
    var random = SeededRandom(seed: 5)
    let aws = Backoff(.awsStandard)
    for (attempt, cap) in [(1, 1.0), (2, 2), (4, 8), (5, 16), (6, 20), (9, 20)] {
      var most: Int64 = 0
      for _ in 0..<3000 { most = max(most, aws.wait(after: attempt, using: &random)) }
      #expect(Double(most) <= cap * 1e9 && Double(most) > cap * 0.99e9)
    }
    let r4j = Backoff(.resilience4j)
    for (attempt, centre) in [(1, 0.5), (2, 0.75), (3, 1.125)] {
      for _ in 0..<1000 {
        let wait = Double(r4j.wait(after: attempt, using: &random)) / 1e9
        if wait < centre / 2 - 1e-8 || wait > centre * 1.5 + 1e-8 { Issue.record("\(attempt): \(wait)") }
      }
    }
    // gRPC A6: min(1 s · 1.6^(n−1), 120 s) · U(0.8, 1.2).
    let grpc = Backoff(.grpc)
    for (attempt, centre) in [(1, 1.0), (2, 1.6), (3, 2.56), (30, 120)] {
      for _ in 0..<1000 {
        let wait = Double(grpc.wait(after: attempt, using: &random)) / 1e9
        if wait < centre * 0.8 - 1e-8 || wait > centre * 1.2 + 1e-8 { Issue.record("\(attempt): \(wait)") }
      }
    }
  }
}

extension Backoff.Settings.Kind {
  fileprivate static let allKinds: [Self] = [.seed, .full, .equal, .decorrelated, .around, .none]
}
