// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
package import WeirFlows
package import WeirPatterns

extension Plan {
  /// Compiles a design; the same design gives the same plan.
  package init(_ design: Design) {
    self.init(
      design: design, flow: FlowPlan(), services: [], edges: [], routes: [], limits: [], gateway: nil, loads: [])
    flow.services = design.services.map(\.compiled) + design.stores.map(Plan.flowStore)
    for gateway in design.gateways { compile(gateway) }
    services = design.services.enumerated().map { index, service in
      Plan.Service(
        name: service.name.text, component: .service(index), isStore: false,
        health: service.health?.compiled(isOurs: service.isStarted),
        startsAfter: [], uses: uses(service), operations: [],
        edges: service.calls.map { add($0, from: .service(index), name: service.name.text) }, sends: sends(of: service))
    }
    services += design.stores.enumerated().map { index, store in
      Plan.Service(
        name: store.name.text, component: .store(index), isStore: true, health: nil, startsAfter: [], uses: [],
        operations: [], edges: [])
    }
    compileQueues()
    compileSagas()
    for (index, service) in design.services.enumerated() {
      services[index].operations = service.operations.map { operation in
        Plan.Operation(
          method: operation.method, path: operation.path,
          steps: operation.does.compactMap { step($0, of: index) }, sends: sends(in: operation.does, of: service),
          work: operation.work)
      }
    }
    orderStarts()
    loads = design.traffic.map(load)
  }

  // MARK: Services

  /// A store is one instance; it takes as many at a time as it works on, or as it has connections for.
  private static func flowStore(_ store: Store) -> FlowPlan.Service {
    let places = store.atOnce?.value ?? store.pool?.value ?? store.maxConnections?.value
    return FlowPlan.Service(instances: 1, atOnce: places.map { Int32($0) } ?? .max)
  }

  private func uses(_ service: WeirModel.Service) -> [Use] {
    var components = service.calls.map(\.to.value) + service.sends.map(\.value)
    if case .program(let program) = service.kind { components += program.after.map(\.value) }
    var uses: [Use] = []
    for component in components {
      let name = design.name(of: component).text
      let variable = Plan.variable(for: name)
      guard !uses.contains(where: { $0.variable == variable }) else { continue }
      switch component {
      case .service: uses.append(Use(variable: variable, way: .call(name)))
      case .queue: uses.append(Use(variable: variable, way: .queue(name)))
      case .topic: uses.append(Use(variable: variable, way: .sink(section: RootKeys.topics.name, name: name)))
      case .stream: uses.append(Use(variable: variable, way: .sink(section: RootKeys.streams.name, name: name)))
      case .saga: uses.append(Use(variable: variable, way: .sink(section: RootKeys.sagas.name, name: name)))
      case .store(let index):
        let store = design.stores[index]
        let scheme = store.engine.value == .other ? "tcp" : store.engine.value.rawValue
        if let path = store.path {
          uses.append(Use(variable: variable, way: .file(scheme: scheme, path: path.value)))
        } else if let first = store.at.first {
          uses.append(Use(variable: variable, way: .address(scheme: scheme, at: first.value)))
        }
      }
    }
    return uses
  }

  /// `notes-db` → `NOTES_DB_URL`.
  package static func variable(for name: String) -> String {
    name.uppercased().replacing("-", with: "_") + "_URL"
  }

  /// What starts after what: calls that are not optional, then `after`, without what would close a circle.
  ///
  /// A service that calls itself through others must start somewhere: the first in the file does, and the rule
  /// `call-cycle` speaks of it.
  private mutating func orderStarts() {
    var wanted: [[Int]] = services.map { _ in [] }
    for (index, service) in design.services.enumerated() {
      guard case .program(let program) = service.kind else { continue }
      let calls = service.calls.filter { !$0.optional.value }.map(\.to.value)
      for component in program.after.map(\.value) + calls {
        let before = self.index(of: component)
        if before != index, isStarted(before), !wanted[index].contains(before) { wanted[index].append(before) }
      }
    }
    // Depth first in the order of the file: an edge back to one that is still open would close a circle.
    var state = [UInt8](repeating: 0, count: services.count)
    func visit(_ index: Int) {
      state[index] = 1
      var kept: [Int] = []
      for before in wanted[index] where state[before] != 1 {
        if state[before] == 0 { visit(before) }
        kept.append(before)
      }
      services[index].startsAfter = kept
      state[index] = 2
    }
    for index in services.indices where state[index] == 0 { visit(index) }
  }

  // MARK: Edges

