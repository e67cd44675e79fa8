// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// What the inputs of a loop's flows share: callees, chance, the ledger, and the input's own moment.
public struct LoopState: Sendable, Equatable {
  public internal(set) var upstreams: Shelf<Upstream>
  public internal(set) var ledger: Ledger
  var random: SeededRandom
  /// Of the input that is being worked on.
  var here = Here()
  var edge = 0
  var slot = Slot.none
  var now = Instant.zero
  /// By call: what it wants of the choice of its instance, along edges where that is asked.
  private var wishes: [Wish] = []

  init(plan: FlowPlan, views: [EdgeView], loop: Int, loops: Int, seed: UInt64, recordsLimit: Int) {
    upstreams = Shelf(
      plan.edges.indices.map { i in
        Upstream(
          edge: plan.edges[i], service: plan.services[plan.edges[i].service], isGated: plan.isGated(i),
          view: views[i], loop: loop, loops: loops)
      })
    ledger = Ledger(plan: plan, recordsLimit: recordsLimit)
    random = SeededRandom(seed: seed, stream: "loop \(loop)")
  }

  /// What the call of this input wants.
  @inline(__always)
  var wish: Wish { here.upstream.constants.isChoosy ? wishes[Int(slot.index)] : Wish() }

  @inline(__always)
  mutating func keepWish(of facts: RequestFacts) {
    guard here.upstream.constants.isChoosy else { return }
    keep(Wish(key: here.upstream.constants.isKeyed ? facts.affinity : 0, home: facts.home))
  }

  @inline(never)
  private mutating func keep(_ wish: Wish) {
    while wishes.count <= Int(slot.index) { wishes.append(Wish()) }
    wishes[Int(slot.index)] = wish
  }
}

/// The callee of the input that is being worked on.
///
/// Its address, taken once when the input is entered (see ``Shelf``); of a past input it means nothing, so two are equal.
struct Here: Sendable, Equatable {
  /// As a number, for a state that is sent elsewhere means nothing by it.
  private var address: UInt = 0

  @inline(__always)
  mutating func enter(_ upstream: UnsafeMutablePointer<Upstream>) { address = UInt(bitPattern: upstream) }

  @inline(__always)
  private var pointer: UnsafeMutablePointer<Upstream> {
    unsafe UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
  }

  @inline(__always)
  var upstream: Upstream {
    _read { yield unsafe pointer.pointee }
    nonmutating _modify { yield unsafe &pointer.pointee }
  }

  static func == (a: Here, b: Here) -> Bool { true }
}

/// The limits of all routes, one after another, and what each limit of the plan counts by.
struct LimitsAsked: Sendable {
  var limits: [Int32]
  var by: [FlowPlan.Limit.By]
}

/// All flow state of one event loop: the only door through which a driver (proxy or simulator) feeds inputs.
///
/// Every input is one method; it says what happened, returns what to do, and can be recorded, so that a run replays into
/// a fresh value and gives the same actions (``Recorder``). Owned by one loop and confined to it; it never calls out, so
/// an action may safely lead to the next input: decide inside the access, end it, then act.
///
/// Time contract: `now` never goes back within a loop.
public struct LoopFlows: Sendable {
  public let loop: Int
  public internal(set) var state: LoopState
  public private(set) var calls: Slab<UpstreamCall>
  public private(set) var requests: Slab<GatewayRequest>
  /// How many requests may be in work on this loop, when nothing holds them back.
  private let requestsAtOnce: Int
  private let timeouts: [Int64]
  private let asked: LimitsAsked
  private let routes: [RouteConstants]
  /// By access: where its needs lie in `needs`.
  private let accesses: [Range<Int>]
  private let needs: [UInt64]
  /// By plan of tenants: its limit, or -1.
  private let tenantPlans: [Int32]
  /// By route, where some route shares its requests out.
  private let splits: [FlowPlan.Split?]
  private let mirrors: [FlowPlan.Mirror?]
  private var node = NodeReadings()
  public private(set) var recorder: Recorder?

