// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirWire

extension ClientConnection {
  /// Sends the caller to the same address with TLS: 308, so that method and body stay what they are (RFC 9110 §15.4.9).
  func redirect(toPort port: Int, now: Instant) {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    // Without a host there is nowhere to send it.
    if head.host.isEmpty { return refuse(.badRequest, now: now) }
    var hostEnd = head.host.range.upperBound
    var at = hostEnd
    while at > head.host.range.lowerBound, (0x30...0x39).contains(bytes[at - 1]) { at -= 1 }
    if at > head.host.range.lowerBound, bytes[at - 1] == 0x3a { hostEnd = at - 1 }
    loop.scratch.clear()
    loop.scratch.append("HTTP/1.1 308 Permanent Redirect\r\nLocation: https://")
    loop.scratch.append(bytes, head.host.range.lowerBound..<hostEnd)
    if port != 443 {
      loop.scratch.append(":")
      loop.scratch.append(decimal: Int64(port))
    }
    if head.target.isEmpty || bytes[head.target.range.lowerBound] != 0x2f { loop.scratch.append("/") }
    if !head.target.isEmpty { loop.scratch.append(bytes, head.target.range) }
    loop.scratch.append("\r\nContent-Length: 0\r\nCache-Control: no-store\r\n")
    answerOurselves(status: 308, now: now)
  }
}
