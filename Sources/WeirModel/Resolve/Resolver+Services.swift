// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

extension Resolver {
  mutating func service(_ index: Int, owner: Value<String>?) -> Service {
    let entry = services[index]
    let fields = Fields(entry.node, ServiceKeys.section)
    let layers = Layers([fields] + defaults.map { $0.section(DefaultsKeys.service, DefaultsKeys.serviceSection) })
    let kind = kind(fields, entry)
    let queue = layers.section(ServiceKeys.queue, QueueKeys.section)
    let callNodes = fields.node(ServiceKeys.calls.name)?.entries ?? []
    let calls = callNodes.compactMap { call($0, from: entry.name) }
    return Service(
      name: entry.name, owner: self.owner(fields.value(ServiceKeys.owner), of: owner), kind: kind,
      instances: instances(kind, fields, layers), health: health(layers),
      balance: layers.value(ServiceKeys.balance, else: Value(.peakEWMA, .defaulted(rule: "service.balance"))),
      atOnce: layers.valueOrNone(ServiceKeys.atOnce),
      queue: Queue(
        length: queue.value(QueueKeys.length, else: Value(0, .defaulted(rule: "queue.length"))),
        wait: queue.value(QueueKeys.wait, else: Value(.zero, .defaulted(rule: "queue.wait")))),
      calls: calls, operations: [], work: fields.section(ServiceKeys.work, WorkKeys.section).flatMap { work($0) },
      availability: availability(kind, fields),
      cancels: layers.value(ServiceKeys.cancels, else: Value(false, .defaulted(rule: "service.cancels"))),
      surge: layers.section(ServiceKeys.deploy, DeployKeys.section).value(DeployKeys.surge))
  }

  private mutating func kind(_ fields: Fields, _ entry: Entry) -> Service.Kind {
    let run = fields.section(ServiceKeys.run, RunKeys.section)
    let at = fields.node(ServiceKeys.at.name)
    if let run, let at {
      mistake(
        "wrong-value", "'\(entry.name.text)' has both 'run' and 'at'", at: at.place, spot: at.place.head,
        why: "what Weir starts has 'run'; what runs elsewhere has 'at'", mend: "keep one of the two",
        related: [.init(run.node.place, "'run' stands here")])
    }
    if let run, let command = run.value(RunKeys.command) { return .program(program(run, command)) }
    if let at {
      let addresses = Fields.values(at, ScalarType<Text>.endpoint)
      texts += addresses
      return .addresses(addresses)
    }
    return .modelled
  }

  private mutating func program(_ run: Fields, _ command: Value<Text>) -> Program {
    var environment: [Program.Variable] = []
    for entry in run.node(RunKeys.env.name)?.entries ?? [] {
      guard
        let value = Fields.value(entry.value, ScalarType<Text>.reference("text", example: "info"))
      else { continue }
      environment.append(Program.Variable(name: entry.key, value: value))
      texts.append(value)
    }
    texts.append(command)
    var after: [Value<Component>] = []
    for name in Fields.values(run.node(RunKeys.after.name), ScalarType<String>.name) {
      if let component = component(name) { after.append(name.map { _ in component }) }
    }
    return Program(
      command: command, environment: environment, after: after,
      directory: Layers([run]).value(RunKeys.directory, else: Value(".", .defaulted(rule: "run.directory"))))
  }

  private mutating func instances(_ kind: Service.Kind, _ fields: Fields, _ layers: Layers) -> Value<Int> {
    if case .addresses(let addresses) = kind {
      if let written = fields.value(ServiceKeys.instances) {
        mistake(
          "wrong-value", "a service that runs elsewhere has as many instances as addresses", at: written,
          mend: "leave 'instances' out")
      }
      return Value(max(1, addresses.count), .derived(from: "the number of addresses"))
    }
    return layers.value(ServiceKeys.instances, else: Value(1, .defaulted(rule: "service.instances")))
  }

  private mutating func availability(_ kind: Service.Kind, _ fields: Fields) -> Value<Double>? {
    guard let value = fields.value(ServiceKeys.availability) else { return nil }
    if case .program = kind {
      mistake(
        "wrong-value", "'availability' is for what runs elsewhere; that of a program follows from its failures",
        at: value, mend: "leave it out, or say 'at' in the place of 'run'")
    }
    return value
  }

  private func health(_ layers: Layers) -> Health? {
    let health = layers.section(ServiceKeys.health, HealthKeys.section)
    guard let nearest = health.fields.first else { return nil }
    let ready = health.value(HealthKeys.ready)
    let live = health.value(HealthKeys.live)
    guard ready != nil || live != nil,
      let startWithin = health.valueOrDefault(HealthKeys.startWithin),
      let every = health.valueOrDefault(HealthKeys.every), let timeout = health.valueOrDefault(HealthKeys.timeout)
    else { return nil }
    return Health(
      place: nearest.node.place, ready: ready, live: live, startWithin: startWithin, every: every, timeout: timeout)
  }

