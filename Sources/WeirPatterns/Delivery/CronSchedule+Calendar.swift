// SPDX-License-Identifier: Apache-2.0
public import WeirBase

// The five fields on the calendar, and the calendar on a line of time whose clocks change.
extension CronSchedule {
  /// The offset of local time from UTC, and when it changes.
  ///
  /// Times of day that a change leaves out, or gives twice, are dealt with as Vixie cron does. A schedule whose minute or
  /// hour begins with `*` follows the clock: it runs whenever the clock shows one of its times. Any other means a time of
  /// day, and has it once: right after the change when it was left out, the first time when it comes twice.
  public struct Zone: Sendable, Hashable {
    public struct Change: Sendable, Hashable, BitwiseCopyable {
      public var at: WallTime
      /// Seconds east of UTC from then on.
      public var offset: Int32

      public init(at: WallTime, offset: Int32) {
        self.at = at
        self.offset = offset
      }
    }

    /// Seconds east of UTC before the first change.
    public let offset: Int32
    /// By time.
    public let changes: [Change]

    /// A zone of this offset, until the changes (which may come in any order) say otherwise.
    public init(offset: Int32 = 0, changes: [Change] = []) {
      self.offset = offset
      self.changes = changes.sorted { $0.at < $1.at }
    }

    public static var utc: Zone { Zone() }

    /// Milliseconds east of UTC after so many changes.
    func offset(after count: Int) -> Int64 {
      Int64(count == 0 ? offset : changes[count - 1].offset) * 1000
    }

    /// How many changes have happened by then.
    func count(by time: WallTime) -> Int {
      var low = 0
      var high = changes.count
      while low < high {
        let middle = (low + high) / 2
        if changes[middle].at <= time { low = middle + 1 } else { high = middle }
      }
      return low
    }
  }

  /// What each field allows, as bits.
  struct Fields: Sendable, Hashable, BitwiseCopyable {
    var minutes: UInt64 = 0
    var hours: UInt64 = 0
    var days: UInt64 = 0
    var months: UInt64 = 0
    var weekdays: UInt64 = 0
    /// The day of the month, of the week, is not a bare star.
    var namesDays = false
    var namesWeekdays = false
    /// The minute or the hour begins with a star: it follows the clock through its changes.
    var followsClock = false
  }

  static func next(_ fields: Fields, after time: WallTime, in zone: Zone) -> WallTime? {
    var changes = zone.count(by: time)
    while true {
      let offset = zone.offset(after: changes)
      var from = (time.milliseconds.saturating(plus: offset)).floored(by: 60_000) + 1
      if changes > 0 {
        // Clocks that went back: what was shown before the change is over for who means a time of day.
        let before = zone.offset(after: changes - 1)
        let shown = fields.followsClock ? offset : max(before, offset)
        from = max(from, zone.changes[changes - 1].at.milliseconds.saturating(plus: shown).ceiled(by: 60_000))
      }
      let run = fields.first(from: from).map { $0 * 60_000 - offset }
      guard changes < zone.changes.count else { return run.map { WallTime(milliseconds: $0) } }
      let end = zone.changes[changes].at
      if let run, run < end.milliseconds { return WallTime(milliseconds: run) }
      // Clocks that go forward: a time of day that is left out has its run right after the change.
      let later = zone.offset(after: changes + 1)
      if !fields.followsClock && later > offset,
        let leftOut = fields.first(from: end.milliseconds.saturating(plus: offset).ceiled(by: 60_000)),
        leftOut * 60_000 < end.milliseconds.saturating(plus: later)
      {
        return end
      }
      changes += 1
    }
  }
}

extension CronSchedule.Fields {
  /// The first minute (since 1970-01-01T00:00 of the local calendar) from `minute` on that matches; nil after the year 9999.
  func first(from minute: Int64) -> Int64? {
    var day = minute.floored(by: 1440)
    let within = Int(minute - day * 1440)
    var date = CivilDate(day: day)
    // A 29 February is at most eight years after the one before it: 2096, 2104.
    let lastYear = Swift.min(date.year + 8, 9999)
    var isFirst = true
    while date.year <= lastYear {
      if months & (1 << UInt64(date.month)) == 0 {
        day += Int64(date.skipMonth())
        isFirst = false
        continue
      }
      if matches(date, day), let found = timeOfDay(from: isFirst ? within : 0) { return day * 1440 + Int64(found) }
      day += 1
      date.skipDay()
      isFirst = false
    }
    return nil
  }

