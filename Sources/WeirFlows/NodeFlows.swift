// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// What all loops of a node decide together: breakers, ejection, health, permits to probe, retries.
///
/// Each loop posts what it has learned every 100 ms, and at once when that may trip a breaker or gives back a permit;
/// the results are merged here, in the order they come, and every loop gets the new ``EdgeView``. In the runtime a lock
/// guards this value: it is taken ten times a second by each loop and on rare turns, never by an ordinary request. In the
/// simulator the world owns it. (Permits could be atomics of their own; behind the same lock they need no second copy of
/// the breaker's logic.)
///
/// ## Invariants
/// 1. Ejection and the guard of the last instance are decided here only.
/// 2. A view's version grows with every change; equal versions are equal views.
/// 3. At most `probes` permits of a breaker are out, whatever the number of loops.
/// 4. Retries are granted at most as the budget allows on what it has been told, and it is told of every first try at most
///    100 ms late: never too many, whatever the number of loops.
public struct NodeFlows: Sendable {
  /// The rhythm in which loops post what they have learned: a tenth of a second.
  public static let mergeEvery: Int64 = 100_000_000

  struct Edge: Sendable {
    var service: Int
    var subset: FlowPlan.Subset?
    var instances: [CircuitBreaker]
    var callee: CircuitBreaker
    var ejection: OutlierEjection
    var budget: RetryBudget
    /// A retry was refused, and none has been granted since.
    var budgetIsSpent = false
    var view: EdgeView
    var version: UInt32 = 0
    var out: [Bool]
    /// By instance: its ejection was told and its return was not.
    var told: [Bool]
    /// By instance: what was heard last of it was failures only.
    var doubted: [Bool]
    var panic = false

    init(_ edge: FlowPlan.Edge, service callee: FlowPlan.Service, now: Instant) {
      let breaker = CircuitBreaker(edge.call.instanceBreakerResolved)
      service = edge.service
      subset = edge.subset
      instances = Array(repeating: breaker, count: callee.instances)
      self.callee = CircuitBreaker(edge.call.serviceBreaker)
      ejection = OutlierEjection(instances: callee.instances, callee.ejection, now: now)
      view = EdgeView(
        serving: [], breakers: Array(repeating: breaker.view, count: callee.instances), service: self.callee.view)
      out = Array(repeating: false, count: callee.instances)
      told = Array(repeating: false, count: callee.instances)
      doubted = Array(repeating: false, count: callee.instances)
      budget = RetryBudget(edge.call.budget)
    }
  }

  struct Service: Sendable {
    /// By instance: nobody may be sent there (not started, not ready, gone).
    var down: [Bool]
    /// By instance: somebody has taken it out of use, and it gets nobody new.
    var drained: [Bool]
    /// By instance: there is none at present, for a name says where they are and has fewer.
    var vacant: [Bool]

    func isAbsent(_ i: Int) -> Bool { drained[i] || vacant[i] }
  }

  var edges: [Edge]
  var services: [Service]
  private var random: SeededRandom
  public private(set) var events = EventLog()

  public init(plan: FlowPlan, seed: UInt64, now: Instant = .zero) {
    services = plan.services.map { service in
      Service(
        down: Array(repeating: !service.startsReady, count: service.instances),
        drained: Array(repeating: false, count: service.instances),
        vacant: Array(repeating: service.members.isDiscovered, count: service.instances))
    }
    edges = plan.edges.map { Edge($0, service: plan.services[$0.service], now: now) }
    random = SeededRandom(seed: seed, stream: "node")
    for i in edges.indices { renew(i, now: now) }
    _ = events.take()
  }

  // MARK: Asking

  public func view(_ edge: Int) -> EdgeView { edges[edge].view }
  public func version(_ edge: Int) -> UInt32 { edges[edge].version }

  /// Whether an instance of a service may be sent requests, as far as its health goes.
  public func isUp(service: Int, instance: Int) -> Bool { !services[service].down[instance] }

  /// Whether somebody has taken it out of use.
  public func isDrained(service: Int, instance: Int) -> Bool { services[service].drained[instance] }

  /// The breaker's phase, for `weir status`; the callee's own where `instance` is nil.
  public func breakerPhase(edge: Int, instance: Int?) -> CircuitBreaker.Phase {
    instance.map { edges[edge].instances[$0].phase } ?? edges[edge].callee.phase
  }