  // MARK: Operations

  mutating func operations(of index: Int) -> [Operation] {
    let fields = Fields(services[index].node, ServiceKeys.section)
    var found: [Operation] = []
    for entry in fields.node(ServiceKeys.operations.name)?.entries ?? [] where !entry.value.isReported {
      let parts = entry.key.split(separator: " ")
      guard parts.count == 2 else { continue }
      let operation = Fields(entry.value, OperationKeys.section)
      var steps: [Step] = []
      if let does = operation.node(OperationKeys.does.name) {
        steps = does.items.compactMap { step($0, of: index) }
      } else {
        steps = resolvedServices[index].calls.indices.map { call in
          .call(
            CallStep(
              call: Value(call, .derived(from: "calls")), operation: nil,
              share: Value(1, .defaulted(rule: "step.share (every request)")), optional: nil))
        }
      }
      found.append(
        Operation(
          place: entry.value.place, method: String(parts[0]), path: String(parts[1]), does: steps,
          work: operation.section(OperationKeys.work, WorkKeys.section).flatMap { work($0) }))
    }
    return found
  }

  private mutating func step(_ node: Node, of service: Int) -> Step? {
    if node.isReported { return nil }
    if case .list(let items) = node.kind { return .together(items.compactMap { step($0, of: service) }) }
    let fields = Fields(node, StepKeys.section)
    guard let target = fields.value(StepKeys.do) else { return nil }
    guard let name = target.value.component else {
      mistake(
        "unknown-target", "an operation calls components, not paths of the gateway", at: target,
        mend: "name one of 'calls'")
      return nil
    }
    let calls = resolvedServices[service].calls
    guard let index = calls.firstIndex(where: { componentName($0.to.value) == name }) else {
      // A call of a later version was left out silently; whoever does not exist at all was reported under `calls`.
      let written = Fields(services[service].node, ServiceKeys.section).node(ServiceKeys.calls.name)
      if written?.entry(name) == nil {
        let names = calls.map { componentName($0.to.value) }
        var message = "'\(services[service].name.text)' does not call '\(name)'"
        let meant = Nearest.to(name, among: names)
        if let meant { message += ": did you mean '\(meant)'?" }
        mistake(
          "unknown-target", message, at: target, why: "'does' says which of 'calls' are made, and in which order",
          mend: meant ?? "calls: { \(name): {} }")
      }
      return nil
    }
    let share = Layers([fields]).value(StepKeys.share, else: Value(1, .defaulted(rule: "step.share")))
    return .call(
      CallStep(
        call: target.map { _ in index }, operation: operation(target, of: calls[index].to.value), share: share,
        optional: fields.value(StepKeys.optional)))
  }

  func componentName(_ component: Component) -> String {
    switch component {
    case .service(let index): services[index].name.text
    case .store(let index): stores[index].name.text
    }
  }

  /// The index of the operation that a target names, among those the component declares; says so if there is none.
  mutating func operation(_ target: Value<Target>, of component: Component) -> Int? {
    guard case .service(let index) = component, let path = target.value.path else { return nil }
    return operation(target, method: target.value.method ?? "GET", path: path, of: index)
  }

  mutating func operation(_ target: Value<Target>, method: String, path: String, of service: Int) -> Int? {
    let declared =
      (Fields(services[service].node, ServiceKeys.section).node(ServiceKeys.operations.name)?.entries ?? [])
      .filter { !$0.value.isReported }
    guard !declared.isEmpty else { return nil }
    var builder = RouteTrie.Builder()
    var index = 0
    for entry in declared {
      let parts = entry.key.split(separator: " ").map(String.init)
      guard parts.count == 2 else { continue }
      if let pattern = try? RoutePattern(path: parts[1], methods: methodBits([parts[0]])) {  // checked before
        builder.add(pattern, route: index)
      }
      index += 1
    }
    let trie = builder.build()
    if let found = try? trie.candidates(path: path, methods: methodBits([method])).first { return found }
    let names = declared.map(\.key)
    var message = "'\(services[service].name.text)' has operations, and none of them takes \(method) \(path)"
    if let meant = Nearest.to("\(method) \(path)", among: names) { message += ": did you mean '\(meant)'?" }
    mistake(
      "unknown-target", message, at: target, why: "what such a request does is not said",
      mend: "operations: { \(method) \(path): { does: [] } }")
    return nil
  }
}

/// The bits of methods that are known by name.
func methodBits(_ names: [String]) -> MethodBits {
  names.reduce(into: MethodBits()) { bits, name in
    let bytes = Array(name.utf8)
    bits.insert(MethodBits(name: bytes.span))
  }
}