  private func matches(_ date: CivilDate, _ day: Int64) -> Bool {
    // 1970-01-01 was a Thursday.
    let weekday = UInt64((day + 4) - (day + 4).floored(by: 7) * 7)
    let byDay = days & (1 << UInt64(date.day)) != 0
    let byWeekday = weekdays & (1 << weekday) != 0
    return namesDays && namesWeekdays ? byDay || byWeekday : byDay && byWeekday
  }

  /// The first minute of a day from this one on.
  private func timeOfDay(from minute: Int) -> Int? {
    let hour = minute / 60
    if hours & (1 << UInt64(hour)) != 0 {
      let rest = minutes >> UInt64(minute % 60)
      if rest != 0 { return minute + rest.trailingZeroBitCount }
    }
    let later = hours >> UInt64(hour + 1)
    if later == 0 { return nil }
    return (hour + 1 + later.trailingZeroBitCount) * 60 + minutes.trailingZeroBitCount
  }

  /// Whether there is a day at all: 31 February is never, and a day of the week is in every month.
  var hasDay: Bool {
    if namesWeekdays { return true }
    for month in 1...12 where months & (1 << UInt64(month)) != 0 {
      let length = CivilDate.length(ofMonth: month, year: 2000)
      if days & ((2 << UInt64(length)) - 1) != 0 { return true }
    }
    return false
  }

  func violation() -> String? {
    if minutes == 0 || hours == 0 || days == 0 || months == 0 || weekdays == 0 { return "a field allows nothing" }
    if minutes >> 60 != 0 || hours >> 24 != 0 || weekdays >> 7 != 0 { return "a field allows what no clock shows" }
    if days & 1 != 0 || days >> 32 != 0 || months & 1 != 0 || months >> 13 != 0 { return "a field allows no date" }
    return hasDay ? nil : "no day matches"
  }
}

/// A day of the proleptic Gregorian calendar.
struct CivilDate {
  var year: Int
  /// From 1.
  var month: Int
  /// From 1.
  var day: Int

  /// The date of a number of days since 1970-01-01 (Hinnant, *chrono-Compatible Low-Level Date Algorithms*).
  init(day number: Int64) {
    let z = number + 719_468
    let era = z.floored(by: 146_097)
    let dayOfEra = z - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    month = Int(shifted < 10 ? shifted + 3 : shifted - 9)
    day = Int(dayOfYear - (153 * shifted + 2) / 5 + 1)
    year = Int(yearOfEra + era * 400) + (month <= 2 ? 1 : 0)
  }

  mutating func skipDay() {
    day += 1
    if day > CivilDate.length(ofMonth: month, year: year) { startNextMonth() }
  }

  /// To the first of the next month; how many days that is.
  mutating func skipMonth() -> Int {
    let days = CivilDate.length(ofMonth: month, year: year) - day + 1
    startNextMonth()
    return days
  }

  private mutating func startNextMonth() {
    day = 1
    month += 1
    if month == 13 {
      month = 1
      year += 1
    }
  }

  static func length(ofMonth month: Int, year: Int) -> Int {
    switch month {
    case 2: return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
    case 4, 6, 9, 11: return 30
    default: return 31
    }
  }
}

extension Int64 {
  /// The quotient, rounded down.
  func floored(by divisor: Int64) -> Int64 {
    let quotient = self / divisor
    return self % divisor < 0 ? quotient - 1 : quotient
  }

  /// The quotient, rounded up.
  func ceiled(by divisor: Int64) -> Int64 {
    let quotient = self / divisor
    return self % divisor > 0 ? quotient + 1 : quotient
  }

  /// The sum, held at the ends of what fits.
  func saturating(plus other: Int64) -> Int64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? (other > 0 ? .max : .min) : sum
  }
}