  struct RouteConstants: Sendable, Equatable {
    /// -1 for a route that answers by itself.
    var edge: Int32
    var isSplit: Bool
    var firstLimit: Int32
    var limitsEnd: Int32
    /// The route has a timeout of its own, whatever the edge.
    var hasTimeout: Bool
    /// Of a route that shares its requests out and has none of its own: the longest of its edges.
    var timeout: Int64
    /// What a fallback's own call may take beside it.
    var after: Int64
    var access: Int32
    var identities: UInt64
    var priority: PriorityAdmission.Class
    var requiresKey: Bool
  }

  private static func after(_ route: FlowPlan.Route, _ plan: FlowPlan) -> Duration {
    if case .edge(let other) = route.fallback, route.timeout == nil { return plan.edges[other].call.timeout }
    return .zero
  }

  private static func timeout(of route: FlowPlan.Route, _ plan: FlowPlan) -> Duration {
    if let own = route.timeout { return own }
    // Calls of a composed answer are made at the same time: it takes as long as the longest.
    let edges = route.split?.edges ?? [route.edge].compactMap { $0 } + route.parts.map(\.edge)
    return edges.map { plan.edges[$0].call.timeout }.max() ?? .zero
  }

  /// `views` are the node's (``NodeFlows/view(_:)``), one an edge.
  public init(
    plan: FlowPlan, views: [EdgeView], loop: Int = 0, loops: Int = 1, seed: UInt64, recordsLimit: Int = 0,
    records inputs: Int = 0
  ) {
    self.loop = loop
    state = LoopState(plan: plan, views: views, loop: loop, loops: loops, seed: seed, recordsLimit: recordsLimit)
    calls = Slab()
    requests = Slab()
    timeouts = plan.edges.map { $0.call.timeout.inNanoseconds }
    var limits: [Int32] = []
    routes = plan.routes.map { route in
      limits += route.limits.map { Int32($0) }
      return RouteConstants(
        edge: Int32(route.edge ?? -1), isSplit: route.split != nil,
        firstLimit: Int32(limits.count - route.limits.count), limitsEnd: Int32(limits.count),
        hasTimeout: route.timeout != nil, timeout: LoopFlows.timeout(of: route, plan).inNanoseconds,
        after: LoopFlows.after(route, plan).inNanoseconds,
        access: Int32(route.access ?? -1), identities: route.access.map { plan.accesses[$0].identities } ?? 0,
        priority: route.priority,
        requiresKey: route.idempotency?.required ?? false)
    }
    asked = LimitsAsked(limits: limits, by: plan.limits.map(\.by))
    var flat: [UInt64] = []
    accesses = plan.accesses.map { access in
      flat += access.needs
      return flat.count - access.needs.count..<flat.count
    }
    needs = flat
    tenantPlans = plan.tenantPlans.map { Int32($0.limit ?? -1) }
    splits = plan.routes.map(\.split)
    mirrors = plan.routes.map(\.mirror)
    requestsAtOnce = plan.requestsAtOnce(of: loop, outOf: loops)
    node.requestsMax = requestsAtOnce
    recorder = inputs > 0 ? Recorder(limit: inputs) : nil
  }

  /// Takes over what belongs to no edge: chance, and that the node is draining.
  mutating func inherit(_ old: LoopFlows) {
    state.random = old.state.random
    node.drainEnds = old.node.drainEnds
    holdBack(old.node.requestsMax == 0)
  }

  // MARK: - Requests of a gateway

  /// A request whose route is known.
  public mutating func begin(request facts: RequestFacts, now: Instant) -> (slot: Slot, step: RequestStep) {
    var route = routes[Int(facts.route)]
    if route.isSplit, let split = splits[Int(facts.route)] { route.edge = Int32(split.edge(facts)) }
    var request = GatewayRequest(facts: facts, route: route, now: now)
    node.requests = requests.count
    let step = request.begin(node, asked)
    let slot = requests.insert(request)
    recorder?.record(.request(facts), slot, now, step)
    return (slot, step)
  }

  /// What an identity said of a request's caller.
  public mutating func answered(_ slot: Slot, identity answer: IdentityAnswer, now: Instant) -> RequestStep {
    let access = Int(requests[slot].access)
    let step = requests[slot].answered(
      identity: answer, needs: access < 0 ? [] : needs[accesses[access]], plans: tenantPlans, asked)
    recorder?.record(.identity(answer), slot, now, step)
    return step
  }

