// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
package import WeirModel
import WeirPatterns

extension Scene {
  /// The scene of a plan: everything that `simulate` plays, without faults, at the written traffic.
  package init(_ plan: Plan) {
    let design = plan.design
    var flow = plan.flow
    var edges = plan.edges.map { EdgeModel(name: $0.name) }
    var routes = plan.routes
    let components = plan.services.indices.map { Scene.component($0, plan) }
    let traffic = plan.loads.compactMap { load -> TrafficModel? in
      let route: Int
      if let written = load.route {
        route = written
      } else if let edge = load.connects {
        // Through a listener of TCP: along the gateway's own edge, and nothing that routes do is done.
        route = flow.routes.count
        flow.routes.append(FlowPlan.Route(edge: edge))
        routes.append(load.name)
      } else if let service = load.service {
        // What does not come through the gateway is called by something that neither retries nor gives up early.
        var call = CallSettings()
        call.retry.attempts = 1
        call.breaks = false
        route = flow.routes.count
        flow.routes.append(FlowPlan.Route(edge: flow.edges.count))
        flow.edges.append(FlowPlan.Edge(service: service, call: call))
        edges.append(EdgeModel(name: "outside→\(plan.services[service].name)"))
        routes.append(load.name)
      } else {
        preconditionFailure("traffic '\(load.name)' leads nowhere")
      }
      var model = TrafficModel(
        name: load.name, route: route, rate: load.rate, clients: load.clients ?? 1, method: load.method)
      model.operations = load.operations.map { ($0 ?? -1) + 1 }
      model.mirrorOperation = (load.mirrorOperation ?? -1) + 1
      model.connects = load.connects != nil
      return model
    }
    // As many as the file says that there are usually.
    for (index, service) in design.services.enumerated() where service.discovery != nil {
      flow.services[index].instances = service.instances.value
      flow.services[index].members.isDiscovered = false
    }
    self.init(plan: flow, components: components, edges: edges, routes: routes, traffic: traffic)
    addMessaging(of: plan)
    for (index, service) in design.services.enumerated() {
      if let share = service.availability?.value, share < 1 {
        always.append(FaultModel(.away(share: 1 - share), component: index, when: 0))
      }
    }
  }

  private static func component(_ index: Int, _ plan: Plan) -> ComponentModel {
    let service = plan.services[index]
    guard index < plan.design.services.count else {
      let store = plan.design.stores[index - plan.design.services.count]
      var operations = [OperationModel(work: WorkModel(store.work))]
      if let write = store.write { operations.append(OperationModel(work: WorkModel(write))) }
      var model = ComponentModel(name: service.name, workers: store.atOnce?.value ?? .max, operations: operations)
      model.isStarted = false
      return model
    }
    let design = plan.design.services[index]
    // The first operation is for requests that name none: without operations every call is made, in order, once.
    let everything =
      service.operations.isEmpty
      ? service.edges.map { edge in [CallItem(plan, edge: edge, operation: nil, share: 1, writes: false)] } : []
    let sent = service.operations.isEmpty ? service.sends : []
    var operations = [
      OperationModel(work: WorkModel(design.work), stages: everything, sends: sent.map { SendItem($0, plan) })
    ]
    for operation in service.operations {
      let method = Plan.method(operation.method)
      let writes = method != .safe
      operations.append(
        OperationModel(
          work: WorkModel(operation.work ?? design.work),
          stages: operation.steps.map { items(of: $0, plan, writes: writes) }, method: method,
          sends: operation.sends.map { SendItem($0, plan) }))
    }
    var model = ComponentModel(
      name: service.name, workers: (design.worksAtOnce ?? design.atOnce)?.value ?? .max, operations: operations)
    model.cancels = design.cancels.value
    model.start = design.work?.start?.value.inNanoseconds ?? 0
    // Something that is only modelled is taken to be started by Weir; what runs elsewhere comes back by itself.
    if case .addresses = design.kind { model.isStarted = false }
    model.health = service.health?.settings
    return model
  }

