// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

extension Resolver {
  mutating func traffic(_ entry: Entry, gateways: [Gateway]) -> Traffic? {
    let fields = Fields(entry.node, TrafficKeys.section)
    guard let target = fields.value(TrafficKeys.to), let rate = fields.value(TrafficKeys.rate),
      let to = destination(target, gateways)
    else { return nil }
    return Traffic(
      name: entry.name, to: target.map { _ in to }, rate: rate, clients: fields.value(TrafficKeys.clients))
  }

  private mutating func destination(_ target: Value<Target>, _ gateways: [Gateway]) -> Destination? {
    if let name = target.value.component {
      guard let component = component(target.map { _ in name }) else { return nil }
      if target.value.method == tcpMethod, !isLedTo(component, target, gateways) { return nil }
      return .component(
        component, method: target.value.method, path: target.value.path, operation: operation(target, of: component))
    }
    guard let method = target.value.method, let path = target.value.path else { return nil }
    guard let gateway = gateways.first else {
      if single(RootKeys.gateway, alsoReported: true) == nil {
        mistake(
          "unknown-target", "'\(target.value.text)' goes through the gateway, and this file has none", at: target,
          mend: "name a component: \(services.first?.name.text ?? "api")")
      }
      return nil
    }
    guard let route = self.route(of: path, method, gateway) else {
      // A route with a mistake may be the one that was meant.
      let written = single(RootKeys.gateway, alsoReported: true)?.entry("routes")?.value.entries ?? []
      if written.allSatisfy({ !$0.value.isReported && $0.value.entries.allSatisfy { !$0.value.isReported } }),
        written.count == gateway.routes.count
      {
        mistake("unknown-target", "no route of the gateway takes \(method) \(path)", at: target)
      }
      return nil
    }
    let written = single(RootKeys.gateway, alsoReported: true)?.entry("routes")?.value.entries ?? []
    let isWhole = written.first { $0.key == gateway.routes[route].name.text }?.value.entries
      .allSatisfy { !$0.value.isReported }
    // A route that also wants something of a later version, as `rewrite`, may lead to another operation.
    guard isWhole == true else { return nil }
    return .gateway(
      method: method, path: path, gateway: 0, route: route,
      operations: gateway.routes[route].services.map { operation(target, method: method, path: path, of: $0) },
      mirror: gateway.routes[route].target.mirror.flatMap {
        operation(target, method: method, path: path, of: $0.to.value)
      })
  }

  /// Whether a TCP listener leads to what connections are said to come for.
  private mutating func isLedTo(_ component: Component, _ target: Value<Target>, _ gateways: [Gateway]) -> Bool {
    let listeners = gateways.flatMap(\.listeners)
    if listeners.contains(where: { $0.route.targets.contains { $0.value == component } }) { return true }
    // A gateway with a mistake may have one that does.
    if gateways.isEmpty, single(RootKeys.gateway, alsoReported: true) != nil { return false }
    let name = target.value.component ?? ""
    mistake(
      "unknown-target", "no TCP listener leads to '\(name)'", at: target,
      mend: "gateway: { listen: [ { port: 5433, protocol: tcp, to: \(name) } ] }")
    return false
  }

  private func route(of path: String, _ method: String, _ gateway: Gateway) -> Int? {
    var builder = RouteTrie.Builder()
    for (index, route) in gateway.routes.enumerated() {
      // The patterns were checked when they were read.
      // Traffic says nothing of headers: it takes the routes that ask for none.
      guard route.match.isEmpty, let pattern = try? pattern(of: route) else { continue }
      builder.add(pattern, route: index)
    }
    return (try? builder.build().candidates(path: path, methods: methodBits([method])))?.first
  }

  // MARK: Scenarios

  mutating func scenario(_ entry: Entry, requirements: Requirements?) -> Scenario {
    let fields = Fields(entry.node, ScenarioKeys.section)
    let length = fields.value(ScenarioKeys.length) ?? Value(.zero, .derived(from: "a mistake"))
    var multipliers: [Scenario.Multiplier] = []
    for item in fields.node(ScenarioKeys.traffic.name)?.entries ?? [] {
      let crowd = Fields(item.value, CrowdKeys.section)
      guard !item.value.isReported, let times = crowd.value(CrowdKeys.times) else { continue }
      guard let index = traffic.firstIndex(where: { $0.name.text == item.key }) else {
        let place = Place(file: item.value.place.file, path: item.value.place.path, value: item.keySpot)
        unknownTarget(Value(item.key, .written(place)), "traffic", among: traffic.map(\.name.text))
        continue
      }
      let when = Layers([crowd]).valueOrInitial(CrowdKeys.when)
      if length.isWritten, when.value >= length.value { afterTheEnd(when, length) }
      multipliers.append(
        Scenario.Multiplier(traffic: index, times: times, when: when, length: crowd.value(CrowdKeys.length)))
    }
    var faults: [Fault] = []
    for item in fields.node(ScenarioKeys.faults.name)?.items ?? [] where !item.isReported {
      if let fault = fault(Fields(item, FaultKeys.section), length: length) { faults.append(fault) }
    }
    var expect = Requirements(place: nil, availability: nil, latency: [], load: nil)
    if let written = fields.section(ScenarioKeys.expect, RequirementKeys.expectSection) {
      expect = self.requirements(written)
    } else if let requirements {
      let origin = Origin.derived(from: "requirements")
      expect.availability = requirements.availability.map { Value($0.value, origin) }
      expect.latency = requirements.latency.map {
        LatencyBound(quantile: $0.quantile, label: $0.label, bound: Value($0.bound.value, origin))
      }
    }
    return Scenario(
      name: entry.name, length: length, clock: Layers([fields]).valueOrInitial(ScenarioKeys.clock),
      traffic: multipliers, faults: faults, expect: expect)
  }

