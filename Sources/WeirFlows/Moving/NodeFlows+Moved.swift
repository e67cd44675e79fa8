// SPDX-License-Identifier: Apache-2.0
public import WeirBase
import WeirPatterns

extension NodeFlows {
  /// The same node under a changed plan: what keeps its name keeps its health, its breakers and its ejections.
  ///
  /// A breaker or an ejection whose settings have changed begins anew: what it has counted was counted by another
  /// measure. Versions go on, so that loops which still work by the old plan see what changes (``EdgeView/movedBack(by:of:onto:)``).
  public func moved(to plan: FlowPlan, from old: FlowPlan, by move: PlanMove, now: Instant) -> NodeFlows {
    var new = self
    let servicesBack = PlanMove.back(move.services, count: plan.services.count)
    let edgesBack = PlanMove.back(move.edges, count: plan.edges.count)
    new.services = plan.services.enumerated().map { s, service in
      let back = move.instancesBack(of: servicesBack[s], count: service.instances)
      return Service(
        down: back.map { i in
          guard let i, let was = servicesBack[s] else { return !service.startsReady }
          return services[was].down[i]
        },
        drained: back.map { i in
          guard let i, let was = servicesBack[s] else { return false }
          return services[was].drained[i]
        },
        vacant: back.map { i in
          guard let i, let was = servicesBack[s] else { return service.members.isDiscovered }
          return services[was].vacant[i]
        })
    }
    new.edges = plan.edges.enumerated().map { e, edge in
      let service = plan.services[edge.service]
      var made = Edge(edge, service: service, now: now)
      guard let was = edgesBack[e] else { return made }
      let before = old.edges[was]
      let kept = edges[was]
      let back = move.instancesBack(of: before.service, count: service.instances)
      if before.call.instanceBreakerResolved == edge.call.instanceBreakerResolved {
        for (i, was) in back.enumerated() { if let was { made.instances[i] = kept.instances[was] } }
      }
      if before.call.serviceBreaker == edge.call.serviceBreaker { made.callee = kept.callee }
      if old.services[before.service].ejection == service.ejection { made.ejection = kept.ejection.rearranged(back) }
      for (i, was) in back.enumerated() {
        guard let was else { continue }
        made.out[i] = kept.out[was]
        made.told[i] = kept.told[was]
        made.doubted[i] = kept.doubted[was]
      }
      made.panic = kept.panic
      if before.call.budget == edge.call.budget {
        made.budget = kept.budget
        made.budgetIsSpent = kept.budgetIsSpent
      }
      // Loops that work by the old plan compare versions: the number goes on, and grows with every move.
      made.version = kept.version &+ 1
      return made
    }
    new.forgetEvents()
    for event in events.events { if let moved = event.moved(by: move, from: old) { new.note(moved) } }
    for e in new.edges.indices { new.renew(e, now: now) }
    return new
  }
}

extension Event {
  /// The same event in the ids of the next plan; nil when what it tells of is gone.
  public func moved(by move: PlanMove, from old: FlowPlan) -> Event? {
    var event = self
    var service: Int?
    if edge != RequestFacts.none {
      guard let to = move.edges[Int(edge)] else { return nil }
      service = old.edges[Int(edge)].service
      event.edge = UInt32(to)
    }
    if self.service != RequestFacts.none {
      guard let to = move.services[Int(self.service)] else { return nil }
      service = Int(self.service)
      event.service = UInt32(to)
    }
    if instance != CallStep.nobody, let service {
      guard let to = move.instances[service][Int(instance)] else { return nil }
      event.instance = UInt16(to)
    }
    return event
  }
}

extension EdgeDelta {
  /// What a loop has learned by the old plan, in the ids of the new one; nil when its edge is gone.
  public func moved(by move: PlanMove, from old: FlowPlan, to plan: FlowPlan) -> EdgeDelta? {
    guard let to = move.edges[edge] else { return nil }
    let service = old.edges[edge].service
    let count = plan.services[plan.edges[to].service].instances
    var delta = self
    delta.edge = to
    delta.outcomes = Array(repeating: CircuitBreaker.Outcomes(), count: count)
    delta.epochs = Array(repeating: 0, count: count)
    for (i, new) in move.instances[service].enumerated() {
      guard let new else { continue }
      delta.outcomes[new] = outcomes[i]
      delta.epochs[new] = epochs[i]
    }
    delta.probes = probes.compactMap { probe in
      if probe.instance == CallStep.nobody { return probe }
      guard let new = move.instances[service][Int(probe.instance)] else { return nil }
      var moved = probe
      moved.instance = UInt16(new)
      return moved
    }
    return delta
  }
}

extension EdgeView {
  /// What the node knows now, for a loop that still works by an old plan: its own instances, by its own numbers.
  ///
  /// `service` is the callee in the old plan, `last` what the loop knew. Instances that are gone serve nobody.
  public func movedBack(by move: PlanMove, of service: Int, onto last: EdgeView) -> EdgeView {
    var view = self
    view.breakers = last.breakers
    view.serving = []
    view.probeable = []
    view.doubted = []
    view.resting = []
    for (i, new) in move.instances[service].enumerated() {
      guard let new else { continue }
      view.breakers[i] = breakers[new]
      if serving.contains(UInt16(new)) { view.serving.append(UInt16(i)) }
      if probeable.contains(UInt16(new)) { view.probeable.append(UInt16(i)) }
      if resting.contains(UInt16(new)) { view.resting.append(UInt16(i)) }
      if doubted.contains(UInt16(new)) { view.doubted.append(UInt16(i)) }
    }
    return view
  }
}
