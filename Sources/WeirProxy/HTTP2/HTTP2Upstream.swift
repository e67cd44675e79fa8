// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHTTP2
import NIOPosix
import NIOSSL
import WeirBase
import WeirPatterns

/// A connection to an instance that speaks HTTP/2: many calls share it, each as a stream.
///
///     connecting ──its SETTINGS came──▶ open ──GOAWAY, address changed, idle──▶ leaving ──no stream is left──▶ closed
///
/// Calls wait until the instance has shown by its SETTINGS that it speaks HTTP/2 at all, and how many streams it takes: what
/// has been sent nowhere may be tried elsewhere. Beyond that number there are more connections.
///
/// Confined to its loop.
final class HTTP2Upstream: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame
  typealias OutboundOut = HTTP2Frame

  private enum State { case connecting, open, leaving, closed }

  private let loop: ProxyLoop
  private let place: Int
  private let addressVersion: UInt32
  private var state = State.connecting
  private var context: ChannelHandlerContext?
  private var multiplexer: NIOHTTP2Handler.StreamMultiplexer?
  private var waiting: [UpstreamConnection] = []
  private var streams = 0
  private var isSecured = false
  private var idleSince: Int64
  /// What the instance takes; as many as we would give it until it says so.
  private var streamsMax = HTTP2Upstream.ownMax
  /// More than a hundred streams of one connection would share one window and one order of bytes.
  private static let ownMax = 100

  init(loop: ProxyLoop, place: Int) {
    self.loop = loop
    self.place = place
    addressVersion = loop.addressVersions[place]
    idleSince = loop.now().nanoseconds
  }

  /// One more call can have a stream.
  var hasRoom: Bool {
    (state == .open || state == .connecting) && streams + waiting.count < streamsMax
      && addressVersion == loop.addressVersions[place]
  }

  func connect(to address: SocketAddress, securedBy context: NIOSSLContext?, name: String?) {
    isSecured = context != nil
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    let limits = loop.limits
    var bootstrap = ClientBootstrap(group: loop.eventLoop)
      .channelOption(.recvAllocator, value: Buffers.upstream)
      .channelOption(.writeBufferWaterMark, value: .init(low: limits.writeLow, high: limits.writeHigh))
      .connectTimeout(.seconds(60))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let handler = NIOHTTP2Handler(
            mode: .client, eventLoop: channel.eventLoop, connectionConfiguration: HTTP2Settings.client(limits),
            streamConfiguration: HTTP2Settings.streams(limits)
          ) { pushed in pushed.close() }
          if let context {
            try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler.handler(context: context, name: name))
          }
          try channel.pipeline.syncOperations.addHandlers([handler, bound.value])
          bound.value.multiplexer = try handler.syncMultiplexer()
        }
      }
    if address.protocol != .unix { bootstrap = bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1) }
    bootstrap.connect(to: address).whenFailure { _ in bound.value.lost(.connectRefused) }
  }

  /// Gives the call a stream, now or when there is a connection.
  func open(_ connection: UpstreamConnection) {
    switch state {
    case .connecting: waiting.append(connection)
    case .open: make(connection)
    case .leaving, .closed: connection.connectFailed(.connectRefused)
    }
  }

  private func make(_ connection: UpstreamConnection) {
    guard let multiplexer, connection.state != .closed else { return }
    streams += 1
    let bound = NIOLoopBound((self, connection), eventLoop: loop.eventLoop)
    let promise = loop.eventLoop.makePromise(of: (any Channel).self)
    promise.futureResult.whenFailure { _ in
      bound.value.0.ended()
      bound.value.1.connectFailed(.connectRefused)
    }
    multiplexer.createStreamChannel(promise: promise) { channel in
      channel.eventLoop.makeCompletedFuture {
        let (this, connection) = bound.value
        try channel.pipeline.syncOperations.addHandlers([HTTP2ClientStream(connection, of: this), connection])
      }
    }
  }

  /// A stream is over.
  func ended() {
    streams -= 1
    if streams > 0 { return }
    idleSince = loop.now().nanoseconds
    if state == .leaving { close() }
  }

  // MARK: - Channel events

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data).payload {
    case .settings(.settings(let settings)):
      for setting in settings where setting.parameter == .maxConcurrentStreams {
        streamsMax = min(setting.value, HTTP2Upstream.ownMax)
      }
      if state == .connecting {
        state = .open
        openWaiting()
      }
    // NIO ends the streams above the last one that is served.
    case .goAway: leave()
    default: break
    }
  }

  private func openWaiting() {
    let all = waiting
    waiting = []
    for (index, connection) in all.enumerated() {
      // More came while connecting than it takes.
      if index < streamsMax { make(connection) } else { connection.connectFailed(.connectRefused) }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    self.context = nil
    // Within a handshake nobody else says what was wrong.
    lost(isSecured && state == .connecting ? .tlsFailed : .connectRefused)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // What answers is no HTTP/2: trying again would not change that.
    if state == .connecting {
      lost(error is any NIOHTTP2Error ? .protocolError : isSecured ? .tlsFailed : .connectRefused)
    }
    context.close(promise: nil)
  }

  private func lost(_ failure: RetryRule.Failure) {
    state = .closed
    multiplexer = nil
    let all = waiting
    waiting = []
    loop.http2.remove(self, place)
    for connection in all { connection.connectFailed(failure) }
  }

  // MARK: - The end

  /// Takes no new streams.
  func leave() {
    guard state == .open || state == .connecting else { return }
    if state == .connecting && !waiting.isEmpty { return }
    state = .leaving
    if streams == 0 { close() }
  }

  func sweep(before: Int64) {
    if streams == 0, waiting.isEmpty, idleSince < before { close() }
  }

  func close() {
    if let context { context.close(promise: nil) } else if state != .connecting { lost(.connectRefused) }
  }
}

extension HTTP2Loop {
  /// Gives a call a stream to an instance: of a connection that has room, or of a new one.
  func open(_ connection: UpstreamConnection, _ place: Int, _ service: Int, _ loop: ProxyLoop) {
    if let shared = upstreams[place]?.first(where: { $0.hasRoom }) { return shared.open(connection) }
    guard let address = loop.address(place) else { return connection.connectFailed(.connectRefused) }
    let shared = HTTP2Upstream(loop: loop, place: place)
    upstreams[place, default: []].append(shared)
    shared.open(connection)
    let epoch = connection.client?.epoch ?? loop.epoch
    let context = epoch.shared.contexts.service(service)
    shared.connect(
      to: address, securedBy: context, name: context == nil ? nil : epoch.shared.contexts.name(of: service, at: address)
    )
  }

  func remove(_ upstream: HTTP2Upstream, _ place: Int) {
    upstreams[place]?.removeAll { $0 === upstream }
  }

  /// The instance has another address, or none.
  func leaveUpstreams(_ place: Int) { for upstream in upstreams[place] ?? [] { upstream.leave() } }
}
