// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import Synchronization
import WeirBase
import WeirFlows
import WeirMessaging
import WeirPatterns
import WeirPlatform
import WeirWire

/// All that one event loop owns: epochs, connections of clients, pools to instances, timers, buffers.
///
/// Confined to its event loop: every method runs there. What other threads want comes as a task of the loop.
/// Decisions are made by the flows of each request's ``Epoch``; this carries them out.
///
/// ## Invariants
/// 1. A client's connection, its call and its connection to an instance belong to the same loop, always.
/// 2. A request in work belongs to `epoch` or to one of `older`; those have something under way, or are dropped.
final class ProxyLoop: NIOScheduledCallbackHandler {
  let index: Int
  let eventLoop: any EventLoop
  let node: NodeState
  var handshakes = HandshakeTally()
  private(set) var limits: ProxyLimits
  private(set) var headLimits: HeadLimits
  private(set) var times: Times
  let answers = OwnAnswers()

  /// The newest plan's: what a request gets when its head is read.
  private(set) var epoch: Epoch
  /// Those that requests are still in work by, oldest first.
  private(set) var older: [Epoch] = []
  /// What old epochs had to tell when they were dropped.
  private var lastWords: [OldReport] = []

  // Connections of clients, at stable places.
  private(set) var clients: [ClientConnection?] = []
  private var generations: [UInt32] = []
  private var free: [Int32] = []
  /// By place: when the connection itself (not its call) has been silent for too long; swept each tick.
  var silentAt: [Int64] = []
  private(set) var clientCount = 0

  // Instances: a place for each of all services of all epochs.
  private var addresses: [SocketAddress?] = []
  private(set) var addressVersions: [UInt32] = []
  private var pools: [[UpstreamConnection]] = []
  private var freePlaces: [Int] = []

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
  /// What templates are filled with that is not the request's, what is filled in, and a request's new target.
  var own = HeadBuffer(capacity: 256)
  var filled: [UInt8] = []
  var target = HeadBuffer(capacity: 1 << 10)
  let edge = EdgeLoop()
  var random: SeededRandom
  var requestIDs = RequestIDSequence()
  private(set) var dateLine: [UInt8] = []
  private var dateSecond: Int64 = -1

  var isDraining = false
  /// Beyond `open` bodies of requests are not read on.
  var memoryLevel = MemoryBound.Level.open
  /// When this node cuts what is still under way; set with `isDraining`.
  private(set) var drainEnds = Int64.max
  private var drained: EventLoopPromise<Void>?
  private var isStopped = false
  private let accessMax: Int
  private(set) var access: [AccessEntry] = []
  private(set) var accessLost: UInt64 = 0
  private var attempts: [AttemptEntry] = []
  private var tag: UInt64 = 0
  var prober: HealthProber?
  let http2 = HTTP2Loop()
  /// By the name of a listener of TCP, of any plan so far.
  private(set) var tcpCounters: [String: TCPCounter] = [:]
  /// The connection to the state process, once a plan needs it.
  private(set) var state: StateLink?
  /// Reads requests to queues, topics and streams.
  var messagingAPI = MessagingAPI()
  /// While a scenario is played: what becomes of messages on their way here.
  var road: MessageRoad?
  /// Messages are brought to services: not before this node takes requests.
  var takesMessages = false
  /// Of the first loop, where a plan has webhooks: delivers them.
  var webhooks: WebhookDriver?
  /// By the name of a queue whose messages are brought to a service.
  var pushers: [String: QueuePusher] = [:]
  /// By the name of a saga.
  var sagaRunners: [String: SagaRunner] = [:]
  /// Messages, webhooks and sagas in hand, and what is still to be said of how they went: who drains waits for them.
  var deliveries = 0

  /// The limits' times in nanoseconds.
  struct Times {
    var head, bodyIdle, answerIdle, keepAlive, upstreamIdle, linger, grpcIdle: Int64

    init(_ limits: ProxyLimits) {
      head = limits.headTime.inNanoseconds
      bodyIdle = limits.bodyIdle.inNanoseconds
      answerIdle = limits.answerIdle.inNanoseconds
      keepAlive = limits.keepAlive.inNanoseconds
      upstreamIdle = limits.upstreamIdle.inNanoseconds
      linger = limits.linger.inNanoseconds
      grpcIdle = limits.grpcIdle.inNanoseconds
    }
  }

