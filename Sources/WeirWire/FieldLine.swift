// SPDX-License-Identifier: Apache-2.0

/// One field line of a head, as offsets.
struct FieldLine {
  var nameEnd = 0
  /// The value without the white space around it.
  var valueStart = 0
  var valueEnd = 0
  /// Where the next line begins.
  var next = 0
  /// The name has a `_`: see ``FieldName/isDisguised(_:_:_:)``.
  var underscored = false

  /// Whether a tab stands beside the value.
  func isTabbed(_ bytes: Span<UInt8>) -> Bool {
    for i in (nameEnd + 1)..<valueStart where bytes[i] == 0x09 { return true }
    for i in valueEnd..<(next - 2) where bytes[i] == 0x09 { return true }
    return false
  }

  enum Outcome { case line, more, refused(HeadError) }

  /// Reads the line that begins at `start`; it is not the empty line.
  @inline(__always)
  static func scan(_ bytes: Span<UInt8>, _ start: Int, _ limit: Int, into line: inout FieldLine) -> Outcome {
    // The name: eight bytes at a time while they are letters and dashes, one at a time from the first other byte.
    var i = start
    line.underscored = false
    while true {
      if i &+ 8 <= limit {
        let stop = Grammar.notLetterOrDash(Load.word(bytes, i))
        if stop == 0 {
          i &+= 8
          continue
        }
        i &+= stop.trailingZeroBitCount >> 3
      }
      while i < limit && Grammar.isToken(bytes[i]) {
        if bytes[i] == 0x5f { line.underscored = true }
        i &+= 1
      }
      break
    }
    if i >= limit { return .more }
    if bytes[i] != 0x3a {
      if i == start && (bytes[i] == 0x20 || bytes[i] == 0x09) { return .refused(.folded) }
      return .refused(bytes[i] == 0x0a ? .lineEnding : .fieldName)
    }
    if i == start { return .refused(.fieldName) }
    line.nameEnd = i
    i &+= 1
    while i < limit && (bytes[i] == 0x20 || bytes[i] == 0x09) { i &+= 1 }
    line.valueStart = i

    // The value: to the first control character that is not a tab.
    while true {
      if i &+ 8 <= limit {
        let stop = Grammar.controls(Load.word(bytes, i))
        if stop == 0 {
          i &+= 8
          continue
        }
        i &+= stop.trailingZeroBitCount >> 3
      } else {
        while i < limit && bytes[i] >= 0x20 && bytes[i] != 0x7f { i &+= 1 }
        if i >= limit { return .more }
      }
      if bytes[i] != 0x09 { break }
      i &+= 1
    }
    if bytes[i] != 0x0d { return .refused(bytes[i] == 0x0a ? .lineEnding : .fieldValue) }
    if i &+ 1 >= limit { return .more }
    if bytes[i &+ 1] != 0x0a { return .refused(.lineEnding) }
    line.next = i &+ 2
    while i > line.valueStart && (bytes[i &- 1] == 0x20 || bytes[i &- 1] == 0x09) { i &-= 1 }
    line.valueEnd = i
    return .line
  }
}

/// The fields that we decide by, drop or write ourselves.
enum FieldName: UInt8 {
  case other
  case connection, keepAlive, proxyConnection, te, upgrade, http2Settings, proxyAuthorization, proxyAuthenticate
  case contentLength, transferEncoding
  case host, expect
  case forwardedFor, forwardedProto, forwardedHost, forwardedOther, forwarded, realIP
  case traceparent, tracestate
  case weirDeadline, weirRetries, weirOther
  case idempotencyKey
  case proxy
  case retryAfter, proxyStatus, date

