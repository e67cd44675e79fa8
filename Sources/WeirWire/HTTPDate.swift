// SPDX-License-Identifier: Apache-2.0

/// HTTP's dates (RFC 9110 §5.6.7), on seconds since 1970-01-01 UTC.
public enum HTTPDate {
  /// Appends the IMF-fixdate, 29 bytes: `Sun, 06 Nov 1994 08:49:37 GMT`.
  public static func append(_ seconds: Int64, to out: inout HeadBuffer) {
    let days = seconds >= 0 ? seconds / 86_400 : (seconds - 86_399) / 86_400
    let ofDay = seconds - days * 86_400
    // Civil date of a day count, by Howard Hinnant's days_from_civil, inverted: eras of 146 097 days from 0000-03-01.
    let z = days + 719_468
    let era = (z >= 0 ? z : z - 146_096) / 146_097
    let ofEra = z - era * 146_097
    let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
    let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * ofYear + 2) / 153
    let day = ofYear - (153 * shifted + 2) / 5 + 1
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    // 1970-01-01 was a Thursday.
    out.append(weekday(Int(((days % 7) + 7 + 4) % 7)))
    out.append(", ")
    out.append(twoDigits: Int(day))
    out.append(" ")
    out.append(monthName(Int(month)))
    out.append(" ")
    out.append(twoDigits: Int(year / 100))
    out.append(twoDigits: Int(year % 100))
    out.append(" ")
    out.append(twoDigits: Int(ofDay / 3600))
    out.append(":")
    out.append(twoDigits: Int(ofDay / 60 % 60))
    out.append(":")
    out.append(twoDigits: Int(ofDay % 60))
    out.append(" GMT")
  }

  /// Reads an IMF-fixdate; nil for anything else, the two obsolete forms included: no server of this century sends them.
  public static func parse(_ bytes: Span<UInt8>, _ run: Run) -> Int64? {
    let s = Int(run.start)
    guard run.count == 29, Int(run.end) <= bytes.count, bytes[s + 3] == 0x2c,
      Grammar.matches(bytes, s + 25, s + 29, " gmt"),
      let day = Decimal.parse(bytes, s + 5, s + 7), let year = Decimal.parse(bytes, s + 12, s + 16),
      let hour = Decimal.parse(bytes, s + 17, s + 19), let minute = Decimal.parse(bytes, s + 20, s + 22),
      let second = Decimal.parse(bytes, s + 23, s + 25), day >= 1, day <= 31, hour < 24, minute < 60, second <= 60
    else { return nil }
    var month: Int64 = 0
    for candidate in 1...12 where Grammar.matches(bytes, s + 8, s + 11, lowerMonth(candidate)) {
      month = Int64(candidate)
    }
    guard month > 0 else { return nil }
    let y = month <= 2 ? year - 1 : year
    let era = y / 400
    let ofEra = y - era * 400
    let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let days = era * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468
    return days * 86_400 + hour * 3600 + minute * 60 + second
  }

  private static func weekday(_ index: Int) -> StaticString {
    switch index {
    case 0: "Sun"
    case 1: "Mon"
    case 2: "Tue"
    case 3: "Wed"
    case 4: "Thu"
    case 5: "Fri"
    default: "Sat"
    }
  }

  private static func monthName(_ month: Int) -> StaticString {
    switch month {
    case 1: "Jan"
    case 2: "Feb"
    case 3: "Mar"
    case 4: "Apr"
    case 5: "May"
    case 6: "Jun"
    case 7: "Jul"
    case 8: "Aug"
    case 9: "Sep"
    case 10: "Oct"
    case 11: "Nov"
    default: "Dec"
    }
  }

  private static func lowerMonth(_ month: Int) -> StaticString {
    switch month {
    case 1: "jan"
    case 2: "feb"
    case 3: "mar"
    case 4: "apr"
    case 5: "may"
    case 6: "jun"
    case 7: "jul"
    case 8: "aug"
    case 9: "sep"
    case 10: "oct"
    case 11: "nov"
    default: "dec"
    }
  }
}
