// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// Answers: an instance's, relayed; or our own.
extension ClientConnection {
  // MARK: - Relaying

  /// Writes the head of an answer, and the body as far as it is there.
  func relayHead(_ upstream: UpstreamConnection, now: Instant) {
    if let json, editsAnswer(upstream, json, now: now) { return }
    if keyed != nil, keeps(upstream, now: now) { return }
    let http10 = head.flags.contains(.http10)
    var isChunked = false
    switch upstream.head.framing {
    case .none, .length: break
    case .chunked:
      if http10 {
        relay = .unchunk
        closeAfter = true
      } else {
        isChunked = true
      }
    case .untilClose:
      if http10 {
        closeAfter = true
      } else {
        relay = .chunk
        isChunked = true
      }
    }
    decideWhetherToClose()
    answer = .relaying
    loop.silentAt[Int(place)] = now.nanoseconds + answerIdle

    let rules = self.rules
    if let page = rules?.page(upstream.head.status) { return replace(upstream, by: page, now: now) }
    if let rule = epoch.requestID, !isCalls { upstream.head.drop(&upstream.input, rule.names) }
    if let rules, !rules.droppedInAnswers.isEmpty { upstream.head.drop(&upstream.input, rules.droppedInAnswers) }
    let answersWeb = web.flatMap { beginWebAnswer(upstream, $0) ? $0 : nil }
    let varies = edgePolicy != nil && dropEdgeFields(upstream)
    loop.scratch.clear()
    loop.scratch.appendResponse(&upstream.input, upstream.head)
    if edgePolicy != nil {
      appendEdgeFields(upstream, varies: varies)
      if relay == .compress { isChunked = true }
    }
    if let answersWeb {
      appendWebType(answersWeb)
      isChunked = !http10
    }
    if rules != nil { loop.scratch.append(answerLines) }
    if isSticky { appendStickyCookie(upstream) }
    if let rule = epoch.requestID, !isCalls { appendRequestID(rule) }
    if isChunked { loop.scratch.append("Transfer-Encoding: chunked\r\n") }
    if !upstream.head.flags.contains(.date) { loop.scratch.append(loop.dateLine) }
    if limitAsked >= 0 { appendLimit() }
    writeConnection(http10)
    loop.scratch.append("\r\n")
    upstream.input.moveReaderIndex(forwardBy: upstream.head.length)
    loop.out.clear()
    loop.scratch.write(to: &loop.out)
    relay(upstream, withHead: true, now: now)
  }

  func writeConnection(_ http10: Bool) {
    if closeAfter {
      loop.scratch.append("Connection: close\r\n")
    } else if http10 {
      loop.scratch.append("Connection: keep-alive\r\n")
    }
  }

  /// Sends on what stands in the connection's input; with `withHead` the head in the loop's buffer goes before it.
  func relay(_ upstream: UpstreamConnection, withHead: Bool, now: Instant) {
    guard upstream === self.upstream, call != .none else { return upstream.close() }
    if let keyed, keyed.isKeeping { return keepMore(upstream, keyed, now: now) }
    let isLast: Bool
    let error: HeadError?
    switch relay {
    case .asIs: (isLast, error) = relayAsIs(upstream, withHead: withHead)
    case .chunk: (isLast, error) = relayInChunks(upstream, withHead: withHead)
    case .unchunk:
      if !withHead { loop.out.clear() }
      watch?.isVoid = true
      (isLast, error) = upstream.takeData(into: &loop.out)
      write(loop.out)
    case .compress: (isLast, error) = relayCompressed(upstream, withHead: withHead)
    case .web: (isLast, error) = relayWeb(upstream, withHead: withHead)
    case .json: return collectAnswer(upstream, now: now)
    }
    if error != nil {
      flush()
      return attemptFailed(upstream, .protocolError)
    }
    if isLast {
      upstream.answerIsWhole()
      endAnswer(upstream, now: now)
      flush()
      advance()
      return
    }
    loop.silentAt[Int(place)] = now.nanoseconds + answerIdle
    flush()
    // The flush may have ended it all.
    if self.upstream === upstream, !outlet.isWritable { upstream.setReading(false) }
  }

  @inline(__always)
  private func relayAsIs(_ upstream: UpstreamConnection, withHead: Bool) -> (Bool, HeadError?) {
    let (count, isLast, error) = upstream.takeBody()
    bodyOut += Int64(count)
    if let watch { note(upstream, count, watch) }
    if edgePolicy != nil { keep(upstream, count) }
    if withHead && count <= ClientConnection.copyMax {
      if count > 0 {
        loop.out.writePrefix(of: &upstream.input, count)
        upstream.input.moveReaderIndex(forwardBy: count)
      }
      writeThrough(&loop.out)
      return (isLast, error)
    }
    if withHead { write(loop.out) }
    if count == upstream.input.readableBytes {
      write(upstream.input)
      upstream.input = loop.empty
    } else if let part = upstream.input.readSlice(length: count) {
      write(part)
    }
    return (isLast, error)
  }

