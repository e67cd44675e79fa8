// SPDX-License-Identifier: Apache-2.0
internal import Foundation
package import WeirBase
internal import WeirFlows
package import WeirWire

/// HTTP of sagas: one is begun, and asked how far it is.
///
///     POST /sagas/<s>                begin; the body is its input    202
///     GET  /sagas/<s>/<id>?wait=10s  how far it is                   200, held until it is over as long as `wait` says
///
/// A saga is a message of the queue `sagas.<s>`, and its journal the stream of its id in the log of that name.
/// docs/sagas.md is the page.
package struct SagaAPI: Sendable {
  package static let prefix = "sagas."
  /// Commits of a journal that are asked for at a time.
  package static let pageMax: UInt16 = 500

  package init() {}

  /// The queue of a saga's instances, and the log of their journals.
  package static func log(_ saga: String) -> String { prefix + saga }

  package func parse(
    _ request: MessagingRequest, now: WallTime, using random: inout SeededRandom
  ) -> MessagingAPI.Outcome {
    let parts = request.path.split(separator: "/", omittingEmptySubsequences: false).map(Percent.decode)
    guard parts.count >= 3, let saga = parts[2], !parts.contains(nil) else {
      return .answer(MessagingAnswer(.noRoute))
    }
    guard QueueAPI.isName(saga) else { return .answer(SagaAPI.unknown(saga)) }
    switch parts.count {
    case 3:
      guard request.method == "POST" else { return refused(request, "POST") }
      let parsed: QueueAPI.Parsed
      do throws(QueueAPI.Refused) {
        parsed = try QueueAPI().enqueue(request, SagaAPI.log(saga), now, &random)
      } catch { return .answer(error.answer) }
      switch parsed {
      case .refuse(let answer): return .answer(answer)
      case .ask(let question, _): return .ask(question, then: .saga(.begun(saga)))
      }
    case 4:
      guard request.method == "GET" else { return refused(request, "GET") }
      let id = Array((parts[3] ?? "").utf8)
      guard QueueAPI.isID(id) else { return .answer(SagaAPI.unknown(saga, id)) }
      var until: Int64?
      do throws(QueueAPI.Refused) {
        for (name, value) in try QueueAPI().parameters(request, ["wait"]) {
          do throws(Flaw) {
            let wait = try QueueAPI.length("?\(name)", value, to: QueueAPI.waitMax)
            if wait > 0 { until = now.milliseconds + wait }
          } catch { throw QueueAPI.Refused([error]) }
        }
      } catch { return .answer(error.answer) }
      let reading = SagaReading(saga: saga, id: id, until: until, now: now.milliseconds)
      return .ask(reading.question(wait: 0), then: .saga(.reading(reading)))
    default:
      return .answer(
        MessagingAnswer(.noRoute, detail: "A saga is begun at /sagas/<name>, and looked at at /sagas/<name>/<id>."))
    }
  }

  private func refused(_ request: MessagingRequest, _ allowed: String) -> MessagingAPI.Outcome {
    .answer(MessagingAnswer(.methodNotAllowed, fields: [MessagingField("Allow", allowed)]))
  }

  static func unknown(_ saga: String, _ id: [UInt8]? = nil) -> MessagingAnswer {
    let detail =
      id.map { "\(saga) has none of the id \(Flaw.quoted(String(decoding: $0, as: UTF8.self))), or it is forgotten." }
      ?? "There is no saga \(Flaw.quoted(saga))."
    return MessagingAnswer(.sagaUnknown, detail: detail)
  }
}

/// What becomes of a reply about a saga.
package enum SagaAnswering: Sendable, Equatable {
  case begun(String)
  case reading(SagaReading)
  /// Its journal is empty: whether it waits to be begun.
  case looking(SagaReading)

  package func next(_ reply: StateReply) -> MessagingAPI.Outcome {
    switch (self, reply) {
    case (_, .failed(.full)): .answer(MessagingAnswer(.stateFull))
    case (_, .failed(.tooMany)): .answer(MessagingAnswer(.overloaded, retryAfter: 1000))
    case (_, .failed): .answer(Answering.unavailable)
    case (.begun(let saga), .unknownQueue): .answer(SagaAPI.unknown(saga))
    case (.reading(let reading), .unknownQueue), (.looking(let reading), .unknownQueue):
      .answer(SagaAPI.unknown(reading.saga))
    case (.begun, .queueFull(let retryAfter)): .answer(MessagingAnswer(.backlogFull, retryAfter: retryAfter))
    case (.begun(let saga), .enqueued(let messages)):
      .answer(messages.first.map { SagaAnswering.begun($0, saga) } ?? MessagingAnswer(.internalError))
    case (.reading(let reading), .entries(let entries)): reading.next(entries)
    case (.looking(let reading), .message(let view)): reading.next(view)
    default: .answer(MessagingAnswer(.internalError))
    }
  }

  private static func begun(_ message: Enqueued, _ saga: String) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      answer.text("id", String(decoding: message.id, as: UTF8.self))
      answer.text("saga", saga)
      answer.bool("duplicate", message.isDuplicate)
    }
    return MessagingAnswer(
      status: 202, json: writer.finish(), fields: [MessagingField("Location", "\(saga)/\(Percent.encode(message.id))")])
  }
}

