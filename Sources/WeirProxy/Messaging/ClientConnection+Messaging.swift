// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import WeirBase
import WeirFlows
import WeirIdentity
import WeirMessaging
import WeirPlatform
import WeirWire

/// A request of a program to Weir itself: something is put into a queue, or taken out of one; an event is published.
///
/// Confined to its loop. What it means, and what each reply leads to, is said by ``MessagingAPI``.
///
///     collecting ─body whole─▶ parsed ─▶ asked of the state process ─▶ answered
///                                             ▲────────┘ again
final class MessagingExchange {
  fileprivate var request: MessagingRequest
  fileprivate var chunks = ChunkedScanner()
  /// It came through this route of the gateway, and not from a program.
  fileprivate let route: QueueRoute?
  fileprivate let caller: QueueRoute.Caller
  /// The program that sends it, where that matters to a scenario that is played; nil: from outside.
  fileprivate var sender: String?
  fileprivate var isOnItsWay = true

  /// The largest body: what comes from outside is one message, what comes from a program may be many; none is larger than any body may be.
  fileprivate let bodyMax: Int64
  /// A large answer on its way, and how much of it is written.
  fileprivate var answer: [UInt8] = []
  fileprivate var written = 0
  /// So much of an answer is written at once; what is larger goes as fast as its reader takes it.
  fileprivate static let pieceBytes = 64 << 10

  init(_ request: MessagingRequest, route: QueueRoute?, caller: QueueRoute.Caller, bodyMax: Int64) {
    self.request = request
    self.bodyMax = min(bodyMax, Int64(route == nil ? MessagingAPI.bodyBytesMax : QueueLimits.bodyBytesMax))
    self.route = route
    self.caller = caller
  }

  fileprivate static func parse(
    _ request: MessagingRequest, _ route: QueueRoute?, _ caller: QueueRoute.Caller, by api: MessagingAPI,
    using random: inout SeededRandom
  ) -> MessagingAPI.Outcome {
    let wall = SystemClock.wall()
    guard let route else { return api.parse(request, now: wall, using: &random) }
    // Strangers are shown the id, and who knows it sees what became of the message.
    var secret = SystemRandomNumberGenerator()
    switch route.parse(request, of: caller, by: api.queues, now: wall, using: &secret) {
    case .ask(let question, let then): return .ask(question, then: .queue(then))
    case .refuse(let answer): return .answer(answer)
    }
  }
}

/// Requests of `/from/<caller>/queues/…`, `/topics/…` and so on, on the listener of `WEIR_URL`.
extension ClientConnection {
  /// Where in the head the path of such a request begins: behind the caller's name; nil for other requests.
  func messagingPath(_ bytes: borrowing Span<UInt8>) -> Int? {
    let end = Int(head.path.end)
    var at = Int(head.path.start) + 6
    // `/from/` was there, or the path is none of ours.
    guard ClientConnection.has(bytes, "/from/", at: Int(head.path.start), end) else { return nil }
    while at < end && bytes[at] != 0x2f { at += 1 }
    return MessagingAPI.sections.contains { ClientConnection.has(bytes, section: $0, at: at, end) } ? at : nil
  }

  /// Whether a path goes on with such a section: `/queues/`.
  private static func has(_ bytes: borrowing Span<UInt8>, section: String, at: Int, _ end: Int) -> Bool {
    let length = section.utf8.count
    guard end - at >= length + 2, bytes[at] == 0x2f, bytes[at + length + 1] == 0x2f else { return false }
    for (i, byte) in section.utf8.enumerated() where bytes[at + 1 + i] != byte { return false }
    return true
  }

  private static func has(_ bytes: borrowing Span<UInt8>, _ text: StaticString, at: Int, _ end: Int) -> Bool {
    guard end - at >= text.utf8CodeUnitCount else { return false }
    for i in 0..<text.utf8CodeUnitCount where bytes[at + i] != text.utf8Start[i] { return false }
    return true
  }

  /// The request's route puts what it gets into a queue.
  func enqueue(_ route: QueueRoute, now: Instant) {
    prepareAnswerLines()
    let caller = QueueRoute.Caller(
      name: callerName ?? [], fields: principal?.fields ?? [], tenant: principal?.tenant.map { Array($0.utf8) } ?? [])
    principal = nil
    beginMessaging(at: Int(head.path.start), route: route, caller: caller, now: now)
  }

