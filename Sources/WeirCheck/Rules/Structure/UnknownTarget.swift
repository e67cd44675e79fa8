// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A name that nothing has: the reader of the file says it, for such a file gives no design to check.
///
/// It is in the registry so that `weir explain unknown-target` answers.
enum UnknownTarget {
  static let info = RuleInfo(
    "unknown-target", .structure, .error, title: "A name leads nowhere",
    why: "A call, a route, traffic, a fault or an acceptance names what the file does not have. With `serch` for "
      + "`search`, 1 of 2 letters swapped, every request to it would fail.",
    detection: "every name in `to`, `calls`, `does`, `after`, `kill`, `slow`, `fail`, `traffic` of a scenario and "
      + "`place`, while the file is read",
    formula: "name ∉ names of the file",
    mend: "Write the name of something that is there (the message proposes the nearest one), or describe it.",
    falsePositives: "None: what runs elsewhere is described with `at`.", isAcceptable: false)
}
