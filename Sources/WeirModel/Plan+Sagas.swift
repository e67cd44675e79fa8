// SPDX-License-Identifier: Apache-2.0
package import WeirFlows
package import WeirPatterns

extension Plan {
  /// Steps over several services, and what undoes them: an instance is a message of its queue.
  package struct Saga: Sendable, Equatable {
    package var name: String
    /// Index in `queues`; the log of the instances' journals has the queue's name.
    package var queue: Int
    package var script: SagaScript
    package var settings: WeirPatterns.Saga.Settings
    /// What its steps, and what undoes them, may ask; each target once.
    package var calls: [Call]

    package struct Call: Sendable, Equatable {
      /// As the script writes it.
      package var target: String
      /// Index in `edges`: one attempt, as long as the step's timeout.
      package var edge: Int
      /// Index in `services`.
      package var service: Int
      package var method: String
      package var path: String
    }
  }

  /// How long the journal of a saga that is over can be asked for, and a stuck one waits for a human.
  package static let sagasKeep = Duration.seconds(90 * 86_400)
  package static let sagaVisibility = Duration.seconds(60)
  /// Instances of one saga that are worked on at the same time; more wait in the queue.
  package static let sagasAtOnce = 10_000

  /// The sagas, each with a queue, and an edge for each service and timeout of its steps.
  mutating func compileSagas() {
    sagas = []
    for saga in design.sagas {
      let name = "\(RootKeys.sagas.name).\(saga.name.text)"
      var compiled = Saga(
        name: saga.name.text, queue: queues.count,
        script: SagaScript(
          saga.steps.map { step in
            [
              SagaScript.Step(
                act: step.to.value.target(design).text, undo: step.undo.map { $0.value.target(design).text })
            ]
          }), settings: WeirPatterns.Saga.Settings(), calls: [])
      compiled.settings.within = saga.timeout?.value ?? .seconds(100 * 365 * 86_400)
      for step in saga.steps {
        add(step.to.value, step.call, name, &compiled)
        if let undo = step.undo, let call = step.undoCall { add(undo.value, call, name, &compiled) }
      }
      sagas.append(compiled)
      var settings = DeliveryQueue.Settings()
      settings.visibility = Plan.sagaVisibility
      // It is the saga that counts: what a runner has left half done is always taken up again.
      settings.attempts = .max
      settings.backoff.first = .seconds(1)
      settings.backoff.max = .seconds(60)
      settings.keep = Plan.sagasKeep
      settings.atOnce = Plan.sagasAtOnce
      queues.append(Queue(name: name, settings: settings))
    }
  }

  /// Calls that sagas make to a service at the same time: what it works on, or, where nobody says that, a few each.
  package func placesForSagas(_ service: Int) -> Int {
    let flow = self.flow.services[service]
    let each = flow.atOnce == .max ? MessageQueueKeys.atOnceUnknown : Int(flow.atOnce)
    return min(1024, max(1, each * flow.instances))
  }

  private mutating func add(_ errand: Errand, _ call: WeirModel.Call, _ name: String, _ saga: inout Saga) {
    let target = errand.target(design).text
    if let i = saga.calls.firstIndex(where: { $0.target == target }) {
      // Of several steps that ask the same the longest time holds.
      guard edges[saga.calls[i].edge].call.timeout.value < call.timeout.value else { return }
      saga.calls.remove(at: i)
      return add(errand, call, name, &saga, at: i)
    }
    add(errand, call, name, &saga, at: saga.calls.count)
  }

  private mutating func add(
    _ errand: Errand, _ call: WeirModel.Call, _ name: String, _ saga: inout Saga, at index: Int
  ) {
    let known = saga.calls.first {
      $0.service == errand.service && edges[$0.edge].call.timeout.value == call.timeout.value
    }
    let edge = known?.edge ?? add(call, from: .queue(saga.queue), name: name)
    flow.edges[edge].call.attempt = call.attempt.value
    saga.calls.insert(
      Saga.Call(
        target: errand.target(design).text, edge: edge, service: errand.service, method: errand.method,
        path: errand.path), at: index)
  }
}
