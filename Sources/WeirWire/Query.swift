// SPDX-License-Identifier: Apache-2.0

/// Parameters of a query, as forms write them: pairs between `&`, `+` for a space, bytes as `%XX`.
///
/// Names are compared decoded. An escape that is none decodes to nothing: such a name is nobody's, such a value is refused
/// when it is asked for (readers disagree on what it means).
public enum Query {
  /// The written value of parameter `name`; `many` when it is there twice: readers take the first, the last or both.
  public static func find(_ bytes: Span<UInt8>, _ query: Run, _ name: [UInt8]) -> Fields.Found {
    var pairs = Pairs(query)
    var found = Fields.Found.none
    while let pair = pairs.next(bytes) {
      if !isNamed(bytes, pair.name, name) { continue }
      if found != .none { return .many }
      found = .one(Run(pair.value.lowerBound, pair.value.upperBound))
    }
    return found
  }

  /// Whether every `%` begins an escape.
  public static func isStrict(_ bytes: Span<UInt8>, _ query: Run) -> Bool {
    var i = Int(query.start)
    while i < Int(query.end) {
      if bytes[i] == 0x25 {
        if i + 2 >= Int(query.end) || Grammar.hex(bytes[i + 1]) == 255 || Grammar.hex(bytes[i + 2]) == 255 {
          return false
        }
        i += 2
      }
      i += 1
    }
    return true
  }

  /// Appends what a written name or value means; false, and nothing appended, for a broken escape or a control character.
  public static func decode(_ bytes: Span<UInt8>, _ run: Run, into out: inout HeadBuffer) -> Bool {
    let mark = out.count
    var i = Int(run.start)
    while i < Int(run.end) {
      guard let (byte, next) = letter(bytes, i, Int(run.end)), byte >= 0x20, byte != 0x7f else {
        out.truncate(to: mark)
        return false
      }
      out.append(byte: byte)
      i = next
    }
    return true
  }

  /// The byte that begins at `at`, and where the next does.
  private static func letter(_ bytes: Span<UInt8>, _ at: Int, _ end: Int) -> (UInt8, Int)? {
    let byte = bytes[at]
    if byte == 0x2b { return (0x20, at + 1) }
    if byte != 0x25 { return (byte, at + 1) }
    guard at + 2 < end else { return nil }
    let high = Grammar.hex(bytes[at + 1])
    let low = Grammar.hex(bytes[at + 2])
    return high == 255 || low == 255 ? nil : (high << 4 | low, at + 3)
  }

  static func isNamed(_ bytes: Span<UInt8>, _ range: Range<Int>, _ name: [UInt8]) -> Bool {
    var i = range.lowerBound
    for wanted in name {
      guard i < range.upperBound, let (byte, next) = letter(bytes, i, range.upperBound), byte == wanted else {
        return false
      }
      i = next
    }
    return i == range.upperBound
  }

  struct Pair {
    var name: Range<Int>
    var value: Range<Int>
    var all: Range<Int> { name.lowerBound..<value.upperBound }
  }

  struct Pairs {
    private var at: Int
    private let end: Int

    init(_ query: Run) {
      at = Int(query.start)
      end = Int(query.end)
    }

    /// Empty pairs are skipped.
    mutating func next(_ bytes: Span<UInt8>) -> Pair? {
      while at < end && bytes[at] == 0x26 { at += 1 }
      if at >= end { return nil }
      let start = at
      var equals = -1
      while at < end && bytes[at] != 0x26 {
        if bytes[at] == 0x3d && equals < 0 { equals = at }
        at += 1
      }
      return Pair(name: start..<(equals < 0 ? at : equals), value: (equals < 0 ? at : equals + 1)..<at)
    }
  }
}

extension HeadBuffer {
  /// The path, and the query with parameter `name` left out, and put at its end with `value` if one is given.
  ///
  /// Other pairs stay as they were written and in their order; without any the `?` goes too.
  public mutating func appendTarget(
    _ bytes: Span<UInt8>, _ path: Run, _ query: Run, name: [UInt8], value: [UInt8]? = nil
  ) {
    append(bytes, path.range)
    var pairs = Query.Pairs(query)
    var isFirst = true
    while let pair = pairs.next(bytes) {
      if Query.isNamed(bytes, pair.name, name) { continue }
      append(byte: isFirst ? 0x3f : 0x26)
      append(bytes, pair.all)
      isFirst = false
    }
    guard let value else { return }
    append(byte: isFirst ? 0x3f : 0x26)
    append(escaped: name.span)
    append("=")
    append(escaped: value.span)
  }

  /// All bytes but unreserved ones (RFC 3986 §2.3) as `%XX`.
  public mutating func append(escaped bytes: Span<UInt8>) {
    for i in 0..<bytes.count {
      let byte = bytes[i]
      if byte == 0x7e || (byte < 0x80 && Grammar.isInHost(byte)) {
        append(byte: byte)
      } else {
        append("%")
        append(byte: HeadBuffer.upperHex(byte >> 4))
        append(byte: HeadBuffer.upperHex(byte & 15))
      }
    }
  }

  private static func upperHex(_ nibble: UInt8) -> UInt8 { nibble < 10 ? 0x30 + nibble : 0x37 + nibble }
}
