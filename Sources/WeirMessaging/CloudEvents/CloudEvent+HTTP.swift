// SPDX-License-Identifier: Apache-2.0

/// Events in requests and answers (CloudEvents 1.0.2, *HTTP Protocol Binding*).
extension CloudEvent {
  /// How events stand in a message (§1.3).
  package enum Mode: Sendable, Equatable { case binary, structured, batched }

  package enum Content: Sendable, Equatable {
    case events([CloudEvent], Mode)
    /// A message like any other: no event is in it.
    case none
  }

  package static let structuredType = "application/cloudevents+json"
  package static let batchType = "application/cloudevents-batch+json"

  /// The events of a message.
  package static func read(_ fields: [MessagingField], _ body: [UInt8]) throws(Malformed) -> Content {
    let types = fields.filter { $0.name.lowercased() == "content-type" }
    let type = types.first?.value ?? ""
    let essence = MediaType.essence(type)
    if essence.hasPrefix("application/cloudevents") {
      let isBatch = essence.hasPrefix("application/cloudevents-batch")
      guard types.count == 1, essence == (isBatch ? batchType : structuredType) else {
        throw Malformed(flaws: [
          Flaw(
            "Content-Type", "\(Flaw.quoted(type)) is a format that is not read here",
            mend: "Send \(isBatch ? batchType : structuredType).")
        ])
      }
      let parameters = type.lowercased().filter { $0 != " " && $0 != "\"" }
      if parameters.contains("charset="), !parameters.contains("charset=utf-8") {
        throw Malformed(flaws: [Flaw("Content-Type", "JSON is written in UTF-8", mend: "Leave the charset out.")])
      }
      return isBatch
        ? .events(try read(jsonBatch: body), .batched) : .events([try read(json: body)], .structured)
    }
    guard fields.contains(where: { $0.name.lowercased() == "ce-specversion" }) else { return .none }
    return .events([try binary(fields, body)], .binary)
  }

  /// The fields and the body of a message with this event; `Content-Type` is among the fields.
  ///
  /// Without data there is no body, and no `Content-Type`.
  package var binary: (fields: [MessagingField], body: [UInt8]) {
    var fields = [MessagingField("ce-specversion", "1.0")]
    for attribute in attributes where attribute.name != "datacontenttype" {
      fields.append(MessagingField("ce-\(attribute.name)", CloudEvent.encoded(attribute.value.text)))
    }
    if let datacontenttype { fields.append(MessagingField("Content-Type", datacontenttype)) }
    return (fields, data ?? [])
  }

  package var structured: (fields: [MessagingField], body: [UInt8]) {
    ([MessagingField("Content-Type", CloudEvent.structuredType)], json)
  }

  package static func batched(_ events: [CloudEvent]) -> (fields: [MessagingField], body: [UInt8]) {
    ([MessagingField("Content-Type", batchType)], jsonBatch(events))
  }

  // MARK: Binary mode

  private static func binary(_ fields: [MessagingField], _ body: [UInt8]) throws(Malformed) -> CloudEvent {
    var event = CloudEvent(id: "", source: "", type: "")
    var version: String?
    var flaws: [Flaw] = []
    var written: Set<String> = []
    for field in fields {
      let name = field.name.lowercased()
      let isType = name == "content-type"
      guard isType || name.hasPrefix("ce-") else { continue }
      guard written.insert(name).inserted else {
        flaws.append(Flaw(field.name, "it stands there twice"))
        continue
      }
      QueueAPI.collect(&flaws) { () throws(Flaw) in
        if isType { return try event.set("datacontenttype", .text(field.value), at: field.name) }
        let attribute = String(name.dropFirst(3))
        guard isName(attribute) else {
          throw Flaw(field.name, "names of attributes are lower-case letters and digits")
        }
        if attribute == "datacontenttype" {
          throw Flaw(field.name, "the type of the data is Content-Type", mend: "Leave this field out.")
        }
        guard let value = decoded(field.value) else { throw Flaw(field.name, "its escapes are no UTF-8") }
        if attribute == "specversion" {
          version = value
        } else {
          try event.set(attribute, .text(value), at: field.name)
        }
      }
    }
    flaws += event.missing(version) { "ce-\($0)" }.filter { new in !flaws.contains { $0.at.lowercased() == new.at } }
    if !flaws.isEmpty { throw Malformed(flaws: Array(flaws.prefix(QueueAPI.flawsMax))) }
    // HTTP does not tell an empty body from none; without a type there is none.
    event.data = body.isEmpty && event.datacontenttype == nil ? nil : body
    return event
  }

  /// All but visible ASCII, and `"` and `%`, escaped (§3.1.3.2).
  static func encoded(_ text: String) -> String {
    Percent.encode(text.utf8) { $0 > 0x20 && $0 < 0x7f && $0 != 0x22 && $0 != 0x25 }
  }

  /// Quotes taken off, then escapes undone, once; nil for escapes that are no UTF-8.
  ///
  /// A `%` that begins no escape is itself: older senders wrote it so.
  static func decoded(_ value: String) -> String? {
    var plain: [UInt8] = []
    var isQuoted = false
    var isEscaped = false
    for byte in value.utf8 {
      if isEscaped {
        plain.append(byte)
        isEscaped = false
      } else if byte == 0x22 {
        isQuoted.toggle()
      } else if byte == 0x5c && isQuoted {
        isEscaped = true
      } else {
        plain.append(byte)
      }
    }
    var out: [UInt8] = []
    var i = 0
    while i < plain.count {
      if plain[i] == 0x25, i + 2 < plain.count, let high = hex(plain[i + 1]), let low = hex(plain[i + 2]) {
        out.append(high << 4 | low)
        i += 3
      } else {
        out.append(plain[i])
        i += 1
      }
    }
    return String(validating: out, as: UTF8.self)
  }

  private static func hex(_ byte: UInt8) -> UInt8? { Character(Unicode.Scalar(byte)).hexDigitValue.map { UInt8($0) } }
}
