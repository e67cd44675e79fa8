// SPDX-License-Identifier: Apache-2.0
package import WeirModel

/// What a rule has found: the diagnostic, and the reckoning behind it.
package struct Finding: Sendable, Equatable {
  /// Where, what, why, mend, accept.
  package var diagnostic: Diagnostic
  /// How the result follows from the inputs, in their names: `instances × connections`.
  package var formula: String
  /// What was put into the formula, with where it stands in the file.
  package var inputs: [Input]
  /// What came out: `1000 connections for 500`.
  package var result: String
  /// The entry of `accept:` that covers it; nil for an open finding.
  package var acceptedBy: Acceptance?

  /// Bytes of the finding's file that no output may quote: a secret.
  package var hidden: Spot?

  package struct Input: Sendable, Equatable {
    /// `instances of api`.
    package var name: String
    /// With its unit: `50`, `200ms`.
    package var value: String
    /// Nil for what nobody wrote.
    package var place: Place?

    package init(_ name: String, _ value: String, _ place: Place? = nil) {
      self.name = name
      self.value = value
      self.place = place
    }
  }

  package init(_ diagnostic: Diagnostic, formula: String, inputs: [Input], result: String) {
    self.diagnostic = diagnostic
    self.formula = formula
    self.inputs = inputs
    self.result = result
  }

  package var rule: String { diagnostic.id }
  package var severity: Diagnostic.Severity { diagnostic.severity }
  package var place: Place { diagnostic.place }
  package var isAccepted: Bool { acceptedBy != nil }
  /// Whether it makes `weir check` end with 1: an error or a warning that nobody has accepted.
  package var fails: Bool { !isAccepted && severity > .note }
}
