// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOSSL
import NIOTLS
import Synchronization
import WeirCertificates
import WeirPatterns

/// How a client's connection came about, where it came through TLS.
struct SecureOrigin {
  var version: TLSVersion?
  /// The client's own certificate, verified; nil when it showed none.
  var certificate: CertificateFacts?
}

/// Waits for the end of a handshake, then puts in its own place what speaks the protocol that was agreed on.
///
///     NIOSSLServerHandler ─ Handshake        ── completed ──▶  NIOSSLServerHandler ─ ClientConnection
final class Handshake: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer

  /// From the accepted connection to the last byte of the handshake; HAProxy and Envoy leave 10 to 15 seconds.
  static let limit = TimeAmount.seconds(10)

  private let loop: ProxyLoop
  private let listener: Int
  private let kind: ProxyConfiguration.Listener.Kind
  private let peer: PeerAddress
  private var timer: Scheduled<Void>?
  private var isDone = false

  init(loop: ProxyLoop, listener: Int, kind: ProxyConfiguration.Listener.Kind, peer: PeerAddress) {
    self.loop = loop
    self.listener = listener
    self.kind = kind
    self.peer = peer
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    timer = context.eventLoop.scheduleTask(in: Handshake.limit) {
      let (this, context) = bound.value
      if !this.isDone { context.close(promise: nil) }
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    guard case TLSUserEvent.handshakeCompleted(let negotiated)? = event as? TLSUserEvent else {
      return context.fireUserInboundEventTriggered(event)
    }
    isDone = true
    timer?.cancel()
    let handler = try? context.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self)
    let shown = handler?.peerCertificate.flatMap { try? $0.toDERBytes() }
    let origin = SecureOrigin(
      version: handler?.tlsVersion, certificate: shown.flatMap { try? CertificateFacts(der: $0) })
    loop.handshakes.completed(origin.version)
    do {
      try become(negotiated, origin, context)
    } catch {
      context.close(promise: nil)
    }
  }

  /// What was agreed on decides who speaks from here on.
  private func become(_ negotiated: String?, _ origin: SecureOrigin, _ context: ChannelHandlerContext) throws {
    if negotiated == "h2" {
      let (loop, kind, listener, peer) = (self.loop, self.kind, self.listener, self.peer)
      let handlers = HTTP2ClientConnection.handlers(loop: loop, peer: peer, counts: !kind.isCalls) {
        ClientConnection(loop: loop, kind: kind, listener: listener, peer: peer, way: .pipeline, secure: origin)
      }
      try context.pipeline.syncOperations.addHandlers(handlers, position: .after(self))
      context.pipeline.syncOperations.removeHandler(self, promise: nil)
      return
    }
    let connection = ClientConnection(
      loop: loop, kind: kind, listener: listener, peer: peer, way: .pipeline, secure: origin)
    try context.pipeline.syncOperations.addHandler(connection, position: .after(self))
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    if !isDone {
      timer?.cancel()
      loop.handshakes.failed += 1
      loop.node.addresses.withLock { $0.closed(peer.key) }
    }
    isDone = true
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// Handshakes of a loop, by how they ended.
package struct HandshakeTally: Sendable, Equatable {
  package var tls12: UInt64 = 0
  package var tls13: UInt64 = 0
  package var failed: UInt64 = 0

  package init() {}

  mutating func completed(_ version: TLSVersion?) {
    if version == .tlsv13 { tls13 += 1 } else { tls12 += 1 }
  }

  package static func + (one: HandshakeTally, other: HandshakeTally) -> HandshakeTally {
    var sum = one
    sum.tls12 += other.tls12
    sum.tls13 += other.tls13
    sum.failed += other.failed
    return sum
  }
}
