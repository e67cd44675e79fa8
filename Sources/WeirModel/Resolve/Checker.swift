// SPDX-License-Identifier: Apache-2.0

/// Holds a file's nodes against the keys of the language and says everything that does not fit, in one go.
///
/// What was said is marked in the node (`isReported`), so that whoever resolves it later stays silent about it.
struct Checker {
  private(set) var mistakes: [Diagnostic] = []
  private(set) var refusals: [Design.Refusal] = []

  /// Checks the root of a file; an included one need not say what the main file says.
  mutating func check(_ root: Node, isIncluded: Bool) {
    guard case .map = root.kind else {
      report(
        root, "wrong-type", "a Weir file is a map of keys, not \(root.kindWords)",
        mend: "begin with:\nweir: 1\nsystem: my-system")
      return
    }
    check(root, section: RootKeys.section, requires: !isIncluded)
  }

  private mutating func report(
    _ node: Node, _ id: String, _ message: String, spot: Spot? = nil, why: String? = nil, mend: String? = nil,
    related: [Diagnostic.Related] = []
  ) {
    node.isReported = true
    mistakes.append(
      Diagnostic(id, .error, message, at: node.place, spot: spot, why: why, mend: mend, related: related))
  }

  private mutating func later(_ node: Node, _ what: String, doc: String? = nil) {
    report(
      node, "not-supported", "\(what) is not supported by this version of Weir",
      spot: node.place.key ?? node.place.value,
      why: doc.map { "it is for: \(lowered($0))" }, mend: "leave it out for now")
  }

  private func lowered(_ doc: String) -> String {
    var text = doc.hasSuffix(".") ? String(doc.dropLast()) : doc
    // "A second attempt" → "a second attempt"; "TLS …" stays.
    if let first = text.first, text.dropFirst().first?.isUppercase != true {
      text = first.lowercased() + text.dropFirst()
    }
    return text
  }

  private mutating func check(_ node: Node, _ shape: Shape, name: String) {
    switch node.kind {
    case .scalar(let scalar): check(node, scalar, shape, name: name)
    case .list(let items):
      guard let list = shape.list else {
        if shape.laterList { return later(node, "a list as '\(name)'") }
        return wrongKind(node, shape, name: name)
      }
      if items.count < list.least { report(node, "wrong-value", "'\(name)' is an empty list") }
      for item in items { check(item, list.item(), name: name) }
    case .map(let entries):
      switch shape.map {
      case .section(let section): check(node, section: section(), requires: true)
      case .named(let names, let value):
        for entry in entries {
          checkName(entry, names)
          if !entry.value.isReported { check(entry.value, value(), name: entry.key) }
        }
      case nil:
        if shape.laterMap { return later(node, "the long form of '\(name)'") }
        wrongKind(node, shape, name: name)
      }
    }
  }

  // MARK: Keys

  private mutating func checkName(_ entry: Node.Entry, _ names: Shape.Names) {
    if entry.keyIsPlain, let (message, _) = Lookalike.problem(of: entry.key) {
      report(
        entry.value, "ambiguous-value", message, spot: entry.keySpot, mend: "give it another name")
    } else if let problem = names.problem(entry.key) {
      report(
        entry.value, "bad-name", "'\(entry.key.prefixForMessage)' cannot be \(names.what): \(problem)",
        spot: entry.keySpot, mend: respelt(entry.key, names))
    }
  }

  /// `My Service` → `my-service`, if that would do.
  private func respelt(_ name: String, _ names: Shape.Names) -> String? {
    let spelt = name.lowercased().replacing("_", with: "-").replacing(" ", with: "-")
    return names.problem(spelt) == nil ? "\(spelt): …" : nil
  }

  private mutating func check(_ node: Node, section: Section, requires: Bool) {
    for entry in node.entries {
      guard let key = section.key(entry.key) else {
        unknown(entry, in: section)
        continue
      }
      if key.isLater {
        later(entry.value, "'\(key.name)'", doc: key.doc)
        continue
      }
      for (verb, why) in key.refused {
        refusals.append(
          Design.Refusal(
            verb: verb,
            diagnostic: Diagnostic(
              "not-supported", .error, why, at: entry.value.place, mend: "leave '\(key.name)' out for now")))
      }
      check(entry.value, key.shape, name: key.name)
    }
    // What is missing may be what a reported entry was meant to be.
    guard requires, !node.entries.contains(where: { $0.value.isReported }) else { return }
    for key in section.keys where key.isRequired && node.entry(key.name) == nil { missing(key, in: node, section) }
  }

  private mutating func missing(_ key: Key, in node: Node, _ section: Section) {
    let example = key.shape.scalars.first?.example ?? "…"
    node.isReported = true
    mistakes.append(
      Diagnostic(
        "missing-key", .error,
        node.place.path.isEmpty
          ? "the file has no '\(key.name)'" : "\(subject(node.place.path)) has no '\(key.name)'", at: node.place,
        spot: node.place.path.isEmpty ? firstLine(node) : node.place.head, why: lowered(key.doc),
        mend: "\(key.name): \(example)"))
  }

  private func firstLine(_ node: Node) -> Spot {
    node.entries.first?.keySpot ?? node.place.value
  }

