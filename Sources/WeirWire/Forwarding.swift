// SPDX-License-Identifier: Apache-2.0

/// The fields that a hop writes into a request that it passes on.
extension HeadBuffer {
  /// `X-Forwarded-For`: what trusted hops said, then the peer's address.
  public mutating func appendForwardedFor(_ bytes: Span<UInt8>, _ earlier: RunList, peer: [UInt8]) {
    append("X-Forwarded-For: ")
    for i in 0..<earlier.count {
      append(bytes, earlier[i].range)
      if i + 1 < earlier.count || !peer.isEmpty { append(", ") }
    }
    append(peer)
    append("\r\n")
  }

  /// `Forwarded` (RFC 7239): what trusted hops said, then ours.
  ///
  /// An IPv6 address stands in brackets and quotes (§6).
  public mutating func appendForwarded(
    _ bytes: Span<UInt8>, _ earlier: RunList, peer: [UInt8], isIPv6: Bool, host: Run, isHTTPS: Bool
  ) {
    append("Forwarded: ")
    for i in 0..<earlier.count {
      append(bytes, earlier[i].range)
      append(", ")
    }
    append(isIPv6 ? "for=\"[" : "for=")
    append(peer)
    append(isIPv6 ? "]\";proto=" : ";proto=")
    append(isHTTPS ? "https" : "http")
    if !host.isEmpty {
      // Quoted, for a port's colon is no token.
      append(";host=\"")
      append(bytes, host.range)
      append("\"")
    }
    append("\r\n")
  }

  /// `traceparent` (W3C Trace Context §3.2): version 00.
  public mutating func appendTraceparent(_ trace: TraceContext) {
    append("traceparent: 00-")
    append(hex16: trace.traceHigh)
    append(hex16: trace.traceLow)
    append("-")
    append(hex16: trace.span)
    append(trace.isSampled ? "-01\r\n" : "-00\r\n")
  }

  /// `tracestate`, as it came, its lines joined.
  public mutating func appendTracestate(_ bytes: Span<UInt8>, _ values: RunList) {
    append("tracestate: ")
    for i in 0..<values.count {
      if i > 0 { append(",") }
      append(bytes, values[i].range)
    }
    append("\r\n")
  }

  /// `Weir-Deadline`: how long this hop waits from now on, in milliseconds.
  public mutating func appendDeadline(milliseconds: Int64) {
    append("Weir-Deadline: ")
    append(decimal: max(0, milliseconds))
    append("\r\n")
  }

  /// `grpc-timeout`: what is left of the caller's time, in the finest unit that eight digits hold.
  public mutating func appendGRPCTimeout(nanoseconds: Int64) {
    append("grpc-timeout: ")
    let left = max(0, nanoseconds)
    if left < 99_999_999_000 {
      append(decimal: left / 1_000)
      append("u\r\n")
    } else if left < 99_999_999_000_000 {
      append(decimal: left / 1_000_000)
      append("m\r\n")
    } else {
      append(decimal: min(left / 1_000_000_000, 99_999_999))
      append("S\r\n")
    }
  }

  /// `Weir-Retries: taken`: an inner hop leaves retrying to this one.
  public mutating func appendRetriesTaken() { append("Weir-Retries: taken\r\n") }
}

/// `Proxy-Status` (RFC 9209): who made an answer, and why.
public enum ProxyStatus {
  /// Whether one of the list's members is `weir`.
  ///
  /// Members are split at commas outside quotes; a member's name ends before its parameters.
  public static func namesWeir(_ bytes: Span<UInt8>, _ start: Int, _ end: Int) -> Bool {
    var i = start
    while i < end {
      while i < end && (bytes[i] == 0x20 || bytes[i] == 0x09 || bytes[i] == 0x2c) { i += 1 }
      let name = i
      while i < end && Grammar.isToken(bytes[i]) { i += 1 }
      if Grammar.matches(bytes, name, i, "weir") { return true }
      var quoted = false
      while i < end && (quoted || bytes[i] != 0x2c) {
        if quoted && bytes[i] == 0x5c {
          i += 1
        } else if bytes[i] == 0x22 {
          quoted.toggle()
        }
        i += 1
      }
    }
    return false
  }
}
