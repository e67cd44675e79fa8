// SPDX-License-Identifier: Apache-2.0

/// Jump consistent hash: a bucket for a key by arithmetic alone, without a table.
///
/// Source: Lamping and Veach, *A Fast, Minimal Memory, Consistent Hash Algorithm*, 2014, figure 1. From n to n + 1
/// buckets a key moves with probability 1 ÷ (n + 1), and only to the new one; the shares are even but for chance. It
/// takes ln(n) + 0.6 rounds on average: 5 for 100 buckets, 8 for 1 000.
///
/// What could surprise: buckets are numbers. Only the last one can go without moving others' keys, so one that is out of
/// rotation keeps its number, see ``Balancer``.
public enum JumpHash {
  /// The bucket of a key among `count`, at least 1.
  public static func bucket(_ key: UInt64, among count: Int) -> Int {
    var key = key
    var bucket: Int64 = -1
    var next: Int64 = 0
    while next < Int64(count) {
      bucket = next
      key = key &* 2_862_933_555_777_941_757 &+ 1
      next = Int64(Double(bucket &+ 1) * (0x1p31 / Double((key >> 33) &+ 1)))
    }
    return Int(bucket)
  }
}
