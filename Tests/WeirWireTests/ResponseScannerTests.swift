// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirWire

@Suite struct ResponseScannerTests {
  @Test("reads status, framing, keep-alive and what to drop")
  func plain() {
    let response =
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nA: b\r\nWeir-Secret: x\r\n"
      + "Keep-Alive: timeout=5\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nhello"
    let (outcome, head) = answer(response)
    #expect(outcome == .complete)
    #expect(head.status == 200)
    #expect(head.framing == .length(5))
    #expect(head.flags == [.keepAlive, .date, .contentLength])
    var out = HeadBuffer()
    out.appendResponse(Array(response.utf8).span, head)
    #expect(
      text(out) == "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
  }

  @Test(
    "knows where each body ends",
    arguments: [
      ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false, Framing.length(3), true),
      ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, .none, true),
      ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", false, .chunked, true),
      ("HTTP/1.1 200 OK\r\n\r\n", false, .untilClose, false),
      ("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", false, .length(3), true),
      ("HTTP/1.1 200 \r\nContent-Length: 3\r\n\r\n", false, .length(3), true),
      ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", false, .length(3), false),
      ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n", false, .length(3), true),
      ("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 3\r\n\r\n", false, .length(3), false),
      ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true, .none, true),
      ("HTTP/1.1 200 OK\r\n\r\n", true, .none, true),
      ("HTTP/1.1 204 No Content\r\n\r\n", false, .none, true),
      ("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", false, .none, true),
      ("HTTP/1.1 100 Continue\r\n\r\n", false, .none, true),
    ])
  func framing(_ text: String, _ toHead: Bool, _ framing: Framing, _ keeps: Bool) {
    let (outcome, head) = answer(text, toHead: toHead)
    #expect(outcome == .complete)
    #expect(head.framing == framing)
    #expect(head.flags.contains(.keepAlive) == keeps)
    // Byte by byte: the same.
    let bytes = Array(text.utf8)
    var scanner = ResponseScanner()
    var slow = ResponseHead()
    for count in 1...bytes.count {
      let step = scanner.scan(
        bytes.span.extracting(0..<count), toHead: toHead, limits: HeadLimits(), into: &slow)
      #expect(step == (count < bytes.count ? .needMore : .complete))
    }
    #expect(slow == head)
  }

  @Test(
    "refuses what can be delimited in two ways, and what is no HTTP/1",
    arguments: [
      ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", HeadError.contentLength),
      ("HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n", .contentLength),
      ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", .framingConflict),
      ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .transferEncoding),
      ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncoding),
      ("HTTP/1.1 200 OK\nContent-Length: 3\r\n\r\n", .lineEnding),
      ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", .folded),
      ("HTTP/1.1 99 OK\r\nA: b\r\n\r\n", .statusLine),
      ("HTTP/1.1 600 OK\r\nA: b\r\n\r\n", .statusLine),
      ("HTTP/1.1 2000 OK\r\nA: b\r\n\r\n", .statusLine),
      ("HTTP/1.1  200 OK\r\nA: b\r\n\r\n", .statusLine),
      ("HTTP/2.0 200 OK\r\nA: b\r\n\r\n", .version),
      ("<html><body>no HTTP</body></html>", .version),
      ("nonsense", .version), ("H!", .version), ("HTTP/2", .version), ("\n", .version),
      ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: content-length\r\n\r\n", .connection),
    ])
  func refuses(_ text: String, _ error: HeadError) { #expect(answer(text).0 == .refused(error)) }

  @Test("reads Retry-After as seconds or as a date")
  func retryAfter() {
    #expect(answer("HTTP/1.1 503 No\r\nRetry-After: 7\r\n\r\n").1.retryAfterSeconds == 7)
    let dated = "HTTP/1.1 503 No\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n"
    let (_, head) = answer(dated)
    #expect(head.retryAfterSeconds == -1)
    #expect(HTTPDate.parse(Array(dated.utf8).span, head.retryAfterDate) == 784_111_777)
  }

  @Test(
    "knows an inner Weir's refusal by Proxy-Status",
    arguments: [
      ("weir; error=destination_unavailable", true), ("nginx, weir;error=x", true), ("WEIR", true),
      ("cdn; details=\"weir\"", false), ("weird", false), ("cdn; details=\", weir\"", false), ("", false),
    ])
  func fromWeir(_ value: String, _ isWeir: Bool) {
    #expect(answer("HTTP/1.1 503 No\r\nProxy-Status: \(value)\r\n\r\n").1.flags.contains(.fromWeir) == isWeir)
  }
}
