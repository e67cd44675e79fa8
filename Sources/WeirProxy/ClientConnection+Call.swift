// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// Carries out what the flow of the call decides, and tells it what happened.
extension ClientConnection {
  /// Does what a step says, and what follows from it, until there is something to wait for.
  func carry(_ first: CallStep, now: Instant) {
    var step = first
    while true {
      var freed = CallStep.nobody
      let loser = step.loser
      if hedge != nil { detachHedged(step, now: now) }
      if step.freed != CallStep.nobody {
        detach(cancels: step.cancels, now: now)
        if holdsPlace {
          holdsPlace = false
          freed = step.freed
        }
        if hedge != nil { takeOverHedge() }
      }
      let edge = self.edge
      let freesEdge = step.freesEdge
      let turns = step.turns
      var next: CallStep?
      switch step.action {
      case .none, .answer: break
      case .attempt(let instance, let number): next = attempt(instance, number, now: now)
      case .hedge(let instance, let number): next = hedge(instance, number, now: now)
      case .ask(let question): next = epoch.answer(question, self, now: now)
      case .wait:
        phase = .queue
        epoch.waits(self)
        armCall()
      case .finish: finished(now: now)
      case .refuse(let reason, let until):
        over()
        refuse(reason, until: until, now: now)
      case .fallback(let reason):
        over()
        fallBack(reason, now: now)
      case .abort(let reason) where keyed?.isKeeping == true || relay == .json:
        // Nothing of the answer has gone out.
        over()
        refuse(reason, now: now)
      case .abort(let reason):
        over()
        endRequest(reason, status: status, now: now)
        cut()
      }
      if isCopy && call == .none { copyEnded(step, now: now) }
      // Places go on to who waits for them when this call's own step is done.
      if freed != CallStep.nobody { epoch.placeFreed(edge: edge, instance: freed, now: now) }
      if loser != CallStep.nobody { epoch.placeFreed(edge: edge, instance: loser, now: now) }
      if freesEdge { epoch.edgePlaceFreed(edge, now: now) }
      if turns { epoch.turn(edge, now: now) }
      guard let following = next else { return }
      step = following
    }
  }

  /// The call is over; who waited in it waits no more, or the epoch would keep its connection, which keeps the epoch.
  @inline(__always)
  func over() {
    epoch.waitsNoMore(call)
    call = .none
  }

  private func attempt(_ instance: UInt16, _ number: UInt8, now: Instant) -> CallStep? {
    let service = epoch.edgeServices[edge]
    self.instance = instance
    attempts = number
    phase = .connect
    guard epoch.places.acquire(service: service, instance: instance, loop: loop.index) else {
      return epoch.flows.full(call, now: now)
    }
    holdsPlace = true
    let place = epoch.place(service, instance)
    if let idle = idleConnection(service, place) {
      upstream = idle
      idle.client = self
      epoch.flows.connected(call, of: instance, now: now)
      send(now: now)
      return nil
    }
    guard let address = loop.address(place) else {
      // Nobody has been started there, or it has gone: the same as a refused connection, only cheaper.
      return epoch.flows.failed(call, .connectRefused, now: now)
    }
    let made = newConnection(at: place, of: service)
    upstream = made
    open(made, to: address, of: service)
    armCall()
    return nil
  }

  /// A connection to an instance that is not opened yet.
  func newConnection(at place: Int, of service: Int) -> UpstreamConnection {
    let isSecured = epoch.shared.contexts.service(service) != nil
    let isHTTP2 = tcp == nil && epoch.configuration.http2Services.contains(service)
    let made = UpstreamConnection(
      loop: loop, place: place, client: self, way: isSecured || isHTTP2 ? .pipeline : .raw)
    made.isStream = isHTTP2
    made.isPrivate = epoch.saysClient[service]
    return made
  }

  /// One that was used before; bytes of TCP, and who is told who the client is, get one of their own.
  @inline(__always)
  func idleConnection(_ service: Int, _ place: Int) -> UpstreamConnection? {
    tcp != nil || epoch.saysClient[service] ? nil : loop.takeIdle(place)
  }

  /// Opens it; it must be this client's before, for a UNIX socket is connected within this call.
  func open(_ made: UpstreamConnection, to address: SocketAddress, of service: Int) {
    if made.isStream { return loop.http2.open(made, made.place, service, loop) }
    let context = epoch.shared.contexts.service(service)
    made.connect(
      to: address, securedBy: context,
      name: context == nil ? nil : epoch.shared.contexts.name(of: service, at: address),
      after: made.isPrivate ? proxyHeader(for: service) : nil)
  }

