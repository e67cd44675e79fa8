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

extension HeadBuffer {
  /// A UUID of version 7: the time in its first 48 bits, so that ids sort as requests came.
  public mutating func append(uuid7 milliseconds: Int64, _ high: UInt64, _ low: UInt64) {
    let first = UInt64(truncatingIfNeeded: milliseconds) << 16 | 0x7000 | high & 0x0fff
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
