// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHTTP2
import WeirWire

/// A client that knows beforehand that HTTP/2 is spoken here (RFC 9113 §3.3).
extension ClientConnection {
  /// What such a connection begins with (§3.4); its first line is none of HTTP/1.1, so that no server takes it for a request.
  private static var preface: StaticString { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" }

  /// Whether what came is the preface, or may become it.
  ///
  /// Asked only of what is no request, so that requests do not pay for it.
  func beginsHTTP2() -> (isWhole: Bool, mayBe: Bool) {
    guard isFirst, !isStream, loop.limits.http2Streams > 0 else { return (false, false) }
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    let count = min(bytes.count, ClientConnection.preface.utf8CodeUnitCount)
    for i in 0..<count where bytes[i] != ClientConnection.preface.utf8Start[i] { return (false, false) }
    return (count == ClientConnection.preface.utf8CodeUnitCount, true)
  }

  /// Puts HTTP/2 in this connection's place; what has been read goes there.
  func becomeHTTP2() {
    guard let context = outlet.context else { return }
    let (loop, listener, peer, secure) = (self.loop, self.listener, self.peer, self.secure)
    let kind: ProxyConfiguration.Listener.Kind =
      isCalls ? .calls : redirectPort.map { .redirect(port: $0) } ?? .gateway(epoch.trie)
    let counts = !isCalls
    let given = input
    leaveChannel()
    let handlers = HTTP2ClientConnection.handlers(loop: loop, peer: peer, counts: counts) {
      ClientConnection(loop: loop, kind: kind, listener: listener, peer: peer, way: .pipeline, secure: secure)
    }
    do {
      let pipeline = context.pipeline.syncOperations
      try context.channel.syncOptions?.setOption(.autoRead, value: true)
      try pipeline.addHandlers(handlers, position: .last)
      context.fireChannelRead(NIOAny(given))
      context.fireChannelReadComplete()
      pipeline.removeHandler(self, promise: nil)
    } catch {
      context.close(promise: nil)
    }
  }
}
