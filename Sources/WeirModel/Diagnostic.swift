// SPDX-License-Identifier: Apache-2.0

/// What Weir has to say about a place in a file: mistakes found while reading it, and the findings of `weir check`.
///
/// STYLE: where, what, why it matters with the numbers and names of this file, the mend to paste, how to accept it.
/// `WeirReport` renders it as text, JSON and more.
package struct Diagnostic: Sendable, Equatable {
  package enum Severity: String, Sendable, CaseIterable, Comparable {
    /// It could be better.
    case note
    /// It will hurt.
    case warning
    /// It will not work, or loses data.
    case error

    package static func < (a: Severity, b: Severity) -> Bool { a.rank < b.rank }
    private var rank: Int {
      switch self {
      case .note: 0
      case .warning: 1
      case .error: 2
      }
    }
  }

  /// Another place that belongs to the story: the first definition of a name, the other end of a call.
  package struct Related: Sendable, Equatable {
    package var place: Place
    /// `first defined here`.
    package var message: String

    package init(_ place: Place, _ message: String) {
      self.place = place
      self.message = message
    }
  }

  /// Words, never renamed, never used again: `unknown-key`, `retry-amplification`.
  package var id: String
  package var severity: Severity
  /// One sentence without a full stop, with the numbers and names of this file.
  package var message: String
  package var place: Place
  /// What is underlined: by default the entry (key and value) on its first line.
  package var spot: Spot
  /// Stands behind the underline.
  package var caret: String?
  /// Why it matters: what will happen.
  package var why: String?
  /// What to do: a sentence, or YAML to paste in the place of the entry.
  package var mend: String?
  /// YAML of the entry under `accept:` that silences it; nil for what cannot be accepted (mistakes).
  package var accept: String?
  package var related: [Related]

  package init(
    _ id: String, _ severity: Severity, _ message: String, at place: Place, spot: Spot? = nil, caret: String? = nil,
    why: String? = nil, mend: String? = nil, accept: String? = nil, related: [Related] = []
  ) {
    self.id = id
    self.severity = severity
    self.message = message
    self.place = place
    self.spot = spot ?? place.entry
    self.caret = caret
    self.why = why
    self.mend = mend
    self.accept = accept
    self.related = related
  }

  package var file: String { place.file }
  package var path: String { place.path }
  package var line: Int { spot.line }
  package var column: Int { spot.column }
}

extension Diagnostic {
  /// The order in which they are shown: by file as read, then by place, then errors first, then by id.
  package static func inOrder(_ diagnostics: [Diagnostic], files: [String]) -> [Diagnostic] {
    func rank(_ d: Diagnostic) -> (Int, Int, Int, String) {
      (
        files.firstIndex(of: d.file) ?? files.count, d.spot.bytes.lowerBound,
        d.severity == .error ? 0 : d.severity == .warning ? 1 : 2, d.id
      )
    }
    return diagnostics.enumerated()
      .sorted { a, b in
        let (ra, rb) = (rank(a.element), rank(b.element))
        return ra == rb ? a.offset < b.offset : ra < rb
      }
      .map(\.element)
  }
}
