// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// What a route's policy does to its requests and answers.
extension ClientConnection {
  // MARK: - Finding the route

  /// The route of the request; header fields and query are read only where a route asks for them.
  @inline(__always)
  func find(_ trie: RouteTrie, _ bytes: Span<UInt8>) -> RouteTrie.Match { find(trie, bytes, head.method.bits) }

  /// The route that the request would have with another method.
  @inline(__always)
  func find(_ trie: RouteTrie, _ bytes: Span<UInt8>, _ method: MethodBits) -> RouteTrie.Match {
    let host = bytes.extracting(head.host.range)
    let path = bytes.extracting(head.path.isEmpty ? 0..<0 : head.path.range)
    switch trie.lookUp(host: host, path: path, method: method) {
    case .found(let match): return match
    case .reads(let wanted): return find(trie, bytes, method, wanted)
    }
  }

  @inline(never)
  private func find(
    _ trie: RouteTrie, _ bytes: Span<UInt8>, _ method: MethodBits, _ wanted: RouteReadings.Subjects
  ) -> RouteTrie.Match {
    var readings = RouteReadings()
    if trie.asksQuery(wanted), !head.query.isEmpty {
      trie.read(query: bytes.extracting(head.query.range), wanted, into: &readings)
    }
    if trie.asksFields(wanted) {
      var fields = Fields(head)
      while let field = fields.next(bytes) {
        trie.read(
          field: bytes.extracting(field.name.range), value: bytes.extracting(field.value.range), wanted, into: &readings
        )
      }
    }
    return trie.match(
      host: bytes.extracting(head.host.range),
      path: bytes.extracting(head.path.isEmpty ? 0..<0 : head.path.range), method: method, readings: readings)
  }

  // MARK: - Who asks

  /// The client: the peer, or behind trusted proxies the first address from the inside that is none of theirs.
  ///
  /// What cannot be read ends the chain: then the last address that could stands for all behind it.
  func client(_ bytes: Span<UInt8>) -> WireAddress {
    var known = WireAddress(high: peer.high, low: peer.low, port: 0, isIPv6: peer.isIPv6)
    if !sender.contains(.proxy) { return known }
    var hops =
      head.forwardedFor.count > 0
      ? ForwardedHops(forwardedFor: head.forwardedFor) : ForwardedHops(forwarded: head.forwarded)
    while case .address(let address) = hops.next(bytes) {
      known = address
      if !epoch.configuration.trusted.contains(where: { $0.contains(address) }) { break }
    }
    return known
  }

  // MARK: - Templates

  /// Where the values of this request are: in its head, and in the loop's own bytes, which are written here.
  ///
  /// The trace and the service are known only when the head has been written: before that they are empty.
  func values(_ rules: RouteRules, _ bytes: Span<UInt8>, isWritten: Bool = false) -> Template.Values {
    var values = Template.Values()
    values.set(.host, inHead: head.host.range)
    values.set(.path, inHead: head.path.range)
    values.set(.query, inHead: head.query.range)
    values.set(.method, inHead: head.methodRun.range)
    loop.own.clear()
    func set(_ variable: Template.Variable, from start: Int) {
      values.set(variable, inOwn: start..<loop.own.count)
    }
    loop.own.append(isSecure ? "https" : "http")
    set(.scheme, from: 0)
    var start = loop.own.count
    loop.own.append(rules.name)
    set(.route, from: start)
    start = loop.own.count
    if peer.isUnknown && !sender.contains(.proxy) {
      loop.own.append(peer.text)
    } else {
      loop.own.append(address: client(bytes))
    }
    set(.client, from: start)
    if requestID.count > 0 {
      start = loop.own.count
      let id = requestID.storage
      loop.own.append(id.span, 0..<requestID.count)
      set(.requestID, from: start)
    }
    if isWritten {
      start = loop.own.count
      loop.own.append(hex16: trace.traceHigh)
      loop.own.append(hex16: trace.traceLow)
      set(.trace, from: start)
    }
    if edge >= 0 {
      let service = epoch.edgeServices[edge]
      if service < epoch.configuration.serviceNames.count {
        start = loop.own.count
        loop.own.append(Array(epoch.configuration.serviceNames[service].utf8))
        set(.service, from: start)
      }
    }
    return values
  }

  /// The caller speaks TLS, with us or with a trusted proxy before us.
  var isSecure: Bool { secure != nil || head.flags.contains(.https) }

