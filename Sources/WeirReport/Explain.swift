// SPDX-License-Identifier: Apache-2.0
internal import WeirCheck
package import WeirModel

/// `weir explain FILE`: the whole design in the long form, and beside each line where its value comes from.
package enum Explain {
  /// YAML that can be read again, with aligned comments, then what the design costs in metric series.
  ///
  /// `series` is `Metrics.seriesCount(…)` of the plan, the product of the declared ids; without it that line is left out.
  package static func text(_ design: Design, series: Int? = nil) -> String {
    var lines: [Line] = []
    for item in shown(design) {
      if !lines.isEmpty, case .value = item.content {} else if !lines.isEmpty { lines.append(Line(text: "")) }
      write(item, indent: "", into: &lines)
    }
    let widest = lines.filter { $0.comment != nil }.map(\.text.count).filter { $0 <= columnMax }.max() ?? 0
    var out = ""
    for line in lines {
      out += line.text
      if let comment = line.comment {
        out += String(repeating: " ", count: max(2, widest + 2 - line.text.count)) + "# " + comment
      }
      out += "\n"
    }
    if let series {
      let plan = Plan(design)
      out += "\n# \(series) metric series at most: \(plan.edges.count) edges, "
      out += "\(plan.routes.count) routes, \(plan.instances) instances\n"
    }
    return out
  }

  /// The long form as it may be printed: a secret that stands in the file is masked, as in the findings about it.
  private static func shown(_ design: Design) -> [Effective] {
    let secrets = Secret.all(in: design).map(\.place)
    return secrets.isEmpty ? design.effective : design.effective.map { masked($0, secrets) }
  }

  private static func masked(_ item: Effective, _ secrets: [Place]) -> Effective {
    var item = item
    switch item.content {
    case .value(let value):
      guard let place = item.origin?.place, secrets.contains(place) else { break }
      // In quotes: a plain `*` would begin an alias.
      item.content = .value(JSONValue.quoted(String(decoding: Secret.masked(value.utf8), as: UTF8.self)))
      item.isHidden = true
    case .map(let children): item.content = .map(children.map { masked($0, secrets) })
    case .list(let items): item.content = .list(items.map { masked($0, secrets) })
    case .remark(let children): item.content = .remark(children.map { masked($0, secrets) })
    }
    return item
  }

  /// The column that comments stand in is at most this far right; a longer line has its comment two spaces behind.
  private static let columnMax = 56

  private struct Line {
    var text: String
    var comment: String?
  }

  private static func comment(_ item: Effective) -> String? {
    var parts: [String] = []
    switch item.origin {
    case .written(let place): parts.append("written \(place.file):\(place.line)")
    case .defaulted(let rule): parts.append("default: \(rule)")
    case .derived(let from): parts.append("derived: \(from)")
    case nil: break
    }
    if item.isHidden { parts.append("a secret, not shown") }
    if item.isModelOnly { parts.append("simulate only") }
    return parts.isEmpty ? nil : parts.joined(separator: ", ")
  }

  private static func write(_ item: Effective, indent: String, into lines: inout [Line]) {
    let key = item.key.isEmpty ? "" : keyText(item.key)
    switch item.content {
    case .value(let value):
      lines.append(
        Line(text: item.key.isEmpty ? "\(indent)- \(value)" : "\(indent)\(key): \(value)", comment: comment(item)))
    case .map(let children) where children.isEmpty:
      lines.append(Line(text: "\(indent)\(key): {}", comment: comment(item)))
    case .map(let children) where item.key.isEmpty:
      // An item of a list: its first key stands behind the dash.
      var inner: [Line] = []
      for child in children { write(child, indent: indent + "  ", into: &inner) }
      if let first = inner.first {
        inner[0] = Line(text: "\(indent)- \(first.text.dropFirst(indent.count + 2))", comment: first.comment)
      }
      lines += inner
    case .map(let children):
      lines.append(Line(text: "\(indent)\(key):", comment: comment(item)))
      for child in children { write(child, indent: indent + "  ", into: &lines) }
    case .list(let items) where items.isEmpty:
      lines.append(Line(text: "\(indent)\(key): []", comment: comment(item)))
    case .list(let items):
      lines.append(Line(text: "\(indent)\(key):", comment: comment(item)))
      for child in items { write(child, indent: indent + "  ", into: &lines) }
    case .remark(let children):
      lines.append(Line(text: "\(indent)# \(item.key):"))
      var inner: [Line] = []
      for child in children { write(child, indent: "  ", into: &inner) }
      lines += inner.map { Line(text: "\(indent)# \($0.text)", comment: $0.comment) }
    }
  }

  private static func keyText(_ key: String) -> String { yamlScalar(key) }

  /// The same for machines: each value with its path and origin.
  package static func json(_ design: Design, series: Int? = nil) -> JSONValue {
    var values: [JSONValue] = []
    for item in shown(design) { collect(item, path: "", into: &values) }
    return .object([
      ("schema", .int(1)), ("system", .string(design.system.value)), ("file", .string(design.file)),
      ("values", .array(values)), ("series", series.map { .int($0) } ?? .null),
    ])
  }

  private static func collect(_ item: Effective, path: String, index: Int? = nil, into values: inout [JSONValue]) {
    let below = index.map { "\(path)[\($0)]" } ?? (path.isEmpty ? item.key : "\(path).\(item.key)")
    switch item.content {
    case .value(let value):
      var members: [(String, JSONValue)] = [("path", .string(below)), ("value", .string(value))]
      switch item.origin {
      case .written(let place):
        members += [
          ("origin", .string("written")), ("file", .string(place.file)), ("line", .int(place.line)),
          ("column", .int(place.column)),
        ]
      case .defaulted(let rule): members += [("origin", .string("default")), ("rule", .string(rule))]
      case .derived(let from): members += [("origin", .string("derived")), ("from", .string(from))]
      case nil: break
      }
      if item.isHidden { members.append(("hidden", .bool(true))) }
      if item.isModelOnly { members.append(("simulateOnly", .bool(true))) }
      values.append(.object(members))
    case .map(let children), .remark(let children):
      for child in children { collect(child, path: below, into: &values) }
    case .list(let items):
      for (index, child) in items.enumerated() { collect(child, path: below, index: index, into: &values) }
    }
  }
}
