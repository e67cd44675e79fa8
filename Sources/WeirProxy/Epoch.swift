// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirPatterns
import WeirWire

/// All that one loop holds in the ids of one plan: its configuration, its flows, who waits, where its instances are.
///
/// Confined to its loop. A request takes the loop's newest epoch when its head is read and keeps it to its end, so a
/// reload changes nothing under it. An old epoch lives until nothing is under way in it (``ProxyLoop/dropEmptyEpochs()``);
/// connections, sockets and pools belong to the loop and outlive all epochs.
///
/// ## Invariants
/// 1. Decide inside one access to `flows`, end it, then act: an action may lead back into this object.
/// 2. Ids never leave their epoch: what crosses over (the node, another plan's ledger) is translated by a `PlanMove`.
final class Epoch {
  let shared: NodeEpoch
  let node: NodeState
  let loop: Int
  let configuration: ProxyConfiguration
  /// Where the gateway's requests go.
  let trie: RouteTrie
  let names: CallNames
  var flows: LoopFlows
  let edgeServices: [Int]
  private let edgesOfService: [[Int]]
  private let firstPlace: [Int]
  /// The loop's place of each instance of all services.
  private(set) var placeOf: [Int]
  private var versions: [UInt32]
  /// By route: what it does beside sending requests on, and whether it shares them out.
  let rules: [RouteRules?]
  let splits: [Bool]
  /// By route: calls of gRPC-Web are made into calls of gRPC.
  let grpcWeb: [Bool]
  let hasGRPCWeb: Bool
  /// By route: what the gateway itself does for it.
  let edgePolicies: [EdgePolicy?]
  /// A route may be called by pages of other origins.
  let answersPreflights: Bool
  /// By service: its instances are told who a connection is from.
  let saysClient: [Bool]
  /// By edge: something of its requests decides which instance they go to.
  let choosy: [Bool]
  /// By edge: a body up to this size is kept to be sent again.
  let retryBuffers: [Int64]
  let requestID: RequestIDRule?
  /// By route: how its mirror's answers differ.
  var mirrors: [MirrorReport?]
  /// By route.
  var tunnels: [TunnelCount]
  /// By route: how requests with a key are known again, and what became of them.
  let keying: [RouteKeying?]
  let hasKeys: Bool
  var keyed: [KeyedCount]
  /// By call: whose it is while it waits for a place.
  private var waiters: [ClientConnection?] = []
  private var isTurning = false
  private var turnsDue: [Int] = []
  /// From this plan to the newest; nil while this is the newest.
  private(set) var toCurrent: PlanMove?

  var number: Int { shared.number }
  var places: Places { shared.places }

  /// The loop's first epoch; `places` are the loop's places of all instances, in their order.
  init(first shared: NodeEpoch, node: NodeState, loop: Int, places: [Int]) {
    let configuration = shared.configuration
    let plan = configuration.plan
    let (views, versions) = Epoch.views(of: node, plan)
    self.versions = versions
    tunnels = Array(repeating: TunnelCount(), count: plan.routes.count)
    rules = plan.routes.indices.map { index in
      index < configuration.routes.count ? configuration.routes[index].map(RouteRules.init) : nil
    }
    keying = RouteKeying.all(configuration)
    hasKeys = keying.contains { $0 != nil }
    keyed = Array(repeating: KeyedCount(), count: plan.routes.count)
    splits = plan.routes.map { $0.split != nil }
    grpcWeb = plan.routes.indices.map { configuration.grpcWebRoutes.contains($0) }
    hasGRPCWeb = !configuration.grpcWebRoutes.isEmpty
    edgePolicies = plan.routes.indices.map { index in
      index < configuration.edgePolicies.count ? configuration.edgePolicies[index] : nil
    }
    answersPreflights = edgePolicies.contains { $0?.cors != nil }
    saysClient = plan.services.indices.map { configuration.sendsHeader(to: $0) != nil }
    retryBuffers = plan.edges.map { Int64($0.call.retryBuffer) }
    choosy = Epoch.choosy(configuration)
    requestID = configuration.requestID
    mirrors = plan.routes.map { $0.mirror == nil ? nil : MirrorReport() }
    flows = LoopFlows(
      plan: plan, views: views, loop: loop, loops: configuration.loops, seed: configuration.seed,
      recordsLimit: configuration.accessLog, records: configuration.recording)
    self.shared = shared
    self.node = node
    self.loop = loop
    self.configuration = configuration
    trie = configuration.trie
    names = CallNames(configuration.calls)
    edgeServices = plan.edges.map(\.service)
    edgesOfService = Epoch.edgesOfServices(plan)
    firstPlace = Epoch.firstPlaces(plan)
    placeOf = places
  }

