// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

/// The whole design in the long form of the language, each value with its origin: what `weir explain` prints.
///
/// Made with the same keys that the file is read with, so a key cannot be explained by another name than it has; read
/// again, the long form gives the same design (a test holds it to that).
package struct Effective: Sendable, Equatable {
  package enum Content: Sendable, Equatable {
    /// As YAML.
    case value(String)
    case map([Effective])
    /// Items without keys.
    case list([Effective])
    /// Belongs to the design but to no key of the file: printed as comments.
    case remark([Effective])
  }

  /// Empty for items of a list.
  package var key: String
  package var content: Content
  package var origin: Origin?
  /// Only `simulate` reads it.
  package var isModelOnly = false
}

extension Design {
  /// The design's long form, in the order of the language's page.
  package var effective: [Effective] {
    var all: [Effective] = [
      Effective(key: RootKeys.weir.name, content: .value("1"), origin: nil),
      .leaf(RootKeys.system, system),
    ]
    all += .leaf(RootKeys.owner, owner)
    if requirements.place != nil { all.append(.map(RootKeys.requirements, effective(requirements))) }
    all += gateways.map { .map(RootKeys.gateway, effective($0)) }
    if !services.isEmpty {
      all.append(.map(RootKeys.services, services.map { .named($0.name, effective($0)) }))
    }
    if !stores.isEmpty { all.append(.map(RootKeys.stores, stores.map { .named($0.name, effective($0)) })) }
    if !traffic.isEmpty {
      all.append(.map(RootKeys.traffic, traffic.map { .named($0.name, effective($0)) }))
    }
    if !scenarios.isEmpty {
      all.append(.map(RootKeys.scenarios, scenarios.map { .named($0.name, effective($0)) }))
    }
    if !acceptances.isEmpty {
      all.append(Effective(key: RootKeys.accept.name, content: .list(acceptances.map(effective))))
    }
    return all
  }

  private func effective(_ requirements: Requirements) -> [Effective] {
    var all: [Effective] = []
    all += .leaf(RequirementKeys.availability, requirements.availability)
    if !requirements.latency.isEmpty {
      let bounds = requirements.latency.compactMap { bound in
        LatencyKeys.quantiles.first { $0.key.name == bound.label }.map { Effective.leaf($0.key, bound.bound) }
      }
      all.append(.map(RequirementKeys.latency, bounds))
    }
    all += .leaf(RequirementKeys.load, requirements.load)
    return all
  }

  // MARK: Gateway

  private func effective(_ gateway: Gateway) -> [Effective] {
    var all: [Effective] = [
      Effective(
        key: GatewayKeys.listen.name,
        content: .list(
          gateway.listeners.map {
            Effective(key: "", content: .map([.leaf(ListenKeys.port, $0.port), .leaf(ListenKeys.host, $0.host)]))
          })),
      .list(GatewayKeys.trustForwardedFrom, gateway.trustForwardedFrom.map { ($0.value, $0.origin) }),
      .map(
        GatewayKeys.flood,
        [
          .leafOrNone(FloodKeys.connections, gateway.flood.connections),
          .leafOrNone(FloodKeys.limit, gateway.flood.limit),
        ]),
      .leaf(GatewayKeys.body, gateway.body),
    ]
    all.append(.map(GatewayKeys.routes, gateway.routes.map { .named($0.name, effective($0)) }))
    all += gateway.calls.map { call in
      Effective(
        key: "how it calls \(name(of: call.to.value).text)", content: .remark(effective(call)))
    }
    return all
  }

  private func effective(_ route: Route) -> [Effective] {
    var all: [Effective] = [.leaf(RouteKeys.path, route.path)]
    if let methods = route.methods {
      all.append(
        Effective(
          key: RouteKeys.methods.name, content: .value("[\(methods.value.joined(separator: ", "))]"),
          origin: methods.origin))
    }
    all += .leaf(RouteKeys.host, route.host)
    all.append(
      Effective(
        key: RouteKeys.to.name, content: .value(services[route.to.value].name.text), origin: route.to.origin))
    if let limit = route.limit {
      all.append(
        .map(
          RouteKeys.limit,
          [.leaf(LimitKeys.rate, limit.rate), .leaf(LimitKeys.burst, limit.burst), .leaf(LimitKeys.by, limit.by)]))
    }
    all += .leaf(RouteKeys.timeout, route.timeout)
    return all
  }

