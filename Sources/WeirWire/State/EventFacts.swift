// SPDX-License-Identifier: Apache-2.0

/// What an event says of itself by a name: in a member of its data, as an attribute, or in a field that came with it.
///
/// The data is read at most once, and only where it is JSON: said to be, or nothing is said of it and it is no CloudEvent.
package struct EventFacts {
  /// Before the name of a field that came with an event and is kept because a group looks for it.
  package static let mark = "weir-said-"

  private let fields: [UInt8]
  private let body: [UInt8]
  private var root: JSONView?
  private var isRead = false

  /// `fields`: whole header lines with names in lower case, as a log keeps them.
  package init(fields: [UInt8], body: [UInt8]) {
    self.fields = fields
    self.body = body
  }

  /// What stands under this name, as text; nil: nothing.
  package mutating func text(_ name: String) -> String? {
    if !isRead {
      isRead = true
      if isJSON { root = try? JSONView(body) }
    }
    if let found = root?.member(name)?.scalar { return found }
    let lower = name.lowercased()
    return value("ce-\(lower)") ?? value(EventFacts.mark + lower)
  }

  /// The number under this name.
  package mutating func number(_ name: String) -> Int64? { text(name).flatMap { Int64($0) } }

  private var isJSON: Bool {
    guard let said = value("content-type") else { return value("ce-specversion") == nil }
    let type = said.prefix { $0 != ";" }.lowercased().filter { $0 != " " && $0 != "\t" }
    return type.hasSuffix("/json") || type.contains("/") && type.hasSuffix("+json")
  }

  private func value(_ name: String) -> String? {
    for line in fields.split(whereSeparator: { $0 == 0x0a || $0 == 0x0d }) {
      guard line.count > name.utf8.count, line[line.startIndex + name.utf8.count] == 0x3a,
        line.prefix(name.utf8.count).elementsEqual(name.utf8)
      else { continue }
      let value = line.dropFirst(name.utf8.count + 1).drop { $0 == 0x20 || $0 == 0x09 }
      return String(decoding: value, as: UTF8.self)
    }
    return nil
  }
}