  /// What a name is; `start ..< end` are token bytes.
  @inline(__always)
  static func of(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> FieldName {
    let length = end &- start
    let word = Load.word(bytes, start) | 0x2020_2020_2020_2020
    if length < 8 {
      let mask: UInt64 = (1 &<< UInt64(truncatingIfNeeded: length &* 8)) &- 1
      let short = word & mask
      switch length {
      case 2: return short == 0x6574 ? .te : .other
      case 4: return short == 0x7473_6f68 ? .host : short == 0x6574_6164 ? .date : .other
      case 5 where short == 0x79_786f_7270: return .proxy
      case 6 where short == 0x7463_6570_7865: return .expect
      case 7 where short == 0x65_6461_7267_7075: return .upgrade
      default: return short & 0xff_ffff_ffff == 0x2d_7269_6577 ? .weirOther : .other
      }
    }
    // First and last eight bytes overlap or meet in names of up to 16: together they are the name. Setting bit 5 of every
    // byte makes letters lower case, and makes no other byte of a token into a letter or a dash.
    let tail = Load.word(bytes, end &- 8) | 0x2020_2020_2020_2020
    switch length {
    case 9:
      // `forwarded`
      if word == 0x6564_7261_7772_6f66 { return tail == 0x6465_6472_6177_726f ? .forwarded : .other }
      // `x-real-ip`
      if word == 0x692d_6c61_6572_2d78 { return tail == 0x7069_2d6c_6165_722d ? .realIP : .other }
    case 10:
      // `connection`
      if word == 0x6974_6365_6e6e_6f63 { return tail == 0x6e6f_6974_6365_6e6e ? .connection : .other }
      // `keep-alive`
      if word == 0x696c_612d_7065_656b { return tail == 0x6576_696c_612d_7065 ? .keepAlive : .other }
      // `tracestate`
      if word == 0x6174_7365_6361_7274 { return tail == 0x6574_6174_7365_6361 ? .tracestate : .other }
    case 11:
      // `traceparent`
      if word == 0x7261_7065_6361_7274 { return tail == 0x746e_6572_6170_6563 ? .traceparent : .other }
      // `retry-after`
      if word == 0x6661_2d79_7274_6572 { return tail == 0x7265_7466_612d_7972 ? .retryAfter : .other }
    case 12:
      // `proxy-status`
      if word == 0x7473_2d79_786f_7270 { return tail == 0x7375_7461_7473_2d79 ? .proxyStatus : .other }
    case 14:
      // `content-length`
      if word == 0x2d74_6e65_746e_6f63 { return tail == 0x6874_676e_656c_2d74 ? .contentLength : .other }
      // `http2-settings`
      if word == 0x6573_2d32_7074_7468 { return tail == 0x7367_6e69_7474_6573 ? .http2Settings : .other }
    case 15:
      // `idempotency-key`
      if word == 0x6574_6f70_6d65_6469 { return tail == 0x7965_6b2d_7963_6e65 ? .idempotencyKey : .other }
    case 16:
      // `proxy-connection`
      if word == 0x6f63_2d79_786f_7270 { return tail == 0x6e6f_6974_6365_6e6e ? .proxyConnection : .other }
    case 17:
      if word == 0x7265_6673_6e61_7274 {
        return Grammar.matches(bytes, start, end, "transfer-encoding") ? .transferEncoding : .other
      }
    case 18:
      if word == 0x7561_2d79_786f_7270 {
        return Grammar.matches(bytes, start, end, "proxy-authenticate") ? .proxyAuthenticate : .other
      }
    case 19:
      if word == 0x7561_2d79_786f_7270 {
        return Grammar.matches(bytes, start, end, "proxy-authorization") ? .proxyAuthorization : .other
      }
    default: break
    }
    // The two open families.
    if word == 0x7261_7772_6f66_2d78 { return forwardedKind(bytes, start, end) }
    return word & 0xff_ffff_ffff == 0x2d_7269_6577 ? weirKind(bytes, start, end) : .other
  }

  private static func forwardedKind(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> FieldName {
    if Grammar.matches(bytes, start, end, "x-forwarded-for") { return .forwardedFor }
    if Grammar.matches(bytes, start, end, "x-forwarded-proto") { return .forwardedProto }
    if Grammar.matches(bytes, start, end, "x-forwarded-host") { return .forwardedHost }
    return end - start > 12 && Grammar.matches(bytes, start, start + 12, "x-forwarded-") ? .forwardedOther : .other
  }

  private static func weirKind(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> FieldName {
    if Grammar.matches(bytes, start, end, "weir-deadline") { return .weirDeadline }
    return Grammar.matches(bytes, start, end, "weir-retries") ? .weirRetries : .weirOther
  }

  /// Whether a name with underscores would be one of ours with dashes instead.
  ///
  /// CGI and what descends from it (WSGI, Rack, PHP, many Node and Java servers) turn both into the same variable, so
  /// such a name is a second, unchecked way to set what we check.
  static func isDisguised(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    // No name of ours is longer than this, but the open families of `x-forwarded-` and `weir-`, which show before it.
    let length = min(end - start, 24)
    var copy = InlineArray<24, UInt8>(repeating: 0)
    for i in 0..<length {
      let byte = bytes[start + i]
      copy[i] = byte == 0x5f ? 0x2d : byte
    }
    return FieldName.of(copy.span, 0, length) != .other
  }
}
