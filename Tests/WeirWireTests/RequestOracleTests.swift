// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirWire

/// A slow reading of the same rules, by splitting and comparing strings of bytes: what the scanner is held against.
struct RequestOracle {
  var framing = Framing.none
  var keepAlive = false
  var kept: [[UInt8]] = []

  typealias Bytes = [UInt8]
  static let token = Set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
  static let dropped: Set<String> = [
    "connection", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings", "proxy-authorization",
    "x-real-ip", "forwarded", "traceparent", "tracestate", "proxy", "expect",
  ]

  static func lower(_ bytes: Bytes) -> String {
    String(decoding: bytes.map { $0 >= 65 && $0 <= 90 ? $0 + 32 : $0 }, as: UTF8.self)
  }
  static func isOurs(_ name: String) -> Bool {
    dropped.contains(name) || (name.hasPrefix("x-forwarded-") && name.utf8.count > 12) || name.hasPrefix("weir-")
  }
  static func trim(_ bytes: Bytes) -> Bytes {
    var slice = bytes[...]
    while slice.first == 32 || slice.first == 9 { slice.removeFirst() }
    while slice.last == 32 || slice.last == 9 { slice.removeLast() }
    return Bytes(slice)
  }
  static func isHost(_ bytes: Bytes) -> Bool {
    let text = String(decoding: bytes, as: UTF8.self)
    var name = text
    if let colon = text.lastIndex(of: ":"), !text.hasSuffix("]") {
      let port = text[text.index(after: colon)...]
      guard !port.isEmpty, port.utf8.count <= 5, port.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }),
        let number = Int(port), number > 0, number < 65_536
      else { return false }
      name = String(text[..<colon])
    }
    if name.hasPrefix("[") && name.hasSuffix("]") && name.utf8.count >= 4 {
      return isIPv6(String(name.dropFirst().dropLast()))
    }
    return !name.isEmpty && bytes.count <= 260
      && name.utf8.allSatisfy { token.contains($0) && !"!#$%&'*+^`|~".utf8.contains($0) }
  }

  /// Groups between colons, with one gap at most; the last two may be an IPv4 address.
  static func isIPv6(_ text: String) -> Bool {
    var halves = [text]
    if let gap = text.firstRange(of: "::") {
      halves = [String(text[..<gap.lowerBound]), String(text[gap.upperBound...])]
      if halves[1].contains("::") || halves[1].hasPrefix(":") { return false }
    }
    var count = 0
    for (index, half) in halves.enumerated() where !half.isEmpty {
      let groups = half.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
      for (place, group) in groups.enumerated() {
        if group.contains(".") {
          let parts = group.split(separator: ".", omittingEmptySubsequences: false)
          guard index == halves.count - 1, place == groups.count - 1, parts.count == 4,
            parts.allSatisfy({ UInt8($0) != nil && String(UInt8($0) ?? 0) == $0 })
          else { return false }
          count += 2
        } else {
          guard (1...4).contains(group.utf8.count), group.allSatisfy(\.isHexDigit) else { return false }
          count += 1
        }
      }
    }
    return halves.count == 2 ? count <= 7 : count == 8
  }

  /// Nil when the request is refused.
  ///
  /// The head ends at the first empty line; origin forms only.
  init?(_ all: Bytes) {
    // Lines by LF; each but the last must end with CR, and have no other.
    var lines: [Bytes] = []
    var line: Bytes = []
    for byte in all {
      if byte == 10 {
        guard line.last == 13 else { return nil }
        line.removeLast()
        guard !line.contains(13) else { return nil }
        if line.isEmpty && !lines.isEmpty { break }
        lines.append(line)
        line = []
      } else {
        line.append(byte)
      }
    }
    if lines.first == [] { lines.removeFirst() }
    guard let first = lines.first else { return nil }
    let parts = first.split(separator: 32, omittingEmptySubsequences: false).map(Bytes.init)
    guard parts.count == 3, !parts[0].isEmpty, parts[0].count <= 32, parts[0].allSatisfy(Self.token.contains),
      Self.lower(parts[0]) != "connect"
    else { return nil }
    let old = parts[2] == Bytes("HTTP/1.0".utf8)
    guard old || parts[2] == Bytes("HTTP/1.1".utf8), Self.isTarget(parts[1]) else { return nil }

    var hosts = 0
    var lengths: [Bytes] = []
    var codings: [Bytes] = []
    var tokens: [String] = []
    var fields: [(name: String, value: Bytes, line: Bytes)] = []
    guard lines.count <= 101 else { return nil }
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: 58), colon > 0, line[..<colon].allSatisfy(Self.token.contains) else {
        return nil
      }
      let value = Self.trim(Bytes(line[(colon + 1)...]))
      guard value.allSatisfy({ ($0 >= 32 && $0 != 127) || $0 == 9 }) else { return nil }
      let name = Self.lower(Bytes(line[..<colon]))
      if name.contains("_") {
        let dashed = name.replacing("_", with: "-")
        let known = [
          "host", "content-length", "transfer-encoding", "retry-after", "proxy-status", "date", "idempotency-key",
          "proxy-authenticate",
        ]
        if Self.isOurs(dashed) || known.contains(dashed) { return nil }
      }
      fields.append((name, value, line))
      switch name {
      case "host":
        hosts += 1
        guard Self.isHost(value), !line.contains(9) else { return nil }
      case "content-length", "transfer-encoding":
        if line.contains(9) { return nil }
        if name == "content-length" { lengths.append(value) } else { codings.append(value) }
      case "connection":
        for element in value.split(separator: 44) {
          let token = Self.trim(Bytes(element))
          if token.isEmpty { continue }
          guard token.allSatisfy(Self.token.contains) else { return nil }
          tokens.append(Self.lower(token))
        }
      case "expect": guard old || Self.lower(value) == "100-continue" else { return nil }
      default: break
      }
    }
    guard hosts == 1 || (hosts == 0 && old), lengths.count + codings.count <= 1 else { return nil }
    if let coding = codings.first {
      guard !old, Self.lower(coding) == "chunked" else { return nil }
      framing = .chunked
    }
    if let length = lengths.first {
      guard !length.isEmpty, length.count <= 18, length.allSatisfy({ $0 >= 48 && $0 <= 57 }) else { return nil }
      let value = Int64(String(decoding: length, as: UTF8.self)) ?? -1
      framing = value == 0 ? .none : .length(value)
    }
    keepAlive = !tokens.contains("close") && (!old || tokens.contains("keep-alive"))
    let named = Set(tokens).subtracting(["close", "keep-alive", "upgrade"])
    for field in fields {
      if named.contains(field.name) {
        if ["host", "content-length", "transfer-encoding"].contains(field.name) { return nil }
        continue
      }
      if !Self.isOurs(field.name) { kept.append(field.line) }
    }
  }

  static func isTarget(_ target: Bytes) -> Bool {
    guard target.first == 47, target.allSatisfy({ $0 > 32 && $0 < 127 && $0 != 35 }) else { return false }
    let path = Bytes(target.prefix { $0 != 63 })
    guard !path.contains(92) else { return false }
    var segments = path.dropFirst().split(separator: 47, omittingEmptySubsequences: false).map(Bytes.init)
    for segment in segments {
      let bare = Bytes(segment.prefix { $0 != 59 })
      if bare == [46] || bare == [46, 46] { return false }
    }
    if segments.last == [] { segments.removeLast() }
    if segments.contains([]) { return false }
    var i = 0
    while i < path.count {
      if path[i] == 37 {
        guard i + 2 < path.count,
          let value = UInt8(String(decoding: path[(i + 1)...(i + 2)], as: UTF8.self), radix: 16),
          path[i + 1] != 43, path[i + 1] != 45
        else { return false }
        if value < 32 || value == 127 || value == 47 || value == 92 { return false }
        if token.contains(value) && !"!#$%&'*+^`|~".utf8.contains(value) { return false }
        i += 2
      }
      i += 1
    }
    return true
  }
}

