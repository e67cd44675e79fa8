// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Credentials that callers send over a line that anybody may read.
enum IdentityWithoutTLS: Rule {
  static let info = RuleInfo(
    "identity-without-tls", .security, .warning, title: "Credentials come in over plain HTTP",
    why:
      "A token, key or password that goes over plain HTTP is read by everybody on the way, and 1 request that is read is "
      + "enough to be that caller until it ends. A redirect to https does not help: the credential was sent before.",
    detection:
      "a route names an identity, and a listener serves it without TLS on an address that other machines reach",
    formula: "routes with an identity > 0 ∧ listener speaks http ∧ does not redirect ∧ address is not the loopback one",
    mend: "Give the listener certificates, or bind it to 127.0.0.1 behind what terminates TLS.",
    falsePositives:
      "A load balancer in front that terminates TLS and reaches the listener through a network of its own.")

  static func find(_ subject: Subject) -> [Finding] {
    guard let gateway = subject.design.gateways.first else { return [] }
    let routes = gateway.routes.filter { !$0.access.identity.isEmpty }
    guard let first = routes.first, let named = first.access.identity.first else { return [] }
    let open = gateway.listeners.first { listener in
      listener.security.speaks.value == .http && listener.security.redirect == nil
        && !["127.0.0.1", "localhost", "::1"].contains(listener.host.value)
    }
    guard let open, let place = open.port.place else { return [] }
    return [
      info.finding(
        "\(named.value) of \(first.name.text) comes in over plain HTTP at port \(open.port.value)", at: place,
        spot: place.entry, caret: "no TLS", why: "whoever reads one request on the way is that caller from then on",
        mend: "listen: { port: \(open.port.value), tls: development }", acceptAt: gateway.name.place,
        inputs: [
          Finding.Input("routes with an identity", String(routes.count), first.name.place),
          Finding.Input("port", String(open.port.value), place),
        ], result: "\(routes.count) routes",
        related: named.place.map { [Diagnostic.Related($0, "\(first.name.text) names it")] } ?? [])
    ]
  }
}
