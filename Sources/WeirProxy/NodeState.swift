// SPDX-License-Identifier: Apache-2.0
import Synchronization
import WeirBase
import WeirFlows
import WeirPatterns

/// What all loops of this node share: breakers, ejection and health; rate limits; connections by address; places.
///
/// Thread-safe. Each part has its own lock, held for one decision: the flows' ten times a second by each loop and on rare
/// turns (a trip, a probe), a limit's once for a request whose route has one, ``addresses`` once a connection.
///
/// A reload makes a new ``NodeEpoch``. The flows move with it, at once and whole; loops that still work by an old plan ask
/// and tell in its ids, and are translated here.
final class NodeState: Sendable {
  private struct Older {
    let epoch: NodeEpoch
    var toCurrent: PlanMove
    /// How many loops still hold it.
    var loops: Int
  }

  private struct Living {
    var flows: NodeFlows
    var epoch: NodeEpoch
    var older: [Older] = []
    /// Older ones that loops have let go of, as long as something still refers to them.
    var gone: [Gone] = []
  }

  private struct Gone {
    weak var epoch: NodeEpoch?
  }

  /// What the node knows of an edge; with `move`, in the ids of a newer plan than the asking loop's.
  struct News {
    var view: EdgeView
    var version: UInt32
    var move: PlanMove?
  }

  private let living: Mutex<Living>
  let addresses: Mutex<AddressLimit>
  /// Wrong credentials by client: who sends many is not listened to for a while.
  let failures: Mutex<RateTable>
  let memory: Mutex<MemoryWatch>
  /// How the endpoints of webhooks do; the first loop says it.
  let webhooks = Mutex<[WebhookReading]>([])
  /// Good answers of routes whose fallback is `stale`; known by route and request, so a reload keeps them.
  let lastAnswers = Mutex(LastAnswers())
  /// By saga: how its instances have ended here.
  let sagas = Mutex<[String: SagaTally]>([:])
  /// By loop: has it look at the node's views, and at who waits, on its own thread.
  ///
  /// Set once, before any traffic.
  private let pokes = Mutex<[@Sendable () -> Void]>([])
  /// Tells the first loop's prober that traffic could not reach an instance.
  ///
  /// Set once, before any traffic.
  private let suspicion = Mutex<@Sendable (Int, Int) -> Void>({ _, _ in })

  init(_ configuration: ProxyConfiguration, contexts: SecurityContexts, now: Instant) {
    let flows = NodeFlows(plan: configuration.plan, seed: configuration.seed, now: now)
    living = Mutex(Living(flows: flows, epoch: NodeEpoch(configuration, contexts: contexts)))
    addresses = Mutex(AddressLimit(configuration.addressLimit))
    memory = Mutex(MemoryWatch(configuration))
    // Ten at once, then one in six seconds: a person who errs is not stopped, a dictionary takes years.
    var settings = RateTable.Settings()
    settings.cells = 65_536
    settings.salt = configuration.seed ^ 0x1d
    failures = Mutex(RateTable(GCRA(rate: Rate(perSecond: 1.0 / 6), burst: 10), settings))
  }

  /// The newest plan's.
  var epoch: NodeEpoch { living.withLock { $0.epoch } }

  /// The flows, in the ids of the newest plan.
  func withFlows<R: Sendable>(_ body: (inout NodeFlows) -> R) -> R { living.withLock { body(&$0.flows) } }

  // MARK: - Loops ask and tell, by their own plan

  /// Takes over what a loop has learned of an edge, and answers with what the node knows if that differs from `known`.
  func exchange(
    _ delta: EdgeDelta?, edge: Int, of epoch: NodeEpoch, known: UInt32, now: Instant
  ) -> News? {
    living.withLock { living in
      if epoch === living.epoch {
        if let delta { living.flows.absorb(delta, now: now) }
        let version = living.flows.version(edge)
        return version == known ? nil : News(view: living.flows.view(edge), version: version)
      }
      guard let move = living.older.first(where: { $0.epoch === epoch })?.toCurrent, let to = move.edges[edge] else {
        return nil
      }
      let delta = delta?.moved(by: move, from: epoch.configuration.plan, to: living.epoch.configuration.plan)
      if let delta { living.flows.absorb(delta, now: now) }
      let version = living.flows.version(to)
      return version == known ? nil : News(view: living.flows.view(to), version: version, move: move)
    }
  }

  /// A permit to probe; nil when none is to be had, or what is asked about is gone.
  func permit(edge: Int, instance: UInt16?, of epoch: NodeEpoch, now: Instant) -> CircuitBreaker.Ticket? {
    living.withLock { living in
      if epoch === living.epoch { return living.flows.permit(edge: edge, instance: instance, now: now) }
      guard let move = living.older.first(where: { $0.epoch === epoch })?.toCurrent, let to = move.edges[edge] else {
        return nil
      }
      guard let instance else { return living.flows.permit(edge: to, instance: nil, now: now) }
      guard let moved = move.instances[epoch.configuration.plan.edges[edge].service][Int(instance)] else { return nil }
      return living.flows.permit(edge: to, instance: UInt16(moved), now: now)
    }
  }

