// SPDX-License-Identifier: Apache-2.0

/// A histogram of lengths of time in a fixed 5 KB: exact count, sum and maximum, quantiles within 1/16.
///
/// Log-linear buckets (as HdrHistogram: Tene, 2012): below 32 µs one bucket a microsecond, above that 16 buckets a
/// doubling, so a bucket is 1/16 = 6.25 % of its lower end wide at most; the last one ends at 2⁴² µs (51 days) and takes
/// whatever is longer.
/// The same type counts in the simulator and in the runtime, so that their quantiles carry the same error.
///
/// ## Invariants
/// 1. `count` is the sum of the buckets; merging adds buckets and loses nothing.
/// 2. A quantile lies in the bucket of the length that it stands for, never above `maximum`.
public struct Tally: Sendable, Equatable {
  /// 32 unit buckets, then 16 for each of 37 doublings: 624 buckets × 8 bytes = 4 992 bytes.
  public static let bucketCount = 32 + 37 * 16

  public private(set) var buckets: [UInt64]
  public private(set) var count: UInt64 = 0
  /// The sum of what was recorded, in nanoseconds.
  public private(set) var sum: Double = 0
  /// The longest that was recorded, in nanoseconds.
  public private(set) var maximum: Int64 = 0

  public init() { buckets = [UInt64](repeating: 0, count: Tally.bucketCount) }

  /// The bucket of a length; lengths below 0 count as 0.
  @inlinable
  public static func bucket(of nanoseconds: Int64) -> Int {
    let units = UInt64(max(0, nanoseconds)) / 1000
    if units < 32 { return Int(units) }
    let exponent = 63 - units.leadingZeroBitCount
    let index = 32 + (exponent - 5) * 16 + Int((units >> UInt64(exponent - 4)) & 15)
    return min(index, bucketCount - 1)
  }

  /// The exclusive upper end of a bucket, in nanoseconds.
  public static func upperBound(of bucket: Int) -> Int64 {
    if bucket < 32 { return Int64(bucket + 1) * 1000 }
    let exponent = (bucket - 32) / 16 + 5
    let within = Int64((bucket - 32) % 16 + 16 + 1)
    return (within << Int64(exponent - 4)) * 1000
  }

  public mutating func record(_ nanoseconds: Int64) {
    buckets[Tally.bucket(of: nanoseconds)] &+= 1
    count &+= 1
    sum += Double(nanoseconds)
    if nanoseconds > maximum { maximum = nanoseconds }
  }

  public mutating func merge(_ other: Tally) {
    for i in 0..<Tally.bucketCount { buckets[i] &+= other.buckets[i] }
    count &+= other.count
    sum += other.sum
    maximum = max(maximum, other.maximum)
  }

  /// Halves every count, rounded down: what is old weighs less, in place and without an allocation.
  ///
  /// `maximum` stays, for it only cuts the last bucket's end.
  public mutating func halve() {
    let before = count
    count = 0
    for i in 0..<Tally.bucketCount {
      buckets[i] >>= 1
      count &+= buckets[i]
    }
    sum = before == 0 ? 0 : sum * Double(count) / Double(before)
  }

  /// The mean in nanoseconds, or 0 of nothing.
  public var mean: Double { count == 0 ? 0 : sum / Double(count) }

  /// The length that a share `q` (0 … 1) of the recorded ones do not exceed, in nanoseconds; nil of nothing.
  public func quantile(_ q: Double) -> Int64? {
    guard count > 0 else { return nil }
    return Int64(Tally.quantile(q, of: buckets, total: Double(count), maximum: maximum).rounded())
  }

  /// The same of any counts by bucket, as of the difference of two tallies: `total` is their sum.
  ///
  /// Lengths are taken to be evenly spread within their bucket, so that a quantile errs to both sides alike: the upper
  /// end, tried first, made every quantile of the running system some 3 % longer than the forecast's.
  public static func quantile(
    _ q: Double, of counts: some Collection<some BinaryInteger>, total: Double, maximum: Int64
  ) -> Double {
    let rank = q * total
    var seen = 0.0
    var lower = 0.0
    for (bucket, count) in counts.enumerated() {
      let end = Double(upperBound(of: bucket))
      if count > 0 {
        let here = Double(count)
        if seen + here >= rank {
          let upper = min(end, max(lower, Double(maximum)))
          return lower + (upper - lower) * max(0, rank - seen) / here
        }
        seen += here
      }
      lower = end
    }
    return Double(maximum)
  }
}
