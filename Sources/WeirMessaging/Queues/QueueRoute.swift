// SPDX-License-Identifier: Apache-2.0
internal import Crypto
package import WeirBase
internal import WeirFlows
internal import WeirWire

/// A route of the gateway whose requests are messages of a queue: answered at once, done later.
///
///     POST /reports          the body is a message           202, `Location: reports/<id>`
///     GET  /reports/<id>     what became of it               200, 404
///
/// Callers are strangers: of their fields only what describes the body goes with the message, and nothing of theirs says
/// which key, priority or time it has. The id is made of the request's `Idempotency-Key` and of who the caller is, so that
/// who asks twice is served once, and nobody for another; without a key it is drawn, and cannot be guessed. Who knows the id
/// may see state and result, and nothing else of the message.
///
/// ## Invariants
/// 1. In the queue each id begins with ``mark``, which callers neither write nor see: no id of theirs is that of a message
///    which a program has sent, and none of those can be looked up, unless the program has begun it with the mark itself.
/// 2. The id of one who is known is that of nobody else, whatever key another sends.
package struct QueueRoute: Sendable, Equatable {
  package var queue: String
  /// Parts of the path that are the route's own: `/reports/**` has one.
  package var skip: Int

  /// What the gateway knows of who asks.
  package struct Caller: Sendable, Equatable {
    /// By which it is told from others; empty for one that nobody knows: these have their keys in common.
    package var name: [UInt8]
    /// Whole lines that tell the service who it is; they were checked when they were made.
    package var fields: [UInt8]
    /// Messages of tenants are taken in turn.
    package var tenant: [UInt8]

    package init(name: [UInt8] = [], fields: [UInt8] = [], tenant: [UInt8] = []) {
      self.name = name
      self.fields = fields
      self.tenant = tenant
    }
  }

  package init(queue: String, skip: Int) {
    self.queue = queue
    self.skip = skip
  }

  /// What stands in the queue before each id that callers know.
  static let mark = Array("route.".utf8)

  /// What a request asks; its path is the one that the caller has written.
  ///
  /// - Parameter source: ids are drawn from it; in a running system nobody can guess what it gives.
  package func parse(
    _ request: MessagingRequest, of caller: Caller = Caller(), by api: QueueAPI, now: WallTime,
    using source: inout some RandomNumberGenerator
  ) -> QueueAPI.Parsed {
    let parts = request.path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
    var rest = parts.dropFirst(skip)
    if rest.first == "" { rest.removeFirst() }
    switch rest.count {
    case 0: return enqueue(request, parts, caller, api, now, &source)
    case 1:
      guard request.method == "GET" || request.method == "HEAD" else {
        return QueueRoute.refused("GET")
      }
      guard let id = rest.first.flatMap({ Percent.decode($0) }).map({ QueueRoute.mark + Array($0.utf8) }),
        QueueAPI.isID(id)
      else { return .refuse(MessagingAnswer(.messageUnknown)) }
      return .ask(.look(queue: queue, .message(id: id)), then: .progress)
    default: return .refuse(MessagingAnswer(.noRoute))
    }
  }

  /// What a caller's key becomes, without the mark.
  ///
  /// The key itself, where nobody knows whose it is; but none that looks like what is made of a known caller's, and none
  /// that is too long with the mark before it.
  private static func id(_ key: [UInt8], of caller: Caller) -> [UInt8] {
    let looksMade = key.count == 32 && key.allSatisfy { $0 &- 0x30 < 10 || $0 &- 0x61 < 6 }
    if caller.name.isEmpty, !looksMade, mark.count + key.count <= QueueLimits.idBytesMax { return key }
    let digits = Array("0123456789abcdef".utf8)
    return SHA256.hash(data: caller.name + [0] + key).prefix(16).flatMap {
      [digits[Int($0 >> 4)], digits[Int($0 & 15)]]
    }
  }

  /// An id as callers know it.
  static func shown(_ id: [UInt8]) -> [UInt8] { id.starts(with: mark) ? Array(id[mark.count...]) : id }

  private static func refused(_ allowed: String) -> QueueAPI.Parsed {
    .refuse(
      MessagingAnswer(
        .methodNotAllowed, detail: "Send it with POST; GET below this path shows what became of it.",
        fields: [MessagingField("Allow", allowed)]))
  }

  private func enqueue(
    _ request: MessagingRequest, _ parts: ArraySlice<Substring>, _ caller: Caller, _ api: QueueAPI, _ now: WallTime,
    _ source: inout some RandomNumberGenerator
  ) -> QueueAPI.Parsed {
    guard ["POST", "PUT", "PATCH"].contains(request.method) else { return QueueRoute.refused("POST") }
    var fields = request.fields.filter { MessageFields.describes($0.name.lowercased()) }
    let keys = request.values("idempotency-key")
    if keys.count > 1 {
      return .refuse(MessagingAnswer(.messageMalformed, flaws: [Flaw("Idempotency-Key", "it stands there twice")]))
    }
    var id = MessageID.drawn(&source)
    // As a structured field it is a string in quotes; most write it bare.
    if let key = keys.first?.trimming({ $0 == " " || $0 == "\t" || $0 == "\"" }) {
      guard QueueAPI.isID(Array(key.utf8)) else {
        let flaw = Flaw(
          "Idempotency-Key",
          "\(Flaw.quoted(key)) is no id: 1 to \(QueueLimits.idBytesMax) visible ASCII characters", mend: "Send a UUID.")
        return .refuse(MessagingAnswer(.messageMalformed, flaws: [flaw]))
      }
      id = QueueRoute.id(Array(key.utf8), of: caller)
    }
    fields.append(MessagingField("Weir-Id", String(decoding: QueueRoute.mark + id, as: UTF8.self)))
    let inner = MessagingRequest(method: "POST", path: "/queues/\(queue)", fields: fields, body: request.body)
    // The id is given: nothing is drawn here.
    var unused = SeededRandom(seed: 0)
    let parsed = api.parse(inner, now: now, using: &unused)
    guard case .ask(.enqueue(_, var messages), _) = parsed else { return parsed }
    messages[0].fields += caller.fields
    // Who has a longer tenant shares its turn with the others without one.
    if caller.tenant.count <= QueueLimits.tenantBytesMax { messages[0].tenant = caller.tenant }
    if messages[0].fields.count > QueueLimits.fieldsBytesMax {
      let flaw = Flaw(
        "the fields", "with those of the identity more than \(QueueLimits.fieldsBytesMax) bytes are to be kept")
      return .refuse(MessagingAnswer(.messageMalformed, flaws: [flaw]))
    }
    return .ask(.enqueue(queue: queue, messages), then: .acceptedByRoute(parts.last.map(String.init) ?? ""))
  }
}

