// SPDX-License-Identifier: Apache-2.0
import WeirBase
public import WeirPatterns

/// What a loop knows of an edge's callee from its node: which instances serve, and every breaker.
///
/// Immutable between merges; a loop decides by it without asking anybody.
public struct EdgeView: Sendable, Equatable {
  /// Indexes of the instances in rotation, ascending.
  public var serving: [UInt16]
  /// By instance.
  public var breakers: [CircuitBreaker.View]
  /// The callee's own breaker.
  public var service: CircuitBreaker.View
  /// Instances out of rotation whose breaker may be probed once its rest is over: they pass their health check.
  public var probeable: [UInt16]
  /// More than half are bad, so all of them serve.
  public var everyoneServes: Bool
  /// Instances that serve and failed last, with no success of any loop since: ascending.
  public var doubted: [UInt16]
  /// Instances that somebody takes out of use: they get nobody new and keep those who belong to them.
  public var resting: [UInt16] = []

  public init(
    serving: [UInt16], breakers: [CircuitBreaker.View], service: CircuitBreaker.View, probeable: [UInt16] = [],
    everyoneServes: Bool = false, doubted: [UInt16] = []
  ) {
    self.serving = serving
    self.breakers = breakers
    self.service = service
    self.probeable = probeable
    self.everyoneServes = everyoneServes
    self.doubted = doubted
  }
}

/// What a loop has learned of an edge since it last told the node.
public struct EdgeDelta: Sendable, Equatable {
  /// Results of a probe, with the permit they give back.
  public struct Probe: Sendable, Equatable, BitwiseCopyable {
    /// ``CallStep/nobody`` for the callee's own breaker.
    public var instance: UInt16
    public var ticket: CircuitBreaker.Ticket
    public var outcome: CircuitBreaker.Outcome
  }

  public var edge: Int
  /// By instance, and the epoch of the breaker they belong to.
  public var outcomes: [CircuitBreaker.Outcomes]
  public var epochs: [UInt32]
  public var service: CircuitBreaker.Outcomes
  public var serviceEpoch: UInt32
  public var probes: [Probe]
  public var budget: BudgetTally
}

/// Settings of an edge in Int64 nanoseconds, resolved once.
struct CallConstants: Sendable, Equatable {
  var timeout: Int64
  var attempt: Int64
  /// An attempt that nothing can follow may last until the deadline, unless the file says how long one may be.
  var attemptIsWritten: Bool
  var connect: Int64
  var placesPerInstance: Int32
  var atOnce: Int32
  var hasFallback: Bool
  var breaks: Bool
  var isLimited: Bool
  /// The budget counts what is in flight: it hears of ends.
  var budgetHearsEnds: Bool
  var isHedged: Bool
  var isGated: Bool
  var isThrottled: Bool
  var optional: Bool
  /// Its instances, or its requests, are not all alike.
  var isChoosy: Bool
  /// A key decides, where a request has one.
  var isKeyed: Bool
  /// Only some of the callee's instances may be asked, and no others in their stead.
  var isSubset: Bool

  init(_ edge: FlowPlan.Edge, service: FlowPlan.Service, isGated: Bool) {
    let call = edge.call
    self.isGated = isGated
    isSubset = edge.subset?.fallback == InstanceGroups.Fallback.none
    isThrottled = call.throttle != nil
    optional = call.optional
    timeout = call.timeout.inNanoseconds
    attempt = call.attemptResolved.inNanoseconds
    attemptIsWritten = call.attempt != nil
    connect = call.connect.inNanoseconds
    placesPerInstance = service.atOnce
    atOnce = call.atOnce
    hasFallback = call.optional || call.hasFallback
    breaks = call.breaks
    isLimited = call.atOnce != .max
    budgetHearsEnds = call.budget.over == .concurrency
    isHedged = call.hedge != nil
    let members = service.members
    isKeyed = call.balance.affinity != .none
    isChoosy =
      call.balance.affinity != .none || members.isSticky || members.hasZones || members.backups.contains(true)
  }
}

/// The pause between trials of an instance in doubt: the rhythm in which a health check in doubt is repeated.
///
/// It is the node's: each loop has its turn, and rests for as many pauses as there are loops.
private let trialEvery = HealthMonitor.Settings().doubtEvery.inNanoseconds

/// An instance whose last attempt failed.
struct Doubt: Sendable, Equatable, BitwiseCopyable {
  var instance: UInt16
  /// When a call may find out whether it is well again.
  var tryAt: Instant
}