  mutating func add(_ call: Call, from caller: Edge.Caller, name: String) -> Int {
    let callee = index(of: call.to.value)
    let isStore = callee >= design.services.count
    edges.append(
      Edge(
        name: "\(name)→\(Plan.calleeName(design.name(of: call.to.value).text, call.subset))", caller: caller,
        callee: callee, call: call,
        // But what a TCP listener leads to comes through us.
        isModelOnly: isStore && caller != .gateway))
    flow.edges.append(
      FlowPlan.Edge(service: callee, call: settings(call, to: callee), subset: compiled(call.subset, of: callee)))
    return edges.count - 1
  }

  /// `api`, or `api[version=v2]` for a part of its instances.
  package static func calleeName(_ name: String, _ subset: Subset?) -> String {
    subset.map { "\(name)[\($0.text)]" } ?? name
  }

  private func compiled(_ subset: Subset?, of callee: Int) -> FlowPlan.Subset? {
    callee < design.services.count ? subset.map { design.services[callee].compiled($0) } : nil
  }

  /// The edge of a mirror: the callee's settings, and nothing that could cost anybody else something.
  private mutating func add(_ mirror: RouteMirror, like edge: Int, of gateway: WeirModel.Gateway, _ route: Route) -> Int
  {
    let callee = mirror.to.value
    let like = flow.edges[edge].call
    var call = edges[edge].call
    call.to = mirror.to.map { .service($0) }
    call.fallback = nil
    call.subset = mirror.subset
    let name = Plan.calleeName(design.services[callee].name.text, mirror.subset)
    edges.append(
      Edge(
        name: "mirror of \(route.name.text)→\(name)", caller: .mirror, callee: callee,
        call: call, isModelOnly: false))
    flow.edges.append(
      FlowPlan.Edge(
        service: callee, call: mirror.settings(like: like), subset: compiled(mirror.subset, of: callee)))
    return edges.count - 1
  }

  /// What the flows need to know of a call to the service at this index.
  package func settings(_ call: Call, to callee: Int) -> CallSettings {
    var settings = CallSettings()
    call.compile(into: &settings)
    if callee < design.services.count { design.services[callee].compile(into: &settings) }
    return settings
  }

  /// Nil for what is sent: see ``Operation/sends``.
  private func step(_ step: WeirModel.Step, of service: Int) -> Step? {
    switch step {
    case .send: return nil
    case .together(let steps):
      let calls = steps.compactMap { self.step($0, of: service) }
      return calls.isEmpty ? nil : .together(calls)
    case .call(let call):
      let written = design.services[service].calls[call.call.value]
      return .call(
        edge: services[service].edges[call.call.value], operation: call.operation, share: call.share.value,
        optional: call.optional?.value ?? written.optional.value)
    }
  }

  // MARK: Gateway

