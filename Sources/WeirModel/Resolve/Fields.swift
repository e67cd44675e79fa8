// SPDX-License-Identifier: Apache-2.0

/// The values of one map of the file, read by key; a short form reads as the map it stands for.
struct Fields {
  let node: Node
  let section: Section

  init(_ node: Node, _ section: Section) {
    self.node = node
    self.section = section
  }

  /// The node of a key; nil if it is not there, or something about it was said already.
  func node(_ name: String) -> Node? {
    if case .map = node.kind {
      guard let value = node.entry(name)?.value, !value.isReported else { return nil }
      return value
    }
    return section.short?.name == name && !node.isReported ? node : nil
  }

  func value<T>(_ key: ScalarKey<T>) -> Value<T>? { node(key.name).flatMap { Fields.value($0, key.type) } }

  /// Whether a word stands alone for the key's value: `none`.
  func says(_ word: String, _ key: Key) -> Place? {
    guard let node = node(key.name), let scalar = node.scalar, scalar.text == word else { return nil }
    return node.place
  }

  func section(_ key: Key, _ section: Section) -> Fields? {
    guard let node = node(key.name) else { return nil }
    return Fields(node, section)
  }

  static func value<T>(_ node: Node, _ type: ScalarType<T>) -> Value<T>? {
    guard !node.isReported, let scalar = node.scalar, case .value(let value) = type.read(scalar.text) else {
      return nil
    }
    return Value(value, .written(node.place))
  }

  /// The scalars of a list, or the one that stands for a list of one.
  static func values<T>(_ node: Node?, _ type: ScalarType<T>) -> [Value<T>] {
    guard let node else { return [] }
    switch node.kind {
    case .scalar: return [value(node, type)].compactMap { $0 }
    case .list(let items): return items.compactMap { value($0, type) }
    case .map: return []
    }
  }
}

/// The same map at several places, the nearest first: at the thing itself, then under `defaults:`.
struct Layers {
  var fields: [Fields]
  /// Of a map that the file names: `users` under `identities`.
  var name: Name?

  init(_ fields: [Fields?], name: Name? = nil) {
    self.fields = fields.compactMap { $0 }
    self.name = name
  }

  var isEmpty: Bool { fields.isEmpty }

  /// Where the nearest of them stands.
  var place: Place? { fields.first?.node.place }

  /// What the nearest layer that has the key says.
  func node(_ key: Key) -> Node? {
    for layer in fields {
      if let node = layer.node(key.name) { return node }
    }
    return nil
  }

  func value<T>(_ key: ScalarKey<T>) -> Value<T>? {
    for layer in fields {
      if let value = layer.value(key) { return value }
    }
    return nil
  }

  /// The nearest that is written, else the key's default.
  func valueOrDefault<T>(_ key: ScalarKey<T>) -> Value<T>? {
    value(key) ?? key.standard.map { Value($0.value, .defaulted(rule: $0.rule)) }
  }

  /// The nearest that is written, else the default of a key that has one.
  func valueOrInitial<T>(_ key: ScalarKey<T>) -> Value<T> { value(key) ?? key.initial }

  /// The maps of a key in all layers.
  func section(_ key: Key, _ section: Section) -> Layers { Layers(fields.map { $0.section(key, section) }) }

  /// The maps of a key up to the first layer where `word` stands alone; nil if that is the nearest that says something.
  func section(_ key: Key, _ section: Section, unless word: String) -> Layers? {
    var found: [Fields] = []
    for layer in fields {
      if layer.says(word, key) != nil { return found.isEmpty ? nil : Layers(found) }
      if let fields = layer.section(key, section) { found.append(fields) }
    }
    return Layers(found)
  }

  /// A value that may be the word `none`: nil for that, or if nobody says anything and there is no default.
  func valueOrNone<T>(_ key: ScalarKey<T>) -> Value<T>? {
    for layer in fields {
      if layer.says("none", key.key) != nil { return nil }
      if let value = layer.value(key) { return value }
    }
    return key.standard.map { Value($0.value, .defaulted(rule: $0.rule)) }
  }
}
