// SPDX-License-Identifier: Apache-2.0

/// Which id of a plan became which of the next one: how state finds its way through a reload.
///
/// Ids are dense and stand in the order of the file, so a route more at the top moves all the others; names stay. Whoever
/// knows the names makes this value; from here on nobody needs them. Nil is what the next plan does not have.
///
/// ## Invariants
/// 1. No two ids of the old plan become the same one.
/// 2. An edge that moves leads to a service that moves.
public struct PlanMove: Sendable, Equatable {
  /// By old service: the new one.
  public var services: [Int?]
  /// By old service and instance: the new instance of the same service; empty for a service that is gone.
  ///
  /// Those that Weir starts keep their number; those that run elsewhere are known by their address.
  public var instances: [[Int?]]
  /// By old edge.
  public var edges: [Int?]
  /// By old route.
  public var routes: [Int?]
  /// By old rate limit.
  public var limits: [Int?]

  public init(services: [Int?], instances: [[Int?]], edges: [Int?], routes: [Int?], limits: [Int?]) {
    self.services = services
    self.instances = instances
    self.edges = edges
    self.routes = routes
    self.limits = limits
  }

  /// Nothing moves: from a plan to itself, or to one whose ids mean the same.
  public static func none(of plan: FlowPlan) -> PlanMove {
    PlanMove(
      services: Array(plan.services.indices), instances: plan.services.map { Array(0..<$0.instances) },
      edges: Array(plan.edges.indices), routes: Array(plan.routes.indices), limits: Array(plan.limits.indices))
  }

  /// By place of `old`: where the same name stands in `new`; of a name that stands there twice the first place counts.
  public static func places(of old: [String], in new: [String]) -> [Int?] {
    var places: [String: Int] = [:]
    for (index, name) in new.enumerated() where places[name] == nil { places[name] = index }
    // A name that stood twice in the old list moves once.
    return old.map { places.removeValue(forKey: $0) }
  }

  /// This move and then the next one.
  public func then(_ next: PlanMove) -> PlanMove {
    func follow(_ first: [Int?], _ second: [Int?]) -> [Int?] { first.map { $0.flatMap { second[$0] } } }
    return PlanMove(
      services: follow(services, next.services),
      instances: services.indices.map { s in
        guard let middle = services[s], next.services[middle] != nil else { return [] }
        return follow(instances[s], next.instances[middle])
      },
      edges: follow(edges, next.edges), routes: follow(routes, next.routes), limits: follow(limits, next.limits))
  }

  /// By new id: the old one, or nil for what is new.
  public static func back(_ move: [Int?], count: Int) -> [Int?] {
    var back = [Int?](repeating: nil, count: count)
    for (old, new) in move.enumerated() { if let new { back[new] = old } }
    return back
  }

  /// By new instance of a service that was `old`: the old instance.
  func instancesBack(of old: Int?, count: Int) -> [Int?] {
    guard let old else { return Array(repeating: nil, count: count) }
    return PlanMove.back(instances[old], count: count)
  }

  /// What is wrong with this value, or nil.
  public func violation(from old: FlowPlan, to new: FlowPlan) -> String? {
    func check(_ what: String, _ move: [Int?], _ from: Int, _ to: Int) -> String? {
      if move.count != from { return "\(from) \(what) were, \(move.count) are said to move" }
      var seen = [Bool](repeating: false, count: to)
      for new in move {
        guard let new else { continue }
        if new >= to { return "one of the \(what) becomes \(new) of \(to)" }
        if seen[new] { return "two of the \(what) become \(new)" }
        seen[new] = true
      }
      return nil
    }
    if let wrong = check("services", services, old.services.count, new.services.count)
      ?? check("edges", edges, old.edges.count, new.edges.count)
      ?? check("routes", routes, old.routes.count, new.routes.count)
      ?? check("limits", limits, old.limits.count, new.limits.count)
    {
      return wrong
    }
    for (s, to) in services.enumerated() {
      guard let to else { continue }
      if let wrong = check(
        "instances of service \(s)", instances[s], old.services[s].instances, new.services[to].instances)
      {
        return wrong
      }
    }
    for (e, to) in edges.enumerated() {
      guard let to else { continue }
      if services[old.edges[e].service] != new.edges[to].service { return "edge \(e) moves away from its callee" }
    }
    return nil
  }
}