  /// A body that ends with its connection becomes chunks, so that the client's connection stays and a cut shows.
  private func relayInChunks(_ upstream: UpstreamConnection, withHead: Bool) -> (Bool, HeadError?) {
    let count = upstream.input.readableBytes
    bodyOut += Int64(count)
    if let watch { note(upstream, count, watch) }
    if !withHead { loop.out.clear() }
    if count > 0 {
      loop.scratch.clear()
      loop.scratch.append(hex: UInt64(count))
      loop.scratch.append("\r\n")
      loop.scratch.write(to: &loop.out)
      loop.out.writeBuffer(&upstream.input)
      loop.out.writeStaticString("\r\n")
      upstream.input = loop.empty
    }
    write(loop.out)
    return (false, nil)
  }

  /// The answer has been written whole.
  func endAnswer(_ upstream: UpstreamConnection, now: Instant) {
    // What follows may begin the next request, by another plan and along another edge.
    let (epoch, edge) = (self.epoch, self.edge)
    answer = .done
    if edgePolicy != nil, let work = edgeWork, work.keeps { keepWhole(work, now: now) }
    if awaitsStatus { settleGRPC(upstream, now: now) }
    carry(epoch.flows.ended(call, now: now), now: now)
    epoch.syncIfUrgent(edge, now: now)
  }

  /// The flow has closed its books on a relayed answer.
  func finished(now: Instant) {
    over()
    if stage == .tunnel || isStoring { return }
    if edgePolicy != nil, let work = edgeWork, work.isFallingBack {
      isFallback = true
      endRequest(work.reason, status: status, now: now)
      isFallback = false
    } else {
      endRequest(.none, status: status, now: now)
    }
    answerDone(now: now)
  }

  // MARK: - Our own answers

  /// A head that is no head: answer and close, for what follows cannot be told apart.
  func refuse(unreadable error: HeadError, now: Instant) {
    let reason = error.reason
    refuseBeforeRoute(reason, OwnAnswers.detailed(reason, error), phase: .head, now: now)
  }

  /// Nothing is known of the request: it is counted without a route, and the connection ends.
  func refuseBeforeRoute(_ reason: Reason, _ answer: ErrorAnswer, phase: Phase, now: Instant) {
    if tcp != nil { return refuseTCP(reason, now: now) }
    takeNewest()
    self.phase = phase
    closeAfter = true
    stage = .waiting
    head.method = .get
    head.flags.remove(.http10)
    requestSlot = .none
    if startedAt == .zero { startedAt = now }
    isInWork = true
    noteUnread()
    write(answer, retryAfter: 0, now: now)
    endRequest(reason, status: answer.status, now: now)
    linger(now: now)
  }

  /// The body cannot be read on: the call is given up, and the connection ends after the answer.
  func refuseWithinBody(_ reason: Reason, _ answer: ErrorAnswer, now: Instant) {
    phase = .body
    closeAfter = true
    let before = self.answer
    override = reason
    leaveCall(now: now)
    override = nil
    if before == .none {
      write(answer, retryAfter: 0, now: now)
      linger(now: now)
    } else {
      cut()
    }
  }

  /// Answers in our own name.
  func refuse(
    _ reason: Reason, until: Instant = .zero, allowed: MethodBits? = nil, with answer: ErrorAnswer? = nil, now: Instant
  ) {
    if reason == .callerGone {
      endRequest(override ?? reason, status: override?.status ?? Reason.callerGone.status, now: now)
      return
    }
    if tcp != nil { return refuseTCP(reason, now: now) }
    if call == .none && edge < 0 {
      if rules != nil { prepareAnswerLines() }
      input.moveReaderIndex(forwardBy: head.length)
    }
    decideWhetherToClose()
    write(
      answer ?? loop.answers[reason], retryAfter: until == .zero ? 0 : until.since(now), allowed: allowed, now: now)
    self.answer = .done
    endRequest(reason, status: answer?.status ?? reason.status, now: now)
    answerDone(now: now)
    if !isAdvancing {
      flush()
      advance()
    }
  }

