// SPDX-License-Identifier: Apache-2.0

/// Choosing a content coding by `Accept-Encoding` (RFC 9110 §12.5.3).
public enum ContentCoding: UInt8, Sendable, CaseIterable, BitwiseCopyable {
  case identity, gzip, brotli, zstd

  public struct Set: OptionSet, Sendable, Hashable, BitwiseCopyable {
    public var rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static var gzip: Set { Set(rawValue: 2) }
    public static var brotli: Set { Set(rawValue: 4) }
    public static var zstd: Set { Set(rawValue: 8) }
  }

  public var token: StaticString {
    switch self {
    case .identity: "identity"
    case .gzip: "gzip"
    case .brotli: "br"
    case .zstd: "zstd"
    }
  }

  /// The coding to send: the one of `offered` (and identity) with the highest weight; of equals zstd before brotli before
  /// gzip before identity.
  ///
  /// Without the field, identity: compression is an answer to a wish. When everything is refused (`identity;q=0`) it is
  /// nil, and identity is what most servers send then.
  public static func choose(_ bytes: Span<UInt8>, _ head: RequestHead, offered: Set) -> ContentCoding? {
    // In thousandths; -1 is not mentioned.
    var weights = InlineArray<4, Int>(repeating: -1)
    var star = -1
    var isGiven = false
    var fields = Fields(head)
    while let field = fields.next(bytes) {
      guard Grammar.matches(bytes, Int(field.name.start), Int(field.name.end), "accept-encoding") else { continue }
      isGiven = true
      var list = WeightedList(field.value)
      while let element = list.next(bytes) {
        let from = element.name.lowerBound
        let to = element.name.upperBound
        if Grammar.matches(bytes, from, to, "*") {
          star = element.weight
        } else if Grammar.matches(bytes, from, to, "identity") {
          weights[0] = element.weight
        } else if Grammar.matches(bytes, from, to, "gzip") || Grammar.matches(bytes, from, to, "x-gzip") {
          weights[1] = element.weight
        } else if Grammar.matches(bytes, from, to, "br") {
          weights[2] = element.weight
        } else if Grammar.matches(bytes, from, to, "zstd") {
          weights[3] = element.weight
        }
      }
    }
    if !isGiven { return .identity }
    var best: ContentCoding?
    var bestWeight = 0
    for rank in 1...3 {
      let coding = rank == 1 ? ContentCoding.zstd : rank == 2 ? .brotli : .gzip
      guard offered.rawValue >> coding.rawValue & 1 == 1 else { continue }
      let own = weights[Int(coding.rawValue)]
      let weight = own >= 0 ? own : max(0, star)
      if weight > bestWeight {
        best = coding
        bestWeight = weight
      }
    }
    // Identity is acceptable unless refused by its name or by `*;q=0`; unnamed it is the last resort.
    if weights[0] > bestWeight { return .identity }
    if let best { return best }
    let isRefused = weights[0] == 0 || (weights[0] < 0 && star == 0)
    return isRefused ? nil : .identity
  }
}

/// The elements of a list such as `a;q=0.5, b`, with their weights in thousandths.
///
/// A weight that is none (RFC 9110 §12.4.2) counts as 0: what cannot be read is not asked for.
struct WeightedList {
  struct Element {
    var name: Range<Int>
    /// All but the weight: `; version=2`.
    var parameters: Range<Int>
    var weight: Int
  }

  private var at: Int
  private let end: Int

  init(_ value: Run) {
    at = Int(value.start)
    end = Int(value.end)
  }

