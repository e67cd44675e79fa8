// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Records of keys on a route that none of the requests it takes can use.
enum IdempotencyWithoutEffect: Rule {
  static let info = RuleInfo(
    "idempotency-without-effect", .resilience, .warning, title: "Keys are looked at where no request has one",
    why:
      "Keys are looked at for 2 methods, POST and PATCH; a repeated GET, PUT or DELETE does no harm anyway. On a route that takes "
      + "neither POST nor PATCH, or that leads to no service, `idempotency` reads like protection from a second order and "
      + "protects from nothing.",
    detection: "`idempotency` at a route whose `methods` have neither POST nor PATCH, or that has no service",
    formula: "methods ∩ {POST, PATCH} = ∅, or services = ∅",
    mend: "Put it at the route that takes the orders, or add POST to this route's methods.",
    falsePositives: "None are known: `idempotency` of `defaults` is not looked at, for it is meant for all routes.")

  static func find(_ subject: Subject) -> [Finding] {
    subject.design.gateways.flatMap(\.routes).compactMap { route in
      guard let kept = route.care.idempotency, let spot = kept.place.under(route.name.place) else { return nil }
      let methods = route.methods?.value
      let takes = methods.map { $0.contains("POST") || $0.contains("PATCH") } ?? true
      if takes && !route.services.isEmpty { return nil }
      let name = route.name.text
      let what = takes ? "leads to no service" : "takes \(Say.list(methods ?? [])) only"
      return info.finding(
        "\(name) keeps records of keys and \(what): 0 requests are ever kept", at: spot, spot: spot.entry,
        caret: "0 requests", why: "whoever repeats a POST elsewhere is not protected by this",
        mend: "idempotency: none",
        acceptAt: route.name.place,
        inputs: [
          Finding.Input("methods of \(name)", methods?.joined(separator: " ") ?? "all", route.methods?.place),
          Finding.Input("services of \(name)", String(route.services.count), route.name.place),
        ], result: "0 requests")
    }
  }
}
