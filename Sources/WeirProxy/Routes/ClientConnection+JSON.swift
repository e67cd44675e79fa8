// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
package import WeirPatterns
package import WeirWire

/// What a route changes of JSON bodies; plain values, made by the runtime from a plan.
package struct JSONPolicy: Sendable {
  package var request: Direction?
  package var response: Direction?
  /// Bytes of a body, before and after.
  package var most: Int

  package enum Value: Sendable {
    case json([UInt8])
    case text(Template)
  }

  package struct Direction: Sendable {
    package var edits: JSONEdits
    /// As the edits want them.
    package var values: [Value]

    package init(edits: JSONEdits, values: [Value]) {
      self.edits = edits
      self.values = values
    }
  }

  package init(request: Direction?, response: Direction?, most: Int) {
    self.request = request
    self.response = response
    self.most = most
  }

  /// Written anew, or of bytes that are others.
  static let droppedOfRequest = FieldNames.ours([
    "content-length", "transfer-encoding", "trailer", "content-md5", "digest", "content-digest", "repr-digest",
  ])
  static let droppedOfAnswer = FieldNames.ours([
    "content-length", "trailer", "accept-ranges", "content-md5", "digest", "content-digest", "repr-digest", "etag",
  ])
}

/// A request whose body is changed, or that of its answer.
///
/// Confined to its loop; of one request. A body stays in its connection's input until it is whole and is then put in its own place.
///
///     collecting ─whole─▶ sent ─head of the answer─▶ answering ─whole─▶ answered
final class JSONExchange {
  enum Stage { case collecting, sent, answering, answered }

  fileprivate(set) var stage: Stage
  fileprivate let policy: JSONPolicy
  fileprivate let edge: Int
  /// Where the next bytes of the body stand.
  fileprivate var at: Int
  fileprivate var chunks = ChunkedScanner()
  fileprivate var body: [UInt8] = []
  /// Of the changed request; -1 while it is as it came.
  fileprivate var length = -1
  fileprivate var answerValues: [[UInt8]] = []

  fileprivate init(_ policy: JSONPolicy, _ stage: Stage, edge: Int, at: Int) {
    self.policy = policy
    self.stage = stage
    self.edge = edge
    self.at = at
  }

  var isCollecting: Bool { stage == .collecting }
}

extension ClientConnection {
  // MARK: - The request

  /// Whether the call begins only when the body is whole and changed; a request without a body goes on as it is.
  func editsBody(_ rules: RouteRules, _ edge: Int, now: Instant) -> Bool {
    guard let policy = rules.policy.json, head.framing != .none, !isGRPC, tunnel == nil, stage == .body else {
      return false
    }
    do {
      let input = self.input
      let bytes = input.readableBytesUInt8Span
      let fields = Fields(head)
      guard case .one(let type) = fields.find(bytes, "content-type"), bytes.extracting(type.range).isJSONType,
        fields.find(bytes, "content-encoding") == .none, fields.find(bytes, "content-range") == .none
      else {
        refuse(
          .bodyMisfit,
          with: own(.bodyMisfit, "The body must be JSON here (application/json), whole and not compressed."), now: now)
        return true
      }
    }
    if case .length(let length) = head.framing, length > Int64(policy.most) {
      refuse(.bodyTooLarge, with: tooLarge, now: now)
      return true
    }
    if owesContinue && input.readableBytes == head.length {
      owesContinue = false
      loop.out.clear()
      loop.out.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
      write(loop.out)
      needsFlush = true
    }
    let json = JSONExchange(policy, .collecting, edge: edge, at: head.length)
    self.json = json
    collectBody(json, now: now)
    return true
  }

  private func own(_ reason: Reason, _ detail: StaticString) -> ErrorAnswer {
    ErrorAnswer(status: reason.status, name: reason.name, error: reason.proxyStatus, detail: detail)
  }

  private var tooLarge: ErrorAnswer { own(.bodyTooLarge, "The body is larger than may be changed here (json.max).") }

