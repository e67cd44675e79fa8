// SPDX-License-Identifier: Apache-2.0
internal import WeirFlows
internal import WeirPatterns

/// A program that answers requests: started by Weir (`run`), running elsewhere (`at`), or only modelled (neither).
package struct Service: Sendable, Equatable {
  package var name: Name
  package var owner: Value<String>?
  package var kind = Kind.modelled
  /// The instances of `at`, as they are written.
  package var listed: [Instance] = []
  /// At least 1.
  ///
  /// For `at:` the number of addresses.
  package var instances = ServiceKeys.instances.initial
  /// Nil for plain connections.
  package var tls: UpstreamTLS?
  package var health: Health?
  package var balancing = Balancing()
  /// Nil: each request goes where it is best.
  package var sticky: Sticky?
  /// Requests that Weir sends to one instance at the same time; nil for no limit.
  package var atOnce: Value<Int>?
  /// `at-once: adaptive`: how many is found out; where that is written.
  package var adaptive: Value<Bool>?
  /// Requests that one instance really works on at the same time: what simulation needs to know beside `work`.
  package var worksAtOnce: Value<Int>?
  package var queue = Queue()
  package var deploy = Deploy()
  package var calls: [Call] = []
  /// Queues that its programs put messages into.
  package var sends: [Value<Component>] = []
  /// Empty: any request makes every call, in order, once.
  package var operations: [Operation] = []
  package var work: Work?
  /// The share of time that something outside our hands is up: `at:` services, simulated.
  package var availability: Value<Double>?
  /// It stops working when its caller has given up.
  package var cancels = ServiceKeys.cancels.initial
  package var speaks = SpeaksKeys.speaks.initial
  /// Its instances are told who a connection is from.
  package var sendProxy: Value<ProxyHeaderVersion>?

  package enum Kind: Sendable, Equatable {
    case program(Program)
    /// `host:port` of each instance.
    case addresses([Value<Text>])
    /// Known by its `work` only: `simulate` and `check` take it, `run` refuses it.
    case modelled
  }

  /// Whether Weir starts its instances.
  package var isStarted: Bool {
    if case .program = kind { true } else { false }
  }
}

/// One entry of `services:`.
enum ServiceKeys {
  static let owner = ScalarKey(
    "owner", .text("a team or person", example: "team-orders"), rule: "the system's owner", "Who answers for it.")
  static let run = Key(
    "run", .section(RunKeys.section), "The program that Weir starts, once for each instance.",
    alias: ["command", "cmd", "exec", "start"])
  static let at = Key(
    "at", Shape.list(.section(InstanceKeys.section), least: 1).or(.section(InstanceKeys.section)),
    "Addresses of instances that run elsewhere.", alias: ["url", "urls", "address", "host", "endpoints"])
  static let tls = Key("tls", .section(UpstreamTLSKeys.section), "How connections to its instances are secured.")
  static let instances = ScalarKey(
    "instances", .count(1...1000), default: 1, rule: "service.instances (a finding where it matters)",
    "How many of them run.", alias: ["replicas", "scale-to", "count"],
    shape: Shape.scalar(ScalarType<Int>.count(1...1000)).orLater(map: true))
  static let health = Key(
    "health", .section(HealthKeys.section), "How Weir learns whether an instance can be used.",
    alias: ["healthcheck", "health-check", "readiness"])
  static let atOnce = ScalarKey(
    "at-once", .count(1...1_000_000), default: AtOnce.Settings().limit, rule: "service.at-once",
    "Requests that one instance works on at the same time; the rest waits in Weir. `adaptive`: it is found out.",
    alone: ["none", "adaptive"],
    alias: ["concurrency", "workers", "max-concurrency"])
  static let queue = Key(
    "queue", .section(QueueKeys.section), "Who waits when every instance works on `at-once` requests.")
  static let calls = Key(
    "calls", .named(.components("a service or store"), .section(CallKeys.section)),
    "What it calls, and how.", alias: ["depends-on", "dependencies", "uses"])
  static let operations = Key(
    "operations", .named(.operations, .section(OperationKeys.section)),
    "What requests of one kind do; without it any request makes every call, in order, once.", modelOnly: true)
  static let work = Key(
    "work", .section(WorkKeys.section), "Its own time for a request, without its calls.", modelOnly: true)
  static let availability = ScalarKey(
    "availability", .share(zero: false), rule: "always there", "The share of time that what runs elsewhere is up.",
    modelOnly: true)
  static let cancels = ScalarKey(
    "cancels", .bool, default: CallSettings().cancels,
    rule: "service.cancels (programs work on after their caller has gone)",
    "Whether it stops working on a request whose caller has given up.", modelOnly: true)
  static let deploy = Key(
    "deploy", .section(DeployKeys.section), "How a new version is brought out.")

