// SPDX-License-Identifier: Apache-2.0

/// A value of a file as it stands there: before anybody asks what it means.
///
/// A class, for a node is marked once something was said about it: what follows from a reported mistake stays silent.
/// Lives only while a file is read.
final class Node {
  enum Kind {
    case scalar(Scalar)
    case map([Entry])
    case list([Node])
  }

  struct Scalar {
    var text: String
    /// Not quoted and not a block: what an old reader may take for something else than text.
    var isPlain: Bool
    /// Nothing stands there, or `~`, or `null`.
    var isNull: Bool { isPlain && (text.isEmpty || text == "~" || text == "null") }
  }

  struct Entry {
    var key: String
    var keySpot: Spot
    var keyIsPlain: Bool
    var value: Node
  }

  let kind: Kind
  let place: Place
  /// A mistake in it is reported already, or it is of a later version: whoever needs it does without and says nothing.
  var isReported = false

  init(_ kind: Kind, _ place: Place) {
    self.kind = kind
    self.place = place
  }

  var entries: [Entry] {
    if case .map(let entries) = kind { entries } else { [] }
  }

  var items: [Node] {
    if case .list(let items) = kind { items } else { [] }
  }

  var scalar: Scalar? {
    if case .scalar(let scalar) = kind { scalar } else { nil }
  }

  func entry(_ key: String) -> Entry? { entries.first { $0.key == key } }

  /// `a map`, `a list`, `text`, `nothing`: for messages.
  var kindWords: String {
    switch kind {
    case .map: "a map"
    case .list: "a list"
    case .scalar(let scalar): scalar.isNull ? "nothing" : "'\(scalar.text.prefixForMessage)'"
    }
  }
}

extension String {
  /// No message quotes more than 60 characters of a file, and no line breaks.
  var prefixForMessage: String {
    let line = String(prefix { $0 != "\n" && $0 != "\r\n" })
    return line.count > 60 ? line.prefix(57) + "…" : line
  }
}
