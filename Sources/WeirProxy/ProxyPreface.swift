// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirPatterns
import WeirWire

/// Which PROXY header the instances of a service get before a connection's first byte.
package enum ProxyVersion: Sendable { case v1, v2 }

/// Writes a PROXY header into a connection to an instance before anything else, a handshake of TLS too; then leaves.
///
/// The connection is there for whoever stands behind when the header has gone out: they write past NIO (``Outlet``).
final class ProxyPreface: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let header: ByteBuffer

  init(_ header: ByteBuffer) { self.header = header }

  func channelActive(context: ChannelHandlerContext) {
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    // One that fails closes the channel, which tells whoever stands behind.
    context.writeAndFlush(wrapOutboundOut(header)).whenSuccess {
      let (this, context) = bound.value
      context.fireChannelActive()
      context.pipeline.syncOperations.removeHandler(this, promise: nil)
    }
  }
}

extension ProxyConfiguration {
  func sendsHeader(to service: Int) -> ProxyVersion? {
    service < proxyHeaders.count ? proxyHeaders[service] : nil
  }
}

extension HeadBuffer {
  /// Says who a connection is from; without addresses that it is our own.
  mutating func appendProxy(_ version: ProxyVersion, source: WireAddress?, destination: WireAddress?) {
    switch version {
    case .v1: appendProxyLine(source: source, destination: destination)
    case .v2: appendProxyBinary(source: source, destination: destination)
    }
  }

  /// The header of a connection that is nobody's but ours: a health check.
  static func ownProxy(_ version: ProxyVersion) -> ByteBuffer {
    var buffer = HeadBuffer(capacity: 64)
    buffer.appendProxy(version, source: nil, destination: nil)
    return ByteBuffer(bytes: buffer.storage.prefix(buffer.count))
  }
}

extension ClientConnection {
  /// What the instance is told of this client, and where it has reached us.
  func proxyHeader(for service: Int) -> ByteBuffer? {
    guard let version = epoch.configuration.sendsHeader(to: service) else { return nil }
    var buffer = HeadBuffer(capacity: 256)
    let reached = peer.reached ?? PeerAddress(outlet.localAddress).wire
    buffer.appendProxy(version, source: peer.wire, destination: reached)
    return ByteBuffer(bytes: buffer.storage.prefix(buffer.count))
  }
}

extension PeerAddress {
  /// For a PROXY header; nil when it is not known.
  var wire: WireAddress? {
    isUnknown ? nil : WireAddress(high: high, low: low, port: port, isIPv6: isIPv6)
  }

  /// Who a trusted proxy says it is, and where the proxy was reached.
  init(_ header: ProxyHeader) {
    self.init(header.source)
    port = header.source.port
    reached = header.destination
    var head = HeadBuffer(capacity: 64)
    head.append(address: header.source)
    text = Array(head.storage.prefix(head.count))
  }
}
