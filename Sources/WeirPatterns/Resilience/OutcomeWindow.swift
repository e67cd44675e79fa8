// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

/// The outcomes of the last so long, or of the last so many calls, counted in constant time.
///
/// By time: ten buckets turned by the clock (Hystrix's rolling window), so it spans nine to ten tenths of its length. By
/// calls: a ring of one byte a call, allocated once.
///
/// ## Invariants
/// 1. `totals` are the sums of what the buckets or the ring hold (the run of failures aside, which does not age).
/// 2. Nothing older than the window is in the totals after an input at `now`.
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

  /// The length of a bucket in nanoseconds; 0: the window is one of calls.
  private let width: Int64
  private var buckets = FixedArray<10, Bucket>(repeating: Bucket())
  /// The newest bucket, counted from the clock's beginning; or the place of the next outcome in the ring.
  private var head: Int64 = 0
  /// Raw outcomes; empty for a window by time.
  private var ring: [UInt8] = []
  private var ringCount = 0
  private(set) var totals = Totals()

  init(_ window: CircuitBreaker.Settings.Window) {
    switch window {
    case .time(let length): width = max(1, length.inNanoseconds / OutcomeWindow.bucketCount)
    case .calls(let count):
      width = 0
      ring = [UInt8](repeating: 0, count: min(max(1, count), OutcomeWindow.callsLimit))
    }
  }

  mutating func record(_ outcome: Outcome, now: Instant) {
    var one = Outcomes()
    one.add(outcome)
    record(one, now: now)
  }

  mutating func record(_ outcomes: Outcomes, now: Instant) {
    let run = totals.adding(outcomes).failuresInARow
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

  mutating func clear() {
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