@Suite struct RequestOracleTests {
  static let pieces: [String] = [
    "Host: a\r\n", "Host: b:80\r\n", "host: [::1]\r\n", "Content-Length: 5\r\n", "Content-Length: 0\r\n",
    "Content-Length: x\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip\r\n", "Connection: close\r\n",
    "Connection: keep-alive\r\n", "Connection: x-a, te\r\n", "Connection: host\r\n", "X-A: 1\r\n", "x-a:2\r\n",
    "X-Forwarded-For: 1\r\n", "X-Forwarded: 1\r\n", "X-Forwarded-: 1\r\n", "Weir-X: 1\r\n", "Weir: 1\r\n", "TE: x\r\n",
    "Keep-Alive: 1\r\n", "X-Real-IP: 1\r\n", "Forwarded: for=a\r\n", "traceparent: 0\r\n", "Proxy: x\r\n",
    "Content_Length: 5\r\n", "X_A: 1\r\n", "Expect: 100-continue\r\n", "Expect: x\r\n",
    "Accept: text/html, */*;q=0.1\r\n",
    "Cookie: a=b; c=\"d\"\r\n", "A-Very-Long-Header-Name-That-Goes-On: and a value\twith tabs  \r\n", "B:\r\n",
  ]
  static let lines: [String] = [
    "GET / HTTP/1.1\r\n", "GET /a/b?c HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "GET /a%20b HTTP/1.0\r\n",
    "PURGE /a/.b HTTP/1.1\r\n", "GET /a//b HTTP/1.1\r\n", "GET /..;a HTTP/1.1\r\n", "GET /%41 HTTP/1.1\r\n",
  ]
  static let noise: [UInt8] = Array("\r\n\t :;,_-./%?#\\\0\u{7f}aZ09\"+".utf8) + [0x80, 0xff]

