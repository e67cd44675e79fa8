// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import WeirBase
internal import WeirWire

/// How an entry of a log stands in an answer, and in what is brought to a service.
enum LogEvent {
  /// The event that an entry was made from; nil when it was none.
  static func event(of fields: [MessagingField], _ body: [UInt8]) -> CloudEvent? {
    guard case .events(let events, _) = try? CloudEvent.read(fields, body) else { return nil }
    return events.first
  }

  /// An entry as a CloudEvent; one that was none becomes one.
  ///
  /// Where it stands is told by the extensions `weirposition` and `weirversion`, its key by `partitionkey` (the
  /// *Partitioning* extension).
  static func event(_ entry: LogEntry, log: String, isStream: Bool) -> CloudEvent {
    let fields = MessageFields.pairs(entry.fields)
    var event: CloudEvent
    if let read = LogEvent.event(of: fields, entry.body) {
      event = read
    } else {
      let type = String(decoding: entry.type, as: UTF8.self)
      event = CloudEvent(
        id: String(decoding: entry.id, as: UTF8.self), source: "/\(isStream ? "streams" : "topics")/\(log)",
        type: type.isEmpty ? "weir.event" : type)
      event.time = WallTime(milliseconds: entry.at).rfc3339
      event.datacontenttype =
        fields.first { $0.name == "content-type" }?.value
        ?? (JSONText.isWhole(entry.body.span) ? "application/json" : "application/octet-stream")
      event.data = entry.body
    }
    func extend(_ name: String, _ value: String) {
      if !event.extensions.contains(where: { $0.name == name }) {
        event.extensions.append(CloudEvent.Extension(name, .text(value)))
      }
    }
    extend("weirposition", "\(entry.position)")
    if entry.version > 0 { extend("weirversion", "\(entry.version)") }
    if !entry.key.isEmpty { extend("partitionkey", String(decoding: entry.key, as: UTF8.self)) }
    return event
  }

  /// The members that every entry has; an event's attribute of such a name is told in a batch of CloudEvents only.
  private static let own: Set<String> = ["position", "version", "at", "key", "id", "type", "datacontenttype", "fields"]

  static func write(_ entry: LogEntry, _ one: inout JSONWriter) {
    let fields = MessageFields.pairs(entry.fields)
    let event = LogEvent.event(of: fields, entry.body)
    one.number("position", entry.position)
    if entry.version > 0 { one.number("version", entry.version) }
    one.text("at", WallTime(milliseconds: entry.at).rfc3339)
    if !entry.key.isEmpty { one.text("key", String(decoding: entry.key, as: UTF8.self)) }
    one.text("id", event?.id ?? String(decoding: entry.id, as: UTF8.self))
    if !entry.type.isEmpty { one.text("type", String(decoding: entry.type, as: UTF8.self)) }
    if let event {
      one.text("specversion", "1.0")
      for attribute in event.attributes where !own.contains(attribute.name) {
        switch attribute.value {
        case .text(let text): one.text(attribute.name, text)
        case .integer(let number): one.number(attribute.name, number)
        case .bool(let value): one.bool(attribute.name, value)
        }
      }
    }
    let type = fields.first { $0.name == "content-type" }?.value
    if let type { one.text("datacontenttype", type) }
    if event == nil || event?.data != nil { write(data: entry.body, type: type, &one) }
    let others = fields.filter { $0.name != "content-type" && !$0.name.hasPrefix("ce-") }
    guard !others.isEmpty else { return }
    one.object("fields") { object in
      for field in others { object.text(field.name, field.value) }
    }
  }

  /// JSON stands as JSON, text as text, anything else as base64.
  static func write(data: [UInt8], type: String?, _ one: inout JSONWriter) {
    if let type, MediaType.isJSON(type), JSONText.isWhole(data.span) {
      one.raw("data", data)
    } else if type.map({ !MediaType.isJSON($0) }) ?? true, let text = String(validating: data, as: UTF8.self) {
      one.text("data", text)
    } else {
      one.text("data_base64", Data(data).base64EncodedString())
    }
  }
}
