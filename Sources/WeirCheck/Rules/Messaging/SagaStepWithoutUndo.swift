// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A step of a saga that stays done when a later one fails.
enum SagaStepWithoutUndo: Rule {
  static let info = RuleInfo(
    "saga-step-without-undo", .messaging, .warning, title: "A step stays done when a later one fails",
    why:
      "When a step fails for good, those before it are undone, the last first. One without `undo` stays as it is: the "
      + "money is taken, the order is not placed. With one failure in 1000 at 40 orders/s it is 3456 customers a day.",
    detection: "a step of a saga without `undo`, with another step behind it",
    formula: "steps behind a step that cannot be undone > 0",
    mend: "Say what undoes it, or put it last, behind everything that can fail.",
    falsePositives:
      "A step that changes nothing, as asking for a price; or one that is right to stay, as a message that "
      + "was sent.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for saga in subject.design.sagas {
      for (index, step) in saga.steps.enumerated().dropLast() where step.undo == nil {
        let service = subject.design.services[step.to.value.service].name.text
        let target = "\(step.to.value.method) \(service)\(step.to.value.path)"
        let behind = saga.steps.count - index - 1
        found.append(
          info.finding(
            "step \(index + 1) of \(saga.steps.count) of \(saga.name.text), \(target), cannot be undone, and \(behind) "
              + "\(behind == 1 ? "step" : "steps") behind it can fail", at: step.place, spot: step.place.value,
            caret: "no undo", why: "when one of them fails for good, what \(target) did stays done",
            mend: "undo: POST \(service)/…",
            inputs: [
              Finding.Input("steps of \(saga.name.text)", String(saga.steps.count), saga.name.place),
              Finding.Input("step", String(index + 1), step.place),
            ], result: "\(behind) steps"))
      }
    }
    return found
  }
}
