// SPDX-License-Identifier: Apache-2.0

/// The conditions of all routes of a trie, each value as a number, so that testing one is comparing two integers.
///
/// A value is hashed once and looked up among all that conditions name: a thousand routes that differ by one header cost
/// one look-up and a thousand comparisons of small integers, and no value is compared a thousand times.
struct RouteConditions: Sendable, Equatable {
  static let subjectsMax = 32
  static let partsMax = 64
  static let valuesMax = 65_000

  enum Kind: UInt8, Sendable { case present, absent, equals, flag }

  /// One condition as a leaf holds it.
  struct Test: Sendable, Equatable, BitwiseCopyable {
    var subject: UInt8
    var kind: Kind
    /// The number of the value, or of the flag.
    var operand: UInt16

    @inline(__always)
    func holds(_ readings: borrowing RouteReadings) -> Bool {
      switch kind {
      case .present: readings.values[Int(subject)] != RouteReadings.absent
      case .absent: readings.values[Int(subject)] == RouteReadings.absent
      case .equals: readings.values[Int(subject)] == operand
      case .flag: readings.flags >> UInt64(operand) & 1 != 0
      }
    }
  }

  /// How bytes of a value are read.
  enum Coding: UInt8, Sendable { case plain, query, folded }

  struct Subject: Sendable, Equatable {
    var subject: RouteCondition.Subject
    var field: [UInt8]
    var name: [UInt8]
    /// The flags that tell of it.
    var flags: UInt64 = 0
  }

  private struct Value: Sendable, Equatable, BitwiseCopyable {
    var hash: UInt64 = 0
    var textStart: Int32 = 0
    var textCount: Int32 = 0
    var subject: UInt8 = 0
    /// 0 is a free place.
    var number: UInt16 = 0
  }

  private struct Part: Sendable, Equatable {
    var subject: Int
    var text: [UInt8]
    var test: RouteCondition.Test
  }

  private(set) var subjects: [Subject] = []
  private var parts: [Part] = []
  private var values: [Value] = []
  private var valueCount = 0
  private var text: [UInt8] = []
  /// Longer values equal none.
  private var longest = 0
  private var queryBits: UInt32 = 0

  // MARK: Building

  /// The test for a condition, or what there are too many of.
  mutating func add(_ condition: RouteCondition) throws(RoutePattern.Mistake) -> Test {
    var place = subjects.firstIndex { $0.subject == condition.subject } ?? -1
    if place < 0 {
      if subjects.count == RouteConditions.subjectsMax { throw .tooManySubjects }
      place = subjects.count
      subjects.append(
        Subject(subject: condition.subject, field: Array(condition.field.utf8), name: Array(condition.name.utf8)))
      if condition.isQuery { queryBits |= 1 << UInt32(place) }
    }
    let number = UInt8(place)
    switch condition.test {
    case .present: return Test(subject: number, kind: .present, operand: 0)
    case .absent: return Test(subject: number, kind: .absent, operand: 0)
    case .equals:
      if case .mediaType = condition.subject { break }
      if valueCount == RouteConditions.valuesMax { throw .tooManyValues }
      return Test(subject: number, kind: .equals, operand: intern(Array(condition.text.utf8), number))
    case .prefix, .suffix: break
    }
    let part = Part(subject: place, text: Array(condition.text.utf8), test: condition.test)
    var flag = parts.firstIndex(of: part) ?? -1
    if flag < 0 {
      if parts.count == RouteConditions.partsMax { throw .tooManyTexts }
      flag = parts.count
      parts.append(part)
      subjects[place].flags |= 1 << UInt64(flag)
    }
    return Test(subject: number, kind: .flag, operand: UInt16(flag))
  }

  private mutating func intern(_ bytes: [UInt8], _ subject: UInt8) -> UInt16 {
    let hash = RouteConditions.hash(bytes.span, 0, bytes.count, subject, .plain)
    let found = number(hash, bytes.span, 0, bytes.count, subject, .plain)
    if found != RouteReadings.other { return found }
    if 2 * (valueCount + 1) > values.count { grow() }
    valueCount += 1
    let value = Value(
      hash: hash, textStart: Int32(text.count), textCount: Int32(bytes.count), subject: subject,
      number: UInt16(valueCount + RouteReadings.firstValue - 1))
    text += bytes
    longest = max(longest, bytes.count)
    place(value)
    return value.number
  }

  private mutating func grow() {
    let old = values
    values = [Value](repeating: Value(), count: max(4, old.count * 2))
    for value in old where value.number != 0 { place(value) }
  }

  private mutating func place(_ value: Value) {
    var place = RouteConditions.start(value.hash) & (values.count - 1)
    while values[place].number != 0 { place = (place + 1) & (values.count - 1) }
    values[place] = value
  }

  // MARK: Reading

