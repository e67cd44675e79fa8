// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A system that does not say how good it must be.
enum NoRequirements: Rule {
  static let info = RuleInfo(
    "no-requirements", .structure, .note, title: "The file does not say how good the system must be",
    why: "Without a figure nobody can say whether a design is good enough: 99 % of 1 000 000 requests a day are "
      + "10 000 failures, 99.9 % are 1000. simulate can only describe, not judge.",
    detection: "no `requirements`, or one without availability, latency and load",
    formula: "availability + latency bounds + load given = 0",
    mend: "Write down what users need; begin with what the system reaches today.",
    falsePositives: "A file that is an exercise or a part included elsewhere.")

  static func find(_ subject: Subject) -> [Finding] {
    let requirements = subject.design.requirements
    let given =
      (requirements.availability == nil ? 0 : 1) + requirements.latency.count + (requirements.load == nil ? 0 : 1)
    guard given == 0 else { return [] }
    // Nothing is written: the name of the system is what it is about.
    guard let place = requirements.place ?? subject.design.system.place else { return [] }
    let system = subject.design.system.value
    return [
      info.finding(
        "\(system) has 0 requirements: availability, latency and load are not given", at: place,
        why: "check and simulate cannot say whether \(system) is good enough, only what it does",
        mend: "requirements: { availability: 99.9%, latency: { p99: 300ms }, load: 100/s }",
        inputs: [Finding.Input("requirements", String(given), requirements.place)], result: "0 requirements")
    ]
  }
}
