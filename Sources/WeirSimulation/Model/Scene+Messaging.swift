// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirModel
import WeirPatterns

extension Scene {
  /// Queues, topics, streams, jobs and sagas of a plan.
  mutating func addMessaging(of plan: Plan) {
    queues = plan.queues.map { QueueModel($0, plan) }
    logs = plan.logs.map { LogModel(name: $0.name, groups: $0.groups.map(\.queue)) }
    for log in plan.logs {
      let subscribers =
        switch log.kind {
        case .topic(let index): plan.design.topics[index].subscribers
        case .stream(let index): plan.design.streams[index].projections
        }
      for (group, subscriber) in zip(log.groups, subscribers) {
        queues[group.queue].isKeyed = log.keyField != nil
        queues[group.queue].isOrdered = log.keyField != nil
        if subscriber.sequence != nil || subscriber.dedup != nil { sort(group.queue, for: subscriber) }
      }
    }
    routeQueues = plan.design.gateways.flatMap { $0.routes.map { $0.edge.queue?.value } }
    jobs = plan.jobs.map { JobModel(schedule: $0.schedule, in: $0.zone, queue: $0.queue) }
    sagas = zip(plan.sagas, plan.design.sagas).map { Scene.model(of: $0, $1, plan) }
  }

  /// The queue gives out what it has, in any order; the order is made behind it.
  private mutating func sort(_ queue: Int, for subscriber: Subscriber) {
    let sorting = SortedDelivery.Settings(
      sequence: subscriber.sequence?.settings, dedup: subscriber.dedup?.settings,
      atOnce: min(queues[queue].settings.atOnce, 1024))
    queues[queue].sorting = sorting
    queues[queue].settings.atOnce = sorting.leases
    if subscriber.sequence != nil { queues[queue].isKeyed = false }
  }

  /// Along the edges of a run.
  private static func model(of saga: Plan.Saga, _ written: WeirModel.Saga, _ plan: Plan) -> SagaModel {
    func call(_ target: String, _ to: Errand) -> SagaModel.Call {
      guard let call = saga.calls.first(where: { $0.target == target }) else {
        preconditionFailure("the saga '\(saga.name)' has no edge for '\(target)'")
      }
      return SagaModel.Call(
        edge: call.edge, operation: (to.operation ?? -1) + 1, slots: plan.placesForSagas(call.service))
    }
    let steps = zip(saga.script.steps, written.steps).map { script, step in
      SagaModel.Step(
        act: call(script.act, step.to.value), undo: step.undo.flatMap { to in script.undo.map { call($0, to.value) } })
    }
    return SagaModel(name: saga.name, steps: steps, settings: saga.settings)
  }

  /// Where what is sent to a component goes.
  static func sink(_ component: WeirModel.Component, _ plan: Plan) -> Sink {
    switch component {
    case .queue(let index): .queue(index)
    // Topics stand before streams.
    case .topic(let index): .log(index)
    case .stream(let index): .log(plan.design.topics.count + index)
    case .saga(let index): .saga(index)
    case .service, .store: preconditionFailure("nothing is sent there: the resolver says so")
    }
  }

  /// The queues that hold what comes to a sink.
  func queues(of sink: Sink) -> [Int] {
    switch sink {
    case .queue(let queue): [queue]
    case .log(let log): logs[log].groups
    case .saga: []
    }
  }

  static func fault(_ messages: Fault.Messages, by: Value<Duration>, _ plan: Plan) -> MessageFault {
    MessageFault(
      to: sink(messages.to.value, plan), by: by.value.inNanoseconds, share: messages.share.value,
      count: messages.count?.value ?? .max, from: messages.from?.value)
  }
}

extension SendItem {
  init(_ send: Plan.Send, _ plan: Plan) { self.init(to: Scene.sink(send.to, plan), share: send.share) }
}

extension QueueModel {
  fileprivate init(_ queue: Plan.Queue, _ plan: Plan) {
    self.init(
      name: queue.name, settings: queue.settings, edge: queue.push?.edge, operation: (queue.push?.operation ?? -1) + 1,
      isKeyed: queue.keyField != nil)
    guard let push = queue.push else { return }
    batch = push.batch
    isIdempotent =
      push.operation.map { plan.design.services[push.service].operations[$0].idempotent.value }
      ?? (push.method == "PUT")
  }
}