  func asksQuery(_ wanted: RouteReadings.Subjects) -> Bool { wanted.bits & queryBits != 0 }

  func asksFields(_ wanted: RouteReadings.Subjects) -> Bool { wanted.bits & ~queryBits != 0 }

  func read(query: Span<UInt8>, _ wanted: RouteReadings.Subjects, into readings: inout RouteReadings) {
    if !asksQuery(wanted) || query.isEmpty { return }
    var start = 0
    while start <= query.count {
      var end = start
      var equals = -1
      while end < query.count, query[end] != UInt8(ascii: "&") {
        if equals < 0, query[end] == UInt8(ascii: "=") { equals = end }
        end += 1
      }
      let nameEnd = equals < 0 ? end : equals
      if nameEnd > start {
        var bits = wanted.bits & queryBits
        while bits != 0 {
          let index = bits.trailingZeroBitCount
          bits &= bits - 1
          if isText(subjects[index].name, query, start, nameEnd, .query) {
            note(index, query, equals < 0 ? end : equals + 1, end, .query, &readings)
          }
        }
      }
      start = end + 1
    }
  }

  func read(
    field: Span<UInt8>, value: Span<UInt8>, _ wanted: RouteReadings.Subjects, into readings: inout RouteReadings
  ) {
    var bits = wanted.bits & ~queryBits
    while bits != 0 {
      let index = bits.trailingZeroBitCount
      bits &= bits - 1
      if subjects[index].field.count != field.count { continue }
      if !isText(subjects[index].field, field, 0, field.count, .folded) { continue }
      switch subjects[index].subject {
      case .header:
        let (start, end) = trimmed(value, 0, value.count)
        note(index, value, start, end, .plain, &readings)
      case .cookie: readCookies(index, value, &readings)
      case .parameter, .mediaType: readList(index, value, &readings)
      case .query: break
      }
    }
  }

  private func readCookies(_ index: Int, _ value: Span<UInt8>, _ readings: inout RouteReadings) {
    var start = 0
    while start < value.count {
      var end = start
      var equals = -1
      while end < value.count, value[end] != UInt8(ascii: ";") {
        if equals < 0, value[end] == UInt8(ascii: "=") { equals = end }
        end += 1
      }
      if equals >= 0 {
        let name = trimmed(value, start, equals)
        if isText(subjects[index].name, value, name.start, name.end, .plain) {
          var (first, last) = trimmed(value, equals + 1, end)
          unquote(value, &first, &last)
          note(index, value, first, last, .plain, &readings)
        }
      }
      start = end + 1
    }
  }

  /// A list of elements with parameters (RFC 9110 §5.6.1, §5.6.6); commas and semicolons within quotes are text.
  private func readList(_ index: Int, _ value: Span<UInt8>, _ readings: inout RouteReadings) {
    var start = 0
    var isElement = true
    while start < value.count {
      var end = start
      var equals = -1
      var isQuoted = false
      while end < value.count {
        let byte = value[end]
        if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
        if isQuoted, byte == UInt8(ascii: "\\") {
          end = min(end + 2, value.count)
          continue
        }
        if !isQuoted, byte == UInt8(ascii: ",") || byte == UInt8(ascii: ";") { break }
        if !isQuoted, equals < 0, byte == UInt8(ascii: "=") { equals = end }
        end += 1
      }
      if isElement, subjects[index].name.isEmpty {
        let (first, last) = trimmed(value, start, end)
        if last > first { mark(index, value, first, last, .folded, &readings) }
      } else if !isElement, equals >= 0, !subjects[index].name.isEmpty,
        readings.values[index] == RouteReadings.absent
      {
        let name = trimmed(value, start, equals)
        if isText(subjects[index].name, value, name.start, name.end, .folded) {
          var (first, last) = trimmed(value, equals + 1, end)
          unquote(value, &first, &last)
          note(index, value, first, last, .plain, &readings)
        }
      }
      isElement = end < value.count && value[end] == UInt8(ascii: ",")
      start = end + 1
    }
  }

  /// One value of a subject that has one.
  private func note(
    _ index: Int, _ bytes: Span<UInt8>, _ start: Int, _ end: Int, _ coding: Coding, _ readings: inout RouteReadings
  ) {
    if readings.values[index] != RouteReadings.absent {
      readings.values[index] = RouteReadings.several
      readings.flags &= ~subjects[index].flags
      return
    }
    readings.values[index] = RouteReadings.other
    // Decoding never makes a value longer; escaped it may be three times as long.
    if end - start <= (coding == .query ? 3 : 1) * longest {
      let hash = RouteConditions.hash(bytes, start, end, UInt8(index), coding)
      readings.values[index] = number(hash, bytes, start, end, UInt8(index), coding)
    }
    if subjects[index].flags != 0 { mark(index, bytes, start, end, coding, &readings) }
  }

