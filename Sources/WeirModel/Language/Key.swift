// SPDX-License-Identifier: Apache-2.0

/// What a scalar must be: how it is read, written, and described to people and to editors.
package struct ScalarType<T: Sendable & Equatable>: Sendable {
  /// `a length of time`.
  package var words: String
  /// `250ms`: in messages and on the reference page.
  package var example: String
  package var schema: JSONValue
  /// The value, or what is wrong with the text.
  package var read: @Sendable (String) -> Reading
  package var write: @Sendable (T) -> String

  package enum Reading: Sendable {
    case value(T)
    case wrong(Wrong)
  }

  /// What is wrong with a scalar; without words of its own the type's are used.
  package struct Wrong: Sendable {
    package var message: String?
    package var mend: String?

    package init(_ message: String? = nil, mend: String? = nil) {
      self.message = message
      self.mend = mend
    }
  }
}

/// A scalar type without its Swift type: what checking, schema and page need.
struct AnyScalar: Sendable {
  var words: String
  var example: String
  var schema: JSONValue
  /// Nil if the text is fine.
  var problem: @Sendable (String) -> (message: String?, mend: String?)?
  /// The only words that it may be, for *did you mean*; empty for other types.
  var choices: [String] = []
  /// It is read, but not by this version: `stale` under `fallback`.
  var isLater = false

  init<T>(_ type: ScalarType<T>) {
    words = type.words
    example = type.example
    schema = type.schema
    if case .array(let words) = type.schema["enum"] {
      choices = words.compactMap { if case .string(let word) = $0 { word } else { nil } }
    }
    problem = { text in
      switch type.read(text) {
      case .value: nil
      case .wrong(let wrong): (wrong.message, wrong.mend)
      }
    }
  }

  /// A word that stands alone for something: `none`.
  init(word: String, later: Bool = false) {
    words = "'\(word)'"
    example = word
    schema = .object([("const", .string(word))])
    choices = [word]
    isLater = later
    problem = { $0 == word ? nil : (nil, nil) }
  }
}

/// What may stand at a place of the file, by kind of node.
struct Shape: Sendable {
  /// Any of these; the first that takes the text.
  var scalars: [AnyScalar] = []
  var list: List?
  var map: Map?
  /// A list, map or text there is right, but not read by this version.
  var laterList = false
  var laterMap = false

  struct List: Sendable {
    var item: @Sendable () -> Shape
    /// At least so many.
    var least: Int
  }

  enum Map: Sendable {
    /// Keys that are known.
    case section(@Sendable () -> Section)
    /// Names that the file gives, each with the same shape.
    case named(Names, @Sendable () -> Shape)
  }

  /// What the names of a map may be.
  struct Names: Sendable {
    /// `a service`: for messages and the page.
    var what: String
    /// Nil if the name is fine, else what is wrong with it.
    var problem: @Sendable (String) -> String?
    var pattern: String
  }

  static func scalar<T>(_ type: ScalarType<T>) -> Shape { Shape(scalars: [AnyScalar(type)]) }
  static func list(_ item: @escaping @autoclosure @Sendable () -> Shape, least: Int = 0) -> Shape {
    Shape(list: List(item: item, least: least))
  }
  static func named(_ names: Names, _ shape: @escaping @autoclosure @Sendable () -> Shape) -> Shape {
    Shape(map: .named(names, shape))
  }
  /// A map of known keys, with its short forms.
  static func section(_ section: @escaping @autoclosure @Sendable () -> Section) -> Shape {
    let resolved = section()
    return Shape(
      scalars: (resolved.short?.shape.scalars ?? []) + resolved.alone,
      list: resolved.short?.shape.list, map: .section(section))
  }
  /// Anything: what a later version reads.
  static var anything: Shape { Shape(laterList: true, laterMap: true) }

  /// A map of known keys may stand there: its list is one of such maps.
  var isSection: Bool { if case .section = map { true } else { false } }