  /// More of the body has come.
  func collectBody(_ json: JSONExchange, now: Instant) {
    var end: Int?
    var error: HeadError?
    do {
      let input = self.input
      let bytes = input.readableBytesUInt8Span
      switch head.framing {
      case .none, .untilClose: end = head.length
      case .length(let length):
        let last = head.length + Int(length)
        if bytes.count >= last {
          end = last
          append(bytes, head.length..<last, to: json)
        }
      case .chunked:
        reading: while json.chunks.announced <= Int64(json.policy.most) {
          switch json.chunks.next(bytes, from: &json.at) {
          case .data(let run): append(bytes, run, to: json)
          case .needMore: break reading
          case .end:
            end = json.at
            break reading
          case .refused(let refused):
            error = refused
            break reading
          }
        }
      }
    }
    if error == nil && json.chunks.announced <= Int64(json.policy.most) {
      guard let end else {
        phase = .body
        loop.silentAt[Int(place)] = now.nanoseconds + loop.times.bodyIdle
        return
      }
      return bodyIsWhole(json, end, now: now)
    }
    self.json = nil
    closeAfter = true
    if let error {
      refuse(error.reason, with: OwnAnswers.detailed(error.reason, error), now: now)
    } else {
      refuse(.bodyTooLarge, with: tooLarge, now: now)
    }
  }

  private func append(_ bytes: Span<UInt8>, _ run: Range<Int>, to json: JSONExchange) {
    bytes.extracting(run).withUnsafeBytes { json.body.append(contentsOf: $0) }
  }

  /// The body did not come in time.
  func editedBodyIsSlow(now: Instant) {
    json = nil
    closeAfter = true
    refuse(.senderTooSlow, now: now)
  }

  /// Changes the body, and begins the call.
  private func bodyIsWhole(_ json: JSONExchange, _ end: Int, now: Instant) {
    json.stage = .sent
    phase = .head
    loop.silentAt[Int(place)] = .max
    var changed: [UInt8] = []
    var outcome = JSONEdits.Outcome.done
    if let direction = json.policy.request, let rules {
      // `$service` is the one that the request goes to.
      edge = json.edge
      let values = fill(direction, rules)
      edge = -1
      outcome = direction.edits.apply(json.body, values: values, most: json.policy.most, into: &changed)
    }
    json.body = []
    switch outcome {
    case .done: break
    case .broken:
      return refuse(.bodyMisfit, with: own(.bodyMisfit, "The body is no JSON."), now: now)
    case .misfit:
      return refuse(
        .bodyMisfit, with: own(.bodyMisfit, "The body must be a JSON object here, or the list that is meant."), now: now
      )
    case .tooLarge: return refuse(.bodyTooLarge, with: tooLarge, now: now)
    }
    var whole = ByteBufferAllocator().buffer(capacity: input.readableBytes - (end - head.length) + changed.count)
    if let start = input.getSlice(at: input.readerIndex, length: head.length) { whole.writeImmutableBuffer(start) }
    whole.writeBytes(changed)
    if let rest = input.getSlice(at: input.readerIndex + end, length: input.readableBytes - end) {
      whole.writeImmutableBuffer(rest)
    }
    let made = whole
    head.drop(made.readableBytesUInt8Span, JSONPolicy.droppedOfRequest)
    input = made
    head.framing = .length(Int64(changed.count))
    bodyLeft = Int64(changed.count)
    json.length = changed.count
    beginCall(json.edge, facts, target: head.target, now: now)
  }

  private func fill(_ direction: JSONPolicy.Direction, _ rules: RouteRules, isWritten: Bool = false) -> [[UInt8]] {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    let values = self.values(rules, bytes, isWritten: isWritten)
    let own = loop.own.storage
    return direction.values.map { value in
      switch value {
      case .json(let json): return json
      case .text(let template):
        loop.filled.removeAll(keepingCapacity: true)
        template.fill(values, head: bytes, own: own.span, into: &loop.filled)
        return JSONEdits.string(loop.filled)
      }
    }
  }

