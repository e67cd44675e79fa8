// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import WeirBase
import WeirFlows
import WeirIdentity
import WeirPatterns
import WeirWire

/// One connection of a client, and the one request of it that is in work: raw bytes in, raw bytes out.
///
/// Confined to its loop. Requests of one connection are answered in order; the next one is read when the last is done.
///
///     head ─▶ body ─▶ waiting ─▶ head …            (waiting: the request is in, its answer is not done)
///       │       └── answered early ─▶ draining ─▶ head …, or lingering ─▶ closed
///       └ refused ─▶ lingering ─▶ closed
///     waiting ─101─▶ tunnel ─▶ lingering ─▶ closed      (see `ClientConnection+WebSocket.swift`, `+TCP.swift`)
///
/// ## Invariants
/// 1. `call` is live exactly from `begin(call:)` to the step that is its last.
/// 2. A place is held (`holdsPlace`) from `acquire` to the step that says `freed`.
/// 3. Nothing is written to the client after its answer's last byte but the next answer.
final class ClientConnection: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer

  enum Stage: UInt8 { case head, body, waiting, draining, lingering, closed, tunnel }
  enum Answer: UInt8 { case none, relaying, done }
  /// How an answer's body is relayed: as it comes; framed as chunks; freed of its chunks; compressed; as
  /// gRPC-Web; or not before it is whole, for its JSON is changed.
  enum Relay: UInt8 { case asIs, chunk, unchunk, compress, web, json }

  let loop: ProxyLoop
  /// What the request in work goes by, to its end; between requests the loop's newest.
  private(set) var epoch: Epoch
  let isCalls: Bool
  /// Nil for a plain connection.
  let secure: SecureOrigin?
  /// Which of the server's listeners has accepted it.
  let listener: Int
  /// Nil where its listener answers requests.
  let redirectPort: Int?
  let peer: PeerAddress
  private(set) var sender: RequestScanner.Sender
  /// `X-Forwarded-For` and `-Proto` of this connection, for requests that come without trusted ones.
  let peerFields: [UInt8]
  var place: Int32 = -1
  var generation: UInt32 = 0
  /// When the loop's heap will wake this connection; `Int64.max` when it will not.
  var armedAt = Int64.max

  let outlet: Outlet
  var stage = Stage.head
  var answer = Answer.none
  var relay = Relay.asIs
  var input = ByteBuffer()
  var scanner = RequestScanner()
  var head = RequestHead()
  var inputClosed = false
  /// The connection ends with this answer.
  var closeAfter = false
  /// `100 Continue` has not been said yet, and is wanted.
  var owesContinue = false
  var isAdvancing = false
  var needsFlush = false
  /// No request has been read.
  var isFirst = true
  /// The channel is a stream of HTTP/2: one exchange, then its end.
  var isStream = false
  /// The client reads trailers: `te: trailers` of HTTP/2.
  var acceptsTrailers = false
  /// The request is a call of gRPC, which HTTP/2 carries.
  var isGRPC = false
  /// The time that its caller gives it, in nanoseconds; -1 when it gives none.
  var grpcTimeout: Int64 = -1
  /// The answer's end will say whether it is a good one.
  var awaitsStatus = false
  /// A call of gRPC-Web, while there is one.
  var web: WebCall?

  // The request in work.
  /// From a head that was read to the record of how it ended.
  var isInWork = false
  var requestSlot = Slot.none
  var facts = RequestFacts()
  /// Who the caller is, from an identity's answer until the head goes on.
  var principal: Principal?
  /// The limit that is nearest to its end of those that were asked, or -1, and what is told of it.
  var limitAsked: Int32 = -1
  var limitReading = LimitReading(limit: 0, window: 0, remaining: 0, resetAfter: 0)
  var call = Slot.none
  var edge = -1
  var startedAt = Instant.zero
  /// The head as it goes on, and the body as far as it is kept.
  var request: ByteBuffer
  /// Where in `request` the fields of the attempt begin, and where the body.
  var tailStart = 0
  var bodyStart = 0
  var hasTail = false
  var keepsBody = false
  var bodyLeft: Int64 = 0
  var bodyIn: Int64 = 0
  var bodyOut: Int64 = 0
  var chunks = ChunkedScanner()
  var upstream: UpstreamConnection?
  /// The second attempt beside it, while there is one.
  var hedge: HedgedAttempt?
  var holdsPlace = false
  var attempts: UInt8 = 0
  var instance = CallStep.nobody
  var phase = Phase.head
  var status: UInt16 = 0
  var trace = TraceContext(traceHigh: 0, traceLow: 1, span: 1, flags: 0)
  var logged: AccessEntry?
  /// What the caller's going away is called, when it is we who end it.
  var override: Reason?
  var isFallback = false
  /// Of a request that asks for a WebSocket.
  var tunnel: Tunnel?
  /// What becomes of the request and of its copy, while there is one.
  var watch: MirrorWatch?
  /// It is a copy of a request: nobody reads its answer.
  var isCopy = false
  /// The id of the request, where the gateway gives them.
  var requestID = HeadBuffer(capacity: 64)
  /// The key of the client among the services that share a route's requests, when it has just been given one.
  var newKey: UInt64?
  /// A cookie keeps the client at one instance; which one it named.
  var isSticky = false
  var home = CallStep.nobody
  /// What the route does to the request, if it does anything.
  var rules: RouteRules?
  /// The lines that the route puts into answers; the first so many bytes of them also into answers of ours.
  var answerLines: [UInt8] = []
  var ownAnswerLines = 0
  /// What the route has the gateway itself do; nil for nothing.
  var edgePolicy: EdgePolicy?
  var edgeWork: EdgeWork?
  /// Of a connection without a socket: the call of ours that it makes.
  var inner: InnerCall?
  /// What a connection of TCP is told by its listener; nil for HTTP.
  private(set) var tcp: TCPListener?
  /// Where it is counted, until it has been.
  var counter: TCPCounter?
  /// We send nothing more while it still may; TCP only.
  var outputClosed = false
  /// An error has ended it, and no end.
  private(set) var isReset = false
  /// Of a request whose key is looked up, from then to its end.
  var keyed: KeyedRequest?
  /// Of a request to Weir itself: to a queue.
  var messaging: MessagingExchange?
  /// A webhook whose body is being collected.
  var webhook: WebhookReceipt?
  /// Of a request of which a JSON body is changed, its own or its answer's.
  var json: JSONExchange?
  /// Bytes that are still read and dropped before the connection is cut.
  var lingerLeft = 0

  init(
    loop: ProxyLoop, kind: ProxyConfiguration.Listener.Kind, listener: Int, peer: PeerAddress, way: Outlet.Way = .raw,
    secure: SecureOrigin? = nil
  ) {
    self.loop = loop
    self.secure = secure
    epoch = loop.epoch
    redirectPort = if case .redirect(let port) = kind { port } else { nil }
    outlet = Outlet(way)
    self.listener = listener
    self.peer = peer
    if case .tcp(let listener) = kind { tcp = listener }
    switch kind {
    case .calls:
      isCalls = true
      sender = [.proxy, .service]
      peerFields = []
    case .gateway, .redirect, .tcp:
      isCalls = false
      sender = ClientConnection.sender(peer, loop.epoch)
      peerFields =
        Array("X-Forwarded-For: ".utf8) + peer.text
        + Array("\r\nX-Forwarded-Proto: \(secure == nil ? "http" : "https")\r\n".utf8)
    }
    request = ByteBufferAllocator().buffer(capacity: 1 << 10)
  }

  // MARK: - Epochs

  /// A request begins: it goes by the newest plan.
  @inline(__always)
  func takeNewest() { if epoch !== loop.epoch { take(loop.epoch) } }

  /// Between requests.
  func take(_ newest: Epoch) {
    epoch = newest
    if !isCalls { sender = ClientConnection.sender(peer, newest) }
    if let tcp { self.tcp = newest.tcp(named: tcp.name) }
  }

  private static func sender(_ peer: PeerAddress, _ epoch: Epoch) -> RequestScanner.Sender {
    epoch.configuration.trusted.contains { $0.contains(peer) } ? .proxy : []
  }

  // MARK: - Channel events

  func handlerAdded(context: ChannelHandlerContext) {
    outlet.attach(context)
    loop.add(self)
    loop.silentAt[Int(place)] = loop.now().nanoseconds + loop.times.head
  }

  func channelActive(context: ChannelHandlerContext) {
    outlet.begin()
    if let tcp { beginTCP(tcp, now: loop.now()) }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch stage {
    case .closed: return
    case .lingering: return discard(unwrapInboundIn(data))
    case .tunnel: return tunnelRead(unwrapInboundIn(data))
    case .head, .body, .waiting, .draining: break
    }
    if input.readableBytes == 0 { input = unwrapInboundIn(data) } else { keep(unwrapInboundIn(data)) }
    advance()
    if input.readableBytes == 0 {
      input = loop.empty
    } else if input.readableBytes > loop.limits.headBytes,
      stage == .waiting
        || (stage == .body && !canForwardBody && keyed?.isCollecting != true && messaging == nil && webhook == nil
          && json?.isCollecting != true)
    {
      // The next requests, or a body that nobody can take yet: the sender waits.
      setReading(false)
    }
  }

  /// Behind what has been read before and not used.
  @inline(never)
  private func keep(_ buffer: ByteBuffer) { input.writeImmutableBuffer(buffer) }

  func channelReadComplete(context: ChannelHandlerContext) { outlet.hasRead() }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if outlet.isWritable {
      upstream?.setReading(true)
      if edgePolicy != nil { sendFile() }
      if let messaging { sendAnswer(messaging) }
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed = event { peerClosedInput() } else { context.fireUserInboundEventTriggered(event) }
  }

  /// The client sends nothing more; it may still read.
  private func peerClosedInput() {
    inputClosed = true
    switch stage {
    case .head, .lingering: cut()
    case .body where keyed?.isCollecting == false: break
    case .body:
      // The request can never be whole.
      leaveCall(now: loop.now())
      cut()
    case .draining: cut()
    case .tunnel: tunnelClientEnded()
    case .waiting, .closed: break
    }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    isReset = true
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    if let keyed, keyed.outlives { return abandon() }
    let wasOpen = stage != .closed
    if stage == .tunnel { tunnelLost(now: loop.now()) }
    stage = .closed
    if wasOpen || call != .none { leaveCall(now: loop.now()) }
    if counter != nil { countTCP(.callerGone) }
    loop.remove(self)
    if !isCalls && !isStream { loop.node.addresses.withLock { $0.closed(peer.key) } }
    outlet.detach()
    input = loop.empty
  }

  // MARK: - Reading

  /// Reads as far as the state of things allows.
  func advance() {
    if isAdvancing { return }
    isAdvancing = true
    reading: while true {
      switch stage {
      case .head:
        guard input.readableBytes > 0 else { break reading }
        if !readHead() { break reading }
      case .body:
        if let messaging {
          collect(messaging, now: loop.now())
          if stage == .body { break reading }
          continue
        }
        if let webhook {
          collectBody(webhook, now: loop.now())
          if stage == .body { break reading }
          continue
        }
        if let json, json.isCollecting {
          collectBody(json, now: loop.now())
          if stage == .body { break reading }
          continue
        }
        if let keyed, keyed.isCollecting {
          collectBody(keyed, now: loop.now())
          if stage == .body { break reading }
          continue
        }
        if !canForwardBody { break reading }
        if !forwardBody(isFirst: false) { break reading }
      case .draining: if !drainBody() { break reading }
      case .waiting, .lingering, .closed, .tunnel: break reading
      }
    }
    isAdvancing = false
    if needsFlush { flush() }
  }

  /// There is a connection that the request has been begun on.
  private var canForwardBody: Bool {
    guard let upstream else { return false }
    return upstream.state == .head || upstream.state == .body
  }

  /// False when the head is not whole, or was refused.
  private func readHead() -> Bool {
    if let tcp {
      readHello(tcp)
      return false
    }
    switch scanner.scan(&input, from: sender, limits: loop.headLimits, into: &head) {
    case .complete:
      begin(now: loop.now())
      return true
    case .needMore:
      // The first byte of a head starts its time; more of it does not give more.
      if startedAt == .zero {
        startedAt = loop.now()
        loop.silentAt[Int(place)] = startedAt.nanoseconds + loop.times.head
      }
      return false
    case .refused(let error):
      let preface = beginsHTTP2()
      if preface.isWhole {
        becomeHTTP2()
        return false
      }
      if preface.mayBe { return false }
      refuse(unreadable: error, now: loop.now())
      return false
    }
  }

  func setReading(_ on: Bool) { outlet.setReading(on && (stage != .body || loop.memoryLevel == .open || isCalls)) }

  // MARK: - Writing

  @inline(__always)
  func write(_ buffer: ByteBuffer) { outlet.write(buffer) }

  /// The same, straight into the socket when nothing stands before it; a flush is needed all the same.
  @inline(__always)
  func writeThrough(_ buffer: inout ByteBuffer) { outlet.writeThrough(&buffer) }

  @inline(__always)
  func flush() {
    needsFlush = false
    outlet.flush()
  }

  // MARK: - Time

  /// The call's moment has come, or an entry that was armed for an earlier one.
  func wake(now: Instant) {
    // What follows may begin the next request, by another plan and along another edge.
    let (epoch, edge) = (self.epoch, self.edge)
    guard call != .none else { return stage == .tunnel ? wakeTunnel(now: now) : () }
    if epoch.flows.nextWake(of: call) <= now {
      let step = epoch.flows.wake(call, now: now)
      carry(step, now: now)
      epoch.syncIfUrgent(edge, now: now)
    }
    armCall()
  }

  @inline(__always)
  func armCall() {
    guard call != .none else { return }
    let at = epoch.flows.nextWake(of: call).nanoseconds
    if at < armedAt { loop.arm(self, at: at) }
  }

  /// Nothing has moved for as long as this stage allows.
  func wasSilent(now: Instant) {
    loop.silentAt[Int(place)] = .max
    switch stage {
    case .head:
      if tcp != nil { return refuseTCP(.senderTooSlow, now: now) }
      // Between requests, and before the first byte of the first: nobody waits for an answer.
      if startedAt == .zero || input.readableBytes == 0 { return cut() }
      refuseBeforeRoute(.senderTooSlow, loop.answers[.senderTooSlow], phase: .head, now: now)
    // It was not the sender who waited. What is refused gives back what it holds.
    case .body where loop.memoryLevel != .open && !isCalls:
      refuseWithinBody(.overloaded, loop.answers[.overloaded], now: now)
    case .body where keyed?.isCollecting == true: keyedBodyIsSlow(now: now)
    case .body where webhook != nil: webhookIsSlow(now: now)
    case .body where json?.isCollecting == true: editedBodyIsSlow(now: now)
    case .waiting where keyed?.isKeeping == true || relay == .json:
      if let upstream { attemptFailed(upstream, .lostInBody) }
    case .body: refuseWithinBody(.senderTooSlow, loop.answers[.senderTooSlow], now: now)
    case .waiting, .draining:
      guard answer == .relaying, call != .none else { return cut() }
      if outlet.isWritable {
        if let upstream { attemptFailed(upstream, .lostInBody) }
      } else {
        cut()
      }
    case .lingering: cut()
    case .tunnel: tunnelWasSilent(now: now)
    case .closed: break
    }
  }

  // MARK: - The end

  /// Gives its channel to another handler.
  func leaveChannel() {
    stage = .closed
    loop.remove(self)
    outlet.detach()
    input = loop.empty
  }

  /// Nothing of a request has been read.
  var isIdle: Bool { stage == .head && startedAt == .zero && input.readableBytes == 0 }

  func drain() {
    closeAfter = true
    if stage == .tunnel { return drainTunnel(until: loop.drainEnds) }
    if stage == .head && input.readableBytes == 0 { cut() }
  }

  /// Closes now, whatever is on its way.
  func cut() {
    guard stage != .closed else { return }
    outlet.close()
  }

  /// The request is given up with its caller.
  func leaveCall(now: Instant) {
    guard call != .none else { return endRequest(.callerGone, status: Reason.callerGone.status, now: now) }
    carry(epoch.flows.callerGone(call, now: now), now: now)
  }
}
