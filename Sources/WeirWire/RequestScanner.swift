// SPDX-License-Identifier: Apache-2.0

/// Reads a request's head strictly (RFC 9110, RFC 9112), in one pass, and says which bytes of it are not passed on.
///
/// What two servers could read in two ways is refused, not mended: that is what request smuggling lives on.
///
/// | what | here | why |
/// |---|---|---|
/// | bare LF, bare CR, folded lines, white space before a colon | refused | RFC 9112 §2.2, §5.1, §5.2 |
/// | `Content-Length` twice, in a list, signed, empty; with `Transfer-Encoding` | refused, even when equal | §6.3 |
/// | `Transfer-Encoding` other than one `chunked`; in HTTP/1.0 | refused | §6.1 |
/// | `Host` missing in 1.1, twice, not a host, other than an absolute target's | refused | §3.2 |
/// | names that differ from ours by `_` for `-` | refused | CGI folds both (as Envoy's and nginx's secure setting) |
/// | a tab beside the value of `Host` or of what frames | refused | nginx takes it for a part of the value |
/// | dot segments, `//`, `\`, `%2F`, `%5C`, `%00`, overlong UTF-8, escaped letters, digits, `-._` in a path | refused | a route could be missed that the callee then serves; Envoy's edge advice normalises or rejects, nginx normalises for matching only |
/// | one empty line before the request line | ignored | §2.2 |
/// | `Upgrade: h2c` | ignored | RFC 9110 §7.8; others are told to the driver |
/// | `Connection` names a field | that field is dropped; `Host` and framing cannot be named | RFC 9110 §7.6.1 |
///
/// ## Invariants
/// 1. The answer depends on the bytes, not on how they were split: a head given byte by byte ends as the whole does.
/// 2. No input is read more than a constant number of times: while a head is not whole, only its end is searched for, from
///    where the last search stopped.
public struct RequestScanner: Sendable, Equatable, BitwiseCopyable {
  /// Who sent it, which decides what forwarding fields count.
  public struct Sender: OptionSet, Sendable, BitwiseCopyable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// A listed proxy: its `X-Forwarded-*` and `Forwarded` are kept.
    public static var proxy: Sender { Sender(rawValue: 1) }
    /// A service of ours: its `Weir-Deadline` and `Weir-Retries` count.
    public static var service: Sender { Sender(rawValue: 2) }
  }

  /// Names that a `Connection` field may give; more is no sender's need.
  static let nominationsMax = 16

  private var attempted = false
  private var searched = 0

  public init() {}

  /// Scans the head at the start of `bytes`.
  ///
  /// Call again with more bytes after `needMore`; after another answer the scanner is ready for the next head.
  public mutating func scan(
    _ bytes: Span<UInt8>, from sender: Sender, limits: HeadLimits, into head: inout RequestHead
  ) -> HeadOutcome {
    let limit = min(bytes.count, limits.bytes)
    if attempted && !HeadEnd.find(bytes, limit, from: &searched) {
      if limit < limits.bytes { return .needMore }
    }
    var names = Nominations()
    var outcome = RequestScanner.read(bytes, limit, sender, limits, &head, &names)
    if outcome == .complete && names.count > 0 {
      names.armed = true
      outcome = RequestScanner.read(bytes, limit, sender, limits, &head, &names)
    }
    if outcome == .needMore {
      if limit >= limits.bytes {
        outcome = .refused(head.fields == 0 ? .targetTooLong : .headTooLarge)
      } else {
        attempted = true
        searched = max(searched, limit - 3)
        return .needMore
      }
    }
    attempted = false
    searched = 0
    return outcome
  }

  /// Fields that `Connection` named, for a second pass; rare.
  struct Nominations {
    var armed = false
    var count = 0
    var runs = InlineArray<16, Run>(repeating: .empty)

    func has(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
      for i in 0..<count where Grammar.matches(bytes, start..<end, runs[i].range) { return true }
      return false
    }
  }

  // MARK: One pass

  private static func read(
    _ bytes: Span<UInt8>, _ limit: Int, _ sender: Sender, _ limits: HeadLimits, _ head: inout RequestHead,
    _ names: inout Nominations
  ) -> HeadOutcome {
    head.clear()
    var authority = Run.empty
    let lined = RequestLine.read(bytes, limit, &head, &authority)
    if lined != .complete { return lined }

    var i = head.fields
    var line = FieldLine()
    var count = 0
    var seen = Seen()
    while true {
      if i >= limit { return .needMore }
      if bytes[i] == 0x0d {
        if i &+ 1 >= limit { return .needMore }
        if bytes[i &+ 1] != 0x0a { return .refused(.lineEnding) }
        head.length = i &+ 2
        return finish(bytes, &head, seen, authority)
      }
      if count == limits.fields { return .refused(.tooManyFields) }
      count &+= 1
      switch FieldLine.scan(bytes, i, limit, into: &line) {
      case .more: return .needMore
      case .refused(let error): return .refused(error)
      case .line: break
      }
      if line.underscored && FieldName.isDisguised(bytes, i, line.nameEnd) { return .refused(.disguisedName) }
      let name = FieldName.of(bytes, i, line.nameEnd)
      if name == .other {
        if names.armed && names.has(bytes, i, line.nameEnd) { head.cuts.add(i, line.next) }
      } else if let error = take(bytes, i, line, name, sender, &head, &seen, &names) {
        return .refused(error)
      }
      i = line.next
    }
  }

  /// What has been met so far.
  private struct Seen {
    var host = false
    var length = false
    var lengthValue: Int64 = 0
    var coding = false
    var traceparents = 0
    var close = false
    var keepAlive = false
    var upgradeToken = false
    var upgrade = false
  }

  /// A field that we decide by.
  @inline(never)
  private static func take(
    _ bytes: Span<UInt8>, _ start: Int, _ line: FieldLine, _ name: FieldName, _ sender: Sender,
    _ head: inout RequestHead, _ seen: inout Seen, _ names: inout Nominations
  ) -> HeadError? {
    let value = Run(line.valueStart, line.valueEnd)
    var isKept = false
    switch name {
    case .host:
      if seen.host || line.isTabbed(bytes) || !HostRule.isHost(bytes, line.valueStart, line.valueEnd) { return .host }
      seen.host = true
      head.host = value
      isKept = true
    case .contentLength:
      if seen.length { return .contentLength }
      if seen.coding { return .framingConflict }
      guard !line.isTabbed(bytes), let length = Decimal.parse(bytes, line.valueStart, line.valueEnd) else {
        return .contentLength
      }
      seen.length = true
      seen.lengthValue = length
      isKept = true
    case .transferEncoding:
      if seen.coding || head.flags.contains(.http10) { return .transferEncoding }
      if seen.length { return .framingConflict }
      guard !line.isTabbed(bytes), Grammar.matches(bytes, line.valueStart, line.valueEnd, "chunked") else {
        return .transferEncoding
      }
      seen.coding = true
      isKept = true
    case .connection:
      if !connection(bytes, line.valueStart, line.valueEnd, &seen, &names) { return .connection }
    case .upgrade:
      if !Grammar.matches(bytes, line.valueStart, line.valueEnd, "h2c") { seen.upgrade = true }
    case .expect:
      if head.flags.contains(.http10) { break }
      guard Grammar.matches(bytes, line.valueStart, line.valueEnd, "100-continue") else { return .expectation }
      head.flags.insert(.expectsContinue)
    case .forwardedFor:
      if sender.contains(.proxy), !value.isEmpty, !head.forwardedFor.append(value) { return .forwarded }
    case .forwarded:
      if sender.contains(.proxy), !value.isEmpty, !head.forwarded.append(value) { return .forwarded }
    case .forwardedProto:
      if sender.contains(.proxy) {
        isKept = true
        if head.flags.contains(.forwardedProto) { return .forwarded }
        head.flags.insert(.forwardedProto)
        if Grammar.matches(bytes, line.valueStart, line.valueEnd, "https") { head.flags.insert(.https) }
      }
    case .forwardedHost:
      if sender.contains(.proxy) {
        isKept = true
        if head.flags.contains(.forwardedHost) { return .forwarded }
        head.flags.insert(.forwardedHost)
      }
    case .forwardedOther, .realIP:
      isKept = sender.contains(.proxy)
    case .traceparent:
      seen.traceparents += 1
      head.traceparent = seen.traceparents == 1 ? value : .empty
    case .tracestate:
      // Beyond four lines the state is dropped, which W3C allows (Trace Context §3.3.1.5): it is the vendors' own.
      if !value.isEmpty { _ = head.tracestate.append(value) }
    case .weirDeadline:
      if sender.contains(.service), let left = Decimal.parse(bytes, line.valueStart, line.valueEnd) {
        head.deadlineMilliseconds = left
      }
    case .weirRetries:
      if sender.contains(.service), Grammar.matches(bytes, line.valueStart, line.valueEnd, "taken") {
        head.flags.insert(.outerRetries)
      }
    case .idempotencyKey:
      if !value.isEmpty { head.flags.insert(.idempotencyKey) }
      isKept = true
    case .retryAfter, .proxyStatus, .date, .proxyAuthenticate:
      // Fields of answers mean nothing to us in a request.
      isKept = true
    case .keepAlive, .proxyConnection, .te, .http2Settings, .proxyAuthorization, .weirOther, .proxy, .other:
      // Hop-by-hop, or ours alone; `Proxy` becomes `HTTP_PROXY` in CGI programs ("httpoxy", CVE-2016-5385).
      break
    }
    if names.armed && names.has(bytes, start, line.nameEnd) {
      // Nobody may have a hop drop what frames or directs the message.
      if name == .host || name == .contentLength || name == .transferEncoding { return .connection }
      isKept = false
      // A key that the callee does not see makes no repetition safe.
      if name == .idempotencyKey { head.flags.remove(.idempotencyKey) }
    }
    if !isKept { head.cuts.add(start, line.next) }
    return nil
  }

  private static func finish(
    _ bytes: Span<UInt8>, _ head: inout RequestHead, _ seen: Seen, _ authority: Run
  ) -> HeadOutcome {
    if !seen.host && !head.flags.contains(.http10) { return .refused(.host) }
    if !authority.isEmpty {
      // An absolute target's authority replaces Host (RFC 9112 §3.2.2); a sender whose two differ is up to something.
      if seen.host && !Grammar.matches(bytes, authority.range, head.host.range) { return .refused(.host) }
      head.host = authority
      if !seen.host { head.flags.insert(.hostless) }
    }
    if seen.coding {
      head.framing = .chunked
    } else if seen.lengthValue > 0 {
      head.framing = .length(seen.lengthValue)
    }
    if seen.upgrade && seen.upgradeToken && !head.flags.contains(.http10) { head.flags.insert(.upgrade) }
    let keeps = head.flags.contains(.http10) ? seen.keepAlive && !seen.close : !seen.close
    if keeps { head.flags.insert(.keepAlive) }
    if head.framing == .none { head.flags.remove(.expectsContinue) }
    return .complete
  }

  private static func connection(
    _ bytes: Span<UInt8>, _ start: Int, _ end: Int, _ seen: inout Seen, _ names: inout Nominations
  ) -> Bool {
    var list = TokenList(start, end)
    while true {
      switch list.next(bytes) {
      case .end: return true
      case .malformed: return false
      case .token(let from, let to):
        if Grammar.matches(bytes, from, to, "close") {
          seen.close = true
        } else if Grammar.matches(bytes, from, to, "keep-alive") {
          seen.keepAlive = true
        } else if Grammar.matches(bytes, from, to, "upgrade") {
          seen.upgradeToken = true
        } else if !names.armed {
          // A name of ours that is dropped anyway needs no second pass.
          switch FieldName.of(bytes, from, to) {
          case .te, .http2Settings, .keepAlive, .proxyConnection: continue
          default: break
          }
          if names.count == nominationsMax { return false }
          names.runs[names.count] = Run(from, to)
          names.count += 1
        }
      }
    }
  }
}