  /// 200 walks of 200 requests made of good and bad pieces, some with bytes changed, dropped or put in.
  @Test("agrees with a slow reading of the rules", arguments: 0..<200)
  func walk(_ seed: Int) {
    var random = SeededRandom(seed: UInt64(seed), stream: "requests")
    for step in 0..<200 {
      var text = Self.lines[random.index(below: Self.lines.count)]
      if random.chance(0.9) { text += "Host: a\r\n" }
      for _ in 0..<random.index(below: 6) { text += Self.pieces[random.index(below: Self.pieces.count)] }
      var bytes = Array((text + "\r\n").utf8)
      if random.chance(0.5) {
        for _ in 0..<(1 + random.index(below: 2)) {
          let at = random.index(below: bytes.count - 4)
          let byte = Self.noise[random.index(below: Self.noise.count)]
          switch random.index(below: 3) {
          case 0: bytes[at] = byte
          case 1: bytes.insert(byte, at: at)
          default: bytes.remove(at: at)
          }
        }
      }
      // Both end a head that a mutation has opened.
      bytes += Array("\r\n\r\n".utf8)
      let (outcome, head) = scan(bytes)
      let oracle = RequestOracle(bytes)
      guard (outcome == .complete) == (oracle != nil) else {
        Issue.record(
          "seed \(seed) step \(step): \(outcome) for \(String(decoding: bytes, as: UTF8.self).debugDescription)")
        return
      }
      let slow = scanByteByByte(bytes)
      #expect(slow.0 == outcome || (slow.0 != .complete && outcome != .complete), "seed \(seed) step \(step)")
      guard let oracle else { continue }
      #expect(slow.1 == head, "seed \(seed) step \(step)")
      #expect(head.framing == oracle.framing, "seed \(seed) step \(step)")
      #expect(head.flags.contains(.keepAlive) == oracle.keepAlive, "seed \(seed) step \(step)")
      var out = HeadBuffer()
      out.appendRequest(bytes.span, head)
      let lines = WeirWireTests.text(out).split(separator: "\r\n", omittingEmptySubsequences: true).dropFirst()
      #expect(
        lines.map { Array($0.utf8) } == oracle.kept.map { Array(String(decoding: $0, as: UTF8.self).utf8) },
        "seed \(seed) step \(step)")
    }
  }
}
