// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import WeirWire

/// The JSON event format, and its batches (CloudEvents 1.0.2, *JSON Event Format*).
extension CloudEvent {
  package static func read(json bytes: [UInt8]) throws(Malformed) -> CloudEvent {
    try read(whole(bytes), at: "$")
  }

  /// The events of a batch; it may be empty.
  package static func read(jsonBatch bytes: [UInt8]) throws(Malformed) -> [CloudEvent] {
    let root = try whole(bytes)
    guard root.kind == .array else {
      throw Malformed(flaws: [Flaw("$", "\(root.words) stands where a list of events must")])
    }
    var events: [CloudEvent] = []
    var flaws: [Flaw] = []
    for (i, item) in root.items.enumerated() {
      if flaws.count >= QueueAPI.flawsMax { break }
      do throws(Malformed) { events.append(try read(item, at: "$[\(i)]")) } catch { flaws += error.flaws }
    }
    if !flaws.isEmpty { throw Malformed(flaws: Array(flaws.prefix(QueueAPI.flawsMax))) }
    return events
  }

  /// As an event of the JSON format.
  package var json: [UInt8] {
    var writer = JSONWriter()
    write(&writer)
    return writer.bytes
  }

  package static func jsonBatch(_ events: [CloudEvent]) -> [UInt8] {
    var writer = JSONWriter()
    writer.array { list in
      for event in events { event.write(&list) }
    }
    return writer.bytes
  }

  // MARK: Reading

  private static func whole(_ bytes: [UInt8]) throws(Malformed) -> JSONView {
    do throws(JSONView.Broken) { return try JSONView(bytes) } catch {
      throw Malformed(flaws: [
        Flaw("line \(error.line), column \(error.column)", "here it stops being JSON (RFC 8259; 128 deep at most)")
      ])
    }
  }

  private static func read(_ root: JSONView, at place: String) throws(Malformed) -> CloudEvent {
    guard root.kind == .object else { throw Malformed(flaws: [Flaw(place, "\(root.words) is no event")]) }
    var event = CloudEvent(id: "", source: "", type: "")
    var version: String?
    var flaws: [Flaw] = []
    var written: Set<String> = []
    var content: JSONView?
    for (name, value) in root.members {
      let here = "\(place).\(name)"
      guard written.insert(name).inserted else {
        flaws.append(Flaw(here, "it stands there twice"))
        continue
      }
      QueueAPI.collect(&flaws) { () throws(Flaw) in
        switch name {
        case "data": content = value
        case "data_base64":
          // Null is as if it were not there (§2.2).
          if value.kind == .null { return }
          guard let text = value.text, let data = Data(base64Encoded: text) else {
            throw Flaw(here, "this is no base64")
          }
          event.data = Array(data)
          event.isBinary = true
        case "specversion":
          if value.kind == .null { return }
          guard let text = value.text else { throw Flaw(here, "\(value.words) is no text", mend: "Write \"1.0\".") }
          version = text
        default:
          guard isName(name) else {
            throw Flaw(here, "names of attributes are lower-case letters and digits")
          }
          if value.kind == .null { return }
          try event.set(name, try attribute(value, at: here), at: here)
        }
      }
    }
    if let content {
      if event.isBinary {
        flaws.append(Flaw("\(place).data", "data_base64 is there, too; an event has one of them"))
      } else {
        QueueAPI.collect(&flaws) { () throws(Flaw) in try event.set(data: content, at: "\(place).data") }
      }
    }
    // What has been told malformed is not told missing as well.
    flaws += event.missing(version) { "\(place).\($0)" }.filter { new in !flaws.contains { $0.at == new.at } }
    if !flaws.isEmpty { throw Malformed(flaws: Array(flaws.prefix(QueueAPI.flawsMax))) }
    return event
  }

  private static func attribute(_ value: JSONView, at place: String) throws(Flaw) -> Extension.Value {
    switch value.kind {
    case .string:
      guard let text = value.text else { throw Flaw(place, "it has half a surrogate pair, which is no character") }
      return .text(text)
    case .bool: return .bool(value.isTrue)
    case .number:
      guard let number = value.integer.flatMap({ Int32(exactly: $0) }) else {
        throw Flaw(place, "a number is whole, and from -2147483648 to 2147483647", mend: "Write it in quotes.")
      }
      return .integer(number)
    case .object, .array, .null:
      throw Flaw(place, "\(value.words) is no value of an attribute", mend: "Put it into data.")
    }
  }

  /// JSON stays as it is written; of another type it is a text (§3.1.2).
  private mutating func set(data value: JSONView, at place: String) throws(Flaw) {
    guard let type = datacontenttype else {
      // As if it had been said: in another format, or in fields, it would be anything.
      datacontenttype = "application/json"
      data = Array(value.raw)
      return
    }
    if MediaType.isJSON(type) {
      data = Array(value.raw)
    } else if value.kind != .null {
      guard let text = value.text else {
        throw Flaw(
          place, "\(value.words) stands where \(Flaw.quoted(type)) must as a text",
          mend: "Write it in quotes, or as data_base64.")
      }
      data = Array(text.utf8)
    }
  }

  // MARK: Writing

  private func write(_ writer: inout JSONWriter) {
    writer.object { object in
      object.text("specversion", "1.0")
      for attribute in attributes {
        switch attribute.value {
        case .text(let text): object.text(attribute.name, text)
        case .integer(let number): object.number(attribute.name, number)
        case .bool(let value): object.bool(attribute.name, value)
        }
      }
      guard let data else { return }
      if !isBinary, MediaType.isJSON(datacontenttype ?? "application/json"), JSONText.isWhole(data.span) {
        object.raw("data", data)
      } else if !isBinary, let type = datacontenttype, CloudEvent.isTextual(type),
        let text = String(validating: data, as: UTF8.self)
      {
        object.text("data", text)
      } else {
        object.text("data_base64", Data(data).base64EncodedString())
      }
    }
  }

  /// Types whose data is a text: those that say so, XML, and what names UTF-8 as its letters.
  private static func isTextual(_ type: String) -> Bool {
    let essence = MediaType.essence(type)
    return essence.hasPrefix("text/") || essence.hasSuffix("/xml") || essence.hasSuffix("+xml")
      || type.lowercased().contains("charset=utf-8")
  }
}
