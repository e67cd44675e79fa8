// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// One connection to an instance: in use by one client's call, reading out an answer that nobody wants, or idle.
///
/// Confined to its loop.
///
///     connecting ─▶ head ─▶ body ─▶ idle ─▶ head …
///                    └ answer not wanted ─▶ discard ─▶ idle or closed
final class UpstreamConnection: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  enum State: UInt8 { case connecting, idle, head, body, discard, closed, tunnel, parting }

  let loop: ProxyLoop
  /// The instance, see ``ProxyLoop/firstPlace``.
  let place: Int
  let addressVersion: UInt32
  var client: ClientConnection?
  let outlet: Outlet
  var state = State.connecting
  var input = ByteBuffer()
  private var scanner = ResponseScanner()
  var head = ResponseHead()
  private var remaining: Int64 = 0
  private var chunks = ChunkedScanner()
  /// The request has been sent whole.
  var isRequestSent = false
  /// The answer has been received whole, and nothing after it.
  private(set) var isAnswerWhole = false
  private var interims = 0
  private(set) var idleSince: Int64 = 0
  /// Bytes of an unwanted answer that are read so that the connection can be kept.
  private var discardLeft = 0
  private var isClosing = false
  /// The instance sends nothing more, and may still read; TCP only.
  private(set) var inputClosed = false
  /// We send nothing more; TCP only.
  private var outputClosed = false
  /// An error has ended it, and no end.
  private var isReset = false
  private var isSecured = false
  /// The channel is a stream of a connection that others use too: one call, then its end.
  var isStream = false
  /// It says who its client is, so it is nobody else's.
  var isPrivate = false
  /// How the call ended, by `grpc-status`, as far as it has been said.
  var grpcStatus: GRPCStatus?
  /// The instance has said that nothing of the request was processed.
  var isUnprocessed = false
  /// What came was no answer.
  var isBroken = false

  init(loop: ProxyLoop, place: Int, client: ClientConnection, way: Outlet.Way = .raw) {
    self.loop = loop
    outlet = Outlet(way)
    self.place = place
    self.client = client
    addressVersion = loop.addressVersions[place]
  }

  // MARK: - Connecting

  /// With a context the connection is secured first, and `name` is who must answer.
  ///
  /// `header` goes out before all else.
  func connect(
    to address: SocketAddress, securedBy context: NIOSSLContext? = nil, name: String? = nil,
    after header: ByteBuffer? = nil
  ) {
    isSecured = context != nil
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    var bootstrap = ClientBootstrap(group: loop.eventLoop)
      .channelOption(.recvAllocator, value: Buffers.upstream)
      .channelOption(
        .writeBufferWaterMark, value: .init(low: loop.limits.writeLow, high: loop.limits.writeHigh)
      )
      // The flow says when connecting has taken too long; this only bounds what is left behind.
      .connectTimeout(.seconds(60))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if let header { try channel.pipeline.syncOperations.addHandler(ProxyPreface(header)) }
          if let context {
            try channel.pipeline.syncOperations.addHandler(
              NIOSSLClientHandler.handler(context: context, name: name))
          }
          try channel.pipeline.syncOperations.addHandler(bound.value)
        }
      }
    if client?.tcp != nil { bootstrap = bootstrap.channelOption(.allowRemoteHalfClosure, value: true) }
    if address.protocol != .unix { bootstrap = bootstrap.channelOption(.tcpOption(.tcp_nodelay), value: 1) }
    bootstrap.connect(to: address).whenFailure { _ in bound.value.connectFailed() }
  }

  func connectFailed(_ failure: RetryRule.Failure = .connectRefused) {
    if state == .closed { return }
    // Never within the call that asked for the connection: its step is still being carried out.
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    loop.eventLoop.execute {
      let this = bound.value
      if this.state == .closed { return }
      this.state = .closed
      this.outlet.close()
      this.client?.attemptFailed(this, failure)
    }
  }

  func handlerAdded(context: ChannelHandlerContext) {
    outlet.attach(context)
  }

  func channelActive(context: ChannelHandlerContext) {
    if isClosing {
      context.close(promise: nil)
      return
    }
    guard state == .connecting, !isSecured else { return }
    begin()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case TLSUserEvent.handshakeCompleted? = event as? TLSUserEvent, state == .connecting, !isClosing {
      return begin()
    }
    if case ChannelEvent.inputClosed = event, state == .tunnel {
      inputClosed = true
      client?.tcpAnswerEnded(self)
      return
    }
    context.fireUserInboundEventTriggered(event)
  }

  private func begin() {
    outlet.begin()
    state = .idle
    client?.connected(self)
  }

  // MARK: - Sending

  var isWritable: Bool { outlet.isWritable }

  /// An attempt begins on this connection.
  @inline(__always)
  func expectAnswer() {
    state = .head
    isRequestSent = false
    isAnswerWhole = false
    interims = 0
  }

  @inline(__always)
  func write(_ buffer: ByteBuffer) { outlet.write(buffer) }

  @inline(__always)
  func flush() { outlet.flush() }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if outlet.isWritable { client?.upstreamIsWritable(self) }
  }

  // MARK: - Receiving

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch state {
    case .head:
      if input.readableBytes == 0 { input = unwrapInboundIn(data) } else { keep(unwrapInboundIn(data)) }
      readHead()
    case .body:
      // An answer that is kept stays here until it is whole.
      if input.readableBytes == 0 { input = unwrapInboundIn(data) } else { keep(unwrapInboundIn(data)) }
      client?.relay(self, withHead: false, now: loop.now())
    case .discard:
      input = unwrapInboundIn(data)
      discardInput()
    case .tunnel:
      if input.readableBytes == 0 { input = unwrapInboundIn(data) } else { keep(unwrapInboundIn(data)) }
      client?.tunnelAnswered(self)
    case .idle:
      // Nothing was asked: a server's parting word (408) or a defect. Either way not to be used again.
      close()
    case .connecting, .closed, .parting: break
    }
    if input.readableBytes == 0 { input = loop.empty }
  }

  /// Behind what has been read before and not used.
  @inline(never)
  private func keep(_ buffer: ByteBuffer) { input.writeImmutableBuffer(buffer) }

  func channelReadComplete(context: ChannelHandlerContext) { outlet.hasRead() }

  private func readHead() {
    while state == .head, input.readableBytes > 0, let client {
      let toHead = client.head.method == .head
      switch scanner.scan(&input, toHead: toHead, limits: loop.headLimits, into: &head) {
      case .needMore: return
      case .refused: return client.attemptFailed(self, .protocolError)
      case .complete: break
      }
      if head.isInformational {
        if head.status == 101, client.tunnel != nil { return client.upgraded(self) }
        interims += 1
        // 101 was not asked for; and no server has so much to say beforehand.
        if head.status == 101 || interims > 16 { return client.attemptFailed(self, .protocolError) }
        input.moveReaderIndex(forwardBy: head.length)
        continue
      }
      beginBody()
      client.answered(self)
    }
  }

  func beginBody() {
    switch head.framing {
    case .none: remaining = 0
    case .length(let length): remaining = length
    case .chunked: chunks.clear()
    case .untilClose: break
    }
  }

  /// How much of `input` is body, whether the body ends with it, and what is wrong with it.
  func takeBody() -> (count: Int, isLast: Bool, error: HeadError?) {
    let readable = input.readableBytes
    switch head.framing {
    case .none: return (0, true, nil)
    case .length:
      let count = Int(min(Int64(readable), remaining))
      remaining -= Int64(count)
      return (count, remaining == 0, nil)
    case .untilClose: return (readable, false, nil)
    case .chunked:
      var at = 0
      switch chunks.skip(&input, from: &at) {
      case .end(let end): return (end, true, nil)
      case .refused(let error): return (at, true, error)
      case .data, .needMore: return (readable, false, nil)
      }
    }
  }

  /// Gives the data of a chunked body, run by run, instead of its chunks: for callers that speak HTTP/1.0.
  func takeData(into out: inout ByteBuffer) -> (isLast: Bool, error: HeadError?) {
    var at = 0
    while true {
      switch chunks.next(&input, from: &at) {
      case .data(let run): out.writePart(of: &input, run)
      case .needMore:
        input.clear()
        return (false, nil)
      case .end(let end):
        input.moveReaderIndex(forwardBy: end)
        return (true, nil)
      case .refused(let error): return (true, error)
      }
    }
  }

  /// As ``takeData(into:)``; behind the data the lines of its trailers.
  func takeData(into out: inout ByteBuffer, trailers: inout [UInt8]) -> (isLast: Bool, error: HeadError?) {
    var at = 0
    while true {
      let before = chunks.trailerBytes
      let event = chunks.next(&input, from: &at)
      let new = chunks.trailerBytes - before
      if new > 0 {
        let bytes = input.readableBytesView
        trailers.append(contentsOf: bytes[bytes.startIndex + at - new..<bytes.startIndex + at])
      }
      switch event {
      case .data(let run): out.writePart(of: &input, run)
      case .needMore:
        input.clear()
        return (false, nil)
      case .end(let end):
        // The empty line that ends the body is no trailer.
        trailers.removeLast(min(2, trailers.count))
        input.moveReaderIndex(forwardBy: end)
        return (true, nil)
      case .refused(let error): return (true, error)
      }
    }
  }

  /// The answer has been taken whole out of `input`.
  @inline(__always)
  func answerIsWhole() { isAnswerWhole = input.readableBytes == 0 }

  func setReading(_ on: Bool) { outlet.setReading(on) }

  // MARK: - The end of a use

  /// The call is done with this connection: keep it if it can be used again, read out what is left if that is little.
  @inline(__always)
  func release(now: Int64) {
    if isStream { return releaseStream() }
    client = nil
    setReading(true)
    if isPrivate { return close() }
    if isAnswerWhole && isRequestSent && head.flags.contains(.keepAlive) && state == .body {
      state = .idle
      idleSince = now
      loop.keepIdle(self)
      return
    }
    leave()
  }

  /// A stream that is whole in both directions ends by itself, and any other is reset.
  private func releaseStream() {
    let isWhole = isAnswerWhole && isRequestSent && state == .body
    let hadBody = client.map { $0.head.framing != .none } ?? true
    client = nil
    if !isWhole { return close() }
    state = .closed
    input = loop.empty
    if !hadBody { return }
    // The end of the request may still wait for a window that never opens: nobody needs it any more.
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    loop.eventLoop.execute { bound.value.outlet.close() }
  }

  @inline(never)
  private func leave() {
    guard state == .body, isRequestSent, head.flags.contains(.keepAlive), head.framing != .untilClose else {
      return close()
    }
    if case .length(let length) = head.framing, length > Int64(loop.limits.drainBytes) { return close() }
    discardLeft = loop.limits.drainBytes
    state = .discard
    idleSince = loop.now().nanoseconds
    discardInput()
  }

  private func discardInput() {
    let (count, isLast, error) = takeBody()
    discardLeft -= count
    input.moveReaderIndex(forwardBy: min(count, input.readableBytes))
    if error != nil || discardLeft < 0 { return close() }
    if isLast {
      if input.readableBytes > 0 { return close() }
      state = .idle
      idleSince = loop.now().nanoseconds
      loop.keepIdle(self)
    }
  }

  /// Nothing more is sent, and what still comes is read past for a while: a close at once would answer it with a reset, which
  /// can overtake what we have sent.
  func part() {
    guard state != .closed else { return }
    state = .parting
    client = nil
    input = loop.empty
    setReading(true)
    outlet.whenWritten(self) { $0.outlet.closeOutput() }
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    loop.eventLoop.scheduleTask(in: .nanoseconds(loop.times.linger)) { bound.value.close() }
  }

  /// Closes when all that was written has gone out; an instance that takes none of it is not waited for without end.
  func closeWhenWritten() {
    guard state != .closed else { return }
    state = .parting
    client = nil
    input = loop.empty
    outlet.whenWritten(self) { $0.close() }
    if state == .closed { return }
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    loop.eventLoop.scheduleTask(in: .nanoseconds(loop.times.answerIdle)) { bound.value.close() }
  }

  func close() {
    isClosing = true
    let wasConnecting = state == .connecting
    state = .closed
    client = nil
    input = loop.empty
    // While connecting the channel closes as soon as it is there.
    if wasConnecting && !outlet.isAttached { return }
    outlet.close()
  }

  func channelInactive(context: ChannelHandlerContext) {
    let before = state
    state = .closed
    switch before {
    case .idle:
      if let client { client.attemptFailed(self, .lostBeforeHead) } else { loop.dropIdle(self) }
    case .head: client?.attemptFailed(self, .lostBeforeHead)
    case .body:
      if head.framing == .untilClose { client?.upstreamEnded(self) } else { client?.attemptFailed(self, .lostInBody) }
    case .connecting:
      // Before the connection is there `connectFailed` reports it; within a handshake nobody else does.
      if isSecured {
        state = .connecting
        connectFailed(.tlsFailed)
        return
      }
    case .tunnel: client?.tunnelUpstreamEnded(self)
    case .discard, .closed, .parting: break
    }
    client = nil
    outlet.detach()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    isReset = true
    context.close(promise: nil)
  }

  // MARK: - TCP

  /// Whether its bytes have come to their end; one whose two halves are closed is gone without a word of the second.
  var hasEnded: Bool { inputClosed || outputClosed && !isReset && state == .closed }

  /// Nothing more is sent; what comes is still read.
  func finishSending() {
    outlet.whenWritten(self) {
      guard $0.state == .tunnel else { return }
      $0.outputClosed = true
      $0.outlet.closeOutput()
    }
  }
}

extension NIOSSLClientHandler {
  /// For connections to instances: a host's name is asked for (SNI) and verified; an address is verified only, for
  /// RFC 6066 §3 allows no address there.
  static func handler(context: NIOSSLContext, name: String?) throws -> NIOSSLClientHandler {
    let isAddress = name.map { $0.contains(":") || $0.split(separator: ".").allSatisfy { UInt8($0) != nil } } ?? true
    return try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : name)
  }
}

/// How buffers are made.
enum Buffers {
  /// Requests are small; bodies that are uploaded get up to 64 KiB a read.
  static let client = AdaptiveRecvByteBufferAllocator(minimum: 1 << 10, initial: 2 << 10, maximum: 64 << 10)
  /// A large buffer that stays in the cache beats every zero-copy trick here (measured, DATAPLANE): 256 KiB.
  static let upstream = AdaptiveRecvByteBufferAllocator(minimum: 2 << 10, initial: 8 << 10, maximum: 256 << 10)
}
