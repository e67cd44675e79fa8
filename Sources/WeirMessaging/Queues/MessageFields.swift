// SPDX-License-Identifier: Apache-2.0
internal import WeirWire

/// The fields that go with a message: whole header lines, with names in lower case.
package enum MessageFields {
  /// What a payload is, and where it belongs; what it is of a CloudEvent says `ce-…` beside them.
  private static let names: Set<String> = [
    "content-type", "content-encoding", "content-language", "traceparent", "tracestate", "baggage",
  ]

  /// A field that says something of the payload, by its name in lower case.
  static func describes(_ name: String) -> Bool { names.contains(name) }

  /// The lines of a request that are kept; `marks`: what else is looked for in it, kept under a name that only we write.
  static func kept(of request: MessagingRequest, withType: Bool, marks: [String] = []) throws(Flaw) -> [UInt8] {
    var lines: [UInt8] = []
    for field in request.fields {
      let name = field.name.lowercased()
      if !marks.isEmpty, marks.contains(where: { $0.lowercased() == name }) {
        lines += try line(EventFacts.mark + name, field.value, at: field.name)
      }
      guard describes(name) || name.hasPrefix("ce-"), withType || !name.hasPrefix("c") else { continue }
      lines += try line(name, field.value, at: field.name)
    }
    guard lines.count <= QueueLimits.fieldsBytesMax - 512 else {
      throw Flaw(
        "the fields", "those that are kept have \(lines.count) bytes, at most \(QueueLimits.fieldsBytesMax - 512) are")
    }
    return lines
  }

  /// One line; the name is a token.
  static func line(_ name: String, _ value: String, at place: String) throws(Flaw) -> [UInt8] {
    let bare = value.trimming { $0 == " " || $0 == "\t" }
    guard isValue(bare), !bare.isEmpty, bare.utf8.count <= 4096, isToken(name) else {
      throw Flaw(place, "\(Flaw.quoted(value)) is no value of a field: 1 to 4096 bytes without control characters")
    }
    return Array("\(name): \(bare)\r\n".utf8)
  }

  /// The lines as pairs; a name that stands there twice has its values with commas between.
  package static func pairs(_ lines: [UInt8]) -> [MessagingField] {
    var found: [MessagingField] = []
    for line in lines.split(whereSeparator: { $0 == 0x0a || $0 == 0x0d }) {
      guard let colon = line.firstIndex(of: 0x3a) else { continue }
      let name = String(decoding: line[..<colon], as: UTF8.self)
      // As bytes: a space before a combining character is none of Swift's characters.
      var bytes = line[(colon + 1)...].drop { $0 == 0x20 || $0 == 0x09 }
      while bytes.last == 0x20 || bytes.last == 0x09 { bytes.removeLast() }
      let value = String(decoding: bytes, as: UTF8.self)
      if let i = found.firstIndex(where: { $0.name == name }) {
        found[i].value += ", \(value)"
      } else {
        found.append(MessagingField(name, value))
      }
    }
    return found
  }

  /// No control characters, and nothing that was no UTF-8.
  static func isValue(_ text: String) -> Bool {
    text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f } && !text.unicodeScalars.contains("\u{fffd}")
  }

  /// RFC 9110 §5.6.2.
  static func isToken(_ name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 256
      && name.utf8.allSatisfy { $0 &- 0x30 < 10 || ($0 | 0x20) &- 0x61 < 26 || "!#$%&'*+-.^_`|~".utf8.contains($0) }
  }
}
