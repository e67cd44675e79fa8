// SPDX-License-Identifier: Apache-2.0
public import WeirPatterns

extension FlowPlan {
  /// The instances of a callee that an edge may ask, by their labels.
  ///
  /// An edge with a subset is an edge of its own, with breakers, ejection, queue and figures of its own: what fails in
  /// one version says nothing of the other. Instances outside are not there for it, as if a name had fewer. (Envoy picks
  /// among subsets within one cluster, `lb_subset_config`; Istio makes each subset of a DestinationRule a cluster, and so
  /// do we: a request that knows its edge needs no other choice.)
  public struct Subset: Sendable, Equatable {
    /// By instance of the callee.
    public var holds: [Bool]
    /// What an edge gets when none of its instances is up.
    public var fallback: InstanceGroups.Fallback

    public init(_ groups: InstanceGroups, group: Int, instances: Int, fallback: InstanceGroups.Fallback = .none) {
      holds = (0..<instances).map { groups.holds($0, group: group) }
      self.fallback = fallback
    }

    /// Who is not there for the edge, of those that are `absent` for all and those that are `down`.
    func absent(_ absent: [Bool], down: [Bool]) -> [Bool] {
      let outside = absent.indices.map { !($0 < holds.count && holds[$0]) }
      let isServed = absent.indices.contains { !outside[$0] && !absent[$0] && !down[$0] }
      if !isServed && fallback == .any { return absent }
      return zip(absent, outside).map { $0 || $1 }
    }
  }
}

extension NodeFlows {
  /// Whether an instance may be asked along an edge, as far as its labels go.
  public func isOf(edge: Int, instance: Int) -> Bool { edges[edge].subset?.holds[instance] ?? true }

  /// Whether somebody is left to ask along every edge of a service when this instance is taken out of use.
  func isAnyLeft(service s: Int, without instance: Int) -> Bool {
    let isUp = services[s].down.indices.map { $0 != instance && !services[s].down[$0] && !services[s].isAbsent($0) }
    if !isUp.contains(true) { return false }
    return edges.allSatisfy { edge in
      guard edge.service == s, let subset = edge.subset, subset.fallback == .none, subset.holds[instance] else {
        return true
      }
      return zip(isUp, subset.holds).contains { $0 && $1 }
    }
  }
}