  private mutating func afterTheEnd(_ when: Value<Duration>, _ length: Value<Duration>) {
    mistake(
      "wrong-value", "this begins after the scenario has ended", at: when,
      related: length.place.map { [.init($0, "it is played for so long")] } ?? [])
  }

  private mutating func fault(_ fields: Fields, length: Value<Duration>) -> Fault? {
    let node = fields.node
    guard let when = fields.value(FaultKeys.when) else { return nil }
    // A fault of a later version was reported as such.
    if node.entries.contains(where: { $0.value.isReported }) { return nil }
    if length.isWritten, when.value >= length.value { afterTheEnd(when, length) }
    let kinds = [FaultKeys.kill, FaultKeys.slow, FaultKeys.fail, FaultKeys.delay, FaultKeys.double].map(\.name)
      .filter { node.entry($0) != nil }
    guard kinds.count == 1, let kind = kinds.first else {
      mistake(
        "missing-key", kinds.isEmpty ? "this fault does not say what goes wrong" : "this fault says two things at once",
        at: node.place, mend: kinds.isEmpty ? "kill: api, or slow: api, or fail: api" : "make two items of it")
      return nil
    }
    refuseStrangers(fields, kind)
    guard let made = faultKind(fields) else { return nil }
    return Fault(place: node.place, when: when, kind: made, length: fields.value(FaultKeys.length))
  }

  /// Keys that belong to another kind of fault.
  private mutating func refuseStrangers(_ fields: Fields, _ kind: String) {
    let homes = [
      (FaultKeys.count.name, ["kill", "delay", "double"]), (FaultKeys.by.name, ["slow", "delay", "double"]),
      (FaultKeys.share.name, ["slow", "fail", "delay", "double"]), (FaultKeys.status.name, ["fail"]),
      (FaultKeys.from.name, ["delay", "double"]),
    ]
    for (name, kinds) in homes where !kinds.contains(kind) {
      guard let node = fields.node(name) else { continue }
      let homes = kinds.map { "'\($0)'" }
      let all =
        homes.count < 3
        ? homes.joined(separator: " and ") : homes.dropLast().joined(separator: ", ") + " and " + homes[homes.count - 1]
      mistake(
        "wrong-value", "'\(name)' belongs to \(all), not to '\(kind)'",
        at: node.place, mend: "leave '\(name)' out")
    }
  }

  private mutating func faultKind(_ fields: Fields) -> Fault.Kind? {
    let layers = Layers([fields])
    let share = layers.valueOrInitial(FaultKeys.share)
    if let name = fields.value(FaultKeys.kill), let index = service(name, whatFor: "kill") {
      let count = fields.value(FaultKeys.count) ?? Value(1, .defaulted(rule: "fault.count (one of them)"))
      let instances = resolvedServices[index].instances
      if count.value > instances.value {
        mistake(
          "wrong-value", "'\(name.value)' has \(instances.value) instances; \(count.value) cannot be killed", at: count,
          mend: "count: \(instances.value)", related: instances.place.map { [.init($0, "its instances")] } ?? [])
      }
      return .kill(name.map { _ in .service(index) }, count: count)
    }
    if let name = fields.value(FaultKeys.slow), let component = component(name) {
      guard let by = fields.value(FaultKeys.by) else {
        mistake(
          "missing-key", "this fault does not say by how much '\(name.value)' is slower", at: fields.node.place,
          mend: "by: 2s")
        return nil
      }
      return .slow(name.map { _ in component }, by: by, share: share)
    }
    if let name = fields.value(FaultKeys.fail), let component = poisoned(name) ?? component(name) {
      return .fail(
        name.map { _ in component },
        status: layers.valueOrInitial(FaultKeys.status), share: share)
    }
    if let (messages, by) = messages(fields, FaultKeys.delay) { return .delay(messages, by: by) }
    if let (messages, by) = messages(fields, FaultKeys.double) { return .double(messages, by: by) }
    return nil
  }
}
