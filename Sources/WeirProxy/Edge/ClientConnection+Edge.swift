// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// What the gateway itself does for a request: answers of its own, pages of other origins.
extension ClientConnection {
  /// The request's route has a policy: what of the head it needs is kept, for the head is gone when the answer comes.
  func enterEdge(_ policy: EdgePolicy) {
    edgePolicy = policy
    let work = edgeWork ?? EdgeWork()
    edgeWork = work
    work.begin()
    if let cors = policy.cors { readOrigin(cors, work) }
    // Messages of gRPC are compressed by their ends.
    if let rule = policy.compression, !isGRPC {
      let input = self.input
      work.coding = rule.wanted(input.readableBytesUInt8Span, head)
    }
  }

  /// The request is over: what its answer has used is free for others.
  func leaveEdge() {
    guard let work = edgeWork else { return }
    work.file = nil
    if let run = work.compose.take() { run.cancel() }
    if let encoder = work.encoder.take() { loop.edge.giveBack(encoder) }
  }

  private func readOrigin(_ cors: CORSPolicy, _ work: EdgeWork) {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    guard case .one(let run) = Fields(head).find(bytes, "origin") else { return }
    let origin = bytes.extracting(run.range)
    guard cors.rule.allows(origin: origin) else { return }
    for i in 0..<origin.count { work.origin.append(origin[i]) }
  }

  // MARK: - Fixed answers

  /// The route has no callee: what it answers by itself.
  func answer(_ policy: EdgePolicy, now: Instant) {
    phase = .done
    if let answer = policy.answer {
      prepareAnswerLines()
      loop.scratch.clear()
      loop.scratch.append(answer.head)
      appendRouteFields()
      return answerOurselves(status: answer.status, body: answer.body, now: now)
    }
    if let queue = policy.queue { return enqueue(queue, now: now) }
    if let compose = policy.compose { return answerByParts(compose, now: now) }
    if let files = policy.files { return answerByFile(files, now: now) }
    refuse(.internalError, now: now)
  }

  /// The lines that the route puts into answers of ours; made before the head is taken.
  func appendRouteFields() {
    appendEdgeFields()
    if let rules { appendOwnAnswerLines(rules) }
  }

  // MARK: - Pages of other origins

  /// The lines that the policy adds to every answer, our own refusals too: a page must be able to read why.
  func appendEdgeFields(varies: Bool = false) {
    guard let cors = edgePolicy?.cors, let work = edgeWork else { return }
    if cors.rule.isForAll {
      loop.scratch.append("Access-Control-Allow-Origin: *\r\n")
      loop.scratch.append(cors.actual)
      return
    }
    // Also where nothing is allowed: a cache must not give this answer to a page that is.
    if !varies { loop.scratch.append("Vary: Origin\r\n") }
    if work.origin.isEmpty { return }
    loop.scratch.append("Access-Control-Allow-Origin: ")
    loop.scratch.append(work.origin)
    loop.scratch.append("\r\n")
    loop.scratch.append(cors.actual)
  }

  /// Answers a browser that asks what a page may send; false when it does not ask, or the route is not for pages.
  ///
  /// The route is that of the method asked for. Limits are not asked: a browser that may not even ask would tell its user
  /// nothing.
  func answerPreflight(now: Instant) -> Bool {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    let asked = CORSRequest(bytes, head)
    guard asked.isPreflight, case .one(let methodRun) = asked.method, case .one(let originRun) = asked.origin else {
      return false
    }
    let method = bytes.extracting(methodRun.range)
    guard
      case .route(let index) = find(epoch.trie, bytes, MethodBits(name: method)),
      let policy = epoch.edgePolicies[index], let cors = policy.cors
    else { return false }
    let facts = RequestFacts(
      route: UInt32(index), client: 0, deadline: .distantFuture, method: .safe, body: .none)
    let (slot, step) = epoch.flows.begin(request: facts, now: now)
    requestSlot = slot
    if case .refuse(let reason, let until) = step {
      refuse(reason, until: until, now: now)
      return true
    }
    var isAllowed =
      cors.rule.allows(origin: bytes.extracting(originRun.range)) && cors.rule.allows(method: method)
      && !asked.isOverlong
    if isAllowed { isAllowed = allowsHeaders(asked, cors.rule, bytes) }
    loop.scratch.clear()
    loop.scratch.append("HTTP/1.1 204 No Content\r\n")
    loop.scratch.append("Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n")
    if isAllowed {
      loop.scratch.append("Access-Control-Allow-Origin: ")
      if cors.rule.isForAll { loop.scratch.append("*") } else { loop.scratch.append(bytes, originRun.range) }
      loop.scratch.append("\r\n")
      loop.scratch.append(cors.preflight)
      if cors.rule.allowsAllHeaders {
        for i in 0..<asked.headers.count {
          loop.scratch.append("Access-Control-Allow-Headers: ")
          loop.scratch.append(bytes, asked.headers[i].range)
          loop.scratch.append("\r\n")
        }
      } else {
        loop.scratch.append(cors.headers)
      }
    }
    answerOurselves(status: 204, now: now)
    return true
  }

  private func allowsHeaders(_ asked: CORSRequest, _ rule: CORSRule, _ bytes: borrowing Span<UInt8>) -> Bool {
    for i in 0..<asked.headers.count {
      var at = Int(asked.headers[i].start)
      let end = Int(asked.headers[i].end)
      while at < end {
        var from = at
        while at < end && bytes[at] != 0x2c { at += 1 }
        var to = at
        while from < to && (bytes[from] == 0x20 || bytes[from] == 0x09) { from += 1 }
        while to > from && (bytes[to - 1] == 0x20 || bytes[to - 1] == 0x09) { to -= 1 }
        if from < to && !rule.allows(header: bytes.extracting(from..<to)) { return false }
        at += 1
      }
    }
    return true
  }

  // MARK: - Answers of services

  /// Before an answer's head goes on: lines of it that are ours to write are dropped.
  ///
  /// True when it says by itself that it depends on the origin.
  func dropEdgeFields(_ upstream: UpstreamConnection) -> Bool {
    guard let policy = edgePolicy, let work = edgeWork else { return false }
    if policy.fallback != nil { beginKeeping(upstream, work) }
    if let rule = policy.compression { beginCompression(upstream, rule, work) }
    guard let cors = policy.cors else { return false }
    let input = upstream.input
    let bytes = input.readableBytesUInt8Span
    upstream.head.drop(bytes, CORSPolicy.dropped)
    return !cors.rule.isForAll && Vary.has(bytes, upstream.head, "origin")
  }

  /// Behind an answer's own fields.
  func appendEdgeFields(_ upstream: UpstreamConnection, varies: Bool) {
    if let work = edgeWork, edgePolicy?.compression != nil { appendCompressionFields(upstream, work) }
    if let work = edgeWork, work.isFallingBack { appendFallbackReason(work.reason) }
    appendEdgeFields(varies: varies)
  }
}