  /// An instance is left out of this edge's rotation for its answers, not for its health.
  public func isEjected(edge: Int, instance: Int) -> Bool {
    edges[edge].out[instance] && !services[edges[edge].service].down[instance]
      && !services[edges[edge].service].isAbsent(instance) && isOf(edge: edge, instance: instance)
  }

  // MARK: Inputs

  /// What one loop has learned of an edge.
  public mutating func absorb(_ delta: EdgeDelta, now: Instant) {
    let e = delta.edge
    count(delta.budget, e, now: now)
    for i in delta.outcomes.indices where !delta.outcomes[i].isEmpty {
      let outcomes = delta.outcomes[i]
      // Results of an earlier epoch tell of the past, perhaps of another process: they count nowhere.
      if delta.epochs[i] == edges[e].instances[i].epoch {
        edges[e].doubted[i] = outcomes.successes == 0
        edges[e].ejection.report(
          i, successes: Int(outcomes.successes), failures: Int(outcomes.failures))
      }
      let change = edges[e].instances[i].absorb(outcomes, epoch: delta.epochs[i], now: now, using: &random)
      tell(change, edge: e, instance: UInt16(i), now: now)
    }
    if !delta.service.isEmpty {
      let change = edges[e].callee.absorb(delta.service, epoch: delta.serviceEpoch, now: now, using: &random)
      tell(change, edge: e, instance: CallStep.nobody, now: now)
    }
    for probe in delta.probes {
      if probe.instance == CallStep.nobody {
        let change = edges[e].callee.settle(probe.ticket, probe.outcome, now: now, using: &random)
        tell(change, edge: e, instance: probe.instance, now: now)
      } else {
        let i = Int(probe.instance)
        let change = edges[e].instances[i].settle(probe.ticket, probe.outcome, now: now, using: &random)
        tell(change, edge: e, instance: probe.instance, now: now)
      }
    }
    renew(e, now: now)
  }

  /// A permit to probe an instance, or the callee where `instance` is nil; nil: all are out, or it rests still.
  public mutating func permit(edge e: Int, instance: UInt16?, now: Instant) -> CircuitBreaker.Ticket? {
    let ticket: CircuitBreaker.Ticket?
    let before: CircuitBreaker.Phase
    if let instance {
      guard isUp(service: edges[e].service, instance: Int(instance)) else { return nil }
      before = edges[e].instances[Int(instance)].phase
      ticket = edges[e].instances[Int(instance)].acquireProbe(now: now)
    } else {
      before = edges[e].callee.phase
      ticket = edges[e].callee.acquireProbe(now: now)
    }
    if before == .open, ticket != nil { tell(.probing, edge: e, instance: instance ?? CallStep.nobody, now: now) }
    renew(e, now: now)
    return ticket
  }

  /// May a retry be made on the edge's budget? It is counted with a yes.
  ///
  /// `told` is what the asking loop has not posted yet.
  public mutating func retry(edge e: Int, _ told: BudgetTally, now: Instant) -> Bool {
    count(told, e, now: now)
    let isGranted = edges[e].budget.withdraw(now: now)
    if !isGranted && !edges[e].budgetIsSpent { events.append(Event(.retryBudgetSpent, at: now, edge: UInt32(e))) }
    edges[e].budgetIsSpent = !isGranted
    return isGranted
  }

  private mutating func count(_ tally: BudgetTally, _ e: Int, now: Instant) {
    if tally.firsts > 0 { edges[e].budget.deposit(Int(tally.firsts), now: now) }
    if tally.firstsEnded > 0 { edges[e].budget.ended(.first, Int(tally.firstsEnded)) }
    if tally.retriesEnded > 0 { edges[e].budget.ended(.retry, Int(tally.retriesEnded)) }
  }

  /// An instance became ready or unready, was started anew or is gone.
  public mutating func health(service: Int, instance: Int, up: Bool, now: Instant) {
    guard services[service].down[instance] == up else { return }
    services[service].down[instance] = !up
    events.append(
      Event(up ? .instanceReady : .instanceUnready, at: now, service: UInt32(service), instance: UInt16(instance)))
    for e in edges.indices where edges[e].service == service { renew(e, now: now) }
  }

  /// Somebody takes an instance out of use, or back; false where nobody would be left.
  ///
  /// It finishes what it has and gets nobody new, but for those whom a cookie sends there; back again it starts slowly, as
  /// any that joins.
  public mutating func drain(service: Int, instance: Int, _ isOn: Bool, now: Instant) -> Bool {
    if services[service].drained[instance] == isOn { return true }
    if isOn && !isAnyLeft(service: service, without: instance) { return false }
    services[service].drained[instance] = isOn
    for e in edges.indices where edges[e].service == service { renew(e, now: now) }
    return true
  }