  /// The lines of a request that tell of its body, and what its answer will need of it; the head is at hand.
  func appendJSONFields(_ rules: RouteRules) {
    if let json, json.length >= 0 {
      loop.scratch.append("Content-Length: ")
      loop.scratch.append(decimal: Int64(json.length))
      loop.scratch.append("\r\n")
    }
    guard let policy = rules.policy.json, let direction = policy.response, tunnel == nil, !isGRPC else { return }
    // What is compressed, or a part, cannot be changed: neither is asked for.
    loop.scratch.append("Accept-Encoding: identity\r\n")
    let exchange = json ?? JSONExchange(policy, .sent, edge: edge, at: 0)
    exchange.answerValues = fill(direction, rules, isWritten: true)
    json = exchange
  }

  // MARK: - The answer

  /// Whether an answer, whose head has come, goes on only when its body is whole and changed.
  func editsAnswer(_ upstream: UpstreamConnection, _ json: JSONExchange, now: Instant) -> Bool {
    guard json.stage == .sent, json.policy.response != nil, upstream.head.status >= 200, upstream.head.status < 300
    else {
      return false
    }
    var isPart = upstream.head.status == 206
    do {
      let input = upstream.input
      let bytes = input.readableBytesUInt8Span
      let fields = Fields(upstream.head)
      guard case .one(let type) = fields.find(bytes, "content-type"), bytes.extracting(type.range).isJSONType else {
        return false
      }
      switch fields.find(bytes, "content-encoding") {
      case .none: break
      case .one(let coding): if !bytes.extracting(coding.range).isIdentity { isPart = true }
      case .many: isPart = true
      }
      if upstream.head.framing == .none {
        // Only the head of it is asked for: its length would be another.
        if head.method == .head { upstream.head.drop(bytes, JSONPolicy.droppedOfAnswer) }
        return false
      }
    }
    json.stage = .answering
    relay = .json
    watch?.isVoid = true
    json.at = upstream.head.length
    json.chunks.clear()
    if isPart {
      refuseAnswer("The service's answer is compressed or a part, and cannot be changed.", now: now)
      return true
    }
    loop.silentAt[Int(place)] = now.nanoseconds + answerIdle
    collectAnswer(upstream, now: now)
    return true
  }

  /// More of the answer has come; it stays in its connection's buffer until it is whole.
  func collectAnswer(_ upstream: UpstreamConnection, hasEnded: Bool = false, now: Instant) {
    guard let json else { return }
    var end: Int?
    var isTooLarge = false
    var failed = false
    do {
      let input = upstream.input
      let bytes = input.readableBytesUInt8Span
      switch upstream.head.framing {
      case .none: end = json.at
      case .length(let length):
        isTooLarge = length > Int64(json.policy.most)
        let last = upstream.head.length + Int(min(length, 1 << 40))
        if !isTooLarge && bytes.count >= last {
          end = last
          append(bytes, upstream.head.length..<last, to: json)
        }
      case .untilClose:
        append(bytes, json.at..<bytes.count, to: json)
        json.at = bytes.count
        if hasEnded { end = json.at }
      case .chunked:
        reading: while json.body.count <= json.policy.most {
          switch json.chunks.next(bytes, from: &json.at) {
          case .data(let run): append(bytes, run, to: json)
          case .needMore: break reading
          case .end:
            end = json.at
            break reading
          case .refused:
            failed = true
            break reading
          }
        }
      }
    }
    if failed { return attemptFailed(upstream, .protocolError) }
    if isTooLarge || json.body.count > json.policy.most {
      return refuseAnswer("The service's answer is larger than may be changed here (json.max).", now: now)
    }
    if let end { return answerIsWhole(upstream, json, end, now: now) }
    loop.silentAt[Int(place)] = now.nanoseconds + answerIdle
  }

