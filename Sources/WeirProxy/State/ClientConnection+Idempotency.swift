// SPDX-License-Identifier: Apache-2.0
import Crypto
import NIOCore
import Synchronization
import WeirBase
import WeirFlows
import WeirIdentity
import WeirPatterns
import WeirPlatform
import WeirWire

/// A request with a key, from its body to the answer that is kept.
///
/// Confined to its loop.
///
///     collecting ─body whole─▶ asking ─execute─▶ executing ─head─▶ keeping ─whole─▶ storing ─stored─▶ over
///                                ├ replay, refused ─▶ over   │                └ too large ─▶ marking ─▶ over, relayed
///                                └ caller gone ─▶ over       └ 5xx, no answer ─▶ over, released
/// ## Invariants
/// 1. Who was granted an execution says how it ended (completed or released), or its lease ends.
/// 2. A kept answer goes out after it is on the disk.
/// 3. An execution goes on when its caller leaves: the repeat that follows finds its answer.
final class KeyedRequest {
  enum Stage { case collecting, asking, executing, keeping, marking, storing, over }

  let settings: IdempotencyRecord.Settings
  let keying: RouteKeying
  let until: Instant
  let owner: StateRequest.Owner
  var stage = Stage.collecting
  /// Its caller has left; nobody reads the answer.
  var isAbandoned = false
  var key = StateDigest(0, 0, 0, 0)
  fileprivate var print = SHA256()
  /// Bytes of body so far, and where the next ones stand behind the head.
  fileprivate var bodyCount = 0
  fileprivate var bodyAt = 0
  fileprivate var chunks = ChunkedScanner()
  /// What is to be given again; then what is to be kept.
  fileprivate var answer: StateRequest.Answer?
  fileprivate var answerBody: [UInt8] = []
  fileprivate var answerAt = 0
  fileprivate var answerChunks = ChunkedScanner()
  /// The answer has ended with its connection, while it was marked as too large.
  fileprivate var hasEnded = false

  init(_ settings: IdempotencyRecord.Settings, _ keying: RouteKeying, until: Instant, owner: StateRequest.Owner) {
    self.settings = settings
    self.keying = keying
    self.until = until
    self.owner = owner
  }

  var isCollecting: Bool { stage == .collecting }
  /// An answer stands in its connection's buffer and does not go on.
  var isKeeping: Bool { stage == .keeping || stage == .marking }
  /// It goes on without its caller.
  var outlives: Bool { stage == .executing || stage == .keeping || stage == .marking || stage == .storing }
}

/// How a route's requests are known again.
final class RouteKeying: Sendable {
  let settings: IdempotencyRecord.Settings
  let name: [UInt8]
  let header: FieldNames
  /// The field is the one that tells callees, too.
  let isStandard: Bool

  init?(_ route: KeyedRoute?, _ settings: IdempotencyRecord.Settings?) {
    // A name that is none was refused with its line.
    guard let route, let settings, let header = try? FieldNames([route.header]) else { return nil }
    self.settings = settings
    self.header = header
    name = Array(route.name.utf8)
    isStandard = route.header.lowercased() == "idempotency-key"
  }

  /// By route; nil where keys are the callee's business alone.
  static func all(_ configuration: ProxyConfiguration) -> [RouteKeying?] {
    configuration.plan.routes.enumerated().map { index, route in
      RouteKeying(index < configuration.keyed.count ? configuration.keyed[index] : nil, route.idempotency)
    }
  }
}

/// What a route's keyed requests are known by beside their key.
package struct KeyedRoute: Sendable, Equatable {
  package var name: String
  package var header: String

  package init(name: String, header: String = "Idempotency-Key") {
    self.name = name
    self.header = header
  }
}

