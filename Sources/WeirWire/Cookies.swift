// SPDX-License-Identifier: Apache-2.0

/// Cookies of a request (RFC 6265 §5.4), found and left out by name; names are compared letter by letter.
public enum Cookies {
  /// The value of the cookie `name`, without quotes around it; `many` when it is there twice, in one line or several.
  public static func find(_ bytes: Span<UInt8>, _ head: RequestHead, _ name: [UInt8]) -> Fields.Found {
    var fields = Fields(head)
    var found = Fields.Found.none
    while let field = fields.next(bytes) {
      guard Grammar.matches(bytes, Int(field.name.start), Int(field.name.end), "cookie") else { continue }
      var pairs = Pairs(field.value)
      while let pair = pairs.next(bytes) {
        if !pair.isNamed(bytes, name) { continue }
        if found != .none { return .many }
        found = .one(pair.bare(bytes))
      }
    }
    return found
  }

  struct Pair {
    var name: Range<Int>
    var value: Range<Int>
    var all: Range<Int>

    func isNamed(_ bytes: Span<UInt8>, _ text: [UInt8]) -> Bool {
      guard name.count == text.count else { return false }
      for i in 0..<text.count where bytes[name.lowerBound + i] != text[i] { return false }
      return true
    }

    func bare(_ bytes: Span<UInt8>) -> Run {
      let isQuoted =
        value.count >= 2 && bytes[value.lowerBound] == 0x22 && bytes[value.upperBound - 1] == 0x22
      return isQuoted
        ? Run(value.lowerBound + 1, value.upperBound - 1) : Run(value.lowerBound, value.upperBound)
    }
  }

  /// The pairs of one line; a pair without `=` is a name without a value.
  struct Pairs {
    private var at: Int
    private let end: Int

    init(_ value: Run) {
      at = Int(value.start)
      end = Int(value.end)
    }

    mutating func next(_ bytes: Span<UInt8>) -> Pair? {
      while at < end && (bytes[at] == 0x20 || bytes[at] == 0x09 || bytes[at] == 0x3b) { at += 1 }
      if at == end { return nil }
      let start = at
      while at < end && bytes[at] != 0x3b { at += 1 }
      var stop = at
      while stop > start && (bytes[stop - 1] == 0x20 || bytes[stop - 1] == 0x09) { stop -= 1 }
      var equals = start
      while equals < stop && bytes[equals] != 0x3d { equals += 1 }
      var nameEnd = equals
      while nameEnd > start && (bytes[nameEnd - 1] == 0x20 || bytes[nameEnd - 1] == 0x09) { nameEnd -= 1 }
      var value = min(stop, equals + 1)
      while value < stop && (bytes[value] == 0x20 || bytes[value] == 0x09) { value += 1 }
      return Pair(name: start..<nameEnd, value: value..<stop, all: start..<stop)
    }
  }
}

extension HeadBuffer {
  /// One `Cookie` line of all cookies but `name`; nothing when none is left.
  ///
  /// The caller drops the lines that came, by their name.
  public mutating func appendCookies(_ bytes: Span<UInt8>, _ head: RequestHead, without name: [UInt8]) {
    var fields = Fields(head)
    var isFirst = true
    while let field = fields.next(bytes) {
      guard Grammar.matches(bytes, Int(field.name.start), Int(field.name.end), "cookie") else { continue }
      var pairs = Cookies.Pairs(field.value)
      while let pair = pairs.next(bytes) {
        if pair.isNamed(bytes, name) { continue }
        append(isFirst ? "Cookie: " : "; ")
        append(bytes, pair.all)
        isFirst = false
      }
    }
    if !isFirst { append("\r\n") }
  }
}
