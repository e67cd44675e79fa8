// SPDX-License-Identifier: Apache-2.0

/// A key of a map and the property of the design that holds its value, as one thing: reading the file, explaining the
/// design, the schema and the reference page are all made from it.
///
/// `docs/adding-a-key.md` says how a key is added.
struct Field<Root>: Sendable {
  var key: Key
  /// Sets the property from the layers of the file; what cannot be told from one place is said to the resolver.
  var read: @Sendable (Layers, inout Resolver, inout Root) -> Void
  /// The lines of the long form, with origins; none for what is not there.
  var explain: @Sendable (Root, Design) -> [Effective]
}

typealias Way<Root, Held> = any (WritableKeyPath<Root, Held> & Sendable)

extension Field {
  /// The key may stand under `defaults:` too.
  var inDefaults: Field {
    var field = self
    field.key.isInDefaults = true
    return field
  }

  // MARK: Scalars

  /// A value that is always there: written, or the key's default, or else what the part starts with.
  static func value<T>(_ key: ScalarKey<T>, _ way: Way<Root, Value<T>>) -> Field {
    Field(
      key: key.key,
      read: { layers, resolver, root in
        guard let value = layers.valueOrDefault(key) else { return }
        resolver.note(value)
        root[keyPath: way] = value
      },
      explain: { root, _ in [.leaf(key, root[keyPath: way])] })
  }

  /// A value that may be missing; where the key takes the word `none`, its absence is shown as that.
  static func optional<T>(_ key: ScalarKey<T>, _ way: Way<Root, Value<T>?>) -> Field {
    Field(
      key: key.key,
      read: { layers, resolver, root in
        let value = key.takesNone ? layers.valueOrNone(key) : layers.valueOrDefault(key)
        value.map { resolver.note($0) }
        root[keyPath: way] = value
      },
      explain: { root, _ in
        if key.takesNone { return [.leafOrNone(key, root[keyPath: way])] }
        return .leaf(key, root[keyPath: way])
      })
  }

  /// A list of scalars, each with its place; a scalar alone is a list of one, where the shape takes it.
  static func list<T>(_ key: Key, _ type: ScalarType<T>, _ way: Way<Root, [Value<T>]>) -> Field {
    Field(
      key: key,
      read: { layers, resolver, root in
        guard let node = layers.node(key) else { return }
        root[keyPath: way] = Fields.values(node, type)
        for value in root[keyPath: way] { resolver.note(value) }
      },
      explain: { root, _ in
        let values = root[keyPath: way]
        if values.isEmpty && key.standard == nil { return [] }
        var list = Effective.list(key, values.map { (type.write($0.value), $0.origin) })
        if values.isEmpty { list.origin = key.standard.map { .defaulted(rule: $0.rule) } }
        return [list]
      })
  }

  /// A short list of scalars that is one value: `methods: [GET, HEAD]`; nil when nobody writes it.
  static func words<T>(_ key: Key, _ type: ScalarType<T>, _ way: Way<Root, Value<[T]>?>) -> Field {
    Field(
      key: key,
      read: { layers, _, root in
        root[keyPath: way] = layers.node(key).map {
          Value(Fields.values($0, type).map(\.value), .written($0.place))
        }
      },
      explain: { root, _ in
        guard let words = root[keyPath: way] else { return [] }
        let text = "[\(words.value.map(type.write).joined(separator: ", "))]"
        return [Effective(key: key.name, content: .value(text), origin: words.origin, isModelOnly: key.isModelOnly)]
      })
  }

  /// Names that the file gives, each with a scalar: `env: { LOG: info }`.
  static func named<T>(_ key: Key, _ type: ScalarType<T>, _ way: Way<Root, [Named<T>]>) -> Field {
    Field(
      key: key,
      read: { layers, resolver, root in
        guard let node = layers.node(key) else { return }
        root[keyPath: way] = node.entries.compactMap { entry in
          Fields.value(entry.value, type).map { Named(name: entry.key, value: $0) }
        }
        for entry in root[keyPath: way] { resolver.note(entry.value) }
      },
      explain: { root, _ in
        let lines = root[keyPath: way].map {
          Effective(key: $0.name, content: .value(type.write($0.value.value)), origin: $0.value.origin)
        }
        return lines.isEmpty ? [] : [.map(key, lines)]
      })
  }

  // MARK: Maps

  /// A map of its own whose keys all have defaults.
  static func part<Sub>(_ key: Key, _ way: Way<Root, Sub>, _ part: Part<Sub>) -> Field {
    Field(
      key: key,
      read: { layers, resolver, root in
        part.read(layers.section(key, part.section), &resolver, into: &root[keyPath: way])
      },
      explain: { root, design in
        let lines = part.explain(root[keyPath: way], design)
        return lines.isEmpty ? [] : [.map(key, lines)]
      })
  }