  /// What the rate limit said of a request.
  public mutating func answered(_ slot: Slot, limit answer: LimitAnswer, now: Instant) -> RequestStep {
    let step = requests[slot].answered(limit: answer, asked)
    recorder?.record(.limit(answer), slot, now, step)
    return step
  }

  /// What the record of a request's key said.
  public mutating func answered(_ slot: Slot, record answer: RecordAnswer, now: Instant) -> RequestStep {
    let step = requests[slot].answered(record: answer, now: now)
    recorder?.record(.record(answer), slot, now, step)
    return step
  }

  /// The request is over; `record` is completed from what the request knows and kept.
  public mutating func end(request slot: Slot, as ending: RequestEnding, tag: UInt64 = 0, now: Instant) {
    state.ledger.ended(requests[slot].record(ending, tag: tag, now: now))
    requests.remove(slot)
    recorder?.record(.requestEnded(ending), slot, now)
  }

  /// A request that never got a slot: refused before its route was known.
  public mutating func refused(_ ending: RequestEnding, startedAt: Instant, tag: UInt64 = 0, now: Instant) {
    let request = GatewayRequest(startedAt: startedAt)
    state.ledger.ended(request.record(ending, tag: tag, now: now))
    recorder?.record(.requestEnded(ending), .none, now)
  }

  /// The node stops, and cuts at `ends` what is still under way.
  ///
  /// From now on requests are refused as `draining` that might last longer than that; calls between services go on, for the
  /// requests that are under way need them.
  public mutating func drain(until ends: Instant, now: Instant) {
    node.drainEnds = ends
    recorder?.record(.drain(until: ends), .none, now)
  }

  /// Memory has run short, or is there again: from now on requests are refused as `overloaded`, or taken.
  ///
  /// Calls between services go on, as in a drain.
  public mutating func holdBack(_ on: Bool, now: Instant) {
    holdBack(on)
    recorder?.record(.holdBack(on), .none, now)
  }

  private mutating func holdBack(_ on: Bool) { node.requestsMax = on ? 0 : requestsAtOnce }

  /// The edge that a request is mirrored along, if it is; `hash` is of the request.
  public mutating func mirrorEdge(route: UInt32, hash: UInt64) -> Int? {
    guard let mirror = mirrors[Int(route)], mirror.share.takes(hash) else { return nil }
    return mirror.edge
  }

  // MARK: - Calls

  /// A call along an edge begins: for a gateway's request, or from one service to another.
  public mutating func begin(call edge: Int, facts: RequestFacts, now: Instant) -> (slot: Slot, step: CallStep) {
    let timeout: Int64
    let rank: PriorityAdmission.Class
    if facts.route == RequestFacts.none {
      timeout = timeouts[edge]
      // What its caller can do without is the first to be left out.
      rank = state.upstreams[edge].constants.optional ? .low : .normal
    } else {
      let route = routes[Int(facts.route)]
      // Of a split, or of a fallback, each edge has its own.
      let isOther = route.isSplit || Int(route.edge) != edge
      timeout = isOther && !route.hasTimeout ? timeouts[edge] : route.timeout
      rank = route.priority
    }
    let slot = calls.insert(UpstreamCall(edge: edge, facts: facts, timeout: timeout, rank: rank, now: now))
    enter(slot, edge: edge, now)
    state.keepWish(of: facts)
    // A gateway's request was let in at the door. Calls between services have as much room again, for without them those
    // requests could not be answered.
    let isOverloaded = facts.route == RequestFacts.none && (calls.count - 1) / 2 >= requestsAtOnce
    let step = isOverloaded ? calls[slot].overloaded(&state) : calls[slot].begin(&state)
    recorder?.record(.call(edge: UInt32(edge), facts), slot, now, step)
    return (slot, close(slot, step))
  }

  /// The node's answer to `ask`; nil when it is no.
  ///
  /// For `ask(.place)` and `ask(.retry)` any ticket means yes.
  public mutating func permit(_ slot: Slot, _ granted: CircuitBreaker.Ticket?, now: Instant) -> CallStep {
    enter(slot, now)
    let step = calls[slot].permit(granted, &state)
    recorder?.record(.permit(granted), slot, now, step)
    return close(slot, step)
  }