  func beginMessaging(
    at start: Int, route: QueueRoute? = nil, caller: QueueRoute.Caller = .init(), now: Instant
  ) {
    let exchange: MessagingExchange
    do {
      let input = self.input
      let bytes = input.readableBytesUInt8Span
      func text(_ range: Range<Int>) -> String {
        bytes.extracting(range).withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
      }
      var fields: [MessagingField] = []
      var all = Fields(head)
      while let field = all.next(bytes) {
        fields.append(MessagingField(text(field.name.range), text(field.value.range)))
      }
      if route != nil {
        // The message's attempts are in the request's trace, below our span.
        let isGiven = takeTrace(bytes)
        fields.removeAll { field in
          let name = field.name.lowercased()
          return name == "traceparent" || name == "tracestate" && !isGiven
        }
        fields.append(MessagingField("traceparent", trace.text))
      }
      exchange = MessagingExchange(
        MessagingRequest(
          method: text(head.methodRun.range), path: text(start..<Int(head.path.end)),
          query: head.query.isEmpty ? nil : text(head.query.range),
          fields: fields), route: route, caller: caller, bodyMax: loop.limits.bodyBytes)
    }
    if loop.road != nil, route == nil { exchange.sender = sender(until: start) }
    messaging = exchange
    if case .length(let length) = head.framing, length > exchange.bodyMax {
      return refuse(.bodyTooLarge, now: now)
    }
    takeHead()
    phase = .body
    if stage != .body { return ask(exchange, now: now) }
    if owesContinue {
      owesContinue = false
      loop.out.clear()
      loop.out.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
      write(loop.out)
      needsFlush = true
    }
    collect(exchange, now: now)
  }

  /// The caller's name in `/from/<caller>`, which ends there.
  private func sender(until end: Int) -> String {
    let input = self.input
    let name = input.readableBytesUInt8Span.extracting(min(Int(head.path.start) + 6, end)..<end)
    return name.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
  }

  /// Takes what has come of the body.
  func collect(_ exchange: MessagingExchange, now: Instant) {
    var isWhole = false
    var taken = 0
    var error: HeadError?
    do {
      let input = self.input
      let bytes = input.readableBytesUInt8Span
      func take(_ run: Range<Int>) {
        bytes.extracting(run).withUnsafeBytes { exchange.request.body.append(contentsOf: $0) }
      }
      switch head.framing {
      case .none, .untilClose: isWhole = true
      case .length:
        taken = Int(min(Int64(bytes.count), bodyLeft))
        take(0..<taken)
        bodyLeft -= Int64(taken)
        isWhole = bodyLeft == 0
      case .chunked:
        reading: while exchange.chunks.announced <= exchange.bodyMax {
          switch exchange.chunks.next(bytes, from: &taken) {
          case .data(let run): take(run)
          case .needMore: break reading
          case .end:
            isWhole = true
            break reading
          case .refused(let refused):
            error = refused
            break reading
          }
        }
      }
    }
    input.moveReaderIndex(forwardBy: taken)
    bodyIn += Int64(taken)
    if let error {
      closeAfter = true
      return refuse(error.reason, with: OwnAnswers.detailed(error.reason, error), now: now)
    }
    if exchange.chunks.announced > exchange.bodyMax {
      closeAfter = true
      return refuse(.bodyTooLarge, now: now)
    }
    if !isWhole {
      loop.silentAt[Int(place)] = now.nanoseconds + loop.times.bodyIdle
      return
    }
    stage = .waiting
    if input.readableBytes == 0 { input = loop.empty }
    ask(exchange, now: now)
  }

  private func ask(_ exchange: MessagingExchange, now: Instant) {
    loop.silentAt[Int(place)] = .max
    phase = .wait
    let request = exchange.request
    exchange.request.body = []
    let (api, route, caller) = (loop.messagingAPI, exchange.route, exchange.caller)
    if api.isBrief(request) {
      let outcome = MessagingExchange.parse(request, route, caller, by: api, using: &loop.random)
      return goOn(outcome, exchange, now: now)
    }
    let seed = loop.random.next()
    aside(exchange) {
      var random = SeededRandom(seed: seed, stream: "ids of messages")
      return MessagingExchange.parse(request, route, caller, by: api, using: &random)
    }
  }

  /// Does what takes long on a thread of the pool, and goes on with what comes of it.
  ///
  /// A connection has one exchange at a time, so nothing of its overtakes anything.
  private func aside(
    _ exchange: MessagingExchange, _ work: @escaping @Sendable () -> MessagingAPI.Outcome,
    orElse leave: @escaping () -> Void = {}
  ) {
    let bound = NIOLoopBound((self, exchange, leave), eventLoop: loop.eventLoop)
    NIOThreadPool.singleton.runIfActive(eventLoop: loop.eventLoop, work).whenComplete { result in
      let (client, exchange, leave) = bound.value
      guard client.messaging === exchange, client.stage != .closed else { return leave() }
      switch result {
      case .success(let outcome): client.goOn(outcome, exchange, now: client.loop.now())
      // The pool ends with the process.
      case .failure: client.refuse(.draining, now: client.loop.now())
      }
    }
  }