/// Requests with a key, by what became of them; since the beginning.
package struct KeyedCount: Sendable, Equatable {
  package var executed: UInt64 = 0
  package var replayed: UInt64 = 0
  /// Replayed after they had waited for the end of the execution.
  package var joined: UInt64 = 0
  package var mismatched: UInt64 = 0
  package var inUse: UInt64 = 0
  package var notKept: UInt64 = 0
  /// Refused because nothing could be said or stored.
  package var unavailable: UInt64 = 0

  package init() {}

  package static func += (a: inout KeyedCount, b: KeyedCount) {
    a.executed &+= b.executed
    a.replayed &+= b.replayed
    a.joined &+= b.joined
    a.mismatched &+= b.mismatched
    a.inUse &+= b.inUse
    a.notKept &+= b.notKept
    a.unavailable &+= b.unavailable
  }
}

extension ClientConnection {
  /// Fields of an answer that are made anew each time.
  private static let notKept = names(["age", "content-length", "date", "trailer"])

  private static func names(_ names: [String]) -> FieldNames {
    do { return try FieldNames(names) } catch { preconditionFailure("names of fields that are none: \(error)") }
  }

  // MARK: - The key

  /// What the flow is told of the request's key.
  func keyFact(route: Int, _ bytes: Span<UInt8>) -> RequestFacts.Key {
    guard let keying = epoch.keying[route], head.method == .post || head.method == .patch, !isGRPC, tunnel == nil
    else { return .notAsked }
    switch keyRun(keying, bytes) {
    case .none: return .missing
    case .many: return .malformed
    case .one(let run):
      guard (1...IdempotencyRecord.Settings.keyBytesMax).contains(run.count) else { return .malformed }
      for i in run.range where bytes[i] < 0x21 || bytes[i] > 0x7e { return .malformed }
      return .present
    }
  }

  private func keyRun(_ keying: RouteKeying, _ bytes: Span<UInt8>) -> Fields.Found {
    var fields = Fields(head)
    var found = Fields.Found.none
    while let field = fields.next(bytes) {
      if keying.header.index(bytes, field.name) < 0 { continue }
      if found != .none { return .many }
      found = .one(field.value)
    }
    return found
  }

  // MARK: - The body

  /// The flow wants to know whether this request was made before: that needs all of it.
  func askRecord(until: Instant, now: Instant) {
    guard let keying = epoch.keying[Int(facts.route)] else { return refuse(.internalError, now: now) }
    if case .length(let length) = head.framing, length > Int64(loop.limits.replayBytes) {
      return refuse(.bodyTooLarge, with: tooLargeForKey, now: now)
    }
    let keyed = KeyedRequest(
      keying.settings, keying, until: until,
      owner: StateRequest.Owner(high: loop.random.next(), low: loop.random.next()))
    self.keyed = keyed
    identify(keyed)
    keyed.bodyAt = head.length
    phase = .body
    if stage != .body { return askState(keyed, now: now) }
    if owesContinue && input.readableBytes == head.length {
      owesContinue = false
      loop.out.clear()
      loop.out.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
      write(loop.out)
      needsFlush = true
    }
    collectBody(keyed, now: now)
  }

  private var tooLargeForKey: ErrorAnswer {
    ErrorAnswer(
      status: Reason.bodyTooLarge.status, name: Reason.bodyTooLarge.name, error: Reason.bodyTooLarge.proxyStatus,
      detail: "With a key the body may have 64 KiB.")
  }

  /// By which a caller is told from all others, the same after every reload; nil for one that nobody knows.
  ///
  /// No name of an identity has a zero byte.
  var callerName: [UInt8]? {
    guard let principal, let access = epoch.configuration.access else { return nil }
    return Array(access.gate.identities[principal.identity].name.utf8) + [0] + Array(principal.subject.utf8)
  }

