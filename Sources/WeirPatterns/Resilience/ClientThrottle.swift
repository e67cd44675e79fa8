// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Keeps requests back that the callee would refuse anyway, for refusing costs it work too.
///
/// Source: *Site Reliability Engineering* (2016), ch. 21, *Client-Side Throttling*. Of the last two minutes a caller
/// counts what it wanted to send and what was accepted, and refuses by itself with the probability
///
///     p = max(0, (requests − K · accepts) ÷ (requests + 1))
///
/// so that about K times what is accepted is sent: min(load, K · capacity). K = 2 wastes as much as it serves and sees
/// soon that there is capacity again; 1.1 wastes a tenth and learns slowly.
///
/// ## Invariants
/// 1. A callee that accepts at least one of K sees every request.
/// 2. p never exceeds `refusedMax`: a callee that is well again is noticed.
/// 3. Both sums are the sums of the buckets. (An accept counts when it comes: it may outlive its request in the window.)
public struct ClientThrottle: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// K: how many are sent for one that is accepted.
    ///
    /// 2 is the book's.
    public var multiplier = 2.0
    /// How far back requests count, in twelve buckets; two minutes are the book's.
    public var window = Duration.seconds(120)
    /// Below so many requests in the window nothing is refused: three failures of a quiet caller are no sign.
    ///
    /// 20 as Hystrix' request volume threshold.
    public var requestsMin = 20
    /// The highest p: one request of twenty is always tried.
    ///
    /// The book has no such bound, so a caller with 10 000 refusals in its window would try one of 10 000.
    public var refusedMax = 0.95

    public init() {}
  }

  private struct Bucket: Sendable, Equatable, BitwiseCopyable {
    var requests: UInt32 = 0
    var accepts: UInt32 = 0
  }

  private static let bucketCount: Int64 = 12

  private let multiplier: Double
  private let requestsMin: Int64
  private let refusedMax: Double
  private let width: Int64
  private var buckets = FixedArray<12, Bucket>(repeating: Bucket())
  private var head: Int64 = 0
  private var requests: Int64 = 0
  private var accepts: Int64 = 0

  public init(_ settings: Settings = Settings()) {
    multiplier = max(1, settings.multiplier)
    requestsMin = Int64(max(0, settings.requestsMin))
    refusedMax = max(0, min(settings.refusedMax, 1))
    width = max(1, settings.window.inNanoseconds / ClientThrottle.bucketCount)
  }

  /// A request is wanted: true if it may be sent.
  ///
  /// It counts either way; its callee's word is told by `accepted`.
  public mutating func admit(now: Instant, using random: inout SeededRandom) -> Bool {
    turn(to: now)
    let p = probability
    buckets[Int(head % ClientThrottle.bucketCount)].requests += 1
    requests += 1
    return p <= 0 || !random.chance(p)
  }

  /// The callee took a request on: whatever it answered, it was not "too busy" (429, 503, or no answer at all).
  public mutating func accepted(now: Instant) {
    turn(to: now)
    buckets[Int(head % ClientThrottle.bucketCount)].accepts += 1
    accepts += 1
  }

  /// The probability with which the next request is refused here.
  public func refusal(now: Instant) -> Double {
    var copy = self
    copy.turn(to: now)
    return copy.probability
  }

  private var probability: Double {
    if requests < requestsMin { return 0 }
    let p = (Double(requests) - multiplier * Double(accepts)) / Double(requests + 1)
    return max(0, min(p, refusedMax))
  }

  private mutating func turn(to now: Instant) {
    let bucket = now.nanoseconds / width
    guard bucket > head else { return }
    if bucket - head >= ClientThrottle.bucketCount {
      buckets = FixedArray(repeating: Bucket())
      requests = 0
      accepts = 0
      head = bucket
      return
    }
    while head < bucket {
      head += 1
      let place = Int(head % ClientThrottle.bucketCount)
      requests -= Int64(buckets[place].requests)
      accepts -= Int64(buckets[place].accepts)
      buckets[place] = Bucket()
    }
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    var sum: (requests: Int64, accepts: Int64) = (0, 0)
    for index in buckets.indices {
      sum.requests += Int64(buckets[index].requests)
      sum.accepts += Int64(buckets[index].accepts)
    }
    if sum != (requests, accepts) { return "the buckets hold \(sum), the sums say \(requests) and \(accepts)" }
    if requests < 0 || accepts < 0 { return "\(accepts) of \(requests) accepted" }
    return nil
  }
}
