// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import WeirBase
import WeirWire

/// A loop's connection to the state process: asks, and tells each asker what was answered.
///
/// Confined to its loop; never waits. The connection is kept up by itself: after a break all that is unanswered is asked
/// again, for each request of the protocol may be said twice (an owner's claim is granted again, a completion counts once).
///
///     down ─try─▶ connecting ─▶ up ─lost─▶ down          (tried again every 100 ms)
/// ## Invariants
/// 1. Every ask is answered once: by the state process, or by nil when its time is over.
/// 2. At most `asksMax` asks are open; more are answered nil at once.
final class StateLink {
  /// How long an ask waits for a state process that is not there: longer than a restart takes.
  static let patience: Int64 = 2_000_000_000
  /// Beyond an ask's own time: a state process that is up and says nothing is stuck.
  static let slack: Int64 = 5_000_000_000
  static let asksMax = 16_384

  private enum State { case down, connecting, up }

  private struct Ask {
    let request: StateRequest
    /// While there is no connection: when it is given up.
    let downUntil: Int64
    /// When it is given up in any case.
    let until: Int64
    let body: (StateReply?) -> Void
  }

  private let eventLoop: any EventLoop
  private let path: String
  private var state = State.down
  private var channel: (any Channel)?
  private var asks: [UInt64: Ask] = [:]
  private var number: UInt64 = 0
  private var outgoing: [UInt8] = []
  private var isStopped = false
  /// What the process is told before anything else, on each connection.
  struct Declared: Equatable {
    var queues: [QueueDeclaration] = []
    /// Behind the queues, for those are their groups.
    var logs: [LogDeclaration] = []
    var backup: BackupDeclaration?

    /// As many at a time as a frame may have.
    var requests: [StateRequest] {
      StateLink.pieces(queues).map(StateRequest.declare) + StateLink.pieces(logs).map(StateRequest.declareLogs)
        + [.planBackup(backup)]
    }
  }

  private var declared = Declared()
  private var isDeclared = true
  private var declareAt = Int64.min

  init(path: String, eventLoop: any EventLoop) {
    self.path = path
    self.eventLoop = eventLoop
  }

  var isUp: Bool { state == .up }

  /// `time` is how long an answer may take; `insists`: it is not given up while there is no connection.
  func ask(
    _ request: StateRequest, within time: Int64, insists: Bool = false, now: Instant,
    _ body: @escaping (StateReply?) -> Void
  ) {
    if isStopped || asks.count >= StateLink.asksMax { return body(nil) }
    number &+= 1
    let until = now.advanced(by: time).advanced(by: StateLink.slack).nanoseconds
    let patience = now.advanced(by: StateLink.patience).nanoseconds
    asks[number] = Ask(
      request: request, downUntil: insists ? until : min(until, patience), until: until, body: body)
    if state == .up { send(request, number) } else { connect() }
  }

  /// What this plan has; said again on each new connection, and until the process has taken it.
  func declare(_ declared: Declared, now: Instant) {
    if declared == self.declared { return }
    self.declared = declared
    isDeclared = false
    if state == .up { sayDeclared(now: now) } else { connect() }
  }

  private func sayDeclared(now: Instant) {
    isDeclared = true
    declareAt = now.nanoseconds + 1_000_000_000
    let said = declared
    for request in said.requests {
      ask(request, within: 10_000_000_000, now: now) { [self] reply in
        if reply != .declared && said == declared { isDeclared = false }
      }
    }
  }

  private static func pieces<Element>(_ all: [Element]) -> [[Element]] {
    stride(from: 0, to: all.count, by: QueueLimits.batchMax).map {
      Array(all[$0..<min(all.count, $0 + QueueLimits.batchMax)])
    }
  }

  /// Ten times a second: what has waited too long is given up, and a lost connection is tried again.
  func tick(now: Instant) {
    if isStopped { return }
    if state == .down { connect() }
    let time = now.nanoseconds
    if !isDeclared && state == .up && time >= declareAt { sayDeclared(now: now) }
    let isUp = state == .up
    let over = asks.filter { time >= ($0.value.until) || (!isUp && time >= $0.value.downUntil) }.keys.sorted()
    for id in over { asks.removeValue(forKey: id)?.body(nil) }
  }

  func stop() {
    isStopped = true
    channel?.close(promise: nil)
    channel = nil
    state = .down
    let left = asks
    asks = [:]
    for id in left.keys.sorted() { left[id]?.body(nil) }
  }

  // MARK: - The connection

  private func connect() {
    guard state == .down, !isStopped else { return }
    state = .connecting
    let bound = NIOLoopBound(self, eventLoop: eventLoop)
    ClientBootstrap(group: eventLoop)
      .connectTimeout(.seconds(1))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(StateHandler(link: bound.value))
        }
      }
      .connect(unixDomainSocketPath: path)
      .whenFailure { _ in bound.value.isLost(nil) }
  }

  fileprivate func isConnected(_ channel: any Channel) {
    if isStopped { return channel.close(promise: nil) }
    self.channel = channel
    state = .up
    outgoing.removeAll(keepingCapacity: true)
    StateFrames.append(.hello(version: StateFrames.version), id: 0, to: &outgoing)
    // Before what needs them; a declaration that is open is said again with the rest.
    for request in declared.requests {
      number &+= 1
      StateFrames.append(request, id: number, to: &outgoing)
    }
    for id in asks.keys.sorted() { if let ask = asks[id] { StateFrames.append(ask.request, id: id, to: &outgoing) } }
    write()
  }

  fileprivate func isLost(_ channel: (any Channel)?) {
    guard state != .down, channel === self.channel else { return }
    self.channel = nil
    state = .down
  }

  private func send(_ request: StateRequest, _ id: UInt64) {
    outgoing.removeAll(keepingCapacity: true)
    StateFrames.append(request, id: id, to: &outgoing)
    write()
  }

  private func write() {
    guard let channel else { return }
    var buffer = channel.allocator.buffer(capacity: outgoing.count)
    buffer.writeBytes(outgoing)
    if outgoing.count > 1 << 16 { outgoing = [] }
    channel.writeAndFlush(buffer, promise: nil)
  }

  /// False when the connection is of no use.
  fileprivate func answered(_ id: UInt64, _ reply: StateReply) -> Bool {
    if id == 0 {
      // Another version, in the middle of an upgrade: the next process will be ours.
      if case .welcome(StateFrames.version) = reply { return true }
      return false
    }
    // Given up meanwhile, or answered before the connection broke.
    asks.removeValue(forKey: id)?.body(reply)
    return true
  }
}

private final class StateHandler: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let link: StateLink
  private var reader = StateFrameReader()

  init(link: StateLink) { self.link = link }

  func channelActive(context: ChannelHandlerContext) { link.isConnected(context.channel) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    reader.feed(buffer.readableBytesUInt8Span)
    do {
      while let content = try reader.next() {
        let (id, reply) = try StateFrames.reply(content.span)
        if !link.answered(id, reply) { return context.close(promise: nil) }
      }
    } catch {
      // Both ends are ours: whatever it is, it is asked again on a new connection.
      context.close(promise: nil)
    }
  }

  func channelInactive(context: ChannelHandlerContext) { link.isLost(context.channel) }
  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
