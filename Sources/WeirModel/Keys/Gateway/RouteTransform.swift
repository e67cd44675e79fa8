// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// What is changed on the way, of requests and of answers.
package struct RouteTransform: Sendable, Equatable {
  package var rewrite: Rewrite?
  package var query = QueryChange()
  package var request = HeaderChange()
  package var response = HeaderChange()
  package var errorPages: [ErrorPage] = []
  package var json: RouteJSON?

  /// The path and the host as the service sees them.
  package struct Rewrite: Sendable, Equatable {
    package var path: Value<String>?
    package var host: Value<String>?
  }

  /// Parameters of the query that are set or taken out.
  package struct QueryChange: Sendable, Equatable {
    package var set: [Named<String>] = []
    package var remove: [Value<String>] = []
  }

  /// Header fields that are set, added or taken out.
  package struct HeaderChange: Sendable, Equatable {
    package var set: [Named<String>] = []
    package var add: [Named<String>] = []
    package var remove: [Value<String>] = []

    /// As the pattern takes them; `pattern` is the route's path.
    func edits(_ pattern: RoutePattern?) throws(HeaderEdits.Mistake) -> HeaderEdits {
      try HeaderEdits(
        set: set.map { ($0.name, $0.value.value) }, add: add.map { ($0.name, $0.value.value) },
        remove: remove.map(\.value), path: pattern)
    }
  }
}

/// The keys of a route that say what is changed on the way, of requests and of answers.
enum RouteTransformKeys {
  static let rewritePath = ScalarKey(
    "path", .text("a path", example: "/v2/**"),
    "The path as the service sees it: `*` and `**` are what the route's own took.")
  static let rewriteHost = ScalarKey(
    "host", .rewriteHost,
    "The host as the service sees it; what the caller named stands in `X-Forwarded-Host`.")
  static let rewritePart = Part<RouteTransform.Rewrite>(
    "rewrite", "The path and the host as the service sees them.", short: rewritePath.key,
    start: { _, _ in RouteTransform.Rewrite() }, [.optional(rewritePath, \.path), .optional(rewriteHost, \.host)])
  static let rewrite = Key("rewrite", .section(rewritePart.section), "The path as the service sees it.")

  static let querySet = Key(
    "set", .named(.anyText("a parameter"), .scalar(.text("a value", example: "1"))),
    "Parameters that stand once, with this value.")
  static let queryRemove = Key(
    "remove",
    .list(.scalar(.text("the name of a parameter", example: "debug"))).or(
      .scalar(.text("the name of a parameter", example: "debug"))), "Parameters that are taken out.")
  static let queryPart = Part<RouteTransform.QueryChange>(
    "query", "Parameters of the query that are set or taken out.", start: { _, _ in RouteTransform.QueryChange() },
    [
      .named(querySet, .text("a value", example: "1"), \.set),
      .list(queryRemove, .text("the name of a parameter", example: "debug"), \.remove),
    ])
  static let query = Key("query", .section(queryPart.section), "Parameters of the query that are set or taken out.")

  private static let headerValue = ScalarType<String>.text("a value", example: "\"1\"")
  private static let headerName = ScalarType<String>.text("the name of a header", example: "server")
  static let set = Key(
    "set", .named(.headers, .scalar(headerValue)),
    "Fields in place of those of that name; `$client`, `$path`, `$1` and others stand for the request's.")
  static let add = Key("add", .named(.headers, .scalar(headerValue)), "Fields beside those of that name.")
  static let remove = Key(
    "remove", .list(.scalar(headerName)).or(.scalar(headerName)), "Fields that are taken out.", alias: ["delete"])
  static let changePart = Part<RouteTransform.HeaderChange>(
    "header-change", "Header fields that are set, added or taken out.",
    start: { _, _ in RouteTransform.HeaderChange() },
    [.named(set, headerValue, \.set), .named(add, headerValue, \.add), .list(remove, headerName, \.remove)])
  static let request = Key("request", .section(changePart.section), "Of requests, before they go to the service.")
  static let response = Key(
    "response", .section(changePart.section), "Of answers, also of Weir's own on this route.")
  static let headersPart = Part<RouteTransform>(
    "headers", "Header fields that are changed on the way.", start: { _, _ in RouteTransform() },
    [.part(request, \.request, changePart), .part(response, \.response, changePart)])
  static let headers = Key("headers", .section(headersPart.section), "Header fields that are set, added or taken out.")

  static let fields: [Field<RouteTransform>] = [
    .optionalPart(rewrite, \.rewrite, rewritePart),
    .part(query, \.query, queryPart),
    .part(headers, \.self, headersPart),
    .optionalPart(RouteJSONKeys.key, \.json, RouteJSONKeys.part),
    .entries(ErrorPageKeys.pages, \.errorPages, ErrorPageKeys.part, name: \.status),
    .later("cache", "How long answers are kept."),
  ]
}
