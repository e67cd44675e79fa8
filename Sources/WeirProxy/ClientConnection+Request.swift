// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirWire

/// From a head that is read to the call it leads to, and the body that follows.
extension ClientConnection {
  /// A head is whole: find its route, ask what must be asked, begin its call.
  func begin(now: Instant) {
    // A part of an answer goes by its whole's plan.
    if inner == nil { takeNewest() }
    startedAt = now
    isInWork = true
    isFirst = false
    answer = .none
    relay = .asIs
    requestSlot = .none
    principal = nil
    edge = -1
    attempts = 0
    instance = CallStep.nobody
    status = 0
    bodyIn = 0
    bodyOut = 0
    hasTail = false
    phase = .head
    if rules != nil { rules = nil }
    if webhook != nil { webhook = nil }
    if json != nil { json = nil }
    limitAsked = -1
    closeAfter = !head.flags.contains(.keepAlive) || loop.isDraining || inputClosed
    owesContinue = head.flags.contains(.expectsContinue)
    switch head.framing {
    case .none, .untilClose:
      stage = .waiting
      keepsBody = false
      loop.silentAt[Int(place)] = .max
    case .length(let length):
      stage = .body
      bodyLeft = length
      keepsBody = length <= Int64(loop.limits.replayBytes)
      loop.silentAt[Int(place)] = now.nanoseconds + bodyIdle
      if loop.memoryLevel != .open && !isCalls { setReading(false) }
    case .chunked:
      stage = .body
      chunks.clear()
      keepsBody = false
      loop.silentAt[Int(place)] = now.nanoseconds + bodyIdle
      if loop.memoryLevel != .open && !isCalls { setReading(false) }
    }
    if let rule = epoch.requestID, !isCalls { takeRequestID(rule) }
    if loop.keepsAccess && !isCalls { note() }

    if head.flags.contains(.upgrade), isCalls { return refuse(.upgradeNotSupported, now: now) }
    // It would show the client what hops have added to its request, credentials included (RFC 9110 §9.3.8).
    if head.method == .trace { return refuse(.methodNotAllowed, allowed: MethodBits.all.subtracting(.trace), now: now) }
    if case .length(let length) = head.framing, length > loop.limits.bodyBytes {
      if epoch.hasGRPCWeb { _ = enterWeb() }
      return refuse(.bodyTooLarge, now: now)
    }
    if isCalls { return routeCall(now: now) }
    if let redirectPort { return redirect(toPort: redirectPort, now: now) }
    route(now: now)
  }

  private func route(now: Instant) {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    // Held by a constant, its trie is lent; out of the property it would be copied, storage by storage.
    let epoch = self.epoch
    if head.method == .options && epoch.answersPreflights && answerPreflight(now: now) { return }
    switch find(epoch.trie, bytes) {
    case .none:
      if epoch.hasGRPCWeb { _ = enterWeb() }
      refuse(.noRoute, now: now)
    case .methodNotAllowed(let allowed): refuse(.methodNotAllowed, allowed: allowed, now: now)
    case .route(let index):
      let isWhole = !epoch.grpcWeb[index] || enterWeb()
      if let policy = epoch.edgePolicies[index] { enterEdge(policy) }
      if !isWhole { return refuse(.badRequest, now: now) }
      if head.flags.contains(.upgrade), !asksForTunnel(route: index, now: now) { return }
      rules = epoch.rules[index]
      var facts = RequestFacts(
        route: UInt32(index), client: clientKey(bytes), deadline: grpcDeadline(now), method: head.repeats,
        body: bodyKind)
      if epoch.splits[index] { facts.draw = draw(bytes) }
      facts.isOutside = isOutside(route: index)
      if epoch.hasKeys { facts.key = keyFact(route: index, bytes) }
      let (slot, step) = epoch.flows.begin(request: facts, now: now)
      requestSlot = slot
      self.facts = facts
      if let way = edgePolicy?.fallback { self.facts.hasFallback = hasFallback(way, facts.body) }
      if let retirement = rules?.policy.retirement, retirement.phase(now: SystemClock.wall()) == .gone {
        return refuse(.retired, now: now)
      }
      carry(step, now: now)
    }
  }

