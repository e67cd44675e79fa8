// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// WebSocket (RFC 6455): the handshake is a call like any other, and with its 101 a tunnel with a look at each frame's head.
///
/// Payloads pass unchanged, whatever extension was agreed. Close frames of ours stand only between two frames.
extension ClientConnection {
  /// How long a peer may take to answer a close frame, ours or the other peer's.
  static let closeTime: Int64 = 5_000_000_000

  // MARK: - Before the 101

  /// A request that asks for another protocol has found its route: false when it was refused.
  func asksForTunnel(route: Int, now: Instant) -> Bool {
    guard let settings = epoch.configuration.plan.routes[route].webSocket else {
      refuse(.upgradeNotSupported, now: now)
      return false
    }
    let input = self.input
    switch WebSocketHandshake.check(input.readableBytesUInt8Span, head) {
    case .good(let handshake):
      tunnel = Tunnel(route: route, handshake: handshake, settings: settings)
      return true
    case .refused(.version):
      refuseVersion(now: now)
    case .refused(.otherProtocol): refuse(.upgradeNotSupported, now: now)
    case .refused: refuse(.badRequest, now: now)
    }
    return false
  }

  /// 426 with the version that we know (RFC 6455 §4.4, RFC 9110 §15.5.22).
  private func refuseVersion(now: Instant) {
    var answer = ErrorAnswer(
      status: 426, name: Reason.upgradeNotSupported.name, error: Reason.upgradeNotSupported.proxyStatus,
      detail: "The version of WebSocket here is 13.")
    answer.head += Array("Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nConnection: upgrade\r\n".utf8)
    refuse(.upgradeNotSupported, with: answer, now: now)
  }

  /// One more tunnel of the route, if there may be one.
  func takesTunnel(_ tunnel: Tunnel) -> Bool {
    tunnel.isCounted = epoch.shared.tunnels.acquire(tunnel.route, most: tunnel.settings.atOnce)
    return tunnel.isCounted
  }

  /// The request of a tunnel is over, whether it ever opened or not.
  func leaveTunnel(_ tunnel: Tunnel) {
    self.tunnel = nil
    if tunnel.isCounted { epoch.shared.tunnels.release(tunnel.route) }
    if tunnel.isOpen { epoch.tunnels[tunnel.route].open -= 1 }
  }

  // MARK: - The 101

  /// The instance agrees to the handshake; its head stands at the start of the connection's input.
  func upgraded(_ upstream: UpstreamConnection) {
    guard upstream === self.upstream, call != .none, let tunnel else { return upstream.close() }
    let now = loop.now()
    let input = upstream.input
    guard case .tunnel(let reserved) = tunnel.handshake.check(input.readableBytesUInt8Span, answer: upstream.head)
    else {
      return attemptFailed(upstream, .protocolError)
    }
    let step = epoch.flows.head(call, status: 101, now: now)
    guard case .answer = step.action else { return carry(step, now: now) }
    loop.scratch.clear()
    loop.scratch.appendResponse(&upstream.input, upstream.head)
    loop.scratch.appendUpgrade()
    loop.scratch.append("\r\n")
    upstream.input.moveReaderIndex(forwardBy: upstream.head.length)
    loop.out.clear()
    loop.scratch.write(to: &loop.out)
    write(loop.out)
    flush()
    status = 101
    phase = .receive
    answer = .done
    stage = .tunnel
    upstream.state = .tunnel
    tunnel.open(reserved, now: now)
    tunnel.isOpen = true
    epoch.tunnels[tunnel.route].open += 1
    epoch.tunnels[tunnel.route].opened &+= 1
    // The call is over and its place free: from here on the two connections are the tunnel's.
    self.upstream = nil
    carry(epoch.flows.ended(call, now: now), now: now)
    self.upstream = upstream
    epoch.syncIfUrgent(edge, now: now)
    loop.silentAt[Int(place)] = tunnel.watch.nextWake.nanoseconds
    setReading(true)
    if loop.isDraining { drainTunnel(until: loop.drainEnds) }
    if upstream.input.readableBytes > 0 { tunnelAnswered(upstream) }
    if self.input.readableBytes > 0 { passFromClient(now: now) }
    if inputClosed, stage == .tunnel { tunnelClientEnded() }
  }

  // MARK: - Open

