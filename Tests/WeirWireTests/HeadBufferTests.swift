// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirWire

@Suite struct HeadBufferTests {
  func written(_ body: (inout HeadBuffer) -> Void) -> String {
    var out = HeadBuffer(capacity: 64)
    body(&out)
    return text(out)
  }

  @Test("numbers in decimal and hexadecimal")
  func numbers() {
    #expect(written { $0.append(decimal: 0) } == "0")
    #expect(written { $0.append(decimal: .max) } == "9223372036854775807")
    for (value, expected) in [(0, "0"), (1, "1"), (15, "f"), (16, "10"), (255, "ff"), (65_536, "10000")]
      as [(UInt64, String)]
    {
      #expect(written { $0.append(hex: value) } == expected)
    }
    #expect(written { $0.append(hex16: 0x0123_4567_89ab_cdef) } == "0123456789abcdef")
    #expect(written { $0.append(hex16: 0xfedc_ba98_7654_3210) } == "fedcba9876543210")
  }

  @Test("grows, and is cleared without losing its room")
  func grows() {
    var out = HeadBuffer(capacity: 64)
    for _ in 0..<100 { out.append("0123456789") }
    #expect(out.count == 1000)
    let room = out.storage.count
    out.clear()
    #expect(out.count == 0)
    #expect(out.storage.count == room)
  }

  @Test(
    "dates, both ways",
    arguments: [
      (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"), (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
      (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"), (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
      (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
    ] as [(Int64, String)])
  func dates(_ seconds: Int64, _ date: String) {
    #expect(written { HTTPDate.append(seconds, to: &$0) } == date)
    #expect(HTTPDate.parse(Array(date.utf8).span, Run(0, 29)) == seconds)
  }

  @Test("every day of 400 years comes back")
  func days() {
    for day in stride(from: Int64(0), to: 146_097, by: 13) {
      var out = HeadBuffer(capacity: 64)
      HTTPDate.append(day * 86_400 + 3723, to: &out)
      #expect(HTTPDate.parse(out.storage.span, Run(0, 29)) == day * 86_400 + 3723)
    }
  }

  @Test("forwarding fields")
  func forwarding() {
    let request = Array("GET / HTTP/1.1\r\nHost: a:80\r\n\r\n".utf8)
    let (_, head) = scan(request)
    #expect(
      written {
        $0.appendForwarded(
          request.span, head.forwarded, peer: Array("::1".utf8), isIPv6: true, host: head.host, isHTTPS: false)
      } == "Forwarded: for=\"[::1]\";proto=http;host=\"a:80\"\r\n")
    #expect(
      written { $0.appendForwardedFor(request.span, head.forwardedFor, peer: Array("10.0.0.1".utf8)) }
        == "X-Forwarded-For: 10.0.0.1\r\n")
    #expect(written { $0.appendDeadline(milliseconds: 1234) } == "Weir-Deadline: 1234\r\n")
  }

  @Test("limits and waits")
  func limits() {
    #expect(
      written { $0.appendRateLimit(quota: 500, window: 1, remaining: 0, reset: 2) }
        == "RateLimit-Policy: \"default\";q=500;w=1\r\nRateLimit: \"default\";r=0;t=2\r\n")
    #expect(written { $0.appendRetryAfter(nanoseconds: 1) } == "Retry-After: 1\r\n")
    #expect(written { $0.appendRetryAfter(nanoseconds: 1_000_000_001) } == "Retry-After: 2\r\n")
  }

  @Test("an answer of our own has its reason in Proxy-Status and in problem+json")
  func problem() {
    let answer = ErrorAnswer(
      status: 503, name: "breaker-open", error: "destination_unavailable", detail: "It is left to recover.")
    let head = String(decoding: answer.head, as: UTF8.self)
    #expect(head.hasPrefix("HTTP/1.1 503 Service Unavailable\r\n"))
    #expect(head.contains("Proxy-Status: weir; error=destination_unavailable; details=\"breaker-open\"\r\n"))
    #expect(head.contains("Content-Length: \(answer.body.count)\r\n"))
    #expect(
      String(decoding: answer.body, as: UTF8.self)
        == #"{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"It is left to recover.","#
        + #""reason":"breaker-open"}"# + "\n")
    let (outcome, parsed) = WeirWireTests.answer(head + "\r\n")
    #expect(outcome == .complete)
    #expect(parsed.flags.contains(.fromWeir))
  }
}

@Suite struct TraceContextTests {
  static let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

  func parse(_ text: String) -> TraceContext? { TraceContext.parse(Array(text.utf8).span, Run(0, text.utf8.count)) }

  @Test("reads and writes level 1")
  func roundTrip() {
    let trace = parse(Self.good)
    #expect(trace?.isSampled == true)
    #expect(trace?.span == 0xb7ad_6b71_6920_3331)
    var out = HeadBuffer()
    if let trace { out.appendTraceparent(trace) }
    #expect(text(out) == "traceparent: \(Self.good)\r\n")
  }

  @Test(
    "refuses what the standard refuses",
    arguments: [
      "", "00", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "00-00000000000000000000000000000000-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
      "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
      "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
      "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
    ])
  func refuses(_ text: String) { #expect(parse(text) == nil) }

  @Test("a later version may be longer")
  func later() { #expect(parse("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more")?.isSampled == true) }
}
