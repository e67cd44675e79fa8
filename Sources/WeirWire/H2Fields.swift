// SPDX-License-Identifier: Apache-2.0

/// What is wrong with the fields of an HTTP/2 message: it is malformed (RFC 9113 §8.1.1), a stream error PROTOCOL_ERROR.
public enum H2Mistake: UInt8, Error, Sendable, CaseIterable, BitwiseCopyable {
  /// A name that is empty, has an upper-case letter, or a byte that no name has (§8.2.1).
  case name
  /// A value with a control character, or with space at its ends (§8.2.1).
  case value
  /// A field of a connection, or `te` other than `trailers` (§8.2.2).
  case connectionField
  /// A pseudo-header field that is unknown, of the other direction, repeated, late, missing, or within trailers (§8.3).
  case pseudoField
  case method
  /// `CONNECT`: there is no tunnel here.
  case connect
  /// Neither `http` nor `https`.
  case scheme
  /// Empty, neither `/…` nor `*` of `OPTIONS`, or with a byte that no target has.
  case path
  /// `:authority` is no host, differs from `Host`, or both are missing.
  case authority
  case status
  /// `content-length` repeated, no number, or not what the end of the stream says.
  case contentLength
  /// A trailer that belongs into a head.
  case trailer
  /// More fields or bytes than a head may have.
  case tooLarge
}

/// The rules for one field that came by HPACK, where names and values can hold any byte.
///
/// This is the border at which HTTP/2 becomes text: a byte that passes here stands in an HTTP/1.1 head, so nothing passes
/// that ends a line, a name or a value there. The head is read again by the strict scanner; both must agree.
enum H2Rule {
  static func mistake(_ name: Span<UInt8>, _ value: Span<UInt8>) -> H2Mistake? {
    if name.isEmpty { return .name }
    for i in 0..<name.count where !Grammar.isToken(name[i]) || name[i] &- 0x41 < 26 { return .name }
    return FieldValue.isClean(value) ? nil : .value
  }

  /// Whether a name is a connection's (§8.2.2); `te` and what the scanner drops besides are not among them.
  static func isConnection(_ name: Span<UInt8>) -> Bool {
    switch FieldName.of(name, 0, name.count) {
    case .connection, .proxyConnection, .keepAlive, .transferEncoding, .upgrade, .http2Settings: true
    default: false
    }
  }

  static func equals(_ bytes: Span<UInt8>, _ text: StaticString) -> Bool {
    guard bytes.count == text.utf8CodeUnitCount else { return false }
    for i in 0..<bytes.count where bytes[i] != Load.byte(text, i) { return false }
    return true
  }

  static func isToken(_ bytes: Span<UInt8>) -> Bool {
    for i in 0..<bytes.count where !Grammar.isToken(bytes[i]) { return false }
    return !bytes.isEmpty
  }
}

/// How many bytes of data a stream must carry, by its `content-length` (RFC 9113 §8.1.1).
public struct H2BodyLength: Sendable, Equatable, BitwiseCopyable {
  private var declared: Int64
  private var taken: Int64 = 0

  /// -1: not declared.
  public init(declared: Int64 = -1) { self.declared = declared }

  /// Data came; false when it is more than was declared: nothing of it may be passed on.
  public mutating func take(_ bytes: Int) -> Bool {
    taken += Int64(bytes)
    return declared < 0 || taken <= declared
  }

  /// The stream ended; false when it was less.
  public func ends() -> Bool { declared < 0 || taken == declared }
}