  private func fill(_ template: Template, _ values: Template.Values, _ bytes: Span<UInt8>) {
    loop.filled.removeAll(keepingCapacity: true)
    let own = loop.own.storage
    template.fill(values, head: bytes, own: own.span, into: &loop.filled)
  }

  // MARK: - Requests

  /// The request line and the kept fields, with the route's target and host.
  func appendTreated(_ rules: RouteRules, _ bytes: Span<UInt8>) {
    if !rules.dropped.isEmpty { head.drop(bytes, rules.dropped) }
    guard rules.changesTarget else { return loop.scratch.appendRequest(bytes, head) }
    loop.target.clear()
    if let rewrite = rules.policy.rewrite {
      fill(rewrite, values(rules, bytes), bytes)
      loop.target.append(loop.filled)
    } else {
      loop.target.append(bytes, head.path.range)
    }
    loop.target.appendQuery(bytes, head.query, rules.policy.query)
    loop.scratch.appendRequest(bytes, head, target: loop.target, host: rules.host)
  }

  /// The fields that the route sets or adds, and those of the answer while the request's head is at hand.
  func appendEdits(_ rules: RouteRules, _ bytes: Span<UInt8>) {
    if rules.editsBodies { appendJSONFields(rules) }
    if rules.policy.request.edits.isEmpty && !rules.changesAnswers {
      answerLines.removeAll(keepingCapacity: true)
      ownAnswerLines = 0
      return
    }
    let values = values(rules, bytes, isWritten: true)
    for edit in rules.policy.request.edits {
      fill(edit.value, values, bytes)
      // What the request brought along is clean, or was refused; a text that ends in a space is not written.
      let value = loop.filled
      _ = loop.scratch.appendField(edit.name, value.span)
    }
    makeAnswerLines(rules, values, bytes)
  }

  // MARK: - Answers

  /// The lines that the route puts into answers; those that fit our own answers stand first.
  private func makeAnswerLines(_ rules: RouteRules, _ values: Template.Values, _ bytes: Span<UInt8>) {
    loop.target.clear()
    loop.target.append(rules.retirementLines)
    if rules.policy.keepsByCookie { appendSplitCookie(to: &loop.target) }
    ownAnswerLines = loop.target.count
    for (index, edit) in rules.answerEdits.enumerated() {
      if index == rules.ownAnswerEdits { ownAnswerLines = loop.target.count }
      fill(edit.value, values, bytes)
      let value = loop.filled
      _ = loop.target.appendField(edit.name, value.span)
    }
    if rules.ownAnswerEdits == rules.answerEdits.count { ownAnswerLines = loop.target.count }
    answerLines.removeAll(keepingCapacity: true)
    answerLines.append(contentsOf: loop.target.storage.prefix(loop.target.count))
  }

  /// The lines for an answer of ours; of a request that was refused before its head was written they are made now.
  func appendOwnAnswerLines(_ rules: RouteRules) {
    let lines = answerLines
    loop.scratch.append(lines.span, 0..<ownAnswerLines)
  }

  /// Makes the lines of answers before the head leaves the buffer.
  func prepareAnswerLines() {
    // Of a head that has been taken they were made when it was.
    guard let rules, head.length > 0 else { return }
    if !rules.changesAnswers {
      answerLines.removeAll(keepingCapacity: true)
      ownAnswerLines = 0
      return
    }
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    makeAnswerLines(rules, values(rules, bytes), bytes)
  }

  /// The answer of a route that asks nobody.
  func answerByRoute(now: Instant) {
    if let rules, let redirect = rules.policy.redirect { return answer(redirect, rules, now: now) }
    if let policy = edgePolicy { return answer(policy, now: now) }
    refuse(.internalError, now: now)
  }

  private func answer(_ redirect: RoutePolicy.Redirect, _ rules: RouteRules, now: Instant) {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    prepareAnswerLines()
    fill(redirect.to, values(rules, bytes), bytes)
    loop.scratch.clear()
    loop.scratch.append("HTTP/1.1 ")
    loop.scratch.append(decimal: Int64(redirect.status))
    loop.scratch.append(" ")
    loop.scratch.append(StatusPhrase.of(redirect.status))
    loop.scratch.append("\r\nContent-Length: 0\r\nLocation: ")
    loop.scratch.append(loop.filled)
    loop.scratch.append("\r\n")
    appendOwnAnswerLines(rules)
    answerOurselves(status: redirect.status, now: now)
  }
}
