// SPDX-License-Identifier: Apache-2.0
package import WeirFlows
internal import WeirPatterns

/// What an identity has found out about a caller.
package struct Claims: Sendable, Equatable {
  package var subject: String
  package var roles: [String] = []
  package var scopes: [String] = []
  /// An object: what else is claimed.
  package var json = JSON.object([])
  /// Seconds since 1970 from which on it does not hold any more.
  package var expiresAt = Int64.max

  package init(subject: String) { self.subject = subject }

  /// The scalars of a claim: `org`, `realm_access.roles`, or a name that has dots itself.
  package static func values(_ json: JSON, _ path: String) -> [String] {
    if let whole = json[path] { return whole.scalars }
    var at = json
    for part in path.split(separator: ".", omittingEmptySubsequences: false) {
      guard let next = at[String(part)] else { return [] }
      at = next
    }
    return at.scalars
  }

  package func values(_ path: String) -> [String] {
    path == "sub" && json[path] == nil ? [subject] : Claims.values(json, path)
  }
}

/// What a route's access asks for, with the names that the flows do not see.
package struct AccessRule: Sendable, Equatable {
  package enum Condition: Sendable, Equatable {
    case role(String)
    case scope(String)
    case claim(String, String)
  }

  /// Bit by index, at most 64.
  package var conditions: [Condition]

  package init(conditions: [Condition]) { self.conditions = conditions }

  /// Which conditions are met, bit by index.
  func grants(_ claims: Claims) -> UInt64 {
    var mask: UInt64 = 0
    for (index, condition) in conditions.prefix(64).enumerated() {
      let met =
        switch condition {
        case .role(let role): claims.roles.contains(role)
        case .scope(let scope): claims.scopes.contains(scope)
        case .claim(let path, let value): claims.values(path).contains(value)
        }
      if met { mask |= 1 << UInt64(index) }
    }
    return mask
  }
}

/// Which tenant a caller belongs to, and which plan that one has.
package struct TenantRules: Sendable, Equatable {
  /// The claim that names the tenant.
  package var claim: String
  /// Tenants that have a series of their own in metrics, with the index of their plan.
  package var known: [Known] = []
  /// The plan of the others, or -1.
  package var otherwise: Int32 = -1

  package struct Known: Sendable, Equatable {
    package var name: String
    package var plan: Int32

    package init(name: String, plan: Int32) {
      self.name = name
      self.plan = plan
    }
  }

  package init(claim: String) { self.claim = claim }
}

/// A caller that an identity knows: made once, when it is verified, and shared by all of its requests.
package final class Principal: Sendable {
  package let identity: Int
  package let subject: String
  package let claims: Claims
  /// The tenant's name; nil without one.
  package let tenant: String?
  /// Index in ``TenantRules/known``, or -1 for the others.
  package let series: Int
  /// Field lines for the callee, each with its line end.
  package let fields: [UInt8]
  /// Keyed hashes of claims that limits count by, in their order; nil where the caller has none of it.
  package let claimKeys: [UInt64?]
  private let grants: [UInt64]
  private let client: UInt64
  private let tenantKey: UInt64
  private let plan: Int32

  init(
    _ claims: Claims, identity: Int, name: String, fields: [UInt8], accesses: [AccessRule], tenants: TenantRules?,
    counted: [String], hash: KeyedHash
  ) {
    self.identity = identity
    self.claims = claims
    self.fields = fields
    subject = claims.subject
    grants = accesses.map { $0.grants(claims) }
    // Two identities may have a subject of the same name.
    client = hash.hash("\(name)\u{0}\(claims.subject)")
    tenant = tenants.flatMap { claims.values($0.claim).first }
    let index = tenant.flatMap { name in tenants?.known.firstIndex { $0.name == name } }
    claimKeys = counted.map { path in
      claims.values(path).first.map { hash.hash("claim\u{0}\(path)\u{0}\($0)") }
    }
    series = index ?? -1
    plan = tenant == nil ? -1 : index.flatMap { tenants?.known[$0].plan } ?? tenants?.otherwise ?? -1
    tenantKey = tenant.map { hash.hash("tenant\u{0}\($0)") } ?? 0
  }

  /// What the flow of a request is told.
  package func facts(access: Int) -> PrincipalFacts {
    PrincipalFacts(
      client: client, tenant: tenantKey, plan: plan, grants: grants.indices.contains(access) ? grants[access] : 0)
  }
}
