// SPDX-License-Identifier: Apache-2.0
package import WeirBase
package import WeirFlows
import WeirPatterns

/// A system in virtual time: the driver of exactly the flows that the proxy drives.
///
/// What a request does is decided by `LoopFlows` and `NodeFlows` of `WeirFlows`; this type only carries out their actions, as
/// the proxy does with sockets: it reserves places, takes requests to instances, lets instances work, brings answers back,
/// rings timers, and merges what the loops have learned every 100 ms. No decision of a pattern is written here.
///
///     traffic ─▶ GatewayRequest ─▶ UpstreamCall ──attempt──▶ job at an instance: queue ▸ work ▸ calls ▸ answer
///                                       ▲                                            │          │
///                                       └────────── head, ended, failed ◀────────────┴──────────┘ (UpstreamCall again)
///
/// An instance has `workers`; a request holds one from the beginning of its work to its answer, the calls it makes
/// included (a thread a request). What was abandoned by its caller is worked on to its end, unless the component cancels.
///
/// **Timers.** A place in a slab of calls has one timer, whoever the tenant: it is armed for the earliest `nextWake` it has
/// seen, and looks at its call's when it rings. So a request that ends in time costs no timer at all, and there are never
/// more timers than calls at the same time: 24 bytes a pending one, and their heap stays small enough to need no lanes.
///
/// ## Invariants
/// 1. Time never goes back; equal moments are worked off in the order they were scheduled.
/// 2. A place is given back exactly once; `held` is the number of attempts under way that took one.
/// 3. Every queue obeys Little's law exactly (``QueueGauge``).
package struct World: ~Copyable {
  package private(set) var now = Instant.zero
  var agenda: Agenda
  var timers: Agenda
  /// Nothing is played after it: deadlines of hours do not fill the agenda of a story of minutes.
  let ends: Int64
  var loops: Bank<Loop>
  var node: NodeFlows
  var limits: Bank<LimitTable>
  var components: Bank<Component>
  var operations: Bank<Operation>
  /// The calls of a stage are `items[stages[i].first ..< stages[i].first + stages[i].count]`.
  var stages: [(first: Int32, count: Int32)]
  var items: [CallItem]
  var itemOperations: [Int32]
  var sends: [SendItem] = []
  var queues = Bank<QueueState>()
  /// Topics and streams.
  let logs: [LogModel]
  /// By log, then by queue: the number of each key's last message.
  var numbers: [[UInt64: Int64]] = []
  /// Messages that are held up on their way in; the places are used again.
  var late: [(message: Envelope, to: Sink)] = []
  var freeLate: [Int] = []
  /// How many faults in force do something to messages, and how many messages each may still meet.
  var messageFaults = 0
  var faultLeft: [Int]
  let clockJobs: [JobModel]
  var sagas: [SagaState] = []
  /// Calls that sagas have ordered in this moment.
  var dueSteps: [DueStep] = []
  /// By loop, then by edge: which of them are made, and which stand in line.
  var sagaCalls: [[SagaCalls<DueStep>]] = []
  /// Those that are made again because there was no place; the places are used again.
  var laterSteps: [DueStep] = []
  var freeLaterSteps: [Int] = []
  /// The wall's milliseconds at the world's beginning.
  let clock: Int64
  /// Queues that something has happened to in this moment.
  var dueQueues = Bank<Int32>()
  /// What one turn of a queue gives out; kept for its memory.
  var takenBuffer: [(loop: Int, lease: DeliveryQueue.Leased)] = []
  var instances: Bank<InstanceState>
  /// Edges by callee.
  var callers: Bank<Int32>
  /// By route: the calls of a composed answer, and the time that a route gives them; -1 for what each of them has.
  var routeParts: [[FlowPlan.Part]]
  var routeTimeouts: [Int64]
  var routeFallbacks: [FlowPlan.Fallback]
  var edgeComponents: Bank<Int32>
  var edgeHeld: [Int32]
  var edgeLimits: [Int32]
  var jobs = Bank<Job>()
  var freeJob: Int32 = -1
  var streams: Bank<Stream>
  /// By route, where one shares its requests out.
  var splits: [FlowPlan.Split?] = []
  /// By route: what one answers with that answers by itself.
  var routeStatuses: [UInt16] = []
  /// By route: the queue that takes its requests; −1 where one is answered.
  var routeQueues: [Int] = []
  /// By stream, then by edge of its route's split: what the callee does.
  var splitOperations: [[Int32]] = []
  var due = Bank<Int32>()
  /// Each instance's way back, and its probes.
  var restarts: [RestartBackoff]
  var monitors: [HealthMonitor]
  var probeReady: [Int64]
  var startLengths: [Int64]
  var isStarted: [Bool]
  var isProbed: [Bool]
  var lifeRandom: SeededRandom
  var faults: [FaultModel]
  var faultSalts: [UInt64]
  var faultIsOn: [Bool]
  let network: Int64
  /// Rare events in their order, bounded.
  package var events: [Event] = []
  package private(set) var eventsLost = 0
  package let eventsLimit: Int
  /// Events worked off: what the machine does.
  package private(set) var steps: UInt64 = 0

  /// A world at time zero: everything is up, ready and empty.
  ///
  /// `storyBegins` is when the faults' clock begins; after `ends` it is not run.
  package init(
    _ scene: Scene, seed: UInt64, storyBegins: Int64 = 0, ends: Int64 = .max, eventsLimit: Int = 1000
  ) {
    self.ends = ends
    agenda = Agenda(until: ends)
    timers = Agenda(reserving: 64, until: ends)
    // Everything is up already: nobody joins, so nobody begins with a slow start.
    var plan = scene.plan
    for s in plan.services.indices { plan.services[s].startsReady = true }
    let node = NodeFlows(plan: plan, seed: seed)
    let views = plan.edges.indices.map { node.view($0) }
    loops = Bank(reserving: max(1, scene.loops))
    for loop in 0..<max(1, scene.loops) {
      loops.append(
        Loop(
          flows: LoopFlows(plan: plan, views: views, loop: loop, loops: max(1, scene.loops), seed: seed),
          versions: plan.edges.indices.map { node.version($0) },
          gauges: Bank(Array(repeating: QueueGauge(), count: plan.edges.count)),
          waits: Array(repeating: Tally(), count: plan.edges.count)))
    }
    self.node = node
    limits = Bank(plan.limits.map { LimitTable($0) })
    network = max(0, scene.network)
    self.eventsLimit = eventsLimit

    operations = Bank()
    stages = []
    items = []
    components = Bank()
    instances = Bank()
    callers = Bank()
    restarts = []
    monitors = []
    probeReady = []
    startLengths = []
    isStarted = []
    isProbed = []
    for (s, model) in scene.components.enumerated() {
      let service = plan.services[s]
      let leading = plan.edges.indices.filter { plan.edges[$0].service == s }
      components.append(
        Component(
          salt: Draws.salt(seed, "work of \(model.name)"), firstInstance: instances.count, instances: service.instances,
          firstOperation: Int32(operations.count), places: service.atOnce, isLimited: service.atOnce != .max,
          isGated: leading.contains { plan.isGated($0) },
          allPlaces: Int64(service.atOnce) * Int64(service.instances),
          cancels: model.cancels, firstCaller: callers.count, callers: leading.count))
      for edge in leading { callers.append(Int32(edge)) }
      for index in 0..<service.instances {
        instances.append(
          InstanceState(component: Int32(s), index: UInt16(index), workers: Int32(clamping: max(1, model.workers))))
        restarts.append(RestartBackoff(model.restart))
        monitors.append(HealthMonitor(model.health ?? .init()))
        probeReady.append(0)
        startLengths.append(model.start)
        isStarted.append(model.isStarted)
        isProbed.append(model.health != nil)
      }
      for operation in model.operations {
        operations.append(
          Operation(
            work: operation.work, firstStage: Int32(stages.count), stages: Int32(operation.stages.count),
            firstSend: Int32(sends.count), sends: Int32(operation.sends.count),
            method: operation.method ?? .safe, hasMethod: operation.method != nil))
        sends += operation.sends
        for stage in operation.stages {
          stages.append((first: Int32(items.count), count: Int32(stage.count)))
          items += stage
        }
      }
    }
    routeParts = plan.routes.map(\.parts)
    routeFallbacks = plan.routes.map(\.fallback)
    routeTimeouts = plan.routes.map { $0.timeout?.inNanoseconds ?? -1 }
    edgeComponents = Bank(plan.edges.map { Int32($0.service) })
    edgeHeld = Array(repeating: 0, count: plan.edges.count)
    edgeLimits = plan.edges.map(\.call.atOnce)
    itemOperations = []
    for item in items {
      itemOperations.append(components[plan.edges[item.edge].service].firstOperation + Int32(item.operation))
    }
    for model in scene.queues {
      var operation = Int32(model.operation)
      if let edge = model.edge { operation += components[plan.edges[edge].service].firstOperation }
      queues.append(
        QueueState(model, edge: model.edge ?? -1, operation: operation, loops: max(1, scene.loops), seed: seed))
    }
    streams = Bank()
    splits = plan.routes.map(\.split)
    routeStatuses = plan.routes.map(\.status)
    routeQueues = plan.routes.indices.map { $0 < scene.routeQueues.count ? scene.routeQueues[$0] ?? -1 : -1 }
    for model in scene.traffic {
      let route = plan.routes[model.route]
      let gap = model.rate.perSecond > 0 ? 1e9 / model.rate.perSecond : .infinity
      let edges = route.split?.edges ?? [route.edge].compactMap { $0 }
      var first: [Int32] = []
      for (edge, operation) in zip(edges, model.operations) {
        first.append(components[plan.edges[edge].service].firstOperation + Int32(operation))
      }
      splitOperations.append(first)
      var mirrorOperation: Int32 = 0
      if let mirror = route.mirror {
        mirrorOperation = components[plan.edges[mirror.edge].service].firstOperation + Int32(model.mirrorOperation)
      }
      streams.append(
        Stream(
          random: SeededRandom(seed: seed, stream: "traffic \(model.name)"),
          salt: Draws.salt(seed, "requests of \(model.name)"), clientSalt: Draws.salt(seed, "clients of \(model.name)"),
          usualGap: gap, meanGap: gap, route: UInt32(model.route),
          operation: first.first ?? 0,
          mirrorOperation: mirrorOperation, isSplit: route.split != nil, isKeyed: route.split?.by == .key,
          clients: UInt64(max(1, model.clients)), method: model.method, patience: model.patience ?? -1))
      streams[streams.count - 1].connects = model.connects
      streams[streams.count - 1].asksRecord = route.idempotency != nil && model.method == .keyed
    }
    lifeRandom = SeededRandom(seed: seed, stream: "life of instances")
    faults = scene.always + scene.faults
    faultSalts = faults.indices.map { Draws.salt(seed, "fault \($0)") }
    faultIsOn = Array(repeating: false, count: faults.count)
    faultLeft = faults.map {
      switch $0.kind {
      case .delay(let fault), .double(let fault): fault.count
      case .kill, .slow, .fail, .away, .poison, .crowd: .max
      }
    }
    logs = scene.logs
    numbers = Array(repeating: [:], count: scene.logs.count + scene.queues.count)
    clockJobs = scene.jobs
    clock = scene.clock - storyBegins / 1_000_000
    for (i, model) in scene.sagas.enumerated() {
      let steps = model.steps.map { step in
        SagaState.Step(
          act: World.resolved(step.act, plan, components), undo: step.undo.map { World.resolved($0, plan, components) })
      }
      sagas.append(SagaState(model, steps: steps, seed: seed, index: i))
    }
    if !sagas.isEmpty {
      let lines = [SagaCalls<DueStep>](repeating: SagaCalls(), count: plan.edges.count)
      sagaCalls = Array(repeating: lines, count: loops.count)
    }

    for i in streams.indices { scheduleArrival(i) }
    for i in clockJobs.indices { scheduleJob(i) }
    agenda.schedule(EventKind.merge, at: NodeFlows.mergeEvery, payload: 0)
    for (i, fault) in faults.enumerated() {
      agenda.schedule(
        EventKind.faultBegins, at: (i < scene.always.count ? 0 : storyBegins) + fault.when, payload: UInt64(i))
    }
    for i in instances.indices where isProbed[i] {
      monitors[i].started(now: .zero)
      // Everything is up at time zero: the first probe is answered before the first request comes.
      _ = monitors[i].probe(now: .zero)
      _ = monitors[i].probed(ok: true, kind: .ready, now: .zero, using: &lifeRandom)
      scheduleHealth(i)
    }
    for i in instances.indices {
      restarts[i].started(now: .zero)
      self.node.health(
        service: Int(instances[i].component), instance: Int(instances[i].index), up: true, now: .zero)
    }
    spreadViews()
    _ = self.node.takeEvents()
  }

  // MARK: - Running

  /// Works off everything up to and including `end`, and leaves the clock there.
  package mutating func run(until end: Instant) {
    let limit = end.nanoseconds
    precondition(limit <= ends, "what comes after the end was not kept")
    while true {
      let timerAt = timers.firstAt
      let event: AgendaEvent
      if timerAt < agenda.firstAt {
        guard let ringing = timers.next(upTo: limit) else { break }
        event = ringing
      } else {
        guard let next = agenda.next(upTo: limit) else { break }
        event = next
      }
      now = Instant(nanoseconds: event.at)
      steps &+= 1
      work(event)
      if !due.isEmpty { handOutPlaces() }
      while !dueQueues.isEmpty || !dueSteps.isEmpty {
        turnQueues()
        if !dueSteps.isEmpty { callSteps() }
        if !due.isEmpty { handOutPlaces() }
      }
    }
    now = end
  }

  @inline(__always)
  private mutating func work(_ event: AgendaEvent) {
    switch event.kind {
    case EventKind.arrival: arrive(event.payload)
    case EventKind.workDone: workDone(Handle(raw: event.payload))
    case EventKind.deliver: deliver(Handle(raw: event.payload))
    case EventKind.answer: answered(Handle(raw: event.payload))
    case EventKind.refused: refused(Handle(raw: event.payload))
    case EventKind.timer: ring(event.payload)
    case EventKind.merge: merge()
    case EventKind.faultBegins: faultBegins(Int(event.payload))
    case EventKind.faultEnds: faultEnds(Int(event.payload))
    case EventKind.start: started(Int(event.payload))
    case EventKind.health: checkHealth(Int(event.payload))
    case EventKind.open: opened(Handle(raw: event.payload))
    case EventKind.queue: queueWakes(Int(event.payload))
    case EventKind.job: jobIsDue(Int(event.payload))
    case EventKind.late: lateComes(Int(event.payload))
    case EventKind.saga: sagaWakes(event.payload)
    case EventKind.sagaAgain: stepAgain(Int(event.payload))
    default: losePatience(event.payload)
    }
  }

  /// Keeps rare events, as many as there is room for.
  mutating func keep(_ told: [Event], lost: Int) {
    eventsLost += lost
    for event in told {
      if events.count < eventsLimit { events.append(event) } else { eventsLost += 1 }
    }
  }

  /// Forgets the rare events so far: they belong to the warm-up.
  mutating func forgetEvents() {
    collect()
    events.removeAll()
    eventsLost = 0
  }

  // MARK: - Asking

  package var loopCount: Int { loops.count }

  /// The numbers of all loops together.
  package func ledger() -> Ledger {
    var sum = loops[0].flows.state.ledger
    for l in loops.indices.dropFirst() { sum.merge(loops[l].flows.state.ledger) }
    return sum
  }

  /// By instance of a component: the requests that have reached it.
  package func served(by component: Int) -> [UInt64] {
    let first = components[component].firstInstance
    return (0..<components[component].instances).map { instances[first + $0].served }
  }

  /// Events that are still to come.
  package var scheduled: Int { agenda.count + timers.count }

  /// Requests and calls that are open.
  package var openCalls: Int { loops.indices.reduce(0) { $0 + loops[$1].flows.calls.count } }

  /// What is wrong with this state, or nil: Little's law on every queue, places, jobs.
  package func violation() -> String? {
    let at = now.nanoseconds
    var inside = [Int64](repeating: 0, count: instances.count)
    var entries = inside
    for j in jobs.indices where jobs[j].stage == .queued {
      let job = jobs[j]
      inside[Int(job.instance)] += 1
      entries[Int(job.instance)] += job.since
    }
    for l in loops.indices {
      for e in loops[l].gauges.indices {
        let waiting = loops[l].calls.map { $0 }.filter { $0.queuedSince >= 0 && Int($0.edge) == e }
        let since = waiting.reduce(Int64(0)) { $0 + $1.queuedSince }
        if let wrong = loops[l].gauges[e].violation(at: at, inside: Int64(waiting.count), entries: since) {
          return "loop \(l), edge \(e): \(wrong)"
        }
      }
    }
    for i in instances.indices {
      let instance = instances[i]
      if let wrong = instance.queue.violation(at: at, inside: inside[i], entries: entries[i]) {
        return "instance \(i): \(wrong)"
      }
      if instance.busy < 0 || instance.busy > instance.workers { return "instance \(i) has \(instance.busy) busy" }
      if instance.held < 0 || instance.held > components[Int(instance.component)].places {
        return "instance \(i) has \(instance.held) places out"
      }
    }
    for q in queues.indices {
      if let wrong = queues[q].violation(at: at) { return "queue \(q): \(wrong)" }
    }
    for line in sagaCalls.joined() {
      if let wrong = line.violation() { return "a line of sagas: \(wrong)" }
    }
    for saga in sagas {
      if let wrong = saga.violation() { return "saga \(saga.name): \(wrong)" }
    }
    return agenda.violation() ?? timers.violation()
  }
}
