// SPDX-License-Identifier: Apache-2.0

/// A stretch of a file's text: where it begins, for people, and which bytes it is, for tools that edit.
package struct Spot: Sendable, Hashable {
  /// From 1.
  package var line: Int
  /// From 1, in Unicode scalars: what editors count.
  package var column: Int
  /// UTF-8 offsets from the beginning of the file (behind a byte order mark, if there is one).
  package var bytes: Range<Int>

  package init(line: Int, column: Int, bytes: Range<Int>) {
    self.line = line
    self.column = column
    self.bytes = bytes
  }
}

/// Where a value of the design stands: the file, the path of keys that leads to it, its key and its value.
package struct Place: Sendable, Hashable {
  /// The file as it was named on the command line, or as it is found from there for included ones.
  package var file: String
  /// Keys joined by dots, list items by their index in brackets: `services.api.calls.notes-db.timeout`,
  /// `scenarios.flash-sale.faults[1].by`.
  ///
  /// A key with a dot or a space stands as it is.
  package var path: String
  /// The key that leads to the value; nil for items of a list and for a whole file.
  package var key: Spot?
  /// The value itself.
  ///
  /// Of a map or a list: from its first to its last byte.
  package var value: Spot

  package init(file: String, path: String, key: Spot? = nil, value: Spot) {
    self.file = file
    self.path = path
    self.key = key
    self.value = value
  }

  /// Key and value: what a finding about this entry underlines.
  package var entry: Spot {
    guard let key else { return value }
    return Spot(
      line: key.line, column: key.column,
      bytes: key.bytes.lowerBound..<max(key.bytes.upperBound, value.bytes.upperBound))
  }
  /// The key alone, or the value of what has none.
  package var head: Spot { key ?? value }
  /// The line the entry begins on, from 1.
  package var line: Int { head.line }
  /// The column the entry begins at, from 1.
  package var column: Int { head.column }
}

/// How a value came to be in the design: `weir explain` prints it beside each line.
package enum Origin: Sendable, Hashable {
  /// It stands in the file.
  case written(Place)
  /// Nobody wrote it; the rule says where the default is set and what it rests on: `retry.attempts (seed 002)`.
  case defaulted(rule: String)
  /// It follows from other values: `half of timeout`.
  case derived(from: String)

  /// Where it is written, if it is.
  package var place: Place? {
    if case .written(let place) = self { place } else { nil }
  }
}

/// A value of the design and its origin.
package struct Value<T: Sendable & Equatable>: Sendable, Equatable {
  package var value: T
  package var origin: Origin

  package init(_ value: T, _ origin: Origin) {
    self.value = value
    self.origin = origin
  }

  /// Where it is written; nil for defaults and for what is derived.
  package var place: Place? { origin.place }
  package var isWritten: Bool { place != nil }

  package func map<U>(_ transform: (T) -> U) -> Value<U> { Value<U>(transform(value), origin) }
}

/// The name of a thing that the file declares: its key, and the whole of what stands under it.
package struct Name: Sendable, Hashable {
  package var text: String
  /// `key` is the name, `value` the declaration; `path` leads to the declaration: `services.api`.
  package var place: Place

  package init(_ text: String, _ place: Place) {
    self.text = text
    self.place = place
  }

  package var path: String { place.path }
}