  /// The place that `attempt` or `hedge` asked for is taken.
  ///
  /// Here and in the inputs that follow `of` says which attempt is meant, by its instance; it may be left out while
  /// there is one only.
  public mutating func full(_ slot: Slot, of instance: UInt16 = CallStep.nobody, now: Instant) -> CallStep {
    enter(slot, now)
    let step = calls[slot].full(of: instance, &state)
    recorder?.record(.full, of: instance, slot, now, step)
    return close(slot, step)
  }

  public mutating func connected(_ slot: Slot, of instance: UInt16 = CallStep.nobody, now: Instant) {
    state.slot = slot
    state.edge = Int(calls[slot].edge)
    state.now = now
    calls[slot].connected(of: instance)
    recorder?.record(.connected, of: instance, slot, now, CallStep(.none))
  }

  public mutating func sent(
    _ slot: Slot, _ amount: RetryRule.Sent, of instance: UInt16 = CallStep.nobody, now: Instant
  ) {
    calls[slot].sent(amount, of: instance)
    recorder?.record(.sent(amount), of: instance, slot, now, CallStep(.none))
  }

  /// A pooled connection was at hand and the request left whole: `connected` and `sent(.all)` in one.
  public mutating func sentAtOnce(_ slot: Slot, of instance: UInt16 = CallStep.nobody, now: Instant) {
    state.slot = slot
    state.edge = Int(calls[slot].edge)
    state.now = now
    calls[slot].connected(of: instance)
    calls[slot].sent(.all, of: instance)
    recorder?.record(.connected, of: instance, slot, now, CallStep(.none))
    recorder?.record(.sent(.all), of: instance, slot, now, CallStep(.none))
  }

  /// The head of the attempt's answer; 1xx heads are not fed.
  public mutating func head(
    _ slot: Slot, status: UInt16, retryAfter: Int64? = nil, fromWeir: Bool = false,
    of instance: UInt16 = CallStep.nobody, now: Instant
  ) -> CallStep {
    enter(slot, now)
    let step = calls[slot].head(
      status: status, retryAfter: retryAfter, fromWeir: fromWeir, of: instance, &state)
    recorder?.record(
      .head(status: status, retryAfter: retryAfter, fromWeir: fromWeir), of: instance, slot, now, step)
    return close(slot, step)
  }

  /// The attempt's answer has begun, and its end will say whether it is a good one (`outcome`).
  public mutating func begun(_ slot: Slot, now: Instant) -> CallStep {
    enter(slot, now)
    let step = calls[slot].begun(&state)
    recorder?.record(.begun, slot, now, step)
    return close(slot, step)
  }

  /// What the end of an answer that has `begun` says; `ended` follows.
  public mutating func outcome(_ slot: Slot, status: UInt16, now: Instant) {
    enter(slot, now)
    calls[slot].outcome(status: status, &state)
    recorder?.record(.outcome(status: status), slot, now, CallStep(.none))
  }

  /// What was answered is a connection that lasts; `ended` comes with its end, and frees its place.
  public mutating func lasts(_ slot: Slot, now: Instant) {
    enter(slot, now)
    calls[slot].lasts(&state)
    recorder?.record(.lasts, slot, now, CallStep(.none))
  }

  /// The answer was received and relayed whole.
  public mutating func ended(_ slot: Slot, now: Instant) -> CallStep {
    enter(slot, now)
    let step = calls[slot].ended(&state)
    recorder?.record(.ended, slot, now, step)
    return close(slot, step)
  }

  public mutating func failed(
    _ slot: Slot, _ failure: RetryRule.Failure, of instance: UInt16 = CallStep.nobody, now: Instant
  ) -> CallStep {
    enter(slot, now)
    let step = calls[slot].failed(failure, of: instance, &state)
    recorder?.record(.failed(failure), of: instance, slot, now, step)
    return close(slot, step)
  }

  /// A timer of this call fired; an early or stale one changes nothing.
  public mutating func wake(_ slot: Slot, now: Instant) -> CallStep {
    // One that comes too early is no input: it leaves no trace in the state, for it is not recorded.
    guard calls.isLive(slot), now >= calls[slot].nextWake else { return CallStep(.none) }
    enter(slot, now)
    let step = calls[slot].wake(&state)
    recorder?.record(.wake, slot, now, step)
    return close(slot, step)
  }