/// A callee as one loop sees it along one edge: settings, load and rotation, who waits, what may be retried.
///
/// Owned by ``LoopFlows``; inputs come through ``UpstreamCall``. What needs all loops of a node (breakers, ejection,
/// health) is decided by ``NodeFlows`` and arrives as an ``EdgeView``.
///
/// ## Invariants
/// 1. Calls wait only while no place is known to be free; whoever frees a place hands it to the one who waits longest.
/// 2. What is learned under one epoch of a breaker is never told under another.
public struct Upstream: Sendable, Equatable {
  let constants: CallConstants
  /// What counts as a failing or slow answer, and when an instance's breaker trips.
  let thresholds: CircuitBreaker.Thresholds
  private let serviceThresholds: CircuitBreaker.Thresholds
  let rule: RetryRule
  let backoff: Backoff
  public private(set) var view: EdgeView
  var balancer: Balancer
  private(set) var rotation: Rotation
  public internal(set) var waiting: WaitingLine
  private var budget = BudgetTally()
  /// One, or none; a list, so that who does not hedge has no room for it.
  var hedges: [HedgeTrigger]
  /// As of ``hedges``: one, or none.
  var throttle: [ClientThrottle]
  var gate: [Gate]
  private var outcomes: [CircuitBreaker.Outcomes]
  private var serviceOutcomes = CircuitBreaker.Outcomes()
  private var probes: [EdgeDelta.Probe] = []
  /// Something was learned since the last delta.
  public private(set) var isDirty = false
  /// What was learned may trip a breaker or frees a permit: the node should know now, not at the next tick.
  public private(set) var isUrgent = false
  /// After a refused permit or one that is out: when asking for another makes sense.
  var askProbeAt: [Instant]
  private(set) var askServiceProbeAt = Instant.zero
  /// What a good answer's head has taken lately, in nanoseconds; 0 before the first.
  var usual: Int64 = 0
  /// Instances whose last attempt failed, and when each may be tried again to find out whether it is well.
  var doubtful: [Doubt] = []
  /// From a doubt to this loop's first trial, and from one trial of its to the next.
  private let firstTrial: Int64
  private let nextTrial: Int64
  var fallbackIsOn = false

  init(edge: FlowPlan.Edge, service: FlowPlan.Service, isGated: Bool, view: EdgeView, loop: Int, loops: Int) {
    firstTrial = trialEvery * Int64(loop + 1)
    nextTrial = trialEvery * Int64(loops)
    constants = CallConstants(edge, service: service, isGated: isGated)
    throttle = edge.call.throttle.map { [ClientThrottle($0)] } ?? []
    gate = isGated ? [Gate(service, edge.call, serving: view.serving.count, loops: loops)] : []
    thresholds = CircuitBreaker.Thresholds(edge.call.instanceBreakerResolved)
    serviceThresholds = CircuitBreaker.Thresholds(edge.call.serviceBreaker)
    // A call counts its attempts in a byte.
    var retry = edge.call.retry
    retry.attempts = min(retry.attempts, 200)
    rule = RetryRule(retry)
    backoff = Backoff(edge.call.backoff)
    self.view = view
    let members = service.members
    balancer = Balancer(
      edge.call.balance, instances: service.instances, weights: members.weights.isEmpty ? nil : members.weights,
      identities: members.identities.isEmpty ? nil : members.identities)
    rotation = Rotation(members, count: service.instances, subset: edge.subset)
    if constants.isChoosy { rotation.update(serving: view.serving) }
    waiting = WaitingLine(edge.call.queue)
    hedges = edge.call.hedge.map { [HedgeTrigger($0)] } ?? []
    outcomes = Array(repeating: CircuitBreaker.Outcomes(), count: service.instances)
    askProbeAt = Array(repeating: .zero, count: service.instances)
  }

  // MARK: Events in

  /// The node has merged: what it knows now replaces what this loop knew.
  mutating func accept(_ new: EdgeView, now: Instant) {
    for i in new.breakers.indices where new.breakers[i].epoch != view.breakers[i].epoch {
      outcomes[i] = CircuitBreaker.Outcomes()
      askProbeAt[i] = .zero
    }
    if new.service.epoch != view.service.epoch {
      serviceOutcomes = CircuitBreaker.Outcomes()
      askServiceProbeAt = .zero
    }
    if new.serving != view.serving {
      for i in new.serving where !view.serving.contains(i) { balancer.joined(Int(i), now: now) }
    }
    if new.doubted != view.doubted {
      for i in new.doubted where !view.doubted.contains(i) { hear(i, now: now) }
      for i in view.doubted where !new.doubted.contains(i) {
        balancer.trusted(Int(i))
        doubtful.removeAll { $0.instance == i }
      }
    }
    if constants.isChoosy, new.serving != view.serving { rotation.update(serving: new.serving) }
    view = new
    if !gate.isEmpty { gate[0].accept(serving: new.serving.count, now: now) }
  }

