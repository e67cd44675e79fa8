// SPDX-License-Identifier: Apache-2.0

/// Files of a folder that Weir gives out by itself.
package struct StaticFiles: Sendable, Equatable {
  package var place: Place
  /// The folder, relative to the Weir file.
  package var from: Value<String>
  package var index = StaticFilesKeys.index.initial
  /// What is given for a path without a file: the page of an application that routes by itself.
  package var spa: Value<String>?
  /// How long others may keep a file; nil: they ask each time.
  package var cache: Value<Duration>?
}

/// `files:` of a route.
enum StaticFilesKeys {
  private static func name(_ example: String) -> ScalarType<String> {
    .text("a file", example: example, pattern: "^[^/.][^/]*$") { text in
      text.contains("/") || text.hasPrefix(".") ? "a file of the folder itself: \(example)" : nil
    }
  }

  static let from = ScalarKey(
    "from", .text("a folder", example: "public"), required: true,
    "The folder, relative to the Weir file: what stands for `**` in the route's path is looked for there.",
    alias: ["root", "directory", "dir", "folder", "path"])
  static let index = ScalarKey(
    "index", name("index.html"), default: "index.html", rule: "files.index", "What is given for a folder.")
  static let spa = ScalarKey(
    "spa", name("index.html"),
    "What is given for a path that has no file and whose last part has no dot: the page of an application that routes "
      + "by itself.", alias: ["fallback", "try-files"])
  static let cache = ScalarKey(
    "cache", .duration(atLeastZero: true), rule: "asked for each time, which costs a 304",
    "How long browsers and caches may keep a file without asking; pages (HTML) are always asked for.",
    alias: ["max-age", "expires"])

  static let part = Part<StaticFiles>(
    "files", "Files of a folder.", short: from.key,
    start: { layers, _ in
      guard let place = layers.place, let from = layers.value(from) else { return nil }
      return StaticFiles(place: place, from: from)
    },
    [
      .value(from, \.from),
      .value(index, \.index),
      .optional(spa, \.spa),
      .optional(cache, \.cache),
    ])
  static let section = part.section
}