  /// Scope and key make the record's name; what must be the same each time makes the fingerprint.
  private func identify(_ keyed: KeyedRequest) {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    var name = SHA256()
    var scope = keyed.keying.name + [0]
    if let callerName { scope += callerName }
    name.update(data: scope + [0])
    if case .one(let run) = keyRun(keyed.keying, bytes) {
      bytes.extracting(run.range).withUnsafeBytes { name.update(bufferPointer: $0) }
    }
    keyed.key = StateDigest(Array(name.finalize())) ?? keyed.key
    bytes.extracting(head.methodRun.range).withUnsafeBytes { keyed.print.update(bufferPointer: $0) }
    keyed.print.update(data: [0x20])
    bytes.extracting(head.target.range).withUnsafeBytes { keyed.print.update(bufferPointer: $0) }
    keyed.print.update(data: [0])
  }

  /// Takes what has come of the body into the fingerprint; it stays where it is until the call begins.
  func collectBody(_ keyed: KeyedRequest, now: Instant) {
    let input = self.input
    let bytes = input.readableBytesUInt8Span
    var isWhole = false
    switch head.framing {
    case .none, .untilClose: isWhole = true
    case .length(let length):
      let end = min(bytes.count, head.length + Int(length))
      if end > keyed.bodyAt {
        bytes.extracting(keyed.bodyAt..<end).withUnsafeBytes { keyed.print.update(bufferPointer: $0) }
        keyed.bodyAt = end
      }
      isWhole = end == head.length + Int(length)
    case .chunked:
      reading: while true {
        switch keyed.chunks.next(bytes, from: &keyed.bodyAt) {
        case .data(let run):
          keyed.bodyCount += run.count
          bytes.extracting(run).withUnsafeBytes { keyed.print.update(bufferPointer: $0) }
        case .needMore: break reading
        case .end:
          isWhole = true
          break reading
        case .refused(let error):
          closeAfter = true
          return refuse(error.reason, with: OwnAnswers.detailed(error.reason, error), now: now)
        }
        if keyed.chunks.announced > Int64(loop.limits.replayBytes) { break }
      }
      if keyed.chunks.announced > Int64(loop.limits.replayBytes) {
        closeAfter = true
        return refuse(.bodyTooLarge, with: tooLargeForKey, now: now)
      }
    }
    if !isWhole {
      loop.silentAt[Int(place)] = now.nanoseconds + loop.times.bodyIdle
      return
    }
    askState(keyed, now: now)
  }

  /// The body did not come in time.
  func keyedBodyIsSlow(now: Instant) {
    closeAfter = true
    refuse(.senderTooSlow, now: now)
  }

  // MARK: - The record

  private func askState(_ keyed: KeyedRequest, now: Instant) {
    loop.silentAt[Int(place)] = .max
    keyed.stage = .asking
    phase = .wait
    let left = max(0, keyed.until.since(now))
    // A deadline of never is a year.
    let milliseconds = min(left / 1_000_000, 31_536_000_000)
    guard let state = loop.state, let print = StateDigest(Array(keyed.print.finalize())) else {
      return recordAnswered(nil, keyed, requestSlot)
    }
    let claim = StateRequest.Claim(
      key: keyed.key, fingerprint: print, owner: keyed.owner,
      lease: milliseconds + keyed.settings.margin.inNanoseconds / 1_000_000,
      keep: keyed.settings.keep.inNanoseconds / 1_000_000, wait: milliseconds)
    let slot = requestSlot
    state.ask(.claim(claim), within: min(left, 31_536_000_000_000_000), now: now) { [self] in
      recordAnswered($0, keyed, slot)
    }
  }