  /// Another loop has found out that an instance fails: this one need not pay for it as well.
  mutating func hear(_ instance: UInt16, now: Instant) {
    if balancer.failedLast(Int(instance)) { return }
    balancer.suspected(Int(instance), now: now)
    doubt(instance, now: now)
  }
  /// How many wait, wherever.
  public var waitingCount: Int { waiting.count + (gate.first?.waiting ?? 0) }

  /// How many may be at the callee at the same time, as far as this loop goes; nil where nothing decides it.
  public var gateLimit: Int? { gate.first?.limit }

  /// A place on an instance became free that another edge or loop had held.
  mutating func placeFreed(_ instance: UInt16) { balancer.clearFull(Int(instance)) }

  /// An eighth of the way to each new value, as TCP's smoothed round trip (RFC 6298 §2).
  @inline(__always)
  mutating func learn(latency: Int64) { usual = usual == 0 ? latency : usual + (latency - usual) / 8 }

  /// An attempt's result, for the instance's breaker.
  ///
  /// Results of an earlier epoch tell of the past and are dropped.
  @inline(__always)
  mutating func settle(instance: UInt16, epoch: UInt32, _ outcome: CircuitBreaker.Outcome) {
    let i = Int(instance)
    guard constants.breaks, outcome != .ignored, view.breakers[i].epoch == epoch else { return }
    outcomes[i].add(outcome)
    isDirty = true
    guard outcome != .success else { return }
    // An instance of which this loop has no good word to say: others should not have to find out for themselves.
    if outcomes[i].successes == 0, outcomes[i].failures > 0, !view.doubted.contains(instance) { isUrgent = true }
    if view.breakers[i].trips(adding: outcomes[i], by: thresholds) { isUrgent = true }
  }

  /// A call's final outcome, for the callee's own breaker.
  @inline(__always)
  mutating func settleService(epoch: UInt32, _ outcome: CircuitBreaker.Outcome) {
    guard constants.breaks, outcome != .ignored, view.service.epoch == epoch else { return }
    serviceOutcomes.add(outcome)
    isDirty = true
    if outcome != .success, view.service.trips(adding: serviceOutcomes, by: serviceThresholds) { isUrgent = true }
  }

  /// A call is let through: a first try, on which retries are earned.
  @inline(__always)
  mutating func deposit() {
    budget.firsts &+= 1
    isDirty = true
  }

  /// A call that had made a deposit is over, and so many retries with it.
  @inline(__always)
  mutating func withdrawEnded(retries: UInt8) {
    guard constants.budgetHearsEnds else { return }
    budget.firstsEnded &+= 1
    budget.retriesEnded &+= UInt32(retries)
    isDirty = true
  }

  /// What the node does not know yet of the budget; it is told with a question.
  mutating func takeBudget() -> BudgetTally {
    defer { budget = BudgetTally() }
    return budget
  }

  /// A probe is over: its permit goes back with what it showed, at once.
  mutating func settleProbe(
    instance: UInt16, ticket: CircuitBreaker.Ticket, _ outcome: CircuitBreaker.Outcome
  ) {
    probes.append(EdgeDelta.Probe(instance: instance, ticket: ticket, outcome: outcome))
    isDirty = true
    isUrgent = true
  }

  // MARK: Questions
  //
  // Inlined: asked of an element of an array, a call would copy the upstream first, which is a dozen retains (measured).

  /// Chooses an instance that serves, for one attempt.
  @inline(__always)
  mutating func pick(
    _ wish: Wish, excluding tried: Balancer.Tried, now: Instant, using random: inout SeededRandom
  ) -> Balancer.Choice {
    if constants.isChoosy { return choose(wish, excluding: tried, now: now, using: &random) }
    return balancer.pick(
      among: view.serving, excluding: tried, limit: constants.placesPerInstance, now: now, using: &random)
  }