  // MARK: Services

  private func effective(_ service: Service) -> [Effective] {
    var all: [Effective] = []
    all += .leaf(ServiceKeys.owner, service.owner)
    switch service.kind {
    case .program(let program): all.append(.map(ServiceKeys.run, effective(program)))
    case .addresses(let addresses):
      all.append(.list(ServiceKeys.at, addresses.map { (yamlScalar($0.value.raw), $0.origin) }))
    case .modelled: break
    }
    if case .addresses = service.kind {} else { all.append(.leaf(ServiceKeys.instances, service.instances)) }
    if let health = service.health {
      var keys: [Effective] = []
      keys += .leaf(HealthKeys.ready, health.ready)
      keys += .leaf(HealthKeys.live, health.live)
      keys += [
        .leaf(HealthKeys.startWithin, health.startWithin), .leaf(HealthKeys.every, health.every),
        .leaf(HealthKeys.timeout, health.timeout),
      ]
      all.append(.map(ServiceKeys.health, keys))
    }
    all += [
      .leaf(ServiceKeys.balance, service.balance), .leafOrNone(ServiceKeys.atOnce, service.atOnce),
      .map(
        ServiceKeys.queue,
        [.leaf(QueueKeys.length, service.queue.length), .leaf(QueueKeys.wait, service.queue.wait)]),
    ]
    if let surge = service.surge { all.append(.map(ServiceKeys.deploy, [.leaf(DeployKeys.surge, surge)])) }
    if !service.calls.isEmpty {
      all.append(
        .map(
          ServiceKeys.calls,
          service.calls.map { call in
            Effective(key: name(of: call.to.value).text, content: .map(effective(call)), origin: call.to.origin)
          }))
    }
    if !service.operations.isEmpty {
      all.append(
        .map(
          ServiceKeys.operations,
          service.operations.map { operation in
            Effective(
              key: "\(operation.method) \(operation.path)",
              content: .map(effective(operation, of: service)), origin: .written(operation.place), isModelOnly: true)
          }))
    }
    if let work = service.work { all.append(.map(ServiceKeys.work, effective(work))) }
    all += .leaf(ServiceKeys.availability, service.availability)
    all.append(.leaf(ServiceKeys.cancels, service.cancels))
    return all
  }

  private func effective(_ program: Program) -> [Effective] {
    var all: [Effective] = [.leaf(RunKeys.command, program.command)]
    if !program.environment.isEmpty {
      all.append(
        .map(
          RunKeys.env,
          program.environment.map {
            Effective(key: $0.name, content: .value(yamlScalar($0.value.value.raw)), origin: $0.value.origin)
          }))
    }
    if !program.after.isEmpty {
      all.append(.list(RunKeys.after, program.after.map { (name(of: $0.value).text, $0.origin) }))
    }
    all.append(.leaf(RunKeys.directory, program.directory))
    return all
  }

