// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirWire

/// A call that the gateway itself makes: a part of a composed answer, a message that is pushed to a service.
///
/// It is a call like any other, made by a connection without a socket: breaker, balancer, retries, queue and fallback are
/// the same. Confined to its loop.
final class InnerCall {
  let edge: Int
  /// For whom it is made, at services that keep a client at one instance; nil for nobody.
  let clientKey: UInt64?
  /// Bytes of the answer, head and body; a larger one ends the call.
  let bytesMax: Int
  /// Lines of fields that are ours to say: what comes in by such names is dropped, whoever says it.
  let lines: [UInt8]
  /// The answer as it came, in HTTP/1.0: head, then body to the end.
  private(set) var bytes = ByteBuffer()
  private(set) var isOverlong = false
  /// Why it ended, when the answer is not the callee's own.
  var reason = Reason.none
  var isFallback = false
  /// How often the callee was tried.
  var attempts: UInt8 = 0
  /// The instance that was asked last.
  var instance = CallStep.nobody
  /// What the callee was told of the trace; of a call that was not made the trace's own.
  var trace: TraceContext?
  /// By which plan it is made.
  private(set) var epoch = 0
  private(set) var isOver = false
  private var client: ClientConnection?
  private var ended: ((InnerCall) -> Void)?

  /// `ended` is told once, unless the call is cancelled before.
  init(
    edge: Int, clientKey: UInt64? = nil, bytesMax: Int, lines: [UInt8] = [], ended: @escaping (InnerCall) -> Void
  ) {
    self.edge = edge
    self.lines = lines
    self.clientKey = clientKey
    self.bytesMax = bytesMax
    self.ended = ended
  }

  /// Makes it, by `epoch`; `request` is a whole one, in HTTP/1.0, so that its answer comes without chunks.
  func begin(_ request: ByteBuffer, by epoch: Epoch, on loop: ProxyLoop, listener: Int, peer: PeerAddress) {
    let client = ClientConnection(loop: loop, kind: .calls, listener: listener, peer: peer, way: .memory)
    client.take(epoch)
    self.epoch = epoch.number
    self.client = client
    client.begin(self, request)
  }

  /// Nobody wants the answer any more.
  func cancel() {
    ended = nil
    if !isOver { client?.cut() }
  }

  fileprivate func receive(_ buffer: ByteBuffer) {
    if isOverlong || isOver { return }
    if bytes.readableBytes + buffer.readableBytes > bytesMax {
      isOverlong = true
      bytes = ByteBuffer()
      client?.cut()
    } else {
      bytes.writeImmutableBuffer(buffer)
    }
  }

  fileprivate func isClosed() {
    isOver = true
    client = nil
    ended.take()?(self)
  }

  /// The head of the answer, with its place in `bytes`; nil when there is none that can be read.
  func headOfAnswer(_ loop: ProxyLoop) -> ResponseHead? {
    var head = ResponseHead()
    var scanner = ResponseScanner()
    guard case .complete = scanner.scan(&bytes, toHead: false, limits: loop.headLimits, into: &head) else { return nil }
    return head
  }
}

extension ClientConnection {
  fileprivate func begin(_ inner: InnerCall, _ request: ByteBuffer) {
    self.inner = inner
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    outlet.attach(
      OutletSink(
        receive: { [unowned inner] in inner.receive($0) },
        // Never within what it was doing when it closed.
        close: { [loop] in loop.eventLoop.execute { bound.value.innerIsClosed() } }))
    loop.add(self)
    input = request
    advance()
  }

  /// What `channelInactive` is for a connection with a channel.
  private func innerIsClosed() {
    guard let inner, !inner.isOver else { return }
    stage = .closed
    leaveCall(now: loop.now())
    loop.remove(self)
    outlet.detach()
    input = loop.empty
    self.inner = nil
    inner.isClosed()
  }
}