  /// The attempt is over: its connection is kept, read out, or closed.
  @inline(__always)
  private func detach(cancels: Bool, now: Instant) {
    guard let upstream else { return }
    self.upstream = nil
    if cancels || upstream.state == .closed { upstream.close() } else { upstream.release(now: now.nanoseconds) }
  }

  // MARK: - What the connection tells

  func connected(_ upstream: UpstreamConnection) {
    guard upstream === self.upstream, call != .none else { return connectedHedge(upstream) }
    let now = loop.now()
    epoch.flows.connected(call, of: instance, now: now)
    send(now: now)
    armCall()
  }

  func attemptFailed(_ upstream: UpstreamConnection, _ failure: RetryRule.Failure) {
    // What follows may begin the next request, by another plan and along another edge.
    let (epoch, edge) = (self.epoch, self.edge)
    guard isMine(upstream), call != .none else { return upstream.close() }
    let now = loop.now()
    let instance = instance(of: upstream)
    if failure == .connectRefused && epoch === loop.epoch {
      loop.suspect(service: epoch.edgeServices[edge], instance: instance)
    }
    let kept = Int64(request.writerIndex - bodyStart)
    // Nothing of it was processed, and all of it is still here: whatever the method, it may be sent again.
    if upstream.isUnprocessed, web?.isText == true ? web?.sent == kept : bodyIn == kept {
      epoch.flows.sent(call, .nothing, of: instance, now: now)
    }
    let step = epoch.flows.failed(call, upstream.isBroken ? .protocolError : failure, of: instance, now: now)
    carry(step, now: now)
    epoch.syncIfUrgent(edge, now: now)
    armCall()
    if needsFlush { flush() }
  }

  /// The head of an answer has come; it stands at the start of the connection's input.
  func answered(_ upstream: UpstreamConnection) {
    // What follows may begin the next request, by another plan and along another edge.
    let (epoch, edge) = (self.epoch, self.edge)
    guard isMine(upstream), call != .none else { return upstream.close() }
    let now = loop.now()
    upstream.state = .body
    var retryAfter: Int64?
    let seconds = upstream.head.retryAfterSeconds
    if seconds >= 0 {
      retryAfter = min(seconds, 1 << 31) * 1_000_000_000
    } else if !upstream.head.retryAfterDate.isEmpty {
      retryAfter = waitUntilDate(upstream)
    }
    let answered = meaning(of: upstream)
    var step =
      awaitsStatus
      ? epoch.flows.begun(call, now: now)
      : epoch.flows.head(
        call, status: answered, retryAfter: retryAfter, fromWeir: upstream.head.flags.contains(.fromWeir),
        of: instance(of: upstream), now: now)
    // A retry that the node refuses makes this head the answer: it must be known before the head is passed over.
    if case .ask(let question) = step.action { step = epoch.answer(question, self, now: now) }
    if case .answer = step.action {
      phase = .receive
      status = answered
      if hedge != nil { wins(upstream, step, now: now) }
      relayHead(upstream, now: now)
    } else {
      // Not wanted: what has come of it, and what is still to come, is read past.
      upstream.input.moveReaderIndex(forwardBy: upstream.head.length)
      carry(step, now: now)
      armCall()
    }
    epoch.syncIfUrgent(edge, now: now)
  }

  private func waitUntilDate(_ upstream: UpstreamConnection) -> Int64? {
    let input = upstream.input
    guard let date = HTTPDate.parse(input.readableBytesUInt8Span, upstream.head.retryAfterDate) else {
      return nil
    }
    return min(max(0, date - loop.wallSeconds), 1 << 31) * 1_000_000_000
  }

  /// The instance has closed an answer that lasts until then.
  func upstreamEnded(_ upstream: UpstreamConnection) {
    guard upstream === self.upstream, call != .none else { return }
    if let keyed, keyed.isKeeping { return keptAnswerEnded(upstream, keyed) }
    if relay == .json { return collectAnswer(upstream, hasEnded: true, now: loop.now()) }
    if relay == .chunk {
      loop.out.clear()
      loop.out.writeStaticString("0\r\n\r\n")
      write(loop.out)
    } else if relay == .compress {
      endCompressed()
      guard call != .none else { return }
    } else if relay == .web {
      endWeb(upstream)
    }
    endAnswer(upstream, now: loop.now())
    flush()
    advance()
  }
}
