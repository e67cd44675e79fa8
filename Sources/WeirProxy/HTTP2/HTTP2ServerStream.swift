// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHPACK
import NIOHTTP2
import WeirFlows
import WeirWire

/// One stream of a client's HTTP/2 connection, as the HTTP/1.1 exchange that the rest of the proxy knows.
///
///     HTTP2StreamChannel ─ HTTP2ServerStream ─ ClientConnection
///
/// Fields become a head in canonical form, which passes through the same strict scanner as any other; data becomes a body
/// with a length or in chunks. The answer goes the same way back. Windows are the back-pressure: a stream that is not read
/// announces no more, and one that the client does not read is not writable.
///
/// ## Invariants
/// 1. What reaches the connection behind this is a whole head, then a body that is framed as the head says.
/// 2. A request that is malformed (RFC 9113 §8.1.1) is reset, and nothing more of it is passed on.
/// 3. Nothing is written behind END_STREAM, but a reset that tells a client that sends on to stop (§8.1).
final class HTTP2ServerStream: ChannelDuplexHandler {
  typealias InboundIn = HTTP2Frame.FramePayload
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = HTTP2Frame.FramePayload

  private enum Incoming { case head, body, ended }
  private enum Outgoing { case head, body, ended, out }

  private let connection: ClientConnection
  private unowned let owner: HTTP2ClientConnection
  private let loop: ProxyLoop
  private var incoming = Incoming.head
  private var isChunked = false
  private var length = H2BodyLength()
  private var outgoing = Outgoing.head
  private var body = HTTP2Body()
  /// Who waits for the answer's last byte to be written.
  private var waiter: EventLoopPromise<Void>?

  init(_ connection: ClientConnection, of owner: HTTP2ClientConnection) {
    self.connection = connection
    self.owner = owner
    loop = connection.loop
  }