  /// `services.api` of a long path: the last two parts name it well enough.
  private func subject(_ path: String) -> String { "'\(path)'" }

  private mutating func unknown(_ entry: Node.Entry, in section: Section) {
    let node = entry.value
    let known = section.keys.map(\.name)
    let place = node.place.path.split(separator: ".").count > 1 ? "a key of \(words(section))" : "a key of the file"
    let message = "'\(entry.key.prefixForMessage)' is not \(place)"
    let dashed = entry.key.lowercased().replacing("_", with: "-")
    let meant =
      section.keys.first { $0.name == dashed }?.name ?? section.keys.first { $0.alias.contains(dashed) }?.name
      ?? Nearest.to(entry.key, among: known)
    if let meant {
      return report(
        node, "unknown-key", "\(message): did you mean '\(meant)'?", spot: entry.keySpot, mend: mend(meant, node))
    }
    let homes = Language.sections.filter {
      $0.name != section.name && !$0.name.hasSuffix("-defaults") && $0.key(entry.key)?.isLater == false
    }
    let listed = section.keys.filter { !$0.isLater }.map(\.name)
    let why = homes.isEmpty ? nil : "it is a key of \(homes.map { words($0) }.joined(separator: ", "))"
    report(
      node, "unknown-key", message, spot: entry.keySpot, why: why, mend: "one of: \(listed.joined(separator: ", "))")
  }

  private func words(_ section: Section) -> String {
    section.name.contains("-") || section.short != nil ? "'\(section.name)'" : "a \(section.name)"
  }

  private func mend(_ key: String, _ node: Node) -> String {
    guard let scalar = node.scalar, !scalar.isNull else { return "\(key): …" }
    return "\(key): \(scalar.isPlain ? scalar.text.prefixForMessage : JSONValue.quoted(scalar.text.prefixForMessage))"
  }

  // MARK: Values

  private mutating func wrongKind(_ node: Node, _ shape: Shape, name: String) {
    report(node, "wrong-type", "'\(name)' is \(expected(shape)), not \(node.kindWords)", mend: example(shape, name))
  }

  private func expected(_ shape: Shape) -> String {
    var kinds: [String] = []
    for scalar in shape.scalars where !scalar.isLater && !kinds.contains(scalar.words) { kinds.append(scalar.words) }
    if shape.list != nil { kinds.append("a list") }
    switch shape.map {
    case .section(let section):
      kinds.append("a map of \(section().keys.filter { !$0.isLater }.map(\.name).joined(separator: ", "))")
    case .named: kinds.append("a map of names")
    case nil: break
    }
    return kinds.joined(separator: " or ")
  }

  private func example(_ shape: Shape, _ name: String) -> String? {
    if let scalar = shape.scalars.first(where: { !$0.isLater }) { return "\(name): \(scalar.example)" }
    if let list = shape.list, let scalar = list.item().scalars.first { return "\(name): [\(scalar.example)]" }
    return nil
  }

  private mutating func check(_ node: Node, _ scalar: Node.Scalar, _ shape: Shape, name: String) {
    if scalar.isNull {
      var mend = example(shape, name)
      if shape.map != nil, shape.scalars.isEmpty { mend = "\(name): {}" }
      return report(node, "no-value", "'\(name)' has no value", mend: mend)
    }
    if shape.scalars.isEmpty { return wrongKind(node, shape, name: name) }
    if scalar.isPlain, let (message, mend) = Lookalike.problem(of: scalar.text) {
      let id = message.contains("date") ? "unquoted-date" : "ambiguous-value"
      return report(node, id, message, spot: node.place.value, mend: "\(name): \(mend)")
    }
    for type in shape.scalars where type.problem(scalar.text) == nil {
      if type.isLater { later(node, "\(type.words) as '\(name)'") }
      return
    }
    wrongValue(node, scalar, shape, name: name)
  }

  private mutating func wrongValue(_ node: Node, _ scalar: Node.Scalar, _ shape: Shape, name: String) {
    let types = shape.scalars.filter { !$0.isLater }
    let text = scalar.text.prefixForMessage
    let choices = types.flatMap(\.choices)
    let meant = Nearest.to(text, among: choices)
    let told = types.lazy.compactMap { $0.problem(scalar.text) }.first { $0.message != nil }
    var message: String
    if let detail = told?.message, meant == nil {
      // A sentence that quotes the text need not be told it again.
      message = detail.contains(text) && text.count > 1 ? detail : "'\(name): \(text)': \(detail)"
    } else {
      var kinds: [String] = []
      for type in types where !kinds.contains(type.words) { kinds.append(type.words) }
      if shape.list != nil { kinds.append("a list") }
      if shape.map != nil && types.isEmpty { kinds.append("a map") }
      message = "'\(name)' is \(kinds.joined(separator: " or ")), not '\(text)'"
      if let meant { message += ": did you mean '\(meant)'?" }
    }
    var mend = told?.mend.map { "\(name): \($0)" } ?? meant.map { "\(name): \($0)" }
    if mend == nil, told == nil, choices.isEmpty, let example = types.first?.example {
      mend = "for example   \(name): \(example)"
    }
    report(node, "wrong-value", message, spot: node.place.value, mend: mend)
  }
}
