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
    let run = ComposeRun(self, policy.parts)
    edgeWork?.compose = run
    loop.silentAt[Int(place)] = .max
    phase = .wait
    // All are there before the first begins: a call may end within its own beginning.
    run.calls = policy.parts.map { part in
      InnerCall(edge: part.edge, clientKey: key, bytesMax: ComposePolicy.partBytesMax) { [weak run] call in
        if let run { run.client?.partEnded(call, run) }
      }
    }
    for (part, call) in zip(run.parts, run.calls) {
      guard run.client != nil else { return }
      var request = ByteBuffer()
      request.writeStaticString("GET ")
      request.writeBytes(part.path)
      request.writeImmutableBuffer(fields)
      call.begin(request, by: epoch, on: loop, listener: listener, peer: peer)
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

  // MARK: - The whole

  private func partEnded(_ call: InnerCall, _ run: ComposeRun) {
    guard edgeWork?.compose === run, stage != .closed else { return }
    run.left -= 1
    if let index = run.calls.firstIndex(where: { $0 === call }), !run.parts[index].isOptional,
      let failure = failure(of: call)
    {
      run.cancel()
      edgeWork?.compose = nil
      return answer(failure, of: call)
    }
    if run.left == 0 {
      edgeWork?.compose = nil
      answerWhole(run)
    }
  }

  private enum PartFailure { case reason(Reason), answer(status: UInt16, head: ResponseHead) }

  /// Nil for an answer that can be put into the whole.
  private func failure(of call: InnerCall) -> PartFailure? {
    if call.isOverlong { return .reason(.badAnswer) }
    if call.reason != .none && !call.isFallback { return .reason(call.reason) }
    guard let head = call.headOfAnswer(loop) else { return .reason(.answerCut) }
    if head.status == 204 { return nil }
    if head.status >= 400 && head.status < 500 && head.status != 429 { return .answer(status: head.status, head: head) }
    if head.status >= 300 { return .reason(.failedAnswer) }
    let own = call.bytes
    let body = own.readableBytesUInt8Span
    if case .length(let length) = head.framing, Int64(body.count - head.length) != length { return .reason(.answerCut) }
    return JSONText.isWhole(body.extracting(head.length..<body.count)) ? nil : .reason(.badAnswer)
  }

  /// A part that must be there is not: the whole fails for its reason.
  private func answer(_ failure: PartFailure, of call: InnerCall) {
    let now = loop.now()
    switch failure {
    case .reason(let reason): refuse(reason, now: now)
    case .answer(let status, let head):
      // The caller's doing: it is told what the callee says of it.
      let own = call.bytes
      let bytes = own.readableBytesUInt8Span
      loop.scratch.clear()
      loop.scratch.appendStatusLine(status)
      if case .one(let type) = Fields(head).find(bytes, "content-type") {
        loop.scratch.append("Content-Type: ")
        loop.scratch.append(bytes, type.range)
        loop.scratch.append("\r\n")
      }
      answerComposed(status: status, body: Array(call.bytes.readableBytesView.dropFirst(head.length)), now: now)
    }
  }

  private func answerWhole(_ run: ComposeRun) {
    var body: [UInt8] = [UInt8(ascii: "{")]
    loop.scratch.clear()
    loop.scratch.append("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    for (part, call) in zip(run.parts, run.calls) {
      if let failure = failure(of: call) {
        appendOmitted(part, failure)
        continue
      }
      if body.count > 1 { body.append(UInt8(ascii: ",")) }
      body.append(UInt8(ascii: "\""))
      body += part.name
      body += [UInt8(ascii: "\""), UInt8(ascii: ":")]
      let head = call.headOfAnswer(loop)
      let own = call.bytes.readableBytesView.dropFirst(head?.length ?? 0)
      if own.isEmpty { body += Array("null".utf8) } else { body += own }
    }
    body.append(UInt8(ascii: "}"))
    answerComposed(status: 200, body: body, now: loop.now())
  }

  /// That a part is not there, and why, in the words of a refusal.
  private func appendOmitted(_ part: ComposePolicy.Part, _ failure: PartFailure) {
    let reason: Reason =
      switch failure {
      case .reason(let reason): reason
      case .answer: .failedAnswer
      }
    loop.scratch.append("Proxy-Status: weir; error=")
    loop.scratch.append(reason.proxyStatus)
    loop.scratch.append("; details=\"")
    loop.scratch.append(part.name)
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
