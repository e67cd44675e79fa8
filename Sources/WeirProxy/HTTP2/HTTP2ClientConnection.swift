// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHTTP2
import Synchronization
import WeirBase
import WeirPatterns
import WeirWire

/// A client's connection that speaks HTTP/2: how long it lives, and how it ends.
///
/// Its streams are ``ClientConnection``s of their own. It stands behind NIO's handler, which passes on to it what concerns
/// no stream.
///
///     open ──drain, idle──▶ leaving ──ping answered──▶ closing ──no stream is left──▶ closed
///
/// A connection ends in two steps (RFC 9113 §6.8): a GOAWAY that refuses nothing yet, and one round trip later the one that
/// names the last stream that is served, so that no request that was on its way is lost.
///
/// Confined to its loop.
final class HTTP2ClientConnection: ChannelInboundHandler {
  typealias InboundIn = HTTP2Frame
  typealias OutboundOut = HTTP2Frame

  private enum State { case open, leaving, closing, closed }

  private let loop: ProxyLoop
  private let peer: PeerAddress
  private let counts: Bool
  private var context: ChannelHandlerContext?
  private weak var handler: NIOHTTP2Handler?
  private var state = State.open
  private var streams = 0
  private var lastStream = HTTP2StreamID.rootStream
  /// When it has been without a stream since, or when its end began.
  private var idleSince: Int64
  private var mistakes = 0
  private var mistakesSince: Int64 = 0
  private static let ping = HTTP2PingData(withInteger: 0x7765_6972_2062_7965)

  /// - Parameter counts: the address limit has counted this connection.
  init(loop: ProxyLoop, peer: PeerAddress, counts: Bool) {
    self.loop = loop
    self.peer = peer
    self.counts = counts
    idleSince = loop.now().nanoseconds
  }

  /// NIO's handler and this one, for a channel whose connection speaks HTTP/2 from here on.
  ///
  /// `make` makes the connection of a stream.
  static func handlers(
    loop: ProxyLoop, peer: PeerAddress, counts: Bool, _ make: @escaping () -> ClientConnection
  ) -> [any ChannelHandler] {
    let connection = HTTP2ClientConnection(loop: loop, peer: peer, counts: counts)
    let bound = NIOLoopBound(make, eventLoop: loop.eventLoop)
    let owner = NIOLoopBound(connection, eventLoop: loop.eventLoop)
    let handler = NIOHTTP2Handler(
      mode: .server, eventLoop: loop.eventLoop, connectionConfiguration: HTTP2Settings.server(loop.limits),
      streamConfiguration: HTTP2Settings.streams(loop.limits),
      streamDelegate: Delegate(connection: NIOLoopBound(connection, eventLoop: loop.eventLoop))
    ) { channel in
      channel.eventLoop.makeCompletedFuture {
        let client = bound.value()
        client.isStream = true
        try channel.pipeline.syncOperations.addHandlers([HTTP2ServerStream(client, of: owner.value), client])
      }
    }
    connection.handler = handler
    return [handler, connection]
  }

  private struct Delegate: NIOHTTP2StreamDelegate {
    let connection: NIOLoopBound<HTTP2ClientConnection>
    func streamCreated(_ id: HTTP2StreamID, channel: any Channel) { connection.value.opened(id) }
    func streamClosed(_ id: HTTP2StreamID, channel: any Channel) { connection.value.ended() }
  }

  private func opened(_ id: HTTP2StreamID) {
    streams += 1
    if id > lastStream { lastStream = id }
  }

  private func ended() {
    streams -= 1
    if streams > 0 { return }
    idleSince = loop.now().nanoseconds
    if state == .closing { close() }
  }

