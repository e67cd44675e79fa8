// SPDX-License-Identifier: Apache-2.0

/// The path of a request as that of a file.
public enum FilePath {
  /// Relative to the folder, without its first `skip` parts: `a/b.css`; it ends in `/` or is empty for a folder.
  ///
  /// Nil for what no file may be asked by: dots, hidden names (`.git`; but `.well-known`, RFC 8615), empty parts,
  /// encoded slashes, control characters, bytes that are no UTF-8.
  public static func relative(_ bytes: Span<UInt8>, _ path: Run, skip: Int) -> String? {
    var out: [UInt8] = []
    var at = Int(path.start)
    let end = Int(path.end)
    guard at < end, bytes[at] == 0x2f else { return nil }
    var index = 0
    while at < end {
      at += 1
      var part: [UInt8] = []
      while at < end && bytes[at] != 0x2f {
        var byte = bytes[at]
        if byte == 0x25 {
          guard at + 2 < end, let high = hex(bytes[at + 1]), let low = hex(bytes[at + 2]) else { return nil }
          byte = high << 4 | low
          at += 2
        }
        if byte < 0x20 || byte == 0x7f || byte == 0x2f || byte == 0x5c { return nil }
        part.append(byte)
        at += 1
      }
      let isLast = at >= end
      if part.isEmpty && !isLast { return nil }
      if part.first == 0x2e && part != wellKnown { return nil }
      if part.count > 255 { return nil }
      if index >= skip {
        out += part
        if !isLast { out.append(0x2f) }
      }
      index += 1
    }
    if index < skip { return nil }
    let text = String(decoding: out, as: UTF8.self)
    return Array(text.utf8) == out ? text : nil
  }

  private static let wellKnown = Array(".well-known".utf8)

  private static func hex(_ byte: UInt8) -> UInt8? {
    switch byte {
    case 0x30...0x39: byte - 0x30
    case 0x41...0x46: byte - 0x37
    case 0x61...0x66: byte - 0x57
    default: nil
    }
  }
}

/// What is answered to a request for a file that is there: conditions and ranges.
///
/// Source: RFC 9110 §13.2.2 (order of conditions), §14 (ranges). Several ranges at once are answered with the whole: what
/// a server may do (§14.2), and what keeps one request from costing many.
public struct FileRequest: Sendable, Equatable {
  public enum Verdict: Sendable, Equatable {
    case whole
    /// Bytes from the first up to, not including, the second.
    case part(Range<Int64>)
    /// 304.
    case unchanged
    /// 412.
    case failed
    /// 416.
    case unsatisfiable
  }

  /// With its quotes; strong.
  public var tag: [UInt8]
  /// Seconds since 1970.
  public var modified: Int64
  public var size: Int64

  public init(tag: [UInt8], modified: Int64, size: Int64) {
    self.tag = tag
    self.modified = modified
    self.size = size
  }

  public func judge(_ bytes: Span<UInt8>, _ head: RequestHead) -> Verdict {
    let fields = Fields(head)
    if let matches = matches(bytes, fields, "if-match", weakly: false) {
      if !matches { return .failed }
    } else if let date = date(bytes, fields, "if-unmodified-since"), modified > date {
      return .failed
    }
    if let matches = matches(bytes, fields, "if-none-match", weakly: true) {
      if matches { return .unchanged }
    } else if let date = date(bytes, fields, "if-modified-since"), modified <= date {
      return .unchanged
    }
    guard head.method == .get, case .one(let range) = fields.find(bytes, "range") else { return .whole }
    switch fields.find(bytes, "if-range") {
    case .none: break
    case .many: return .whole
    case .one(let value):
      // A strong tag or an exact date; a weak tag names no bytes.
      let isSame = equals(bytes, value.range, tag) || HTTPDate.parse(bytes, value) == modified
      if !isSame { return .whole }
    }
    return part(bytes, range)
  }

  /// Whether one of the tags of all lines is ours; nil without such a field.
  private func matches(
    _ bytes: Span<UInt8>, _ fields: Fields, _ name: StaticString, weakly: Bool
  ) -> Bool? {
    var rest = fields
    var isGiven = false
    while let field = rest.next(bytes) {
      guard Grammar.matches(bytes, Int(field.name.start), Int(field.name.end), name) else { continue }
      isGiven = true
      if field.value.count == 1 && bytes[Int(field.value.start)] == 0x2a { return true }
      var at = Int(field.value.start)
      let end = Int(field.value.end)
      while at < end {
        if bytes[at] == 0x20 || bytes[at] == 0x09 || bytes[at] == 0x2c {
          at += 1
          continue
        }
        let isWeak = at + 1 < end && bytes[at] == 0x57 && bytes[at + 1] == 0x2f
        if isWeak { at += 2 }
        guard at < end, bytes[at] == 0x22 else { break }
        let start = at
        at += 1
        while at < end && bytes[at] != 0x22 { at += 1 }
        if at >= end { break }
        at += 1
        if (weakly || !isWeak) && equals(bytes, start..<at, tag) { return true }
      }
    }
    return isGiven ? false : nil
  }

  private func equals(_ bytes: Span<UInt8>, _ range: Range<Int>, _ text: [UInt8]) -> Bool {
    guard range.count == text.count else { return false }
    for i in 0..<text.count where bytes[range.lowerBound + i] != text[i] { return false }
    return true
  }

  private func date(_ bytes: Span<UInt8>, _ fields: Fields, _ name: StaticString) -> Int64? {
    guard case .one(let value) = fields.find(bytes, name) else { return nil }
    return HTTPDate.parse(bytes, value)
  }

  /// `bytes=0-99`, `bytes=100-`, `bytes=-50`; what is none of these is as if it was not there.
  private func part(_ bytes: Span<UInt8>, _ value: Run) -> Verdict {
    let start = Int(value.start)
    var at = start + 6
    let end = Int(value.end)
    guard at < end, Grammar.matches(bytes, start, at, "bytes=") else { return .whole }
    func number() -> Int64? {
      var number: Int64?
      while at < end, Grammar.isDigit(bytes[at]) {
        let (next, over) = (number ?? 0).multipliedReportingOverflow(by: 10)
        number = over ? Int64.max / 16 : min(next + Int64(bytes[at] - 0x30), Int64.max / 16)
        at += 1
      }
      return number
    }
    let first = number()
    guard at < end, bytes[at] == 0x2d else { return .whole }
    at += 1
    let last = number()
    guard at == end else { return .whole }
    switch (first, last) {
    case (nil, nil): return .whole
    case (nil, let count?): return count == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - count)..<size)
    case (let from?, nil): return from >= size ? .unsatisfiable : .part(from..<size)
    case (let from?, let to?):
      if to < from { return .whole }
      return from >= size ? .unsatisfiable : .part(from..<min(to + 1, size))
    }
  }
}