/// Makes the head of an HTTP/1.1 request of the fields of an HTTP/2 one: canonical bytes that pass through the same
/// strict scanner as any other request.
///
/// Call `begin`, `add` for each field in order, `finish`; after a mistake the stream is reset and `begin` is next.
///
/// | in | out |
/// |---|---|
/// | `:method`, `:path` | request line, `HTTP/1.1` |
/// | `:authority`, `host` | one `host` line; equal if both are there |
/// | `content-length` | kept when there is a body; checked against the end of the stream here, against the data by ``H2BodyLength`` |
/// | neither that nor the end of the stream | `transfer-encoding: chunked`, written by us alone |
/// | several `cookie` | one, joined by `; ` (RFC 9113 §8.2.3) |
/// | `te: trailers` | ``acceptsTrailers`` |
///
/// ## Invariants
/// 1. What `finish` wrote is a whole head: the scanner takes it to its last byte, or refuses it; never less, never more.
/// 2. Its framing is the scanner's: none exactly when the stream has ended or declared 0.
public struct H2Request: Sendable, Equatable {
  private var pseudo = HeadBuffer(capacity: 1 << 10)
  private var lines = HeadBuffer(capacity: 2 << 10)
  private var cookies = HeadBuffer(capacity: 1 << 10)
  private var method = Run.empty
  private var path = Run.empty
  private var authority = Run.empty
  private var hasMethod = false
  private var hasPath = false
  private var hasScheme = false
  private var hasAuthority = false
  private var hasHost = false
  private var isRegular = false
  private var fields = 0
  private var limits = HeadLimits()

  /// -1: not declared.
  public private(set) var contentLength: Int64 = -1
  /// `te: trailers` was there: gRPC asks for it.
  public private(set) var acceptsTrailers = false
  /// `:scheme` was `https`.
  public private(set) var isHTTPS = false

  public init() {}

  public mutating func begin(limits: HeadLimits = HeadLimits()) {
    pseudo.clear()
    lines.clear()
    cookies.clear()
    method = .empty
    path = .empty
    authority = .empty
    hasMethod = false
    hasPath = false
    hasScheme = false
    hasAuthority = false
    hasHost = false
    isRegular = false
    fields = 0
    self.limits = limits
    contentLength = -1
    acceptsTrailers = false
    isHTTPS = false
  }

