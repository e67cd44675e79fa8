// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing
import WeirExample

/// Every response is read whole, and byte by byte: where the network cuts must not matter.
@Suite
struct ResponseScannerTests {
  private func read(_ text: String, isHead: Bool = false, step: Int) -> (ResponseScanner.Step, left: Int) {
    var scanner = ResponseScanner(keepsContent: true, isHead: isHead)
    var buffer = ByteBuffer()
    var rest = Substring(text).utf8
    var last = ResponseScanner.Step.more
    while !rest.isEmpty {
      buffer.writeBytes(rest.prefix(step))
      rest = rest.dropFirst(step)
      last = scanner.scan(&buffer)
      guard case .more = last else { return (last, buffer.readableBytes + rest.count) }
    }
    if let response = scanner.ended() { return (.done(response), 0) }
    return (last, buffer.readableBytes)
  }

  @Test(
    "ends where RFC 9112 §6.3 says",
    arguments: [
      ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, 200, "hello", true),
      (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n", false, 200,
        "abcde", true
      ),
      ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, 200, "", true),
      ("HTTP/1.1 204 No Content\r\n\r\n", false, 204, "", true),
      ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, 304, "", true),
      (
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n", false, 201, "",
        true
      ),
      ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", false, 200, "until the end", false),
      ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false, 200, "x", false),
      ("HTTP/1.1 500 Oops\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", false, 500, "x", false),
    ])
  func whole(text: String, isHead: Bool, status: Int, body: String, keepsAlive: Bool) {
    for step in [1, 2, 7, text.utf8.count] {
      let (result, left) = read(text, isHead: isHead, step: step)
      guard case .done(let response) = result else {
        Issue.record("not done by steps of \(step): \(result)")
        continue
      }
      #expect(response.status == status)
      #expect(String(buffer: response.body) == body)
      #expect(response.keepsAlive == keepsAlive)
      #expect(left == 0)
    }
  }

  @Test(
    "what is no response is wrong",
    arguments: [
      "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n",
    ])
  func wrong(text: String) {
    let (result, _) = read(text, step: text.utf8.count)
    guard case .wrong = result else {
      Issue.record("taken as \(result)")
      return
    }
  }

  @Test("fields are kept with names in lower case")
  func fields() {
    let (result, _) = read("HTTP/1.1 200 OK\r\nX-Degraded:  search \r\nContent-Length: 0\r\n\r\n", step: 3)
    guard case .done(let response) = result else {
      Issue.record("not done")
      return
    }
    #expect(response.field("x-degraded") == "search")
  }
}
