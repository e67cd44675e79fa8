// SPDX-License-Identifier: Apache-2.0
internal import Crypto
internal import WeirBase
internal import WeirFlows
internal import WeirWire

extension LogAPI {
  /// What may be said of an event of a topic, and of one of a stream.
  private static func words(_ log: Log) -> [String] {
    ["Weir-Id", "Weir-Key", "Weir-Type"] + (log.kind == .stream ? ["Weir-Expected-Version"] : [])
  }

  /// What queues and streams know, and topics do not; ignored it would be a promise that nobody keeps.
  private static let foreign = [
    "weir-delay", "weir-at", "weir-priority", "weir-keep", "weir-tenant", "weir-expected-version",
  ]

  /// An event of a request, before it is an entry.
  private struct Draft {
    /// Where it stands in the request: `$[3]`, or nothing.
    var place: String
    var event: CloudEvent?
    /// Shown to who has sent it.
    var id: String
    var entry: NewEntry
    /// What its data is said to be; nil: nothing is said.
    var type: String?
    /// Where its data stands: `$[3].data`, or `$` when it is the body.
    var data: String

    /// Where an attribute stands.
    func attribute(_ name: String) -> String {
      event == nil ? "Weir-Type" : place.isEmpty ? "ce-\(name)" : "\(place).\(name)"
    }
  }

  /// `key`: of the address.
  func append(
    _ request: MessagingRequest, _ log: Log, key: [UInt8]?, _ now: WallTime, _ random: inout SeededRandom
  ) throws(QueueAPI.Refused) -> MessagingAPI.Outcome {
    let queues = QueueAPI()
    _ = try queues.parameters(request, [])
    if request.body.count > QueueLimits.batchBytesMax { throw QueueAPI.Refused(QueueAPI.tooLarge(request.body.count)) }
    var flaws: [Flaw] = []
    let said = said(of: request, log, &flaws)
    var (drafts, mode) = try drafts(request, said, log.marks, now, &random, &flaws)
    let isBatch = mode == .batched
    if isBatch, let id = said.id {
      flaws.append(Flaw("Weir-Id", "\(Flaw.quoted(id)) cannot be that of several events"))
    }
    if key != nil, said.key != nil { flaws.append(Flaw("Weir-Key", "the address has a key already")) }
    for i in drafts.indices where flaws.count < QueueAPI.flawsMax {
      QueueAPI.collect(&flaws) { () throws(Flaw) in
        drafts[i].entry.key = try self.key(of: drafts[i], request, log, said.key, address: key)
      }
    }
    if !flaws.isEmpty { throw QueueAPI.Refused(flaws) }
    if drafts.isEmpty, log.kind == .topic { return .answer(LogAnswering.accepted(nothingTo: log.name)) }
    guard (1...QueueLimits.batchMax).contains(drafts.count) else {
      throw QueueAPI.Refused([
        Flaw("$", "it has \(drafts.count) events; 1 to \(QueueLimits.batchMax) are taken at once")
      ])
    }
    for draft in drafts where draft.entry.body.count > QueueLimits.bodyBytesMax {
      throw QueueAPI.Refused(
        MessagingAnswer(
          .bodyTooLarge,
          detail: "The data of an event has at most \(QueueLimits.bodyBytesMax) bytes, this has "
            + "\(draft.entry.body.count); store what is larger elsewhere, and say where."))
    }
    let bytes = drafts.reduce(0) { $0 + $1.entry.body.count + $1.entry.fields.count + $1.entry.key.count + 400 }
    guard bytes <= QueueLimits.batchBytesMax else { throw QueueAPI.Refused(QueueAPI.tooLarge(bytes)) }
    try judge(drafts, log)
    var entries = drafts.map(\.entry)
    if let expected = said.expected {
      if entries.contains(where: { $0.key != entries[0].key }) {
        throw QueueAPI.Refused([
          Flaw("Weir-Expected-Version", "the events belong to several streams, and each has a version of its own")
        ])
      }
      // Those behind the first follow it in the same transaction.
      entries[0].expected = expected
    }
    return .ask(
      .append(log: log.name, entries),
      then: .log(
        .appended(
          LogAnswering.Appending(
            log: log.name, isStream: log.kind == .stream, ids: drafts.map(\.id), keys: entries.map(\.key),
            isSingle: !isBatch, isKeyed: key != nil))))
  }

  // MARK: Fields

  private struct Said {
    var id: String?
    var key: [UInt8]?
    var type: String?
    var expected: Int64?
  }

