// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirFlows

extension Plan {
  /// What a route asks of its callers, with the names that the flows do not see.
  package struct Access: Sendable, Equatable {
    /// Bit by index.
    package var conditions: [Allow.Condition]
    /// Identities by index, in the gateway's order.
    package var identities: [Int]
    /// Networks; empty for any.
    package var addresses: [String]
  }

  /// The index of a route's access, or nil when everybody may; routes that ask the same share one.
  mutating func access(of route: Route, in gateway: WeirModel.Gateway) -> Int? {
    let identities = gateway.identities.all.indices.filter { index in
      route.access.identity.contains { $0.value == gateway.identities.all[index].name.text }
    }
    let groups = route.access.allow?.conditions ?? []
    let addresses = route.access.allow?.addresses.map(\.value) ?? []
    if identities.isEmpty && addresses.isEmpty { return nil }
    var needs: [UInt64] = []
    var count = 0
    for group in groups {
      needs.append(group.indices.reduce(0) { $0 | 1 << UInt64(count + $1) })
      count += group.count
    }
    let flowAccess = FlowPlan.Access(identities: identities.reduce(0) { $0 | 1 << UInt64($1) }, needs: needs)
    let access = Access(conditions: groups.flatMap { $0 }, identities: identities, addresses: addresses)
    if let index = accesses.firstIndex(of: access), flow.accesses[index] == flowAccess { return index }
    accesses.append(access)
    flow.accesses.append(flowAccess)
    return accesses.count - 1
  }

  /// The plans of tenants, each with its limit.
  mutating func compileTenants() {
    guard let tenants = design.tenants else { return }
    flow.tenantPlans = tenants.plans.map { plan in
      guard let rate = plan.limit?.value else { return FlowPlan.TenantPlan() }
      limits.append("tenants.\(plan.name.text)")
      flow.limits.append(FlowPlan.Limit(rate: rate, burst: max(1, Int(rate.perSecond.rounded(.up)))))
      limitFields.append(.tenant)
      return FlowPlan.TenantPlan(limit: flow.limits.count - 1)
    }
  }
}