  /// May a retry be made on the budget of an edge? No, when the edge is gone.
  func retry(edge: Int, _ told: BudgetTally, of epoch: NodeEpoch, now: Instant) -> Bool {
    living.withLock { living in
      if epoch === living.epoch { return living.flows.retry(edge: edge, told, now: now) }
      guard let to = living.older.first(where: { $0.epoch === epoch })?.toCurrent.edges[edge] else { return false }
      return living.flows.retry(edge: to, told, now: now)
    }
  }

  // MARK: - A new plan

  /// The plan changes: flows, places and limits move to the new one by `move`.
  ///
  /// To be called on the first loop's thread, in the turn in which that loop changes, for its prober speaks in its ids.
  func move(
    to configuration: ProxyConfiguration, contexts: SecurityContexts, by move: PlanMove, now: Instant
  ) -> NodeEpoch {
    let made = living.withLock { living in
      let old = living.epoch
      let new = NodeEpoch(configuration, contexts: contexts, after: old, by: move, now: now)
      living.flows = living.flows.moved(
        to: configuration.plan, from: old.configuration.plan, by: move, now: now)
      for i in living.older.indices { living.older[i].toCurrent = living.older[i].toCurrent.then(move) }
      living.older.append(Older(epoch: old, toCurrent: move, loops: configuration.loops))
      living.epoch = new
      return new
    }
    addresses.withLock { $0 = $0.moved(to: configuration.addressLimit) }
    return made
  }

  /// A loop has nothing under way by this plan any more.
  func dropped(_ epoch: NodeEpoch) {
    living.withLock { living in
      guard let i = living.older.firstIndex(where: { $0.epoch === epoch }) else { return }
      living.older[i].loops -= 1
      guard living.older[i].loops == 0 else { return }
      living.gone.removeAll { $0.epoch == nil }
      living.gone.append(Gone(epoch: living.older.remove(at: i).epoch))
    }
  }

  /// How many plans are in use, the newest included; one that is no longer used counts for as long as it is in memory.
  var livingEpochs: Int {
    living.withLock { living in living.older.count + 1 + living.gone.count { $0.epoch != nil } }
  }

  // MARK: - Loops hear of each other

  func setPokes(_ all: [@Sendable () -> Void]) { pokes.withLock { $0 = all } }

  func setSuspicion(_ body: @escaping @Sendable (Int, Int) -> Void) { suspicion.withLock { $0 = body } }

  func suspect(_ service: Int, _ instance: Int) {
    let body = suspicion.withLock { $0 }
    body(service, instance)
  }

  /// Pokes all loops but one.
  func pokeAll(but loop: Int?) {
    let all = pokes.withLock { $0 }
    for (index, poke) in all.enumerated() where index != loop { poke() }
  }

  /// Pokes the loops of a mask of ``Places``.
  func poke(_ mask: UInt64) {
    let all = pokes.withLock { $0 }
    for (index, poke) in all.enumerated() where mask & Places.bit(index) != 0 { poke() }
  }
}

/// What all loops share under one plan, in its ids; the next plan's shares the counters behind it.
///
/// Immutable but for the atomics and locks within.
final class NodeEpoch: Sendable {
  /// Counted from 0.
  let number: Int
  let configuration: ProxyConfiguration
  let places: Places
  /// By rate limit.
  let rates: [RateCells]
  /// By route.
  let tunnels: OpenTunnels
  /// TLS of listeners and services.
  let contexts: SecurityContexts

  init(_ configuration: ProxyConfiguration, contexts: SecurityContexts) {
    self.contexts = contexts
    number = 0
    self.configuration = configuration
    places = Places(configuration.plan)
    tunnels = OpenTunnels(routes: configuration.plan.routes.count)
    rates = configuration.plan.limits.map { RateCells(LimitTable($0, salt: configuration.seed)) }
  }

  init(
    _ configuration: ProxyConfiguration, contexts: SecurityContexts, after old: NodeEpoch, by move: PlanMove,
    now: Instant
  ) {
    self.contexts = contexts
    number = old.number + 1
    self.configuration = configuration
    let plan = configuration.plan
    let before = old.configuration.plan
    tunnels = OpenTunnels(routes: plan.routes.count, after: old.tunnels, by: move)
    places = Places(plan, after: old.places, of: before, by: move)
    let limitsBack = PlanMove.back(move.limits, count: plan.limits.count)
    rates = plan.limits.enumerated().map { i, limit in
      guard let was = limitsBack[i] else { return RateCells(LimitTable(limit, salt: configuration.seed)) }
      if before.limits[was] == limit { return old.rates[was] }
      let moved = old.rates[was].table.withLock { $0.moved(to: limit, from: before.limits[was], now: now) }
      return RateCells(moved ?? LimitTable(limit, salt: configuration.seed))
    }
  }
}

/// The cells of one rate limit; an object, so that two plans that write it the same way share it.
final class RateCells: Sendable {
  let table: Mutex<LimitTable>

  init(_ table: LimitTable) { self.table = Mutex(table) }
}
