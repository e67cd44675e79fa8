// SPDX-License-Identifier: Apache-2.0
import WeirBase

/// A zone as the IANA time zone database keeps it: a file of changes so far, and the rule of those to come.
///
/// Source: RFC 9636 (TZif). Changes up to about today stand in it one by one; behind them a line in the words of POSIX `TZ`
/// (`CET-1CEST,M3.5.0,M10.5.0/3`) says how it goes on, which is written out here up to the year ``CronSchedule/Zone/yearMax``.
/// The bytes are given: this layer reads no files.
extension CronSchedule.Zone {
  /// Why bytes are no zone.
  public struct Unreadable: Error, Sendable, Equatable {
    public var what: String
  }

  /// The last year whose changes a rule makes; from then on the offset stays as it is.
  ///
  /// 2 changes a year, of 16 bytes each: 12 KiB for a zone.
  public static let yearMax = 2400

  /// The zone that a file of the database describes.
  public init(file bytes: [UInt8]) throws(Unreadable) {
    var reader = ZoneFileReader(bytes)
    self = try reader.zone()
  }
}

struct ZoneFileReader {
  private typealias Change = CronSchedule.Zone.Change
  private typealias Unreadable = CronSchedule.Zone.Unreadable

  private struct Header {
    var version: UInt8
    var indicators: Int
    var leaps: Int
    var times: Int
    var types: Int
    var letters: Int
  }

  private let bytes: [UInt8]
  private var at = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  mutating func zone() throws(CronSchedule.Zone.Unreadable) -> CronSchedule.Zone {
    var header = try header()
    var width = 4
    if header.version >= 0x32 {
      // The first block is for readers of 32 bits; the same, in 64 bits, stands behind it.
      try skip(header.times * 5 + header.types * 6 + header.letters + header.leaps * 8 + header.indicators)
      header = try self.header()
      width = 8
    }
    if header.leaps > 0 { throw Unreadable(what: "it counts leap seconds, which no clock of a computer shows") }
    guard header.types > 0 else { throw Unreadable(what: "it has no offset") }
    var instants: [Int64] = []
    for _ in 0..<header.times { instants.append(try integer(width)) }
    var indices: [Int] = []
    for _ in 0..<header.times { indices.append(Int(try integer(1) & 0xff)) }
    var offsets: [Int32] = []
    for _ in 0..<header.types {
      let offset = try integer(4)
      // -25 to 26 hours (RFC 9636 §3.2).
      guard (-89_999...93_599).contains(offset) else { throw Unreadable(what: "an offset is more than a day") }
      offsets.append(Int32(offset))
      try skip(2)
    }
    try skip(header.letters + header.indicators)
    var changes: [Change] = []
    for (instant, index) in zip(instants, indices) {
      guard index < offsets.count else { throw Unreadable(what: "a change is to an offset that is missing") }
      // The Big Bang, as some files have it, is before any time of ours.
      guard instant > -1 << 45 else { continue }
      guard instant < 1 << 45 else { throw Unreadable(what: "a change is too far away") }
      changes.append(Change(at: WallTime(milliseconds: instant * 1000), offset: offsets[index]))
    }
    for (before, after) in zip(changes, changes.dropFirst()) where after.at <= before.at {
      throw Unreadable(what: "its changes are not in their order")
    }
    if width == 8 { try follow(offsets[0], &changes) }
    return CronSchedule.Zone(offset: offsets[0], changes: ZoneFileReader.effective(changes, from: offsets[0]))
  }

  /// What changes something: a name that changes, or the same offset by another rule, is left out.
  private static func effective(_ changes: [Change], from first: Int32) -> [Change] {
    var offset = first
    return changes.filter { change in
      defer { offset = change.offset }
      return change.offset != offset
    }
  }

