// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A limit by tenant or claim where nobody says who the caller is.
enum LimitWithoutIdentity: Rule {
  static let info = RuleInfo(
    "limit-without-identity", .security, .warning, title: "A limit by something that is never known",
    why:
      "Tenants and claims are what an identity knows of a caller. On a route that asks 0 identities there is none, and "
      + "the limit counts addresses: a customer with many machines has it many times, and many behind one address share it.",
    detection: "a route's limit counts by `tenant` or by a claim, and the route names no identity",
    formula: "by ∈ {tenant, claim} ∧ identities of the route = 0",
    mend: "Let the route ask an identity, or count by what every request has: `client`, a header, a cookie.",
    falsePositives: "None are known: write `by: client`, which does the same.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for gateway in subject.design.gateways {
      for route in gateway.routes where route.access.identity.isEmpty {
        for limit in route.limits {
          let what: String
          switch limit.by.value {
          case .tenant: what = "tenant"
          case .claim(let path): what = "the claim \(path)"
          case .client, .route, .header, .cookie: continue
          }
          guard let place = limit.by.place else { continue }
          found.append(
            info.finding(
              "\(route.name.text) limits by \(what) and asks 0 identities who the caller is", at: place,
              spot: place.entry,
              caret: "0 identities", why: "what is counted is the address", mend: "by: client",
              acceptAt: route.name.place, inputs: [Finding.Input("identities", "0", route.name.place)],
              result: "0 identities"))
        }
      }
    }
    return found
  }
}