/// A saga's journal on its way from the state process, and who waits for its end.
package struct SagaReading: Sendable, Equatable {
  package let saga: String
  let id: [UInt8]
  /// Until when the answer is held for the saga's end, as wall time in milliseconds.
  let until: Int64?
  /// As far as is known.
  private(set) var now: Int64
  private(set) var journal: [[UInt8]] = []
  private(set) var version: Int64 = 0
  /// It stands in the queue.
  private(set) var isKnown = false
  /// The last question was held as long as may be.
  private(set) var hasWaited = false

  package init(saga: String, id: [UInt8], until: Int64? = nil, now: Int64 = 0) {
    self.saga = saga
    self.id = id
    self.until = until
    self.now = now
  }

  package func question(wait: Int64) -> StateRequest {
    .read(log: SagaAPI.log(saga), key: id, after: version, limit: SagaAPI.pageMax, wait: wait)
  }

  func next(_ entries: [LogEntry]) -> MessagingAPI.Outcome {
    var next = self
    for entry in entries {
      next.journal.append(entry.body)
      next.version = entry.version
      next.now = max(next.now, entry.at)
    }
    if entries.count == Int(SagaAPI.pageMax) || entries.reduce(0, { $0 + $1.body.count }) > LogLimits.readBytesMax / 2 {
      return .ask(next.question(wait: 0), then: .saga(.reading(next)))
    }
    if next.journal.isEmpty {
      if isKnown && hasWaited { return .answer(next.waiting) }
      return .ask(
        .look(queue: SagaAPI.log(saga), .message(id: id)), then: .saga(.looking(next)))
    }
    guard let history = SagaHistory(next.journal) else {
      return .answer(MessagingAnswer(.internalError, detail: "Its journal cannot be read by this version of Weir."))
    }
    let isHeld = !history.isOver && history.state != .stuck && !(entries.isEmpty && hasWaited)
    if !isHeld { return .answer(next.answer(history)) }
    return next.wait { $0.answer(history) }
  }

  /// Held open until there is more, if there is time left for that.
  private func wait(_ answer: (SagaReading) -> MessagingAnswer) -> MessagingAPI.Outcome {
    guard let until, until > now else { return .answer(answer(self)) }
    var next = self
    next.hasWaited = true
    return .ask(next.question(wait: min(until - now, QueueAPI.waitMax)), then: .saga(.reading(next)))
  }

  func next(_ view: MessageView?) -> MessagingAPI.Outcome {
    guard let view, view.state != .done else { return .answer(SagaAPI.unknown(saga, id)) }
    var next = self
    next.isKnown = true
    if view.state == .dead { return .answer(next.dead(view)) }
    return next.wait { $0.waiting }
  }

  // MARK: Answers

  /// It is accepted, and not begun.
  private var waiting: MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      head(&answer, .running)
      answer.array("steps") { _ in }
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }

  /// It was given up before it was begun.
  private func dead(_ view: MessageView) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      head(&answer, .stuck)
      answer.text("cause", view.history.last?.error ?? view.death.map(Answering.word) ?? "given up")
      answer.array("steps") { _ in }
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }

  private func head(_ answer: inout JSONWriter, _ state: SagaHistory.State) {
    answer.text("id", String(decoding: id, as: UTF8.self))
    answer.text("saga", saga)
    answer.text("state", state.rawValue)
  }

  private func answer(_ history: SagaHistory) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      head(&answer, history.state)
      if let cause = history.causeWords { answer.text("cause", cause) }
      answer.text("begun-at", history.begunAt.rfc3339)
      answer.array("steps") { list in
        for step in history.steps {
          list.object { one in
            one.text("do", step.script.act)
            if let undo = step.script.undo { one.text("undo", undo) }
            one.text("state", step.word)
            one.number("attempts", step.attempts)
            if step.undoAttempts > 0 { one.number("undo-attempts", step.undoAttempts) }
            if let said = step.answer, said.status > 0 { one.number("status", said.status) }
            guard let said = step.answer, !said.text.isEmpty else { return }
            if said.status == 0 || !JSONText.isWhole(said.text.span) {
              one.text(said.status == 0 ? "error" : "result", String(decoding: said.text, as: UTF8.self))
            } else {
              one.raw("result", said.text)
            }
          }
        }
      }
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }
}
