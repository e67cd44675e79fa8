// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirFlows
import WeirWire

/// Reads the PROXY header that a listener requires, then has the connection accepted as the client's it stands for.
///
/// Only networks of `trust-forwarded-from` may send one; others, and connections without a header, are closed.
final class ProxyIntake: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = ByteBuffer

  private let loop: ProxyLoop
  /// The listener's name, and which of the server's it is.
  private let name: String
  private let listener: Int
  private let peer: PeerAddress
  private var input = ByteBuffer()
  private var header = ProxyHeader()
  private var timer: Scheduled<Void>?
  private var isDone = false

  init(loop: ProxyLoop, name: String, listener: Int, peer: PeerAddress) {
    self.loop = loop
    self.name = name
    self.listener = listener
    self.peer = peer
  }

  func handlerAdded(context: ChannelHandlerContext) {
    let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
    timer = context.eventLoop.scheduleTask(in: .nanoseconds(loop.times.head)) {
      let (this, context) = bound.value
      this.refuse(.senderTooSlow, context)
    }
  }

  /// Whoever stands behind is told of the connection when it has been accepted.
  func channelActive(context: ChannelHandlerContext) {}

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if isDone { return context.fireChannelRead(data) }
    var data = unwrapInboundIn(data)
    input.writeBuffer(&data)
    let whole = input
    switch header.scan(whole.readableBytesUInt8Span) {
    case .needMore: return
    case .refused: return refuse(.badRequest, context)
    case .complete: break
    }
    isDone = true
    timer?.cancel()
    input.moveReaderIndex(forwardBy: header.length)
    // A proxy's own connection (a health check of it) is its own.
    let source = header.isLocal ? peer : PeerAddress(header)
    do { try loop.accept(context.channel, name, listener, peer: source) } catch { return context.close(promise: nil) }
    context.fireChannelActive()
    if input.readableBytes > 0 {
      context.fireChannelRead(wrapInboundOut(input))
      context.fireChannelReadComplete()
    }
    context.pipeline.syncOperations.removeHandler(self, promise: nil)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if isDone { return context.fireUserInboundEventTriggered(event) }
    guard case ChannelEvent.inputClosed = event else { return }
    // Without a byte it is a load balancer that looks whether somebody listens.
    if input.readableBytes == 0 { context.close(promise: nil) } else { refuse(.badRequest, context) }
  }

  private func refuse(_ reason: Reason, _ context: ChannelHandlerContext) {
    if isDone { return }
    isDone = true
    timer?.cancel()
    loop.refused(reason, at: name)
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    if !isDone { timer?.cancel() }
    isDone = true
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