  /// Sets the flags that a value fulfils.
  private func mark(
    _ index: Int, _ bytes: Span<UInt8>, _ start: Int, _ end: Int, _ coding: Coding, _ readings: inout RouteReadings
  ) {
    if readings.values[index] == RouteReadings.absent { readings.values[index] = RouteReadings.other }
    var left = subjects[index].flags
    while left != 0 {
      let flag = left.trailingZeroBitCount
      left &= left - 1
      let holds: Bool
      switch parts[flag].test {
      case .prefix: holds = begins(parts[flag].text, bytes, start, end, coding)
      case .suffix:
        var count = 0
        var at = start
        while at < end {
          at += RouteConditions.step(bytes, at, end, coding).length
          count += 1
        }
        var skip = count - parts[flag].text.count
        at = start
        while skip > 0 {
          at += RouteConditions.step(bytes, at, end, coding).length
          skip -= 1
        }
        holds = skip == 0 && isText(parts[flag].text, bytes, at, end, coding)
      case .equals: holds = isText(parts[flag].text, bytes, start, end, coding)
      case .present, .absent: holds = false
      }
      if holds { readings.flags |= 1 << UInt64(flag) }
    }
  }

  // MARK: Bytes

  private func trimmed(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> (start: Int, end: Int) {
    var (start, end) = (start, end)
    while start < end, bytes[start] == 0x20 || bytes[start] == 0x09 { start += 1 }
    while start < end, bytes[end - 1] == 0x20 || bytes[end - 1] == 0x09 { end -= 1 }
    return (start, end)
  }

  private func unquote(_ bytes: Span<UInt8>, _ start: inout Int, _ end: inout Int) {
    if end - start >= 2, bytes[start] == UInt8(ascii: "\""), bytes[end - 1] == UInt8(ascii: "\"") {
      start += 1
      end -= 1
    }
  }

  @inline(__always)
  private static func step(_ bytes: Span<UInt8>, _ index: Int, _ end: Int, _ coding: Coding) -> (
    byte: UInt8, length: Int
  ) {
    let byte = bytes[index]
    switch coding {
    case .plain: return (byte, 1)
    case .folded: return (RouteBytes.lowered(byte), 1)
    case .query:
      if byte == UInt8(ascii: "+") { return (0x20, 1) }
      guard byte == UInt8(ascii: "%"), index + 2 < end else { return (byte, 1) }
      let (high, low) = (RouteBytes.hex(bytes[index + 1]), RouteBytes.hex(bytes[index + 2]))
      return high < 0 || low < 0 ? (byte, 1) : (UInt8(high << 4 | low), 3)
    }
  }

  private func begins(_ wanted: [UInt8], _ bytes: Span<UInt8>, _ start: Int, _ end: Int, _ coding: Coding) -> Bool {
    var at = start
    for byte in wanted {
      if at >= end { return false }
      let step = RouteConditions.step(bytes, at, end, coding)
      if step.byte != byte { return false }
      at += step.length
    }
    return true
  }

  private func isText(_ wanted: [UInt8], _ bytes: Span<UInt8>, _ start: Int, _ end: Int, _ coding: Coding) -> Bool {
    var at = start
    for byte in wanted {
      if at >= end { return false }
      let step = RouteConditions.step(bytes, at, end, coding)
      if step.byte != byte { return false }
      at += step.length
    }
    return at == end
  }

  private static func hash(_ bytes: Span<UInt8>, _ start: Int, _ end: Int, _ subject: UInt8, _ coding: Coding)
    -> UInt64
  {
    var hash = RouteBytes.mix(RouteBytes.seed, subject)
    var at = start
    while at < end {
      let step = RouteConditions.step(bytes, at, end, coding)
      hash = RouteBytes.mix(hash, step.byte)
      at += step.length
    }
    return hash
  }

  private static func start(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: (hash &* 0x9e37_79b9_7f4a_7c15) >> 32) }

  /// The number of a value that some condition names, else `other`.
  private func number(
    _ hash: UInt64, _ bytes: Span<UInt8>, _ start: Int, _ end: Int, _ subject: UInt8, _ coding: Coding
  ) -> UInt16 {
    if values.isEmpty { return RouteReadings.other }
    var place = RouteConditions.start(hash) & (values.count - 1)
    while values[place].number != 0 {
      let value = values[place]
      if value.hash == hash, value.subject == subject {
        var at = start
        var offset = 0
        while at < end, offset < Int(value.textCount) {
          let step = RouteConditions.step(bytes, at, end, coding)
          if text[Int(value.textStart) + offset] != step.byte { break }
          at += step.length
          offset += 1
        }
        if at == end, offset == Int(value.textCount) { return value.number }
      }
      place = (place + 1) & (values.count - 1)
    }
    return RouteReadings.other
  }
}
