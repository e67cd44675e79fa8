// SPDX-License-Identifier: Apache-2.0

/// What is wrong with a request, where, and how it is mended.
package struct Flaw: Error, Sendable, Equatable {
  /// A path into the JSON text (`$.messages[3].delay`), a field (`Weir-Delay`), a parameter (`?max`), or the body.
  package var at: String
  package var what: String
  /// A sentence of its own.
  package var mend: String?

  init(_ at: String, _ what: String, mend: String? = nil) {
    self.at = at
    self.what = what
    self.mend = mend
  }

  package var sentence: String { "\(at): \(what)." + (mend.map { " \($0)" } ?? "") }

  /// A text that a caller has sent, short enough for a sentence.
  static func quoted(_ text: String) -> String {
    let short = text.unicodeScalars.prefix(40).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : String($0) }.joined()
    return "'\(short)\(text.unicodeScalars.count > 40 ? "…" : "")'"
  }

  /// Nothing of this name is known; the nearest of those that are, if one is near, whatever its case.
  static func unknown(_ at: String, _ written: String, among known: [String]) -> Flaw {
    let name = written.lowercased()
    let nearest = known.map { (name: $0, distance: distance(name, $0.lowercased())) }.min { $0.distance < $1.distance }
    let mend =
      nearest.flatMap { $0.distance <= 2 ? "Did you mean \($0.name)?" : nil }
      ?? "Known are \(known.joined(separator: ", "))."
    return Flaw(at, "\(quoted(written)) is not known here", mend: mend)
  }

  /// How many letters must be changed, left out or put in to make one of the other (Levenshtein 1966); at most 40 are read.
  static func distance(_ a: String, _ b: String) -> Int {
    let a = Array(a.utf8.prefix(40))
    let b = Array(b.utf8.prefix(40))
    var row = Array(0...b.count)
    for i in a.indices {
      var corner = row[0]
      row[0] = i + 1
      for j in b.indices {
        let cost = min(row[j] + 1, row[j + 1] + 1, corner + (a[i] == b[j] ? 0 : 1))
        corner = row[j + 1]
        row[j + 1] = cost
      }
    }
    return row[b.count]
  }
}
