// SPDX-License-Identifier: Apache-2.0
import WeirBase

// From text to a schedule, and what is said of a text that is none.
extension CronSchedule {
  /// Why a text is no schedule, where, and what to write instead.
  public struct Mistake: Error, Sendable, Equatable {
    /// Where in the text, in bytes of its UTF-8.
    public var offset: Int
    public var length: Int
    public var message: String
    /// A whole schedule that is probably meant, and can be read.
    public var mend: String?
  }

  /// Reads five fields, one of the `@` names, or `every` and a length (`every 15m`, `15m`, `@every 1h30m`).
  public init(_ text: String) throws(Mistake) {
    let reader = CronReader(text)
    rule = try reader.rule()
  }
}

struct CronReader {
  private struct Field {
    var name: String
    var low: Int
    var high: Int
    var names: [String] = []
  }

  private static let fields = [
    Field(name: "minute", low: 0, high: 59), Field(name: "hour", low: 0, high: 23),
    Field(name: "day of the month", low: 1, high: 31),
    Field(
      name: "month", low: 1, high: 12,
      names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    Field(name: "day of the week", low: 0, high: 7, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
  ]

  private static let nicknames = [
    ("@hourly", "0 * * * *"), ("@daily", "0 0 * * *"), ("@midnight", "0 0 * * *"), ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"), ("@yearly", "0 0 1 1 *"), ("@annually", "0 0 1 1 *"),
  ]

  /// What one field allows.
  private struct Allowed {
    var bits: UInt64 = 0
    var isStar = false
    var beginsWithStar = false
  }

  private let text: [UInt8]
  private let words: [Range<Int>]

  /// One that only says whether a mend can be read makes no mends of its own: they would nest as deep as there are mistakes.
  private let makesMends: Bool

  init(_ string: String, makesMends: Bool = true) {
    self.makesMends = makesMends
    text = Array(string.utf8)
    var words: [Range<Int>] = []
    var start = 0
    for i in 0...text.count where i == text.count || text[i] == 0x20 || text[i] == 0x09 {
      if start < i { words.append(start..<i) }
      start = i + 1
    }
    self.words = words
  }

  func rule() throws(CronSchedule.Mistake) -> CronSchedule.Rule {
    guard let first = words.first, let last = words.last else {
      throw mistake(0..<text.count, "there is no schedule here", mend: "0 3 * * *")
    }
    let word = lowercased(first)
    if word == "every" || word == "@every" {
      guard words.count == 2 else {
        throw mistake(first.lowerBound..<last.upperBound, "`every` takes one length", mend: "every 15m")
      }
      return .every(try length(words[1]))
    }
    if word.hasPrefix("@") { return try nickname(word, first, last) }
    // A length alone: digits and units, in one word.
    if words.count == 1 && isDigit(text[first.lowerBound]) && text[first].allSatisfy({ isDigit($0) || isLetter($0) }) {
      return .every(try length(first))
    }
    return .fields(try fiveFields(first.lowerBound..<last.upperBound))
  }

  // MARK: The forms

  private func nickname(
    _ word: String, _ first: Range<Int>, _ last: Range<Int>
  ) throws(CronSchedule.Mistake) -> CronSchedule.Rule {
    for (name, meaning) in CronReader.nicknames where name == word {
      guard words.count == 1 else {
        throw mistake(words[1].lowerBound..<last.upperBound, "nothing comes after `\(name)`", mend: name)
      }
      let reader = CronReader(meaning)
      return try reader.rule()
    }
    if word == "@reboot" {
      throw mistake(first, "`@reboot` is no time: what runs at the start is a service, or a migration `before: deploy`")
    }
    let known = CronReader.nicknames.map(\.0).joined(separator: ", ")
    throw mistake(first, "`\(string(first))` is none of \(known), @every", mend: "@daily")
  }

  private func fiveFields(_ whole: Range<Int>) throws(CronSchedule.Mistake) -> CronSchedule.Fields {
    let names = "minute, hour, day of the month, month, day of the week"
    if words.count == 6 || words.count == 7 {
      throw mistake(
        words[0], "\(words.count) fields, where cron has five (\(names)): there are no seconds, and no years",
        mend: mendIfGood(words[1..<6].map(string).joined(separator: " ")))
    }
    guard words.count == 5 else {
      let missing = words.count < 5 ? words.map(string).joined(separator: " ") : ""
      let mend = missing + String(repeating: " *", count: max(0, 5 - words.count))
      throw mistake(
        whole, "\(words.count) field\(words.count == 1 ? "" : "s"), where cron has five: \(names)",
        mend: words.count < 5 ? mendIfGood(mend) : nil)
    }
    var found: [Allowed] = []
    for index in 0..<5 { found.append(try field(words[index], CronReader.fields[index])) }
    var fields = CronSchedule.Fields()
    fields.minutes = found[0].bits
    fields.hours = found[1].bits
    fields.days = found[2].bits
    fields.months = found[3].bits
    // 7 is Sunday, too.
    fields.weekdays = (found[4].bits | found[4].bits >> 7) & 0x7f
    fields.namesDays = !found[2].isStar
    fields.namesWeekdays = !found[4].isStar
    fields.followsClock = found[0].beginsWithStar || found[1].beginsWithStar
    if !fields.hasDay {
      var longest = 29
      for month in 1...12 where fields.months & (1 << UInt64(month)) != 0 {
        longest = max(longest, CivilDate.length(ofMonth: month, year: 2000))
      }
      throw mistake(
        words[2], "it never runs: none of its months has the day \(string(words[2]))",
        mend: mendIfGood(replacing(words[2], by: "\(longest)")))
    }
    return fields
  }

  private func field(_ word: Range<Int>, _ field: Field) throws(CronSchedule.Mistake) -> Allowed {
    var allowed = Allowed()
    allowed.beginsWithStar = text[word.lowerBound] == 0x2a
    for part in split(word, at: 0x2c) {
      if part.isEmpty {
        throw mistake(
          word, "a list of the \(field.name) has an empty place", mend: mendIfGood(replacing(word, by: listed(word))))
      }
      let halves = split(part, at: 0x2f)
      if halves.count > 2 { throw mistake(part, "one step is enough: from-to/step") }
      let base = halves[0]
      var step = 1
      if halves.count == 2 {
        guard let number = number(halves[1]), number > 0 else {
          throw mistake(
            part, "the step of `\(string(part))` is a number from 1",
            mend: mendIfGood(replacing(part, by: string(base))))
        }
        step = number
      }
      let range = try bounds(base, part, field, hasStep: halves.count == 2)
      if halves.count == 2 && step > range.upperBound - range.lowerBound && step > 1 {
        // Ninety minutes are no pattern of the hour's minutes, but they are a length.
        let unit = field.name == "minute" ? "m" : field.name == "hour" ? "h" : ""
        let isLength = text[base.lowerBound] == 0x2a && !unit.isEmpty
        throw mistake(
          part,
          "a step of \(step) in the range \(range.lowerBound)-\(range.upperBound) leaves only \(range.lowerBound)",
          mend: mendIfGood(isLength ? "every \(step)\(unit)" : replacing(part, by: "\(range.lowerBound)")))
      }
      for value in stride(from: range.lowerBound, through: range.upperBound, by: step) {
        allowed.bits |= 1 << UInt64(value)
      }
      if text[base.lowerBound] == 0x2a && step == 1 { allowed.isStar = true }
    }
    return allowed
  }

  private func bounds(
    _ base: Range<Int>, _ part: Range<Int>, _ field: Field, hasStep: Bool
  ) throws(CronSchedule.Mistake) -> ClosedRange<Int> {
    // Sunday is 0 once: `*/2` of the week is 0, 2, 4, 6.
    let high = field.high == 7 ? 6 : field.high
    if base.isEmpty {
      throw mistake(
        part, "a step is of something: `*\(string(part))`", mend: mendIfGood(replacing(part, by: "*\(string(part))")))
    }
    if base.count == 1 && text[base.lowerBound] == 0x2a { return field.low...high }
    let ends = split(base, at: 0x2d)
    if ends.count > 2 { throw mistake(base, "a range has two ends: from-to") }
    let from = try value(ends[0], field)
    guard ends.count == 2 else {
      if hasStep {
        let range = "\(string(base))-\(high)"
        throw mistake(
          part, "a step is of a range: `\(string(base))` alone is one \(field.name)",
          mend: mendIfGood(replacing(base, by: range)))
      }
      return from...from
    }
    var to = try value(ends[1], field)
    // `fri-sun`: the end of the week, too, is a Sunday.
    if field.high == 7 && to == 0 && from > 0 { to = 7 }
    guard from <= to else {
      let wrapped = "\(from)-\(high),\(field.low)-\(to)"
      throw mistake(
        base, "the range \(string(base)) ends before it begins",
        mend: hasStep ? nil : mendIfGood(replacing(base, by: wrapped)))
    }
    return from...to
  }

  private func value(_ word: Range<Int>, _ field: Field) throws(CronSchedule.Mistake) -> Int {
    if word.isEmpty {
      // The whole of it, so that there is something to point at.
      let around = max(0, word.lowerBound - 1)..<min(text.count, word.upperBound + 1)
      throw mistake(around, "a range of the \(field.name)s has an end missing")
    }
    if let number = number(word) {
      guard number >= field.low && number <= field.high else {
        let plain = field.high == 7 ? "0-7, Sunday is 0 and 7" : "\(field.low)-\(field.high)"
        let near = field.low == 0 && number == field.high + 1 ? field.low : min(max(number, field.low), field.high)
        throw mistake(
          word, "\(string(word)) is no \(field.name): \(plain)", mend: mendIfGood(replacing(word, by: "\(near)")))
      }
      return number
    }
    let name = lowercased(word)
    for (index, known) in field.names.enumerated() where known == name { return index + field.low }
    for known in field.names where name.hasPrefix(known) {
      throw mistake(
        word, "names have three letters: `\(known)`", mend: mendIfGood(replacing(word, by: known)))
    }
    if name.utf8.contains(where: { $0 == 0x3f || $0 == 0x23 }) || name.hasSuffix("l") || name.hasSuffix("w") {
      throw mistake(
        word, "`\(string(word))` is of Quartz, not of cron: ? L W and # are not read",
        mend: name == "?" ? mendIfGood(replacing(word, by: "*")) : nil)
    }
    let names = field.names.isEmpty ? "" : ", or one of \(field.names.joined(separator: " "))"
    throw mistake(word, "`\(string(word))` is no \(field.name): a number \(field.low)-\(field.high)\(names)")
  }

  /// Milliseconds of `15m`, `1h30m`.
  private func length(_ word: Range<Int>) throws(CronSchedule.Mistake) -> Int64 {
    var sum: Int64 = 0
    var number: Int64 = 0
    var digits = 0
    for i in word {
      let byte = text[i]
      if isDigit(byte) {
        number = number * 10 + Int64(byte - 0x30)
        digits += 1
        if digits > 9 { throw mistake(word, "`\(string(word))` is too long a length") }
        continue
      }
      let unit: Int64
      switch byte {
      case 0x73: unit = 1000
      case 0x6d: unit = 60_000
      case 0x68: unit = 3_600_000
      case 0x64: unit = 86_400_000
      default: unit = 0
      }
      if unit == 0 || digits == 0 {
        throw mistake(
          word, "`\(string(word))` is no length: a number and d, h, m or s, as 90s, 15m, 1h30m", mend: "every 15m")
      }
      sum += number * unit
      number = 0
      digits = 0
    }
    if digits > 0 {
      throw mistake(
        word, "`\(string(word))` ends without a unit: d, h, m or s", mend: mendIfGood("every \(string(word))m"))
    }
    if sum < CronSchedule.Settings.everyMin.inNanoseconds / 1_000_000 {
      throw mistake(word, "every \(string(word)) is too often: the least is 1s", mend: "every 1s")
    }
    return sum
  }

  // MARK: Pieces

  private func string(_ range: Range<Int>) -> String { String(decoding: text[range], as: UTF8.self) }

  private func lowercased(_ range: Range<Int>) -> String {
    String(decoding: text[range].map { $0 >= 0x41 && $0 <= 0x5a ? $0 | 0x20 : $0 }, as: UTF8.self)
  }

  /// At most four digits, and nothing else.
  private func number(_ range: Range<Int>) -> Int? {
    guard !range.isEmpty, range.count <= 4 else { return nil }
    var value = 0
    for byte in text[range] {
      guard isDigit(byte) else { return nil }
      value = value * 10 + Int(byte - 0x30)
    }
    return value
  }

  private func split(_ range: Range<Int>, at separator: UInt8) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var start = range.lowerBound
    for i in range where text[i] == separator {
      parts.append(start..<i)
      start = i + 1
    }
    parts.append(start..<range.upperBound)
    return parts
  }

  /// A list without its empty places.
  private func listed(_ word: Range<Int>) -> String {
    split(word, at: 0x2c).filter { !$0.isEmpty }.map(string).joined(separator: ",")
  }

  private func replacing(_ range: Range<Int>, by new: String) -> String {
    String(decoding: text[..<range.lowerBound] + Array(new.utf8) + text[range.upperBound...], as: UTF8.self)
  }

  /// A mend is offered only when it can be read: two mistakes in one text are told one after the other.
  private func mendIfGood(_ text: String) -> String? {
    guard makesMends else { return nil }
    let reader = CronReader(text, makesMends: false)
    // Why it cannot be read does not matter here: then there is no mend.
    return (try? reader.rule()) == nil ? nil : text
  }

  private func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

  private func isLetter(_ byte: UInt8) -> Bool { byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7a }

  private func mistake(_ range: Range<Int>, _ message: String, mend: String? = nil) -> CronSchedule.Mistake {
    CronSchedule.Mistake(offset: range.lowerBound, length: range.count, message: message, mend: mend)
  }
}
