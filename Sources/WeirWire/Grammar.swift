// SPDX-License-Identifier: Apache-2.0

/// The classes of bytes that HTTP's grammar speaks of, as bit sets: bit `b` of the first word for byte `b` below 64, of
/// the second for 64 … 127.
///
/// Bytes from 128 on are in no class.
enum Grammar {
  @inline(__always)
  static func isIn(_ low: UInt64, _ high: UInt64, _ byte: UInt8) -> Bool {
    let word = byte < 64 ? low : (byte < 128 ? high : 0)
    return (word >> UInt64(byte & 63)) & 1 != 0
  }

  /// `tchar` (RFC 9110 §5.6.2): what names of fields and methods are made of.
  @inline(__always)
  static func isToken(_ byte: UInt8) -> Bool { isIn(0x03ff_6cfa_0000_0000, 0x57ff_ffff_c7ff_fffe, byte) }

  /// Visible ASCII that needs no second look within a path: all but `%`, `?`, `#`, `/` and `\`.
  @inline(__always)
  static func isPlainInPath(_ byte: UInt8) -> Bool { isIn(0x7fff_7fd6_0000_0000, 0x7fff_ffff_efff_ffff, byte) }

  /// Visible ASCII but `#`: what a query is made of.
  ///
  /// Stricter readers exist; looser ones do not differ on it.
  @inline(__always)
  static func isInQuery(_ byte: UInt8) -> Bool { isIn(0xffff_fff6_0000_0000, 0x7fff_ffff_ffff_ffff, byte) }

  /// Letters, digits, `-`, `.` and `_`: what a host name is made of.
  ///
  /// RFC 3986 allows more, the DNS and servers do not.
  @inline(__always)
  static func isInHost(_ byte: UInt8) -> Bool { isIn(0x03ff_6000_0000_0000, 0x07ff_fffe_87ff_fffe, byte) }

  /// What no path may hold percent-encoded: controls, `/` and `\` (two readings), letters, digits, `-`, `.` and `_`
  /// (not the normal form of RFC 3986 §6.2.2.2).
  ///
  /// `%7E` may: older encoders write `~` so.
  @inline(__always)
  static func isRefusedEncoded(_ byte: UInt8) -> Bool { isIn(0x03ff_e000_ffff_ffff, 0x87ff_fffe_97ff_fffe, byte) }

  @inline(__always)
  static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

  /// The value of a hexadecimal digit; 255 for any other byte.
  @inline(__always)
  static func hex(_ byte: UInt8) -> UInt8 {
    if byte &- 0x30 < 10 { return byte &- 0x30 }
    let lower = byte | 0x20
    return lower &- 0x61 < 6 ? lower &- 0x61 &+ 10 : 255
  }

  private static var sevens: UInt64 { 0x7f7f_7f7f_7f7f_7f7f }
  private static var highs: UInt64 { 0x8080_8080_8080_8080 }

  /// The high bit of each byte of `word` that is neither a letter nor `-`: where a field's name may end.
  @inline(__always)
  static func notLetterOrDash(_ word: UInt64) -> UInt64 {
    let lower = (word | 0x2020_2020_2020_2020) & sevens
    // Above 0x60 and not above 0x7a, by a carry into the high bit of each byte; no carry leaves a byte.
    let letters = (lower &+ 0x1f1f_1f1f_1f1f_1f1f) & ~(lower &+ 0x0505_0505_0505_0505)
    let dash = word ^ 0x2d2d_2d2d_2d2d_2d2d
    let dashes = ~((dash & sevens) &+ sevens) & ~dash
    return ~((letters & ~word) | dashes) & highs
  }

  /// The high bit of each byte of `word` that is a control character: below 0x20, or 0x7f.
  ///
  /// The tab is among them.
  @inline(__always)
  static func controls(_ word: UInt64) -> UInt64 {
    let below = ~((word & sevens) &+ 0x6060_6060_6060_6060) & ~word
    let delete = word ^ sevens
    let deletes = ~((delete & sevens) &+ sevens) & ~delete
    return (below | deletes) & highs
  }

  /// The high bit of each byte of `word` that is a line feed.
  @inline(__always)
  static func lineFeeds(_ word: UInt64) -> UInt64 {
    let x = word ^ 0x0a0a_0a0a_0a0a_0a0a
    return ~((x & sevens) &+ sevens) & ~x & highs
  }

  /// Whether the bytes `start ..< end` are `text`, which is in lower case, whatever their case.
  static func matches(_ bytes: Span<UInt8>, _ start: Int, _ end: Int, _ text: StaticString) -> Bool {
    guard end - start == text.utf8CodeUnitCount else { return false }
    for i in 0..<(end - start) {
      var byte = bytes[start + i]
      if byte &- 0x41 < 26 { byte |= 0x20 }
      if byte != Load.byte(text, i) { return false }
    }
    return true
  }

  /// Whether two runs of bytes are equal, whatever their case.
  static func matches(_ bytes: Span<UInt8>, _ a: Range<Int>, _ b: Range<Int>) -> Bool {
    guard a.count == b.count else { return false }
    for offset in 0..<a.count {
      var x = bytes[a.lowerBound + offset]
      var y = bytes[b.lowerBound + offset]
      if x &- 0x41 < 26 { x |= 0x20 }
      if y &- 0x41 < 26 { y |= 0x20 }
      if x != y { return false }
    }
    return true
  }
}
