// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirMessaging

/// JSON Schema, draft 2020-12: verdicts, their words, and what is not taken.
@Suite struct JSONSchemaTests {
  static func schema(_ text: String) throws -> JSONSchema { try JSONSchema(Array(text.utf8)) }

  static func flaws(_ schema: String, _ document: String) throws -> [String] {
    try Self.schema(schema).flaws(of: Array(document.utf8)).map(\.sentence)
  }

  @Test(
    "what is wrong is told by its place and what was expected",
    arguments: [
      (#"{"type":"object"}"#, "[1]", ["$: a list stands where an object must."]),
      (#"{"type":["integer","null"]}"#, "1.5", ["$: a number stands where null or a whole number must."]),
      (#"{"required":["a","b"]}"#, #"{"b":1}"#, ["$: 'a' is missing."]),
      (
        #"{"properties":{"a":{"items":{"properties":{"p":{"minimum":1}}}}}}"#, #"{"a":[{},{},{},{"p":0.5}]}"#,
        ["$.a[3].p: 0.5 is less than 1."]
      ),
      (#"{"properties":{"a b":{"const":1}}}"#, #"{"a b":2}"#, ["$['a b']: it is something else than 1."]),
      (#"{"enum":["a","b",3]}"#, #""c""#, ["$: 'c' is none of 'a', 'b', 3."]),
      (#"{"maxLength":2}"#, #""😀é!""#, ["$: it has 3 characters, at most 2 may be."]),
      (#"{"pattern":"^[a-z]+$"}"#, #""A""#, ["$: 'A' is not what the pattern '^[a-z]+$' says."]),
      (
        #"{"properties":{"colour":{}},"additionalProperties":false}"#, #"{"color":1}"#,
        ["$.color: no member of this name is known. Did you mean colour?"]
      ),
      (#"{"uniqueItems":true}"#, "[1,2,1.0]", ["$: [2] stands there before; no two may be equal."]),
      (#"{"multipleOf":0.01}"#, "4.015", ["$: 4.015 is no multiple of 0.01."]),
      (
        #"{"oneOf":[{"type":"number"},{"minimum":1}]}"#, "2",
        ["$: it fits more than one of the 2 schemas of which it must fit exactly one."]
      ),
      (#"{"not":{}}"#, "2", ["$: it is just what it must not be."]),
      (#"{"a":1}"#, #"{"x":1,"x":2}"#, ["$: 'x' stands twice in one object."]),
      ("true", "{", ["line 1, column 2: here it stops being JSON (RFC 8259; 128 deep at most)."]),
      ("false", "1", ["$: nothing may stand here."]),
    ])
  func words(schema: String, document: String, expected: [String]) throws {
    #expect(try Self.flaws(schema, document) == expected)
  }

  @Test("all that is wrong is told at once, up to sixteen")
  func many() throws {
    let schema = #"{"items":{"type":"integer"}}"#
    #expect(try Self.flaws(schema, #"["a",1,"b",2.5]"#).count == 3)
    #expect(try Self.flaws(schema, "[\(Array(repeating: "\"a\"", count: 100).joined(separator: ","))]").count == 16)
  }

  @Test(
    "numbers are exact, whatever their digits",
    arguments: [
      (#"{"multipleOf":0.1}"#, "0.3", true), (#"{"multipleOf":0.1}"#, "1e300", true),
      (#"{"multipleOf":3}"#, "1e300", false), (#"{"multipleOf":3}"#, "3e300", true),
      (#"{"multipleOf":7}"#, "123456789012345678901234567891", false),
      (#"{"multipleOf":1e-8}"#, "12391239123", true), (#"{"multipleOf":0.5}"#, "-1.5", true),
      (#"{"maximum":9007199254740992}"#, "9007199254740993", false),
      (#"{"exclusiveMaximum":1e400}"#, "1e400", false), (#"{"exclusiveMaximum":1e400}"#, "9e399", true),
      (#"{"minimum":-1e400}"#, "-2e400", false), (#"{"const":100}"#, "1e2", true), (#"{"const":0}"#, "-0.0", true),
      (#"{"type":"integer"}"#, "1e400", true), (#"{"type":"integer"}"#, "1.50e1", true),
      (#"{"type":"integer"}"#, "1.5", false), (#"{"const":0.1}"#, "0.10", true), (#"{"const":false}"#, "0", false),
      (#"{"minimum":0.00000000000000000001}"#, "0.00000000000000000002", true),
    ])
  func numbers(schema: String, document: String, fits: Bool) throws {
    #expect(try Self.flaws(schema, document).isEmpty == fits)
  }

  @Test(
    "what cannot be honoured is refused when the schema is read",
    arguments: [
      (#"{"$ref":"https://example.com/x"}"#, "#/$ref", "another document"),
      (#"{"properties":{"a":{"$ref":"other.json#/a"}}}"#, "#/properties/a/$ref", "another document"),
      (##"{"$ref":"#/$defs/a"}"##, "#/$ref", "leads nowhere"), (##"{"$ref":"#a"}"##, "#/$ref", "anchor"),
      (##"{"$ref":"#"}"##, "#", "leads to itself"),
      (##"{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}}}"##, "#/$defs/a", "itself"),
      (#"{"unevaluatedProperties":false}"#, "#/unevaluatedProperties", "not judged"),
      (#"{"items":{"unevaluatedItems":{"type":"null"}}}"#, "#/items/unevaluatedItems", "not judged"),
      (#"{"$schema":"http://json-schema.org/draft-07/schema#"}"#, "#/$schema", "another draft"),
      (#"{"$defs":{"a":{"$id":"b"}}}"#, "#/$defs/a/$id", "address of its own"),
      (#"{"pattern":"(?=a)"}"#, "#/pattern", "looks ahead"), (#"{"pattern":"(a)\\1"}"#, "#/pattern", "refers back"),
      (#"{"pattern":"(a"}"#, "#/pattern", "has no )"), (#"{"pattern":"a{99999}"}"#, "#/pattern", "too large"),
      (#"{"patternProperties":{"[":{}}}"#, "#/patternProperties/[", "has no ]"),
      (#"{"type":"strng"}"#, "#/type", "not known"), (#"{"minLength":-1}"#, "#/minLength", "no whole number"),
      (#"{"items":[{}]}"#, "#/items", "must: an object"), (#"{"allOf":[]}"#, "#/allOf", "at least one"),
      (#"{"multipleOf":0}"#, "#/multipleOf", "greater than zero"), ("[]", "#", "must: an object"),
      (#"{"required":["a","a"]}"#, "#/required", "twice"), ("{", "line 1, column 2", "stops being JSON"),
      (#"{"a":1,"a":2}"#, "#", "twice"),
    ])
  func refused(schema: String, at: String, what: String) throws {
    let unusable = #expect(throws: JSONSchema.Unusable.self) { try Self.schema(schema) }
    let flaw = try #require(unusable?.flaws.first)
    #expect(flaw.at == at && flaw.what.contains(what), "\(flaw)")
  }

  @Test("references: to the whole, to a place, to an anchor, to its own address, in circles that eat the text")
  func references() throws {
    let tree =
      ##"{"type":"object","properties":{"left":{"$ref":"#"},"right":{"$ref":"#"}},"additionalProperties":false}"##
    #expect(try Self.flaws(tree, #"{"left":{"right":{}}}"#).isEmpty)
    #expect(try Self.flaws(tree, #"{"left":{"right":{"x":1}}}"#).map { String($0.prefix(14)) } == ["$.left.right.x"])
    for reference in ["#/$defs/a~1b%25", "#here", "https://example.com/s#here", "#/properties/y"] {
      let schema = """
        {"$id":"https://example.com/s","$defs":{"a/b%":{"$anchor":"here","type":"null"}},
         "properties":{"y":{"type":"null"},"x":{"$ref":"\(reference)"}}}
        """
      #expect(try Self.flaws(schema, #"{"x":null}"#).isEmpty && Self.flaws(schema, #"{"x":1}"#).count == 1)
    }
  }

  @Test(
    "patterns, as ECMA-262 has them",
    arguments: [
      ("a|b*c", "xxbbc", true), ("^(?:a|b){2,3}$", "aba", true), ("^(?:a|b){2,3}$", "abab", false),
      ("^\\d{4}-\\d\\d$", "2026-11", true), ("^\\d$", "٣", false), ("^\\p{L}+$", "Zoë", true), ("^\\P{Lu}$", "a", true),
      ("^[^\\s,]+$", "a b", false), ("\\bcat\\b", "a cat!", true), ("\\bcat\\b", "concat", false),
      ("^.$", "😀", true), ("^.$", "\\n", false), ("^\\u{1F600}$", "😀", true), ("^\\uD83D\\uDE00$", "😀", true),
      ("^[\\w.+-]+@[a-z]+$", "a.b+c@d", true), ("", "", true), ("^$", "", true), ("^$", "x", false), ("x*", "", true),
      ("^(a*)*$", "aaaa", true), ("^(a|a)*$", "aaab", false), ("^a{,2}$", "a{,2}", true), ("[]a]", "a", false),
      ("^[-a]$", "-", true), ("^[a-]$", "-", true), ("^(?<year>\\d+)$", "7", true), ("\\x41\\cJ?", "A", true),
      ("^[\\d-x]$", "-", true),
    ])
  func patterns(pattern: String, text: String, fits: Bool) throws {
    let escaped = pattern.replacingOccurrences(of: "\\", with: "\\\\")
    #expect(try Self.flaws("{\"pattern\":\"\(escaped)\"}", "\"\(text)\"").isEmpty == fits)
  }

  @Test("no text makes a pattern slow, and no schema is judged for ever")
  func bounded() throws {
    let text = String(repeating: "a", count: 100_000)
    #expect(try Self.flaws(#"{"pattern":"^(a+)+$"}"#, "\"\(text)!\"").count == 1)
    // Each level asks for the next twice: 2^40 ways to the last.
    var schema = #"{"$defs":{"d40":{"type":"null"}"#
    for i in 0..<40 {
      schema += ##","d\##(i)":{"allOf":[{"$ref":"#/$defs/d\##(i + 1)"},{"$ref":"#/$defs/d\##(i + 1)"}]}"##
    }
    schema += ##"},"$ref":"#/$defs/d0"}"##
    #expect(try Self.flaws(schema, "null").first?.contains("more steps") == true)
    // What a search needs before its first step is paid for by each text.
    let items = "[" + Array(repeating: #""x""#, count: 1000).joined(separator: ",") + "]"
    #expect(
      try Self.flaws(#"{"items":{"pattern":"^(abcdefgh){0,1000}"}}"#, items).first?.contains("more steps") == true)
    #expect(try Self.flaws(#"{"items":{"pattern":"^[a-z]{0,64}$"}}"#, items).isEmpty)
  }

  @Test("schemas that lead to one another very deep are not followed to the end of the stack")
  func depth() throws {
    func chain(_ length: Int) -> String {
      let links = (0..<length).map { ##""d\##($0)":{"$ref":"#/$defs/d\##($0 + 1)"}"## }.joined(separator: ",")
      return ##"{"$defs":{\##(links),"d\##(length)":{"type":"null"}},"$ref":"#/$defs/d0"}"##
    }
    #expect(try Self.flaws(chain(400), "null").isEmpty)
    #expect(try Self.flaws(chain(600), "null").first?.contains("lead to one another") == true)
    // A text as deep as one may be, judged by a schema that leads to itself.
    let nested = String(repeating: #"{"a":["#, count: 63) + "1" + String(repeating: "]}", count: 63)
    let tree = ##"{"type":["object","number"],"properties":{"a":{"type":"array","items":{"anyOf":[{"$ref":"#"}]}}}}"##
    #expect(try Self.flaws(tree, nested).isEmpty)
  }

  // MARK: The judge

  /// Schemas and documents that are drawn from few words, so that they meet.
  struct Draw {
    var random: SeededRandom

    mutating func one<T>(_ of: [T]) -> T { of[random.index(below: of.count)] }

    mutating func name() -> String { one(["a", "b", "c", "ab", "x1", "é"]) }

    mutating func document(_ depth: Int) -> String {
      let isLeaf = depth == 0
      switch random.index(below: isLeaf ? 6 : 10) {
      case 0: return one(["null", "true", "false"])
      case 1, 2: return one(["0", "1", "-1", "2", "3", "1.0", "1.5", "2.5", "10", "1e2", "0.25", "-0.0", "4e0"])
      case 3, 4, 5: return one([#""""#, #""a""#, #""ab""#, #""aab""#, #""x1""#, #""é😀""#, #""\u0041b""#, #""1""#])
      case 6, 7:
        return "[" + (0..<random.index(below: 5)).map { _ in document(depth - 1) }.joined(separator: ",") + "]"
      default:
        var names: [String] = []
        for _ in 0..<random.index(below: 5) {
          let name = name()
          if !names.contains(name) { names.append(name) }
        }
        return "{" + names.map { "\"\($0)\":\(document(depth - 1))" }.joined(separator: ",") + "}"
      }
    }

    mutating func names() -> String {
      var names: [String] = []
      for _ in 0..<random.index(below: 3) {
        let name = name()
        if !names.contains(name) { names.append(name) }
      }
      return "[" + names.map { "\"\($0)\"" }.joined(separator: ",") + "]"
    }

    mutating func schemas(_ depth: Int, names: Bool) -> String {
      var written: [String] = []
      var out: [String] = []
      for _ in 0..<(1 + random.index(below: 3)) {
        let name = names ? name() : one(["^a", "b$", "x[0-9]", "^.$", "é"])
        if written.contains(name) { continue }
        written.append(name)
        out.append("\"\(name)\":\(schema(depth - 1))")
      }
      return "{\(out.joined(separator: ","))}"
    }

    mutating func list(_ depth: Int) -> String {
      "[" + (0...random.index(below: 3)).map { _ in schema(depth - 1) }.joined(separator: ",") + "]"
    }

    mutating func keyword(_ depth: Int) -> (String, String) {
      let types = ["null", "boolean", "number", "integer", "string", "array", "object"]
      switch random.index(below: depth > 0 ? 38 : 20) {
      case 0, 1: return ("type", "\"\(one(types))\"")
      case 2: return ("type", "[\"\(one(Array(types[0..<3])))\",\"\(one(Array(types[3...])))\"]")
      case 3: return ("enum", "[\((0...random.index(below: 4)).map { _ in document(1) }.joined(separator: ","))]")
      case 4: return ("const", document(1))
      case 5: return ("multipleOf", one(["1", "2", "0.5", "0.25", "3", "1e1"]))
      case 6: return ("minimum", one(["0", "1", "1.5", "-1.0"]))
      case 7: return ("maximum", one(["0", "1", "2.5", "1e1"]))
      case 8: return ("exclusiveMinimum", one(["0", "1", "1.5"]))
      case 9: return ("exclusiveMaximum", one(["1", "2.5", "10.0"]))
      case 10: return ("minLength", one(["0", "1", "2", "2.0"]))
      case 11: return ("maxLength", one(["0", "1", "2", "3"]))
      case 12: return ("pattern", one([#""^a""#, #""b+$""#, #""[^a]""#, #""^(a|x)+1?$""#, #""\\d""#, #""^.{2}$""#]))
      case 13: return ("minItems", one(["0", "1", "2"]))
      case 14: return ("maxItems", one(["0", "1", "2", "3"]))
      case 15: return ("uniqueItems", one(["true", "false"]))
      case 16: return ("minProperties", one(["1", "2"]))
      case 17: return ("maxProperties", one(["1", "2"]))
      case 18: return ("required", names())
      case 19: return ("dependentRequired", "{\"\(name())\":\(names())}")
      case 20, 21: return ("properties", schemas(depth, names: true))
      case 22: return ("patternProperties", schemas(depth, names: false))
      case 23: return ("additionalProperties", schema(depth - 1))
      case 24: return ("propertyNames", schema(depth - 1))
      case 25: return ("dependentSchemas", schemas(depth, names: true))
      case 26: return ("prefixItems", list(depth))
      case 27: return ("items", schema(depth - 1))
      case 28: return ("contains", schema(depth - 1))
      case 29: return ("minContains", one(["0", "1", "2"]))
      case 30: return ("maxContains", one(["0", "1", "2"]))
      case 31: return ("allOf", list(depth))
      case 32: return ("anyOf", list(depth))
      case 33: return ("oneOf", list(depth))
      case 34: return (one(["not", "if"]), schema(depth - 1))
      case 35: return (one(["then", "else"]), schema(depth - 1))
      case 36: return ("$ref", one([##""#""##, ##""#/$defs/one""##, ##""#/$defs/two""##, ##""#mark""##]))
      // Now and then a word that the standard refuses, or does not know.
      default:
        return one([
          ("format", "\"date\""), ("unknown", "{\"type\":1}"), ("title", "\"t\""), ("minLength", "-1"),
          ("type", "\"none\""), ("required", "\"a\""), ("anyOf", "[]"), ("properties", "[]"), ("uniqueItems", "1"),
          ("additionalProperties", "3"), ("multipleOf", "0"), ("maxItems", "1.5"), ("pattern", "1"),
        ])
      }
    }

    mutating func schema(_ depth: Int) -> String {
      if random.index(below: 12) == 0 { return one(["true", "false", "{}"]) }
      return "{\(keywords(depth))}"
    }

    private mutating func keywords(_ depth: Int) -> String {
      var written: [String] = []
      var out: [String] = []
      for _ in 0..<(1 + random.index(below: 4)) {
        let (word, value) = keyword(depth)
        if written.contains(word) { continue }
        written.append(word)
        out.append("\"\(word)\":\(value)")
      }
      return out.joined(separator: ",")
    }

    mutating func whole() -> String {
      let two = #""two":{"$anchor":"mark",\#(keywords(1))}"#
      return ##"{"$defs":{"one":\##(schema(1)),\##(two)},\##(keywords(3))}"##
    }
  }

  private static func refusals(_ schema: String) -> [Flaw] {
    do { _ = try Self.schema(schema) } catch let unusable as JSONSchema.Unusable { return unusable.flaws } catch {}
    return []
  }

  private enum Verdict: Decodable, Equatable {
    case words(String)
    case fits([Bool])

    init(from decoder: any Decoder) throws {
      let container = try decoder.singleValueContainer()
      if let word = try? container.decode(String.self) {
        self = .words(word)
      } else {
        self = .fits(try container.decode([Bool].self))
      }
    }
  }

  @Test(
    "the package jsonschema has the same verdict on 2 000 drawn schemas and 12 documents each",
    .enabled(if: Judge.has("jsonschema")))
  func judged() throws {
    let seed = ProcessInfo.processInfo.environment["WEIR_SEED"].flatMap { UInt64($0) } ?? 1
    var draw = Draw(random: SeededRandom(seed: seed, stream: "schemas"))
    var cases: [(schema: String, documents: [String])] = []
    while cases.count < 2000 {
      let schema = draw.whole()
      let documents = (0..<12).map { _ in draw.document(3) }
      // Whether a circle is walked hangs on the document, and where it is the judge gives up.
      if Self.refusals(schema).contains(where: { $0.what.contains("leads to itself") }) { continue }
      cases.append((schema, documents))
    }
    let text = cases.map { "[\($0.schema),[\($0.documents.joined(separator: ","))]]" }.joined(separator: ",\n")
    let folder = FileManager.default.temporaryDirectory.appending(path: "weir-judged-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }  // a leftover in the temporary folder harms nobody
    let file = folder.appending(path: "cases.json")
    try "[\(text)]".write(to: file, atomically: true, encoding: .utf8)
    let answer = try Judge.ask(["schema", file.path])
    let verdicts = try JSONDecoder().decode([Verdict].self, from: Data(answer.utf8))
    try #require(verdicts.count == cases.count)
    var (fits, misfits, invalid) = (0, 0, 0)
    for (one, verdict) in zip(cases, verdicts) {
      guard let schema = try? Self.schema(one.schema) else {
        #expect(verdict == .words("invalid"), "seed \(seed): \(one.schema): \(Self.refusals(one.schema))")
        invalid += 1
        continue
      }
      let ours = one.documents.map { schema.flaws(of: Array($0.utf8)).isEmpty }
      #expect(verdict == .fits(ours), "seed \(seed): \(one.schema) \(one.documents): ours \(ours)")
      fits += ours.count { $0 }
      misfits += ours.count { !$0 }
    }
    // Neither are all good nor all bad.
    #expect(fits > 2000 && misfits > 2000 && invalid > 50, "\(fits), \(misfits), \(invalid)")
  }
}
