// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirFlows
internal import WeirPatterns
internal import WeirWire

/// Endpoints of partners, by HTTP: made, shown, rotated, disabled, replayed.
///
///     GET | POST             /webhooks/<webhook>/endpoints
///     GET | DELETE           /webhooks/<webhook>/endpoints/<id>
///     POST                   /webhooks/<webhook>/endpoints/<id>/rotate | enable | disable | replay
///
/// An endpoint is a document and a group of the topic's log: what makes or ends one does both, and who delivers
/// (WeirProxy's `WebhookDriver`) mends what a crash left between the two.
package struct WebhookAPI: Sendable {
  private let webhooks: [WebhookSettings]

  package init(_ webhooks: [WebhookSettings] = []) { self.webhooks = webhooks }

  /// Endpoints of one webhook.
  static let endpointsMax = 1000
  static let idBytesMax = 40
  static let typesMax = 100

  func parse(_ request: MessagingRequest, now: WallTime, using random: inout SeededRandom) -> MessagingAPI.Outcome {
    do throws(QueueAPI.Refused) { return try place(request, now, &random) } catch { return .answer(error.answer) }
  }

  private func place(
    _ request: MessagingRequest, _ now: WallTime, _ random: inout SeededRandom
  ) throws(QueueAPI.Refused) -> MessagingAPI.Outcome {
    let parts = request.path.split(separator: "/", omittingEmptySubsequences: false).map(Percent.decode)
    guard (4...6).contains(parts.count), let name = parts[2], parts[3] == "endpoints", !parts.contains(nil) else {
      throw .init(MessagingAnswer(.noRoute, detail: "Endpoints are at /webhooks/<webhook>/endpoints."))
    }
    guard let webhook = webhooks.first(where: { $0.name == name }) else {
      throw .init(MessagingAnswer(.noRoute, detail: "There is no webhook \(Flaw.quoted(name))."))
    }
    _ = try QueueAPI().parameters(request, [])
    var step = WebhookStep(webhook: webhook, id: "", act: .list, now: now)
    if parts.count == 4 {
      switch request.method {
      case "GET":
        step.at = .listing
        return .ask(
          .documents(log: webhook.documents, after: [], limit: UInt16(WebhookAPI.endpointsMax)), then: .webhook(step))
      case "POST":
        let (id, subscription) = try draft(request, webhook, now, &random)
        step.id = id
        step.act = .create
        return step.save(subscription, expected: 0)
      default: throw .init(WebhookAPI.allows("GET, POST"))
      }
    }
    guard let id = parts[4], QueueAPI.isName(id), id.utf8.count <= WebhookAPI.idBytesMax else {
      throw .init(WebhookStep.unknown(webhook, parts[4] ?? ""))
    }
    step.id = id
    if parts.count == 5 {
      switch request.method {
      case "GET": step.act = .show
      case "DELETE": step.act = .delete
      default: throw .init(WebhookAPI.allows("DELETE, GET"))
      }
    } else {
      let action = parts[5] ?? ""
      switch action {
      case "rotate": step.act = .rotate(secret: WebhookSubscription.makeSecret())
      case "enable": step.act = .enable
      case "disable": step.act = .disable
      case "replay": step.act = .replay(from: try replayFrom(request))
      default:
        throw .init(
          MessagingAnswer(
            .noRoute,
            detail: "An endpoint has rotate, enable, disable and replay; \(Flaw.quoted(action)) is none of them."))
      }
      guard request.method == "POST" else { throw .init(WebhookAPI.allows("POST")) }
    }
    return step.read()
  }

  private static func allows(_ methods: String) -> MessagingAnswer {
    MessagingAnswer(.methodNotAllowed, fields: [MessagingField("Allow", methods)])
  }

  private func replayFrom(_ request: MessagingRequest) throws(QueueAPI.Refused) -> Int64 {
    let api = QueueAPI()
    let members = try api.only(["from"], of: try api.json(request))
    guard let text = members["from"]?.text, let point = TimeText.point(text) else {
      throw .init([
        Flaw("$.from", "a point of time is missing", mend: #"Send {"from":"2026-11-21T09:00:00Z"} (RFC 3339)."#)
      ])
    }
    return point.milliseconds
  }

  private func draft(
    _ request: MessagingRequest, _ webhook: WebhookSettings, _ now: WallTime, _ random: inout SeededRandom
  ) throws(QueueAPI.Refused) -> (String, WebhookSubscription) {
    let api = QueueAPI()
    let members = try api.only(["url", "id", "types", "rate"], of: try api.json(request))
    var flaws: [Flaw] = []
    var made = WebhookSubscription(
      url: "", created: now.milliseconds, secret: WebhookSubscription.makeSecret())
    if let url = members["url"]?.text {
      do throws(OutgoingGuard.Refusal) {
        _ = try OutgoingGuard(webhook.outgoing).target(url)
        made.url = url
      } catch { flaws.append(Flaw("$.url", error.sentence)) }
    } else {
      flaws.append(Flaw("$.url", "an address is missing", mend: #"Send {"url":"https://partner.example.com/hook"}."#))
    }
    var id = "ep-" + String(random.next(), radix: 36)
    if let written = members["id"] {
      if let text = written.text, QueueAPI.isName(text), text.utf8.count <= WebhookAPI.idBytesMax {
        id = text
      } else {
        flaws.append(
          Flaw("$.id", "an id has up to \(WebhookAPI.idBytesMax) lower case letters, digits and inner dashes"))
      }
    }
    if let list = members["types"] {
      let types = list.items.compactMap(\.text)
      let areTypes = types.allSatisfy { (1...LogLimits.typeBytesMax).contains($0.utf8.count) }
      if list.kind == .array, types.count == list.items.count, types.count <= WebhookAPI.typesMax, areTypes {
        made.types = types
      } else {
        flaws.append(
          Flaw("$.types", "up to \(WebhookAPI.typesMax) types stand here", mend: #"Write ["order.paid", "order.*"]."#))
      }
    }
    if let rate = members["rate"] {
      made.rate = rate.scalar.flatMap(WebhookAPI.rate)
      if made.rate == nil { flaws.append(Flaw("$.rate", "a rate is written \"10/s\", \"100/m\" or \"1000/h\"")) }
    }
    if !flaws.isEmpty { throw .init(flaws) }
    return (id, made)
  }

  /// A second; a bare number is so many a second.
  static func rate(_ text: String) -> Double? {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), let number = Double(parts[0]), number > 0, number <= 1e6 else { return nil }
    switch parts.count == 2 ? parts[1] : "s" {
    case "s": return number
    case "m", "min": return number / 60
    case "h": return number / 3600
    case "d": return number / 86_400
    default: return nil
    }
  }
}

/// How far a request about an endpoint has come.
package struct WebhookStep: Sendable, Equatable {
  enum Act: Sendable, Equatable {
    case list, show, create, delete, enable, disable
    case rotate(secret: String)
    case replay(from: Int64)
  }

  enum Place: Sendable, Equatable { case listing, reading, saving, joining, leaving, seeking, replaying, undoing }

  let webhook: WebhookSettings
  var id: String
  var act: Act
  let now: WallTime
  var at = Place.reading
  private var endpoint: WebhookSubscription?
  /// It was changed by another meanwhile, and read again.
  private var tries = 0
  private var refusal: MessagingAnswer?

  init(webhook: WebhookSettings, id: String, act: Act, now: WallTime) {
    self.webhook = webhook
    self.id = id
    self.act = act
    self.now = now
  }

  private var key: [UInt8] { Array(id.utf8) }

  func read() -> MessagingAPI.Outcome {
    var step = self
    step.at = .reading
    return .ask(.document(log: webhook.documents, key: key), then: .webhook(step))
  }

  func save(_ endpoint: WebhookSubscription?, expected: Int64?) -> MessagingAPI.Outcome {
    var step = self
    step.at = .saving
    step.endpoint = endpoint ?? self.endpoint
    let request = StateRequest.saveDocument(
      log: webhook.documents, key: key, body: endpoint?.document ?? [], expected: expected)
    return .ask(request, then: .webhook(step))
  }

  private func going(to place: Place, _ request: StateRequest) -> MessagingAPI.Outcome {
    var step = self
    step.at = place
    return .ask(request, then: .webhook(step))
  }

  static func unknown(_ webhook: WebhookSettings, _ id: String) -> MessagingAnswer {
    MessagingAnswer(.noRoute, detail: "The webhook '\(webhook.name)' has no endpoint \(Flaw.quoted(id)).")
  }

  func next(_ reply: StateReply) -> MessagingAPI.Outcome {
    switch (at, reply) {
    case (.undoing, _): return .answer(refusal ?? MessagingAPI.unavailable)
    case (_, .failed(.full)): return .answer(MessagingAnswer(.stateFull))
    case (.listing, .documentList(let documents)): return .answer(list(documents))
    case (.reading, .document(let document)):
      guard let document, let endpoint = WebhookSubscription(document: document.body) else {
        return .answer(WebhookStep.unknown(webhook, id))
      }
      return found(endpoint, version: document.version)
    case (.saving, .saved): return saved()
    case (.saving, .conflict):
      if act == .create {
        return .answer(
          MessagingAnswer(.versionConflict, detail: "There is an endpoint \(Flaw.quoted(id)) already."))
      }
      if tries >= 3 { return .answer(MessagingAPI.unavailable) }
      var step = self
      step.tries += 1
      return step.read()
    case (.joining, .declared): return .answer(shown(status: act == .create ? 201 : 200))
    case (.joining, let other):
      // Nothing would be delivered: the endpoint is not left behind as if there were.
      var step = self
      step.refusal =
        switch other {
        case .failed(.tooMany):
          MessagingAnswer(.overloaded, detail: "The topic '\(webhook.topic)' feeds as many endpoints as it may.")
        case .failed(.taken):
          MessagingAnswer(.versionConflict, detail: "The queue '\(webhook.queue(id))' is there already, of another.")
        default: MessagingAPI.unavailable
        }
      if act != .create { return .answer(step.refusal ?? MessagingAPI.unavailable) }
      return step.going(
        to: .undoing, .saveDocument(log: webhook.documents, key: key, body: [], expected: nil))
    case (.leaving, .steered), (.leaving, .unknownQueue): return .answer(ended())
    case (.seeking, .position(let position)):
      return going(
        to: .replaying, .replay(log: webhook.topic, group: webhook.queue(id), from: position, to: nil))
    case (.replaying, .steered(let count)):
      var writer = JSONWriter()
      writer.object { answer in
        answer.text("id", id)
        answer.number("replayed", count)
      }
      return .answer(MessagingAnswer(status: 202, json: writer.finish()))
    case (_, .unknownQueue), (_, .failed(.broken)), (_, .failed(.version)): return .answer(MessagingAPI.unavailable)
    case (_, .failed(.tooMany)): return .answer(MessagingAnswer(.overloaded, retryAfter: 1000))
    default: return .answer(MessagingAnswer(.internalError))
    }
  }

  private func found(_ endpoint: WebhookSubscription, version: Int64) -> MessagingAPI.Outcome {
    var step = self
    step.endpoint = endpoint
    var changed = endpoint
    switch act {
    case .list, .show, .create: return .answer(step.shown(status: 200))
    case .delete: return step.save(nil, expected: nil)
    case .rotate(let secret):
      changed.rotate(to: secret, now: now)
      return step.save(changed, expected: version)
    case .enable:
      changed.record = WebhookEndpoint.Record()
      changed.disabledAt = nil
      return step.save(changed, expected: version)
    case .disable:
      if changed.disabled == nil { changed.disabledAt = now.milliseconds }
      changed.disabled = WebhookEndpoint.Cause.byOperator.rawValue
      return step.save(changed, expected: version)
    case .replay(let from):
      if endpoint.disabled != nil {
        return .answer(
          MessagingAnswer(.versionConflict, detail: "The endpoint \(Flaw.quoted(id)) is disabled: enable it first."))
      }
      return step.going(to: .seeking, .seek(log: webhook.topic, time: from))
    }
  }

  private func saved() -> MessagingAPI.Outcome {
    switch act {
    case .create, .enable: going(to: .joining, .join(log: webhook.topic, webhook.declaration(id)))
    case .delete, .disable: going(to: .leaving, .leave(log: webhook.topic, group: webhook.queue(id)))
    default: .answer(shown(status: 200))
    }
  }

  // MARK: Answers

  private func ended() -> MessagingAnswer {
    if act != .delete { return shown(status: 200) }
    var writer = JSONWriter()
    writer.object { answer in
      answer.text("id", id)
      answer.text("state", "deleted")
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }

  private func shown(status: UInt16) -> MessagingAnswer {
    guard let endpoint else { return MessagingAnswer(.internalError) }
    var writer = JSONWriter()
    writer.object { write(id, endpoint, &$0) }
    let place = [MessagingField("Location", "endpoints/\(id)")]
    return MessagingAnswer(status: status, json: writer.finish(), fields: status == 201 ? place : [])
  }

  private func list(_ documents: [LogDocument]) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      answer.array("endpoints") { list in
        for document in documents {
          guard let endpoint = WebhookSubscription(document: document.body) else { continue }
          list.object { write(String(decoding: document.key, as: UTF8.self), endpoint, &$0) }
        }
      }
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }

  /// A secret is said once: when it is made.
  private func write(_ id: String, _ endpoint: WebhookSubscription, _ one: inout JSONWriter) {
    one.text("id", id)
    one.text("url", endpoint.url)
    let cause = endpoint.record.disabled
    one.text("state", cause == nil ? "enabled" : "disabled")
    if let cause { one.text("cause", WebhookSubscription.word(cause)) }
    if let at = endpoint.disabledAt { one.text("disabled-at", WallTime(milliseconds: at).rfc3339) }
    if let at = endpoint.failingSince { one.text("failing-since", WallTime(milliseconds: at).rfc3339) }
    if endpoint.failures > 0 { one.number("failures", endpoint.failures) }
    if !endpoint.types.isEmpty { one.array("types") { list in for type in endpoint.types { list.text(nil, type) } } }
    if let rate = endpoint.rate { one.raw("rate", Array("\"\(rate)/s\"".utf8)) }
    one.text("created", WallTime(milliseconds: endpoint.created).rfc3339)
    let isNew: Bool
    switch act {
    case .create, .rotate: isNew = true
    default: isNew = false
    }
    if let newest = endpoint.secrets.first {
      one.text("secret", isNew ? newest.secret : WebhookSubscription.masked(newest.secret))
    }
    let older = endpoint.secrets.dropFirst().filter { $0.until.map { now.milliseconds < $0 } ?? true }
    if older.isEmpty { return }
    one.array("signs-along") { list in
      for secret in older {
        list.object { item in
          item.text("secret", WebhookSubscription.masked(secret.secret))
          if let until = secret.until { item.text("until", WallTime(milliseconds: until).rfc3339) }
        }
      }
    }
  }
}
