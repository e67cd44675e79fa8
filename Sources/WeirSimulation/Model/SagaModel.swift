// SPDX-License-Identifier: Apache-2.0
package import WeirPatterns

/// A saga: what it consists of, and along which edges its steps and their undoing go.
package struct SagaModel: Sendable, Equatable {
  package struct Call: Sendable, Equatable {
    /// Index into the plan's edges.
    package var edge: Int
    /// Index into the callee's operations.
    package var operation: Int
    /// Calls along the edge at the same time, of one event loop; more stand in line.
    package var slots: Int

    package init(edge: Int, operation: Int, slots: Int = 1024) {
      self.edge = edge
      self.operation = operation
      self.slots = slots
    }
  }

  package struct Step: Sendable, Equatable {
    package var act: Call
    package var undo: Call?

    package init(act: Call, undo: Call?) {
      self.act = act
      self.undo = undo
    }
  }

  package var name: String
  package var steps: [Step]
  package var settings: Saga.Settings
  package init(name: String, steps: [Step], settings: Saga.Settings = Saga.Settings()) {
    self.name = name
    self.steps = steps
    self.settings = settings
  }

  /// Each step in a list of its own: one after the other.
  var plan: Saga.Plan { Saga.Plan(steps.map { [Saga.Step(hasUndo: $0.undo != nil)] }) }
}
