// SPDX-License-Identifier: Apache-2.0

extension ScalarType where T: CaseIterable & RawRepresentable, T.RawValue == String {
  /// One of a closed list of words.
  static var word: ScalarType {
    let words = T.allCases.map(\.rawValue)
    return ScalarType(
      words: words.count == 1 ? words[0] : "one of \(words.joined(separator: ", "))", example: words.first ?? "",
      schema: .object([("enum", .array(words.map { .string($0) }))]),
      read: { text in T(rawValue: text).map { .value($0) } ?? .wrong(.init()) },
      write: { $0.rawValue })
  }
}

extension ScalarType where T == Day {
  static var day: ScalarType {
    ScalarType(
      words: "a day in quotes", example: "\"2027-06-30\"", schema: pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
      read: { text in
        if let day = Day(text) { return .value(day) }
        return .wrong(.init("a day is written \"2027-06-30\", and must exist"))
      },
      write: { "\"\($0.text)\"" })
  }
}