  /// Writes out the rule behind the changes.
  private mutating func follow(_ first: Int32, _ changes: inout [Change]) throws(CronSchedule.Zone.Unreadable) {
    guard try integer(1) == 0x0a else { throw Unreadable(what: "its rule is missing") }
    guard let end = bytes[at...].firstIndex(of: 0x0a) else { throw Unreadable(what: "its rule has no end") }
    let text = Array(bytes[at..<end])
    if text.isEmpty { return }
    guard let rule = ZoneRule(text) else {
      throw Unreadable(what: "its rule is none: \(String(decoding: text.prefix(64), as: UTF8.self))")
    }
    let last = changes.last?.at ?? WallTime(milliseconds: .min)
    if rule.summer == nil {
      if changes.isEmpty, rule.offset != first { throw Unreadable(what: "its rule has another offset") }
      return
    }
    let year = last.milliseconds == .min ? 1970 : CivilDate(day: last.milliseconds.floored(by: 86_400_000)).year
    // What the year before brings may be in force still when the year begins.
    var coming: [Change] = []
    for year in (year - 1)...max(year, CronSchedule.Zone.yearMax) { coming += rule.changes(in: year) }
    var after: [Change] = []
    // Summer that ends as it begins anew has never ended: of two changes at one moment the later year's counts.
    for change in coming.enumerated().sorted(by: { ($0.element.at, $0.offset) < ($1.element.at, $1.offset) }) {
      if change.element.at <= last { continue }
      if after.last?.at == change.element.at { after.removeLast() }
      after.append(change.element)
    }
    changes += after
  }

  // MARK: Pieces

  private mutating func header() throws(CronSchedule.Zone.Unreadable) -> Header {
    guard bytes.count - at >= 44, bytes[at..<at + 4].elementsEqual("TZif".utf8) else {
      throw Unreadable(what: "it is no file of the zone database")
    }
    let version = bytes[at + 4]
    at += 20
    var counts: [Int] = []
    for _ in 0..<6 {
      let count = try integer(4)
      // Such a block would be longer than any file that is read.
      guard (0...1_000_000).contains(count) else { throw Unreadable(what: "it is cut off") }
      counts.append(Int(count))
    }
    return Header(
      version: version, indicators: counts[0] + counts[1], leaps: counts[2], times: counts[3], types: counts[4],
      letters: counts[5])
  }

  private mutating func skip(_ count: Int) throws(CronSchedule.Zone.Unreadable) {
    guard count <= bytes.count - at else { throw Unreadable(what: "it is cut off") }
    at += count
  }

  /// Of so many bytes, the highest first, with its sign.
  private mutating func integer(_ width: Int) throws(CronSchedule.Zone.Unreadable) -> Int64 {
    guard width <= bytes.count - at else { throw Unreadable(what: "it is cut off") }
    var value: Int64 = bytes[at] & 0x80 != 0 ? -1 : 0
    for byte in bytes[at..<at + width] { value = value << 8 | Int64(byte) }
    at += width
    return value
  }
}

/// How a zone goes on: `CET-1CEST,M3.5.0,M10.5.0/3` (POSIX.1-2024 §8.3 `TZ`, with the hours of RFC 9636 §3.3.1).
struct ZoneRule: Equatable {
  struct Summer: Equatable {
    var offset: Int32
    var begins: Day
    var ends: Day
  }

  /// A day of each year, and the seconds since its midnight that the clocks then show.
  struct Day: Equatable {
    enum Which: Equatable {
      /// 1 to 365, 29 February not counted.
      case numbered(Int)
      /// 0 to 365, 29 February counted.
      case counted(Int)
      /// The n-th such day of the week (0: Sunday) of a month; 5: the last.
      case weekday(month: Int, week: Int, day: Int)
    }

    var which: Which
    var time: Int64
  }

  /// Seconds east of UTC.
  var offset: Int32
  var summer: Summer?

  /// Nil when it is no rule.
  init?(_ text: [UInt8]) {
    var reader = Reader(text: text)
    guard reader.name(), let west = reader.seconds(hoursMax: 24) else { return nil }
    offset = Int32(-west)
    if reader.isAtEnd { return }
    guard reader.name() else { return nil }
    var ahead = offset + 3600
    if !reader.has(0x2c) {
      guard let west = reader.seconds(hoursMax: 24) else { return nil }
      ahead = Int32(-west)
    }
    guard reader.take(0x2c), let begins = reader.day(), reader.take(0x2c), let ends = reader.day(), reader.isAtEnd
    else {
      return nil
    }
    summer = Summer(offset: ahead, begins: begins, ends: ends)
  }

