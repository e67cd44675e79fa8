// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirProxy

/// `retry.buffer`: how long a body may be so that its request can be sent again.
@Suite struct RetryBufferTests {
  @Test(
    "a body within the buffer is sent again as a whole, a longer one and one of unknown length are sent once",
    arguments: [
      (1000, 1000, 200), (1000, 1001, 502), (200_000, 150_000, 200), (64 << 10, 64 << 10, 200), (64 << 10, 65537, 502),
      (1000, -10, 502),
    ])
  func buffer(_ buffer: Int, _ length: Int, _ status: Int) async throws {
    // Reads each first try and says nothing.
    let backend = try Backend { wire, backend in
      while let head = try wire.head() {
        let (body, _) = try wire.body(of: head, isAnswer: false)
        if backend.requests.add(1, ordering: .relaxed).newValue == 1 { return }
        try wire.send(Backend.ok("\(body.count) \(body.allSatisfy { $0 == 120 })"))
      }
    }
    var setup = Setup()
    setup.call.retryBuffer = buffer
    // A share of none would be no retry: there were no first tries before.
    setup.call.budget.share = 1
    try await withProxy(to: [backend.port, backend.port], setup) { _, port in
      let client = try Wire(port: port)
      let body = String(repeating: "x", count: abs(length))
      let framing =
        length < 0
        ? "Transfer-Encoding: chunked\r\n\r\na\r\n\(body)\r\n0\r\n\r\n" : "Content-Length: \(length)\r\n\r\n\(body)"
      let answer = try client.ask("PUT / HTTP/1.1\r\nHost: test.example\r\n\(framing)")
      #expect(answer.status == status)
      if status == 200 { #expect(answer.text == "\(length) true") }
      #expect(backend.count == (status == 200 ? 2 : 1))
    }
  }
}