  private func said(of request: MessagingRequest, _ log: Log, _ flaws: inout [Flaw]) -> Said {
    var said = Said()
    for field in request.fields {
      let name = field.name.lowercased()
      guard LogAPI.foreign.contains(name), log.kind == .topic || name != "weir-expected-version" else { continue }
      flaws.append(
        Flaw(
          field.name, "\(log.kind == .topic ? "an event of a topic" : "an event of a stream") has none",
          mend: name == "weir-expected-version"
            ? "A stream has versions." : "A queue's message has it: see docs/queues-http.md."))
    }
    for (word, value) in QueueAPI.said(request, LogAPI.words(log) + LogAPI.foreign, &flaws) {
      QueueAPI.collect(&flaws) { () throws(Flaw) in
        switch word {
        case "Weir-Id":
          guard QueueAPI.isID(Array(value.utf8)) else {
            throw Flaw(
              word, "\(Flaw.quoted(value)) is no id: 1 to \(QueueLimits.idBytesMax) visible ASCII characters",
              mend: "Send a UUID, or leave it out.")
          }
          said.id = value
        case "Weir-Key": said.key = try QueueAPI.Draft.text("key", value, at: word, QueueLimits.keyBytesMax)
        case "Weir-Type":
          _ = try QueueAPI.Draft.text("type", value, at: word, LogLimits.typeBytesMax)
          said.type = value
        case "Weir-Expected-Version": said.expected = try QueueAPI.integer(word, value, 0...Int64.max)
        default: break
        }
      }
    }
    guard log.kind == .stream else { return said }
    for value in request.values("if-match") {
      QueueAPI.collect(&flaws) { () throws(Flaw) in
        let bare = value.trimming { $0 == " " || $0 == "\t" }
        guard bare.count > 2, bare.hasPrefix("\""), bare.hasSuffix("\"") else {
          throw Flaw("If-Match", "\(Flaw.quoted(value)) is no version", mend: #"Write it in quotes: "7"."#)
        }
        let version = try QueueAPI.integer("If-Match", String(bare.dropFirst().dropLast()), 0...Int64.max)
        if let other = said.expected, other != version {
          throw Flaw("If-Match", "\(version) is another version than the expected \(other)")
        }
        said.expected = version
      }
    }
    return said
  }

  // MARK: Events

  private func drafts(
    _ request: MessagingRequest, _ said: Said, _ marks: [String], _ now: WallTime, _ random: inout SeededRandom,
    _ flaws: inout [Flaw]
  ) throws(QueueAPI.Refused) -> (drafts: [Draft], mode: CloudEvent.Mode?) {
    let content: CloudEvent.Content
    do throws(CloudEvent.Malformed) { content = try CloudEvent.read(request.fields, request.body) } catch {
      throw QueueAPI.Refused(flaws + error.flaws)
    }
    guard case .events(let events, let mode) = content else {
      var fields: [UInt8] = []
      QueueAPI.collect(&flaws) { () throws(Flaw) in
        fields = try MessageFields.kept(of: request, withType: true, marks: marks)
      }
      let id = said.id.map { Array($0.utf8) } ?? MessageID.next(now, &random)
      let entry = NewEntry(id: id, type: Array((said.type ?? "").utf8), fields: fields, body: request.body)
      let draft = Draft(
        place: "", id: String(decoding: id, as: UTF8.self), entry: entry,
        type: request.values("content-type").first, data: "$")
      return ([draft], nil)
    }
    var inherited: [UInt8] = []
    QueueAPI.collect(&flaws) { () throws(Flaw) in
      inherited = try MessageFields.kept(of: request, withType: mode == .binary, marks: marks)
    }
    var drafts: [Draft] = []
    drafts.reserveCapacity(events.count)
    for (i, event) in events.enumerated() where flaws.count < QueueAPI.flawsMax {
      let place = mode == .batched ? "$[\(i)]" : mode == .structured ? "$" : ""
      QueueAPI.collect(&flaws) { () throws(Flaw) in
        drafts.append(try draft(event, place, said, inherited, isWritten: mode == .binary))
      }
    }
    return (drafts, mode)
  }

  /// `isWritten`: its attributes stand in fields, and are among those that are kept.
  private func draft(
    _ event: CloudEvent, _ place: String, _ said: Said, _ inherited: [UInt8], isWritten: Bool
  ) throws(Flaw) -> Draft {
    func at(_ name: String) -> String { place.isEmpty ? "ce-\(name)" : "\(place).\(name)" }
    guard event.type.utf8.count <= LogLimits.typeBytesMax else {
      throw Flaw(at("type"), "it has \(event.type.utf8.count) bytes, at most \(LogLimits.typeBytesMax) may be")
    }
    if let type = said.type, type != event.type {
      throw Flaw("Weir-Type", "\(Flaw.quoted(type)) is another type than the event's", mend: "Leave it out.")
    }
    var fields = inherited
    if !isWritten {
      var lines: [UInt8] = []
      for field in event.binary.fields {
        let name = field.name.lowercased()
        // Empty extensions say nothing, and no field is empty.
        if field.value.isEmpty { continue }
        let what = name == "content-type" ? "datacontenttype" : String(name.dropFirst(3))
        lines += try MessageFields.line(name, field.value, at: at(what))
      }
      fields = lines + inherited
      guard fields.count <= QueueLimits.fieldsBytesMax else {
        throw Flaw(
          place, "its attributes have \(fields.count) bytes, at most \(QueueLimits.fieldsBytesMax) are kept")
      }
    }
    let entry = NewEntry(
      id: said.id.map { Array($0.utf8) } ?? LogAPI.id(of: event), type: Array(event.type.utf8), fields: fields,
      body: event.data ?? [])
    return Draft(
      place: place, event: event, id: said.id ?? event.id, entry: entry,
      type: event.data == nil ? nil : event.datacontenttype, data: place.isEmpty ? "$" : "\(place).data")
  }

  /// An event is the same one when source and id are (CloudEvents core, *id*).
  ///
  /// No source has a `|`. What is too long for an id, or no visible ASCII, is its digest.
  static func id(of event: CloudEvent) -> [UInt8] {
    let plain = Array("\(event.source)|\(event.id)".utf8)
    if QueueAPI.isID(plain) { return plain }
    let digits = Array("0123456789abcdef".utf8)
    return SHA256.hash(data: plain).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
  }

  // MARK: Keys

  /// Named by the address, by `Weir-Key`, or given by what the file says: a member of the data, an attribute, a field.
  private func key(
    of draft: Draft, _ request: MessagingRequest, _ log: Log, _ said: [UInt8]?, address: [UInt8]?
  ) throws(Flaw) -> [UInt8] {
    var found: (text: String, place: String)?
    if let name = log.key {
      if draft.type.map(MediaType.isJSON) ?? (draft.event == nil), let root = try? JSONView(draft.entry.body),
        let text = QueueAPI.member(name, of: root)?.scalar
      {
        found = (text, "\(draft.data).\(name)")
      } else if let value = draft.event?.attributes.first(where: { $0.name == name })?.value.text {
        found = (value, draft.attribute(name))
      } else if let value = request.values(name.lowercased()).first {
        found = (value, name)
      }
    }
    if let given = address ?? said {
      if log.kind == .stream, let found, Array(found.text.utf8) != given {
        throw Flaw(found.place, "\(Flaw.quoted(found.text)) is another key than the one the event is sent to")
      }
      return given
    }
    guard let found, !found.text.isEmpty else {
      if log.kind == .topic { return [] }
      // One stream for all, and its events in one order.
      guard let name = log.key else { return Array(log.name.utf8) }
      throw Flaw(
        draft.place.isEmpty ? "the event" : draft.place, "it has no \(name), and no key",
        mend: "Send it to /streams/\(log.name)/<key>.")
    }
    return try QueueAPI.Draft.text("key", found.text, at: found.place, QueueLimits.keyBytesMax)
  }

  // MARK: What fits

  private func judge(_ drafts: [Draft], _ log: Log) throws(QueueAPI.Refused) {
    var misfits: [Flaw] = []
    var effort = JSONSchema.Effort(bytes: drafts.reduce(0) { $0 + $1.entry.body.count })
    for draft in drafts where misfits.count < QueueAPI.flawsMax {
      if !log.types.isEmpty {
        let type = String(decoding: draft.entry.type, as: UTF8.self)
        if type.isEmpty {
          misfits.append(
            Flaw(
              "Weir-Type", "the event has no type",
              mend: "\(log.name) takes \(log.types.prefix(16).joined(separator: ", "))."))
        } else if !log.types.contains(type) {
          misfits.append(.unknown(draft.attribute("type"), type, among: log.types))
        }
      }
      guard let schema = log.schema else { continue }
      if let event = draft.event, event.data == nil {
        misfits.append(
          Flaw(draft.place.isEmpty ? "the body" : draft.data, "the event has no data, and \(log.name) has a schema"))
        continue
      }
      if let type = draft.type, !MediaType.isJSON(type) {
        misfits.append(
          Flaw(
            draft.place.isEmpty ? "Content-Type" : "\(draft.place).datacontenttype",
            "\(Flaw.quoted(type)) is no JSON, and \(log.name) has a schema", mend: "Send application/json."))
        continue
      }
      for var flaw in schema.flaws(of: draft.entry.body, within: &effort) {
        if flaw.at.hasPrefix("$") { flaw.at = draft.data + flaw.at.dropFirst() }
        misfits.append(flaw)
      }
    }
    if misfits.isEmpty { return }
    throw QueueAPI.Refused(MessagingAnswer(.eventMisfit, flaws: Array(misfits.prefix(QueueAPI.flawsMax))))
  }
}
