// SPDX-License-Identifier: Apache-2.0

/// A histogram of latencies: exact count, mean and maximum, quantiles within 0.8 %.
///
/// Log-linear buckets (as HdrHistogram: Tene, 2012) of 1 µs up to 256 µs, then 128 a doubling up to 2³⁹ µs (6 days):
/// 256 + 31 × 128 = 4 224 buckets, 34 KB.
package struct LatencyTally: Sendable {
  private static let linear = 256
  private static let perDoubling = 128
  private static let bucketCount = linear + 31 * perDoubling

  private var buckets = [UInt64](repeating: 0, count: LatencyTally.bucketCount)
  package private(set) var count = 0
  package private(set) var sum = 0.0
  package private(set) var maximum: Int64 = 0

  package init() {}

  /// Takes one latency; below 0 counts as 0.
  package mutating func record(_ nanoseconds: Int64) {
    let value = max(0, nanoseconds)
    buckets[LatencyTally.bucket(of: value)] += 1
    count += 1
    sum += Double(value)
    maximum = max(maximum, value)
  }

  package var mean: Double { count == 0 ? 0 : sum / Double(count) }

  /// The latency that a share `q` of all do not exceed: the upper end of its bucket, never above the maximum; 0 of none.
  package func quantile(_ q: Double) -> Int64 {
    let rank = UInt64(max(1, (q * Double(count)).rounded(.up)))
    var seen: UInt64 = 0
    for index in buckets.indices {
      seen += buckets[index]
      if seen >= rank {
        // The last bucket has no upper end but the maximum.
        return index == LatencyTally.bucketCount - 1 ? maximum : min(LatencyTally.upperEnd(of: index), maximum)
      }
    }
    return maximum
  }

  private static func bucket(of nanoseconds: Int64) -> Int {
    let units = UInt64(nanoseconds) / 1000
    if units < UInt64(linear) { return Int(units) }
    let exponent = 63 - units.leadingZeroBitCount
    let within = Int(units >> UInt64(exponent - 7)) & (perDoubling - 1)
    return min(linear + (exponent - 8) * perDoubling + within, bucketCount - 1)
  }

  private static func upperEnd(of bucket: Int) -> Int64 {
    if bucket < linear { return Int64(bucket + 1) * 1000 }
    let exponent = (bucket - linear) / perDoubling + 8
    let within = Int64((bucket - linear) % perDoubling + perDoubling + 1)
    return (within << Int64(exponent - 7)) * 1000
  }
}