  public mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) -> H2Mistake? {
    fields += 1
    let size = pseudo.count + lines.count + cookies.count + name.count + value.count + 4
    if fields > limits.fields || size > limits.bytes { return .tooLarge }
    if !name.isEmpty && name[0] == 0x3a { return addPseudo(name, value) }
    isRegular = true
    if let mistake = H2Rule.mistake(name, value) { return mistake }
    if H2Rule.isConnection(name) { return .connectionField }
    switch FieldName.of(name, 0, name.count) {
    case .te:
      if !H2Rule.equals(value, "trailers") { return .connectionField }
      acceptsTrailers = true
      return nil
    case .contentLength:
      guard contentLength < 0, let length = Decimal.parse(value, 0, value.count) else { return .contentLength }
      contentLength = length
      return nil
    case .host:
      if hasHost || !HostRule.isHost(value, 0, value.count) { return .authority }
      hasHost = true
      if hasAuthority { return isAuthority(value) ? nil : .authority }
      authority = keep(value)
      return nil
    default: break
    }
    if H2Rule.equals(name, "cookie") {
      if value.isEmpty { return nil }
      if cookies.count > 0 { cookies.append("; ") }
      cookies.append(value)
      return nil
    }
    lines.append(name)
    lines.append(": ")
    lines.append(value)
    lines.append("\r\n")
    return nil
  }

  private mutating func addPseudo(_ name: Span<UInt8>, _ value: Span<UInt8>) -> H2Mistake? {
    if isRegular { return .pseudoField }
    if H2Rule.equals(name, ":method") {
      if hasMethod { return .pseudoField }
      if value.count > RequestLine.methodBytesMax || !H2Rule.isToken(value) { return .method }
      // Whatever its case: so does the scanner.
      if Grammar.matches(value, 0, value.count, "connect") { return .connect }
      hasMethod = true
      method = keep(value)
    } else if H2Rule.equals(name, ":path") {
      if hasPath { return .pseudoField }
      if value.isEmpty { return .path }
      if value[0] != 0x2f && !H2Rule.equals(value, "*") { return .path }
      for i in 0..<value.count where value[i] < 0x21 || value[i] > 0x7e || value[i] == 0x23 { return .path }
      hasPath = true
      path = keep(value)
    } else if H2Rule.equals(name, ":scheme") {
      if hasScheme { return .pseudoField }
      isHTTPS = Grammar.matches(value, 0, value.count, "https")
      if !isHTTPS && !Grammar.matches(value, 0, value.count, "http") { return .scheme }
      hasScheme = true
    } else if H2Rule.equals(name, ":authority") {
      if hasAuthority { return .pseudoField }
      if !HostRule.isHost(value, 0, value.count) { return .authority }
      hasAuthority = true
      authority = keep(value)
    } else {
      return .pseudoField
    }
    return nil
  }

  private mutating func keep(_ value: Span<UInt8>) -> Run {
    let start = pseudo.count
    pseudo.append(value)
    return Run(start, pseudo.count)
  }

  private func isAuthority(_ value: Span<UInt8>) -> Bool {
    guard authority.count == value.count else { return false }
    let kept = pseudo.storage.span.extracting(authority.range)
    for i in 0..<value.count {
      let a = value[i]
      let b = kept[i]
      if (a &- 0x41 < 26 ? a | 0x20 : a) != (b &- 0x41 < 26 ? b | 0x20 : b) { return false }
    }
    return true
  }

  /// Appends the head, its empty line included; on a mistake nothing.
  ///
  /// `endsStream`: the HEADERS frame ended the stream, there is no body.
  public mutating func finish(endsStream: Bool, into out: inout HeadBuffer) -> H2Mistake? {
    if !hasMethod || !hasPath || !hasScheme { return .pseudoField }
    if authority.isEmpty { return .authority }
    let kept = pseudo.storage.span
    if path.count == 1 && kept[Int(path.start)] == 0x2a
      && !H2Rule.equals(kept.extracting(method.range), "OPTIONS")
    {
      return .path
    }
    if endsStream && contentLength > 0 { return .contentLength }
    let size =
      method.count + path.count + authority.count + lines.count + cookies.count + HeadLimits.h2OverheadBytes
    if size > limits.bytes { return .tooLarge }
    out.append(kept, method.range)
    out.append(" ")
    out.append(kept, path.range)
    out.append(" HTTP/1.1\r\nhost: ")
    out.append(kept, authority.range)
    out.append("\r\n")
    out.append(lines.storage.span, 0..<lines.count)
    if cookies.count > 0 {
      out.append("cookie: ")
      out.append(cookies.storage.span, 0..<cookies.count)
      out.append("\r\n")
    }
    if contentLength >= 0 {
      out.append("content-length: ")
      out.append(decimal: contentLength)
      out.append("\r\n")
    } else if !endsStream {
      out.append("transfer-encoding: chunked\r\n")
    }
    out.append("\r\n")
    return nil
  }
}

extension HeadLimits {
  /// What a head of HTTP/1.1 has beyond the fields of HTTP/2: spaces, version, names and ends of the lines that we write.
  static var h2OverheadBytes: Int { 96 }
}

/// Makes the head of an HTTP/1.1 answer of the fields of an HTTP/2 one; used as ``H2Request``.
public struct H2Response: Sendable, Equatable {
  private var lines = HeadBuffer(capacity: 2 << 10)
  private var isRegular = false
  private var fields = 0
  private var limits = HeadLimits()
  /// 0: none came.
  public private(set) var status: UInt16 = 0
  /// -1: not declared.
  public private(set) var contentLength: Int64 = -1

  public init() {}

  public mutating func begin(limits: HeadLimits = HeadLimits()) {
    lines.clear()
    isRegular = false
    fields = 0
    self.limits = limits
    status = 0
    contentLength = -1
  }