  init(node: NodeState, index: Int, eventLoop: any EventLoop) {
    self.index = index
    self.eventLoop = eventLoop
    self.node = node
    let shared = node.epoch
    let configuration = shared.configuration
    limits = configuration.limits
    times = Times(configuration.limits)
    headLimits = HeadLimits(bytes: configuration.limits.headBytes, fields: configuration.limits.headFields)
    let count = configuration.plan.services.reduce(0) { $0 + $1.instances }
    addresses = Array(repeating: nil, count: count)
    addressVersions = Array(repeating: 0, count: count)
    pools = Array(repeating: [], count: count)
    epoch = Epoch(first: shared, node: node, loop: index, places: Array(0..<count))
    random = SeededRandom(seed: configuration.seed, stream: "proxy loop \(index)")
    out = ByteBufferAllocator().buffer(capacity: 16 << 10)
    empty = ByteBufferAllocator().buffer(capacity: 16)
    accessMax = configuration.accessLog
    if accessMax > 0 { access.reserveCapacity(accessMax) }
    linkState(configuration)
  }

  private func linkState(_ configuration: ProxyConfiguration) {
    if state == nil, let path = configuration.statePath { state = StateLink(path: path, eventLoop: eventLoop) }
    state?.declare(
      StateLink.Declared(queues: configuration.queues, logs: configuration.logs, backup: configuration.backup),
      now: now())
    bringQueues(configuration)
    bringWebhooks(configuration)
    bringSagas(configuration)
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
    node.withFlows { $0.tick(now: now) }
    epoch.sync(now: now, ticks: true)
    if !older.isEmpty {
      for old in older { old.sync(now: now, ticks: true) }
      dropEmptyEpochs()
    }
    refreshDate()
    let time = now.nanoseconds
    for place in silentAt.indices where silentAt[place] <= time { clients[place]?.wasSilent(now: now) }
    prober?.tick(now: now)
    state?.tick(now: now)
    if takesMessages {
      for pusher in pushers.values { pusher.ask(now: now) }
      webhooks?.tick(now: now)
      for runner in sagaRunners.values { runner.tick(now: now) }
    }
    // Idle connections to instances: each second, the oldest are at the bottom.
    if ticks % 10 == 0 {
      http2.sweep(now: time, keepAlive: times.keepAlive)
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

  // MARK: - Epochs

  /// Another loop, or the control plane, changed something: look at all of it.
  func poked() {
    let now = now()
    // Who came first goes first.
    for old in older { old.poked(now: now) }
    epoch.poked(now: now)
  }

  /// A changed plan: new requests go by it, those in work end by the old one.
  ///
  /// `addresses` are where the instances listen that are new in it, by service and instance.
  func enter(_ shared: NodeEpoch, by move: PlanMove, addresses: [[SocketAddress?]]) {
    let now = now()
    let old = epoch
    // What it has learned goes to the node first, so that nothing is between the two plans.
    old.sync(now: now)
    for before in older { before.movedOn(by: move) }
    epoch = Epoch(shared, after: old, by: move, now: now) { service, instance in
      makePlace(addresses[service][instance])
    }
    limits = shared.configuration.limits
    times = Times(limits)
    headLimits = HeadLimits(bytes: limits.headBytes, fields: limits.headFields)
    linkState(shared.configuration)
    older.append(old)
    for client in clients where client?.isInWork == false { client?.take(epoch) }
    dropEmptyEpochs()
    epoch.flows.holdBack(memoryLevel == .refusing, now: now)
    prober?.moved(from: old, to: epoch, by: move, now: now)
  }

  /// Lets go of old epochs in which nothing is under way.
  func dropEmptyEpochs() {
    for old in older where old.flows.isEmpty && !clients.contains(where: { $0?.epoch === old && $0?.isInWork == true })
    {
      guard let move = old.toCurrent else { continue }
      older.removeAll { $0 === old }
      // Whose request was its last waits for the next one by the newest plan, and keeps nothing of the old one.
      for client in clients where client?.epoch === old { client?.take(epoch) }
      lastWords.append(OldReport(old, move))
      epoch.flows.absorb(ledgerOf: old.flows, by: move)
      Epoch.add(old.tunnels, to: &epoch.tunnels, by: move)
      Epoch.add(old.keyed, to: &epoch.keyed, by: move)
      node.dropped(old.shared)
      let kept = Set(epoch.placeOf).union(older.flatMap(\.placeOf))
      for place in old.placeOf where !kept.contains(place) { freePlace(place) }
    }
    epoch.isAmongOthers = !older.isEmpty
    for old in older { old.isAmongOthers = true }
  }

  /// What an old epoch tells: events in the newest plan's ids, records in its own, for their names are its.
  struct OldReport {
    var epoch: Int
    var events: [Event]
    var eventsLost: Int
    var records: [RequestRecord]
    var recordsLost: UInt64

    init(_ old: Epoch, _ move: PlanMove) {
      epoch = old.number
      let plan = old.configuration.plan
      let told = old.flows.takeEvents()
      events = told.events.compactMap { $0.moved(by: move, from: plan) }
      eventsLost = told.lost
      (records, recordsLost) = old.flows.takeRecords()
    }
  }

  /// What the old epochs have to tell since the last time.
  func takeOldReports() -> [OldReport] {
    defer { lastWords = [] }
    return lastWords + older.compactMap { old in old.toCurrent.map { OldReport(old, $0) } }
  }

  /// All counters in the newest plan's ids, with what is still counted by old ones.
  var ledger: Ledger {
    var all = epoch.flows.state.ledger
    for old in older { if let move = old.toCurrent { all.merge(old.flows.state.ledger, by: move) } }
    return all
  }

  /// By route of the newest plan.
  var tunnels: [TunnelCount] {
    var all = epoch.tunnels
    for old in older { if let move = old.toCurrent { Epoch.add(old.tunnels, to: &all, by: move) } }
    return all
  }

  /// By route of the newest plan: what became of requests with a key.
  var keyed: [KeyedCount] {
    var all = epoch.keyed
    for old in older { if let move = old.toCurrent { Epoch.add(old.keyed, to: &all, by: move) } }
    return all
  }

  /// By edge of the newest plan: who waits for a place.
  var waiting: [Int] {
    var all = epoch.flows.state.upstreams.map(\.waitingCount)
    for old in older {
      guard let move = old.toCurrent else { continue }
      for (edge, upstream) in old.flows.state.upstreams.enumerated() {
        if let to = move.edges[edge] { all[to] += upstream.waitingCount }
      }
    }
    return all
  }

  /// By service of the newest plan, then instance: attempts that are under way there.
  var inFlight: [[Int]] {
    let plan = epoch.configuration.plan
    var all = plan.services.indices.map { epoch.flows.inFlight(of: $0, in: plan) }
    for old in older {
      guard let move = old.toCurrent else { continue }
      for (s, to) in move.services.enumerated() {
        guard let to else { continue }
        for (i, count) in old.flows.inFlight(of: s, in: old.configuration.plan).enumerated() {
          if let place = move.instances[s][i] { all[to][place] += count }
        }
      }
    }
    return all
  }

  /// By edge of the newest plan: how many may be at the callee; nil where no gate stands before it.
  var gateLimits: [Int?] { epoch.flows.state.upstreams.map(\.gateLimit) }

  private func makePlace(_ address: SocketAddress?) -> Int {
    if let place = freePlaces.popLast() {
      addresses[place] = address
      return place
    }
    addresses.append(address)
    addressVersions.append(0)
    pools.append([])
    return addresses.count - 1
  }

  private func freePlace(_ place: Int) {
    setAddress(nil, place: place)
    // Connections that come back later find another number.
    addressVersions[place] &+= 1
    freePlaces.append(place)
  }

  // MARK: - Instances

  func setAddress(_ address: SocketAddress?, service: Int, instance: Int) {
    setAddress(address, place: epoch.place(service, UInt16(instance)))
  }

  private func setAddress(_ address: SocketAddress?, place: Int) {
    if addresses[place] == address { return }
    addresses[place] = address
    addressVersions[place] &+= 1
    let idle = pools[place]
    pools[place] = []
    for connection in idle { connection.close() }
    http2.leaveUpstreams(place)
  }

  func address(_ place: Int) -> SocketAddress? { addresses[place] }

  /// Traffic could not reach an instance of the newest plan: its next health check comes forward.
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
    if clientCount == 0 { hasDrained() }
  }

  /// One of ``deliveries`` is over.
  func delivered() {
    deliveries -= 1
    if deliveries == 0 { hasDrained() }
  }

  private func hasDrained() {
    guard clientCount == 0, http2.isEmpty, deliveries == 0, let drained else { return }
    self.drained = nil
    drained.succeed(())
  }

  func tcpCounter(_ listener: String) -> TCPCounter {
    if let counter = tcpCounters[listener] { return counter }
    let counter = TCPCounter()
    tcpCounters[listener] = counter
    return counter
  }

  // MARK: - Access log

  var keepsAccess: Bool { accessMax > 0 }

  func nextTag() -> UInt64 {
    tag &+= 1
    return tag << 8 | UInt64(index & 255)
  }

  func keep(_ entry: AccessEntry) {
    if access.count < accessMax { access.append(entry) } else { accessLost &+= 1 }
  }

  func keep(_ entry: AttemptEntry) {
    if attempts.count < accessMax { attempts.append(entry) } else { accessLost &+= 1 }
  }

  func takeAttempts() -> [AttemptEntry] {
    defer { attempts.removeAll(keepingCapacity: true) }
    return attempts
  }

  func takeAccess() -> ([AccessEntry], UInt64) {
    defer {
      access.removeAll(keepingCapacity: true)
      accessLost = 0
    }
    return (access, accessLost)
  }

  // MARK: - The end

  /// Idle connections are closed, others after their answer; the promise is kept when none is left, and nothing is being
  /// delivered.
  ///
  /// What is still under way at `ends` is cut: the flows take no request that might last longer.
  func drain(_ promise: EventLoopPromise<Void>, until ends: Instant) {
    isDraining = true
    stopQueues()
    webhooks?.stop()
    stopSagas()
    for old in older { old.flows.drain(until: ends, now: now()) }
    epoch.flows.drain(until: ends, now: now())
    drainEnds = ends.nanoseconds
    prober?.stop()
    if clientCount == 0 && http2.isEmpty && deliveries == 0 {
      promise.succeed(())
      return
    }
    drained?.succeed(())
    drained = promise
    http2.whenEmpty = { [unowned self] in hasDrained() }
    http2.drain()
    for client in clients { client?.drain() }
  }

  /// Another process has taken over: what comes here is still answered, and every answer says that its connection ends.
  ///
  /// Health checks go on, for what is answered here still needs instances.
  func leave(until ends: Instant, grace: Duration) {
    isDraining = true
    stopQueues()
    webhooks?.stop()
    stopSagas()
    drainEnds = ends.nanoseconds
    let soon = now().advanced(by: grace.inNanoseconds).nanoseconds
    times.keepAlive = min(times.keepAlive, grace.inNanoseconds)
    for client in clients {
      guard let client else { continue }
      if client.stage == .tunnel { client.drain() }
      let place = Int(client.place)
      if client.isIdle { silentAt[place] = min(silentAt[place], soon) }
    }
    http2.drain()
  }

  /// After ``leave(until:grace:)``: the promise is kept when no connection is left, and nothing is being delivered.
  func whenDrained(_ promise: EventLoopPromise<Void>) {
    drained?.succeed(())
    drained = promise
    http2.whenEmpty = { [unowned self] in hasDrained() }
    hasDrained()
  }

  /// A listener is gone: its connections end after their answers.
  func drain(listener: Int) {
    for client in clients where client?.listener == listener { client?.drain() }
  }

  /// Closes all that is left.
  func stop() {
    isDraining = true
    isStopped = true
    prober?.stop()
    state?.stop()
    scheduled?.cancel()
    scheduled = nil
    for client in clients { client?.cut() }
    http2.stop()
    for place in pools.indices {
      let idle = pools[place]
      pools[place] = []
      for connection in idle { connection.close() }
    }
  }
}
