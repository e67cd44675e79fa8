// SPDX-License-Identifier: Apache-2.0

/// An event in the words of CloudEvents 1.0.2: what happened, where, when, and what is to be known of it.
///
/// Source: cloudevents/spec 1.0.2: core, JSON event format, HTTP protocol binding. An event that is read and written again
/// means the same: data goes through byte for byte, JSON among it, and times keep the digits that they were written with.
///
/// ## Invariants
/// 1. What ``init(id:source:type:)`` and the readers let through keeps the specification's rules on names and values.
/// 2. No value has a control character: each can stand in a field.
package struct CloudEvent: Sendable, Equatable {
  /// With the source it is unique: a second event with both is the first one again.
  package var id: String
  /// A URI reference.
  package var source: String
  package var type: String
  package var subject: String?
  /// As RFC 3339 writes it.
  package var time: String?
  package var datacontenttype: String?
  /// A URI.
  package var dataschema: String?
  /// In the order in which they came.
  package var extensions: [Extension] = []
  /// Nil: there is none, which is something else than an empty one.
  package var data: [UInt8]?
  /// The data is bytes, whatever its type says; in a JSON text it stands as `data_base64`.
  package var isBinary = false

  /// An attribute that the specification does not know.
  package struct Extension: Sendable, Equatable {
    package enum Value: Sendable, Equatable {
      case text(String)
      case integer(Int32)
      case bool(Bool)

      /// As it stands in a field.
      package var text: String {
        switch self {
        case .text(let text): text
        case .integer(let number): "\(number)"
        case .bool(let value): value ? "true" : "false"
        }
      }
    }

    package var name: String
    package var value: Value

    package init(_ name: String, _ value: Value) {
      self.name = name
      self.value = value
    }
  }

  /// What is wrong with what was read: all of it.
  package struct Malformed: Error, Sendable, Equatable {
    package var flaws: [Flaw]
  }

  package init(id: String, source: String, type: String) {
    self.id = id
    self.source = source
    self.type = type
  }

  // MARK: Rules

  /// The attributes that the specification knows, but for `specversion`.
  static let known = ["id", "source", "type", "subject", "time", "datacontenttype", "dataschema"]

  /// Names are lower-case letters and digits (core §3, "Naming Conventions"); `data` is none.
  static func isName(_ name: String) -> Bool {
    !name.isEmpty && name != "data" && name.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) }
  }

  /// A String of the type system: no control characters, no noncharacters, nothing that was no UTF-8.
  static func isText(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { scalar in
      let code = scalar.value
      return code >= 0x20 && !(0x7f...0x9f).contains(code) && code & 0xfffe != 0xfffe
        && !(0xfdd0...0xfdef).contains(code)
        && code != 0xfffd
    }
  }

  /// What may stand in a URI (RFC 3986 §2); its parts are the reader's.
  static func isReference(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"\"<>\\^`{|}".utf8.contains($0) }
  }

  /// Begins with a scheme.
  static func isURI(_ text: String) -> Bool {
    guard isReference(text), let colon = text.firstIndex(of: ":"), let first = text.utf8.first,
      (first | 0x20) &- 0x61 < 26
    else { return false }
    return text[..<colon].utf8.allSatisfy { ($0 | 0x20) &- 0x61 < 26 || $0 &- 0x30 < 10 || "+-.".utf8.contains($0) }
  }

  /// `type/subtype`, with parameters or without (RFC 2045 §5.1).
  static func isMediaType(_ text: String) -> Bool {
    let parts = MediaType.essence(text).split(separator: "/", omittingEmptySubsequences: false)
    return parts.count == 2 && parts.allSatisfy { MessageFields.isToken(String($0)) } && isText(text)
  }

  /// Takes an attribute over, or says what is wrong with it; `name` is a name.
  mutating func set(_ name: String, _ value: Extension.Value, at place: String) throws(Flaw) {
    func text() throws(Flaw) -> String {
      guard case .text(let text) = value else {
        throw Flaw(place, "'\(value.text)' is no text", mend: "Write it in quotes.")
      }
      guard !text.isEmpty else { throw Flaw(place, "it is empty") }
      guard CloudEvent.isText(text) else {
        throw Flaw(place, "it has a control character, or what is no character at all")
      }
      return text
    }
    func text(_ what: String, _ holds: (String) -> Bool) throws(Flaw) -> String {
      let text = try text()
      guard holds(text) else { throw Flaw(place, "\(Flaw.quoted(text)) is no \(what)") }
      return text
    }
    switch name {
    case "id": id = try text()
    case "source": source = try text("URI reference", CloudEvent.isReference)
    case "type": type = try text()
    case "subject": subject = try text()
    case "time": time = try text("point of time (RFC 3339)") { TimeText.sinceEpoch($0) != nil }
    case "datacontenttype": datacontenttype = try text("media type", CloudEvent.isMediaType)
    case "dataschema": dataschema = try text("absolute URI", CloudEvent.isURI)
    default:
      if case .text(let text) = value, !CloudEvent.isText(text) {
        throw Flaw(place, "it has a control character, or what is no character at all")
      }
      extensions.append(Extension(name, value))
    }
  }

  /// What is wrong with the event as a whole, once its attributes are set.
  ///
  /// - Parameters:
  ///   - version: what stood as `specversion`.
  ///   - place: how an attribute is called where it came from.
  func missing(_ version: String?, _ place: (String) -> String) -> [Flaw] {
    var flaws: [Flaw] = []
    if version == nil { flaws.append(Flaw(place("specversion"), "it is missing", mend: "Write 1.0.")) }
    if let version, version != "1.0" {
      flaws.append(Flaw(place("specversion"), "\(Flaw.quoted(version)) is not read here", mend: "Write 1.0."))
    }
    for (name, value) in [("id", id), ("source", source), ("type", type)] where value.isEmpty {
      flaws.append(Flaw(place(name), "it is missing"))
    }
    return flaws
  }

  /// All attributes but `specversion`, in the order of the specification.
  var attributes: [Extension] {
    let values = [id, source, type, subject, time, datacontenttype, dataschema]
    return zip(CloudEvent.known, values).compactMap { name, value in value.map { Extension(name, .text($0)) } }
      + extensions
  }
}