  public mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) -> H2Mistake? {
    fields += 1
    if fields > limits.fields || lines.count + name.count + value.count + 4 > limits.bytes { return .tooLarge }
    if !name.isEmpty && name[0] == 0x3a {
      if isRegular || status != 0 || !H2Rule.equals(name, ":status") { return .pseudoField }
      // 101 has no meaning in HTTP/2 (RFC 9113 §8.6).
      guard value.count == 3, let number = Decimal.parse(value, 0, 3), (100...599).contains(number), number != 101
      else { return .status }
      status = UInt16(number)
      return nil
    }
    isRegular = true
    if let mistake = H2Rule.mistake(name, value) { return mistake }
    if H2Rule.isConnection(name) { return .connectionField }
    switch FieldName.of(name, 0, name.count) {
    case .te: return .connectionField
    case .contentLength:
      guard contentLength < 0, let length = Decimal.parse(value, 0, value.count) else { return .contentLength }
      contentLength = length
      return nil
    default: break
    }
    lines.append(name)
    lines.append(": ")
    lines.append(value)
    lines.append("\r\n")
    return nil
  }

  /// Appends the head, its empty line included; on a mistake nothing.
  ///
  /// `toHead`: the request was a `HEAD`, whose answer may tell a length that it does not have.
  public mutating func finish(endsStream: Bool, toHead: Bool, into out: inout HeadBuffer) -> H2Mistake? {
    if status == 0 { return .pseudoField }
    let isBodiless = toHead || status < 200 || status == 204 || status == 304
    // An interim answer is followed by another on the same stream.
    if status < 200 && endsStream { return .status }
    if endsStream && contentLength > 0 && !isBodiless { return .contentLength }
    if lines.count + HeadLimits.h2OverheadBytes > limits.bytes { return .tooLarge }
    out.append("HTTP/1.1 ")
    out.append(decimal: Int64(status))
    out.append(" \r\n")
    out.append(lines.storage.span, 0..<lines.count)
    if contentLength >= 0 && status >= 200 && status != 204 {
      out.append("content-length: ")
      out.append(decimal: contentLength)
      out.append("\r\n")
    } else if !isBodiless {
      out.append(endsStream ? "content-length: 0\r\n" : "transfer-encoding: chunked\r\n")
    }
    out.append("\r\n")
    return nil
  }
}

/// Trailers of an HTTP/2 message as the end of a chunked body.
public struct H2Trailers: Sendable, Equatable {
  private var lines = HeadBuffer(capacity: 1 << 9)
  private var count = 0

  public init() {}

  public mutating func begin() {
    lines.clear()
    count = 0
  }

  /// Checks as ``ChunkedScanner`` does; its limits count.
  public mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) -> H2Mistake? {
    count += 1
    if count > ChunkedScanner.trailersMax
      || lines.count + name.count + value.count + 6 > ChunkedScanner.trailerBytesMax
    {
      return .tooLarge
    }
    if !name.isEmpty && name[0] == 0x3a { return .pseudoField }
    if let mistake = H2Rule.mistake(name, value) { return mistake }
    if H2Rule.isConnection(name) { return .connectionField }
    if TrailerRule.isRefused(name) { return .trailer }
    lines.append(name)
    lines.append(": ")
    lines.append(value)
    lines.append("\r\n")
    return nil
  }

  /// Appends the last chunk, the trailers and the empty line.
  public func finish(into out: inout HeadBuffer) {
    out.append("0\r\n")
    out.append(lines.storage.span, 0..<lines.count)
    out.append("\r\n")
  }
}

/// The fields of an HTTP/1.1 head or trailer section that we have built, as names and values for HPACK.
///
/// Names are in lower case; pseudo-header fields come first; what concerns a connection is left out.
public struct H2FieldList: Sendable, Equatable {
  public struct Entry: Sendable, Equatable, BitwiseCopyable {
    public var nameStart: Int
    public var valueStart: Int
    public var end: Int
  }

  private var text = HeadBuffer(capacity: 4 << 10)
  public private(set) var entries: [Entry] = []

  public init() { entries.reserveCapacity(HeadLimits.fieldsMax) }