extension Answering {
  /// `last`: the last part of the request's path, for `Location` is relative to it; empty when it ends with a slash.
  static func acceptedByRoute(_ message: Enqueued, last: String) -> MessagingAnswer {
    let shown = QueueRoute.shown(message.id)
    var writer = JSONWriter()
    writer.object { answer in
      answer.text("id", String(decoding: shown, as: UTF8.self))
      answer.text("state", word(.waiting))
    }
    let id = Percent.encode(shown)
    return MessagingAnswer(
      status: 202, json: writer.finish(),
      fields: [MessagingField("Location", last.isEmpty ? id : "\(last)/\(id)")])
  }

  static func progress(_ view: MessageView) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      answer.text("id", String(decoding: QueueRoute.shown(view.id), as: UTF8.self))
      answer.text("state", word(view.state))
      answer.text("enqueued-at", WallTime(milliseconds: view.enqueuedAt).rfc3339)
      if let endedAt = view.endedAt { answer.text("ended-at", WallTime(milliseconds: endedAt).rfc3339) }
      write(result: view.result, &answer)
    }
    let isOver = view.state == .done || view.state == .dead
    return MessagingAnswer(
      status: 200, json: writer.finish(), fields: isOver ? [] : [MessagingField("Retry-After", "1")])
  }
}
