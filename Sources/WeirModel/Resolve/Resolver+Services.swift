// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

extension Resolver {
  mutating func service(_ index: Int, owner: Value<String>?) -> Service {
    let entry = services[index]
    let below = defaults.map { $0.section(DefaultsKeys.service, DefaultsKeys.serviceSection) }
    let layers = Layers([Fields(entry.node, ServiceKeys.section)] + below, name: entry.name)
    var service = ServiceKeys.part.read(layers, &self) ?? Service(name: entry.name)
    service.owner = self.owner(service.owner, of: owner)
    checkSendProxy(of: service)
    checkLiveness(of: service)
    if let availability = service.availability, service.isStarted {
      mistake(
        "wrong-value", "'availability' is for what runs elsewhere; that of a program follows from its failures",
        at: availability, mend: "leave it out, or say 'at' in the place of 'run'")
    }
    return service
  }

  /// What Weir does not start it cannot start again; what stands under `defaults` is meant for the others.
  private mutating func checkLiveness(of service: Service) {
    guard case .addresses = service.kind, let live = service.health?.live, let place = live.place,
      place.file == service.name.place.file, place.path.hasPrefix(service.name.path + ".")
    else { return }
    mistake(
      "conflict", "'live' says when a program is started again, and '\(service.name.text)' runs elsewhere", at: live,
      mend: "leave 'live' out")
  }

  mutating func kind(_ layers: Layers, of service: inout Service) {
    guard let fields = layers.fields.first else { return }
    let run = fields.section(ServiceKeys.run, RunKeys.section)
    let at = fields.node(ServiceKeys.at.name)
    if let run, let at {
      mistake(
        "wrong-value", "'\(service.name.text)' has both 'run' and 'at'", at: at.place, spot: at.place.head,
        why: "what Weir starts has 'run'; what runs elsewhere has 'at'", mend: "keep one of the two",
        related: [.init(run.node.place, "'run' stands here")])
    }
    if let run, let program = RunKeys.part.read(Layers([run]), &self) {
      service.kind = .program(program)
    } else if let at {
      let items = if case .list(let items) = at.kind { items } else { [at] }
      service.listed = items.filter { !$0.isReported }.compactMap {
        InstanceKeys.part.read(Layers([Fields($0, InstanceKeys.section)]), &self)
      }
      if service.listed.count > 1, let other = service.listed.first(where: { $0.discovery != nil })?.discovery {
        mistake("conflict", "a name that is asked again and again stands alone in 'at'", at: other.name)
      }
      service.kind = .addresses(service.listed.map(\.address))
    }
  }

  mutating func instances(_ layers: Layers, of service: inout Service) {
    guard case .addresses(let addresses) = service.kind else {
      service.instances = layers.valueOrInitial(ServiceKeys.instances)
      return
    }
    if service.discovery != nil {
      // How many there are is known in a run only; a forecast has to be told.
      service.instances =
        layers.fields.first?.value(ServiceKeys.instances) ?? Value(1, .derived(from: "a name, which says how many"))
      return
    }
    if let written = layers.fields.first?.value(ServiceKeys.instances) {
      mistake(
        "wrong-value", "a service that runs elsewhere has as many instances as addresses", at: written,
        mend: "leave 'instances' out")
    }
    service.instances = Value(max(1, addresses.count), .derived(from: "the number of addresses"))
  }

  mutating func calls(_ layers: Layers, of service: inout Service) {
    for entry in layers.node(ServiceKeys.calls)?.entries ?? [] {
      if let call = call(entry, from: service.name) { service.calls.append(call) }
    }
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
              share: StepKeys.share.initial, optional: nil))
        }
        steps += resolvedServices[index].sends.indices.map { send in
          .send(SendStep(send: Value(send, .derived(from: "sends")), share: StepKeys.share.initial))
        }
      }
      let idempotent =
        operation.value(OperationKeys.idempotent)
        ?? Value(OperationKeys.isIdempotent(String(parts[0])), .derived(from: "the method"))
      found.append(
        Operation(
          place: entry.value.place, method: String(parts[0]), path: String(parts[1]), does: steps,
          idempotent: idempotent,
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
    if let sent = send(fields, target, name, of: service) { return sent }
    let calls = resolvedServices[service].calls
    guard let index = calls.firstIndex(where: { componentName($0.to.value) == name }) else {
      // A call of a later version was left out silently; whoever does not exist at all was reported under `calls`.
      let written = Fields(services[service].node, ServiceKeys.section).node(ServiceKeys.calls.name)
      if isSink(name) {
        mistake(
          "unknown-target", "'\(services[service].name.text)' does not send to '\(name)'", at: target,
          why: "'does' says which of 'sends' are sent, and in which order", mend: "sends: [\(name)]")
      } else if written?.entry(name) == nil, !isLater(name) {
        let names =
          calls.map { componentName($0.to.value) } + resolvedServices[service].sends.map { componentName($0.value) }
        var message = "'\(services[service].name.text)' does not call '\(name)'"
        let meant = Nearest.to(name, among: names)
        if let meant { message += ": did you mean '\(meant)'?" }
        mistake(
          "unknown-target", message, at: target, why: "'does' says which of 'calls' are made, and in which order",
          mend: meant ?? "calls: { \(name): {} }")
      }
      return nil
    }
    let share = Layers([fields]).valueOrInitial(StepKeys.share)
    return .call(
      CallStep(
        call: target.map { _ in index }, operation: operation(target, of: calls[index].to.value), share: share,
        optional: fields.value(StepKeys.optional)))
  }

  /// A step that sends a message; nil if the name is of nothing that is sent to.
  private mutating func send(_ fields: Fields, _ target: Value<Target>, _ name: String, of service: Int) -> Step? {
    let sends = resolvedServices[service].sends
    guard let index = sends.firstIndex(where: { componentName($0.value) == name }) else { return nil }
    if target.value.method != nil || target.value.path != nil {
      mistake("wrong-value", "'\(name)' is sent to: it has no operations", at: target, mend: "do: \(name)")
    }
    if let optional = fields.value(StepKeys.optional) {
      mistake(
        "wrong-value", "a message is sent or refused at once: 'optional' is for calls", at: optional,
        mend: "leave 'optional' out")
    }
    return .send(
      SendStep(send: target.map { _ in index }, share: Layers([fields]).valueOrInitial(StepKeys.share)))
  }

  func componentName(_ component: Component) -> String {
    switch component {
    case .service(let index): services[index].name.text
    case .store(let index): stores[index].name.text
    case .queue(let index): queues[index].name.text
    case .topic(let index): topics[index].name.text
    case .stream(let index): streams[index].name.text
    case .saga(let index): sagas[index].name.text
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