  /// Does what the request's flow says, until the call has begun, the request is refused, or somebody must be waited for.
  func carry(_ first: RequestStep, now: Instant) {
    var step = first
    while true {
      switch step {
      case .call(let edge):
        if let rules, rules.editsRequests, editsBody(rules, edge, now: now) { return }
        return beginCall(edge, facts, target: head.target, now: now)
      case .answer: return answerByRoute(now: now)
      case .askRecord(let until): return askRecord(until: until, now: now)
      case .replay: return replay(now: now)
      case .refuse(.tooManyFailures, _): return refuse(.tooManyFailures, until: braked(until: now), now: now)
      case .refuse(let reason, let until): return refuse(reason, until: until, now: now)
      case .askLimit(let limit, let key):
        step = epoch.flows.answered(requestSlot, limit: ask(limit: limit, key, now: now), now: now)
      case .askIdentity(let identity):
        guard let answer = ask(identity: identity, now: now) else { return }
        step = epoch.flows.answered(requestSlot, identity: answer, now: now)
      }
    }
  }

  /// A service calls another: `/from/<caller>/call/<callee>/<rest>`.
  private func routeCall(now: Instant) {
    let found = inner.map { ($0.edge, Int(head.target.start)) } ?? epoch.names.edge(input, head.path)
    guard let (edge, rest) = found else {
      let input = self.input
      if let start = messagingPath(input.readableBytesUInt8Span) { return beginMessaging(at: start, now: now) }
      return refuse(.noRoute, now: now)
    }
    let left = head.deadlineMilliseconds
    // A hundred days is longer than any deadline, and far from overflowing.
    let deadline =
      left < 0 ? Instant.distantFuture : now.advanced(by: min(left, 8_640_000_000) * 1_000_000)
    let facts = RequestFacts(
      deadline: deadline, method: head.repeats, body: bodyKind, outerRetries: head.flags.contains(.outerRetries))
    beginCall(edge, facts, target: Run(rest, Int(head.target.end)), now: now)
  }

  private var bodyKind: RetryRule.Body {
    switch head.framing {
    case .none, .untilClose: .none
    case .length: keepsBody ? .replayable : .streaming
    case .chunked: .streaming
    }
  }

  /// What limits count by: the peer, or behind a trusted proxy the client that it saw.
  @inline(__always)
  private func clientKey(_ bytes: Span<UInt8>) -> UInt64 {
    if !sender.contains(.proxy) || head.forwardedFor.count + head.forwarded.count == 0 { return peer.key }
    return PeerAddress(client(bytes)).key
  }

  func beginCall(_ edge: Int, _ facts: RequestFacts, target: Run, now: Instant) {
    if let tunnel, !takesTunnel(tunnel) { return refuse(.queueFull, now: now) }
    self.edge = edge
    phase = .queue
    var facts = facts
    isSticky = false
    // What a key has been looked up for is here as a whole.
    if case .length(let length) = head.framing, keyed == nil, !isCopy {
      let fits = length <= epoch.retryBuffers[edge]
      // A fallback to another service needs it, too.
      keepsBody = fits || keepsBody && facts.hasFallback
      facts.body = fits ? .replayable : .streaming
    }
    if epoch.choosy[edge] { readAffinity(edge, target, into: &facts) }
    writeHead(target)
    input.moveReaderIndex(forwardBy: head.length)
    let (slot, step) = epoch.flows.begin(call: edge, facts: facts, now: now)
    call = slot
    carry(step, now: now)
    armCall()
  }

  /// The head as it goes on, but for the fields of each attempt.
  func writeHead(_ target: Run) {
    if !isCalls { dropIdentity() }
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    loop.scratch.clear()
    let rules = self.rules
    if let rule = epoch.requestID, !isCalls { head.drop(bytes, rule.names) }
    if let rules {
      appendTreated(rules, bytes)
    } else if isCalls {
      loop.scratch.appendRequest(bytes, head, target: target)
    } else {
      loop.scratch.appendRequest(bytes, head)
    }
    if head.host.isEmpty && rules?.host == nil { loop.scratch.append("Host: localhost\r\n") }
    if let web { appendWebFields(web) }
    writeIdentity()
    if sender.isEmpty {
      loop.scratch.append(peerFields)
      loop.scratch.append("X-Forwarded-Host: ")
      loop.scratch.append(bytes, head.host.range)
      loop.scratch.append("\r\n")
      if epoch.configuration.writesForwarded { writeForwarded(bytes) }
    } else {
      writeTrustedForwarding(bytes)
    }
    let isGiven = takeTrace(bytes)
    loop.scratch.appendTraceparent(trace)
    if isGiven && head.tracestate.count > 0 { loop.scratch.appendTracestate(bytes, head.tracestate) }
    if tunnel != nil { loop.scratch.appendUpgrade() }
    if let inner { loop.scratch.append(inner.lines) }
    if let rule = epoch.requestID, !isCalls { appendRequestID(rule) }
    if let rules { appendEdits(rules, bytes) }
    request.clear()
    loop.scratch.write(to: &request)
    tailStart = request.writerIndex
  }