  // MARK: - The request

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .headers(let frame):
      switch incoming {
      case .head: readHead(frame, context)
      case .body: readTrailers(frame, context)
      case .ended: break
      }
    case .data(let frame):
      guard incoming == .body, case .byteBuffer(let buffer) = frame.data else { return }
      read(buffer, isLast: frame.endStream, context)
    default: break
    }
  }

  private func readHead(_ frame: HTTP2Frame.FramePayload.Headers, _ context: ChannelHandlerContext) {
    let scratch = loop.http2.scratch
    scratch.request.begin(limits: loop.headLimits)
    let isGRPC = frame.headers.first(name: "content-type")?.withBytes { $0.isGRPCType } ?? false
    for (name, value, _) in frame.headers {
      if isGRPC, name == "grpc-timeout" {
        // Written anew for each attempt, with what is left; one that is none ends the call, as servers of gRPC do.
        guard let timeout = value.withBytes({ GRPCTimeout.parse($0) }) else { return refuse(.value, context) }
        connection.grpcTimeout = timeout
        continue
      }
      let mistake = name.withBytes { name in value.withBytes { scratch.request.add(name, $0) } }
      if let mistake { return refuse(mistake, context) }
    }
    scratch.out.clear()
    if let mistake = scratch.request.finish(endsStream: frame.endStream, into: &scratch.out) {
      return refuse(mistake, context)
    }
    length = H2BodyLength(declared: scratch.request.contentLength)
    isChunked = !frame.endStream && scratch.request.contentLength < 0
    incoming = frame.endStream ? .ended : .body
    connection.acceptsTrailers = scratch.request.acceptsTrailers || isGRPC
    connection.isGRPC = isGRPC
    context.fireChannelRead(wrapInboundOut(scratch.taken(context.channel.allocator)))
  }

  private func read(_ buffer: ByteBuffer, isLast: Bool, _ context: ChannelHandlerContext) {
    // A peer that sends more than it declared is up to something: none of it goes on.
    guard length.take(buffer.readableBytes), !isLast || length.ends() else { return refuse(.contentLength, context) }
    if isLast { incoming = .ended }
    // Its answer is out: nobody reads it.
    if outgoing == .ended || outgoing == .out { return }
    var framed = buffer.framed(asChunk: isChunked && buffer.readableBytes > 0, context.channel.allocator)
    if isLast && isChunked { framed.writeStaticString("0\r\n\r\n") }
    if framed.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(framed)) }
  }

  private func readTrailers(_ frame: HTTP2Frame.FramePayload.Headers, _ context: ChannelHandlerContext) {
    guard frame.endStream else { return refuse(.pseudoField, context) }
    let scratch = loop.http2.scratch
    scratch.trailers.begin()
    for (name, value, _) in frame.headers {
      let mistake = name.withBytes { name in value.withBytes { scratch.trailers.add(name, $0) } }
      if let mistake { return refuse(mistake, context) }
    }
    guard length.ends() else { return refuse(.contentLength, context) }
    incoming = .ended
    // A body with a length has no place for them in HTTP/1.1, and they may be dropped (RFC 9110 §6.5.1).
    guard isChunked, outgoing != .ended, outgoing != .out else { return }
    scratch.out.clear()
    scratch.trailers.finish(into: &scratch.out)
    context.fireChannelRead(wrapInboundOut(scratch.taken(context.channel.allocator)))
  }

  /// The stream is malformed: it is reset; a head that is only too large gets its answer.
  private func refuse(_ mistake: H2Mistake, _ context: ChannelHandlerContext) {
    let isHead = incoming == .head
    incoming = .ended
    if isHead && mistake == .tooLarge {
      connection.refuse(unreadable: .headTooLarge, now: loop.now())
      return connection.flush()
    }
    if isHead {
      let now = loop.now()
      loop.epoch.flows.refused(
        RequestEnding(status: Reason.badRequest.status, reason: .badRequest, phase: .head), startedAt: now, now: now)
    } else {
      connection.override = .badRequest
    }
    reset(.protocolError, context)
    owner.mistaken()
  }

  // MARK: - The answer

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    var buffer = unwrapOutboundIn(data)
    if outgoing == .head, buffer.readableBytes > 0 { writeHead(&buffer, context) }
    if outgoing == .body { writeBody(&buffer, context) }
    guard let promise else { return }
    if outgoing == .ended { waiter = promise } else { promise.succeed() }
  }

  /// Writes heads: of interim answers as many as there are, then that of the answer.
  private func writeHead(_ buffer: inout ByteBuffer, _ context: ChannelHandlerContext) {
    let fields = loop.http2.scratch
    while outgoing == .head, buffer.readableBytes > 0 {
      guard let length = buffer.headLength, let head = buffer.readSlice(length: length),
        fields.fields.response(head.readableBytesUInt8Span)
      else { return reset(.internalError, context) }
      let status = fields.fields.status
      if status < 200 {
        context.write(wrapOutboundOut(.headers(.init(headers: fields.fields.headers()))), promise: nil)
        continue
      }
      let framing = fields.fields.framing(hasBody: connection.head.method != .head && status != 204 && status != 304)
      body.begin(framing)
      let isWhole = framing == .none
      outgoing = isWhole ? .ended : .body
      context.write(
        wrapOutboundOut(.headers(.init(headers: fields.fields.headers(), endStream: isWhole))),
        promise: isWhole ? end(context) : nil)
    }
  }

  private func writeBody(_ buffer: inout ByteBuffer, _ context: ChannelHandlerContext) {
    let progress = body.write(&buffer, to: context, loop.http2.scratch) {
      outgoing = .ended
      return end(context)
    }
    if progress == .broken { reset(.internalError, context) }
  }

  /// Kept when the end of the stream is on its way: only then may a client that still sends be told to stop, for a reset
  /// overtakes what waits for its window.
  private func end(_ context: ChannelHandlerContext) -> EventLoopPromise<Void> {
    let promise = context.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    promise.futureResult.whenComplete { result in
      let (this, context) = bound.value
      this.outgoing = .out
      if case .success = result, this.incoming == .body {
        this.incoming = .ended
        context.writeAndFlush(this.wrapOutboundOut(.rstStream(.noError)), promise: nil)
      }
      this.waiter?.succeed()
      this.waiter = nil
    }
    return promise
  }

  // MARK: - The end

  private func reset(_ code: HTTP2ErrorCode, _ context: ChannelHandlerContext) {
    incoming = .ended
    outgoing = .out
    context.writeAndFlush(wrapOutboundOut(.rstStream(code)), promise: nil)
  }

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    switch outgoing {
    case .head, .body:
      // An answer that breaks off must not look whole.
      reset(.internalError, context)
      promise?.succeed()
    case .ended, .out:
      if mode == .output { promise?.succeed() } else { context.close(mode: mode, promise: promise) }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    outgoing = .out
    waiter?.succeed()
    waiter = nil
    context.fireChannelInactive()
  }

  /// A reset by the client, or of ours: `channelInactive` follows.
  func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}

extension H2FieldList {
  /// The number of `:status`, which is the first field of an answer.
  var status: UInt16 {
    guard count > 0 else { return 0 }
    var number: UInt16 = 0
    for byte in storage[value(0)] { number = number &* 10 &+ UInt16(byte &- 0x30) }
    return number
  }

  /// How the body of an answer that we wrote is framed: with a length, or else in chunks.
  func framing(hasBody: Bool) -> Framing {
    guard hasBody else { return .none }
    guard let range = find("content-length") else { return .chunked }
    var number: Int64 = 0
    for byte in storage[range] { number = number &* 10 &+ Int64(byte &- 0x30) }
    return number == 0 ? .none : .length(number)
  }
}