  /// Answers what the file says without asking anybody; the head's own fields stand in the loop's scratch.
  ///
  /// `reason`: why it is a refusal.
  func answerOurselves(status: UInt16, body: [UInt8] = [], reason: Reason = .none, now: Instant) {
    if call == .none && edge < 0 { input.moveReaderIndex(forwardBy: head.length) }
    decideWhetherToClose()
    if let rule = epoch.requestID, !isCalls { appendRequestID(rule) }
    loop.scratch.append(loop.dateLine)
    writeConnection(head.flags.contains(.http10))
    loop.scratch.append("\r\n")
    if head.method != .head { loop.scratch.append(body) }
    writeScratch()
    bodyOut = head.method == .head ? 0 : Int64(body.count)
    endOwnAnswer(status: status, reason: reason, now: now)
  }

  /// An answer of our own has been written whole.
  func endOwnAnswer(status: UInt16, reason: Reason = .none, now: Instant) {
    answer = .done
    endRequest(reason, status: status, now: now)
    answerDone(now: now)
    if !isAdvancing {
      flush()
      advance()
    }
  }

  /// What is written for a callee that the caller can do without.
  func fallBack(_ reason: Reason, now: Instant) {
    if tcp != nil { return refuseTCP(reason, now: now) }
    if edgePolicy != nil && fallBackByRoute(reason, now: now) { return }
    fallBack(
      reason, with: edge < epoch.configuration.fallbacks.count ? epoch.configuration.fallbacks[edge] : nil, now: now)
  }

  func fallBack(_ reason: Reason, with fallback: ProxyConfiguration.FallbackAnswer?, now: Instant) {
    decideWhetherToClose()
    loop.scratch.clear()
    if let fallback {
      loop.scratch.append("HTTP/1.1 200 OK\r\nContent-Type: ")
      loop.scratch.append(Array(fallback.contentType.utf8))
      loop.scratch.append("\r\nContent-Length: ")
      loop.scratch.append(decimal: Int64(fallback.body.count))
      loop.scratch.append("\r\n")
    } else {
      loop.scratch.append("HTTP/1.1 204 No Content\r\n")
    }
    // Why it is not the callee's own: the same words as in a refusal.
    loop.scratch.append("Cache-Control: no-store\r\nProxy-Status: weir; ")
    loop.scratch.append("error=")
    loop.scratch.append(reason.proxyStatus)
    loop.scratch.append("; details=\"")
    loop.scratch.append(reason.name)
    loop.scratch.append("\"\r\n")
    if edgePolicy != nil { appendEdgeFields() }
    if let rules { appendOwnAnswerLines(rules) }
    if let rule = epoch.requestID, !isCalls { appendRequestID(rule) }
    loop.scratch.append(loop.dateLine)
    writeConnection(head.flags.contains(.http10))
    loop.scratch.append("\r\n")
    if let fallback, head.method != .head { loop.scratch.append(fallback.body) }
    writeScratch()
    endFallback(reason, status: fallback == nil ? 204 : 200, now: now)
  }

  /// A fallback has been written whole.
  func endFallback(_ reason: Reason, status: UInt16, now: Instant) {
    answer = .done
    isFallback = true
    endRequest(reason, status: status, now: now)
    isFallback = false
    answerDone(now: now)
    if !isAdvancing {
      flush()
      advance()
    }
  }

  func write(
    _ answer: ErrorAnswer, retryAfter: Int64, allowed: MethodBits? = nil, now: Instant
  ) {
    if let web { return writeWeb(answer, web, retryAfter: retryAfter) }
    if isGRPC { return writeGRPC(answer, retryAfter: retryAfter) }
    let page = rules?.page(answer.status)
    loop.scratch.clear()
    if let page { loop.scratch.append(answer, page) } else { loop.scratch.append(answer.head) }
    if edgePolicy != nil { appendEdgeFields() }
    loop.scratch.append(loop.dateLine)
    // Before a head was read there is none.
    if let rule = epoch.requestID, !isCalls, requestID.count > 0 { appendRequestID(rule) }
    if retryAfter > 0 && retryAfter < .max / 2 { loop.scratch.appendRetryAfter(nanoseconds: retryAfter) }
    if let allowed {
      loop.scratch.append("Allow: ")
      loop.scratch.append(Array(allowed.names.joined(separator: ", ").utf8))
      loop.scratch.append("\r\n")
    }
    writeChallenge(answer.status)
    if limitAsked >= 0 { appendLimit() }
    if let rules { appendOwnAnswerLines(rules) }
    writeConnection(head.flags.contains(.http10))
    loop.scratch.append("\r\n")
    if head.method != .head { loop.scratch.append(page?.body ?? answer.body) }
    writeScratch()
  }

  func writeScratch() {
    loop.out.clear()
    loop.scratch.write(to: &loop.out)
    write(loop.out)
    needsFlush = true
  }

