// SPDX-License-Identifier: Apache-2.0
internal import WeirFlows

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
      return SagaStep(place: place, to: to)
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
