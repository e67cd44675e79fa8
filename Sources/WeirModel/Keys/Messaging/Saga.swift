// SPDX-License-Identifier: Apache-2.0
internal import WeirFlows
internal import WeirPatterns

/// A transaction over several services: steps in order, and what undoes those that were done when one fails.
package struct Saga: Sendable, Equatable {
  package var name: Name
  package var owner: Value<String>?
  package var steps: [SagaStep] = []
  /// The whole of it; nil for no limit.
  package var timeout: Value<Duration>?

  init(name: Name) { self.name = name }
}

package struct SagaStep: Sendable, Equatable {
  package var place: Place
  package var to: Value<Errand>
  /// Nil: nothing undoes it.
  package var undo: Value<Errand>?
  package var timeout = SagaKeys.stepTimeout.initial
  /// One attempt of the step, and of what undoes it.
  package var call: Call
  package var undoCall: Call?
}

/// One entry of `sagas:`.
enum SagaKeys {
  static let `do` = ScalarKey(
    "do", ScalarType<Target>.target, required: true, "The step: an operation of a service.", alias: ["call", "action"])
  static let undo = ScalarKey(
    "undo", ScalarType<Target>.target, rule: "nothing", "What takes the step back when a later one fails.",
    alias: ["compensate", "compensation", "rollback"])
  static let stepTimeout = ScalarKey(
    "timeout", .duration(), default: CallSettings().timeout, rule: "call.timeout",
    "The longest that one attempt of the step, or of what undoes it, may take.")
  static let stepPart = Part<SagaStep>(
    "saga-step", "One step of a saga.", short: `do`.key,
    start: { layers, resolver in
      guard let place = layers.place, let target = layers.value(`do`),
        let to = resolver.errand(target, whatFor: "a saga")
      else { return nil }
      return SagaStep(place: place, to: to, call: Call(place: place, to: to.map { .service($0.service) }))
    },
    [
      .custom(`do`.key, explain: { step, design in [.leaf(SagaKeys.do, step.to.map { $0.target(design) })] }),
      .custom(
        undo.key,
        read: { layers, resolver, step in
          step.undo = layers.value(undo).flatMap { resolver.errand($0, whatFor: "a saga") }
        },
        explain: { step, design in
          step.undo.map { undo in [.leaf(SagaKeys.undo, undo.map { $0.target(design) })] } ?? []
        }),
      .value(stepTimeout, \.timeout),
    ])
  static let steps = Key(
    "steps", .list(.section(stepPart.section), least: 1), required: true,
    "What is done, in order; when a step fails for good, those before it are undone, the last first.")
  static let timeout = ScalarKey(
    "timeout", .duration(), rule: "no limit", "When it is not done by then, its steps are undone.", alias: ["deadline"])

  static let part = Part<Saga>(
    "saga", "A transaction over several services.", start: { layers, _ in layers.name.map { Saga(name: $0) } },
    [
      .optional(MessageQueueKeys.owner, \.owner),
      .items(steps, \.steps, stepPart),
      .optional(timeout, \.timeout),
    ])
}

extension Resolver {
  mutating func saga(_ entry: Entry, owner: Value<String>?) -> Saga {
    let layers = Layers([Fields(entry.node, SagaKeys.part.section)], name: entry.name)
    var saga = SagaKeys.part.read(layers, &self) ?? Saga(name: entry.name)
    saga.owner = self.owner(saga.owner, of: owner)
    for i in saga.steps.indices {
      let step = saga.steps[i]
      saga.steps[i].call = delivery(of: step.to, timeout: step.timeout, place: step.place)
      guard let undo = step.undo else { continue }
      saga.steps[i].undoCall = delivery(of: undo, timeout: step.timeout, place: step.place)
    }
    let most = WeirPatterns.Saga.Settings.stepsMax
    if saga.steps.count > most {
      mistake(
        "wrong-value", "a saga has at most \(most) steps, and '\(saga.name.text)' has \(saga.steps.count)",
        at: saga.steps[most].place, spot: saga.steps[most].place.value,
        why: "each is a number in the journal of every instance",
        mend: "several sagas, the last step of one beginning the next")
      saga.steps.removeSubrange(most...)
    }
    for step in saga.steps {
      if let undo = step.undo, undo.value == step.to.value {
        mistake(
          "wrong-value", "this step would be undone by doing it again", at: undo, mend: "leave 'undo' out",
          related: step.to.place.map { [.init($0, "the step")] } ?? [])
      }
    }
    let longest = saga.steps.map(\.timeout).max { $0.value < $1.value }
    if let timeout = saga.timeout, let longest, timeout.value < longest.value {
      let words = ScalarType<Duration>.duration()
      mistake(
        "wrong-value",
        "a saga of \(words.write(timeout.value)) is over before one attempt of a step, \(words.write(longest.value))",
        at: timeout, mend: "timeout: \(words.write(longest.value * (2 * saga.steps.count)))",
        related: longest.place.map { [.init($0, "the step's timeout")] } ?? [])
    }
    return saga
  }
}