  private func effective(_ call: Call) -> [Effective] {
    var all: [Effective] = [
      .leaf(CallKeys.timeout, call.timeout), .leaf(CallKeys.attempt, call.attempt),
      .leaf(CallKeys.connect, call.connect),
      .map(
        CallKeys.retry,
        [
          .leaf(RetryKeys.attempts, call.retry.attempts),
          .map(
            RetryKeys.backoff,
            [
              .leaf(BackoffKeys.first, call.retry.first), .leaf(BackoffKeys.max, call.retry.max),
              .leaf(BackoffKeys.jitter, call.retry.jitter),
            ]), .leaf(RetryKeys.budget, call.retry.budget),
        ]),
    ]
    if let breaker = call.breaker {
      all.append(
        .map(
          CallKeys.breaker,
          [
            .leaf(BreakerKeys.failures, breaker.failures), .leaf(BreakerKeys.ofAtLeast, breaker.ofAtLeast),
            .leaf(BreakerKeys.within, breaker.within), .leaf(BreakerKeys.rest, breaker.rest),
            .leaf(BreakerKeys.inARow, breaker.inARow), .leaf(BreakerKeys.slow, breaker.slow),
          ]))
    } else {
      var none = Effective(key: CallKeys.breaker.name, content: .value("none"))
      if case .store = call.to.value {
        none.origin = .defaulted(rule: "breaker of a store (the program's own business)")
      }
      all.append(none)
    }
    all.append(.leafOrNone(CallKeys.atOnce, call.atOnce))
    all += .leaf(CallKeys.connections, call.connections)
    all.append(.leaf(CallKeys.optional, call.optional))
    if let fallback = call.fallback {
      let value =
        switch fallback.value {
        case .omit: "omit"
        case .answer(let body): "{ \(FallbackKeys.answer.name): \(JSONValue.quoted(body)) }"
        }
      all.append(Effective(key: CallKeys.fallback.name, content: .value(value), origin: fallback.origin))
    }
    return all
  }

  private func effective(_ operation: Operation, of service: Service) -> [Effective] {
    var all: [Effective] = [
      Effective(
        key: OperationKeys.does.name,
        content: .list(
          operation.does.map { step in
            Effective(key: "", content: .value(text(step, of: service)), origin: origin(step), isModelOnly: true)
          }))
    ]
    if let work = operation.work { all.append(.map(OperationKeys.work, effective(work))) }
    return all
  }

  private func origin(_ step: Step) -> Origin? {
    switch step {
    case .call(let call): call.call.origin
    case .together(let steps): steps.first.flatMap(origin)
    }
  }

  private func text(_ step: Step, of service: Service) -> String {
    switch step {
    case .together(let steps): return "[ \(steps.map { text($0, of: service) }.joined(separator: ", ")) ]"
    case .call(let call):
      let callee = service.calls[call.call.value].to.value
      var target = name(of: callee).text
      if let operation = call.operation, case .service(let index) = callee {
        let called = services[index].operations[operation]
        target = "\(called.method) \(target)\(called.path)"
      }
      var text = "{ do: \(target), share: \(ScalarType<Double>.share().write(call.share.value))"
      if let optional = call.optional { text += ", optional: \(optional.value)" }
      return text + " }"
    }
  }

  private func effective(_ work: Work) -> [Effective] {
    var all: [Effective] = work.points.compactMap { point in
      WorkKeys.points.first { $0.key.name == point.label }.map { .leaf($0.key, point.value) }
    }
    all.append(.leaf(WorkKeys.shape, work.shape))
    all += .leaf(WorkKeys.start, work.start)
    return all
  }

  // MARK: Stores, traffic, scenarios

  private func effective(_ store: Store) -> [Effective] {
    var all: [Effective] = []
    all += .leaf(StoreKeys.owner, store.owner)
    all.append(.leaf(StoreKeys.engine, store.engine))
    all += .leaf(StoreKeys.path, store.path)
    if !store.at.isEmpty { all.append(.list(StoreKeys.at, store.at.map { (yamlScalar($0.value.raw), $0.origin) })) }
    all += .leaf(StoreKeys.maxConnections, store.maxConnections)
    if let pool = store.pool { all.append(.map(StoreKeys.pool, [.leaf(PoolKeys.size, pool)])) }
    var work: [Effective] = []
    if let write = store.write, let read = store.work {
      work = [.map(WorkKeys.read, effective(read)), .map(WorkKeys.write, effective(write))]
    } else if let write = store.write {
      work = [.map(WorkKeys.write, effective(write))]
    } else if let whole = store.work {
      work = effective(whole)
    }
    if !work.isEmpty || store.atOnce != nil {
      work.append(.leafOrNone(WorkKeys.atOnce, store.atOnce))
      all.append(.map(StoreKeys.work, work))
    }
    return all
  }

