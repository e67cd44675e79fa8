// SPDX-License-Identifier: Apache-2.0

/// What stands in place of an answer's body, by its status.
package struct ErrorPage: Sendable, Equatable {
  /// `404`, or `5xx` for those that no other page names.
  package var status: Name
  /// Relative to the Weir file.
  package var file: Value<String>?
  package var answer: Value<String>?

  /// The statuses it is for.
  package var statuses: ClosedRange<Int> {
    if let number = Int(status.text) { return number...number }
    return status.text.hasPrefix("4") ? 400...499 : 500...599
  }
}

/// `error-pages:` of a route.
enum ErrorPageKeys {
  static let file = ScalarKey("file", .text("a file", example: "pages/404.html"), "A file, relative to this one.")
  static let answer = ScalarKey("answer", .text("a text", example: "We are back soon."), "The text itself.")
  static let part = Part<ErrorPage>(
    "error-page", "What stands in place of an answer's body.", short: file.key,
    start: { layers, resolver in
      guard let name = layers.name else { return nil }
      if (layers.value(file) == nil) == (layers.value(answer) == nil), let place = layers.place {
        resolver.mistake(
          "wrong-value", "an error page is a file or an answer", at: place, spot: place.value,
          mend: "\(name.text): pages/\(name.text).html")
      }
      return ErrorPage(status: name)
    }, [.optional(file, \.file), .optional(answer, \.answer)])
  static let names = Shape.Names(
    what: "a status",
    problem: { text in
      if text == "4xx" || text == "5xx" { return nil }
      guard let number = Int(text), (400...599).contains(number) else {
        return "error pages are for 400 to 599, 4xx and 5xx"
      }
      return nil
    }, pattern: "^[45](xx|[0-9][0-9])$")
  static let pages = Key(
    "error-pages", .named(names, .section(part.section)), "What stands in place of an answer's body, by status.",
    alias: ["error_page", "errors"])
}