  public mutating func clear() {
    text.clear()
    entries.removeAll(keepingCapacity: true)
  }

  public var count: Int { entries.count }

  /// All names and values; ``name(_:)`` and ``value(_:)`` are ranges of it.
  public var storage: [UInt8] { text.storage }
  public func name(_ index: Int) -> Range<Int> { entries[index].nameStart..<entries[index].valueStart }
  public func value(_ index: Int) -> Range<Int> { entries[index].valueStart..<entries[index].end }

  /// Adds a field as it is.
  public mutating func add(_ name: StaticString, _ value: Span<UInt8>) {
    let start = text.count
    text.append(name)
    let middle = text.count
    text.append(value)
    entries.append(Entry(nameStart: start, valueStart: middle, end: text.count))
  }

  /// The head of an answer, from its status line to its empty line: `:status`, then its fields.
  ///
  /// False when it is no whole head: a mistake of ours.
  public mutating func response(_ bytes: Span<UInt8>) -> Bool {
    clear()
    guard bytes.count >= 13, bytes[8] == 0x20 else { return false }
    add(":status", bytes.extracting(9..<12))
    guard let start = lineEnd(bytes, 12) else { return false }
    return lines(bytes, start, isRequest: false)
  }

  /// The head of a request, from its request line to its empty line, with the scheme of the connection it goes to.
  ///
  /// `te: trailers` is the caller's to add when the other side asked for it.
  public mutating func request(_ bytes: Span<UInt8>, isHTTPS: Bool) -> Bool {
    clear()
    var i = 0
    while i < bytes.count && bytes[i] != 0x20 { i += 1 }
    let target = i + 1
    i = target
    while i < bytes.count && bytes[i] != 0x20 { i += 1 }
    guard i < bytes.count, let start = lineEnd(bytes, i),
      let host = Fields(from: start, to: bytes.count).find(bytes, "host").run
    else { return false }
    add(":method", bytes.extracting(0..<(target - 1)))
    if isHTTPS {
      add(":scheme", "https")
    } else {
      add(":scheme", "http")
    }
    add(":authority", bytes.extracting(host.range))
    add(":path", bytes.extracting(target..<i))
    return lines(bytes, start, isRequest: true)
  }

  /// The trailers of a chunked body, from behind the last chunk's line to the empty line.
  public mutating func trailers(_ bytes: Span<UInt8>) -> Bool {
    clear()
    return lines(bytes, 0, isRequest: false)
  }

  private mutating func add(_ name: StaticString, _ value: StaticString) {
    let start = text.count
    text.append(name)
    let middle = text.count
    text.append(value)
    entries.append(Entry(nameStart: start, valueStart: middle, end: text.count))
  }

  private func lineEnd(_ bytes: Span<UInt8>, _ from: Int) -> Int? {
    var i = from
    while i < bytes.count && bytes[i] != 0x0a { i += 1 }
    return i < bytes.count ? i + 1 : nil
  }

  private mutating func lines(_ bytes: Span<UInt8>, _ start: Int, isRequest: Bool) -> Bool {
    var at = start
    var line = FieldLine()
    while at < bytes.count {
      if bytes[at] == 0x0d { return at + 2 == bytes.count && bytes[at + 1] == 0x0a }
      guard case .line = FieldLine.scan(bytes, at, bytes.count, into: &line) else { return false }
      switch FieldName.of(bytes, at, line.nameEnd) {
      case .connection, .proxyConnection, .keepAlive, .transferEncoding, .upgrade, .http2Settings, .te: break
      case .host where isRequest: break
      default:
        let from = text.count
        for i in at..<line.nameEnd { text.append(byte: bytes[i] &- 0x41 < 26 ? bytes[i] | 0x20 : bytes[i]) }
        let middle = text.count
        text.append(bytes, line.valueStart..<line.valueEnd)
        entries.append(Entry(nameStart: from, valueStart: middle, end: text.count))
      }
      at = line.next
    }
    return false
  }
}