  private static func items(of step: Plan.Step, _ plan: Plan, writes: Bool) -> [CallItem] {
    switch step {
    case .call(let edge, let operation, let share, let optional):
      var item = CallItem(plan, edge: edge, operation: operation, share: share, writes: writes)
      item.optional = optional
      return [item]
    case .together(let steps): return steps.flatMap { items(of: $0, plan, writes: writes) }
    }
  }

  /// The faults and the traffic of a scenario.
  package mutating func apply(_ scenario: Scenario, of plan: Plan) {
    for multiplier in scenario.traffic {
      let when = multiplier.when.value.inNanoseconds
      if when == 0, multiplier.length == nil {
        traffic[multiplier.traffic].rate.perSecond *= multiplier.times.value
      } else {
        let crowd = FaultModel.Kind.crowd(traffic: multiplier.traffic, times: multiplier.times.value)
        faults.append(
          FaultModel(crowd, component: -1, when: when, length: multiplier.length?.value.inNanoseconds))
      }
    }
    for fault in scenario.faults {
      let when = fault.when.value.inNanoseconds
      let length = fault.length?.value.inNanoseconds
      switch fault.kind {
      case .kill(let component, let count):
        faults.append(
          FaultModel(.kill(count: count.value), component: plan.index(of: component.value), when: when, length: length))
      case .slow(let component, let by, let share):
        faults.append(
          FaultModel(
            .slow(by: by.value.inNanoseconds, share: share.value), component: plan.index(of: component.value),
            when: when,
            length: length))
      case .fail(let component, let status, let share):
        switch component.value {
        case .service, .store: break
        case .queue, .topic, .stream, .saga:
          for queue in queues(of: Scene.sink(component.value, plan)) {
            let kind = FaultModel.Kind.poison(
              queue: queue, status: UInt16(clamping: status.value), share: share.value)
            faults.append(FaultModel(kind, component: 0, when: when, length: length))
          }
          continue
        }
        faults.append(
          FaultModel(
            .fail(status: UInt16(clamping: status.value), share: share.value),
            component: plan.index(of: component.value), when: when, length: length))
      case .delay(let messages, let by):
        let kind = FaultModel.Kind.delay(Scene.fault(messages, by: by, plan))
        faults.append(FaultModel(kind, component: 0, when: when, length: length))
      case .double(let messages, let by):
        let kind = FaultModel.Kind.double(Scene.fault(messages, by: by, plan))
        faults.append(FaultModel(kind, component: 0, when: when, length: length))
      }
    }
    clock = Scene.monday + scenario.clock.value.inNanoseconds / 1_000_000
  }

  /// Midnight of Monday, the 5th of January 2026, in milliseconds since 1970: when a story begins that does not say.
  package static let monday: Int64 = 1_767_571_200_000

  /// Requests a second, over all traffic.
  package var load: Double { traffic.reduce(0) { $0 + $1.rate.perSecond } }

  /// The same traffic in the same proportions, `load` a second in all.
  package mutating func scale(to load: Double) {
    let now = self.load
    guard now > 0 else { return }
    for i in traffic.indices { traffic[i].rate.perSecond *= load / now }
  }
}

extension CallItem {
  /// A call of a plan's step; `writes`: its request changes something, which a store may take longer for.
  fileprivate init(_ plan: Plan, edge: Int, operation: Int?, share: Double, writes: Bool) {
    let written = plan.edges[edge]
    var callee = (operation ?? -1) + 1
    if plan.services[written.callee].isStore {
      let store = plan.design.stores[written.callee - plan.design.services.count]
      callee = writes && store.write != nil ? 1 : 0
    }
    self.init(
      edge: edge, operation: callee, share: share, optional: written.call.optional.value,
      tellsCallee: !written.isModelOnly)
  }
}

extension WorkModel {
  fileprivate init(_ work: Work?) {
    switch work?.distribution {
    case nil: self = .none
    case .constant(let length)?: self = .constant(length)
    case .exponential(let mean)?: self = .exponential(mean: mean)
    case .lognormal(let median, let sigma)?: self = .lognormal(median: median, sigma: sigma)
    }
  }
}