  /// The epoch after `old`, which hands over what it has learned and counted; `place` makes a place for what is new.
  init(
    _ shared: NodeEpoch, after old: Epoch, by move: PlanMove, now: Instant, place: (Int, Int) -> Int
  ) {
    let configuration = shared.configuration
    let plan = configuration.plan
    let (views, versions) = Epoch.views(of: old.node, plan)
    self.versions = versions
    tunnels = Array(repeating: TunnelCount(), count: plan.routes.count)
    rules = plan.routes.indices.map { index in
      index < configuration.routes.count ? configuration.routes[index].map(RouteRules.init) : nil
    }
    keying = RouteKeying.all(configuration)
    hasKeys = keying.contains { $0 != nil }
    keyed = Array(repeating: KeyedCount(), count: plan.routes.count)
    splits = plan.routes.map { $0.split != nil }
    grpcWeb = plan.routes.indices.map { configuration.grpcWebRoutes.contains($0) }
    hasGRPCWeb = !configuration.grpcWebRoutes.isEmpty
    edgePolicies = plan.routes.indices.map { index in
      index < configuration.edgePolicies.count ? configuration.edgePolicies[index] : nil
    }
    answersPreflights = edgePolicies.contains { $0?.cors != nil }
    saysClient = plan.services.indices.map { configuration.sendsHeader(to: $0) != nil }
    retryBuffers = plan.edges.map { Int64($0.call.retryBuffer) }
    choosy = Epoch.choosy(configuration)
    requestID = configuration.requestID
    mirrors = plan.routes.map { $0.mirror == nil ? nil : MirrorReport() }
    flows = old.flows.moved(
      to: plan, from: old.configuration.plan, by: move, views: views, loops: configuration.loops, now: now)
    old.flows.countAnew()
    // What is open stays open there; what was counted moves.
    var counted = old.tunnels
    for i in counted.indices {
      counted[i].open = 0
      let open = old.tunnels[i].open
      old.tunnels[i] = TunnelCount()
      old.tunnels[i].open = open
    }
    Epoch.add(counted, to: &tunnels, by: move)
    Epoch.add(old.keyed, to: &keyed, by: move)
    old.keyed = Array(repeating: KeyedCount(), count: old.keyed.count)
    self.shared = shared
    node = old.node
    loop = old.loop
    self.configuration = configuration
    trie = configuration.trie
    names = CallNames(configuration.calls)
    edgeServices = plan.edges.map(\.service)
    edgesOfService = Epoch.edgesOfServices(plan)
    firstPlace = Epoch.firstPlaces(plan)
    let servicesBack = PlanMove.back(move.services, count: plan.services.count)
    var places: [Int] = []
    for (s, service) in plan.services.enumerated() {
      let back = servicesBack[s].map { PlanMove.back(move.instances[$0], count: service.instances) }
      for i in 0..<service.instances {
        if let was = servicesBack[s], let k = back?[i] {
          places.append(old.place(was, UInt16(k)))
        } else {
          places.append(place(s, i))
        }
      }
    }
    placeOf = places
    old.toCurrent = move
  }

  /// The plan has changed once more after the one that took over from this.
  func movedOn(by move: PlanMove) { toCurrent = toCurrent?.then(move) ?? move }

  static func add(_ old: [TunnelCount], to new: inout [TunnelCount], by move: PlanMove) {
    for (route, to) in move.routes.enumerated() { if let to { new[to] += old[route] } }
  }

  static func add(_ old: [KeyedCount], to new: inout [KeyedCount], by move: PlanMove) {
    for (route, to) in move.routes.enumerated() { if let to { new[to] += old[route] } }
  }

  private static func views(of node: NodeState, _ plan: FlowPlan) -> ([EdgeView], [UInt32]) {
    node.withFlows { flows in (plan.edges.indices.map { flows.view($0) }, plan.edges.indices.map { flows.version($0) })
    }
  }

  private static func edgesOfServices(_ plan: FlowPlan) -> [[Int]] {
    var edges = [[Int]](repeating: [], count: plan.services.count)
    for (e, edge) in plan.edges.enumerated() { edges[edge.service].append(e) }
    return edges
  }

  private static func firstPlaces(_ plan: FlowPlan) -> [Int] {
    var first: [Int] = []
    var count = 0
    for service in plan.services {
      first.append(count)
      count += service.instances
    }
    return first
  }

  /// The loop's place of an instance.
  @inline(__always)
  func place(_ service: Int, _ instance: UInt16) -> Int { placeOf[firstPlace[service] + Int(instance)] }

  // MARK: - The node

  /// Posts what this loop has learned and takes over what the node has decided.
  func sync(now: Instant, ticks: Bool = false) {
    var changed = false
    for edge in versions.indices {
      let delta = flows.takeDelta(edge: edge)
      if delta == nil && !ticks { continue }
      if let news = node.exchange(delta, edge: edge, of: shared, known: versions[edge], now: now) {
        accept(news, edge, now)
        changed = true
      }
    }
    if changed && !ticks { node.pokeAll(but: loop) }
  }