  mutating func next(_ bytes: Span<UInt8>) -> Element? {
    while at < end && (bytes[at] == 0x2c || bytes[at] == 0x20 || bytes[at] == 0x09) { at += 1 }
    if at >= end { return nil }
    let start = at
    // To the next comma outside quotes.
    var quoted = false
    while at < end && (quoted || bytes[at] != 0x2c) {
      if quoted && bytes[at] == 0x5c {
        at += 1
      } else if bytes[at] == 0x22 {
        quoted.toggle()
      }
      at += 1
    }
    at = min(at, end)
    var nameEnd = start
    while nameEnd < at && bytes[nameEnd] != 0x3b && bytes[nameEnd] != 0x20 && bytes[nameEnd] != 0x09 { nameEnd += 1 }
    var element = Element(name: start..<nameEnd, parameters: nameEnd..<at, weight: 1000)
    var parameters = Parameters(nameEnd..<at)
    while let (name, value) = parameters.next(bytes) {
      if Grammar.matches(bytes, name.lowerBound, name.upperBound, "q") {
        element.weight = WeightedList.weight(bytes, value)
        break
      }
    }
    return element
  }

  /// `0`, `0.123`, `1`, `1.000`.
  static func weight(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int {
    guard !range.isEmpty, range.count <= 5 else { return 0 }
    let first = bytes[range.lowerBound]
    guard first == 0x30 || first == 0x31 else { return 0 }
    var value = first == 0x31 ? 1000 : 0
    if range.count > 1 {
      guard bytes[range.lowerBound + 1] == 0x2e else { return 0 }
      var unit = 100
      for i in (range.lowerBound + 2)..<max(range.lowerBound + 2, range.upperBound) {
        guard Grammar.isDigit(bytes[i]) else { return 0 }
        value += Int(bytes[i] - 0x30) * unit
        unit /= 10
      }
    }
    return value <= 1000 ? value : 0
  }
}

/// `; name=value` parameters (RFC 9110 §5.6.6); a quoted value is given without its quotes, as written.
struct Parameters {
  private var at: Int
  private let end: Int

  init(_ range: Range<Int>) {
    at = range.lowerBound
    end = range.upperBound
  }

  mutating func next(_ bytes: Span<UInt8>) -> (name: Range<Int>, value: Range<Int>)? {
    while at < end && (bytes[at] == 0x3b || bytes[at] == 0x20 || bytes[at] == 0x09) { at += 1 }
    if at >= end { return nil }
    let start = at
    while at < end && Grammar.isToken(bytes[at]) { at += 1 }
    let name = start..<at
    guard !name.isEmpty else { return nil }
    guard at < end, bytes[at] == 0x3d else { return (name, at..<at) }
    at += 1
    if at < end && bytes[at] == 0x22 {
      at += 1
      let from = at
      while at < end && bytes[at] != 0x22 { at += bytes[at] == 0x5c ? 2 : 1 }
      if at >= end { return nil }
      at += 1
      return (name, from..<(at - 1))
    }
    let from = at
    while at < end && Grammar.isToken(bytes[at]) { at += 1 }
    return (name, from..<at)
  }
}

/// Media types (RFC 9110 §8.3.1), compared whatever their case.
public enum MediaType {
  /// Whether `value`, a `Content-Type`, is `type` (in lower case), whatever its parameters.
  public static func matches(_ bytes: Span<UInt8>, _ value: Run, _ type: StaticString) -> Bool {
    Grammar.matches(bytes, Int(value.start), essenceEnd(bytes, value), type)
  }

  /// As ``matches(_:_:_:)`` with a name of the file's; a `*` at its end stands for any rest.
  public static func matches(_ bytes: Span<UInt8>, _ value: Run, _ type: [UInt8]) -> Bool {
    let start = Int(value.start)
    let end = essenceEnd(bytes, value)
    let isOpen = type.last == 0x2a
    let count = isOpen ? type.count - 1 : type.count
    guard isOpen ? end - start >= count : end - start == count else { return false }
    for i in 0..<count {
      let byte = bytes[start + i]
      if (byte &- 0x41 < 26 ? byte | 0x20 : byte) != type[i] { return false }
    }
    return true
  }

