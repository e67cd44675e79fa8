// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import WeirBase
internal import WeirFlows
internal import WeirWire

extension QueueAPI {
  /// The fields that say something of a message.
  private static let words = [
    "Weir-Id", "Weir-Key", "Weir-Priority", "Weir-Delay", "Weir-At", "Weir-Keep", "Weir-Tenant",
  ]
  /// What Weir itself puts into requests, which programs pass on.
  private static let passedOn: Set<String> = ["weir-deadline", "weir-retries"]

  func enqueue(
    _ request: MessagingRequest, _ queue: String, _ now: WallTime, _ random: inout SeededRandom
  ) throws(Refused) -> Parsed {
    _ = try parameters(request, [])
    if request.body.count > QueueLimits.bodyBytesMax {
      throw Refused(
        MessagingAnswer(
          .bodyTooLarge,
          detail: "A message has at most \(QueueLimits.bodyBytesMax) bytes, this has \(request.body.count); "
            + "store what is larger elsewhere, and send where."))
    }
    var flaws: [Flaw] = []
    var draft = Draft()
    for (word, value) in Self.said(request, Self.words, &flaws) {
      Self.collect(&flaws) { () throws(Flaw) in
        try draft.set(String(word.dropFirst(5)).lowercased(), value, at: word, now)
      }
    }
    Self.collect(&flaws) { () throws(Flaw) in draft.fields = try MessageFields.kept(of: request, withType: true) }
    draft.body = request.body
    if draft.key.isEmpty {
      Self.collect(&flaws) { () throws(Flaw) in
        draft.key = try key(queue, request, type: request.values("content-type").first, draft.body)
      }
    }
    if !flaws.isEmpty { throw Refused(flaws) }
    let id = draft.id ?? MessageID.next(now, &random)
    return .ask(.enqueue(queue: queue, [draft.message(id)]), then: .enqueued(queue, isSingle: true))
  }

  /// The fields of ours, by their known names; each may stand there once.
  static func said(
    _ request: MessagingRequest, _ words: [String], _ flaws: inout [Flaw]
  ) -> [(word: String, value: String)] {
    var found: [(word: String, value: String)] = []
    for field in request.fields {
      let name = field.name.lowercased()
      guard name.hasPrefix("weir-"), !passedOn.contains(name) else { continue }
      guard let word = words.first(where: { $0.lowercased() == name }) else {
        // A slip would be a message that is not delayed; what is far from all of ours is somebody else's.
        let flaw = Flaw.unknown(field.name, field.name, among: words)
        if flaw.mend?.hasPrefix("Did") == true { flaws.append(flaw) }
        continue
      }
      if found.contains(where: { $0.word == word }) {
        flaws.append(Flaw(word, "it stands there twice"))
      } else {
        found.append((word, field.value.trimming { $0 == " " || $0 == "\t" }))
      }
    }
    return found
  }