  func or(_ other: Shape) -> Shape {
    Shape(
      scalars: scalars + other.scalars, list: list ?? other.list, map: map ?? other.map,
      laterList: laterList || other.laterList, laterMap: laterMap || other.laterMap)
  }
  func orLater(list: Bool = false, map: Bool = false, words: [String] = []) -> Shape {
    var shape = self
    shape.laterList = shape.laterList || list
    shape.laterMap = shape.laterMap || map
    shape.scalars += words.map { AnyScalar(word: $0, later: true) }
    return shape
  }
}

/// A key of a map: the one place where its name, type, default, words and verbs are written.
///
/// From these the reader, *did you mean*, the JSON Schema and the reference page are made.
package struct Key: Sendable {
  package var name: String
  var shape: Shape
  package var doc: String
  var isRequired = false
  /// The default as it is written in a file, and where it comes from.
  var standard: Standard?
  /// Only `simulate` (and what plays its scenarios) reads it.
  package var isModelOnly = false
  /// Named by the language, not read by this version.
  var isLater = false
  /// It may stand under `defaults:` too.
  var isInDefaults = false
  /// Verbs that cannot honour it yet, and why.
  var refused: [(verb: Verb, why: String)] = []
  /// What people who come from elsewhere write for it.
  var alias: [String] = []

  struct Standard: Sendable {
    /// `3`, or nil for what has no number of its own.
    var text: String?
    /// `retry.attempts (seed 002)`, `half of timeout`.
    var rule: String
  }

  /// A key of the language that a later version reads.
  static func later(_ name: String, _ doc: String) -> Key {
    Key(name: name, shape: .anything, doc: doc, isLater: true)
  }

  /// A key whose value is a map, a list or names.
  init(
    _ name: String, _ shape: Shape, required: Bool = false, default standard: String? = nil, _ doc: String,
    modelOnly: Bool = false, refused: [(verb: Verb, why: String)] = [], alias: [String] = []
  ) {
    self.name = name
    self.shape = shape
    self.doc = doc
    isRequired = required
    self.standard = standard.map { Standard(text: nil, rule: $0) }
    isModelOnly = modelOnly
    self.refused = refused
    self.alias = alias
  }

  private init(name: String, shape: Shape, doc: String, isLater: Bool) {
    self.name = name
    self.shape = shape
    self.doc = doc
    self.isLater = isLater
  }
}

/// A key whose value is a scalar of type `T`.
package struct ScalarKey<T: Sendable & Equatable>: Sendable {
  package var key: Key
  package var type: ScalarType<T>
  /// The default and the rule it comes from; nil if there is none, or it is derived.
  package var standard: (value: T, rule: String)?
  /// The word `none` may stand in its place.
  var takesNone = false

  /// `default` comes from the pattern's settings; `rule` says which and what they rest on.
  init(
    _ name: String, _ type: ScalarType<T>, required: Bool = false, default value: T? = nil, rule: String? = nil,
    _ doc: String, alone: [String] = [], modelOnly: Bool = false, refused: [(verb: Verb, why: String)] = [],
    alias: [String] = [], shape: Shape? = nil
  ) {
    self.type = type
    var whole = shape ?? .scalar(type)
    whole.scalars += alone.map { AnyScalar(word: $0) }
    takesNone = alone.contains("none")
    key = Key(
      name, whole, required: required, doc, modelOnly: modelOnly, refused: refused, alias: alias)
    if let value { standard = (value, rule ?? name) }
    if value != nil || rule != nil { key.standard = .init(text: value.map(type.write), rule: rule ?? name) }
  }

  package var name: String { key.name }

  /// The default, as a value of the design whose property this key is.
  var initial: Value<T> {
    guard let standard else { preconditionFailure("the key '\(name)' has no default to start with") }
    return Value(standard.value, .defaulted(rule: standard.rule))
  }
}

/// A map whose keys are known.
struct Section: Sendable {
  /// The name of the schema's definition and of the page's heading: `breaker`.
  var name: String
  var doc: String
  var keys: [Key]
  /// `retry: 3` is `retry: { attempts: 3 }`.
  var short: Key?
  /// Words that stand for the whole: `breaker: none`.
  var alone: [AnyScalar] = []

  func key(_ name: String) -> Key? { keys.first { $0.name == name } }
}
