// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// How long to wait before trying again: longer each time, and never in step with others.
///
/// Source: Brooker, *Exponential Backoff and Jitter* (AWS Architecture Blog, 2015) for full, equal and decorrelated
/// jitter; gRFC A6 for `around`. The default, `seed`, never waits less than the plain exponential and adds a share on top.
///
///     attempt failed:  1        2        3         4          5   …
///     v = first·2^(n−1) 100 ms  200 ms   400 ms    800 ms     1.6 s, capped at max
///     seed             v + U(0, v·jitter)                     (100 + 0…50, 200 + 0…100, 400 + 0…200 ms)
///     full             U(0, v)
///     equal            v/2 + U(0, v/2)
///     decorrelated     min(max, U(first, 3·previous))
///     around           v · U(1 − jitter, 1 + jitter)
///     none             v
/// ## Invariants
/// 1. A wait is at least 0 and at most `max`·(1 + jitter), whatever the attempt number.
/// 2. Without jitter (`none`, or `jitter` 0) waits never shrink as attempts grow.
public struct Backoff: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    public enum Kind: UInt8, Sendable, Equatable, BitwiseCopyable { case seed, full, equal, decorrelated, around, none }

    public var kind = Kind.seed
    /// The wait after the first failed attempt, before jitter.
    public var first = Duration.milliseconds(100)
    /// Each further wait is this many times the one before it.
    public var factor = 2.0
    /// No wait is longer than this, before jitter is added.
    ///
    /// Ten seconds is twice the default request timeout: for calls the deadline decides long before; the cap is for
    /// work that has none.
    public var max = Duration.seconds(10)
    /// The share of the wait that chance adds (`seed`), or moves it by (`around`).
    public var jitter = 0.5

    public init() {}

    /// What resilience4j does when told `IntervalFunction.ofExponentialRandomBackoff()`: 500 ms, × 1.5, ± half.
    public static var resilience4j: Settings {
      var settings = Settings()
      settings.kind = .around
      settings.first = .milliseconds(500)
      settings.factor = 1.5
      settings.max = .seconds(3600)
      return settings
    }

    /// gRPC's connection back-off (gRFC A6 and its core): 1 s, × 1.6 up to 120 s, ± 20 %.
    public static var grpc: Settings {
      var settings = Settings()
      settings.kind = .around
      settings.first = .seconds(1)
      settings.factor = 1.6
      settings.max = .seconds(120)
      settings.jitter = 0.2
      return settings
    }

    /// The AWS SDKs' standard mode: U(0, 1)·min(2^i s, 20 s), i from 0.
    public static var awsStandard: Settings {
      var settings = Settings()
      settings.kind = .full
      settings.first = .seconds(1)
      settings.max = .seconds(20)
      return settings
    }
  }

  private let kind: Settings.Kind
  private let first: Int64
  private let max: Int64
  private let factor: Double
  private let jitter: Double

  public init(_ settings: Settings = Settings()) {
    kind = settings.kind
    first = Swift.max(0, settings.first.inNanoseconds)
    max = Swift.max(first, settings.max.inNanoseconds)
    factor = Swift.max(1, settings.factor)
    jitter = Swift.min(Swift.max(0, settings.jitter), 1)
  }

  /// The wait in nanoseconds before the next attempt.
  ///
  /// `attempt` is the number of attempts made, 1 after the first. `previous` is the wait before the last attempt in
  /// nanoseconds, 0 before the first; only `decorrelated` looks at it.
  public func wait(after attempt: Int, previous: Int64 = 0, using random: inout SeededRandom) -> Int64 {
    switch kind {
    case .seed:
      let v = exponential(attempt)
      return v.saturatingAdd(random.nanoseconds(upTo: share(jitter, of: v)))
    case .full:
      return random.nanoseconds(upTo: exponential(attempt))
    case .equal:
      let half = exponential(attempt) / 2
      return half + random.nanoseconds(upTo: half)
    case .decorrelated:
      let last = Swift.max(previous, first)
      let (tripled, overflow) = last.multipliedReportingOverflow(by: 3)
      let upper = overflow ? Int64.max : tripled
      return Swift.min(max, first + random.nanoseconds(upTo: upper - first))
    case .around:
      let v = exponential(attempt)
      let swing = share(jitter, of: v)
      return (v - swing).saturatingAdd(random.nanoseconds(upTo: swing.saturatingAdd(swing)))
    case .none:
      return exponential(attempt)
    }
  }

  /// first·factor^(attempt − 1), at most `max`.
  private func exponential(_ attempt: Int) -> Int64 {
    var v = Double(first)
    let limit = Double(max)
    // 64 doublings exceed any Int64, so the loop is bounded even when the factor is close to 1.
    var n = Swift.min(attempt, 65)
    while n > 1 && v < limit {
      v *= factor
      n -= 1
    }
    return v >= limit ? max : Int64(v)
  }

  private func share(_ share: Double, of v: Int64) -> Int64 {
    let product = Double(v) * share
    return product >= 9.2e18 ? v : Int64(product)
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    if first < 0 || max < first { return "the first wait \(first) is not within 0 … \(max)" }
    if factor < 1 { return "waits shrink: factor \(factor)" }
    if jitter < 0 || jitter > 1 { return "jitter \(jitter) is not a share" }
    return nil
  }
}

extension Int64 {
  /// The sum, at most `Int64.max`; both terms are at least 0.
  func saturatingAdd(_ other: Int64) -> Int64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
