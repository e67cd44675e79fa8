// SPDX-License-Identifier: Apache-2.0

/// The first line of a request: method, target, version (RFC 9112 §3).
enum RequestLine {
  /// Longer methods than this are nobody's; the registry's longest has 17 letters.
  static let methodBytesMax = 32

  static func read(
    _ bytes: Span<UInt8>, _ limit: Int, _ head: inout RequestHead, _ authority: inout Run
  ) -> HeadOutcome {
    var i = 0
    if limit > 0 && bytes[0] == 0x0d {
      if limit < 2 { return .needMore }
      if bytes[1] != 0x0a { return .refused(.lineEnding) }
      i = 2
    }
    head.start = i

    // The method.
    let word = Load.word(bytes, i)
    var length = 0
    if word & 0xffff_ffff == 0x2054_4547 {
      head.method = .get
      length = 3
    } else if word & 0xff_ffff_ffff == 0x20_5453_4f50 {
      head.method = .post
      length = 4
    } else if word & 0xffff_ffff == 0x2054_5550 {
      head.method = .put
      length = 3
    } else if word & 0xff_ffff_ffff == 0x20_4441_4548 {
      head.method = .head
      length = 4
    } else if word == 0x2053_4e4f_4954_504f {
      head.method = .options
      length = 7
    } else if word & 0xff_ffff_ffff_ffff == 0x20_4554_454c_4544 {
      head.method = .delete
      length = 6
    } else if word & 0xffff_ffff_ffff == 0x2048_4354_4150 {
      head.method = .patch
      length = 5
    } else if word & 0xffff_ffff_ffff == 0x2045_4341_5254 {
      head.method = .trace
      length = 5
    } else {
      while i &+ length < limit && Grammar.isToken(bytes[i &+ length]) {
        length &+= 1
        if length > methodBytesMax { return .refused(.requestLine) }
      }
      if i &+ length >= limit { return .needMore }
      if length == 0 || bytes[i &+ length] != 0x20 { return .refused(.requestLine) }
      if Grammar.matches(bytes, i, i &+ length, "connect") { return .refused(.connect) }
      head.method = .other
    }
    if i &+ length >= limit { return .needMore }
    head.methodRun = Run(i, i &+ length)
    i &+= length &+ 1

    // The target.
    if i >= limit { return .needMore }
    let first = bytes[i]
    let outcome: HeadOutcome
    if first == 0x2f {
      outcome = origin(bytes, limit, &i, &head)
    } else if first == 0x2a {
      if head.method != .options { return .refused(.target) }
      head.path = Run(i, i &+ 1)
      head.target = head.path
      i &+= 1
      outcome = .complete
    } else {
      outcome = absolute(bytes, limit, &i, &head, &authority)
    }
    if outcome != .complete { return outcome }

    // The version, and the end of the line.
    if i >= limit { return .needMore }
    if bytes[i] != 0x20 { return .refused(.target) }
    i &+= 1
    let version = Load.word(bytes, i)
    if i &+ 10 > limit { return partialVersion(bytes, i, limit) }
    if version == 0x302e_312f_5054_5448 {
      head.flags.insert(.http10)
    } else if version != 0x312e_312f_5054_5448 {
      return .refused(.version)
    }
    if bytes[i &+ 8] != 0x0d || bytes[i &+ 9] != 0x0a { return .refused(.lineEnding) }
    head.fields = i &+ 10
    return .complete
  }

  /// A line that ends before its version could: more to come, unless it is wrong already.
  private static func partialVersion(_ bytes: Span<UInt8>, _ start: Int, _ limit: Int) -> HeadOutcome {
    for i in start..<limit where bytes[i] == 0x0a {
      let version = Load.word(bytes, start)
      let isKnown = version == 0x302e_312f_5054_5448 || version == 0x312e_312f_5054_5448
      return .refused(isKnown && i == start + 8 ? .lineEnding : .version)
    }
    return .needMore
  }

