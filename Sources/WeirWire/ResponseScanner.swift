// SPDX-License-Identifier: Apache-2.0

/// Reads an answer's head as strictly as ``RequestScanner`` reads a request's.
///
/// An answer that two readers could delimit in two ways is refused too: response splitting and cache poisoning live on
/// it. `Content-Length` twice, with `Transfer-Encoding`, or a coding other than `chunked` is a bad answer.
///
/// ## Invariants
/// As ``RequestScanner``'s: no difference by how bytes were split, and no input read more than a constant number of times.
public struct ResponseScanner: Sendable, Equatable, BitwiseCopyable {
  private var attempted = false
  private var searched = 0

  public init() {}

  /// Scans the head at the start of `bytes`; `toHead` says that the request was a `HEAD`, whose answer has no body.
  public mutating func scan(
    _ bytes: Span<UInt8>, toHead: Bool, limits: HeadLimits, into head: inout ResponseHead
  ) -> HeadOutcome {
    let limit = min(bytes.count, limits.bytes)
    if attempted && !HeadEnd.find(bytes, limit, from: &searched) {
      if limit < limits.bytes { return .needMore }
    }
    var names = RequestScanner.Nominations()
    var outcome = ResponseScanner.read(bytes, limit, toHead, limits, &head, &names)
    if outcome == .complete && names.count > 0 {
      names.armed = true
      outcome = ResponseScanner.read(bytes, limit, toHead, limits, &head, &names)
    }
    if outcome == .needMore {
      if limit < limits.bytes {
        attempted = true
        searched = max(searched, limit - 3)
        return .needMore
      }
      outcome = .refused(.headTooLarge)
    }
    attempted = false
    searched = 0
    return outcome
  }

  private struct Seen {
    var length = false
    var lengthValue: Int64 = 0
    var coding = false
    var close = false
    var keepAlive = false
  }

  private static func read(
    _ bytes: Span<UInt8>, _ limit: Int, _ toHead: Bool, _ limits: HeadLimits, _ head: inout ResponseHead,
    _ names: inout RequestScanner.Nominations
  ) -> HeadOutcome {
    head.clear()
    // "HTTP/1.1 200": twelve bytes, then a space and a reason, or the end of the line.
    let version = Load.word(bytes, 0)
    if limit < 13 {
      // What does not begin like an answer is none, however little there is of it.
      let shift = UInt64(max(0, 7 - limit) * 8)
      let begins = (version ^ 0x002e_312f_5054_5448) & (0x00ff_ffff_ffff_ffff >> shift) == 0
      return begins ? .needMore : .refused(.version)
    }
    if version == 0x302e_312f_5054_5448 {
      head.flags.insert(.http10)
    } else if version != 0x312e_312f_5054_5448 {
      return .refused(.version)
    }
    if bytes[8] != 0x20 { return .refused(.statusLine) }
    guard let status = Decimal.parse(bytes, 9, 12), status >= 100, status < 600 else { return .refused(.statusLine) }
    head.status = UInt16(status)
    if bytes[12] != 0x20 && bytes[12] != 0x0d { return .refused(.statusLine) }
    var i = 12
    while i < limit && (bytes[i] >= 0x20 || bytes[i] == 0x09) && bytes[i] != 0x7f { i &+= 1 }
    if i >= limit { return .needMore }
    if bytes[i] != 0x0d { return .refused(bytes[i] == 0x0a ? .lineEnding : .statusLine) }
    if i &+ 1 >= limit { return .needMore }
    if bytes[i &+ 1] != 0x0a { return .refused(.lineEnding) }
    i &+= 2
    head.fields = i

    var line = FieldLine()
    var count = 0
    var seen = Seen()
    while true {
      if i >= limit { return .needMore }
      if bytes[i] == 0x0d {
        if i &+ 1 >= limit { return .needMore }
        if bytes[i &+ 1] != 0x0a { return .refused(.lineEnding) }
        head.length = i &+ 2
        return finish(toHead, &head, seen)
      }
      if count == limits.fields { return .refused(.tooManyFields) }
      count &+= 1
      switch FieldLine.scan(bytes, i, limit, into: &line) {
      case .more: return .needMore
      case .refused(let error): return .refused(error)
      case .line: break
      }
      let name = FieldName.of(bytes, i, line.nameEnd)
      if name == .other {
        if names.armed && names.has(bytes, i, line.nameEnd) { head.cuts.add(i, line.next) }
      } else if let error = take(bytes, i, line, name, &head, &seen, &names) {
        return .refused(error)
      }
      i = line.next
    }
  }