  private mutating func compile(_ gateway: WeirModel.Gateway) {
    var edgeOfService: [Int: Int] = [:]
    for call in gateway.calls {
      let edge = add(call, from: .gateway, name: gateway.name.text)
      if call.subset == nil { edgeOfService[edges[edge].callee] = edge }
    }
    let gatewayEdges = edges.indices.filter { edges[$0].caller == .gateway }
    let shared = gateway.limits.map { add($0, named: "gateway") }
    var builder = RouteTrie.Builder()
    var treatments: [RouteTreatment?] = []
    for route in gateway.routes {
      // Patterns were checked when they were read: one that cannot be taken apart is not in a design.
      let pattern = try? RoutePattern(
        path: route.path.value, host: route.host?.value, methods: methodBits(route.methods?.value ?? []),
        conditions: route.match.conditions)
      if let pattern { builder.add(pattern, route: routes.count) }
      let own = route.limits.map { add($0, named: "routes.\(route.name.text)") }
      routes.append(route.name.text)
      let edges = route.to.compactMap { share in
        share.subset == nil
          ? edgeOfService[share.service.value]
          : gatewayEdges.first { self.edges[$0].call.leads(to: .service(share.service.value), share.subset) }
      }
      var compiled = FlowPlan.Route(
        edge: edges.first, timeout: route.timeout?.value, webSocket: route.care.webSocket?.settings)
      compiled.limits = shared + own
      compiled.priority = route.care.priority.value.rank
      compiled.access = access(of: route, in: gateway)
      compiled.idempotency = route.care.idempotency?.settings
      compiled.status = UInt16(
        route.target.redirect?.status.value ?? route.edge.answer?.status.value ?? (route.edge.queue == nil ? 200 : 202))
      compiled.parts = route.edge.compose.compactMap { part in
        edgeOfService[part.to.value].map {
          FlowPlan.Part(edge: $0, operation: part.operation, isOptional: part.optional.value)
        }
      }
      switch edges.isEmpty ? nil : route.edge.fallback?.value {
      case nil: break
      case .omit, .answer, .stale: compiled.fallback = .own
      case .service(let other): compiled.fallback = edgeOfService[other].map { .edge($0) } ?? .none
      }
      if edges.count > 1 {
        compiled.split = FlowPlan.Split(
          edges: edges, weights: route.to.map(\.weight.value), salt: Plan.salt(route.name.text),
          by: route.target.sticky.map { $0.value == .cookie ? .key : .client } ?? .request)
      }
      if let mirror = route.target.mirror, let first = edges.first {
        compiled.mirror = FlowPlan.Mirror(
          edge: add(mirror, like: first, of: gateway, route),
          share: MirrorShare(share: mirror.share.value, salt: Plan.salt(route.name.text)))
      }
      flow.routes.append(compiled)
      treatments.append(treatment(of: route, pattern))
    }
    flow.requestsAtOnce = gateway.atOnce.value
    compileTenants()
    self.gateway = Gateway(
      listeners: gateway.listeners.map { listener in
        let secured = gateway.listeners.first { $0.security.isSecured }
        return Listener(
          host: listener.host.value, port: listener.port.value, isSecured: listener.security.isSecured,
          redirectPort: listener.security.redirect == nil ? nil : secured?.port.value,
          tcp: listener.security.speaks.value == .tcp ? tcp(listener.route, edgeOfService) : nil,
          isProxied: listener.route.proxyProtocol != nil)
      }, trie: builder.build(),
      ties: builder.ties, trusted: gateway.trustForwardedFrom.map(\.value), addressLimit: gateway.flood.settings,
      bodyBytes: gateway.body.value.count, memoryBytes: gateway.memory?.value.count, treatments: treatments,
      requestID: gateway.requestID,
      keyHeaders: gateway.routes.map { $0.care.idempotency?.header.value },
      grpcWebRoutes: Set(gateway.routes.indices.filter { gateway.routes[$0].edge.grpcWeb?.value == true }))
  }

  private mutating func add(_ limit: RouteLimit, named name: String) -> Int {
    let name = "\(name) by \(limit.byText) \(limit.kind.value == .slidingWindow ? "window" : "bucket")"
    var unique = name
    var number = 1
    while limits.contains(unique) {
      number += 1
      unique = "\(name) \(number)"
    }
    limits.append(unique)
    flow.limits.append(limit.settings)
    limitFields.append(limit.by.value)
    return flow.limits.count - 1
  }

  private func tcp(_ route: ListenRoute, _ edges: [Int: Int]) -> Listener.TCP {
    Listener.TCP(
      edge: route.to.flatMap { edges[index(of: $0.value)] },
      names: route.sni.compactMap { name in
        edges[index(of: name.to.value)].map { Listener.Target(host: name.host, edge: $0) }
      },
      idle: route.idle.value)
  }

  // MARK: Traffic

  private func load(_ traffic: Traffic) -> Load {
    switch traffic.to.value {
    case .gateway(let method, _, let gateway, let route, let operations, let mirror):
      let service = design.gateways[gateway].routes[route].service
      return Load(
        name: traffic.name.text, route: route, service: service, operations: operations, mirrorOperation: mirror,
        method: Plan.method(method, isKeyed: design.gateways[gateway].routes[route].care.idempotency != nil),
        rate: traffic.rate.value, clients: traffic.clients?.value)
    case .component(let component, let method, _, let operation):
      let callee = index(of: component)
      var load = Load(
        name: traffic.name.text, route: nil, service: callee, operations: [operation],
        method: Plan.method(method ?? "GET"), rate: traffic.rate.value, clients: traffic.clients?.value)
      if method == tcpMethod { load.connects = edges.firstIndex { $0.caller == .gateway && $0.callee == callee } }
      return load
    }
  }

  /// What retries take a method for (RFC 9110 §9.2).
  ///
  /// `isKeyed`: what is not idempotent by itself carries a key.
  package static func method(_ name: String, isKeyed: Bool = false) -> RetryRule.Method {
    switch name {
    case "GET", "HEAD", "OPTIONS": .safe
    case "PUT", "DELETE": .idempotent
    case "POST", "PATCH": isKeyed ? .keyed : .unsafe
    default: .unsafe
    }
  }
}