  private func recordAnswered(_ reply: StateReply?, _ keyed: KeyedRequest, _ slot: Slot) {
    // The caller has gone meanwhile, or was given up: nothing was done.
    guard self.keyed === keyed, keyed.stage == .asking, isInWork, slot != .none, requestSlot == slot else {
      if reply == .execute { release(keyed) }
      return
    }
    let now = loop.now()
    let route = Int(facts.route)
    phase = .head
    let answer: RecordAnswer
    switch reply {
    case .execute:
      answer = .execute
      epoch.keyed[route].executed &+= 1
      logged?.idempotency = "executed"
    case .replay(let kept, let waited):
      keyed.answer = kept
      answer = .replay
      if waited { epoch.keyed[route].joined &+= 1 }
      epoch.keyed[route].replayed &+= 1
      logged?.idempotency = "replayed"
    case .notKept:
      answer = .notKept
      epoch.keyed[route].notKept &+= 1
    case .busy(let milliseconds):
      answer = .busy(until: now.advanced(by: min(milliseconds, 86_400_000) * 1_000_000))
      epoch.keyed[route].inUse &+= 1
    case .mismatch:
      answer = .mismatch
      epoch.keyed[route].mismatched &+= 1
    case .failed(.full):
      answer = .full
      epoch.keyed[route].unavailable &+= 1
    default:
      answer = .unavailable
      epoch.keyed[route].unavailable &+= 1
    }
    keyed.stage = answer == .execute ? .executing : .over
    if answer == .execute {
      // All of it is here: it can be sent again, and with the key it may.
      facts.deadline = min(facts.deadline, keyed.until)
      if head.framing != .none {
        facts.body = .replayable
        keepsBody = true
      }
      if !keyed.keying.isStandard { facts.method = .keyed }
    }
    carry(epoch.flows.answered(slot, record: answer, now: now), now: now)
    if needsFlush { flush() }
    advance()
  }

  /// The flow wants the kept answer given again.
  func replay(now: Instant) {
    guard let keyed, let answer = keyed.answer else { return refuse(.internalError, now: now) }
    write(kept: answer, isReplayed: true, now: now)
  }

  private func release(_ keyed: KeyedRequest) {
    let lease = keyed.settings.margin.inNanoseconds
    loop.state?.ask(
      .release(key: keyed.key, owner: keyed.owner), within: lease, insists: true, now: loop.now()
    ) { _ in }
  }

  // MARK: - The answer

  /// Whether the answer whose head has come is kept before it goes on.
  func keeps(_ upstream: UpstreamConnection, now: Instant) -> Bool {
    guard let keyed, keyed.stage == .executing else { return false }
    // What stands in for an answer is no outcome: a repeat is tried again.
    let standsIn = edgePolicy != nil && edgeWork?.isFallingBack == true
    if standsIn || !IdempotencyRecord.keeps(status: upstream.head.status) {
      if keyed.isAbandoned {
        leaveCall(now: now)
        return true
      }
      return false
    }
    watch?.isVoid = true
    keyed.stage = .keeping
    keyed.answerAt = upstream.head.length
    keepMore(upstream, keyed, now: now)
    return true
  }

  /// More of the answer has come; it stays in the connection's buffer until it is whole, or too large.
  func keepMore(_ upstream: UpstreamConnection, _ keyed: KeyedRequest, now: Instant) {
    guard keyed.stage == .keeping else { return }
    let most = keyed.settings.answer
    var isWhole = false
    var isTooLarge = false
    var failed = false
    do {
      let input = upstream.input
      let bytes = input.readableBytesUInt8Span
      switch upstream.head.framing {
      case .none: isWhole = true
      case .length(let length):
        isTooLarge = length > Int64(most)
        isWhole = !isTooLarge && bytes.count - upstream.head.length >= Int(length)
        if isWhole { take(keyed, bytes, upstream.head.length..<upstream.head.length + Int(length)) }
      case .untilClose:
        take(keyed, bytes, keyed.answerAt..<bytes.count)
        keyed.answerAt = bytes.count
      case .chunked:
        reading: while keyed.answerBody.count <= most {
          switch keyed.answerChunks.next(bytes, from: &keyed.answerAt) {
          case .data(let run): take(keyed, bytes, run)
          case .needMore: break reading
          case .end:
            isWhole = true
            break reading
          case .refused:
            failed = true
            break reading
          }
        }
      }
    }
    if failed { return attemptFailed(upstream, .protocolError) }
    if isTooLarge || keyed.answerBody.count > most { return mark(upstream, keyed, now: now) }
    if isWhole { return store(upstream, keyed, now: now) }
    loop.silentAt[Int(place)] = now.nanoseconds + loop.times.answerIdle
  }

