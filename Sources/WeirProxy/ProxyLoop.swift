// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import Synchronization
import WeirBase
import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirWire

/// All that one event loop owns: flows, connections of clients, pools to instances, timers, buffers.
///
/// Confined to its event loop: every method runs there. What other threads want comes as a task of the loop.
/// Decisions are made by ``flows``; this carries them out.
///
/// ## Invariants
/// 1. Decide inside one access to `flows`, end it, then act: an action may lead back into this object.
/// 2. A client's connection, its call and its connection to an instance belong to the same loop, always.
final class ProxyLoop: NIOScheduledCallbackHandler {
  let index: Int
  let eventLoop: any EventLoop
  let node: NodeState
  let contexts: SecurityContexts
  var handshakes = HandshakeTally()
  let configuration: ProxyConfiguration
  let limits: ProxyLimits
  let headLimits: HeadLimits
  let times: Times
  let answers = OwnAnswers()
  let names: CallNames

  var flows: LoopFlows
  let edgeServices: [Int]
  private let edgesOfService: [[Int]]
  private var versions: [UInt32]
  /// By call: whose it is while it waits for a place.
  private var waiters: [ClientConnection?] = []
  private var isTurning = false
  private var turnsDue: [Int] = []

  // Connections of clients, at stable places.
  private(set) var clients: [ClientConnection?] = []
  private var generations: [UInt32] = []
  private var free: [Int32] = []
  /// By place: when the connection itself (not its call) has been silent for too long; swept each tick.
  var silentAt: [Int64] = []
  private(set) var clientCount = 0

  // Instances, one place for each of all services.
  let firstPlace: [Int]
  private var addresses: [SocketAddress?]
  private(set) var addressVersions: [UInt32]
  private var pools: [[UpstreamConnection]]

  // Time.
  private var heap = WakeHeap()
  private var scheduled: NIOScheduledCallback?
  private var scheduledAt = Int64.max
  private var nextTick: Int64 = 0
  private var ticks = 0

  // Buffers that every request uses in turn.
  var scratch = HeadBuffer(capacity: 8 << 10)
  var out: ByteBuffer
  /// Stands where no bytes are; this loop's own, so that its count is not fought over by other loops.
  let empty: ByteBuffer
  var random: SeededRandom
  private(set) var dateLine: [UInt8] = []
  private var dateSecond: Int64 = -1

  var isDraining = false
  /// When this node cuts what is still under way; set with `isDraining`.
  private(set) var drainEnds = Int64.max
  /// By route.
  var tunnels: [TunnelCount]
  private var drained: EventLoopPromise<Void>?
  private var isStopped = false
  private(set) var access: [AccessEntry] = []
  private(set) var accessLost: UInt64 = 0
  private var tag: UInt64 = 0
  var prober: HealthProber?

  /// The limits' times in nanoseconds.
  struct Times {
    var head, bodyIdle, answerIdle, keepAlive, upstreamIdle, linger: Int64

    init(_ limits: ProxyLimits) {
      head = limits.headTime.inNanoseconds
      bodyIdle = limits.bodyIdle.inNanoseconds
      answerIdle = limits.answerIdle.inNanoseconds
      keepAlive = limits.keepAlive.inNanoseconds
      upstreamIdle = limits.upstreamIdle.inNanoseconds
      linger = limits.linger.inNanoseconds
    }
  }

  init(
    _ configuration: ProxyConfiguration, node: NodeState, contexts: SecurityContexts, index: Int,
    eventLoop: any EventLoop
  ) {
    self.contexts = contexts
    self.index = index
    self.eventLoop = eventLoop
    self.node = node
    self.configuration = configuration
    limits = configuration.limits
    times = Times(configuration.limits)
    headLimits = HeadLimits(bytes: configuration.limits.headBytes, fields: configuration.limits.headFields)
    names = CallNames(configuration.calls)
    let plan = configuration.plan
    let (views, versions) = node.flows.withLock { flows in
      (plan.edges.indices.map { flows.view($0) }, plan.edges.indices.map { flows.version($0) })
    }
    flows = LoopFlows(
      plan: plan, views: views, loop: index, loops: configuration.loops, seed: configuration.seed,
      recordsLimit: configuration.accessLog, records: configuration.recording)
    self.versions = versions
    edgeServices = plan.edges.map(\.service)
    edgesOfService = plan.services.indices.map { service in
      plan.edges.indices.filter { plan.edges[$0].service == service }
    }
    var first: [Int] = []
    var count = 0
    for service in plan.services {
      first.append(count)
      count += service.instances
    }
    firstPlace = first
    addresses = Array(repeating: nil, count: count)
    addressVersions = Array(repeating: 0, count: count)
    pools = Array(repeating: [], count: count)
    tunnels = Array(repeating: TunnelCount(), count: plan.routes.count)
    random = SeededRandom(seed: configuration.seed, stream: "proxy loop \(index)")
    out = ByteBufferAllocator().buffer(capacity: 16 << 10)
    empty = ByteBufferAllocator().buffer(capacity: 16)
    if configuration.accessLog > 0 { access.reserveCapacity(configuration.accessLog) }
  }

