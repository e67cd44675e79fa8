// SPDX-License-Identifier: Apache-2.0
package import WeirBase

/// Lengths and points of time as requests write them: `30s` as in the file, `2026-11-21T09:47:41Z` (RFC 3339).
package enum TimeText {
  /// The longest length that is taken: ten years, as in the file.
  package static let longest: Int64 = 3650 * 86_400_000

  private static let units: [(name: String, nanoseconds: Int64)] = [
    ("ns", 1), ("us", 1000), ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
  ]

  /// Milliseconds, what is less counted as one; nil when the text is no length of time.
  package static func milliseconds(_ text: String) -> Int64? {
    let digits = text.utf8.prefix { isDigit($0) }
    var rest = text.utf8.dropFirst(digits.count)
    var fraction: Substring.UTF8View.SubSequence = rest.prefix(0)
    if rest.first == UInt8(ascii: ".") {
      fraction = rest.dropFirst().prefix { isDigit($0) }
      if fraction.isEmpty { return nil }
      rest = rest.dropFirst(1 + fraction.count)
    }
    guard (1...15).contains(digits.count), fraction.count <= 9, let whole = Int64(Substring(digits)),
      let unit = units.first(where: { rest.elementsEqual($0.name.utf8) })
    else { return nil }
    let (scaled, isOver) = whole.multipliedReportingOverflow(by: unit.nanoseconds)
    if isOver { return nil }
    var nanoseconds = scaled
    var place = unit.nanoseconds
    for digit in fraction {
      // What is finer than a nanosecond is nothing.
      place /= 10
      nanoseconds += Int64(digit - 0x30) * place
    }
    let milliseconds = nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 == 0 ? 0 : 1)
    return nanoseconds >= 0 && milliseconds <= longest ? milliseconds : nil
  }

  /// In the largest unit that needs no fraction.
  package static func of(milliseconds: Int64) -> String {
    if milliseconds == 0 { return "0s" }
    for unit in units.reversed() where unit.nanoseconds >= 1_000_000 {
      let size = unit.nanoseconds / 1_000_000
      if milliseconds % size == 0 { return "\(milliseconds / size)\(unit.name)" }
    }
    return "\(milliseconds)ms"
  }

  /// A point as RFC 3339 §5.6 writes it, with any offset; nil for anything else, and for what is before 1970.
  ///
  /// A leap second is the moment after it.
  package static func point(_ text: String) -> WallTime? {
    guard let milliseconds = sinceEpoch(text), milliseconds >= 0 else { return nil }
    return WallTime(milliseconds: milliseconds)
  }

  /// Milliseconds since 1970, negative before; years are 0000 to 9999.
  static func sinceEpoch(_ text: String) -> Int64? {
    let bytes = Array(text.utf8)
    func number(_ at: Int, _ count: Int) -> Int64? {
      guard at + count <= bytes.count, bytes[at..<at + count].allSatisfy(isDigit) else { return nil }
      return bytes[at..<at + count].reduce(0) { $0 * 10 + Int64($1 - 0x30) }
    }
    func has(_ letter: Unicode.Scalar, _ at: Int) -> Bool { at < bytes.count && bytes[at] == UInt8(ascii: letter) }
    guard let year = number(0, 4), has("-", 4), let month = number(5, 2), has("-", 7), let day = number(8, 2),
      has("T", 10) || has("t", 10), let hour = number(11, 2), has(":", 13), let minute = number(14, 2), has(":", 16),
      let second = number(17, 2), (1...12).contains(month), (1...length(year, month)).contains(day),
      hour < 24, minute < 60, second <= 60
    else { return nil }
    var at = 19
    var milliseconds: Int64 = 0
    if has(".", at) {
      var end = at + 1
      while end < bytes.count, isDigit(bytes[end]) { end += 1 }
      guard (1...12).contains(end - at - 1) else { return nil }
      for i in 0..<3 { milliseconds = milliseconds * 10 + (at + 1 + i < end ? Int64(bytes[at + 1 + i] - 0x30) : 0) }
      at = end
    }
    var offset: Int64 = 0
    if has("Z", at) || has("z", at) {
      at += 1
    } else {
      guard has("+", at) || has("-", at), let hours = number(at + 1, 2), has(":", at + 3),
        let minutes = number(at + 4, 2), hours < 24, minutes < 60
      else { return nil }
      offset = (hours * 60 + minutes) * (has("-", at) ? -1 : 1)
      at += 6
    }
    guard at == bytes.count else { return nil }
    let ofDay = (hour * 60 + minute - offset) * 60 + second
    return (days(year, month, day) * 86_400 + ofDay) * 1000 + milliseconds
  }

  private static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

  private static func length(_ year: Int64, _ month: Int64) -> Int64 {
    switch month {
    case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: 30
    default: 31
    }
  }

  /// Days since 1970-01-01 (Hinnant, *chrono-Compatible Low-Level Date Algorithms*, days_from_civil).
  private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
    let y = month <= 2 ? year - 1 : year
    let era = (y >= 0 ? y : y - 399) / 400
    let ofEra = y - era * 400
    let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468
  }
}
