// SPDX-License-Identifier: Apache-2.0
public import WeirBase
import WeirPatterns

extension LoopFlows {
  /// The same loop under a changed plan, with nothing under way: what it has learned moves by `move`.
  ///
  /// Requests and calls stay here and end here; the driver keeps these flows until they are empty (``isEmpty``), and then
  /// adds what they have counted since to the new ones (``absorb(ledgerOf:by:)``). What moves: latencies and doubts of
  /// instances, the ledger's counters, and that the node is draining. What waits, stays: it has its turn
  /// under the old settings. A recording ends here.
  ///
  /// `views` are the node's after its own move. The ledger's events and records stay, in the ids they were made in.
  public func moved(
    to plan: FlowPlan, from old: FlowPlan, by move: PlanMove, views: [EdgeView], loops: Int, now: Instant
  ) -> LoopFlows {
    var new = LoopFlows(
      plan: plan, views: views, loop: loop, loops: loops, seed: 0, recordsLimit: state.ledger.recordsLimit)
    let edgesBack = PlanMove.back(move.edges, count: plan.edges.count)
    for e in plan.edges.indices {
      guard let was = edgesBack[e] else { continue }
      let service = plan.services[plan.edges[e].service]
      new.state.upstreams[e].inherit(
        state.upstreams[was], from: old.edges[was],
        instances: move.instancesBack(of: old.edges[was].service, count: service.instances), edge: plan.edges[e],
        now: now)
    }
    new.state.ledger.merge(state.ledger, by: move)
    new.inherit(self)
    return new
  }

  /// What was counted has moved to a successor: counts from nothing, so that no request is counted twice.
  public mutating func countAnew() { state.ledger.countAnew() }

  /// Adds what a predecessor has counted since it moved.
  public mutating func absorb(ledgerOf old: LoopFlows, by move: PlanMove) {
    state.ledger.merge(old.state.ledger, by: move)
  }

  /// Nothing is under way.
  public var isEmpty: Bool { calls.count == 0 && requests.count == 0 }
}

extension Upstream {
  /// Takes over what was learned along the same edge under another plan; `instances` says, by own instance, which it was.
  mutating func inherit(
    _ old: Upstream, from before: FlowPlan.Edge, instances: [Int?], edge: FlowPlan.Edge, now: Instant
  ) {
    balancer.inherit(old.balancer, instances: instances)
    for (i, was) in instances.enumerated() {
      if let was {
        askProbeAt[i] = old.askProbeAt[was]
      } else if view.serving.contains(UInt16(i)) {
        // It has joined with the new plan, and begins slowly as any other that joins.
        balancer.joined(i, now: now)
      }
    }
    doubtful = old.doubtful.compactMap { doubt in
      guard let i = instances.firstIndex(of: Int(doubt.instance)) else { return nil }
      var moved = doubt
      moved.instance = UInt16(i)
      return moved
    }
    if before.call.throttle == edge.call.throttle { throttle = old.throttle }
    if !gate.isEmpty, let was = old.gate.first { gate[0].inherit(was, now: now) }
    usual = old.usual
    fallbackIsOn = old.fallbackIsOn
    for i in view.doubted where !doubtful.contains(where: { $0.instance == i }) { hear(i, now: now) }
  }
}

extension Ledger {
  /// Adds what was counted under another plan, by name; what the plan has no more is dropped.
  public mutating func merge(_ other: Ledger, by move: PlanMove) {
    for (old, new) in move.edges.enumerated() { if let new { add(other, edge: old, to: new) } }
    for (old, new) in move.routes.enumerated() { if let new { add(other, route: old, to: new) } }
    for (old, new) in move.services.enumerated() {
      guard let new else { continue }
      for (i, to) in move.instances[old].enumerated() {
        if let to { add(other, service: old, instance: i, to: (new, to)) }
      }
    }
    // The last place is requests without a route.
    add(other, route: other.routes.count - 1, to: routes.count - 1)
  }
}

extension LoopState {
  /// The latency that an edge's balancer takes an instance to have, in nanoseconds; nil before its first answer.
  public func latency(edge: Int, instance: Int, now: Instant) -> Int64? {
    upstreams[edge].balancer.latency(instance, now: now)
  }
}