  func changes(in year: Int) -> [CronSchedule.Zone.Change] {
    guard let summer else { return [] }
    func moment(_ day: Day, _ offset: Int32) -> WallTime {
      WallTime(milliseconds: (day.number(in: year) * 86_400 + day.time - Int64(offset)) * 1000)
    }
    // Each is told in the time that is shown until then.
    return [
      .init(at: moment(summer.begins, offset), offset: summer.offset),
      .init(at: moment(summer.ends, summer.offset), offset: offset),
    ]
  }

  private struct Reader {
    let text: [UInt8]
    var at = 0

    var isAtEnd: Bool { at == text.count }

    func has(_ byte: UInt8) -> Bool { at < text.count && text[at] == byte }

    mutating func take(_ byte: UInt8) -> Bool {
      guard has(byte) else { return false }
      at += 1
      return true
    }

    /// `CET`, `<+03>`.
    mutating func name() -> Bool {
      let start = at
      if take(0x3c) {
        while at < text.count, !has(0x3e) { at += 1 }
        return take(0x3e) && at - start >= 5
      }
      while at < text.count, (text[at] | 0x20) &- 0x61 < 26 { at += 1 }
      return at - start >= 3
    }

    mutating func number(_ range: ClosedRange<Int>) -> Int? {
      let start = at
      var value = 0
      while at < text.count, text[at] &- 0x30 < 10, at - start < 3 {
        value = value * 10 + Int(text[at] - 0x30)
        at += 1
      }
      return at > start && range.contains(value) ? value : nil
    }

    /// `-5:30`, in seconds.
    mutating func seconds(hoursMax: Int) -> Int64? {
      let isNegative = take(0x2d)
      if !isNegative { _ = take(0x2b) }
      guard let hours = number(0...hoursMax) else { return nil }
      var seconds = Int64(hours) * 3600
      for unit in [60, 1] as [Int64] where take(0x3a) {
        guard let part = number(0...59) else { return nil }
        seconds += Int64(part) * unit
      }
      return isNegative ? -seconds : seconds
    }

    mutating func day() -> Day? {
      let which: Day.Which
      if take(0x4a) {
        guard let number = number(1...365) else { return nil }
        which = .numbered(number)
      } else if take(0x4d) {
        guard let month = number(1...12), take(0x2e), let week = number(1...5), take(0x2e), let day = number(0...6)
        else {
          return nil
        }
        which = .weekday(month: month, week: week, day: day)
      } else {
        guard let number = number(0...365) else { return nil }
        which = .counted(number)
      }
      guard take(0x2f) else { return Day(which: which, time: 7200) }
      guard let time = seconds(hoursMax: 167) else { return nil }
      return Day(which: which, time: time)
    }
  }
}

extension ZoneRule.Day {
  /// Days since 1970-01-01.
  func number(in year: Int) -> Int64 {
    let newYear = CivilDate.number(year: year, month: 1, day: 1)
    switch which {
    case .counted(let count): return newYear + Int64(count)
    case .numbered(let number):
      let isLeap = CivilDate.length(ofMonth: 2, year: year) == 29
      return newYear + Int64(number - 1) + (isLeap && number > 59 ? 1 : 0)
    case .weekday(let month, let week, let day):
      let first = CivilDate.number(year: year, month: month, day: 1)
      // 1970-01-01 was a Thursday.
      let weekday = Int((first + 4) - (first + 4).floored(by: 7) * 7)
      var date = 1 + (day - weekday + 7) % 7 + (week - 1) * 7
      if date > CivilDate.length(ofMonth: month, year: year) { date -= 7 }
      return first + Int64(date - 1)
    }
  }
}

extension CivilDate {
  /// Days since 1970-01-01 (Hinnant, *chrono-Compatible Low-Level Date Algorithms*).
  static func number(year: Int, month: Int, day: Int) -> Int64 {
    let shifted = Int64(month <= 2 ? year - 1 : year)
    let era = shifted.floored(by: 400)
    let yearOfEra = shifted - era * 400
    let dayOfYear = Int64((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1)
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
  }
}
