// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// What a request must have beside path, method and host.
package struct RouteMatch: Sendable, Equatable {
  package var headers: [Condition] = []
  package var query: [Condition] = []
  package var cookies: [Condition] = []
  /// A media type that the caller takes, perhaps with parameters: `application/vnd.shop.v2+json`.
  package var accept: Value<String>?
  /// The media type of the request's body.
  package var contentType: Value<String>?

  /// What is asked of one header, cookie or parameter of the query.
  package struct Condition: Sendable, Equatable {
    package var name: Name
    package var equals: Value<String>?
    package var starts: Value<String>?
    package var ends: Value<String>?
    package var present: Value<Bool>?
  }

  package var isEmpty: Bool {
    headers.isEmpty && query.isEmpty && cookies.isEmpty && accept == nil && contentType == nil
  }

  /// Whether all that this asks for is asked for by `other`, too.
  package func isCovered(by other: RouteMatch) -> Bool {
    let theirs = other.conditions
    return conditions.allSatisfy(theirs.contains)
  }

  /// Where the first of it stands.
  package var place: Place? {
    (headers + query + cookies).first?.name.place ?? accept?.place ?? contentType?.place
  }

  /// As the trie takes them.
  var conditions: [RouteCondition] {
    headers.flatMap { $0.tests(.header($0.name.text)) } + query.flatMap { $0.tests(.query($0.name.text)) }
      + cookies.flatMap { $0.tests(.cookie($0.name.text)) } + RouteMatch.mediaType(accept, "accept")
      + RouteMatch.mediaType(contentType, "content-type")
  }

  /// `application/json; version=2`: the type, and each of its parameters.
  private static func mediaType(_ value: Value<String>?, _ header: String) -> [RouteCondition] {
    guard let value else { return [] }
    let parts = value.value.split(separator: ";").map(trimmed)
    guard let type = parts.first else { return [] }
    return [RouteCondition(.mediaType(header: header), .equals(type))]
      + parts.dropFirst().compactMap { part in
        guard let equals = part.firstIndex(of: "=") else { return nil }
        return RouteCondition(
          .parameter(header: header, name: trimmed(part[..<equals])),
          .equals(trimmed(part[part.index(after: equals)...])))
      }
  }

  private static func trimmed(_ text: Substring) -> String { trimmed(String(text)) }
  private static func trimmed(_ text: String) -> String {
    String(String(text.drop { $0 == " " }).reversed().drop { $0 == " " }.reversed())
  }
}

extension RouteMatch.Condition {
  fileprivate func tests(_ subject: RouteCondition.Subject) -> [RouteCondition] {
    var tests: [RouteCondition.Test] = []
    if let equals { tests.append(.equals(equals.value)) }
    if let starts { tests.append(.prefix(starts.value)) }
    if let ends { tests.append(.suffix(ends.value)) }
    if let present { tests.append(present.value ? .present : .absent) }
    return tests.map { RouteCondition(subject, $0) }
  }
}

/// One condition of `match:`.
enum ConditionKeys {
  static let equals = ScalarKey("is", .text("a value", example: "v2"), "The whole value, letter by letter.")
  static let starts = ScalarKey(
    "starts", .text("a beginning", example: "v2"), "How the value begins.", alias: ["prefix"])
  static let ends = ScalarKey("ends", .text("an end", example: "-beta"), "How the value ends.", alias: ["suffix"])
  static let present = ScalarKey(
    "present", .bool, "`true`: it must be there, whatever its value; `false`: it must not be there.", alias: ["exists"])

  static let part = Part<RouteMatch.Condition>(
    "condition", "What is asked of a header, a cookie or a parameter of the query. What comes twice equals nothing.",
    short: equals.key, start: { layers, _ in layers.name.map { RouteMatch.Condition(name: $0) } },
    [.optional(equals, \.equals), .optional(starts, \.starts), .optional(ends, \.ends), .optional(present, \.present)])
  static let section = part.section

  /// Names with conditions, each a value or a map.
  static func field(_ key: Key, _ way: Way<RouteMatch, [RouteMatch.Condition]>) -> Field<RouteMatch> {
    .entries(key, way, part, name: \.name)
  }
}

/// `match:` of a route.
enum RouteMatchKeys {
  static let match = Key(
    "match", .section(section), "What a request must have beside host, path and method; all of it.")
  static let headers = Key(
    "headers", .named(.headers, .section(ConditionKeys.section)), "Header fields, by name.", alias: ["header"])
  static let query = Key(
    "query", .named(.anyText("a parameter"), .section(ConditionKeys.section)), "Parameters of the query, by name.",
    alias: ["queries", "query-params", "params"])
  static let cookies = Key(
    "cookies", .named(.anyText("a cookie"), .section(ConditionKeys.section)), "Cookies, by name.", alias: ["cookie"])
  static let accept = ScalarKey(
    "accept", .mediaType, "A media type that the caller takes, with parameters or without.")
  static let contentType = ScalarKey(
    "content-type", .mediaType, "The media type of the body, with parameters or without.")

  static let part = Part<RouteMatch>(
    "match", "What a request must have beside host, path and method.", start: { _, _ in RouteMatch() },
    [
      ConditionKeys.field(headers, \.headers),
      ConditionKeys.field(query, \.query),
      ConditionKeys.field(cookies, \.cookies),
      .optional(accept, \.accept),
      .optional(contentType, \.contentType),
    ])
  static let section = part.section
  static let fields: [Field<RouteMatch>] = [.part(match, \.self, part)]
}

extension Shape.Names {
  /// Names of header fields (RFC 9110 §5.1).
  static let headers = Shape.Names(
    what: "a header", problem: { HeaderName.problem($0) }, pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

  static func anyText(_ what: String) -> Shape.Names {
    Shape.Names(what: what, problem: { $0.isEmpty ? "it is empty" : nil }, pattern: "^.+$")
  }
}

enum HeaderName {
  /// RFC 9110 §5.6.2, token.
  static func problem(_ text: String) -> String? {
    let fine =
      !text.isEmpty
      && text.utf8.allSatisfy {
        (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0)
          || "!#$%&'*+-.^_`|~".utf8.contains($0)
      }
    return fine ? nil : "a header's name has letters, digits and dashes"
  }
}

extension ScalarType where T == String {
  /// `application/json`, `application/json; version=2`.
  static var mediaType: ScalarType {
    .text("a media type", example: "application/vnd.shop.v2+json", pattern: "^[^ /;]+/[^ /;]+( *;.*)?$") { text in
      let parts = text.split(separator: ";", omittingEmptySubsequences: false)
      let type = parts[0].split(separator: "/", omittingEmptySubsequences: false)
      let isType = type.count == 2 && type.allSatisfy { HeaderName.problem(String($0.filter { $0 != " " })) == nil }
      let areParameters = parts.dropFirst().allSatisfy { part in
        part.split(separator: "=", omittingEmptySubsequences: false).count == 2
      }
      if text.contains("*") { return "a media type is compared as a whole; * stands for none here" }
      return isType && areParameters ? nil : "a media type is written application/json or application/json; version=2"
    }
  }
}
