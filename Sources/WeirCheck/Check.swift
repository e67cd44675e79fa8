// SPDX-License-Identifier: Apache-2.0
package import WeirModel

/// Holds a design against the rules.
package enum Check {
  /// All findings, by place; what `accept:` covers says so in ``Finding/acceptedBy``.
  ///
  /// `today` is the day by which acceptances and certificates expire.
  package static func run(_ design: Design, today: Day, facts: MachineFacts = MachineFacts()) -> [Finding] {
    let subject = Subject(design, today: today, facts: facts)
    let found = Rules.checks.flatMap { $0.find(subject) }
    return inOrder(Acceptances.apply(design.acceptances, to: found, today: today), of: design)
  }

  /// The same for a day as text, which the verb has read before: `2026-11-21`.
  package static func run(_ design: Design, today: String, facts: MachineFacts = MachineFacts()) -> [Finding] {
    guard let day = Day(today) else { preconditionFailure("'\(today)' is no day; the verb checks --today") }
    return run(design, today: day, facts: facts)
  }

  /// By file (the main one first, others by name), then place, then errors first, then id.
  private static func inOrder(_ findings: [Finding], of design: Design) -> [Finding] {
    let sorted = findings.enumerated().sorted { a, b in
      let (x, y) = (a.element.diagnostic, b.element.diagnostic)
      if x.file != y.file {
        if x.file == design.file || y.file == design.file { return x.file == design.file }
        return x.file < y.file
      }
      if x.spot.bytes.lowerBound != y.spot.bytes.lowerBound {
        return x.spot.bytes.lowerBound < y.spot.bytes.lowerBound
      }
      if x.severity != y.severity { return x.severity > y.severity }
      return x.id == y.id ? a.offset < b.offset : x.id < y.id
    }
    return sorted.map(\.element)
  }
}
