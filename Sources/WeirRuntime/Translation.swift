// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
package import WeirModel
import WeirPatterns
import WeirPlatform
import WeirProcesses
package import WeirProxy
package import WeirTelemetry

/// From the plan's words to each driver's.
package enum Translation {
  /// The proxy's configuration.
  ///
  /// `sockets` are names and listening descriptors, by listener of the gateway; `calls` those of the loopback listener.
  package static func proxy(
    _ plan: Plan, settings: RunSettings, sockets: [(name: String, descriptors: [Int32])], calls: [Int32], seed: UInt64
  ) throws(PlaneError) -> ProxyConfiguration {
    var listeners: [ProxyConfiguration.Listener] = []
    if let gateway = plan.gateway {
      for (socket, listener) in zip(sockets, gateway.listeners) {
        let kind: ProxyConfiguration.Listener.Kind =
          listener.redirectPort.map { .redirect(port: $0) } ?? .gateway(gateway.trie)
        var made = ProxyConfiguration.Listener(.descriptors(socket.descriptors), kind, name: socket.name)
        if let tcp = listener.tcp { made.kind = .tcp(Self.tcp(tcp)) }
        made.isProxied = listener.isProxied
        listeners.append(made)
      }
    }
    listeners.append(.init(.descriptors(calls), .calls, name: SocketName.calls))
    var configuration = ProxyConfiguration(
      plan: plan.flow, listeners: listeners, addresses: try addresses(plan))
    configuration.loops = settings.loops
    configuration.seed = seed
    if let gateway = plan.gateway {
      configuration.limits.bodyBytes = Int64(gateway.bodyBytes)
      configuration.memory = gateway.memoryBytes.map { .init(limit: $0) }
      configuration.addressLimit = gateway.addressLimit
      configuration.addressLimit.salt = seed
      configuration.trusted = gateway.trusted.compactMap { AddressRange($0) }
    }
    configuration.limitKeys = plan.limitFields.map { by in
      switch by {
      case .client, .route, .tenant: nil
      // A name that no field can have is never found, and the client is counted.
      case .header(let name): ProxyConfiguration.LimitKey.named(name)
      case .cookie(let name): .cookie(Array(name.utf8))
      case .claim(let path): plan.countedClaims.firstIndex(of: path).map { .claim($0) }
      }
    }
    configuration.health = plan.services.enumerated().map { index, service in
      guard let health = service.health, health.ready != nil || health.grpc != nil else {
        return plan.isStarted(index) ? connecting(service.health) : nil
      }
      var check = ProxyConfiguration.HealthCheck(
        ready: health.ready ?? "/", live: health.live, settings: health.settings)
      check.grpc = health.grpc
      check.isConnect = health.isConnect
      return check
    }
    configuration.fallbacks = plan.edges.map { edge in
      guard case .answer(let body)? = edge.call.fallback?.value else { return nil }
      return answer(body)
    }
    configuration.edgePolicies = try edgePolicies(plan)
    configuration.calls = plan.edges.enumerated().compactMap { index, edge in
      guard case .service(let caller) = edge.caller, !edge.isModelOnly else { return nil }
      return .init(caller: plan.services[caller].name, callee: plan.services[edge.callee].name, edge: index)
    }
    configuration.routes = try policies(plan)
    configuration.requestID = plan.gateway?.requestID.flatMap {
      RequestIDRule(header: $0.header.value, trusts: $0.trust.value)
    }
    configuration.keyed = (plan.gateway?.keyHeaders ?? []).enumerated().map { index, header in
      header.map { KeyedRoute(name: plan.routes[index], header: $0) }
    }
    if plan.needsState {
      configuration.statePath = StateProgram.socketPath(settings)
      configuration.backup = backup(plan, settings)
    }
    try queues(&configuration, plan)
    sagas(&configuration, plan)
    configuration.serviceNames = plan.services.map(\.name)
    configuration.calls += IdentityAssembly.calls(plan)
    configuration.http2Services = Set(
      plan.design.services.indices.filter { plan.design.services[$0].speaks.value.isHTTP2 })
    configuration.grpcWebRoutes = plan.gateway?.grpcWebRoutes ?? []
    configuration.proxyHeaders = plan.design.services.map { $0.sendProxy.map { $0.value == .v1 ? .v1 : .v2 } }
    balance(&configuration, plan, settings)
    configuration.accessLog = settings.accessLog == .off ? 0 : 65_536
    return configuration
  }

  /// What is asked nothing is ready once its port takes a connection.
  private static func connecting(_ health: Plan.Health?) -> ProxyConfiguration.HealthCheck {
    var check = ProxyConfiguration.HealthCheck(
      ready: "/", live: health?.live, settings: health?.settings ?? HealthMonitor.Settings())
    check.isConnect = true
    check.settings.asksOnce = true
    return check
  }

  private static func tcp(_ tcp: Plan.Listener.TCP) -> TCPListener {
    TCPListener(edge: tcp.edge, names: tcp.names.map { .init(host: $0.host, edge: $0.edge) }, idle: tcp.idle)
  }

  /// Where instances that run elsewhere listen; nil for those that Weir starts, until they have started.
  private static func addresses(_ plan: Plan) throws(PlaneError) -> [[InstanceAddress?]] {
    var all: [[InstanceAddress?]] = []
    for (index, service) in plan.services.enumerated() {
      let texts = texts(of: index, plan)
      if let discovery = plan.discovery(index) {
        // That it can be read is found out before anything begins; its addresses come later.
        _ = try name(of: discovery, plan)
      }
      if texts.isEmpty || plan.discovery(index) != nil {
        all.append(Array(repeating: nil, count: plan.flow.services[index].instances))
        continue
      }
      var addresses: [InstanceAddress?] = []
      for text in texts {
        let resolved = try References.resolve(text.value, folder: Files.parent(of: plan.design.file))
        guard let address = address(resolved) else {
          throw PlaneError("'\(resolved)' of '\(service.name)' is no host:port")
        }
        addresses.append(address)
      }
      all.append(addresses)
    }
    return all
  }

  /// The host and port of a name that says where instances are.
  static func name(of discovery: Discovery, _ plan: Plan) throws(PlaneError) -> (host: String, port: Int) {
    let text = try References.resolve(discovery.name.value, folder: Files.parent(of: plan.design.file))
    guard case .tcp(let host, let port)? = address(text) else { throw PlaneError("'\(text)' is no host:port") }
    return (host, port)
  }

  /// The host and port of a listed instance; nil when its references cannot be read, which was said before.
  static func host(of instance: Instance, _ plan: Plan) -> (host: String, port: Int)? {
    guard let text = try? References.resolve(instance.address.value, folder: Files.parent(of: plan.design.file)),
      case .tcp(let host, let port)? = address(text)
    else { return nil }
    return (host, port)
  }

  /// The addresses of what runs elsewhere, as the file writes them.
  private static func texts(of index: Int, _ plan: Plan) -> [Value<Text>] {
    if index < plan.design.services.count {
      if case .addresses(let texts) = plan.design.services[index].kind { return texts }
      return []
    }
    // A store is one instance for us, wherever its others are; and only a TCP listener leads there through us.
    guard plan.edges.contains(where: { $0.callee == index && !$0.isModelOnly }) else { return [] }
    return Array(plan.design.stores[index - plan.design.services.count].at.prefix(1))
  }

  private static func address(_ text: String) -> InstanceAddress? {
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      (1...65_535).contains(port)
    else { return nil }
    let host = text[..<colon]
    return .tcp(host: host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : String(host), port: port)
  }

  package static func names(_ plan: Plan) -> Names {
    Names(
      system: plan.design.system.value, routes: plan.routes,
      edges: plan.edges.map { edge in
        let caller: String
        switch edge.caller {
        case .gateway: caller = "gateway"
        case .mirror: caller = String(edge.name.prefix { $0 != "→" })
        case .service(let index): caller = plan.services[index].name
        case .queue(let index): caller = plan.queues[index].name
        }
        return Names.Edge(
          caller: caller, callee: Plan.calleeName(plan.services[edge.callee].name, edge.call.subset),
          service: edge.callee, isCarried: !edge.isModelOnly)
      }, services: plan.services.map(\.name),
      zones: plan.services.indices.map { zones(of: $0, plan) })
  }

  private static func zones(of service: Int, _ plan: Plan) -> Names.Zones {
    guard service < plan.design.services.count else { return Names.Zones() }
    let design = plan.design.services[service]
    let names = design.zoneNames
    if names.isEmpty { return Names.Zones() }
    return Names.Zones(
      names: names, ofInstance: design.listed.map { $0.zone.flatMap { names.firstIndex(of: $0.value) } },
      own: design.balancing.zone.flatMap { names.firstIndex(of: $0.value) })
  }

  /// What the supervisor must know of a service; those that Weir does not start have no instances for it.
  static func supervised(_ plan: Plan) -> [Supervisor.Service] {
    plan.services.indices.map { index in
      Supervisor.Service(
        name: plan.services[index].name,
        instances: plan.isStarted(index) ? plan.flow.services[index].instances : 0,
        needs: plan.services[index].startsAfter.map { plan.services[$0].name })
    }
  }
}

/// Why a plane cannot do what the file says; a sentence for the user.
package struct PlaneError: Error, CustomStringConvertible, Equatable {
  package var description: String
  package init(_ description: String) { self.description = description }
}
