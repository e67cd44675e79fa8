// SPDX-License-Identifier: Apache-2.0

extension WallTime {
  /// RFC 3339 in UTC with milliseconds: `2026-11-21T09:47:41.000Z`.
  public var rfc3339: String {
    let days = Int((Double(milliseconds) / 86_400_000).rounded(.down))
    let within = Int(milliseconds) - days * 86_400_000
    let (year, month, day) = WallTime.civil(days)
    return WallTime.pad(year, 4) + "-" + WallTime.pad(month, 2) + "-" + WallTime.pad(day, 2) + "T"
      + WallTime.pad(within / 3_600_000, 2) + ":"
      + WallTime.pad(within / 60_000 % 60, 2) + ":" + WallTime.pad(within / 1000 % 60, 2) + "."
      + WallTime.pad(within % 1000, 3) + "Z"
  }

  /// For names of files, which then lie in their order: `20261121T094741Z`.
  public var stamp: String { String(rfc3339.filter { $0 != "-" && $0 != ":" }.prefix(15)) + "Z" }

  /// What ``stamp`` has written, to the second; nil for anything else.
  public init?(stamp: some StringProtocol) {
    let bytes = Array(stamp.utf8)
    guard bytes.count == 16 else { return nil }
    func number(_ places: Range<Int>) -> Int { places.reduce(0) { $0 * 10 + Int(bytes[$1]) - 48 } }
    let days = WallTime.days(year: number(0..<4), month: number(4..<6), day: number(6..<8))
    let seconds = number(9..<11) * 3600 + number(11..<13) * 60 + number(13..<15)
    self.init(milliseconds: Int64(days * 86_400 + seconds) * 1000)
    // Letters, or a 31st of February, would be written otherwise.
    if self.stamp != stamp { return nil }
  }

  /// Days from 1970-01-01 to a civil date from the year 0 on (Hinnant, `days_from_civil`).
  private static func days(year: Int, month: Int, day: Int) -> Int {
    let shifted = month > 2 ? year : year - 1
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }

  /// The civil date of a number of days since 1970-01-01 (Hinnant, *chrono-Compatible Low-Level Date Algorithms*).
  static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
    let z = days + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let m = (5 * dayOfYear + 2) / 153
    let month = m < 10 ? m + 3 : m - 9
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * m + 2) / 5 + 1)
  }

  private static func pad(_ value: Int, _ width: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
  }
}