  @inline(never)
  private static func take(
    _ bytes: Span<UInt8>, _ start: Int, _ line: FieldLine, _ name: FieldName, _ head: inout ResponseHead,
    _ seen: inout Seen, _ names: inout RequestScanner.Nominations
  ) -> HeadError? {
    var isKept = true
    switch name {
    case .contentLength:
      if seen.length { return .contentLength }
      if seen.coding { return .framingConflict }
      guard let length = Decimal.parse(bytes, line.valueStart, line.valueEnd) else { return .contentLength }
      seen.length = true
      seen.lengthValue = length
      if head.status < 200 || head.status == 204 {
        // Not to be sent (RFC 9110 §8.6), and a reader that believes it waits for a body that never comes.
        isKept = false
      } else {
        head.flags.insert(.contentLength)
      }
    case .transferEncoding:
      if seen.coding || head.flags.contains(.http10) { return .transferEncoding }
      if seen.length { return .framingConflict }
      guard Grammar.matches(bytes, line.valueStart, line.valueEnd, "chunked") else { return .transferEncoding }
      seen.coding = true
      // Written again by whoever knows what the caller can read.
      isKept = false
    case .connection:
      isKept = false
      var list = TokenList(line.valueStart, line.valueEnd)
      tokens: while true {
        switch list.next(bytes) {
        case .end: break tokens
        case .malformed: return .connection
        case .token(let from, let to):
          if Grammar.matches(bytes, from, to, "close") {
            seen.close = true
          } else if Grammar.matches(bytes, from, to, "keep-alive") {
            seen.keepAlive = true
          } else if !names.armed && !Grammar.matches(bytes, from, to, "upgrade") {
            if names.count == RequestScanner.nominationsMax { return .connection }
            names.runs[names.count] = Run(from, to)
            names.count += 1
          }
        }
      }
    case .retryAfter:
      if let seconds = Decimal.parse(bytes, line.valueStart, line.valueEnd) {
        head.retryAfterSeconds = seconds
      } else {
        head.retryAfterDate = Run(line.valueStart, line.valueEnd)
      }
    case .proxyStatus:
      if ProxyStatus.namesWeir(bytes, line.valueStart, line.valueEnd) { head.flags.insert(.fromWeir) }
    case .date: head.flags.insert(.date)
    case .keepAlive, .proxyConnection, .te, .upgrade, .http2Settings, .proxyAuthenticate, .weirDeadline, .weirRetries,
      .weirOther:
      isKept = false
    default: break
    }
    if names.armed && names.has(bytes, start, line.nameEnd) {
      if name == .contentLength || name == .transferEncoding { return .connection }
      isKept = false
    }
    if !isKept { head.cuts.add(start, line.next) }
    return nil
  }

  private static func finish(_ toHead: Bool, _ head: inout ResponseHead, _ seen: Seen) -> HeadOutcome {
    var keeps = head.flags.contains(.http10) ? seen.keepAlive && !seen.close : !seen.close
    if toHead || head.status < 200 || head.status == 204 || head.status == 304 {
      head.framing = .none
    } else if seen.coding {
      head.framing = .chunked
    } else if seen.length {
      head.framing = seen.lengthValue == 0 ? .none : .length(seen.lengthValue)
    } else {
      head.framing = .untilClose
      keeps = false
    }
    if keeps { head.flags.insert(.keepAlive) }
    return .complete
  }
}