  /// The trace that the request came with, or a new one, with a span of ours; true for one that was given.
  @inline(__always)
  func takeTrace(_ bytes: borrowing Span<UInt8>) -> Bool {
    let given = TraceContext.parse(bytes, head.traceparent)
    if let given {
      trace = TraceContext(
        traceHigh: given.traceHigh, traceLow: given.traceLow, span: loop.random.next(), flags: given.flags)
    } else {
      let high = loop.random.next()
      let low = loop.random.next()
      trace = TraceContext(
        traceHigh: high, traceLow: low, span: loop.random.next(),
        flags: loop.random.chance(epoch.configuration.traceSample) ? 1 : 0)
    }
    logged?.traceHigh = trace.traceHigh
    logged?.traceLow = trace.traceLow
    return given != nil
  }

  private func writeForwarded(_ bytes: borrowing Span<UInt8>) {
    loop.scratch.appendForwarded(
      bytes, head.forwarded, peer: peer.text, isIPv6: peer.isIPv6, host: head.host, isHTTPS: secure != nil)
  }

  /// Behind a trusted proxy our hop is added to the chain; a service's call carries the chain of its own caller.
  private func writeTrustedForwarding(_ bytes: borrowing Span<UInt8>) {
    if isCalls {
      if head.forwardedFor.count > 0 { loop.scratch.appendForwardedFor(bytes, head.forwardedFor, peer: []) }
      return
    }
    loop.scratch.appendForwardedFor(bytes, head.forwardedFor, peer: peer.text)
    if !head.flags.contains(.forwardedProto) {
      loop.scratch.append(secure == nil ? "X-Forwarded-Proto: http\r\n" : "X-Forwarded-Proto: https\r\n")
    }
    if !head.flags.contains(.forwardedHost) {
      loop.scratch.append("X-Forwarded-Host: ")
      loop.scratch.append(bytes, head.host.range)
      loop.scratch.append("\r\n")
    }
    if head.forwarded.count > 0 || epoch.configuration.writesForwarded { writeForwarded(bytes) }
  }

  // MARK: - Sending

  /// The attempt has a connection: head and what there is of the body go out in one write.
  func send(now: Instant) {
    guard let upstream else { return }
    if let tcp { return openTCP(tcp, upstream, now: now) }
    phase = .send
    writeTail(now: now)
    upstream.expectAnswer()
    if stage == .body {
      if owesContinue && input.readableBytes == 0 { sayContinue() }
      _ = forwardBody(isFirst: true)
      if !inputClosed { setReading(true) }
    } else {
      upstream.isRequestSent = true
      upstream.outlet.writeThrough(&request)
      upstream.flush()
      sent(.all, now: now)
    }
  }

  @inline(__always)
  func sent(_ amount: RetryRule.Sent, now: Instant) {
    // The flush may have found the connection dead, and the step after that may have ended the call.
    guard call != .none, upstream != nil else { return }
    if amount == .all { phase = .wait }
    epoch.flows.sent(call, amount, of: instance, now: now)
    if amount == .all, let compares = rules?.policy.mirrorCompares { mirror(compares: compares, now: now) }
  }

  /// The fields that differ from attempt to attempt, and the end of the head; the kept body goes behind it again.
  func writeTail(now: Instant) {
    var body: ByteBuffer?
    if hasTail {
      body = request.getSlice(at: bodyStart, length: request.writerIndex - bodyStart)
      request.moveWriterIndex(to: tailStart)
    }
    loop.scratch.clear()
    loop.scratch.appendRetriesTaken()
    if isCopy { loop.scratch.append("Weir-Mirror: yes\r\n") }
    let left = epoch.flows.deadline(of: call).since(now)
    loop.scratch.appendDeadline(milliseconds: left / 1_000_000)
    if grpcTimeout >= 0 { loop.scratch.appendGRPCTimeout(nanoseconds: grpcDeadline(now).since(now)) }
    loop.scratch.append("\r\n")
    loop.scratch.write(to: &request)
    bodyStart = request.writerIndex
    if var body { request.writeBuffer(&body) }
    hasTail = true
  }

  private func sayContinue() {
    owesContinue = false
    loop.out.clear()
    loop.out.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
    write(loop.out)
    flush()
  }

