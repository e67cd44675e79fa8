// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Caps retries as a share of the traffic, so that they help in small trouble and cannot make large trouble worse.
///
/// Source: *Site Reliability Engineering* (2016), ch. 21, "per-client retry budget" (10 %); Finagle's `RetryBudget` (20 %
/// over 10 s); Envoy's `retry_budget` (20 % of what is in flight, at least 3); the AWS SDKs' token bucket. Hedges take from it too.
///
///     over a window:       allowed = max(floor, share · first tries of the last 10 s) − taken in the last 10 s
///     over concurrency:    allowed = max(floor, share · attempts in flight) − retries in flight
///     over tokens:         a first try adds `share` of a token up to `burst`, a retry takes one
///
/// With n first tries in every window the load is at most n·(1 + share) (or n + floor, if that is more).
/// ## Invariants
/// 1. Only first tries deposit: a retry never pays for another retry.
/// 2. A retry is counted when it is decided, not when it is sent: a burst of decisions cannot overdraw.
/// 3. At any withdrawal, what was taken within the window is at most max(floor, share · deposits within it).
/// 4. The sums are the sums of the buckets.
public struct RetryBudget: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    public enum Over: UInt8, Sendable, Equatable, BitwiseCopyable { case window, concurrency, tokens }

    /// What the share is of: first tries of the last `window`, attempts in flight, or all first tries so far (a bucket).
    public var over = Over.window
    /// Retries allowed, as a share.
    public var share = 0.2
    /// Always allowed in a window (or at once), so that a quiet caller can retry at all.
    public var floor = 3
    /// How far back first tries and retries count, in ten buckets.
    public var window = Duration.seconds(10)
    /// Over tokens: what the bucket holds, and what it starts with.
    ///
    /// Five, as in Brooker's *Fixing retries with token buckets and circuit breakers* (2022).
    public var burst = 5.0

    public init() {}

    /// A bucket of 5 tokens that each first try fills by a tenth.
    public static var tokenBucket: Settings {
      var settings = Settings()
      settings.over = .tokens
      settings.share = 0.1
      return settings
    }

    /// Envoy's retry budget: 20 % of what is in flight, at least 3.
    public static var envoy: Settings {
      var settings = Settings()
      settings.over = .concurrency
      return settings
    }
  }

  /// What ended, for the budget over concurrency.
  public enum Attempt: UInt8, Sendable, Equatable, BitwiseCopyable { case first, retry }

  private struct Bucket: Sendable, Equatable, BitwiseCopyable {
    var deposits: UInt32 = 0
    var taken: UInt32 = 0
  }

  private static let bucketCount = 10

  private let over: Settings.Over
  private let share: Double
  private let floor: Int64
  private let width: Int64
  private let burst: Double
  private var buckets = FixedArray<10, Bucket>(repeating: Bucket())
  /// The bucket that `now` was last seen in, counted from the clock's beginning.
  private var head: Int64 = 0
  /// First tries and retries: within the window, or in flight.
  private var deposits: Int64 = 0
  private var taken: Int64 = 0
  private var tokens: Double

  public init(_ settings: Settings = Settings()) {
    over = settings.over
    share = max(0, settings.share)
    floor = Int64(max(0, settings.floor))
    burst = max(0, settings.burst)
    tokens = burst
    width = max(1, settings.window.inNanoseconds / Int64(RetryBudget.bucketCount))
  }

  /// A first try is made (or `count` of them, as a loop posts them).
  public mutating func deposit(_ count: Int = 1, now: Instant) {
    switch over {
    case .window:
      turn(to: now)
      let place = Int(head % Int64(RetryBudget.bucketCount))
      buckets[place].deposits &+= UInt32(count)
    case .tokens:
      tokens = min(burst, tokens + share * Double(count))
      return
    case .concurrency: break
    }
    deposits += Int64(count)
  }

  /// A retry or a hedge is wanted: true if it may be made, and then it is counted.
  public mutating func withdraw(now: Instant) -> Bool {
    if over == .tokens {
      // The slack keeps ten tenths a whole token: their sum in binary is a little less.
      guard tokens >= 1 - 1e-9 else { return false }
      tokens = max(0, tokens - 1)
      return true
    }
    if over == .window { turn(to: now) }
    guard Double(taken + 1) <= allowance + 1e-9 else { return false }
    taken += 1
    if over == .window {
      let place = Int(head % Int64(RetryBudget.bucketCount))
      buckets[place].taken &+= 1
    }
    return true
  }

  /// An attempt ended (or `count` of them); only the budget over concurrency listens.
  public mutating func ended(_ attempt: Attempt, _ count: Int = 1) {
    guard over == .concurrency else { return }
    switch attempt {
    case .first: deposits = max(0, deposits - Int64(count))
    case .retry: taken = max(0, taken - Int64(count))
    }
  }

  /// How many retries could be made now.
  public func balance(now: Instant) -> Int {
    if over == .tokens { return Int((tokens + 1e-9).rounded(.down)) }
    var copy = self
    if over == .window { copy.turn(to: now) }
    return Int(max(0, (copy.allowance + 1e-9).rounded(.down) - Double(copy.taken)))
  }

  /// What may be taken by now, taken ones included.
  private var allowance: Double {
    let base = over == .window ? deposits : deposits + taken
    return max(Double(floor), share * Double(base))
  }

  private mutating func turn(to now: Instant) {
    let bucket = now.nanoseconds / width
    guard bucket > head else { return }
    if bucket - head >= Int64(RetryBudget.bucketCount) {
      buckets = FixedArray(repeating: Bucket())
      deposits = 0
      taken = 0
      head = bucket
      return
    }
    while head < bucket {
      head += 1
      let place = Int(head % Int64(RetryBudget.bucketCount))
      deposits -= Int64(buckets[place].deposits)
      taken -= Int64(buckets[place].taken)
      buckets[place] = Bucket()
    }
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    if deposits < 0 || taken < 0 { return "below nothing: \(deposits) deposits, \(taken) taken" }
    if tokens < 0 || tokens > burst { return "\(tokens) tokens in a bucket of \(burst)" }
    guard over == .window else { return nil }
    var sum = Bucket()
    for i in buckets.indices {
      sum.deposits += buckets[i].deposits
      sum.taken += buckets[i].taken
    }
    if Int64(sum.deposits) != deposits || Int64(sum.taken) != taken {
      return "the buckets hold \(sum.deposits) and \(sum.taken), the sums say \(deposits) and \(taken)"
    }
    return nil
  }
}