  private func goOn(_ outcome: MessagingAPI.Outcome, _ exchange: MessagingExchange, now: Instant) {
    switch outcome {
    case .answer(let answer): write(answer, of: exchange, now: now)
    case .ask(let request, let then):
      // No state process: there is nothing of what it would keep.
      guard let state = loop.state else { return goOn(then.next(.unknownQueue), exchange, now: now) }
      if exchange.isOnItsWay, loop.road != nil {
        exchange.isOnItsWay = false
        let isHeldUp = loop.isHeldUp(request, from: exchange.sender, now: now) { [self] in
          ask(request, then, exchange, of: state, now: loop.now())
        }
        if isHeldUp { return }
      }
      ask(request, then, exchange, of: state, now: now)
    }
  }

  private func ask(
    _ request: StateRequest, _ then: MessagingAPI.Then, _ exchange: MessagingExchange, of state: StateLink, now: Instant
  ) {
    state.ask(request, within: MessagingAPI.time(for: request) * 1_000_000, now: now) { [self] reply in
      answered(reply, request, then, exchange)
    }
  }

  private func answered(
    _ reply: StateReply?, _ request: StateRequest, _ then: MessagingAPI.Then, _ exchange: MessagingExchange
  ) {
    guard messaging === exchange, stage != .closed else { return giveBack(reply, request) }
    guard let reply else { return write(MessagingAPI.unavailable, of: exchange, now: loop.now()) }
    if MessagingAPI.isBrief(reply) { return goOn(then.next(reply), exchange, now: loop.now()) }
    aside(exchange) {
      then.next(reply)
    } orElse: { [self] in
      giveBack(reply, request)
    }
  }

  /// Who asked for messages is gone: they are given to others.
  private func giveBack(_ reply: StateReply?, _ request: StateRequest) {
    guard case .leased(let messages) = reply, case .lease(let queue, _, _, _) = request, !messages.isEmpty else {
      return
    }
    let back = messages.map { Settlement(sequence: $0.sequence, attempt: $0.attempt, verdict: .giveBack) }
    loop.state?.ask(
      .settle(queue: queue, back), within: 5_000_000_000, insists: true, now: loop.now()
    ) { _ in }
  }

  private func write(_ answer: MessagingAnswer, of exchange: MessagingExchange, now: Instant) {
    phase = .done
    loop.scratch.clear()
    loop.scratch.appendStatusLine(answer.status)
    for field in answer.fields { loop.scratch.append(Array("\(field.name): \(field.value)\r\n".utf8)) }
    loop.scratch.append("Content-Length: ")
    loop.scratch.append(decimal: Int64(answer.body.count))
    loop.scratch.append("\r\n")
    if !isCalls { appendRouteFields() }
    if answer.body.count <= MessagingExchange.pieceBytes || head.method == .head {
      return answerOurselves(status: answer.status, body: answer.body, reason: answer.reason, now: now)
    }
    // More than goes with the head; only what has been asked for is large, and no refusal is.
    decideWhetherToClose()
    if let rule = epoch.requestID, !isCalls { appendRequestID(rule) }
    loop.scratch.append(loop.dateLine)
    writeConnection(head.flags.contains(.http10))
    loop.scratch.append("\r\n")
    writeScratch()
    self.answer = .relaying
    status = answer.status
    bodyOut = 0
    exchange.answer = answer.body
    sendAnswer(exchange)
  }

  /// Writes pieces of a large answer until its reader is behind; when it has caught up it goes on here.
  func sendAnswer(_ exchange: MessagingExchange) {
    let count = exchange.answer.count
    guard count > 0, messaging === exchange else { return }
    while exchange.written < count, stage != .closed, outlet.isWritable {
      let end = min(count, exchange.written + MessagingExchange.pieceBytes)
      write(ByteBuffer(bytes: exchange.answer[exchange.written..<end]))
      bodyOut += Int64(end - exchange.written)
      exchange.written = end
      // What follows may be asked from here, when all has gone at once.
      if end < count { flush() }
    }
    if messaging !== exchange || stage == .closed { return }
    let now = loop.now()
    if exchange.written < count {
      loop.silentAt[Int(place)] = now.nanoseconds + loop.times.answerIdle
      return
    }
    exchange.answer = []
    needsFlush = true
    endOwnAnswer(status: status, now: now)
  }
}