  public mutating func callerGone(_ slot: Slot, now: Instant) -> CallStep {
    enter(slot, now)
    let step = calls[slot].callerGone(&state)
    recorder?.record(.callerGone, slot, now, step)
    return close(slot, step)
  }

  // MARK: - Places and merges

  /// A place of this edge or of one of its callee's instances is free again: who waited longest is next, or nobody.
  ///
  /// The driver asks after each step that freed something, after `placeFreed`, and after `accept` (an instance that has
  /// joined brings places), until the answer is nil or the step is `wait` again.
  public mutating func turn(edge: Int, now: Instant) -> (slot: Slot, step: CallStep)? {
    let hadVerdicts = hasVerdicts(edge: edge)
    if hadVerdicts, let answer = gateTurn(edge, now) { return answer }
    guard state.upstreams[edge].waiting.count > 0 else {
      if hadVerdicts { recorder?.record(.turn(edge: UInt32(edge)), .none, now) }
      return nil
    }
    while let slot = state.upstreams[edge].waiting.take(now: now) {
      guard calls.isLive(slot) else { continue }
      enter(slot, edge: edge, now)
      let step = calls[slot].turn(&state)
      recorder?.record(.turn(edge: UInt32(edge)), slot, now, step)
      return (slot, close(slot, step))
    }
    // Nobody could go on, and those whose time was over have left the line: the next call finds it empty.
    recorder?.record(.turn(edge: UInt32(edge)), .none, now)
    return nil
  }

  /// Tells a call what the callee's gate has decided of it.
  private mutating func gateTurn(_ edge: Int, _ now: Instant) -> (slot: Slot, step: CallStep)? {
    while let verdict = state.upstreams[edge].gate[0].next() {
      let slot: Slot
      var enters = false
      switch verdict {
      case .enters(let who):
        slot = who
        enters = true
      case .drops(let who): slot = who
      }
      guard calls.isLive(slot), calls[slot].stage == .atGate else {
        // It has gone in the meantime: its place is another's.
        if enters { state.upstreams[edge].gate[0].release(took: nil, now: now) }
        continue
      }
      enter(slot, edge: edge, now)
      let step = calls[slot].gateOpens(enters, &state)
      recorder?.record(.turn(edge: UInt32(edge)), slot, now, step)
      return (slot, close(slot, step))
    }
    return nil
  }

  /// Another edge or loop gave back a place on this edge's instance.
  public mutating func placeFreed(edge: Int, instance: UInt16) {
    state.upstreams[edge].placeFreed(instance)
    recorder?.record(.placeFreed(edge: UInt32(edge), instance: instance), .none, state.now, CallStep(.none))
  }

  /// What this loop has learned of an edge since the last time; the node absorbs it.
  public mutating func takeDelta(edge: Int) -> EdgeDelta? {
    let delta = state.upstreams[edge].takeDelta(edge: edge)
    if delta != nil { recorder?.record(.deltaTaken(edge: UInt32(edge)), .none, state.now) }
    return delta
  }

  /// The node's new view of an edge.
  public mutating func accept(_ view: EdgeView, edge: Int, now: Instant) {
    state.upstreams[edge].accept(view, now: now)
    recorder?.record(view, edge: edge, now: now)
  }

  /// The node should hear of this edge now rather than at the next tick.
  public func isUrgent(edge: Int) -> Bool { state.upstreams[edge].isUrgent }

  // MARK: - Effects out

  public mutating func takeEvents() -> (events: [Event], lost: Int) { state.ledger.events.take() }
  public mutating func takeRecords() -> (records: [RequestRecord], lost: UInt64) { state.ledger.takeRecords() }
  public mutating func takeRecording() -> Recording? { recorder?.take() }

  @inline(__always)
  private mutating func enter(_ slot: Slot, _ now: Instant) { enter(slot, edge: Int(calls[slot].edge), now) }

  @inline(__always)
  private mutating func enter(_ slot: Slot, edge: Int, _ now: Instant) {
    state.slot = slot
    state.edge = edge
    state.now = now
    unsafe state.here.enter(state.upstreams.address(of: edge))
  }

  @inline(__always)
  private mutating func close(_ slot: Slot, _ step: CallStep) -> CallStep {
    if step.isLast { calls.remove(slot) }
    return step
  }
}