  /// The client's bytes.
  func tunnelRead(_ data: ByteBuffer) {
    if tcp != nil { return tcpRead(data) }
    if input.readableBytes == 0 { input = data } else { input.writeImmutableBuffer(data) }
    passFromClient(now: loop.now())
    if input.readableBytes == 0 { input = loop.empty }
  }

  private func passFromClient(now: Instant) {
    guard let tunnel, let upstream else { return input.clear() }
    heard(tunnel, now: now)
    let before = tunnel.fromClient.frames.messages
    let (part, problem) = tunnel.pass(\.fromClient, &input, now: now)
    epoch.tunnels[tunnel.route].messagesIn &+= tunnel.fromClient.frames.messages - before
    if let part {
      bodyIn += Int64(part.readableBytes)
      upstream.write(part)
      upstream.flush()
      if self.upstream === upstream, !upstream.isWritable { setReading(false) }
    }
    guard stage == .tunnel else { return }
    switch problem {
    case .tooFast: closeTunnel(.limitReached, toClient: 1008, toServer: 1001, "too many messages", now: now)
    case .frames(.tooLarge): closeTunnel(.bodyTooLarge, toClient: 1009, toServer: 1001, "message too large", now: now)
    case .frames(let mistake):
      closeTunnel(.badRequest, toClient: mistake.code, toServer: 1001, "protocol error", now: now)
    case nil: afterPass(tunnel, now: now)
    }
  }

  /// The instance's bytes, which stand in its connection's input.
  func tunnelAnswered(_ upstream: UpstreamConnection) {
    if tcp != nil { return tcpAnswered(upstream) }
    guard upstream === self.upstream, let tunnel else { return upstream.close() }
    let now = loop.now()
    heard(tunnel, now: now)
    let before = tunnel.fromServer.frames.messages
    let (part, problem) = tunnel.pass(\.fromServer, &upstream.input, now: now)
    epoch.tunnels[tunnel.route].messagesOut &+= tunnel.fromServer.frames.messages - before
    if let part {
      bodyOut += Int64(part.readableBytes)
      write(part)
      flush()
      if self.upstream === upstream, !outlet.isWritable { upstream.setReading(false) }
    }
    guard stage == .tunnel else { return }
    if case .frames(let mistake) = problem {
      closeTunnel(.badAnswer, toClient: 1011, toServer: mistake.code, "protocol error", now: now)
    } else {
      afterPass(tunnel, now: now)
    }
  }

  private func heard(_ tunnel: Tunnel, now: Instant) {
    tunnel.watch.moved(now: now)
    // Once a close frame has passed, more bytes do not give more time.
    if !tunnel.isEnding { loop.silentAt[Int(place)] = tunnel.watch.nextWake.nanoseconds }
  }

  private func afterPass(_ tunnel: Tunnel, now: Instant) {
    if tunnel.isClosing {
      putCloses(tunnel)
      // The client has answered our close frame: it may go.
      if tunnel.fromClient.frames.isOver { endTunnel(tunnel.reason, now: now) }
    } else if tunnel.isEnding, loop.silentAt[Int(place)] > now.nanoseconds + ClientConnection.closeTime {
      loop.silentAt[Int(place)] = now.nanoseconds + ClientConnection.closeTime
    }
  }

  // MARK: - The end

  /// We end it: both sides are told, each as soon as the frame under way towards it is over.
  func closeTunnel(
    _ reason: Reason, toClient: UInt16, toServer: UInt16, _ text: StaticString, now: Instant
  ) {
    guard let tunnel, !tunnel.isClosing else { return }
    tunnel.isClosing = true
    tunnel.reason = reason
    if !tunnel.fromServer.isClosed { tunnel.fromServer.pending = toClient }
    if !tunnel.fromClient.isClosed { tunnel.fromClient.pending = toServer }
    loop.silentAt[Int(place)] = now.nanoseconds + ClientConnection.closeTime
    putCloses(tunnel, text)
    // Who broke the protocol is not waited for: what it sends means nothing any more.
    if stage == .tunnel, tunnel.fromClient.frames.isOver || tunnel.fromClient.isStopped { endTunnel(reason, now: now) }
  }