  // MARK: - After the answer

  /// Whether the connection can stay after this answer, as far as what is still to come of the request goes.
  func decideWhetherToClose() {
    if loop.isDraining || inputClosed { closeAfter = true }
    // Bytes behind a handshake that was declined: the sender may have meant frames.
    if tunnel != nil && input.readableBytes > 0 { closeAfter = true }
    guard stage == .body, !closeAfter else { return }
    switch head.framing {
    case .none, .untilClose: break
    case .length:
      let unread = bodyLeft - Int64(input.readableBytes)
      if unread > Int64(loop.limits.drainBytes) || owesContinue { closeAfter = true }
    // Its end cannot be foreseen.
    case .chunked: closeAfter = true
    }
  }

  /// The answer is out: on to the rest of the body, the next request, or the end.
  func answerDone(now: Instant) {
    if closeAfter {
      if stage == .body { linger(now: now) } else { closeWhenWritten() }
      return
    }
    if stage == .body {
      stage = .draining
      loop.silentAt[Int(place)] = now.nanoseconds + bodyIdle
      setReading(true)
      return
    }
    nextRequest(now: now)
  }

  func nextRequest(now: Instant) {
    if closeAfter || inputClosed && input.readableBytes == 0 { return closeWhenWritten() }
    stage = .head
    answer = .none
    if edgePolicy != nil { edgePolicy = nil }
    if web != nil { leaveWeb() }
    if json != nil { json = nil }
    startedAt = .zero
    if rules != nil { rules = nil }
    requestID.clear()
    loop.silentAt[Int(place)] =
      now.nanoseconds + (input.readableBytes == 0 ? loop.times.keepAlive : loop.times.head)
    if !inputClosed { setReading(true) }
  }

  /// The request is over: its record, and what only this connection knows of it.
  func endRequest(_ reason: Reason, status: UInt16, now: Instant) {
    guard isInWork else { return }
    isInWork = false
    defer { if let keyed { keyedIsOver(keyed) } }
    if messaging != nil { messaging = nil }
    if edgePolicy != nil { leaveEdge() }
    if isCalls, let inner {
      inner.reason = reason
      inner.isFallback = isFallback
      inner.attempts = attempts
      inner.instance = instance
      inner.trace = trace
    }
    if let watch { given(watch, status: status, now: now) }
    var ending = RequestEnding(
      status: status, reason: reason, phase: reason == .none ? .done : phase, instance: instance, attempts: attempts,
      fallback: isFallback)
    let isElsewhere = tcp != nil || edgePolicy != nil && edgeWork?.isFallingBack == true
    if isElsewhere, edge >= 0 { ending.edge = UInt32(edge) }
    let tag = logged == nil ? 0 : loop.nextTag()
    if requestSlot != .none {
      epoch.flows.end(request: requestSlot, as: ending, tag: tag, now: now)
      requestSlot = .none
    } else if !isCalls {
      epoch.flows.refused(ending, startedAt: startedAt, tag: tag, now: now)
    }
    if var entry = logged {
      entry.tag = tag
      entry.bytesIn = bodyIn
      entry.bytesOut = bodyOut
      loop.keep(entry)
      logged = nil
    }
    if let tunnel { leaveTunnel(tunnel) }
    if counter != nil { countTCP(reason) }
  }

  // MARK: - Closing

  /// Closes when all that is written has gone out.
  func closeWhenWritten() {
    guard outlet.isAttached, stage != .closed else { return }
    stage = .lingering
    loop.silentAt[Int(place)] = loop.now().nanoseconds + loop.times.answerIdle
    needsFlush = false
    outlet.whenWritten(self) { $0.cut() }
  }

  /// Closes our side when all is written and reads on for a while.
  ///
  /// A close with unread bytes would make the kernel send a reset, which can overtake the answer (RFC 9112 §9.6).
  func linger(now: Instant) {
    guard outlet.isAttached, stage != .closed else { return }
    stage = .lingering
    input = loop.empty
    lingerLeft = 1 << 20
    loop.silentAt[Int(place)] = now.nanoseconds + loop.times.answerIdle
    needsFlush = false
    setReading(true)
    outlet.whenWritten(self) { $0.answerIsOut() }
  }

  private func answerIsOut() {
    guard stage == .lingering, outlet.isAttached else { return }
    if inputClosed { return cut() }
    loop.silentAt[Int(place)] = loop.now().nanoseconds + loop.times.linger
    outlet.closeOutput()
  }

  func discard(_ buffer: ByteBuffer) {
    lingerLeft -= buffer.readableBytes
    if lingerLeft < 0 { cut() }
  }
}
