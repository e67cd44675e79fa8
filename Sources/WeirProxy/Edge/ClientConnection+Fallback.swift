// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// What a route answers when its call fails.
package enum FallbackWay: Sendable {
  case omit
  case answer(ProxyConfiguration.FallbackAnswer)
  /// The last good answer to the same request; `route` is the name by which a reload knows it again.
  case stale(route: String)
  /// The same request along another edge.
  case edge(Int)
}

extension ClientConnection {
  /// Whether the route's fallback can be given to this request: asked before its call begins, for the flow decides by it.
  func hasFallback(_ way: FallbackWay, _ body: RetryRule.Body) -> Bool {
    // Messages of gRPC cannot be made up, nor kept without their trailers; a tunnel has no answer.
    if tunnel != nil { return false }
    switch way {
    case .omit, .answer: return !isGRPC
    // What has been sent on its way cannot be sent again.
    case .edge: return body != .streaming
    case .stale(let route):
      guard !isGRPC, let work = edgeWork else { return false }
      readLastKey(work, route)
      guard !work.lastKey.isEmpty else { return false }
      return loop.node.lastAnswers.withLock { $0.has(work.lastKey) }
    }
  }

  /// What is asked, as far as an answer may depend on it; empty when it is nobody else's business.
  private func readLastKey(_ work: EdgeWork, _ route: String) {
    guard head.method == .get else { return }
    // A route that knows its callers may tell each something else.
    let plan = epoch.configuration.plan
    if let access = plan.routes[Int(facts.route)].access, plan.accesses[access].identities != 0 { return }
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    var fields = Fields(head)
    while let field = fields.next(bytes) {
      if FallbackNames.personal.index(bytes, field.name) >= 0 { return }
    }
    work.lastKey.append(contentsOf: route.utf8)
    work.lastKey.append(0)
    for i in head.host.range { work.lastKey.append(bytes[i]) }
    work.lastKey.append(0)
    for i in head.target.range { work.lastKey.append(bytes[i]) }
  }

  /// The call has failed, and the route has an answer all the same; false when it has none for this request.
  func fallBackByRoute(_ reason: Reason, now: Instant) -> Bool {
    guard facts.hasFallback, let way = edgePolicy?.fallback, let work = edgeWork, !work.isFallingBack else {
      return false
    }
    switch way {
    case .omit:
      fallBack(reason, with: nil, now: now)
    case .answer(let answer):
      fallBack(reason, with: answer, now: now)
    case .stale:
      guard let last = loop.node.lastAnswers.withLock({ $0.find(work.lastKey) }) else {
        // It was pushed out meanwhile.
        refuse(reason, now: now)
        return true
      }
      giveLast(last, reason, now: now)
    case .edge(let other): askOther(other, reason, work, now: now)
    }
    return true
  }

  /// The same request goes to another service, in what is left of its time.
  private func askOther(_ other: Int, _ reason: Reason, _ work: EdgeWork, now: Instant) {
    work.isFallingBack = true
    work.reason = reason
    edge = other
    attempts = 0
    instance = CallStep.nobody
    phase = .queue
    // What the head said of instances is said of the first service.
    isSticky = false
    facts.hasFallback = false
    if let timeout = epoch.configuration.plan.routes[Int(facts.route)].timeout {
      facts.deadline = min(facts.deadline, startedAt.advanced(by: timeout.inNanoseconds))
    }
    let (slot, step) = epoch.flows.begin(call: other, facts: facts, now: now)
    call = slot
    carry(step, now: now)
    armCall()
    epoch.syncIfUrgent(other, now: now)
  }

  private func giveLast(_ last: LastAnswers.Answer, _ reason: Reason, now: Instant) {
    decideWhetherToClose()
    loop.scratch.clear()
    loop.scratch.append("HTTP/1.1 200 OK\r\n")
    loop.scratch.append(last.head)
    loop.scratch.append("Age: ")
    loop.scratch.append(decimal: max(0, now.since(last.at)) / 1_000_000_000)
    loop.scratch.append("\r\nCache-Control: no-store\r\nContent-Length: ")
    loop.scratch.append(decimal: Int64(last.body.count))
    loop.scratch.append("\r\n")
    appendFallbackReason(reason)
    appendRouteFields()
    if let rule = epoch.requestID { appendRequestID(rule) }
    loop.scratch.append(loop.dateLine)
    writeConnection(head.flags.contains(.http10))
    loop.scratch.append("\r\n")
    loop.scratch.append(last.body)
    writeScratch()
    bodyOut = Int64(last.body.count)
    endFallback(reason, status: 200, now: now)
  }