  private func take(_ keyed: KeyedRequest, _ bytes: Span<UInt8>, _ run: Range<Int>) {
    if run.isEmpty { return }
    if case .length = head.framing, keyed.answerBody.isEmpty { keyed.answerBody.reserveCapacity(run.count) }
    bytes.extracting(run).withUnsafeBytes { keyed.answerBody.append(contentsOf: $0) }
  }

  /// The answer has ended with its connection.
  func keptAnswerEnded(_ upstream: UpstreamConnection, _ keyed: KeyedRequest) {
    if keyed.stage == .keeping { store(upstream, keyed, now: loop.now()) } else { keyed.hasEnded = true }
  }

  /// The answer is whole: its call is over, and it goes to the disk.
  private func store(_ upstream: UpstreamConnection, _ keyed: KeyedRequest, now: Instant) {
    if let rule = epoch.requestID { upstream.head.drop(&upstream.input, rule.names) }
    if let rules, !rules.droppedInAnswers.isEmpty { upstream.head.drop(&upstream.input, rules.droppedInAnswers) }
    upstream.head.drop(&upstream.input, ClientConnection.notKept)
    if edgePolicy?.cors != nil { upstream.head.drop(&upstream.input, CORSPolicy.dropped) }
    loop.scratch.clear()
    loop.scratch.appendResponse(&upstream.input, upstream.head)
    let lines = loop.scratch.storage.prefix(loop.scratch.count)
    // Behind the status line, which is written anew.
    let fields = lines.firstIndex(of: 0x0a).map { Array(lines[($0 + 1)...]) } ?? []
    let answer = StateRequest.Answer(status: upstream.head.status, fields: fields, body: keyed.answerBody)
    keyed.answerBody = []
    switch upstream.head.framing {
    case .none: upstream.input.moveReaderIndex(forwardBy: upstream.head.length)
    case .length(let length): upstream.input.moveReaderIndex(forwardBy: upstream.head.length + Int(length))
    case .chunked: upstream.input.moveReaderIndex(forwardBy: keyed.answerAt)
    case .untilClose: upstream.input.moveReaderIndex(forwardBy: upstream.input.readableBytes)
    }
    upstream.answerIsWhole()
    keyed.stage = .storing
    keyed.answer = answer
    loop.silentAt[Int(place)] = .max
    // What follows may begin another request, by another plan and along another edge.
    let (epoch, edge) = (self.epoch, self.edge)
    let slot = requestSlot
    complete(keyed, answer, now: now) { [self] in stored($0, answer, keyed, slot) }
    carry(epoch.flows.ended(call, now: now), now: now)
    epoch.syncIfUrgent(edge, now: now)
  }

  private func complete(
    _ keyed: KeyedRequest, _ answer: StateRequest.Answer?, now: Instant, _ body: @escaping (StateReply?) -> Void
  ) {
    guard let state = loop.state else { return body(nil) }
    // It insists: what was done is to be remembered, as long as its lease may hold.
    state.ask(
      .complete(key: keyed.key, owner: keyed.owner, answer: answer), within: keyed.settings.margin.inNanoseconds,
      insists: true, now: now, body)
  }

  /// The flow has closed its books on a call whose answer is on its way to the disk.
  var isStoring: Bool { keyed?.stage == .storing }

