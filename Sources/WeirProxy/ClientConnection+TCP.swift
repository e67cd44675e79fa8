// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// TCP: a connection is one call, which an instance answers by taking it; then bytes pass both ways until both sides have
/// ended.
///
/// Retries end where bytes begin: what is tried elsewhere is connecting. The place on the instance is held to the end, for the
/// connection is the work.
///
///     head ─▶ waiting ─connected─▶ tunnel ─▶ lingering ─▶ closed      (head: until the name of a TLS client is known)
///       └ refused ─▶ closed           └ refused ─▶ closed
extension ClientConnection {
  /// The connection has been accepted.
  func beginTCP(_ listener: TCPListener, now: Instant) {
    startedAt = now
    counter = loop.tcpCounter(listener.name)
    counter?.count.open += 1
    if listener.names.isEmpty {
      route(listener, name: nil, now: now)
    } else {
      loop.silentAt[Int(place)] = now.nanoseconds + loop.times.head
    }
  }

  /// Reads the name that a TLS client asks for; nothing is answered, and nothing taken out of the input.
  func readHello(_ listener: TCPListener) {
    let input = self.input
    switch ClientHello.scan(input.readableBytesUInt8Span) {
    case .needMore: break
    case .complete(let name): route(listener, name: name, now: loop.now())
    case .refused: refuseTCP(.badRequest, now: loop.now())
    }
  }

  private func route(_ listener: TCPListener, name: [UInt8]?, now: Instant) {
    isInWork = true
    phase = .head
    closeAfter = true
    stage = .waiting
    loop.silentAt[Int(place)] = .max
    noteTCP()
    if let name { logged?.host = String(decoding: name, as: UTF8.self) }
    guard let edge = listener.edge(for: name) else { return refuseTCP(.noRoute, now: now) }
    if loop.isDraining { return refuseTCP(.draining, now: now) }
    self.edge = edge
    phase = .queue
    // Nothing of it may be sent twice, and it has no end that could be waited for: only connecting is repeated, and no
    // second attempt is made beside a slow one.
    var facts = RequestFacts(method: .unsafe, body: .streaming)
    if epoch.choosy[edge] { facts.affinity = tcpAffinity(edge) }
    let (slot, step) = epoch.flows.begin(call: edge, facts: facts, now: now)
    call = slot
    carry(step, now: now)
    epoch.syncIfUrgent(edge, now: now)
    armCall()
  }

  private func noteTCP() {
    noteUnread()
    logged?.method = "TCP"
  }

  /// There is nobody to tell why: the close is the answer, the log has the reason.
  func refuseTCP(_ reason: Reason, now: Instant) {
    isInWork = true
    noteTCP()
    endRequest(reason, status: 0, now: now)
    cut()
  }

  /// The instance has taken the connection.
  func openTCP(_ listener: TCPListener, _ upstream: UpstreamConnection, now: Instant) {
    epoch.flows.sent(call, .all, now: now)
    let step = epoch.flows.head(call, status: 200, now: now)
    guard case .answer = step.action else { return carry(step, now: now) }
    epoch.flows.lasts(call, now: now)
    epoch.syncIfUrgent(edge, now: now)
    phase = .receive
    answer = .relaying
    stage = .tunnel
    upstream.state = .tunnel
    upstream.isRequestSent = true
    tcpMoved(listener)
    if input.readableBytes > 0 {
      countIn(input.readableBytes)
      upstream.write(input)
      input = loop.empty
      upstream.flush()
    }
    // The flush may have found the instance gone.
    guard stage == .tunnel else { return }
    setReading(upstream.isWritable)
    if inputClosed { tcpEnded() }
  }

  // MARK: - Open

  private func tcpMoved(_ listener: TCPListener) {
    loop.silentAt[Int(place)] = loop.now().nanoseconds + listener.idle
  }

  private func countIn(_ bytes: Int) {
    bodyIn += Int64(bytes)
    counter?.count.bytesIn &+= UInt64(bytes)
  }

  /// The client's bytes.
  func tcpRead(_ data: ByteBuffer) {
    guard let upstream, let tcp else { return }
    tcpMoved(tcp)
    countIn(data.readableBytes)
    upstream.write(data)
    upstream.flush()
    if self.upstream === upstream, !upstream.isWritable { setReading(false) }
  }

  /// The instance's bytes, which stand in its connection's input.
  func tcpAnswered(_ upstream: UpstreamConnection) {
    guard upstream === self.upstream, let tcp else { return upstream.close() }
    tcpMoved(tcp)
    bodyOut += Int64(upstream.input.readableBytes)
    counter?.count.bytesOut &+= UInt64(upstream.input.readableBytes)
    write(upstream.input)
    upstream.input = loop.empty
    flush()
    if self.upstream === upstream, !outlet.isWritable { upstream.setReading(false) }
  }

  // MARK: - The end

  /// The client sends nothing more: neither do we.
  func tcpEnded() {
    guard let upstream else { return }
    if upstream.inputClosed { return endTCP(.none, now: loop.now()) }
    upstream.finishSending()
  }

  /// The instance sends nothing more: neither do we.
  func tcpAnswerEnded(_ upstream: UpstreamConnection) {
    guard upstream === self.upstream else { return }
    if inputClosed { return endTCP(.none, now: loop.now()) }
    outlet.whenWritten(self) {
      guard $0.stage == .tunnel else { return }
      $0.outputClosed = true
      $0.outlet.closeOutput()
    }
  }

  /// The tunnel is over: its place is free, its record is written.
  func endTCP(_ reason: Reason, now: Instant) {
    guard stage == .tunnel else { return }
    leaveInstance(isWhole: reason == .none, now: now)
    stage = .waiting
    endRequest(reason, status: 0, now: now)
    if inputClosed { closeWhenWritten() } else { linger(now: now) }
  }

  /// The client's connection is gone.
  func tcpLost(now: Instant) {
    // One whose two halves are closed is gone without a word of the second.
    let isEnd = inputClosed || outputClosed && !isReset
    let wasEnded = isEnd && upstream?.inputClosed ?? true
    leaveInstance(isWhole: wasEnded, now: now)
    endRequest(wasEnded ? .none : loop.isDraining ? .draining : .callerGone, status: 0, now: now)
  }

  private func leaveInstance(isWhole: Bool, now: Instant) {
    let (epoch, edge, upstream) = (self.epoch, self.edge, self.upstream)
    self.upstream = nil
    // What the client sent last may still be on its way.
    if isWhole { upstream?.closeWhenWritten() } else { upstream?.close() }
    if call != .none { carry(epoch.flows.ended(call, now: now), now: now) }
    epoch.syncIfUrgent(edge, now: now)
  }

  /// The connection's record has been written.
  func countTCP(_ reason: Reason) {
    guard let counter else { return }
    self.counter = nil
    counter.count.open -= 1
    counter.count.ended[Int(reason.rawValue)] &+= 1
  }
}

extension Epoch {
  /// A listener of TCP as this plan has it: one that it does not have leads nowhere.
  func tcp(named name: String) -> TCPListener {
    for listener in configuration.listeners where listener.name == name {
      if case .tcp(let tcp) = listener.kind { return tcp }
    }
    var none = TCPListener(edge: nil)
    none.name = name
    return none
  }
}