  private static func essenceEnd(_ bytes: Span<UInt8>, _ value: Run) -> Int {
    var end = Int(value.start)
    while end < Int(value.end) && bytes[end] != 0x3b && bytes[end] != 0x20 && bytes[end] != 0x09 { end += 1 }
    return end
  }

  /// The value of parameter `name` (in lower case) of the heaviest element of the `Accept` lines that has it and is not
  /// refused: `application/json;version=2`.
  ///
  /// Of equal ones the first; nil when there is none.
  public static func accepted(_ bytes: Span<UInt8>, _ head: RequestHead, parameter name: StaticString) -> Run? {
    var best: Run?
    var bestWeight = 0
    var fields = Fields(head)
    while let field = fields.next(bytes) {
      guard Grammar.matches(bytes, Int(field.name.start), Int(field.name.end), "accept") else { continue }
      var list = WeightedList(field.value)
      while let element = list.next(bytes) {
        guard element.weight > bestWeight else { continue }
        var parameters = Parameters(element.parameters)
        while let (found, value) = parameters.next(bytes) {
          if Grammar.matches(bytes, found.lowerBound, found.upperBound, name) {
            best = Run(value.lowerBound, value.upperBound)
            bestWeight = element.weight
            break
          }
        }
      }
    }
    return best
  }

  /// The essence of the heaviest element of the `Accept` lines that begins with `prefix` (in lower case), behind it:
  /// `v2+json` of `application/vnd.shop.v2+json` with `application/vnd.shop.`.
  public static func accepted(_ bytes: Span<UInt8>, _ head: RequestHead, after prefix: [UInt8]) -> Run? {
    var best: Run?
    var bestWeight = 0
    var fields = Fields(head)
    while let field = fields.next(bytes) {
      guard Grammar.matches(bytes, Int(field.name.start), Int(field.name.end), "accept") else { continue }
      var list = WeightedList(field.value)
      search: while let element = list.next(bytes) {
        guard element.weight > bestWeight, element.name.count >= prefix.count else { continue }
        for i in 0..<prefix.count {
          let byte = bytes[element.name.lowerBound + i]
          if (byte &- 0x41 < 26 ? byte | 0x20 : byte) != prefix[i] { continue search }
        }
        best = Run(element.name.lowerBound + prefix.count, element.name.upperBound)
        bestWeight = element.weight
      }
    }
    return best
  }
}

/// Entity tags (RFC 9110 §8.8.3).
public enum EntityTag {
  public static func isWeak(_ bytes: Span<UInt8>, _ value: Run) -> Bool {
    value.count >= 4 && bytes[Int(value.start)] == 0x57 && bytes[Int(value.start) + 1] == 0x2f
  }

  /// `"…"` or `W/"…"` with no quote within.
  public static func isTag(_ bytes: Span<UInt8>, _ value: Run) -> Bool {
    let start = Int(value.start) + (isWeak(bytes, value) ? 2 : 0)
    let end = Int(value.end)
    guard end - start >= 2, bytes[start] == 0x22, bytes[end - 1] == 0x22 else { return false }
    for i in (start + 1)..<(end - 1) where bytes[i] == 0x22 || bytes[i] < 0x21 { return false }
    return true
  }
}

extension HeadBuffer {
  /// `ETag` of an answer that we compress: the callee's, weak, for its bytes are no longer those it names
  /// (RFC 9110 §8.8.3.3).
  ///
  /// What is no tag is left out. The caller drops the line that came.
  public mutating func appendWeakTag(_ bytes: Span<UInt8>, _ value: Run) {
    guard EntityTag.isTag(bytes, value) else { return }
    append(EntityTag.isWeak(bytes, value) ? "ETag: " : "ETag: W/")
    append(bytes, value.range)
    append("\r\n")
  }
}

/// `Vary` (RFC 9110 §12.5.5).
public enum Vary {
  /// Whether the answer's `Vary` lines have `name` (in lower case) or `*`: if not, a line of ours is added, which merges.
  public static func has(_ bytes: Span<UInt8>, _ head: ResponseHead, _ name: StaticString) -> Bool {
    var fields = Fields(head)
    while let field = fields.next(bytes) {
      guard Grammar.matches(bytes, Int(field.name.start), Int(field.name.end), "vary") else { continue }
      var list = TokenList(Int(field.value.start), Int(field.value.end))
      while case .token(let from, let to) = list.next(bytes) {
        if Grammar.matches(bytes, from, to, name) || Grammar.matches(bytes, from, to, "*") { return true }
      }
    }
    return false
  }
}

/// What CORS decides by (WHATWG Fetch §3.2), gathered in one walk.
public struct CORSRequest: Sendable, Equatable, BitwiseCopyable {
  /// `many` is an attack or a mistake: no header may be answered to it.
  public var origin = Fields.Found.none
  public var method = Fields.Found.none
  /// The lines of `Access-Control-Request-Headers`; a fifth and later make ``isOverlong`` true.
  public var headers = RunList()
  public var isOverlong = false