  /// What a step has learned may trip a breaker or give back a permit: the node hears of it now.
  @inline(__always)
  func syncIfUrgent(_ edge: Int, now: Instant) {
    if edge >= 0 && flows.wantsMerge(edge: edge) { syncUrgent(edge, now: now) }
  }

  @inline(never)
  private func syncUrgent(_ edge: Int, now: Instant) {
    guard let delta = flows.takeDelta(edge: edge),
      let news = node.exchange(delta, edge: edge, of: shared, known: versions[edge], now: now)
    else { return }
    accept(news, edge, now)
    node.pokeAll(but: loop)
  }

  private func accept(_ news: NodeState.News, _ edge: Int, _ now: Instant) {
    versions[edge] = news.version
    var view = news.view
    if let move = news.move {
      view = view.movedBack(by: move, of: edgeServices[edge], onto: flows.state.upstreams[edge].view)
    }
    flows.accept(view, edge: edge, now: now)
    turn(edge, now: now)
  }

  /// Another loop, another epoch or the control plane changed something: look at all of it.
  func poked(now: Instant) {
    for edge in versions.indices {
      if let news = node.exchange(nil, edge: edge, of: shared, known: versions[edge], now: now) {
        accept(news, edge, now)
      }
      let service = edgeServices[edge]
      if configuration.plan.services[service].atOnce != .max {
        for i in 0..<configuration.plan.services[service].instances {
          flows.placeFreed(edge: edge, instance: UInt16(i))
        }
      }
      turn(edge, now: now)
    }
  }

  /// The node's answer to a flow's question.
  func answer(_ question: CallAction.Question, _ client: ClientConnection, now: Instant) -> CallStep {
    let edge = client.edge
    let ticket: CircuitBreaker.Ticket?
    switch question {
    case .probeInstance(let instance): ticket = node.permit(edge: edge, instance: instance, of: shared, now: now)
    case .probeService: ticket = node.permit(edge: edge, instance: nil, of: shared, now: now)
    case .place: ticket = places.acquire(edge: edge, loop: loop) ? CircuitBreaker.Ticket(epoch: 0) : nil
    case .retry(let told):
      ticket = node.retry(edge: edge, told, of: shared, now: now) ? CircuitBreaker.Ticket(epoch: 0) : nil
    }
    return flows.permit(client.call, ticket, now: now)
  }

  // MARK: - Places and who waits for them

  func waits(_ client: ClientConnection) {
    let index = Int(client.call.index)
    while waiters.count <= index { waiters.append(nil) }
    waiters[index] = client
  }

  func waitsNoMore(_ call: Slot) {
    let index = Int(call.index)
    if index < waiters.count { waiters[index] = nil }
  }

  /// A place on an instance was given back.
  func placeFreed(edge: Int, instance: UInt16, now: Instant) {
    let service = edgeServices[edge]
    let wanted = places.release(service: service, instance: instance)
    if wanted & Places.bit(loop) != 0 {
      for other in edgesOfService[service] where other != edge {
        flows.placeFreed(edge: other, instance: instance)
        turn(other, now: now)
      }
    }
    turn(edge, wanted: wanted, now: now)
  }

  func edgePlaceFreed(_ edge: Int, now: Instant) {
    turn(edge, wanted: places.release(edge: edge), now: now)
  }

  /// The turn after a place was given back that the loops of `wanted` wait for, too.
  ///
  /// Where others wait nobody is preferred: this loop's turn comes by a poke, as theirs do. A busy loop that gave itself
  /// the turn at once would keep every place, and the others' calls would end in the queue. It is the same between two
  /// epochs of one loop.
  private func turn(_ edge: Int, wanted: UInt64, now: Instant) {
    if wanted & ~Places.bit(loop) == 0 && (wanted == 0 || !isAmongOthers) { return turn(edge, now: now) }
    node.poke(wanted | Places.bit(loop))
  }

  /// The loop has other epochs beside this one.
  var isAmongOthers = false

  /// Lets those go on who waited longest, while there is room.
  func turn(_ edge: Int, now: Instant) {
    if flows.waiting(edge: edge) == 0 && !flows.hasVerdicts(edge: edge) { return }
    // What a turn sets free may be another edge's turn: it comes after this one, not within it.
    if isTurning {
      turnsDue.append(edge)
      return
    }
    isTurning = true
    turnOne(edge, now: now)
    while let next = turnsDue.popLast() { turnOne(next, now: now) }
    isTurning = false
  }

  private func turnOne(_ edge: Int, now: Instant) {
    while let (slot, step) = flows.turn(edge: edge, now: now) {
      guard let client = waiters[Int(slot.index)] else { break }
      client.carry(step, now: now)
      if case .wait = step.action, !flows.hasVerdicts(edge: edge) { break }
    }
  }
}

extension ProxyConfiguration {
  /// The gateway's routes; all its listeners lead to the same ones.
  var trie: RouteTrie {
    for listener in listeners { if case .gateway(let trie) = listener.kind { return trie } }
    return RouteTrie.Builder().build()
  }
}
