// SPDX-License-Identifier: Apache-2.0

/// An answer that is the same for everybody.
package struct StaticAnswer: Sendable, Equatable {
  package var place: Place
  package var status = StaticAnswerKeys.status.initial
  package var body: Value<String>?
  /// Relative to the Weir file; read once, when the gateway starts.
  package var file: Value<String>?
  package var headers: [Named<String>] = []
}

/// `answer:` of a route.
enum StaticAnswerKeys {
  static let status = ScalarKey(
    "status", .count(200...599, words: "a status"), default: 200, rule: "answer.status", "The status of the answer.",
    alias: ["code"])
  static let body = ScalarKey(
    "body", .text("a body", example: "\"back soon\""), "The body, as text; JSON when it begins with `{` or `[`.",
    alias: ["text", "content"])
  static let file = ScalarKey(
    "file", .text("a file", example: "pages/closed.html"),
    "A file whose bytes are the body, relative to the Weir file; at most 1 MiB.", alias: ["from"])
  static let headers = Key(
    "headers", .named(.answerFields, .scalar(.text("a value", example: "no-cache"))), "Header fields of the answer.")

  static let part = Part<StaticAnswer>(
    "answer", "An answer that is the same for everybody.", short: status.key,
    start: { layers, resolver in
      guard let place = layers.place else { return nil }
      if let body = layers.value(body), let file = layers.value(file) {
        resolver.mistake(
          "conflict", "an answer has a 'body' or a 'file', not both", at: file,
          related: body.place.map { [.init($0, "the body")] } ?? [])
      }
      if let status = layers.value(status), [204, 205, 304].contains(status.value),
        let body = layers.value(body) ?? layers.value(file)
      {
        resolver.mistake("conflict", "an answer of status \(status.value) has no body", at: body, mend: "status: 200")
      }
      return StaticAnswer(place: place)
    },
    [
      .value(status, \.status),
      .optional(body, \.body),
      .optional(file, \.file),
      .named(headers, .text("a value", example: "no-cache"), \.headers),
    ])
  static let section = part.section
}

extension Shape.Names {
  /// Fields that frame a message or are Weir's to write cannot be given.
  static let answerFields = Shape.Names(
    what: "a header field",
    problem: { text in
      let marks = Array("!#$%&'*+-.^_`|~".utf8)
      let isToken =
        !text.isEmpty
        && text.utf8.allSatisfy {
          (65...90).contains($0) || (97...122).contains($0) || (48...57).contains($0) || marks.contains($0)
        }
      if !isToken { return "a header field has letters, digits and dashes" }
      let own = [
        "connection", "content-length", "date", "host", "keep-alive", "proxy-connection", "proxy-status", "te",
        "trailer", "transfer-encoding", "upgrade",
      ]
      return own.contains(text.lowercased()) ? "\(text) is Weir's to write" : nil
    }, pattern: "^[A-Za-z0-9-]+$")
}