  /// Sends on what has come of the body; false when there is nothing more to do now.
  ///
  /// With `isFirst` the head in `request` goes before it.
  func forwardBody(isFirst: Bool) -> Bool {
    guard let upstream else { return false }
    if let web, web.isText { return forwardText(web, upstream, isFirst: isFirst) }
    let (count, isLast, error) = takeBody()
    if let error {
      refuseWithinBody(error.reason, OwnAnswers.detailed(error.reason, error), now: loop.now())
      return false
    }
    if case .chunked = head.framing, !isGRPC, chunks.announced > loop.limits.bodyBytes {
      refuseWithinBody(.bodyTooLarge, loop.answers[.bodyTooLarge], now: loop.now())
      return false
    }
    if count == 0 && !isFirst && !isLast { return false }
    if count > 0 { owesContinue = false }
    bodyIn += Int64(count)
    let now = loop.now()
    if isLast {
      stage = .waiting
      loop.silentAt[Int(place)] = .max
      upstream.isRequestSent = true
    } else {
      loop.silentAt[Int(place)] = now.nanoseconds + bodyIdle
    }
    if isFirst {
      if keepsBody || count <= ClientConnection.copyMax {
        if count > 0 { request.writePrefix(of: &input, count) }
        input.moveReaderIndex(forwardBy: count)
        upstream.outlet.writeThrough(&request)
      } else {
        upstream.write(request)
        if let part = input.readSlice(length: count) { upstream.write(part) }
      }
    } else if count > 0, let part = input.readSlice(length: count) {
      if keepsBody { request.writeImmutableBuffer(part) }
      upstream.write(part)
    }
    if input.readableBytes == 0 { input = loop.empty }
    upstream.flush()
    sent(isLast ? .all : .something, now: now)
    if !isLast, let up = self.upstream, !up.isWritable { setReading(false) }
    return isLast
  }

  /// Up to this size a copy behind the head is cheaper than a second buffer in the write (measured, DATAPLANE).
  static var copyMax: Int { 8 << 10 }

  /// How much of `input` is this request's body, and whether that is its end.
  private func takeBody() -> (count: Int, isLast: Bool, error: HeadError?) {
    let readable = input.readableBytes
    switch head.framing {
    case .none, .untilClose: return (0, true, nil)
    case .length:
      let count = Int(min(Int64(readable), bodyLeft))
      bodyLeft -= Int64(count)
      return (count, bodyLeft == 0, nil)
    case .chunked:
      var at = 0
      switch chunks.skip(&input, from: &at) {
      case .end(let end): return (end, true, nil)
      case .refused(let error): return (at, true, error)
      case .data, .needMore: return (readable, false, nil)
      }
    }
  }

  /// Reads past what is left of a body whose request has been answered.
  func drainBody() -> Bool {
    let (count, isLast, error) = takeBody()
    input.moveReaderIndex(forwardBy: min(count, input.readableBytes))
    if error != nil {
      cut()
      return false
    }
    if !isLast { return false }
    nextRequest(now: loop.now())
    return true
  }

  func upstreamIsWritable(_ upstream: UpstreamConnection) {
    guard upstream === self.upstream, stage == .body || stage == .tunnel else { return }
    setReading(true)
    if input.readableBytes > 0 { advance() }
  }

  // MARK: - Access log

  private func note() {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    func text(_ range: Range<Int>, _ most: Int) -> String {
      var out: [UInt8] = []
      for i in range.prefix(most) { out.append(bytes[i]) }
      return String(decoding: out, as: UTF8.self)
    }
    logged = AccessEntry(
      method: text(head.methodRun.range, 32),
      path: text(head.path.range, AccessEntry.pathBytesMax), host: text(head.host.range, 260),
      client: String(decoding: peer.text, as: UTF8.self), traceHigh: 0, traceLow: 0, bytesIn: 0, bytesOut: 0)
    if epoch.requestID != nil {
      logged?.requestID = String(decoding: requestID.storage.prefix(requestID.count), as: UTF8.self)
    }
  }
}

extension ClientConnection {
  /// For the access log: a request of which nothing can be said but who sent it.
  func noteUnread() {
    guard loop.keepsAccess, logged == nil else { return }
    logged = AccessEntry(
      method: "", path: "", host: "", client: String(decoding: peer.text, as: UTF8.self),
      traceHigh: 0, traceLow: 0, bytesIn: 0, bytesOut: 0)
  }
}

extension RequestHead {
  /// What repeating the request would mean (RFC 9110 §9.2.2).
  var repeats: RetryRule.Method {
    if flags.contains(.idempotencyKey) { return .keyed }
    switch method {
    case .get, .head, .options, .trace: return .safe
    case .put, .delete: return .idempotent
    case .post, .patch, .other: return .unsafe
    }
  }
}

extension RequestHead.Method {
  var bits: MethodBits {
    switch self {
    case .get: .get
    case .head: .head
    case .post: .post
    case .put: .put
    case .delete: .delete
    case .patch: .patch
    case .options: .options
    case .trace: .trace
    case .other: .other
    }
  }
}
