// SPDX-License-Identifier: Apache-2.0
package import WeirModel

/// What a rule is, for those who meet its finding: `weir explain RULE` prints it, `docs/rules/<id>.md` holds it.
package struct RuleInfo: Sendable, Equatable {
  /// Where it belongs: the folder of its file.
  package enum Family: String, Sendable, CaseIterable {
    case acceptance, capacity, messaging, resilience, routing, security, structure
  }

  /// Words, never renamed, never used again.
  package var id: String
  package var family: Family
  /// One line.
  package var title: String
  package var severity: Diagnostic.Severity
  /// What happens if nothing is done, with a small example in numbers.
  package var why: String
  /// What is looked at.
  package var detection: String
  package var formula: String
  /// What to do.
  package var mend: String
  /// When it speaks although nothing is wrong.
  package var falsePositives: String
  /// A mistake of the file cannot be accepted.
  package var isAcceptable = true

  package init(
    _ id: String, _ family: Family, _ severity: Diagnostic.Severity, title: String, why: String, detection: String,
    formula: String, mend: String, falsePositives: String, isAcceptable: Bool = true
  ) {
    self.id = id
    self.family = family
    self.title = title
    self.severity = severity
    self.why = why
    self.detection = detection
    self.formula = formula
    self.mend = mend
    self.falsePositives = falsePositives
    self.isAcceptable = isAcceptable
  }
}

/// A rule: what it is, and what it does; one file each under `Rules/<family>`.
protocol Rule: SendableMetatype {
  static var info: RuleInfo { get }
  static func find(_ subject: Subject) -> [Finding]
}

extension RuleInfo {
  /// A finding of this rule, with the entry of `accept:` that would cover it.
  func finding(
    _ message: String, at place: Place, spot: Spot? = nil, caret: String? = nil, why: String, mend: String,
    acceptAt: Place? = nil, formula: String? = nil, inputs: [Finding.Input], result: String,
    related: [Diagnostic.Related] = [],
    severity: Diagnostic.Severity? = nil
  ) -> Finding {
    let diagnostic = Diagnostic(
      id, severity ?? self.severity, message, at: place, spot: spot, caret: caret, why: why, mend: mend,
      accept: isAcceptable
        ? "- { rule: \(id), place: \(RuleInfo.quoted((acceptAt ?? place).path)), because: \"…\", owner: \"…\" }" : nil,
      related: related)
    return Finding(diagnostic, formula: formula ?? self.formula, inputs: inputs, result: result)
  }

  /// A path as it may stand between braces, where brackets would begin a list.
  private static func quoted(_ path: String) -> String { path.contains("[") ? "\"\(path)\"" : path }
}

extension Place {
  /// Key and value if this place was written for the finding, else the key alone: a whole section is not underlined.
  func head(orEntryOf written: Place?) -> Spot { written == nil ? head : entry }
}