  private func stored(
    _ reply: StateReply?, _ answer: StateRequest.Answer, _ keyed: KeyedRequest, _ slot: Slot
  ) {
    guard self.keyed === keyed, isInWork, requestSlot == slot else { return }
    let now = loop.now()
    keyed.stage = .over
    phase = .receive
    status = answer.status
    if keyed.isAbandoned {
      endRequest(.callerGone, status: Reason.callerGone.status, now: now)
    } else {
      switch reply {
      case .stored: write(kept: answer, isReplayed: false, now: now)
      case .lost: refuse(.keyInUse, now: now)
      case .failed(.full): refuse(.stateFull, now: now)
      default: refuse(.stateUnavailable, until: now.advanced(by: GatewayRequest.stateAwayFor), now: now)
      }
    }
    if needsFlush { flush() }
    advance()
  }

  /// The answer is too large to be kept: that it was done is, and the answer goes on as any other.
  private func mark(_ upstream: UpstreamConnection, _ keyed: KeyedRequest, now: Instant) {
    keyed.stage = .marking
    keyed.answerBody = []
    upstream.setReading(false)
    loop.silentAt[Int(place)] = .max
    let slot = requestSlot
    complete(keyed, nil, now: now) { [self] _ in
      guard self.keyed === keyed, isInWork, requestSlot == slot, call != .none, self.upstream === upstream else {
        return
      }
      let now = loop.now()
      keyed.stage = .over
      if keyed.isAbandoned { return leaveCall(now: now) }
      upstream.setReading(true)
      relayHead(upstream, now: now)
      if keyed.hasEnded && self.upstream === upstream { upstreamEnded(upstream) }
    }
  }

  /// Writes a kept answer, for the first time or again: the same bytes but for what belongs to this moment.
  private func write(kept answer: StateRequest.Answer, isReplayed: Bool, now: Instant) {
    if call == .none && edge < 0 {
      if rules != nil { prepareAnswerLines() }
      input.moveReaderIndex(forwardBy: head.length)
    }
    decideWhetherToClose()
    let page = rules?.page(answer.status)
    loop.scratch.clear()
    loop.scratch.append("HTTP/1.1 ")
    loop.scratch.append(decimal: Int64(answer.status))
    loop.scratch.append(" ")
    loop.scratch.append(StatusPhrase.of(answer.status))
    loop.scratch.append("\r\n")
    let body = page?.body ?? answer.body
    if let page {
      loop.scratch.append(page)
    } else {
      loop.scratch.append(answer.fields)
      if answer.status != 204 && answer.status != 304 {
        loop.scratch.append("Content-Length: ")
        loop.scratch.append(decimal: Int64(body.count))
        loop.scratch.append("\r\n")
      }
    }
    if isReplayed { loop.scratch.append("Idempotency-Replayed: true\r\n") }
    // Which page of another origin may read it is this request's own.
    if edgePolicy != nil { appendEdgeFields() }
    if rules != nil { loop.scratch.append(answerLines) }
    if let rule = epoch.requestID { appendRequestID(rule) }
    loop.scratch.append(loop.dateLine)
    writeConnection(head.flags.contains(.http10))
    loop.scratch.append("\r\n")
    loop.scratch.append(body)
    writeScratch()
    bodyOut = Int64(body.count)
    status = answer.status
    self.answer = .done
    endRequest(.none, status: answer.status, now: now)
    answerDone(now: now)
  }

  // MARK: - The end

  /// The caller has gone: its execution goes on, for the repeat that will come.
  func abandon() {
    guard let keyed else { return }
    keyed.isAbandoned = true
    closeAfter = true
    if !isCalls && !isStream { loop.node.addresses.withLock { $0.closed(peer.key) } }
    outlet.detach()
  }

  /// The request is over: what was granted and not completed is given back.
  func keyedIsOver(_ keyed: KeyedRequest) {
    self.keyed = nil
    if keyed.stage == .executing || keyed.stage == .keeping { release(keyed) }
    keyed.stage = .over
    guard keyed.isAbandoned else { return }
    stage = .closed
    input = loop.empty
    loop.remove(self)
  }
}