  // MARK: - Channel events

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    loop.http2.add(self)
    if loop.isDraining { leave() }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .ping(HTTP2ClientConnection.ping, ack: true) = unwrapInboundIn(data).payload { left() }
  }

  func channelInactive(context: ChannelHandlerContext) {
    state = .closed
    self.context = nil
    loop.http2.remove(self)
    if counts { loop.node.addresses.withLock { $0.closed(peer.key) } }
    context.fireChannelInactive()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    // Who sends nothing more opens no window either.
    if case ChannelEvent.inputClosed = event { return context.close(promise: nil) }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    switch error {
    // Something behind a stream's end (RFC 9113 §5.1). NIO resets the stream, for a head with another code than the RFC's;
    // whoever loses count of its own streams is sent away, as nghttp2 does it.
    case let error as NIOHTTP2Errors.BadStreamStateTransition
    where error.fromState == .halfClosedRemoteLocalIdle || error.fromState == .halfClosedRemoteLocalActive:
      goAway(lastStream, context, .streamClosed)
      context.close(promise: nil)
    // Errors of one stream, which NIO has reset. Where one of these ends the connection, its GOAWAY has gone out.
    case is NIOHTTP2Errors.StreamError, is NIOHTTP2Errors.BadStreamStateTransition,
      is NIOHTTP2Errors.FlowControlViolation,
      is NIOHTTP2Errors.TrailersWithoutEndStream:
      break
    case is NIOHTTP2Errors.NoSuchStream:
      goAway(lastStream, context, .protocolError)
      context.close(promise: nil)
    default: context.close(promise: nil)
    }
  }

  /// A stream was malformed; each costs us a reset, so that many of them are an attack (CVE-2025-8671).
  func mistaken() {
    let now = loop.now().nanoseconds
    if now - mistakesSince > 30_000_000_000 {
      mistakesSince = now
      mistakes = 0
    }
    mistakes += 1
    guard mistakes > loop.limits.http2Resets, let context, state != .closed else { return }
    state = .closed
    goAway(lastStream, context, .enhanceYourCalm)
    context.close(promise: nil)
  }

  // MARK: - The end

  /// No new streams, after those that are on their way.
  func leave() {
    guard state == .open, let context else { return }
    state = .leaving
    idleSince = loop.now().nanoseconds
    announce(context)
    context.writeAndFlush(
      wrapOutboundOut(HTTP2Frame(streamID: .rootStream, payload: .ping(HTTP2ClientConnection.ping, ack: false))),
      promise: nil)
  }

  /// The first GOAWAY, which refuses nothing; written past NIO's handler, which would refuse new streams from then on.
  private func announce(_ context: ChannelHandlerContext) {
    guard let handler, let below = try? context.pipeline.syncOperations.context(handler: handler) else { return }
    var frame = context.channel.allocator.buffer(capacity: 17)
    // Eight bytes, GOAWAY, no flags, no stream; the last stream that there can be; no error.
    frame.writeBytes([0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0])
    below.writeAndFlush(NIOAny(IOData.byteBuffer(frame)), promise: nil)
  }

  private func left() {
    guard state == .leaving, let context else { return }
    state = .closing
    goAway(lastStream, context)
    if streams == 0 { close() }
  }

  private func goAway(
    _ last: HTTP2StreamID, _ context: ChannelHandlerContext, _ code: HTTP2ErrorCode = .noError
  ) {
    let payload = HTTP2Frame.FramePayload.goAway(lastStreamID: last, errorCode: code, opaqueData: nil)
    context.writeAndFlush(wrapOutboundOut(HTTP2Frame(streamID: .rootStream, payload: payload)), promise: nil)
  }

  /// Once a second: a connection without a stream is not kept for ever, nor one whose client does not answer.
  func sweep(before: Int64) {
    guard idleSince < before else { return }
    switch state {
    case .open: if streams == 0 { leave() }
    case .leaving: if streams == 0 { close() } else { left() }
    case .closing: if streams == 0 { close() }
    case .closed: break
    }
  }

  /// Ends the connection behind what its last stream has written: that is flushed with this turn of the loop, and a close
  /// within it would come first.
  func close() {
    guard let context else { return }
    context.flush()
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    context.eventLoop.execute {
      bound.value.flush()
      bound.value.close(promise: nil)
    }
  }
}

/// What a loop keeps for HTTP/2.
final class HTTP2Loop {
  let scratch = HTTP2Scratch()
  private var connections: [ObjectIdentifier: HTTP2ClientConnection] = [:]
  /// By place: the connections to an instance.
  var upstreams: [Int: [HTTP2Upstream]] = [:]
  /// The last connection has gone.
  var whenEmpty: (() -> Void)?

  var isEmpty: Bool { connections.isEmpty }

  func add(_ connection: HTTP2ClientConnection) { connections[ObjectIdentifier(connection)] = connection }

  func remove(_ connection: HTTP2ClientConnection) {
    connections[ObjectIdentifier(connection)] = nil
    if connections.isEmpty { whenEmpty?() }
  }

  func sweep(now: Int64, keepAlive: Int64) {
    for connection in Array(connections.values) { connection.sweep(before: now - keepAlive) }
    for upstream in Array(upstreams.values.joined()) { upstream.sweep(before: now - keepAlive) }
  }

  func drain() { for connection in Array(connections.values) { connection.leave() } }

  func stop() {
    for connection in Array(connections.values) { connection.close() }
    for upstream in Array(upstreams.values.joined()) { upstream.close() }
  }
}
