// SPDX-License-Identifier: Apache-2.0
package import WeirBase

/// How answers are compressed for callers that can read it.
package struct Compression: Sendable, Equatable {
  package enum Coding: String, Sendable, CaseIterable { case zstd, br, gzip }

  package var place: Place
  /// Media types; nil for ``standardTypes``.
  package var types: Value<[String]>?
  package var atLeast = CompressionKeys.atLeast.initial
  /// Nil for all that there are.
  package var codings: Value<[Coding]>?

  /// Text in its many names; pictures, sound and archives are compressed already.
  package static let standardTypes = [
    "text/*", "application/json", "application/javascript", "application/xml", "application/problem+json",
    "application/ld+json", "application/manifest+json", "application/graphql-response+json", "application/rss+xml",
    "application/atom+xml", "application/xhtml+xml", "application/wasm", "image/svg+xml", "font/ttf", "font/otf",
  ]
}

/// `compress:` of a route.
enum CompressionKeys {
  private static let type = ScalarType<String>.text(
    "a media type", example: "application/json", pattern: #"^[a-z]+/[a-z0-9.+*-]+$"#
  ) { text in
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let isFine =
      parts.count == 2 && !parts[0].isEmpty && !parts[1].isEmpty
      && text.utf8.allSatisfy {
        (97...122).contains($0) || (48...57).contains($0) || "-+./*".utf8.contains($0)
      } && !text.dropLast().contains("*")
    return isFine ? nil : "a media type is written application/json or text/*, in lower case"
  }
  private static let coding = ScalarType<Compression.Coding>.word

  static let types = Key(
    "types", .list(.scalar(type), least: 1), default: "text, JSON, XML, scripts, SVG, wasm, plain fonts",
    "Media types that are compressed; `text/event-stream` only when it is named.")
  static let atLeast = ScalarKey(
    "at-least", .bytes, default: .kibi(1), rule: "compress.at-least (below it a packet is saved by nobody)",
    "Answers that are known to be shorter are left as they are.", alias: ["min-size", "min-length", "minimum"])
  static let codings = Key(
    "with", .list(.scalar(coding), least: 1), default: "zstd, br, gzip",
    "Which codings are offered; of those that a caller likes equally the first of zstd, br, gzip is taken.",
    alias: ["algorithms", "codings"])

  static let part = Part<Compression>(
    "compress", "How answers are compressed.", alone: [AnyScalar(ScalarType<Bool>.bool)],
    start: { layers, _ in layers.place.map { Compression(place: $0) } },
    [
      .words(types, type, \.types),
      .value(atLeast, \.atLeast),
      .words(codings, coding, \.codings),
    ])
  static let section = part.section

  static let key = Key(
    "compress", .section(section), "Answers are compressed for callers that can read it.",
    alias: ["compression", "gzip", "encode"])
  /// As a map that may be missing, but taken away by `false`.
  static let field = Field<RouteEdge>.custom(
    key,
    read: { layers, resolver, edge in
      guard let layers = layers.section(key, section, unless: "false"), !layers.isEmpty else { return }
      edge.compress = part.read(layers, &resolver)
    },
    explain: { edge, design in
      guard let compress = edge.compress else { return [] }
      return [.map(key, part.explain(compress, design))]
    })
}
