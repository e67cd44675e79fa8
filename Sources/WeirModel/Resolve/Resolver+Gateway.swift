// SPDX-License-Identifier: Apache-2.0

extension Resolver {
  mutating func gateway(_ node: Node) -> Gateway? {
    guard var gateway = GatewayKeys.part.read(Layers([Fields(node, GatewayKeys.section)]), &self) else { return nil }
    checkSecurity(of: &gateway.listeners)
    if lacksRoutes(gateway, node) { return nil }
    checkTargets(of: &gateway)
    refuseSharedPorts(gateway.listeners)
    refuseIdentities(of: gateway)
    return gateway
  }

  /// Only TCP goes without routes.
  private mutating func lacksRoutes(_ gateway: Gateway, _ node: Node) -> Bool {
    // What is missing may be what a reported entry was meant to be.
    guard node.entry(GatewayKeys.routes.name) == nil, !node.entries.contains(where: { $0.value.isReported }),
      gateway.listeners.contains(where: { $0.security.speaks.value != .tcp })
    else { return false }
    node.isReported = true
    mistake(
      "missing-key", "'\(node.place.path)' has no 'routes'", at: node.place, spot: node.place.head,
      why: "which requests go where; only a TCP listener needs none", mend: "routes: …")
    return true
  }

  private mutating func refuseSharedPorts(_ listeners: [Gateway.Listener]) {
    for (index, listener) in listeners.enumerated() where listener.port.value != 0 {
      let first = listeners[..<index].first {
        $0.port.value == listener.port.value && $0.host.value == listener.host.value
      }
      guard let first else { continue }
      mistake(
        "defined-twice", "two listeners have port \(listener.port.value)", at: listener.port,
        mend: "give one of them another port", related: [.init(first.place, "the first one")])
    }
  }

  /// The routes, and one call for all that lead to the same service.
  mutating func routes(_ layers: Layers, of gateway: inout Gateway) {
    for identity in gateway.identities.all {
      guard let forward = identity.forwardAuth else { continue }
      if gateway.calls.contains(where: { $0.leads(to: .service(forward.to.value)) }) { continue }
      gateway.calls.append(
        call(Layers(callDefaults), to: forward.to.map { .service($0) }, place: identity.name.place))
    }
    for entry in layers.node(GatewayKeys.routes)?.entries ?? [] {
      let fields = Fields(entry.value, RouteKeys.section)
      let below = defaults.map { $0.section(DefaultsKeys.route, DefaultsKeys.routeSection) }
      let layers = Layers([fields] + below, name: Name(entry.key, entry.value.place))
      guard var route = RouteKeys.part.read(layers, &self) else { continue }
      settleSubset(of: &route)
      settleGRPCWeb(of: &route)
      var callees = route.to.map { ($0.service, $0.subset) } + route.edge.compose.map { ($0.to, nil) }
      if let fallback = route.edge.fallback, case .service(let other) = fallback.value {
        callees.append((fallback.map { _ in other }, nil))
      }
      for (to, subset) in callees
      where !gateway.calls.contains(where: { $0.leads(to: .service(to.value), subset) }) {
        var made = call(Layers(callDefaults), to: to.map { .service($0) }, place: route.name.place)
        made.subset = subset
        gateway.calls.append(made)
      }
      gateway.routes.append(route)
      refuseTemplates(of: route)
    }
    refuseConditions(gateway.routes)
  }
}
