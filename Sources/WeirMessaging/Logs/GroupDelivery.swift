// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
package import WeirWire

/// The request with which the events of a group are brought to its service.
///
/// One event goes as it came: its body is the body, its `Content-Type` and `ce-…` are fields. Several go as a JSON list of
/// their bodies when all are JSON and none is a CloudEvent, else as a batch of CloudEvents; they succeed or fail together.
package struct GroupDelivery: Sendable, Equatable {
  /// Lines that go with the body: what it is.
  package var fields: [UInt8]
  /// Lines that say where it comes from; only Weir may write them.
  package var lines: [UInt8]
  package var body: [UInt8]
  /// What is delivered again is known again by it; nil for several, which may be others the next time.
  package var idempotencyKey: [UInt8]?

  /// One message of a group.
  package init(_ message: LeasedMessage, log: String, isStream: Bool, group: String) {
    fields = message.message.fields
    body = message.message.body
    lines = GroupDelivery.origin(log, isStream, group)
    let position = message.entry.map { "\($0.position)" } ?? String(decoding: message.message.id, as: UTF8.self)
    // Of the group, for two of them may bring it to one service, which is to work on it twice.
    idempotencyKey = Array("\(log).\(group)/\(position)".utf8)
    add("Weir-Id", message.entry?.id ?? message.message.id)
    add("Weir-Key", message.message.key)
    if let entry = message.entry { add("Weir-Type", entry.type) }
    add("Weir-Position", Array(position.utf8))
    if let entry = message.entry, entry.version > 0 { add("Weir-Version", "\(entry.version)") }
    add("Weir-Attempt", "\(message.attempt)")
    add("Weir-Enqueued-At", WallTime(milliseconds: message.entry?.at ?? message.enqueuedAt).rfc3339)
  }

  /// Several messages of a group, in the order of their positions.
  package init(batch messages: [LeasedMessage], log: String, isStream: Bool, group: String) {
    let entries = messages.map { message in
      LogEntry(
        position: message.entry?.position ?? 0, version: message.entry?.version ?? 0,
        at: message.entry?.at ?? message.enqueuedAt, id: message.entry?.id ?? message.message.id,
        key: message.message.key, type: message.entry?.type ?? [], fields: message.message.fields,
        body: message.message.body)
    }.sorted { $0.position < $1.position }
    let isPlain = entries.allSatisfy { entry in
      let fields = MessageFields.pairs(entry.fields)
      let type = fields.first { $0.name == "content-type" }?.value
      return !fields.contains { $0.name == "ce-specversion" } && MediaType.isJSON(type ?? "")
        && JSONText.isWhole(entry.body.span)
    }
    var type = "application/json"
    if isPlain {
      var writer = JSONWriter()
      writer.array { list in
        for entry in entries { list.raw(nil, entry.body) }
      }
      body = writer.bytes
    } else {
      type = CloudEvent.batchType
      body = CloudEvent.jsonBatch(entries.map { LogEvent.event($0, log: log, isStream: isStream) })
    }
    fields = Array("content-type: \(type)\r\n".utf8)
    lines = GroupDelivery.origin(log, isStream, group)
    add("Weir-Count", "\(entries.count)")
    if let first = entries.first, let last = entries.last {
      add("Weir-Position", "\(first.position)")
      add("Weir-Last-Position", "\(last.position)")
    }
    add("Weir-Attempt", "\(messages.map(\.attempt).max() ?? 1)")
  }

  private static func origin(_ log: String, _ isStream: Bool, _ group: String) -> [UInt8] {
    Array("\(isStream ? "Weir-Stream" : "Weir-Topic"): \(log)\r\nWeir-Group: \(group)\r\n".utf8)
  }

  private mutating func add(_ name: String, _ value: String) { add(name, Array(value.utf8)) }

  private mutating func add(_ name: String, _ value: [UInt8]) {
    if value.isEmpty { return }
    lines += Array("\(name): ".utf8) + value + [0x0d, 0x0a]
  }
}