  private func putCloses(_ tunnel: Tunnel, _ text: StaticString = "") {
    if tunnel.fromServer.pending != 0, tunnel.fromServer.frames.isBetweenFrames {
      loop.scratch.clear()
      loop.scratch.appendClose(code: tunnel.fromServer.pending, reason: text)
      tunnel.fromServer.pending = 0
      tunnel.fromServer.isClosed = true
      loop.out.clear()
      loop.scratch.write(to: &loop.out)
      write(loop.out)
      flush()
    }
    if tunnel.fromClient.pending != 0, tunnel.fromClient.frames.isBetweenFrames || tunnel.fromClient.isStopped {
      loop.scratch.clear()
      loop.scratch.appendClose(
        code: tunnel.fromClient.pending, reason: text, mask: UInt32(truncatingIfNeeded: loop.random.next()))
      tunnel.fromClient.pending = 0
      tunnel.fromClient.isClosed = true
      loop.out.clear()
      loop.scratch.write(to: &loop.out)
      upstream?.write(loop.out)
      upstream?.flush()
    }
  }

  /// The tunnel is over: the record, the instance's connection, and the client's when all is out.
  private func endTunnel(_ reason: Reason, now: Instant) {
    guard stage == .tunnel else { return }
    stage = .waiting
    if reason == .draining { phase = .drain }
    let upstream = self.upstream
    self.upstream = nil
    // What stands before our close frame is still on its way to the instance.
    if tunnel?.isClosing == true { upstream?.part() } else { upstream?.close() }
    let hasClosed = tunnel?.fromClient.hasClosed == true
    endRequest(reason, status: 101, now: now)
    // A client that has said goodbye sends nothing more that a close at once would answer with a reset.
    if hasClosed { closeWhenWritten() } else { linger(now: now) }
  }

  /// The instance's connection is gone: as it should be after a close frame.
  func tunnelUpstreamEnded(_ upstream: UpstreamConnection) {
    if tcp != nil { return endTCP(upstream.hasEnded ? .none : .answerCut, now: loop.now()) }
    guard upstream === self.upstream, let tunnel else { return }
    if tunnel.isClosing { return endTunnel(tunnel.reason, now: loop.now()) }
    endTunnel(tunnel.isEnding ? .none : .answerCut, now: loop.now())
  }

  /// The client sends nothing more.
  func tunnelClientEnded() {
    if tcp != nil { return tcpEnded() }
    guard let tunnel else { return cut() }
    if tunnel.isClosing { return endTunnel(tunnel.reason, now: loop.now()) }
    // After its close frame it may still read the instance's answer.
    if !tunnel.fromClient.isClosed { endTunnel(tunnel.isEnding ? .none : .callerGone, now: loop.now()) }
  }

  /// The client's connection is gone.
  func tunnelLost(now: Instant) {
    if tcp != nil { return tcpLost(now: now) }
    guard let tunnel else { return }
    let upstream = self.upstream
    self.upstream = nil
    upstream?.close()
    let reason = loop.isDraining ? Reason.draining : .callerGone
    endRequest(tunnel.isClosing ? tunnel.reason : tunnel.isEnding ? .none : reason, status: 101, now: now)
  }

  /// Nothing has moved for as long as it may.
  func tunnelWasSilent(now: Instant) {
    if tcp != nil { return endTCP(.tunnelIdle, now: now) }
    guard let tunnel else { return cut() }
    if tunnel.isEnding { return endTunnel(tunnel.reason, now: now) }
    guard tunnel.watch.isIdle(now: now) else {
      loop.silentAt[Int(place)] = tunnel.watch.nextWake.nanoseconds
      return
    }
    closeTunnel(.tunnelIdle, toClient: 1001, toServer: 1001, "idle", now: now)
  }

  /// This node, or the tunnel's route, ends at `ends`: the tunnel is closed before it, at a moment of its own.
  ///
  /// Spread over most of the window, so that clients do not come back all at once.
  func drainTunnel(until ends: Int64) {
    guard let tunnel, tunnel.drainAt == .max else { return }
    let now = loop.now().nanoseconds
    let window = max(0, ends - now - loop.times.linger) / 5 * 4
    tunnel.drainAt = now + (window > 0 ? Int64(loop.random.next() % UInt64(window)) : 0)
    loop.arm(self, at: tunnel.drainAt)
  }

  /// The moment of ``drainTunnel(until:)`` has come.
  func wakeTunnel(now: Instant) {
    guard let tunnel, tunnel.drainAt <= now.nanoseconds else { return }
    closeTunnel(.draining, toClient: 1001, toServer: 1001, "going away", now: now)
  }
}
