// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

/// The outcomes of the last so long, or of the last so many calls, counted in constant time.
///
/// By time: ten buckets turned by the clock (Hystrix's rolling window), so it spans nine to ten tenths of its length. By
/// calls: a ring of one byte a call, allocated once. By half-life: three sums that fade.
///
/// ## Invariants
/// 1. `totals` are the sums of what the buckets or the ring hold (the run of failures aside, which does not age).
/// 2. Nothing older than the window is in the totals after an input at `now`.
/// 3. By half-life, a total is the sum over its calls of 2^(−age ÷ halfLife), rounded to the nearest 64th.
struct OutcomeWindow: Sendable, Equatable {
  typealias Totals = CircuitBreaker.Totals
  typealias Outcome = CircuitBreaker.Outcome
  typealias Outcomes = CircuitBreaker.Outcomes

  private struct Bucket: Sendable, Equatable, BitwiseCopyable {
    var calls: UInt32 = 0
    var failures: UInt32 = 0
    var slow: UInt32 = 0
  }

  private static let bucketCount: Int64 = 10
  /// The longest window by calls: 64 KiB of outcomes.
  static let callsLimit = 65_536

  /// The length of a bucket in nanoseconds; 0: the window is no window of time.
  private let width: Int64
  /// In nanoseconds; 0: nothing fades.
  private let halfLife: Int64
  private var calls = EWMA()
  private var failures = EWMA()
  private var slow = EWMA()
  private var buckets = FixedArray<10, Bucket>(repeating: Bucket())
  /// The newest bucket, counted from the clock's beginning; or the place of the next outcome in the ring.
  private var head: Int64 = 0
  /// Raw outcomes; empty for a window by time.
  private var ring: [UInt8] = []
  private var ringCount = 0
  private(set) var totals = Totals()

  init(_ window: CircuitBreaker.Settings.Window) {
    switch window {
    case .time(let length):
      width = max(1, length.inNanoseconds / OutcomeWindow.bucketCount)
      halfLife = 0
    case .ewma(let length):
      width = 0
      halfLife = max(1, length.inNanoseconds)
    case .calls(let count):
      width = 0
      halfLife = 0
      ring = [UInt8](repeating: 0, count: min(max(1, count), OutcomeWindow.callsLimit))
    }
  }

  /// What one call counts in the totals: sums that fade are counted in 64ths, which keeps a share among 20 calls exact to
  /// 0.1 % and has room for 67 million calls.
  static func unit(_ window: CircuitBreaker.Settings.Window) -> UInt32 {
    if case .ewma = window { 64 } else { 1 }
  }

  mutating func record(_ outcome: Outcome, now: Instant) {
    var one = Outcomes()
    one.add(outcome)
    record(one, now: now)
  }

  mutating func record(_ outcomes: Outcomes, now: Instant) {
    let run = totals.adding(outcomes, unit: 1).failuresInARow
    if halfLife > 0 {
      totals.calls = fade(&calls, outcomes.successes &+ outcomes.failures, now: now)
      totals.failures = min(totals.calls, fade(&failures, outcomes.failures, now: now))
      totals.slow = min(totals.calls - totals.failures, fade(&slow, outcomes.slow, now: now))
      totals.failuresInARow = run
      return
    }
    if width > 0 {
      turn(to: now)
      let place = Int(head % OutcomeWindow.bucketCount)
      let calls = outcomes.successes &+ outcomes.failures
      buckets[place].calls &+= calls
      buckets[place].failures &+= outcomes.failures
      buckets[place].slow &+= outcomes.slow
      totals.calls &+= calls
      totals.failures &+= outcomes.failures
      totals.slow &+= outcomes.slow
    } else {
      // In the order that keeps what is known of it: failures before the last success, successes, the run at the end.
      let before = outcomes.failures - min(outcomes.failures, outcomes.failuresInARow)
      push(.failure, before)
      push(.success, outcomes.successes - min(outcomes.successes, outcomes.slow))
      push(.slow, outcomes.slow)
      push(.failure, outcomes.failures - before)
    }
    totals.failuresInARow = run
  }

  /// Adds to a sum what has come, after what was there has faded; the total it makes.
  private func fade(_ sum: inout EWMA, _ count: UInt32, now: Instant) -> UInt32 {
    sum.jump(to: sum.faded(halfLife: halfLife, now: now) + Double(count), now: now)
    return UInt32(clamping: Int64((sum.value * 64).rounded()))
  }

  mutating func clear() {
    calls = EWMA()
    failures = EWMA()
    slow = EWMA()
    buckets = FixedArray(repeating: Bucket())
    totals = Totals()
    ringCount = 0
    if width == 0 { head = 0 }
  }

  private mutating func turn(to now: Instant) {
    let bucket = now.nanoseconds / width
    guard bucket > head else { return }
    if bucket - head >= OutcomeWindow.bucketCount {
      buckets = FixedArray(repeating: Bucket())
      totals.calls = 0
      totals.failures = 0
      totals.slow = 0
      head = bucket
      return
    }
    while head < bucket {
      head += 1
      let place = Int(head % OutcomeWindow.bucketCount)
      totals.calls &-= buckets[place].calls
      totals.failures &-= buckets[place].failures
      totals.slow &-= buckets[place].slow
      buckets[place] = Bucket()
    }
  }

  /// Puts `count` equal outcomes into the ring, over the oldest.
  ///
  /// More than the ring holds change nothing further.
  private mutating func push(_ outcome: Outcome, _ count: UInt32) {
    for _ in 0..<min(Int(count), ring.count) {
      let place = Int(head)
      if ringCount == ring.count { tally(ring[place], by: -1) } else { ringCount += 1 }
      ring[place] = outcome.rawValue
      tally(outcome.rawValue, by: 1)
      head = place + 1 == ring.count ? 0 : Int64(place + 1)
    }
  }

  private mutating func tally(_ raw: UInt8, by step: Int32) {
    let step = UInt32(bitPattern: step)
    totals.calls &+= step
    if raw == Outcome.failure.rawValue { totals.failures &+= step }
    if raw == Outcome.slow.rawValue { totals.slow &+= step }
  }

  func violation() -> String? {
    if halfLife > 0 {
      let wrong = totals.failures > totals.calls || totals.slow > totals.calls - totals.failures
      return wrong ? "more failed or slow calls than calls: \(totals)" : nil
    }
    var sum = Totals()
    sum.failuresInARow = totals.failuresInARow
    if width > 0 {
      for i in buckets.indices {
        sum.calls &+= buckets[i].calls
        sum.failures &+= buckets[i].failures
        sum.slow &+= buckets[i].slow
      }
    } else {
      for i in 0..<ringCount {
        // Until the ring has gone round once it is filled from place 0; then every place is filled.
        sum.calls += 1
        if ring[i] == Outcome.failure.rawValue { sum.failures += 1 }
        if ring[i] == Outcome.slow.rawValue { sum.slow += 1 }
      }
    }
    if sum != totals { return "the window holds \(sum), the totals say \(totals)" }
    if totals.failures > totals.calls || totals.slow > totals.calls - totals.failures {
      return "more failed or slow calls than calls: \(totals)"
    }
    return nil
  }
}