/// The tokens of a comma-separated list; empty elements are skipped (RFC 9110 §5.6.1.2).
struct TokenList {
  enum Element { case token(Int, Int), end, malformed }
  private var at: Int
  private let end: Int

  init(_ start: Int, _ end: Int) {
    at = start
    self.end = end
  }

  mutating func next(_ bytes: Span<UInt8>) -> Element {
    while at < end && (bytes[at] == 0x2c || bytes[at] == 0x20 || bytes[at] == 0x09) { at += 1 }
    if at == end { return .end }
    let from = at
    while at < end && Grammar.isToken(bytes[at]) { at += 1 }
    let to = at
    while at < end && (bytes[at] == 0x20 || bytes[at] == 0x09) { at += 1 }
    if to == from || (at < end && bytes[at] != 0x2c) { return .malformed }
    return .token(from, to)
  }
}

/// The end of a head, searched for without looking at what is in it.
enum HeadEnd {
  /// Whether an empty line lies within `from ..< limit`, by whatever line ends: what is wrong with them is the pass's
  /// to say.
  ///
  /// Moves `from` to where the next search begins.
  static func find(_ bytes: Span<UInt8>, _ limit: Int, from: inout Int) -> Bool {
    var i = from
    while i < limit {
      if i + 8 <= limit {
        let hit = Grammar.lineFeeds(Load.word(bytes, i))
        if hit == 0 {
          i += 8
          continue
        }
        i += hit.trailingZeroBitCount >> 3
      } else if bytes[i] != 0x0a {
        i += 1
        continue
      }
      if i + 1 < limit && bytes[i + 1] == 0x0a { return true }
      if i + 2 < limit && bytes[i + 1] == 0x0d && bytes[i + 2] == 0x0a { return true }
      i += 1
    }
    from = max(from, limit - 3)
    return false
  }
}

/// `1*DIGIT`, at most 18 of them: below 2⁶³ with room to add.
enum Decimal {
  static func parse(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Int64? {
    guard end > start, end - start <= 18 else { return nil }
    var value: Int64 = 0
    for i in start..<end {
      guard Grammar.isDigit(bytes[i]) else { return nil }
      value = value &* 10 &+ Int64(bytes[i] &- 0x30)
    }
    return value
  }
}