  @inline(__always)
  func now() -> Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

  // MARK: - Time

  /// The rhythm of merges, of the sweep for silence, and of the date.
  private static let tickEvery = NodeFlows.mergeEvery

  func start() {
    refreshDate()
    nextTick = now().nanoseconds + ProxyLoop.tickEvery
    schedule()
  }

  /// Has `client` woken at `at` for its call.
  func arm(_ client: ClientConnection, at: Int64) {
    client.armedAt = at
    heap.push(WakeHeap.Entry(at: at, index: client.place, generation: client.generation))
    if at < scheduledAt { schedule() }
  }

  private func schedule() {
    let at = min(nextTick, heap.first)
    if at >= scheduledAt || isStopped { return }
    scheduled?.cancel()
    scheduledAt = at
    // Fails only on a loop that is shut down, where no timer matters any more.
    scheduled = try? eventLoop.assumeIsolated().scheduleCallback(
      at: .uptimeNanoseconds(UInt64(at)), handler: self)
  }

  func handleScheduledCallback(eventLoop: some EventLoop) {
    scheduledAt = .max
    scheduled = nil
    let now = self.now()
    while let entry = heap.pop(now: now.nanoseconds) {
      let place = Int(entry.index)
      guard generations[place] == entry.generation, let client = clients[place], client.armedAt == entry.at else {
        continue
      }
      client.armedAt = .max
      client.wake(now: now)
    }
    if now.nanoseconds >= nextTick {
      tick(now)
      nextTick = max(nextTick + ProxyLoop.tickEvery, now.nanoseconds)
    }
    schedule()
  }

  private func tick(_ now: Instant) {
    ticks &+= 1
    sync(now: now, ticks: true)
    refreshDate()
    let time = now.nanoseconds
    for place in silentAt.indices where silentAt[place] <= time { clients[place]?.wasSilent(now: now) }
    prober?.tick(now: now)
    // Idle connections to instances: each second, the oldest are at the bottom.
    if ticks % 10 == 0 {
      for place in pools.indices where !pools[place].isEmpty { trim(place, before: time - times.upstreamIdle) }
    }
  }

  private func refreshDate() {
    let second = SystemClock.wall().milliseconds / 1000
    if second == dateSecond { return }
    dateSecond = second
    scratch.clear()
    scratch.append("Date: ")
    HTTPDate.append(second, to: &scratch)
    scratch.append("\r\n")
    dateLine = Array(scratch.storage.prefix(scratch.count))
  }

  /// Seconds since 1970, for `Retry-After` as a date.
  var wallSeconds: Int64 { SystemClock.wall().milliseconds / 1000 }

  // MARK: - The node

  /// Posts what this loop has learned and takes over what the node has decided.
  func sync(now: Instant, ticks: Bool = false) {
    var changed = false
    if ticks { node.flows.withLock { $0.tick(now: now) } }
    for edge in versions.indices {
      let delta = flows.takeDelta(edge: edge)
      if delta == nil && !ticks { continue }
      let view: (EdgeView, UInt32)? = node.flows.withLock { node in
        if let delta { node.absorb(delta, now: now) }
        return node.version(edge) == versions[edge] ? nil : (node.view(edge), node.version(edge))
      }
      if let (view, version) = view { accept(view, version, edge, now); changed = true }
    }
    if changed && !ticks { node.pokeAll(but: index) }
  }

  /// What a step has learned may trip a breaker or give back a permit: the node hears of it now.
  @inline(__always)
  func syncIfUrgent(_ edge: Int, now: Instant) {
    if flows.wantsMerge(edge: edge) { syncUrgent(edge, now: now) }
  }

  @inline(never)
  private func syncUrgent(_ edge: Int, now: Instant) {
    guard let delta = flows.takeDelta(edge: edge) else { return }
    let view: (EdgeView, UInt32)? = node.flows.withLock { node in
      node.absorb(delta, now: now)
      return node.version(edge) == versions[edge] ? nil : (node.view(edge), node.version(edge))
    }
    guard let (view, version) = view else { return }
    accept(view, version, edge, now)
    node.pokeAll(but: index)
  }

  private func accept(_ view: EdgeView, _ version: UInt32, _ edge: Int, _ now: Instant) {
    versions[edge] = version
    flows.accept(view, edge: edge, now: now)
    turn(edge, now: now)
  }

