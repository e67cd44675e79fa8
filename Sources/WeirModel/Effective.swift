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
  /// A secret: whoever prints it has masked it.
  package var isHidden = false
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
      all.append(.map(RootKeys.services, services.map { .named($0.name, ServiceKeys.part.explain($0, self)) }))
    }
    if let tenants { all.append(.map(RootKeys.tenants, TenantKeys.part.explain(tenants, self))) }
    if !stores.isEmpty { all.append(.map(RootKeys.stores, stores.map { .named($0.name, effective($0)) })) }
    all += effectiveMessaging
    if let state { all.append(.map(RootKeys.state, StateKeys.part.explain(state, self))) }
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
    all += .leaf(RequirementKeys.lostMessages, requirements.lostMessages)
    all += .leaf(RequirementKeys.outOfOrder, requirements.outOfOrder)
    all += .leaf(RequirementKeys.doneTwice, requirements.doneTwice)
    all += .leaf(RequirementKeys.halfDone, requirements.halfDone)
    all += .leaf(RequirementKeys.lag, requirements.lag)
    all += .leaf(RequirementKeys.drain, requirements.drain)
    return all
  }

  // MARK: Gateway, services

  private func effective(_ gateway: Gateway) -> [Effective] {
    GatewayKeys.part.explain(gateway, self)
      + gateway.calls.map { call in
        Effective(
          key: "how it calls \(Plan.calleeName(name(of: call.to.value).text, call.subset))",
          content: .remark(CallKeys.part.explain(call, self)))
      }
  }

  func effective(_ operations: [Operation], of service: Service) -> [Effective] {
    let lines = operations.map { operation in
      Effective(
        key: "\(operation.method) \(operation.path)", content: .map(effective(operation, of: service)),
        origin: .written(operation.place), isModelOnly: true)
    }
    return lines.isEmpty ? [] : [.map(ServiceKeys.operations, lines)]
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
    all.append(.leaf(OperationKeys.idempotent, operation.idempotent))
    if let work = operation.work { all.append(.map(OperationKeys.work, effective(work))) }
    return all
  }

  private func origin(_ step: Step) -> Origin? {
    switch step {
    case .call(let call): call.call.origin
    case .send(let send): send.send.origin
    case .together(let steps): steps.first.flatMap(origin)
    }
  }

  private func text(_ step: Step, of service: Service) -> String {
    switch step {
    case .together(let steps): return "[ \(steps.map { text($0, of: service) }.joined(separator: ", ")) ]"
    case .send(let send):
      let target = name(of: service.sends[send.send.value].value).text
      return "{ do: \(target), share: \(ScalarType<Double>.share().write(send.share.value)) }"
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

  func effective(_ work: Work) -> [Effective] {
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
    all += .leaf(StoreKeys.connection, store.connection)
    all += .leaf(StoreKeys.outbox, store.outbox)
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
      case .gateway(let method, let path, _, _, _, _): Target(method: method, component: nil, path: path)
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
    var all: [Effective] = [.leaf(ScenarioKeys.length, scenario.length), .leaf(ScenarioKeys.clock, scenario.clock)]
    if !scenario.traffic.isEmpty {
      all.append(
        .map(
          ScenarioKeys.traffic,
          scenario.traffic.map {
            let name = traffic[$0.traffic].name
            if !$0.when.isWritten, $0.length == nil {
              return Effective(
                key: name.text, content: .value(CrowdKeys.times.type.write($0.times.value)), origin: $0.times.origin,
                isModelOnly: true)
            }
            return .named(
              name,
              [.leaf(CrowdKeys.times, $0.times), .leaf(CrowdKeys.when, $0.when)] + .leaf(CrowdKeys.length, $0.length))
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
    case .delay(let messages, let by): all += [named(FaultKeys.delay, messages.to)] + effective(messages, by)
    case .double(let messages, let by): all += [named(FaultKeys.double, messages.to)] + effective(messages, by)
    }
    all += .leaf(FaultKeys.length, fault.length)
    return Effective(key: "", content: .map(all))
  }

  private func effective(_ messages: Fault.Messages, _ by: Value<Duration>) -> [Effective] {
    var all: [Effective] = [.leaf(FaultKeys.by, by), .leaf(FaultKeys.share, messages.share)]
    all += .leaf(FaultKeys.count, messages.count)
    all += .leaf(FaultKeys.from, messages.from?.map { services[$0].name.text })
    return all
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
