// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOHPACK
import NIOHTTP2
import WeirFlows
import WeirWire

/// One call as a stream of a connection to an instance: the other side of ``HTTP2ServerStream``.
///
///     HTTP2StreamChannel ─ HTTP2ClientStream ─ UpstreamConnection
///
/// ## Invariants
/// 1. What reaches the connection is a whole head, then a body that is framed as the head says; an answer that breaks
///    RFC 9113 §8.1.1 ends the stream as a broken one.
/// 2. The stream is counted at its connection from its making to `channelInactive`.
final class HTTP2ClientStream: ChannelDuplexHandler {
  typealias InboundIn = HTTP2Frame.FramePayload
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = HTTP2Frame.FramePayload

  private enum Part { case head, body, ended }

  private let connection: UpstreamConnection
  private let shared: HTTP2Upstream
  private let loop: ProxyLoop
  private var outgoing = Part.head
  private var body = HTTP2Body()
  private var incoming = Part.head
  private var toHead = false
  private var isChunked = false
  private var length = H2BodyLength()
  private var wasReset = false

  init(_ connection: UpstreamConnection, of shared: HTTP2Upstream) {
    self.connection = connection
    self.shared = shared
    loop = connection.loop
  }

  // MARK: - The request

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    var buffer = unwrapOutboundIn(data)
    if outgoing == .head, buffer.readableBytes > 0 { writeHead(&buffer, context) }
    if outgoing == .body { writeBody(&buffer, context) }
    promise?.succeed()
  }

  private func writeHead(_ buffer: inout ByteBuffer, _ context: ChannelHandlerContext) {
    let fields = loop.http2.scratch
    guard let client = connection.client, let length = buffer.headLength, let head = buffer.readSlice(length: length),
      fields.fields.request(head.readableBytesUInt8Span, isHTTPS: false)
    else { return fail(context) }
    var headers = fields.fields.headers()
    // Trailers are relayed to whoever reads them; without this a gRPC server refuses the call.
    if client.acceptsTrailers { headers.add(name: "te", value: "trailers") }
    toHead = client.head.method == .head
    // The body goes on as it came.
    let framing = client.sentFraming
    body.begin(framing)
    let isWhole = framing == .none
    outgoing = isWhole ? .ended : .body
    context.write(wrapOutboundOut(.headers(.init(headers: headers, endStream: isWhole))), promise: nil)
  }

  private func writeBody(_ buffer: inout ByteBuffer, _ context: ChannelHandlerContext) {
    let progress = body.write(&buffer, to: context, loop.http2.scratch) {
      outgoing = .ended
      return nil
    }
    if progress == .broken { fail(context) }
  }

  // MARK: - The answer

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
    case .rstStream: wasReset = true
    default: break
    }
  }

  private func readHead(_ frame: HTTP2Frame.FramePayload.Headers, _ context: ChannelHandlerContext) {
    let scratch = loop.http2.scratch
    scratch.response.begin(limits: loop.headLimits)
    for (name, value, _) in frame.headers {
      let mistake = name.withBytes { name in value.withBytes { scratch.response.add(name, $0) } }
      if mistake != nil { return fail(context) }
    }
    scratch.out.clear()
    if scratch.response.finish(endsStream: frame.endStream, toHead: toHead, into: &scratch.out) != nil {
      return fail(context)
    }
    let status = scratch.response.status
    if status >= 200 {
      let hasBody = !toHead && status != 204 && status != 304
      length = H2BodyLength(declared: hasBody ? scratch.response.contentLength : -1)
      isChunked = hasBody && !frame.endStream && scratch.response.contentLength < 0
      incoming = frame.endStream ? .ended : .body
      connection.grpcStatus = GRPCStatus.find(in: frame.headers)
    }
    context.fireChannelRead(wrapInboundOut(scratch.taken(context.channel.allocator)))
  }

  private func read(_ buffer: ByteBuffer, isLast: Bool, _ context: ChannelHandlerContext) {
    guard length.take(buffer.readableBytes), !isLast || length.ends() else { return fail(context) }
    if isLast { incoming = .ended }
    var framed = buffer.framed(asChunk: isChunked && buffer.readableBytes > 0, context.channel.allocator)
    if isLast && isChunked { framed.writeStaticString("0\r\n\r\n") }
    if framed.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(framed)) }
  }

  private func readTrailers(_ frame: HTTP2Frame.FramePayload.Headers, _ context: ChannelHandlerContext) {
    guard frame.endStream else { return fail(context) }
    let scratch = loop.http2.scratch
    scratch.trailers.begin()
    for (name, value, _) in frame.headers {
      let mistake = name.withBytes { name in value.withBytes { scratch.trailers.add(name, $0) } }
      if mistake != nil { return fail(context) }
    }
    guard length.ends() else { return fail(context) }
    incoming = .ended
    connection.grpcStatus = GRPCStatus.find(in: frame.headers)
    guard isChunked else { return }
    scratch.out.clear()
    scratch.trailers.finish(into: &scratch.out)
    context.fireChannelRead(wrapInboundOut(scratch.taken(context.channel.allocator)))
  }

  // MARK: - The end

  /// What came, or what was to be sent, is no message of HTTP/2: `channelInactive` tells the connection.
  private func fail(_ context: ChannelHandlerContext) {
    incoming = .ended
    outgoing = .ended
    wasReset = true
    connection.isBroken = true
    context.writeAndFlush(wrapOutboundOut(.rstStream(.protocolError)), promise: nil)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let closed = error as? NIOHTTP2Errors.StreamClosed else { return }
    // RFC 9113 §8.7: it was refused, or lies above the last stream of a GOAWAY, which NIO ends as cancelled without a reset
    // of the peer: nothing of it was processed.
    if closed.errorCode == .refusedStream || (closed.errorCode == .cancel && !wasReset) {
      connection.isUnprocessed = true
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    context.fireChannelInactive()
    shared.ended()
  }
}

extension GRPCStatus {
  /// What `grpc-status` says; nil when there is none.
  static func find(in headers: HPACKHeaders) -> GRPCStatus? {
    headers.first(name: "grpc-status").map { GRPCStatus(rawValue: UInt8($0) ?? 2) ?? .unknown }
  }
}