  /// Puts the changed body in the place of the answer's, and relays it as any other.
  private func answerIsWhole(_ upstream: UpstreamConnection, _ json: JSONExchange, _ end: Int, now: Instant) {
    guard let direction = json.policy.response else { return }
    json.stage = .answered
    var changed: [UInt8] = []
    let outcome = direction.edits.apply(
      json.body, values: json.answerValues, most: json.policy.most, into: &changed)
    json.body = []
    switch outcome {
    case .done: break
    case .broken: return refuseAnswer("The service's answer is no JSON.", now: now)
    case .misfit:
      return refuseAnswer("The service's answer is no JSON object, or not the list that is meant.", now: now)
    case .tooLarge:
      return refuseAnswer("The service's answer would be larger than it may be here (json.max).", now: now)
    }
    var whole = ByteBufferAllocator().buffer(capacity: upstream.head.length + changed.count + 64)
    do {
      let input = upstream.input
      let bytes = input.readableBytesUInt8Span
      let tag = Fields(upstream.head).find(bytes, "etag").run
      upstream.head.drop(bytes, JSONPolicy.droppedOfAnswer)
      loop.scratch.clear()
      loop.scratch.appendResponse(&upstream.input, upstream.head)
      // The same text in another form: good to ask whether it has changed, not to name its bytes (RFC 9110 §8.8.1).
      if let tag { loop.scratch.appendWeakTag(bytes, tag) }
      loop.scratch.append("Content-Length: ")
      loop.scratch.append(decimal: Int64(changed.count))
      loop.scratch.append("\r\n\r\n")
      loop.scratch.write(to: &whole)
      whole.writeBytes(changed)
      if let rest = input.getSlice(at: input.readerIndex + end, length: input.readableBytes - end) {
        whole.writeImmutableBuffer(rest)
      }
    }
    guard upstream.replaceAnswer(by: whole) else {
      return refuseAnswer("The service's answer could not be changed.", now: now)
    }
    relay = .asIs
    relayHead(upstream, now: now)
  }

  /// The answer cannot be changed, and must not go on as it is; that is no failure of the instance.
  private func refuseAnswer(_ detail: StaticString, now: Instant) {
    let answer = own(.badAnswer, detail)
    override = .badAnswer
    leaveCall(now: now)
    override = nil
    relay = .asIs
    if stage == .closed { return }
    decideWhetherToClose()
    write(answer, retryAfter: 0, now: now)
    self.answer = .done
    answerDone(now: now)
    if !isAdvancing {
      flush()
      advance()
    }
  }
}

extension UpstreamConnection {
  /// Puts an answer in the place of the one that has come; what the connection's own answer said of the connection holds.
  func replaceAnswer(by whole: ByteBuffer) -> Bool {
    let flags = head.flags
    input = whole
    var scanner = ResponseScanner()
    var fresh = ResponseHead()
    guard case .complete = scanner.scan(&input, toHead: false, limits: loop.headLimits, into: &fresh) else {
      return false
    }
    head = fresh
    head.flags = flags.union(.contentLength)
    beginBody()
    return true
  }
}

extension Span<UInt8> {
  /// `application/json`, or any type whose subtype ends in `+json`; with parameters or without.
  fileprivate var isJSONType: Bool {
    var end = 0
    while end < count && self[end] != 0x3b && self[end] != 0x20 && self[end] != 0x09 { end += 1 }
    return ends("/json", end) || ends("+json", end)
  }

  fileprivate var isIdentity: Bool { count == 8 && ends("identity", 8) }

  private func ends(_ text: StaticString, _ end: Int) -> Bool {
    let length = text.utf8CodeUnitCount
    guard end >= length else { return false }
    return text.withUTF8Buffer { letters in
      for i in 0..<length where self[end - length + i] | 0x20 != letters[i] | 0x20 { return false }
      return true
    }
  }
}
