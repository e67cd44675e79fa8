// SPDX-License-Identifier: Apache-2.0
package import WeirBase

/// Customers who share the system, and what each plan gives them.
package struct Tenants: Sendable, Equatable {
  package var place: Place
  /// The claim that names a caller's tenant.
  package var claim: Value<String>
  package var plans: [TenantPlan] = []
  /// Tenants with a plan of their own and a series in metrics: names and plans.
  package var members: [Named<String>] = []
  /// The plan of all others; nil limits them by their routes alone.
  package var otherwise: Value<String>?

  package func plan(_ name: String) -> Int? { plans.firstIndex { $0.name.text == name } }
}

/// One entry of `plans:`.
package struct TenantPlan: Sendable, Equatable {
  package var name: Name
  /// Of each tenant, over all routes.
  package var limit: Value<Rate>?
}

/// `tenants:`.
enum TenantKeys {
  static let claim = ScalarKey(
    "claim", .text("a claim", example: "org"), required: true, "The claim that names the tenant.")
  static let fromSection = Section(
    name: "tenants-from", doc: "What names a caller's tenant.", keys: [claim.key], short: claim.key)
  static let from = Key("from", .section(fromSection), required: true, "What names a caller's tenant.")
  static let limit = ScalarKey(
    "limit", .rate, rule: "the limits of routes alone", "How often requests of one tenant may come, over all routes.")
  static let planPart = Part<TenantPlan>(
    "tenant-plan", "What tenants of a plan may have.", start: { layers, _ in layers.name.map { TenantPlan(name: $0) } },
    [
      .optional(limit, \.limit),
      .later("at-once", "How many requests of one tenant may be in work."),
    ])
  static let plans = Key(
    "plans", .named(.plain("a plan"), .section(planPart.section)), "What tenants may have, by the name of a plan.")
  static let members = Key(
    "members",
    .named(
      Shape.Names(what: "a tenant", problem: { $0.isEmpty ? "a tenant has a name" : nil }, pattern: "^.+$"),
      .scalar(.name)),
    "Tenants and their plans; only these have series of their own in metrics, the rest counts as `other`.")
  static let otherwise = ScalarKey(
    "otherwise", .name, rule: "no plan", "The plan of tenants that are not listed.", alias: ["default"])

  static let part = Part<Tenants>(
    "tenants", "Customers who share the system.",
    start: { layers, _ in
      guard let place = layers.place, let claim = layers.section(from, fromSection).value(claim) else { return nil }
      return Tenants(place: place, claim: claim)
    },
    [
      .custom(
        from,
        explain: { tenants, _ in [.map(from, [.leaf(claim, tenants.claim)])] }),
      .entries(plans, \.plans, planPart, name: \.name),
      .named(members, .name, \.members),
      .optional(otherwise, \.otherwise),
    ])
  static let section = part.section
}

extension Resolver {
  mutating func tenants(_ node: Node) -> Tenants? {
    guard let tenants = TenantKeys.part.read(Layers([Fields(node, TenantKeys.section)]), &self) else { return nil }
    let names = tenants.plans.map(\.name.text)
    for plan in tenants.members.map(\.value) + [tenants.otherwise].compactMap({ $0 }) where !names.contains(plan.value)
    {
      unknownTarget(plan, "a plan", among: names)
    }
    return tenants
  }
}
