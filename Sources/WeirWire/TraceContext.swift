// SPDX-License-Identifier: Apache-2.0

/// A trace and a place in it (W3C Trace Context, level 1).
public struct TraceContext: Sendable, Equatable, BitwiseCopyable {
  /// The trace's id, never 0.
  public var traceHigh: UInt64
  public var traceLow: UInt64
  /// The id of the sender's span, never 0.
  public var span: UInt64
  /// Bit 0: sampled.
  public var flags: UInt8

  public var isSampled: Bool { flags & 1 != 0 }

  public init(traceHigh: UInt64, traceLow: UInt64, span: UInt64, flags: UInt8) {
    self.traceHigh = traceHigh
    self.traceLow = traceLow | (traceHigh == 0 && traceLow == 0 ? 1 : 0)
    self.span = span == 0 ? 1 : span
    self.flags = flags
  }

  /// Reads `version "-" trace-id "-" parent-id "-" flags` in lower-case hexadecimal; nil if it is not one.
  ///
  /// A version above 00 may be longer, after another `-` (§3.2.4); version ff is none. Only the sampled flag is kept, as
  /// level 1 defines no other.
  public static func parse(_ bytes: Span<UInt8>, _ run: Run) -> TraceContext? {
    let start = Int(run.start)
    guard run.count >= 55, Int(run.end) <= bytes.count else { return nil }
    guard let version = hex(bytes, start, 2), version != 0xff else { return nil }
    if run.count > 55 && (version == 0 || bytes[start + 55] != 0x2d) { return nil }
    guard bytes[start + 2] == 0x2d, bytes[start + 35] == 0x2d, bytes[start + 52] == 0x2d,
      let high = hex(bytes, start + 3, 16), let low = hex(bytes, start + 19, 16), high | low != 0,
      let span = hex(bytes, start + 36, 16), span != 0, let flags = hex(bytes, start + 53, 2)
    else { return nil }
    return TraceContext(traceHigh: high, traceLow: low, span: span, flags: UInt8(flags & 1))
  }

  private static func hex(_ bytes: Span<UInt8>, _ start: Int, _ count: Int) -> UInt64? {
    var value: UInt64 = 0
    for i in start..<(start + count) {
      let byte = bytes[i]
      let digit: UInt8
      if byte &- 0x30 < 10 {
        digit = byte &- 0x30
      } else if byte &- 0x61 < 6 {
        digit = byte &- 0x61 &+ 10
      } else {
        return nil
      }
      value = value << 4 | UInt64(digit)
    }
    return value
  }
}