  /// A name has an instance in this place, or has it no more: then it gets nothing new, and ends what it has.
  public mutating func occupied(service: Int, instance: Int, _ isOn: Bool, now: Instant) {
    services[service].vacant[instance] = !isOn
    services[service].down[instance] = true
    services[service].drained[instance] = false
    for e in edges.indices where edges[e].service == service { renew(e, now: now) }
  }

  /// Another process serves under this index: what was learned was about the one before it.
  public mutating func replaced(service: Int, instance: Int, now: Instant) {
    for e in edges.indices where edges[e].service == service {
      if edges[e].instances[instance].phase != .closed {
        tell(.closed, edge: e, instance: UInt16(instance), now: now)
      }
      edges[e].instances[instance].forget(now: now)
      edges[e].ejection.forget(instance)
      edges[e].doubted[instance] = false
      renew(e, now: now)
    }
  }

  /// Time has passed; call it with each merge.
  public mutating func tick(now: Instant) {
    for e in edges.indices where edges[e].ejection.nextWake <= now { renew(e, now: now) }
  }

  // MARK: Effects out

  public mutating func takeEvents() -> (events: [Event], lost: Int) { events.take() }

  mutating func forgetEvents() { events = EventLog() }

  /// Something of the driver's own making: a program started or exited.
  public mutating func note(_ event: Event) { events.append(event) }

  private mutating func tell(_ change: CircuitBreaker.Change, edge: Int, instance: UInt16, now: Instant) {
    let edge = UInt32(edge)
    switch change {
    case .none: break
    case .opened(let until):
      events.append(Event(.breakerOpened, at: now, edge: edge, instance: instance, until: until))
    case .probing: events.append(Event(.breakerProbing, at: now, edge: edge, instance: instance))
    case .closed: events.append(Event(.breakerClosed, at: now, edge: edge, instance: instance))
    }
  }

  /// Decides anew who serves, and publishes a new view when anything changed.
  mutating func renew(_ e: Int, now: Instant) {
    let service = services[edges[e].service]
    var absent = service.down.indices.map { service.isAbsent($0) }
    if let subset = edges[e].subset { absent = subset.absent(absent, down: service.down) }
    let away = zip(service.down, absent).map { $0 || $1 }
    let suspects = edges[e].instances.map { $0.phase != .closed }
    let decision = edges[e].ejection.decide(
      down: service.down, suspects: suspects, absent: absent, now: now)
    var view = EdgeView(
      serving: [], breakers: edges[e].instances.map(\.view), service: edges[e].callee.view,
      everyoneServes: decision.everyone && !away.allSatisfy { $0 })
    for i in decision.out.indices {
      if !decision.out[i] { view.serving.append(UInt16(i)) }
      // Whoever is out comes back with its past forgotten.
      if decision.out[i] { edges[e].doubted[i] = false }
      if edges[e].doubted[i] { view.doubted.append(UInt16(i)) }
      if suspects[i] && !away[i] { view.probeable.append(UInt16(i)) }
      if service.drained[i] && !service.vacant[i] && !service.down[i] && !suspects[i] && isOf(edge: e, instance: i) {
        view.resting.append(UInt16(i))
      }
      // Going down and coming up are told by health. Each ejection told is followed by its return, when the instance
      // serves again, however it went in between.
      if decision.out[i] != edges[e].told[i] && !away[i] {
        edges[e].told[i] = decision.out[i]
        let kind: Event.Kind = decision.out[i] ? .instanceEjected : .instanceReturned
        events.append(Event(kind, at: now, edge: UInt32(e), instance: UInt16(i)))
      }
    }
    // A service that is not started yet has nobody: with everybody down nobody is sent for.
    if away.allSatisfy({ $0 }) { view.serving = [] }
    let everyone = decision.everyone && !view.serving.isEmpty && suspects.count > 1
    if everyone != edges[e].panic {
      edges[e].panic = everyone
      events.append(Event(everyone ? .everyoneServes : .everyoneServesEnded, at: now, edge: UInt32(e)))
    }
    edges[e].out = decision.out
    guard view != edges[e].view else { return }
    edges[e].view = view
    edges[e].version &+= 1
  }
}
