// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import WeirBase
internal import WeirFlows
package import WeirWire

/// What becomes of the state process's reply: the answer to the request that it was asked for.
package enum Answering: Sendable, Equatable {
  case enqueued(String, isSingle: Bool)
  case leased
  /// The leases, as they were named.
  case settled([String])
  case message(String)
  case counts(String)
  /// For callers from outside; with the last part of the path of their request.
  case acceptedByRoute(String)
  case progress

  /// The answer when the state process says nothing within the time that there is.
  package static var unavailable: MessagingAnswer {
    MessagingAnswer(.stateUnavailable, detail: "The state process does not answer; try again.", retryAfter: 1000)
  }

  package func answer(_ reply: StateReply) -> MessagingAnswer {
    switch (self, reply) {
    case (_, .failed(.full)): MessagingAnswer(.stateFull)
    case (_, .failed(.tooMany)): MessagingAnswer(.overloaded, retryAfter: 1000)
    case (_, .failed(.broken)), (_, .failed(.version)), (_, .failed(.taken)): Answering.unavailable
    case (_, .unknownQueue): MessagingAnswer(.queueUnknown)
    case (.enqueued, .queueFull(let retryAfter)): MessagingAnswer(.backlogFull, retryAfter: retryAfter)
    case (.enqueued(let queue, let isSingle), .enqueued(let messages)):
      if isSingle, let message = messages.first {
        Answering.accepted(message, queue)
      } else {
        Answering.accepted(messages, queue)
      }
    case (.leased, .leased(let messages)): Answering.leased(messages)
    case (.settled(let leases), .settled(let results)) where leases.count == results.count:
      Answering.settled(leases, results)
    case (.message(let queue), .message(let view)):
      view.map { Answering.shown($0, queue) } ?? MessagingAnswer(.messageUnknown)
    case (.counts(let queue), .counts(let counts)): Answering.shown(counts, queue)
    case (.acceptedByRoute, .queueFull(let retryAfter)): MessagingAnswer(.backlogFull, retryAfter: retryAfter)
    case (.acceptedByRoute(let last), .enqueued(let messages)):
      messages.first.map { Answering.acceptedByRoute($0, last: last) } ?? MessagingAnswer(.internalError)
    case (.progress, .message(let view)): view.map(Answering.progress) ?? MessagingAnswer(.messageUnknown)
    default: MessagingAnswer(.internalError)
    }
  }

  // MARK: Accepted

  /// `Location` is relative to the request's own address, so that it holds behind any prefix (RFC 9110 §10.2.2).
  private static func accepted(_ message: Enqueued, _ queue: String) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      answer.text("id", String(decoding: message.id, as: UTF8.self))
      answer.text("queue", queue)
      answer.bool("duplicate", message.isDuplicate)
    }
    return MessagingAnswer(
      status: 202, json: writer.finish(),
      fields: [MessagingField("Location", "\(queue)/messages/\(Percent.encode(message.id))")])
  }

  private static func accepted(_ messages: [Enqueued], _ queue: String) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      answer.text("queue", queue)
      answer.array("messages") { list in
        for message in messages {
          list.object { one in
            one.text("id", String(decoding: message.id, as: UTF8.self))
            one.bool("duplicate", message.isDuplicate)
          }
        }
      }
    }
    return MessagingAnswer(status: 202, json: writer.finish())
  }

  // MARK: Leased and settled

  private static func leased(_ messages: [LeasedMessage]) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      answer.array("messages") { list in
        for leased in messages {
          list.object { one in write(leased, &one) }
        }
      }
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }

  private static func write(_ leased: LeasedMessage, _ one: inout JSONWriter) {
    let message = leased.message
    one.text("lease", "\(leased.sequence).\(leased.attempt)")
    var fields = MessageFields.pairs(message.fields)
    let event = leased.entry == nil ? nil : fields.first { $0.name == "ce-id" }.flatMap { CloudEvent.decoded($0.value) }
    one.text("id", event ?? String(decoding: leased.entry?.id ?? message.id, as: UTF8.self))
    if let entry = leased.entry {
      one.number("position", entry.position)
      if entry.version > 0 { one.number("version", entry.version) }
      if !entry.type.isEmpty { one.text("type", String(decoding: entry.type, as: UTF8.self)) }
    }
    if !message.key.isEmpty { one.text("key", String(decoding: message.key, as: UTF8.self)) }
    if !message.tenant.isEmpty { one.text("tenant", String(decoding: message.tenant, as: UTF8.self)) }
    one.number("priority", message.priority)
    one.number("attempt", leased.attempt)
    one.text("until", WallTime(milliseconds: leased.until).rfc3339)
    one.text("enqueued-at", WallTime(milliseconds: leased.enqueuedAt).rfc3339)
    let type = fields.firstIndex { $0.name == "content-type" }.map { fields.remove(at: $0).value }
    if let type { one.text("content-type", type) }
    write(payload: message.body, type: type, &one)
    guard !fields.isEmpty else { return }
    one.object("fields") { object in
      for field in fields { object.text(field.name, field.value) }
    }
  }

  /// JSON stands as JSON, text as text, anything else as base64.
  static func write(payload: [UInt8], type: String?, _ one: inout JSONWriter) {
    if let type, MediaType.isJSON(type), JSONText.isWhole(payload.span) {
      one.raw("body", payload)
    } else if let text = String(validating: payload, as: UTF8.self) {
      one.text("text", text)
    } else {
      one.text("base64", Data(payload).base64EncodedString())
    }
  }

  private static func settled(_ leases: [String], _ results: [SettleResult]) -> MessagingAnswer {
    func write(_ writer: inout JSONWriter) {
      writer.array("results") { list in
        for (lease, result) in zip(leases, results) {
          list.object { one in
            one.text("lease", lease)
            let (word, at) = words(result)
            one.text("result", word)
            if let at { one.text("at", WallTime(milliseconds: at).rfc3339) }
          }
        }
      }
    }
    if leases.count == 1, results.first == .lost {
      return MessagingAnswer(.leaseLost, detail: nil, flaws: [], retryAfter: nil, fields: [], write)
    }
    var writer = JSONWriter()
    writer.object { write(&$0) }
    return MessagingAnswer(status: 200, json: writer.finish())
  }

  private static func words(_ result: SettleResult) -> (word: String, at: Int64?) {
    switch result {
    case .done: ("done", nil)
    case .retry(let at): ("retry", at)
    case .dead: ("dead", nil)
    case .extended(let until): ("extended", until)
    case .givenBack: ("given-back", nil)
    case .lost: ("lost", nil)
    }
  }

  // MARK: Shown

  private static func shown(_ view: MessageView, _ queue: String) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      answer.text("id", String(decoding: view.id, as: UTF8.self))
      answer.text("queue", queue)
      answer.text("state", word(view.state))
      if let death = view.death { answer.text("reason", word(death)) }
      answer.number("attempts", view.attempts)
      if !view.key.isEmpty { answer.text("key", String(decoding: view.key, as: UTF8.self)) }
      if !view.tenant.isEmpty { answer.text("tenant", String(decoding: view.tenant, as: UTF8.self)) }
      answer.number("priority", view.priority)
      answer.number("bytes", view.bytes)
      answer.text("enqueued-at", WallTime(milliseconds: view.enqueuedAt).rfc3339)
      if view.state == .delayed { answer.text("due-at", WallTime(milliseconds: view.dueAt).rfc3339) }
      if let endedAt = view.endedAt { answer.text("ended-at", WallTime(milliseconds: endedAt).rfc3339) }
      write(result: view.result, &answer)
      if !view.history.isEmpty {
        answer.array("history") { list in
          for attempt in view.history {
            list.object { one in
              one.number("attempt", attempt.attempt)
              one.text("at", WallTime(milliseconds: attempt.at).rfc3339)
              if attempt.latency > 0 { one.text("latency", TimeText.of(milliseconds: attempt.latency)) }
              if attempt.status > 0 { one.number("status", attempt.status) }
              if !attempt.error.isEmpty { one.text("error", attempt.error) }
            }
          }
        }
      }
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }

  static func write(result: [UInt8], _ answer: inout JSONWriter) {
    if result.isEmpty { return }
    if JSONText.isWhole(result.span) {
      answer.raw("result", result)
    } else {
      answer.text("result", String(decoding: result, as: UTF8.self))
    }
  }

  private static func shown(_ counts: QueueCounts, _ queue: String) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      answer.text("queue", queue)
      answer.number("waiting", counts.waiting)
      answer.number("delayed", counts.delayed)
      answer.number("in-flight", counts.inFlight)
      answer.number("dead", counts.dead)
      answer.number("blocked", counts.blocked)
      answer.number("retrying", counts.retrying)
      answer.number("bytes", counts.bytes)
      if let oldest = counts.oldest { answer.text("oldest", TimeText.of(milliseconds: oldest)) }
      answer.bool("paused", counts.isPaused)
      answer.number("pollers", counts.pollers)
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }

  /// The words of `weir queue` as well.
  package static func word(_ state: MessageState) -> String {
    switch state {
    case .waiting: "waiting"
    case .delayed: "delayed"
    case .inFlight: "in-flight"
    case .done: "done"
    case .dead: "dead"
    }
  }

  package static func word(_ death: MessageDeath) -> String {
    switch death {
    case .attempts: "attempts"
    case .expired: "expired"
    case .refused: "refused"
    case .late: "late"
    }
  }
}
