// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
package import WeirPatterns

/// Pages of other origins that may call a route.
package struct CORS: Sendable, Equatable {
  package var place: Place
  package var origins: [Value<String>] = []
  package var methods: Value<[String]>?
  package var headers: [Value<String>] = []
  package var expose: [Value<String>] = []
  package var credentials = CORSKeys.credentials.initial
  package var maxAge = CORSKeys.maxAge.initial

  /// `taken` are the methods that the route takes, which pages may send unless said otherwise.
  package func settings(taken: [String]) -> CORSRule.Settings {
    var settings = CORSRule.Settings()
    settings.origins = origins.map(\.value)
    settings.methods = methods?.value ?? (taken.isEmpty ? settings.methods : taken)
    settings.headers = headers.map(\.value)
    settings.expose = expose.map(\.value)
    settings.credentials = credentials.value
    settings.maxAge = maxAge.value
    return settings
  }
}

/// `cors:` of a route.
enum CORSKeys {
  private static let standard = CORSRule.Settings()
  private static let origin = ScalarType<String>.text(
    "an origin", example: "https://shop.example", pattern: #"^(\*|null|[a-z]+://[^/]+)$"#
  ) { text in CORSRule.mistake(in: text)?.description }
  private static let field = ScalarType<String>.text("a header field", example: "x-request-id")

  static let origins = Key(
    "origins", Shape.list(.scalar(origin), least: 1).or(.scalar(origin)), required: true,
    "Whose pages may call: `https://shop.example`, `https://*.shop.example` for every name below, `*` for all.",
    alias: ["origin", "allow-origins", "allow-origin", "allowed-origins"])
  static let methods = Key(
    "methods", .list(.scalar(.method), least: 1), default: "the methods of the route",
    "What they may send; GET, HEAD and POST they always may.", alias: ["allow-methods", "allowed-methods"])
  static let headers = Key(
    "headers", Shape.list(.scalar(field)).or(.scalar(field)), default: "none",
    "Header fields they may set, beside those that a form can; `*` for all but `Authorization`.",
    alias: ["allow-headers", "allowed-headers"])
  static let expose = Key(
    "expose", Shape.list(.scalar(field)).or(.scalar(field)), default: "none",
    "Header fields of answers they may read, beside the usual ones.", alias: ["expose-headers", "exposed-headers"])
  static let credentials = ScalarKey(
    "credentials", .bool, default: standard.credentials, rule: "cors.credentials",
    "Whether cookies and the like come along.", alias: ["allow-credentials"])
  static let maxAge = ScalarKey(
    "max-age", .duration(atLeastZero: true), default: standard.maxAge,
    rule: "cors.max-age (browsers have caps of their own)", "How long a browser need not ask again.")

  static let part = Part<CORS>(
    "cors", "Pages of other origins that may call.",
    start: { layers, resolver in
      guard let place = layers.place else { return nil }
      let origins = Fields.values(layers.node(origins), origin)
      let star = origins.first { $0.value == "*" }
      if let star, let credentials = layers.value(credentials), credentials.value {
        resolver.mistake(
          "wrong-value", "'*' does not go with 'credentials': name the origins", at: star,
          why: "every page in the world could act in its visitor's name; browsers refuse such an answer",
          mend: "origins: [\"https://shop.example\"]",
          related: credentials.place.map { [.init($0, "credentials")] } ?? [])
        return nil
      }
      if let star, origins.count > 1 {
        resolver.mistake("wrong-value", "'*' stands alone: it is all origins", at: star, mend: "origins: \"*\"")
        return nil
      }
      return CORS(place: place)
    },
    [
      .list(origins, origin, \.origins),
      .words(methods, .method, \.methods),
      .list(headers, field, \.headers),
      .list(expose, field, \.expose),
      .value(credentials, \.credentials),
      .value(maxAge, \.maxAge),
    ])
  static let section = part.section
}
