// SPDX-License-Identifier: Apache-2.0
public import WeirBase
import WeirPatterns

/// What a driver reads between inputs, several times a request.
///
/// `mutating`, though nothing changes: the driver keeps its flows in an object, and a call that only reads would be given
/// a copy of all of it, with a count up and down for every array within (measured: a tenth of the instructions of a
/// request). A mutating one works in place.
extension LoopFlows {
  /// When the call must be woken at the latest.
  public mutating func nextWake(of call: Slot) -> Instant { calls[call].nextWake }

  /// When the whole call ends at the latest.
  public mutating func deadline(of call: Slot) -> Instant { calls[call].deadline }

  /// How many calls of an edge wait for a place.
  public mutating func waiting(edge: Int) -> Int { state.upstreams[edge].waiting.count }

  /// How many attempts are out at each instance of a service, along all its edges.
  public mutating func inFlight(of service: Int, in plan: FlowPlan) -> [Int] {
    var all = [Int](repeating: 0, count: plan.services[service].instances)
    for (e, edge) in plan.edges.enumerated() where edge.service == service {
      for i in all.indices { all[i] += Int(state.upstreams[e].balancer.inFlight(i)) }
    }
    return all
  }

  /// Whether the gate of an edge has decided something that its calls have not heard.
  public mutating func hasVerdicts(edge: Int) -> Bool {
    !state.upstreams[edge].gate.isEmpty && state.upstreams[edge].gate[0].hasVerdicts
  }

  /// As ``isUrgent(edge:)``, without a copy.
  @inlinable
  public mutating func wantsMerge(edge: Int) -> Bool { state.upstreams[edge].isUrgent }
}