  static let part = Part<Service>(
    "service", "A program that answers requests.",
    start: { layers, _ in layers.name.map { Service(name: $0) } },
    [
      .optional(owner, \.owner),
      .custom(
        run, read: { layers, resolver, service in resolver.kind(layers, of: &service) },
        explain: { service, design in
          guard case .program(let program) = service.kind else { return [] }
          return [.map(run, RunKeys.part.explain(program, design))]
        }),
      .custom(
        at,
        explain: { service, design in service.explainAddresses(design) }),
      .custom(
        instances.key, read: { layers, resolver, service in resolver.instances(layers, of: &service) },
        explain: { service, _ in
          if case .addresses = service.kind, service.discovery == nil { return [] }
          return [.leaf(instances, service.instances)]
        }
      ).inDefaults,
      UpstreamTLSKeys.field,
      .value(SpeaksKeys.speaks, \.speaks).inDefaults,
      .optional(SendProxyKeys.sendProxy, \.sendProxy),
      .optionalPart(health, \.health, HealthKeys.part).inDefaults,
      BalanceKeys.field.inDefaults,
      StickyKeys.field.inDefaults,
      .custom(
        atOnce.key,
        read: { layers, resolver, service in
          for layer in layers.fields {
            if let place = layer.says("adaptive", atOnce.key) {
              service.adaptive = Value(true, .written(place))
              return
            }
            if layer.node(atOnce.name) != nil { break }
          }
          service.atOnce = layers.valueOrNone(atOnce)
          service.atOnce.map { resolver.note($0) }
        },
        explain: { service, _ in
          if let adaptive = service.adaptive {
            return [Effective(key: atOnce.name, content: .value("adaptive"), origin: adaptive.origin)]
          }
          return [.leafOrNone(atOnce, service.atOnce)]
        }
      ).inDefaults,
      .part(queue, \.queue, QueueKeys.part).inDefaults,
      .part(deploy, \.deploy, DeployKeys.part).inDefaults,
      .custom(
        calls, read: { layers, resolver, service in resolver.calls(layers, of: &service) },
        explain: { service, design in service.explainCalls(design) }),
      SendsKeys.field,
      // Read when all services are known: an operation names those of others.
      .custom(operations, explain: { service, design in design.effective(service.operations, of: service) }),
      .custom(
        work,
        read: { layers, resolver, service in
          let own = layers.fields.first?.section(work, WorkKeys.section)
          service.work = own.flatMap { resolver.work($0) }
          service.worksAtOnce = own?.value(WorkKeys.worksAtOnce)
        },
        explain: { service, design in
          var lines = service.work.map { design.effective($0) } ?? []
          if let places = service.worksAtOnce { lines.append(.leaf(WorkKeys.worksAtOnce, places)) }
          return lines.isEmpty ? [] : [.map(work, lines)]
        }),
      .optional(availability, \.availability),
      .value(cancels, \.cancels).inDefaults,
      .later("runbook", "What to do when it fails."),
      .later("image", "A container image to start."),
      .later("machine", "The kind of machine an instance needs."),
      .later("scale", "When instances are added and removed."),
      .later("migrations", "Changes of the database before a deployment."),
    ])
  static let section = part.section
}

extension Service {
  fileprivate func explainCalls(_ design: Design) -> [Effective] {
    let lines = calls.map { call in
      Effective(
        key: design.name(of: call.to.value).text, content: .map(CallKeys.part.explain(call, design)),
        origin: call.to.origin)
    }
    return lines.isEmpty ? [] : [.map(ServiceKeys.calls, lines)]
  }

  /// What the calls to it have of it.
  func compile(into settings: inout CallSettings) {
    balancing.compile(into: &settings.balance)
    settings.queue.length = queue.length.value
    settings.queue.wait = queue.wait.value
    settings.order = queue.order?.value.order
    settings.cancels = cancels.value
  }

  var compiled: FlowPlan.Service {
    var compiled = FlowPlan.Service(
      instances: discovery?.most.value ?? instances.value, atOnce: atOnce.map { Int32($0.value) } ?? .max,
      startsReady: health?.isAsked != true && !isStarted && discovery == nil, hasHealthCheck: health?.isAsked == true)
    if adaptive != nil { compiled.adaptive = .init() }
    compiled.members = members
    compiled.ejection.panic = balancing.panic.value
    compiled.members.isSticky = sticky != nil
    return compiled
  }
}