  /// `OPTIONS` with an origin and a method asked for.
  public var isPreflight = false

  public init(_ bytes: Span<UInt8>, _ head: RequestHead) {
    var fields = Fields(head)
    while let field = fields.next(bytes) {
      let from = Int(field.name.start)
      let to = Int(field.name.end)
      if Grammar.matches(bytes, from, to, "origin") {
        origin = origin == .none ? .one(field.value) : .many
      } else if Grammar.matches(bytes, from, to, "access-control-request-method") {
        method = method == .none ? .one(field.value) : .many
      } else if Grammar.matches(bytes, from, to, "access-control-request-headers") {
        if !field.value.isEmpty && !headers.append(field.value) { isOverlong = true }
      }
    }
    if case .one = origin, case .one = method { isPreflight = head.method == .options }
  }

  /// Whether every header asked for is one of `allowed`.
  public func asksOnly(for allowed: FieldNames, _ bytes: Span<UInt8>) -> Bool {
    if isOverlong { return false }
    for i in 0..<headers.count {
      var list = TokenList(Int(headers[i].start), Int(headers[i].end))
      tokens: while true {
        switch list.next(bytes) {
        case .end: break tokens
        case .malformed: return false
        case .token(let from, let to): if allowed.index(bytes, Run(from, to)) < 0 { return false }
        }
      }
    }
    return true
  }
}

/// `Authorization` and the like, split (RFC 9110 §11.4).
public enum Credentials: Sendable, Equatable, BitwiseCopyable {
  case none
  /// Bytes of the buffer given: user and password, decoded.
  case basic(user: Run, password: Run)
  /// A token of RFC 6750's letters.
  case bearer(Run)
  case other(scheme: Run, rest: Run)
  /// More than one field, no scheme, base64 that is not canonical, a control character, no colon, no token.
  case malformed

  /// What the request's `Authorization` says; `scratch` is cleared and holds what Basic decodes to.
  public static func read(_ bytes: Span<UInt8>, _ head: RequestHead, scratch: inout HeadBuffer) -> Credentials {
    switch Fields(head).find(bytes, "authorization") {
    case .none: return .none
    case .many: return .malformed
    case .one(let value): return read(bytes, value, scratch: &scratch)
    }
  }