  /// Why the answer is not the callee's own: the same words as in a refusal.
  func appendFallbackReason(_ reason: Reason) {
    loop.scratch.append("Proxy-Status: weir; error=")
    loop.scratch.append(reason.proxyStatus)
    loop.scratch.append("; details=\"")
    loop.scratch.append(reason.name)
    loop.scratch.append("\"\r\n")
  }

  // MARK: - Keeping good answers

  /// An answer's head is at hand: whether it is one to keep.
  func beginKeeping(_ upstream: UpstreamConnection, _ work: EdgeWork) {
    work.keeps = false
    guard !work.lastKey.isEmpty, !work.isFallingBack, upstream.head.status == 200,
      case .length(let length) = upstream.head.framing, length <= Int64(LastAnswers.answerMax)
    else { return }
    let input = upstream.input
    let bytes = input.readableBytesUInt8Span
    var fields = Fields(upstream.head)
    work.kept.clear()
    while let field = fields.next(bytes) {
      // Cookies are one caller's; what varies by more than its coding may be another's.
      if FallbackNames.refused.index(bytes, field.name) >= 0 { return }
      if FallbackNames.control.index(bytes, field.name) >= 0, !FallbackNames.mayShare(bytes, field.value) { return }
      if FallbackNames.vary.index(bytes, field.name) >= 0, !FallbackNames.isOfAll(bytes, field.value) { return }
      if FallbackNames.kept.index(bytes, field.name) >= 0 {
        work.kept.append(bytes, field.name.range)
        work.kept.append(": ")
        work.kept.append(bytes, field.value.range)
        work.kept.append("\r\n")
      }
    }
    work.keptBody.clear()
    work.keeps = true
  }

  /// More of the body of an answer that is being kept.
  func keep(_ upstream: UpstreamConnection, _ count: Int) {
    guard let work = edgeWork, work.keeps, count > 0 else { return }
    work.keptBody.writePrefix(of: &upstream.input, count)
  }

  /// The answer was whole.
  func keepWhole(_ work: EdgeWork, now: Instant) {
    work.keeps = false
    let answer = LastAnswers.Answer(
      at: now, head: Array(work.kept.storage.prefix(work.kept.count)), body: Array(work.keptBody.readableBytesView))
    loop.node.lastAnswers.withLock { $0.keep(answer, for: work.lastKey) }
  }
}

/// Names and words that decide what is kept.
enum FallbackNames {
  /// A request that has one of them is answered to its caller alone, or in part.
  static let personal = FieldNames.ours(["authorization", "cookie", "range", "proxy-authorization"])
  static let refused = FieldNames.ours(["set-cookie", "content-encoding", "content-range"])
  static let control = FieldNames.ours(["cache-control"])
  static let vary = FieldNames.ours(["vary"])
  /// What of the head is kept.
  static let kept = FieldNames.ours([
    "content-type", "content-language", "content-disposition", "etag", "last-modified", "link",
  ])

  /// Neither `no-store` nor `private` (RFC 9111 §5.2.2).
  static func mayShare(_ bytes: Span<UInt8>, _ value: Run) -> Bool {
    !words(bytes, value).contains { $0 == "no-store" || $0 == "private" }
  }

  /// It varies by coding and origin at most: of a coded answer nothing is kept, and origins are the route's business.
  static func isOfAll(_ bytes: Span<UInt8>, _ value: Run) -> Bool {
    words(bytes, value).allSatisfy { $0 == "accept-encoding" || $0 == "origin" }
  }

  /// In lower case, without what stands behind a `=`.
  private static func words(_ bytes: Span<UInt8>, _ value: Run) -> [String] {
    var words: [String] = []
    var word: [UInt8] = []
    var isArgument = false
    for i in value.range {
      let byte = bytes[i]
      switch byte {
      case UInt8(ascii: ","):
        if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
        word.removeAll()
        isArgument = false
      case UInt8(ascii: "="): isArgument = true
      case 0x20, 0x09: continue
      default: if !isArgument { word.append(byte &- 0x41 < 26 ? byte | 0x20 : byte) }
      }
    }
    if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
    return words
  }
}