  /// An instance that serves and failed last, if it is time to try it again.
  ///
  /// The balancer avoids it, and rightly; but one that nobody tries is neither taken back nor given up by its breaker.
  /// Every 250 ms, the rhythm in which a health check in doubt is repeated (`HealthMonitor.Settings.doubtEvery`), a call
  /// that can be made up for elsewhere finds out, and nobody who waits for an answer notices.
  @inline(__always)
  mutating func dueTrial(_ wish: Wish, now: Instant) -> UInt16? {
    if doubtful.isEmpty { return nil }
    for k in doubtful.indices where doubtful[k].tryAt <= now {
      let i = doubtful[k].instance
      // One that came back into rotation has its past forgotten, and is in nobody's doubt.
      guard balancer.failedLast(Int(i)), view.serving.contains(i),
        balancer.hasPlace(Int(i), limit: constants.placesPerInstance),
        view.serving.count > 1, !constants.isChoosy || mayTry(i, wish)
      else { continue }
      doubtful[k].tryAt = now.advanced(by: nextTrial)
      return i
    }
    return nil
  }

  /// The attempt that is about to be made finds out whether an instance that failed last is well again.
  @inline(__always)
  func isTrial(_ instance: UInt16) -> Bool { !doubtful.isEmpty && balancer.failedLast(Int(instance)) }

  /// After an attempt: the instance is in doubt, or no longer.
  @inline(__always)
  mutating func doubt(_ instance: UInt16, now: Instant) {
    if balancer.failedLast(Int(instance)) {
      if !doubtful.contains(where: { $0.instance == instance }) {
        doubtful.append(Doubt(instance: instance, tryAt: now.advanced(by: firstTrial)))
      }
    } else if !doubtful.isEmpty {
      doubtful.removeAll { $0.instance == instance }
    }
  }

  /// The instance that a first attempt should probe, if one is due.
  ///
  /// A call that cannot be made up for elsewhere probes only when nobody better has come for a second: a system whose
  /// calls are all unsafe must find out, too, that an instance is well again.
  func dueProbe(_ wish: Wish, now: Instant, canRepeat: Bool) -> UInt16? {
    if view.probeable.isEmpty { return nil }
    for i in view.probeable where askProbeAt[Int(i)] <= now {
      let breaker = view.breakers[Int(i)]
      let due = breaker.phase == .probing ? Instant.zero : breaker.until
      if breaker.phase == .closed || now < due { continue }
      if constants.isChoosy, !mayProbe(i, wish, due: due, now: now) { continue }
      if canRepeat || now >= due.advanced(by: 1_000_000_000) || view.serving.contains(i) { return i }
    }
    return nil
  }

  /// Whether the callee's breaker lets a call pass, asks for a permit, or refuses.
  @inline(__always)
  func admit(now: Instant, using random: inout SeededRandom) -> CircuitBreaker.View.Leave {
    guard constants.breaks else { return .allow }
    switch view.service.admit(now: now, using: &random) {
    case .askPermit where askServiceProbeAt > now: return .refuse(until: askServiceProbeAt)
    case let leave: return leave
    }
  }

  /// A permit was refused, for all are out, or the instance's places were taken: nobody asks again for this long.
  ///
  /// A tenth of a second, the rhythm of the merges: until then this loop knows nothing new.
  mutating func probeAsked(_ question: CallAction.Question, now: Instant) {
    let again = now.advanced(by: 100_000_000)
    switch question {
    case .probeInstance(let i): askProbeAt[Int(i)] = again
    case .probeService: askServiceProbeAt = again
    case .place, .retry: break
    }
  }

  /// An instance that serves, was not tried and has a closed breaker is left.
  @inline(__always)
  func hasAnotherInstance(than tried: Balancer.Tried) -> Bool {
    for i in view.serving where !tried.contains(Int(i)) && view.breakers[Int(i)].phase == .closed { return true }
    return false
  }

  /// As above, and its last answer to this loop was a good one.
  func hasProvenInstance(than tried: Balancer.Tried) -> Bool {
    for i in view.serving
    where !tried.contains(Int(i)) && view.breakers[Int(i)].phase == .closed && balancer.answeredLast(Int(i)) {
      return true
    }
    return false
  }

  // MARK: Effects out

  /// What was learned since the last time, or nil of nothing.
  ///
  /// The node absorbs it and answers with a view.
  mutating func takeDelta(edge: Int) -> EdgeDelta? {
    guard isDirty else { return nil }
    let delta = EdgeDelta(
      edge: edge, outcomes: outcomes, epochs: view.breakers.map(\.epoch), service: serviceOutcomes,
      serviceEpoch: view.service.epoch, probes: probes, budget: takeBudget())
    for i in outcomes.indices { outcomes[i] = CircuitBreaker.Outcomes() }
    serviceOutcomes = CircuitBreaker.Outcomes()
    probes.removeAll(keepingCapacity: true)
    isDirty = false
    isUrgent = false
    return delta
  }
}
