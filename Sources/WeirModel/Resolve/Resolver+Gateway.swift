// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

extension Resolver {
  mutating func gateway(_ node: Node) -> Gateway {
    let fields = Fields(node, GatewayKeys.section)
    let flood = Layers([fields.section(GatewayKeys.flood, FloodKeys.section)])
    var calls: [Call] = []
    var routes: [Route] = []
    for entry in fields.node(GatewayKeys.routes.name)?.entries ?? [] {
      guard let route = route(entry) else { continue }
      if !calls.contains(where: { $0.to.value == .service(route.to.value) }) {
        calls.append(
          call(Layers(callDefaults), to: route.to.map { .service($0) }, place: route.name.place))
      }
      routes.append(route)
    }
    return Gateway(
      name: Name("gateway", node.place), listeners: listeners(fields.node(GatewayKeys.listen.name)), routes: routes,
      calls: calls, trustForwardedFrom: Fields.values(fields.node(GatewayKeys.trustForwardedFrom.name), .network),
      flood: Gateway.Flood(
        connections: flood.isEmpty
          ? Layers([Fields(node, FloodKeys.section)]).valueOrNone(FloodKeys.connections)
          : flood.valueOrNone(FloodKeys.connections),
        limit: flood.isEmpty
          ? Layers([Fields(node, FloodKeys.section)]).valueOrNone(FloodKeys.limit) : flood.valueOrNone(FloodKeys.limit)),
      body: Layers([fields]).value(GatewayKeys.body, else: Value(.mebi(10), .defaulted(rule: "gateway.body"))))
  }

  private mutating func listeners(_ node: Node?) -> [Gateway.Listener] {
    guard let node else { return [] }
    let items = if case .list(let items) = node.kind { items } else { [node] }
    var found: [Gateway.Listener] = []
    for item in items {
      let fields = Fields(item, ListenKeys.section)
      guard let port = fields.value(ListenKeys.port), let host = Layers([fields]).valueOrDefault(ListenKeys.host) else {
        continue
      }
      if port.value != 0,
        let first = found.first(where: { $0.port.value == port.value && $0.host.value == host.value })
      {
        mistake(
          "defined-twice", "two listeners have port \(port.value)", at: port, mend: "give one of them another port",
          related: [.init(first.place, "the first one")])
      }
      found.append(Gateway.Listener(place: item.place, host: host, port: port))
    }
    return found
  }

  private mutating func route(_ entry: Node.Entry) -> Route? {
    let fields = Fields(entry.value, RouteKeys.section)
    let layers = Layers([fields] + defaults.map { $0.section(DefaultsKeys.route, DefaultsKeys.routeSection) })
    let methods = fields.node(RouteKeys.methods.name).map { node in
      Value(Fields.values(node, ScalarType<String>.method).map(\.value), Origin.written(node.place))
    }
    let target = fields.value(RouteKeys.to).flatMap { name in
      service(name, whatFor: "a route").map { index in name.map { _ in index } }
    }
    guard let path = fields.value(RouteKeys.path), let to = target else { return nil }
    return Route(
      name: Name(entry.key, entry.value.place), path: path, methods: methods,
      host: fields.value(RouteKeys.host)?.map { $0.lowercased() }, to: to, limit: limit(layers),
      timeout: layers.value(RouteKeys.timeout))
  }

  private func limit(_ layers: Layers) -> RouteLimit? {
    let limit = layers.section(RouteKeys.limit, LimitKeys.section)
    guard let nearest = limit.fields.first, let rate = limit.value(LimitKeys.rate),
      let by = limit.valueOrDefault(LimitKeys.by)
    else { return nil }
    let burst =
      limit.value(LimitKeys.burst)
      ?? Value(GCRA(GCRA.Settings(rate: rate.value)).burst, .derived(from: "one second's worth of rate"))
    return RouteLimit(place: nearest.node.place, rate: rate, burst: burst, by: by)
  }
}