  private func effective(_ traffic: Traffic) -> [Effective] {
    let target =
      switch traffic.to.value {
      case .gateway(let method, let path, _, _, _): Target(method: method, component: nil, path: path)
      case .component(let component, let method, let path, _):
        Target(method: method, component: name(of: component).text, path: path)
      }
    var all: [Effective] = [
      .leaf(TrafficKeys.to, traffic.to.map { _ in target }), .leaf(TrafficKeys.rate, traffic.rate),
    ]
    all += .leaf(TrafficKeys.clients, traffic.clients)
    return all
  }

  private func effective(_ scenario: Scenario) -> [Effective] {
    var all: [Effective] = [.leaf(ScenarioKeys.length, scenario.length)]
    if !scenario.traffic.isEmpty {
      all.append(
        .map(
          ScenarioKeys.traffic,
          scenario.traffic.map {
            Effective(
              key: traffic[$0.traffic].name.text, content: .value(ScalarType<Double>.times.write($0.times.value)),
              origin: $0.times.origin, isModelOnly: true)
          }))
    }
    if !scenario.faults.isEmpty {
      all.append(Effective(key: ScenarioKeys.faults.name, content: .list(scenario.faults.map(effective))))
    }
    let expect = effective(scenario.expect)
    if !expect.isEmpty { all.append(.map(ScenarioKeys.expect, expect)) }
    return all
  }

  private func effective(_ fault: Fault) -> Effective {
    var all: [Effective] = [.leaf(FaultKeys.when, fault.when)]
    func named(_ key: ScalarKey<String>, _ component: Value<Component>) -> Effective {
      .leaf(key, component.map { name(of: $0).text })
    }
    switch fault.kind {
    case .kill(let component, let count):
      all += [named(FaultKeys.kill, component), .leaf(FaultKeys.count, count)]
    case .slow(let component, let by, let share):
      all += [named(FaultKeys.slow, component), .leaf(FaultKeys.by, by), .leaf(FaultKeys.share, share)]
    case .fail(let component, let status, let share):
      all += [named(FaultKeys.fail, component), .leaf(FaultKeys.status, status), .leaf(FaultKeys.share, share)]
    }
    all += .leaf(FaultKeys.length, fault.length)
    return Effective(key: "", content: .map(all))
  }

  private func effective(_ acceptance: Acceptance) -> Effective {
    var all: [Effective] = [.leaf(AcceptKeys.rule, acceptance.rule), .leaf(AcceptKeys.place, acceptance.at)]
    all += .leaf(AcceptKeys.because, acceptance.because)
    all += .leaf(AcceptKeys.owner, acceptance.owner)
    all += .leaf(AcceptKeys.until, acceptance.until)
    return Effective(key: "", content: .map(all))
  }
}

extension Effective {
  static func leaf<T>(_ key: ScalarKey<T>, _ value: Value<T>) -> Effective {
    Effective(
      key: key.name, content: .value(key.type.write(value.value)), origin: value.origin,
      isModelOnly: key.key.isModelOnly)
  }

  static func leafOrNone<T>(_ key: ScalarKey<T>, _ value: Value<T>?) -> Effective {
    guard let value else {
      // Without a value of its own `none` is the default; with one somebody has switched it off.
      let rule = key.standard == nil ? key.key.standard?.rule : nil
      return Effective(
        key: key.name, content: .value("none"), origin: rule.map { .defaulted(rule: $0) },
        isModelOnly: key.key.isModelOnly)
    }
    return leaf(key, value)
  }

  static func map(_ key: Key, _ children: [Effective]) -> Effective {
    Effective(key: key.name, content: .map(children), isModelOnly: key.isModelOnly)
  }

  static func named(_ name: Name, _ children: [Effective]) -> Effective {
    Effective(key: name.text, content: .map(children), origin: .written(name.place))
  }

  static func list(_ key: Key, _ items: [(value: String, origin: Origin)]) -> Effective {
    Effective(
      key: key.name,
      content: .list(items.map { Effective(key: "", content: .value($0.value), origin: $0.origin) }))
  }
}

extension [Effective] {
  static func leaf<T>(_ key: ScalarKey<T>, _ value: Value<T>?) -> [Effective] {
    value.map { [Effective.leaf(key, $0)] } ?? []
  }
}