  /// Another loop, or the control plane, changed something: look at all of it.
  func poked() {
    let now = now()
    for edge in versions.indices {
      let view: (EdgeView, UInt32)? = node.flows.withLock { node in
        node.version(edge) == versions[edge] ? nil : (node.view(edge), node.version(edge))
      }
      if let (view, version) = view { accept(view, version, edge, now) }
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
    case .probeInstance(let instance):
      ticket = node.flows.withLock { $0.permit(edge: edge, instance: instance, now: now) }
    case .probeService: ticket = node.flows.withLock { $0.permit(edge: edge, instance: nil, now: now) }
    case .place: ticket = node.places.acquire(edge: edge, loop: index) ? CircuitBreaker.Ticket(epoch: 0) : nil
    case .retry(let told):
      ticket = node.flows.withLock { $0.retry(edge: edge, told, now: now) } ? CircuitBreaker.Ticket(epoch: 0) : nil
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
    let wanted = node.places.release(service: service, instance: instance)
    if wanted & Places.bit(index) != 0 {
      for other in edgesOfService[service] where other != edge {
        flows.placeFreed(edge: other, instance: instance)
        turn(other, now: now)
      }
    }
    turn(edge, wanted: wanted, now: now)
  }

  func edgePlaceFreed(_ edge: Int, now: Instant) {
    turn(edge, wanted: node.places.release(edge: edge), now: now)
  }

  /// The turn after a place was given back that the loops of `wanted` wait for, too.
  ///
  /// Where others wait nobody is preferred: this loop's turn comes by a poke, as theirs do. A busy loop that gave itself
  /// the turn at once would keep every place, and the others' calls would end in the queue.
  private func turn(_ edge: Int, wanted: UInt64, now: Instant) {
    if wanted & ~Places.bit(index) == 0 { return turn(edge, now: now) }
    node.poke(wanted | Places.bit(index))
  }

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
      if case .wait = step.action {
        client.carry(step, now: now)
        if flows.hasVerdicts(edge: edge) { continue }
        break
      }
      client.carry(step, now: now)
    }
  }

  // MARK: - Instances

  func setAddress(_ address: SocketAddress?, service: Int, instance: Int) {
    let place = firstPlace[service] + instance
    if addresses[place] == address { return }
    addresses[place] = address
    addressVersions[place] &+= 1
    let idle = pools[place]
    pools[place] = []
    for connection in idle { connection.close() }
  }

  func address(_ place: Int) -> SocketAddress? { addresses[place] }

  /// Traffic could not reach an instance: its next health check comes forward.
  func suspect(service: Int, instance: UInt16) {
    if index == 0 {
      prober?.suspected(service: service, instance: Int(instance), now: now())
    } else {
      node.suspect(service, Int(instance))
    }
  }

  /// The connection to an instance that was used last.
  func takeIdle(_ place: Int) -> UpstreamConnection? { pools[place].popLast() }

  func keepIdle(_ connection: UpstreamConnection) {
    let place = connection.place
    if isDraining || connection.addressVersion != addressVersions[place]
      || pools[place].count >= limits.upstreamIdleConnections
    {
      connection.close()
    } else {
      pools[place].append(connection)
    }
  }

  func dropIdle(_ connection: UpstreamConnection) {
    let place = connection.place
    if let index = pools[place].lastIndex(where: { $0 === connection }) { pools[place].remove(at: index) }
  }

  private func trim(_ place: Int, before: Int64) {
    let stale = pools[place].prefix { $0.idleSince < before }.count
    if stale == 0 { return }
    let old = Array(pools[place].prefix(stale))
    pools[place].removeFirst(stale)
    for connection in old { connection.close() }
  }

  // MARK: - Clients

  func add(_ client: ClientConnection) {
    clientCount += 1
    if let place = free.popLast() {
      client.place = place
      clients[Int(place)] = client
    } else {
      client.place = Int32(clients.count)
      clients.append(client)
      generations.append(0)
      silentAt.append(.max)
    }
    client.generation = generations[Int(client.place)]
  }

  func remove(_ client: ClientConnection) {
    let place = Int(client.place)
    guard clients[place] === client else { return }
    clientCount -= 1
    clients[place] = nil
    silentAt[place] = .max
    generations[place] &+= 1
    free.append(client.place)
    if clientCount == 0, let drained {
      self.drained = nil
      drained.succeed(())
    }
  }

  // MARK: - Access log

  var keepsAccess: Bool { configuration.accessLog > 0 }

  func nextTag() -> UInt64 {
    tag &+= 1
    return tag << 8 | UInt64(index & 255)
  }

  func keep(_ entry: AccessEntry) {
    if access.count < configuration.accessLog { access.append(entry) } else { accessLost &+= 1 }
  }

  func takeAccess() -> ([AccessEntry], UInt64) {
    defer {
      access.removeAll(keepingCapacity: true)
      accessLost = 0
    }
    return (access, accessLost)
  }

  // MARK: - The end

  /// Idle connections are closed, others after their answer; the promise is kept when none is left.
  ///
  /// What is still under way at `ends` is cut: the flows take no request that might last longer.
  func drain(_ promise: EventLoopPromise<Void>, until ends: Instant) {
    isDraining = true
    flows.drain(until: ends, now: now())
    drainEnds = ends.nanoseconds
    prober?.stop()
    if clientCount == 0 {
      promise.succeed(())
      return
    }
    drained?.succeed(())
    drained = promise
    for client in clients { client?.drain() }
  }

  /// Closes all that is left.
  func stop() {
    isDraining = true
    isStopped = true
    prober?.stop()
    scheduled?.cancel()
    scheduled = nil
    for client in clients { client?.cut() }
    for place in pools.indices {
      let idle = pools[place]
      pools[place] = []
      for connection in idle { connection.close() }
    }
  }
}