  func batch(
    _ request: MessagingRequest, _ queue: String, _ now: WallTime, _ random: inout SeededRandom
  ) throws(Refused) -> Parsed {
    _ = try parameters(request, [])
    let root = try json(request)
    guard let list = try only(["messages"], of: root)["messages"], list.kind == .array else {
      throw Refused([
        Flaw("$.messages", "a list of messages is missing", mend: #"Send {"messages":[{"body":{"to":"a"}}]}."#)
      ])
    }
    let items = list.items
    guard (1...QueueLimits.batchMax).contains(items.count) else {
      throw Refused([
        Flaw("$.messages", "it has \(items.count) messages; 1 to \(QueueLimits.batchMax) are taken at once")
      ])
    }
    var flaws: [Flaw] = []
    var inherited: [UInt8] = []
    Self.collect(&flaws) { () throws(Flaw) in inherited = try MessageFields.kept(of: request, withType: false) }
    var messages: [NewMessage] = []
    messages.reserveCapacity(items.count)
    for (i, item) in items.enumerated() {
      if flaws.count >= Self.flawsMax { break }
      Self.collect(&flaws) { () throws(Flaw) in
        var draft = try draft(item, at: "$.messages[\(i)]", now)
        if draft.key.isEmpty { draft.key = try key(queue, request, type: draft.type, draft.body) }
        draft.fields += inherited
        messages.append(draft.message(draft.id ?? MessageID.next(now, &random)))
      }
    }
    if !flaws.isEmpty { throw Refused(flaws) }
    // Base64 and escapes only shrink, and what each message inherits is small: but bounded is what is counted.
    let bytes = messages.reduce(0) { $0 + $1.body.count + $1.fields.count + $1.key.count + $1.tenant.count + 200 }
    guard bytes <= QueueLimits.batchBytesMax else { throw Refused(Self.tooLarge(bytes)) }
    return .ask(.enqueue(queue: queue, messages), then: .enqueued(queue, isSingle: false))
  }

  private static let members = [
    "id", "key", "priority", "delay", "at", "keep", "tenant", "content-type", "body", "text", "base64",
  ]

  /// A message of a batch.
  private func draft(_ item: JSONView, at: String, _ now: WallTime) throws(Flaw) -> Draft {
    guard item.kind == .object else {
      throw Flaw(at, "\(item.words) is no message", mend: #"Write {"body": …}, {"text": "…"} or {"base64": "…"}."#)
    }
    var draft = Draft()
    var payload: String?
    var type: String?
    for (name, value) in item.members {
      let here = "\(at).\(name)"
      guard Self.members.contains(name) else { throw .unknown(here, name, among: Self.members) }
      guard draft.written.insert(name).inserted else { throw Flaw(here, "it stands there twice") }
      switch name {
      case "body", "text", "base64":
        if let payload { throw Flaw(here, "\(payload) is there, too; a message has one of body, text and base64") }
        payload = name
        draft.body = try Self.payload(name, value, at: here)
      case "content-type":
        guard let text = value.text else { throw Flaw(here, "\(value.words) is no media type") }
        type = text
      case "priority":
        guard let number = value.scalar else { throw Flaw(here, "\(value.words) is no priority") }
        draft.written.remove(name)
        try draft.set(name, number, at: here, now)
      default:
        if value.kind == .null { continue }
        let isTime = name == "delay" || name == "keep"
        guard let text = value.text else {
          throw Flaw(
            here, "\(value.words) is no text",
            mend: isTime && value.integer != nil ? "Write \"\(value.scalar ?? "")s\"." : nil)
        }
        draft.written.remove(name)
        try draft.set(name, text, at: here, now)
      }
    }
    guard let payload else { throw Flaw(at, "a message has one of body, text and base64") }
    guard draft.body.count <= QueueLimits.bodyBytesMax else {
      throw Flaw("\(at).\(payload)", "it has \(draft.body.count) bytes, at most \(QueueLimits.bodyBytesMax) are taken")
    }
    let usual =
      ["body": "application/json", "text": "text/plain; charset=utf-8"][payload] ?? "application/octet-stream"
    draft.type = type ?? usual
    draft.fields = try MessageFields.line("content-type", type ?? usual, at: "\(at).content-type")
    return draft
  }

  private static func payload(_ name: String, _ value: JSONView, at: String) throws(Flaw) -> [UInt8] {
    if name == "body" { return Array(value.raw) }
    guard let text = value.text else { throw Flaw(at, "\(value.words) is no text") }
    if name == "text" { return Array(text.utf8) }
    guard let data = Data(base64Encoded: text) else {
      throw Flaw(at, "this is no base64", mend: "Use the alphabet with + and /, with padding (RFC 4648 §4).")
    }
    return Array(data)
  }

  /// The key that a payload or a field gives, where the queue says so and neither is missing.
  private func key(_ queue: String, _ request: MessagingRequest, type: String?, _ body: [UInt8]) throws(Flaw) -> [UInt8]
  {
    guard let name = keyField(queue) else { return [] }
    var found: String?
    if let type, MediaType.isJSON(type), let root = try? JSONView(body) {
      found = Self.member(name, of: root)?.scalar
    }
    guard let key = found ?? request.values(name.lowercased()).first, !key.isEmpty else { return [] }
    return try Draft.text("key", key, at: "the payload's \(name)", QueueLimits.keyBytesMax)
  }

  /// The member of this name; where there is none and the name has dots, the one that they lead to.
  static func member(_ name: String, of root: JSONView) -> JSONView? { root.member(name) }

  // MARK: JSON bodies

  /// The body as a JSON object.
  func json(_ request: MessagingRequest) throws(Refused) -> JSONView {
    if request.body.count > QueueLimits.batchBytesMax { throw Refused(Self.tooLarge(request.body.count)) }
    let root: JSONView
    do throws(JSONView.Broken) { root = try JSONView(request.body) } catch {
      let what =
        request.body.isEmpty
        ? "the body is empty, and no JSON" : "here the body stops being JSON (RFC 8259; 128 deep at most)"
      throw Refused([Flaw("line \(error.line), column \(error.column)", what)])
    }
    guard root.kind == .object else { throw Refused([Flaw("$", "\(root.words) stands where an object must")]) }
    return root
  }

  /// The members of an object, all of which are known and stand there once.
  func only(_ known: [String], of root: JSONView) throws(Refused) -> [String: JSONView] {
    var found: [String: JSONView] = [:]
    var flaws: [Flaw] = []
    for (name, value) in root.members {
      if !known.contains(name) {
        flaws.append(.unknown("$.\(name)", name, among: known))
      } else if found.updateValue(value, forKey: name) != nil {
        flaws.append(Flaw("$.\(name)", "it stands there twice"))
      }
    }
    if !flaws.isEmpty { throw Refused(flaws) }
    return found
  }

  static func tooLarge(_ bytes: Int) -> MessagingAnswer {
    MessagingAnswer(
      .bodyTooLarge,
      detail: "A batch has at most \(QueueLimits.batchBytesMax) bytes, this has \(bytes); send it in parts.")
  }

  static func collect(_ flaws: inout [Flaw], _ step: () throws(Flaw) -> Void) {
    do throws(Flaw) { try step() } catch { flaws.append(error) }
  }

  /// A message in the making.
  struct Draft {
    var id: [UInt8]?
    var key: [UInt8] = []
    var tenant: [UInt8] = []
    var priority = QueueLimits.priorityUsual
    var notBefore: Int64 = 0
    var keep: Int64?
    var type: String?
    var fields: [UInt8] = []
    var body: [UInt8] = []
    /// The words that have been set, in lower case.
    var written: Set<String> = []

    func message(_ id: [UInt8]) -> NewMessage {
      NewMessage(
        id: id, key: key, tenant: tenant, priority: priority, notBefore: notBefore, keep: keep, fields: fields,
        body: body)
    }

    /// `word`: `id`, `key`, `priority`, `delay`, `at`, `keep`, `tenant`.
    mutating func set(_ word: String, _ text: String, at place: String, _ now: WallTime) throws(Flaw) {
      written.insert(word)
      switch word {
      case "id":
        let bytes = Array(text.utf8)
        guard QueueAPI.isID(bytes) else {
          throw Flaw(
            place, "\(Flaw.quoted(text)) is no id: 1 to \(QueueLimits.idBytesMax) visible ASCII characters",
            mend: "Send a UUID, or leave it out.")
        }
        id = bytes
      case "key": key = try Draft.text("key", text, at: place, QueueLimits.keyBytesMax)
      case "tenant": tenant = try Draft.text("tenant", text, at: place, QueueLimits.tenantBytesMax)
      case "priority":
        priority = UInt8(truncatingIfNeeded: try QueueAPI.integer(place, text, 0...Int64(QueueLimits.priorityMax)))
      case "keep": keep = try QueueAPI.length(place, text, from: 1)
      case "delay":
        if written.contains("at") { throw Flaw(place, "a message has a delay or a time, not both") }
        let delay = try QueueAPI.length(place, text)
        notBefore = delay == 0 ? 0 : now.milliseconds + delay
      default:
        if written.contains("delay") { throw Flaw(place, "a message has a delay or a time, not both") }
        guard let point = TimeText.point(text) else {
          throw Flaw(
            place, "\(Flaw.quoted(text)) is no point of time", mend: "Write it as RFC 3339 has it: \(now.rfc3339).")
        }
        // What is past is now.
        notBefore = point <= now ? 0 : point.milliseconds
      }
    }

    /// 1 to `most` bytes of UTF-8 without control characters: it stands in a field.
    static func text(_ what: String, _ text: String, at place: String, _ most: Int) throws(Flaw) -> [UInt8] {
      let bytes = Array(text.utf8)
      guard (1...most).contains(bytes.count), MessageFields.isValue(text) else {
        throw Flaw(place, "\(Flaw.quoted(text)) is no \(what): 1 to \(most) bytes of UTF-8 without control characters")
      }
      return bytes
    }
  }
}

extension WallTime {
  static func <= (a: WallTime, b: WallTime) -> Bool { a.milliseconds <= b.milliseconds }
}

/// Ids for messages whose sender gave none.
enum MessageID {
  /// A UUID of version 7 (RFC 9562 §5.7), which rises with the time.
  static func next(_ now: WallTime, _ random: inout SeededRandom) -> [UInt8] {
    let time = UInt64(max(0, now.milliseconds)) & 0xffff_ffff_ffff
    return text(time << 16 | 0x7000 | random.next() >> 52, 0x8000_0000_0000_0000 | random.next() >> 2)
  }

  /// A UUID of version 4 (RFC 9562 §5.4): 122 bits of chance, and nothing else.
  static func drawn(_ source: inout some RandomNumberGenerator) -> [UInt8] {
    text(source.next() & ~0xf000 | 0x4000, 0x8000_0000_0000_0000 | source.next() >> 2)
  }

  private static func text(_ high: UInt64, _ low: UInt64) -> [UInt8] {
    let digits = Array("0123456789abcdef".utf8)
    var out: [UInt8] = []
    out.reserveCapacity(36)
    for i in 0..<32 {
      if [8, 12, 16, 20].contains(i) { out.append(0x2d) }
      let word = i < 16 ? high : low
      out.append(digits[Int(word >> UInt64(60 - i % 16 * 4) & 15)])
    }
    return out
  }
}