  static func read(_ bytes: Span<UInt8>, _ value: Run, scratch: inout HeadBuffer) -> Credentials {
    let start = Int(value.start)
    let end = Int(value.end)
    var i = start
    while i < end && Grammar.isToken(bytes[i]) { i += 1 }
    let scheme = Run(start, i)
    if scheme.isEmpty || i == end || bytes[i] != 0x20 { return .malformed }
    while i < end && bytes[i] == 0x20 { i += 1 }
    if Grammar.matches(bytes, start, Int(scheme.end), "bearer") {
      // token68 (RFC 9110 §11.2): letters, then `=` at the end.
      var at = i
      while at < end && isToken68(bytes[at]) { at += 1 }
      let letters = at
      while at < end && bytes[at] == 0x3d { at += 1 }
      return letters == i || at != end ? .malformed : .bearer(Run(i, end))
    }
    guard Grammar.matches(bytes, start, Int(scheme.end), "basic") else {
      return .other(scheme: scheme, rest: Run(i, end))
    }
    scratch.clear()
    guard Base64.decode(bytes, i..<end, into: &scratch) else { return .malformed }
    // RFC 7617 §2: the first colon ends the user; neither has controls.
    var colon = -1
    for at in 0..<scratch.count {
      let byte = scratch.storage[at]
      if byte < 0x20 || byte == 0x7f { return .malformed }
      if byte == 0x3a && colon < 0 { colon = at }
    }
    if colon < 0 { return .malformed }
    return .basic(user: Run(0, colon), password: Run(colon + 1, scratch.count))
  }

  private static func isToken68(_ byte: UInt8) -> Bool {
    Base64.value(byte) != 255 || byte == 0x2d || byte == 0x2e || byte == 0x5f || byte == 0x7e
  }
}

/// The hops of a forwarding chain from the nearest outwards: each is what a hop said of its own peer.
///
/// The driver trusts the connection's peer, then asks `next` as long as what it got is a trusted proxy's address: the
/// first that is not is the client. What is no address ends the trust.
public struct ForwardedHops: Sendable, BitwiseCopyable {
  public enum Hop: Sendable, Equatable, BitwiseCopyable {
    case address(WireAddress)
    /// `unknown`, an obfuscated name, or nothing that can be read.
    case unknown
    case end
  }

  private let lines: RunList
  private let isForwarded: Bool
  private var line: Int
  private var at: Int

  /// Of `X-Forwarded-For`.
  public init(forwardedFor lines: RunList) { self.init(lines, false) }

  /// Of `Forwarded` (RFC 7239).
  public init(forwarded lines: RunList) { self.init(lines, true) }

  private init(_ lines: RunList, _ isForwarded: Bool) {
    self.lines = lines
    self.isForwarded = isForwarded
    line = lines.count
    at = 0
  }

  public mutating func next(_ bytes: Span<UInt8>) -> Hop {
    if line == lines.count {
      if line == 0 { return .end }
      line -= 1
      at = Int(lines[line].end)
    }
    while at <= Int(lines[line].start) {
      if line == 0 { return .end }
      line -= 1
      at = Int(lines[line].end)
    }
    // Back to the comma outside quotes; quotes are the same from both sides unless escaped, and no address has `\`.
    let start = Int(lines[line].start)
    let end = at
    var i = end
    var quoted = false
    while i > start && (quoted || bytes[i - 1] != 0x2c) {
      i -= 1
      if bytes[i] == 0x22 { quoted.toggle() }
      if bytes[i] == 0x5c { return stop() }
    }
    at = i > start ? i - 1 : start
    // A comma at the very start leaves an empty element; it ends there too.
    let element = trim(bytes, i, end)
    if quoted { return stop() }
    if !isForwarded { return node(bytes, element) }
    var parameters = Parameters(element)
    while let (name, value) = parameters.next(bytes) {
      if Grammar.matches(bytes, name.lowerBound, name.upperBound, "for") { return node(bytes, value) }
    }
    return .unknown
  }

  /// What lies further out cannot be read.
  private mutating func stop() -> Hop {
    line = 0
    at = Int(lines[0].start)
    return .unknown
  }

  private func trim(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Range<Int> {
    var from = start
    var to = end
    while from < to && (bytes[from] == 0x20 || bytes[from] == 0x09) { from += 1 }
    while to > from && (bytes[to - 1] == 0x20 || bytes[to - 1] == 0x09) { to -= 1 }
    return from..<to
  }

  private func node(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Hop {
    WireAddress.node(bytes, range).map { .address($0.unmapped) } ?? .unknown
  }
}
