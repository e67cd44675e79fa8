// SPDX-License-Identifier: Apache-2.0

/// Ids of requests: UUIDs of version 7 (RFC 9562 §5.7), and what of others' is taken over.
public enum RequestID {
  /// Letters of the longest id that is taken over.
  public static let lettersMax = 128

  /// Whether an id of another hop can be passed on and logged: letters, digits and the marks of tokens and addresses.
  public static func isFine(_ bytes: Span<UInt8>, _ run: Run) -> Bool {
    if run.isEmpty || run.count > lettersMax { return false }
    for i in run.range where !Grammar.isToken(bytes[i]) {
      switch bytes[i] {
      case 0x2f, 0x3a, 0x3d, 0x40: continue
      default: return false
      }
    }
    return true
  }
}

/// The first half of one id after the other: the time, and a counter within a millisecond (RFC 9562 §6.2, method 1).
///
/// Each is larger than the one before, also when the clock is set back.
public struct RequestIDSequence: Sendable {
  private var last: UInt64 = 0

  public init() {}

  /// `random`: the counter's start in a new millisecond; the upper half of it stays free for those that follow.
  public mutating func next(milliseconds: Int64, random: UInt64) -> UInt64 {
    let fresh = UInt64(truncatingIfNeeded: milliseconds) << 12 | random & 0x07ff
    // After 2 048 and more in a millisecond the counter carries into the next one.
    last = fresh >> 12 > last >> 12 ? fresh : last &+ 1
    return (last >> 12) << 16 | 0x7000 | last & 0x0fff
  }
}

extension HeadBuffer {
  /// A UUID of version 7: the time in its first 48 bits, so that ids sort as requests came.
  ///
  /// `first`: of a ``RequestIDSequence``.
  public mutating func append(uuid7 first: UInt64, _ low: UInt64) {
    let second = 0x8000_0000_0000_0000 | low & 0x3fff_ffff_ffff_ffff
    let start = count
    append(hex16: first)
    append(hex16: second)
    // 8-4-4-4-12: from the end, so that nothing is overwritten.
    append("----")
    var from = start + 31
    var to = start + 35
    for group in 0..<4 {
      for _ in 0..<(group == 0 ? 12 : 4) {
        set(to, at(from))
        from -= 1
        to -= 1
      }
      set(to, 0x2d)
      to -= 1
    }
  }
}