  /// A map that is there when the file writes it, at the thing or under `defaults:`; `none` alone takes it away.
  static func optionalPart<Sub>(_ key: Key, _ way: Way<Root, Sub?>, _ part: Part<Sub>) -> Field {
    Field(
      key: key,
      read: { layers, resolver, root in
        guard let layers = layers.section(key, part.section, unless: "none"), !layers.isEmpty else { return }
        root[keyPath: way] = part.read(layers, &resolver)
      },
      explain: { root, design in root[keyPath: way].map { [.map(key, part.explain($0, design))] } ?? [] })
  }

  /// A list of maps, or one of them alone.
  static func items<Sub>(_ key: Key, _ way: Way<Root, [Sub]>, _ part: Part<Sub>) -> Field {
    Field(
      key: key,
      read: { layers, resolver, root in
        guard let node = layers.node(key) else { return }
        let items = if case .list(let items) = node.kind { items } else { [node] }
        for item in items where !item.isReported {
          part.read(Layers([Fields(item, part.section)]), &resolver).map { root[keyPath: way].append($0) }
        }
      },
      explain: { root, design in
        let items = root[keyPath: way].map { Effective(key: "", content: .map(part.explain($0, design))) }
        return items.isEmpty ? [] : [Effective(key: key.name, content: .list(items))]
      })
  }

  /// Names that the file gives, each with a map: `identities: { users: { … } }`; the part finds its name in the layers.
  static func entries<Sub>(
    _ key: Key, _ way: Way<Root, [Sub]>, _ part: Part<Sub>, name: @escaping @Sendable (Sub) -> Name
  ) -> Field {
    Field(
      key: key,
      read: { layers, resolver, root in
        for entry in layers.node(key)?.entries ?? [] where !entry.value.isReported {
          let own = Layers([Fields(entry.value, part.section)], name: Name(entry.key, entry.value.place))
          part.read(own, &resolver).map { root[keyPath: way].append($0) }
        }
      },
      explain: { root, design in
        let lines = root[keyPath: way].map { Effective.named(name($0), part.explain($0, design)) }
        return lines.isEmpty ? [] : [.map(key, lines)]
      })
  }

  // MARK: All else

  /// What is read and explained in a way of its own.
  static func custom(
    _ key: Key, read: @escaping @Sendable (Layers, inout Resolver, inout Root) -> Void = { _, _, _ in },
    explain: @escaping @Sendable (Root, Design) -> [Effective]
  ) -> Field {
    Field(key: key, read: read, explain: explain)
  }

  /// A key of the language that a later version reads: until then the reader refuses it by name.
  static func later(_ name: String, _ doc: String) -> Field {
    Field(key: .later(name, doc), read: { _, _, _ in }, explain: { _, _ in [] })
  }
}

extension Array {
  /// The fields of a group, whose keys stand in the map of the whole: `rewrite` of a route is in `Route.transform`.
  func at<Sub, Root>(_ way: Way<Root, Sub>) -> [Field<Root>] where Element == Field<Sub> {
    map { field in
      Field<Root>(
        key: field.key,
        read: { layers, resolver, root in field.read(layers, &resolver, &root[keyPath: way]) },
        explain: { root, design in field.explain(root[keyPath: way], design) })
    }
  }
}

/// An entry of a map of names and scalars.
package struct Named<T: Sendable & Equatable>: Sendable, Equatable {
  package var name: String
  package var value: Value<T>
}

/// The keys of one map, in the order in which they are explained, and the type of the design that holds them.
struct Part<Root>: Sendable {
  var section: Section
  private var fields: [Field<Root>]
  private var start: @Sendable (Layers, inout Resolver) -> Root?

  /// `start` makes the value that the fields are then read into; nil if something that is required is not there.
  init(
    _ name: String, _ doc: String, short: Key? = nil, alone: [AnyScalar] = [],
    start: @escaping @Sendable (Layers, inout Resolver) -> Root?, _ fields: [Field<Root>]
  ) {
    section = Section(name: name, doc: doc, keys: fields.map(\.key), short: short, alone: alone)
    self.fields = fields
    self.start = start
  }

  /// The value of layers, the nearest first.
  func read(_ layers: Layers, _ resolver: inout Resolver) -> Root? {
    guard var root = start(layers, &resolver) else { return nil }
    read(layers, &resolver, into: &root)
    return root
  }

  func read(_ layers: Layers, _ resolver: inout Resolver, into root: inout Root) {
    for field in fields { field.read(layers, &resolver, &root) }
  }

  func explain(_ root: Root, _ design: Design) -> [Effective] { fields.flatMap { $0.explain(root, design) } }
}

extension Section {
  /// The keys that make sense for all things of this kind, as they stand under `defaults:`.
  func defaults(_ name: String, _ doc: String) -> Section {
    Section(name: name, doc: doc, keys: keys.filter(\.isInDefaults))
  }
}