  /// `absolute-path [ "?" query ]`, from its `/` to the byte after it.
  private static func origin(
    _ bytes: Span<UInt8>, _ limit: Int, _ at: inout Int, _ head: inout RequestHead
  ) -> HeadOutcome {
    let start = at
    var i = at
    scan: while i < limit {
      let byte = bytes[i]
      if Grammar.isPlainInPath(byte) {
        i &+= 1
        continue
      }
      switch byte {
      case 0x2f:
        // What follows a `/` decides: `//`, `/.` and `/..` (also before `;`, where Java servers cut parameters).
        if i &+ 1 >= limit { return .needMore }
        let next = bytes[i &+ 1]
        if next == 0x2f { return .refused(.ambiguousPath) }
        if next == 0x2e {
          if i &+ 2 >= limit { return .needMore }
          if endsSegment(bytes[i &+ 2]) { return .refused(.ambiguousPath) }
          if bytes[i &+ 2] == 0x2e {
            if i &+ 3 >= limit { return .needMore }
            if endsSegment(bytes[i &+ 3]) { return .refused(.ambiguousPath) }
          }
        }
        i &+= 1
      case 0x25:
        if i &+ 2 >= limit { return .needMore }
        let high = Grammar.hex(bytes[i &+ 1])
        let low = Grammar.hex(bytes[i &+ 2])
        if high == 255 || low == 255 { return .refused(.target) }
        let byte = high << 4 | low
        if Grammar.isRefusedEncoded(byte) { return .refused(.ambiguousPath) }
        if byte >= 0xc0 {
          if i &+ 5 >= limit && !hasEnded(bytes, i &+ 3, limit) { return .needMore }
          if isOverlong(bytes, i, limit, byte) { return .refused(.ambiguousPath) }
        }
        i &+= 3
      case 0x5c: return .refused(.ambiguousPath)
      case 0x20, 0x3f: break scan
      default: return .refused(.target)
      }
    }
    if i >= limit { return .needMore }
    head.path = Run(start, i)
    if bytes[i] == 0x3f {
      let query = i &+ 1
      i = query
      while i < limit && Grammar.isInQuery(bytes[i]) { i &+= 1 }
      if i >= limit { return .needMore }
      if bytes[i] != 0x20 { return .refused(.target) }
      head.query = Run(query, i)
    }
    head.target = Run(start, i)
    at = i
    return .complete
  }

  /// Whether the target ends before `limit`, so that no more of it is to come.
  private static func hasEnded(_ bytes: Span<UInt8>, _ start: Int, _ limit: Int) -> Bool {
    for i in start..<limit where bytes[i] == 0x20 || bytes[i] == 0x3f { return true }
    return false
  }

  /// Whether the escape at `at`, of `lead`, and the next one begin a letter in more bytes than it needs (RFC 3629 §3).
  ///
  /// Lenient decoders read `%C0%AF` as `/` and `%C0%AE` as `.`.
  @inline(never)
  private static func isOverlong(_ bytes: Span<UInt8>, _ at: Int, _ limit: Int, _ lead: UInt8) -> Bool {
    guard at + 5 < limit, bytes[at + 3] == 0x25 else { return false }
    let high = Grammar.hex(bytes[at + 4])
    let low = Grammar.hex(bytes[at + 5])
    guard high != 255, low != 255 else { return false }
    let next = high << 4 | low
    switch lead {
    case 0xc0, 0xc1: return next >= 0x80 && next < 0xc0
    case 0xe0: return next >= 0x80 && next < 0xa0
    case 0xf0: return next >= 0x80 && next < 0x90
    default: return false
    }
  }

  /// Whether a segment is over before this byte, for any server that we know of.
  @inline(__always)
  private static func endsSegment(_ byte: UInt8) -> Bool {
    byte == 0x2f || byte == 0x20 || byte == 0x3f || byte == 0x3b || byte == 0x5c
  }

  /// `http://host[:port]/path`.
  private static func absolute(
    _ bytes: Span<UInt8>, _ limit: Int, _ at: inout Int, _ head: inout RequestHead, _ authority: inout Run
  ) -> HeadOutcome {
    // The scheme and `://`, then the authority up to `/`, `?` or the space.
    var i = at
    while i < limit && bytes[i] != 0x3a {
      if !Grammar.isToken(bytes[i]) || i - at > 5 { return .refused(.target) }
      i += 1
    }
    if i >= limit { return .needMore }
    // What it says of the scheme is the sender's word: whether TLS was used is the connection's to know.
    if !Grammar.matches(bytes, at, i, "http") && !Grammar.matches(bytes, at, i, "https") { return .refused(.target) }
    for offset in 1...2 {
      if i + offset >= limit { return .needMore }
      if bytes[i + offset] != 0x2f { return .refused(.target) }
    }
    i += 3
    let start = i
    while i < limit && bytes[i] != 0x2f && bytes[i] != 0x3f && bytes[i] != 0x20 {
      if bytes[i] < 0x21 || bytes[i] > 0x7e { return .refused(.target) }
      i += 1
    }
    if i >= limit { return .needMore }
    if !HostRule.isHost(bytes, start, i) { return .refused(.host) }
    authority = Run(start, i)
    head.flags.insert(.absolute)
    at = i
    if bytes[i] == 0x2f { return origin(bytes, limit, &at, &head) }
    if bytes[i] == 0x3f { return .refused(.target) }
    return .complete
  }
}

/// `Host` and the authority of a target: a host with an optional port, and no user (RFC 9110 §4.2.4, §7.2).
enum HostRule {
  static func isHost(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    // 253 letters of a name, or an address in brackets, and a port.
    if end <= start || end - start > 260 { return false }
    var i = start
    if bytes[i] == 0x5b {
      i += 1
      let inner = i
      while i < end && bytes[i] != 0x5d { i += 1 }
      if i >= end || WireAddress.ipv6(bytes, inner..<i) == nil { return false }
      i += 1
    } else {
      while i < end && Grammar.isInHost(bytes[i]) { i += 1 }
      if i == start { return false }
    }
    if i == end { return true }
    if bytes[i] != 0x3a { return false }
    guard end - i <= 6, let port = Decimal.parse(bytes, i + 1, end) else { return false }
    return port > 0 && port <= 65_535
  }
}
