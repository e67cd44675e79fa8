// SPDX-License-Identifier: Apache-2.0

/// Whether a JSON text is what a JSON Schema of draft 2020-12 says, and where it is not.
///
/// Source: json-schema.org, draft 2020-12, *Core* §8 to §10 and *Validation* §6. `format`, `contentEncoding` and what else is an
/// annotation there says nothing here either; a keyword that the standard does not know is passed over, as it wants (core §4.3.1).
///
/// What cannot be honoured is refused when the schema is read, not ignored: references to other documents, `unevaluatedItems`,
/// `unevaluatedProperties`, schemas of other drafts, patterns that look ahead or refer back.
///
/// ## Invariants
/// 1. Judging ends: no schema leads to itself at the same place of the text, the steps have a bound that grows with the text, and
///    schemas lead ``depthMax`` deep into one another at most.
/// 2. Numbers are compared exactly, whatever their digits.
package struct JSONSchema: Sendable {
  /// What is wrong with the schema, by places in it (`#/properties/order`).
  package struct Unusable: Error, Sendable, Equatable {
    package var flaws: [Flaw]
  }

  /// What judging may still take; several texts of one request have one together.
  package struct Effort: Sendable {
    fileprivate var steps: Int

    /// 200 000 steps, and 50 more for each byte of all texts.
    package init(bytes: Int) { steps = 200_000 + 50 * bytes }
  }

  /// A text is 128 deep at most, and a place of it is judged by a few schemas that lead to one another.
  static let depthMax = 512
  static let flawsMax = 16

  /// Compiled; the first is the whole schema.
  ///
  /// They refer to one another by index.
  let nodes: [Node]

  package init(_ bytes: [UInt8]) throws(Unusable) {
    let root: JSONTree
    do throws(JSONTree.Unreadable) { root = try JSONTree(bytes) } catch {
      switch error {
      case .broken(let line, let column):
        throw Unusable(flaws: [
          Flaw("line \(line), column \(column)", "here it stops being JSON (RFC 8259; 128 deep at most)")
        ])
      case .twice(let name): throw Unusable(flaws: [Flaw("#", "\(Flaw.quoted(name)) stands twice in one object")])
      }
    }
    var reader = SchemaReader(root)
    reader.read()
    if !reader.flaws.isEmpty { throw Unusable(flaws: Array(reader.flaws.prefix(JSONSchema.flawsMax))) }
    nodes = reader.nodes
  }

  /// What is wrong with a text, by places in it (`$.items[3].price`); none when it fits.
  package func flaws(of document: [UInt8]) -> [Flaw] {
    var effort = Effort(bytes: document.count)
    return flaws(of: document, within: &effort)
  }

  /// The same of one text of several, which takes its steps out of those that are left.
  package func flaws(of document: [UInt8], within effort: inout Effort) -> [Flaw] {
    let tree: JSONTree
    do throws(JSONTree.Unreadable) { tree = try JSONTree(document) } catch {
      switch error {
      case .broken(let line, let column):
        return [Flaw("line \(line), column \(column)", "here it stops being JSON (RFC 8259; 128 deep at most)")]
      case .twice(let name): return [Flaw("$", "\(Flaw.quoted(name)) stands twice in one object")]
      }
    }
    var judge = SchemaJudge(nodes: nodes, steps: effort.steps)
    _ = judge.fits(0, tree)
    effort.steps = judge.steps
    if judge.isTooDeep {
      return [
        Flaw(
          "$", "more than \(JSONSchema.depthMax) schemas lead to one another where it is judged",
          mend: "Make the schema simpler.")
      ]
    }
    if judge.steps <= 0 {
      return [
        Flaw("$", "to judge it takes more steps than a request of its length may", mend: "Make the schema simpler.")
      ]
    }
    return judge.flaws
  }

  struct Types: OptionSet, Sendable {
    let rawValue: UInt8

    static let null = Types(rawValue: 1)
    static let boolean = Types(rawValue: 2)
    static let number = Types(rawValue: 4)
    static let string = Types(rawValue: 8)
    static let array = Types(rawValue: 16)
    static let object = Types(rawValue: 32)
    /// A number whose fraction is zero, however it is written.
    static let integer = Types(rawValue: 64)

    /// By the standard's names, with what they are called in a sentence.
    static let named: [(name: String, type: Types, words: String)] = [
      ("null", .null, "null"), ("boolean", .boolean, "true or false"), ("number", .number, "a number"),
      ("integer", .integer, "a whole number"), ("string", .string, "a text"), ("array", .array, "a list"),
      ("object", .object, "an object"),
    ]

    var words: String { Types.named.filter { contains($0.type) }.map(\.words).joined(separator: " or ") }

    func has(_ value: JSONTree) -> Bool {
      switch value {
      case .null: contains(.null)
      case .bool: contains(.boolean)
      case .number(let number): contains(.number) || contains(.integer) && number.isInteger
      case .text: contains(.string)
      case .array: contains(.array)
      case .object: contains(.object)
      }
    }
  }

  /// A schema within the schema: what it asserts, nil or empty where it says nothing.
  struct Node: Sendable {
    /// False: nothing fits.
    var isPossible = true
    var types: Types?
    var choices: [JSONTree]?
    var constant: JSONTree?
    var multipleOf: JSONDecimal.Divisor?
    var multipleOfWritten = ""
    var least: Bound?
    var most: Bound?
    var moreThan: Bound?
    var lessThan: Bound?
    var length = Count()
    var pattern: Pattern?
    var items = Count()
    var areItemsUnique = false
    var contained = Count()
    var members = Count()
    var required: [[UInt8]] = []
    var requiredWith: [(name: [UInt8], names: [[UInt8]])] = []
    var properties: [[UInt8]: Int] = [:]
    var patternProperties: [(pattern: Pattern, node: Int)] = []
    var additionalProperties: Int?
    var propertyNames: Int?
    var dependent: [(name: [UInt8], node: Int)] = []
    var first: [Int] = []
    var rest: Int?
    var contains: Int?
    var allOf: [Int] = []
    var anyOf: [Int] = []
    var oneOf: [Int] = []
    var not: Int?
    var condition: Int?
    var then: Int?
    var otherwise: Int?
    var references: [Int] = []

    /// Schemas that judge the same place of the text.
    var inPlace: [Int] {
      allOf + anyOf + oneOf + references + dependent.map(\.node) + [not, condition, then, otherwise].compactMap { $0 }
    }
  }

  struct Bound: Sendable {
    var value: JSONDecimal
    var written: String
  }

  struct Count: Sendable {
    var least: Int?
    var most: Int?
  }

  struct Pattern: Sendable {
    var pattern: SchemaPattern
    var written: String
  }
}
