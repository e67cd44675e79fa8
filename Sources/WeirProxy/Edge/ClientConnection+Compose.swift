// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// Answers made of several calls.
extension ClientConnection {
  /// Begins all calls of a composed route; the answer comes when the last has ended.
  func answerByParts(_ policy: ComposePolicy, now: Instant) {
    guard head.method == .get || head.method == .head else {
      return refuse(.methodNotAllowed, allowed: [.get, .head], now: now)
    }
    let key = clientAffinity(facts)
    let fields = partFields(policy, now: now)
    takeHead()
    let run = ComposeRun(self)
    edgeWork?.compose = run
    run.left = policy.parts.count
    run.clientKey = key
    loop.silentAt[Int(place)] = .max
    phase = .wait
    // All are there before the first begins: a call may end within its own beginning.
    run.sinks = policy.parts.map { PartSink($0, run) }
    for sink in run.sinks {
      guard run.client != nil else { return }
      var request = ByteBuffer()
      request.writeStaticString("GET ")
      request.writeBytes(sink.part.path)
      request.writeImmutableBuffer(fields)
      let part = ClientConnection(loop: loop, kind: .calls, listener: listener, peer: peer, way: .memory)
      part.take(epoch)
      sink.client = part
      part.beginPart(sink, request)
    }
  }

  /// Behind the path of each part: the query, and the fields of the request as they go on to a service.
  private func partFields(_ policy: ComposePolicy, now: Instant) -> ByteBuffer {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    var fields = ByteBuffer()
    if !head.query.isEmpty {
      fields.writeStaticString("?")
      for i in head.query.range { fields.writeInteger(bytes[i]) }
    }
    head.drop(bytes, ComposePolicy.dropped)
    writeHead(head.target)
    // HTTP/1.0: the answer comes without chunks and ends with its connection.
    fields.writeStaticString(" HTTP/1.0")
    if let line = request.readableBytesView.firstIndex(of: 0x0d) {
      fields.writeBytes(request.readableBytesView[line...])
    }
    if let timeout = policy.timeout {
      loop.scratch.clear()
      loop.scratch.appendDeadline(milliseconds: max(0, timeout - now.since(startedAt)) / 1_000_000)
      loop.scratch.write(to: &fields)
    }
    fields.writeStaticString("\r\n")
    return fields
  }

  // MARK: - The connection of a part

  private func beginPart(_ sink: PartSink, _ request: ByteBuffer) {
    part = sink
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    outlet.attach(
      OutletSink(
        receive: { [unowned sink] in sink.receive($0) },
        // Never within what it was doing when it closed.
        close: { [loop] in loop.eventLoop.execute { bound.value.partIsClosed() } }))
    loop.add(self)
    input = request
    advance()
  }

  /// What `channelInactive` is for a connection with a channel.
  private func partIsClosed() {
    guard let sink = part, !sink.isOver else { return }
    sink.isOver = true
    stage = .closed
    leaveCall(now: loop.now())
    loop.remove(self)
    outlet.detach()
    input = loop.empty
    part = nil
    sink.client = nil
    if let run = sink.run, let client = run.client { client.partEnded(sink, run) }
  }

  // MARK: - The whole

  private func partEnded(_ sink: PartSink, _ run: ComposeRun) {
    guard edgeWork?.compose === run, stage != .closed else { return }
    run.left -= 1
    if !sink.part.isOptional, let failure = failure(of: sink) {
      run.cancel()
      edgeWork?.compose = nil
      return answer(failure, of: sink)
    }
    if run.left == 0 {
      edgeWork?.compose = nil
      answerWhole(run)
    }
  }

  private enum PartFailure { case reason(Reason), answer(status: UInt16, head: ResponseHead) }

  /// Nil for an answer that can be put into the whole.
  private func failure(of sink: PartSink) -> PartFailure? {
    if sink.isOverlong { return .reason(.badAnswer) }
    if sink.reason != .none && !sink.isFallback { return .reason(sink.reason) }
    guard let head = headOfAnswer(sink) else { return .reason(.answerCut) }
    if head.status == 204 { return nil }
    if head.status >= 400 && head.status < 500 && head.status != 429 { return .answer(status: head.status, head: head) }
    if head.status >= 300 { return .reason(.failedAnswer) }
    let own = sink.bytes
    let body = own.readableBytesUInt8Span
    if case .length(let length) = head.framing, Int64(body.count - head.length) != length { return .reason(.answerCut) }
    return JSONText.isWhole(body.extracting(head.length..<body.count)) ? nil : .reason(.badAnswer)
  }

  private func headOfAnswer(_ sink: PartSink) -> ResponseHead? {
    var head = ResponseHead()
    var scanner = ResponseScanner()
    guard case .complete = scanner.scan(&sink.bytes, toHead: false, limits: loop.headLimits, into: &head) else {
      return nil
    }
    return head
  }

  /// A part that must be there is not: the whole fails for its reason.
  private func answer(_ failure: PartFailure, of sink: PartSink) {
    let now = loop.now()
    switch failure {
    case .reason(let reason): refuse(reason, now: now)
    case .answer(let status, let head):
      // The caller's doing: it is told what the callee says of it.
      let own = sink.bytes
      let bytes = own.readableBytesUInt8Span
      loop.scratch.clear()
      loop.scratch.appendStatusLine(status)
      if case .one(let type) = Fields(head).find(bytes, "content-type") {
        loop.scratch.append("Content-Type: ")
        loop.scratch.append(bytes, type.range)
        loop.scratch.append("\r\n")
      }
      answerComposed(status: status, body: Array(sink.bytes.readableBytesView.dropFirst(head.length)), now: now)
    }
  }

  private func answerWhole(_ run: ComposeRun) {
    var body: [UInt8] = [UInt8(ascii: "{")]
    loop.scratch.clear()
    loop.scratch.append("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    for sink in run.sinks {
      if let failure = failure(of: sink) {
        appendOmitted(sink, failure)
        continue
      }
      if body.count > 1 { body.append(UInt8(ascii: ",")) }
      body.append(UInt8(ascii: "\""))
      body += sink.part.name
      body += [UInt8(ascii: "\""), UInt8(ascii: ":")]
      let head = headOfAnswer(sink)
      let own = sink.bytes.readableBytesView.dropFirst(head?.length ?? 0)
      if own.isEmpty { body += Array("null".utf8) } else { body += own }
    }
    body.append(UInt8(ascii: "}"))
    answerComposed(status: 200, body: body, now: loop.now())
  }

  /// That a part is not there, and why, in the words of a refusal.
  private func appendOmitted(_ sink: PartSink, _ failure: PartFailure) {
    let reason: Reason =
      switch failure {
      case .reason(let reason): reason
      case .answer: .failedAnswer
      }
    loop.scratch.append("Proxy-Status: weir; error=")
    loop.scratch.append(reason.proxyStatus)
    loop.scratch.append("; details=\"")
    loop.scratch.append(sink.part.name)
    loop.scratch.append(" omitted: ")
    loop.scratch.append(reason.name)
    loop.scratch.append("\"\r\n")
  }

  private func answerComposed(status: UInt16, body: [UInt8], now: Instant) {
    // It is made of answers that may each say otherwise: nobody keeps it.
    loop.scratch.append("Cache-Control: no-store\r\nContent-Length: ")
    loop.scratch.append(decimal: Int64(body.count))
    loop.scratch.append("\r\n")
    appendRouteFields()
    phase = .done
    answerOurselves(status: status, body: body, now: now)
  }
}
