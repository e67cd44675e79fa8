// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import WeirBase
package import WeirCertificates
package import WeirFlows
package import WeirPatterns
import WeirPlatform
package import WeirWire

/// The running proxy: event loops, their listening sockets, and the doors through which the runtime reaches them.
///
/// Thread-safe: loops are reached by tasks only.
package final class ProxyServer: Sendable {
  /// By listener of the start: the port it has; 0 for descriptors that have none.
  package let ports: [Int]
  let node: NodeState
  private let group: MultiThreadedEventLoopGroup
  private let loops: [NIOLoopBound<ProxyLoop>]
  private let eventLoops: [any EventLoop]
  private let listeners: Mutex<[OpenListener]>
  private let isStopped = Atomic<Bool>(false)
  private let memoryLevel = Atomic<UInt8>(0)
  private let onHealth: @Sendable (HealthChange) -> Void
  /// Connections are taken out of the sockets, unless memory is short.
  private let isAccepting: Atomic<Bool>

  /// A listener's channels, one a loop, and the name by which a reload knows it again.
  private struct OpenListener {
    var number: Int
    var name: String
    var port: Int
    var channels: [any Channel]
  }

  /// The newest plan's.
  package var configuration: ProxyConfiguration { node.epoch.configuration }

  /// How many plans requests are in work by, the newest included.
  package var livingEpochs: Int { node.livingEpochs }

  /// By listener, in the order in which they were opened.
  package var openPorts: [(name: String, port: Int)] { listeners.withLock { $0.map { ($0.name, $0.port) } } }

  private init(
    ports: [Int], node: NodeState, group: MultiThreadedEventLoopGroup, loops: [NIOLoopBound<ProxyLoop>],
    eventLoops: [any EventLoop], listeners: [OpenListener], accepting: Bool,
    onHealth: @escaping @Sendable (HealthChange) -> Void
  ) {
    self.onHealth = onHealth
    isAccepting = Atomic(accepting)
    self.ports = ports
    self.node = node
    self.group = group
    self.loops = loops
    self.eventLoops = eventLoops
    self.listeners = Mutex(listeners)
  }

  // MARK: - Start

  /// Starts loops and listeners; throws a `ListenError` when a port cannot be had.
  ///
  /// `onHealth` is called on an event loop and must not block. Without `accepting`, connections wait in the sockets until
  /// ``accept()``.
  package static func start(
    _ configuration: ProxyConfiguration, accepting: Bool = true,
    onHealth: @escaping @Sendable (HealthChange) -> Void = { _ in }
  ) async throws -> ProxyServer {
    var configuration = configuration
    configuration.loops = max(1, configuration.loops)
    let count = configuration.loops
    configuration.nameListeners()
    let contexts = try SecurityContexts(configuration)
    // Before any thread runs: what is taken or forbidden is said at once.
    let sockets = try configuration.listeners.map { try ProxyServer.sockets(of: $0, count: count) }

    let group = MultiThreadedEventLoopGroup(numberOfThreads: count)
    let eventLoops = Array(group.makeIterator().prefix(count))
    let node = NodeState(configuration, contexts: contexts, now: SystemClock.now())
    var loops: [NIOLoopBound<ProxyLoop>] = []
    for (index, eventLoop) in eventLoops.enumerated() {
      let bound = try await eventLoop.submit {
        NIOLoopBound(ProxyLoop(node: node, index: index, eventLoop: eventLoop), eventLoop: eventLoop)
      }.get()
      loops.append(bound)
    }
    let allLoops = loops
    node.setPokes(
      zip(allLoops, eventLoops).map { bound, eventLoop in
        { eventLoop.execute { bound.value.poked() } }
      })

    let (firstLoop, firstEventLoop) = (allLoops[0], eventLoops[0])
    node.setSuspicion { service, instance in
      firstEventLoop.execute { firstLoop.value.suspect(service: service, instance: UInt16(instance)) }
    }

    var open: [OpenListener] = []
    for (index, listener) in configuration.listeners.enumerated() {
      open.append(
        try await listen(
          listener, number: index, sockets[index].descriptors, port: sockets[index].port, loops, eventLoops,
          configuration.limits, accepting))
    }
    let server = ProxyServer(
      ports: sockets.map(\.port), node: node, group: group, loops: loops, eventLoops: eventLoops, listeners: open,
      accepting: accepting, onHealth: onHealth)
    for (service, instances) in configuration.addresses.enumerated() {
      for (instance, address) in instances.enumerated() where address != nil {
        await server.setAddress(address, service: service, instance: instance)
      }
    }
    for (index, bound) in loops.enumerated() {
      try await eventLoops[index].submit {
        if index == 0 { bound.value.prober = HealthProber(loop: bound.value, onChange: onHealth) }
        bound.value.start()
        bound.value.takesMessages = accepting
      }.get()
    }
    for (service, instances) in configuration.addresses.enumerated() {
      for (instance, address) in instances.enumerated() where address != nil {
        server.watch(service: service, instance: instance)
      }
    }
    server.watchMemory()
    return server
  }

  /// The listening sockets of a listener, one a loop, and their port.
  private static func sockets(
    of listener: ProxyConfiguration.Listener, count: Int
  ) throws -> (descriptors: [Int32], port: Int) {
    switch listener.source {
    case .descriptors(let given):
      precondition(given.count == count, "one listening socket a loop")
      return (given, Int(Listening.port(of: Descriptor(borrowing: given[0])) ?? 0))
    case .bind(let host, let port):
      let (made, chosen) = try Listening.tcp(address: host, port: UInt16(clamping: port), count: count)
      return (try made.map { try $0.duplicate() }, Int(chosen))
    }
  }

  private static func listen(
    _ listener: ProxyConfiguration.Listener, number: Int, _ descriptors: [Int32], port: Int,
    _ loops: [NIOLoopBound<ProxyLoop>], _ eventLoops: [any EventLoop], _ limits: ProxyLimits, _ accepting: Bool
  ) async throws -> OpenListener {
    var open = OpenListener(number: number, name: listener.name, port: port, channels: [])
    for (eventLoop, (bound, socket)) in zip(eventLoops, zip(loops, descriptors)) {
      open.channels.append(
        try await listen(socket, listener.name, number, bound, eventLoop, limits, accepting))
    }
    return open
  }

  private static func listen(
    _ socket: Int32, _ name: String, _ number: Int, _ bound: NIOLoopBound<ProxyLoop>,
    _ eventLoop: any EventLoop, _ limits: ProxyLimits, _ accepting: Bool
  ) async throws -> any Channel {
    return try await ServerBootstrap(group: eventLoop, childGroup: eventLoop)
      .serverChannelOption(.autoRead, value: accepting)
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .childChannelOption(.recvAllocator, value: Buffers.client)
      .childChannelOption(
        .writeBufferWaterMark, value: .init(low: limits.writeLow, high: limits.writeHigh)
      )
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try bound.value.accept(channel, name, number)
        }
      }
      .withBoundSocket(socket)
      .get()
  }

  /// Connections of a listener are accepted with these certificates from now on; those that are open keep theirs.
  ///
  /// Throws, and changes nothing, when they cannot be used.
  package func replaceSecurity(_ security: ListenerSecurity, ofListener index: Int) throws(CertificateMistake) {
    try node.epoch.contexts.replace(index, security)
  }

  // MARK: - A changed plan

  /// Goes on by another configuration: new requests follow it, those in work end by the old one, nothing open is cut.
  ///
  /// `move` says which id became which. Listeners are known again by their names: those that stay keep their sockets (the
  /// source is not looked at), new ones are opened first, and if one cannot be had nothing has changed; those that are
  /// gone accept nothing more, and their connections end after the answer in work. The number of loops cannot change.
  ///
  /// One reload after the other; returns when every loop goes by the new plan, with its number.
  @discardableResult
  package func reload(_ configuration: ProxyConfiguration, by move: PlanMove) async throws -> Int {
    var configuration = configuration
    let old = self.configuration
    configuration.loops = old.loops
    configuration.seed = old.seed
    configuration.addressLimit.salt = old.addressLimit.salt
    configuration.accessLog = old.accessLog
    configuration.nameListeners()
    let contexts = try SecurityContexts(configuration)
    let known = listeners.withLock { $0 }
    var opened: [OpenListener] = []
    do {
      for (index, listener) in configuration.listeners.enumerated()
      where !known.contains(where: { $0.name == listener.name }) {
        let (descriptors, port) = try ProxyServer.sockets(of: listener, count: old.loops)
        let number = (known.map(\.number).max() ?? -1) + 1 + index
        opened.append(
          try await ProxyServer.listen(
            listener, number: number, descriptors, port: port, loops, eventLoops, configuration.limits, false))
      }
    } catch {
      for channel in opened.flatMap(\.channels) { try? await channel.close().get() }
      throw error
    }
    let addresses = ProxyServer.resolve(new: configuration, by: move)
    node.memory.withLock { [configuration] in $0.move(to: configuration) }
    let (fixed, node) = (configuration, node)
    let (first, firstLoop) = (loops[0], eventLoops[0])
    let shared = try await firstLoop.submit {
      let shared = node.move(to: fixed, contexts: contexts, by: move, now: first.value.now())
      first.value.enter(shared, by: move, addresses: addresses)
      return shared
    }.get()
    for (bound, eventLoop) in zip(loops, eventLoops).dropFirst() {
      try await eventLoop.submit { bound.value.enter(shared, by: move, addresses: addresses) }.get()
    }
    for (service, instances) in addresses.enumerated() {
      for (instance, address) in instances.enumerated() where address != nil {
        watch(service: service, instance: instance)
      }
    }
    node.pokeAll(but: nil)
    let gone = known.filter { listener in !configuration.listeners.contains { $0.name == listener.name } }
    listeners.withLock { $0 = known.filter { open in !gone.contains { $0.number == open.number } } + opened }
    for channel in opened.flatMap(\.channels) { try? await channel.setOption(.autoRead, value: true).get() }
    for listener in gone {
      for channel in listener.channels { try? await channel.close().get() }
      for (bound, eventLoop) in zip(loops, eventLoops) {
        eventLoop.execute { bound.value.drain(listener: listener.number) }
      }
    }
    return shared.number
  }

  /// Where the instances listen that the move does not know; nil for the others.
  private static func resolve(new configuration: ProxyConfiguration, by move: PlanMove) -> [[SocketAddress?]] {
    let servicesBack = PlanMove.back(move.services, count: configuration.plan.services.count)
    return configuration.plan.services.enumerated().map { s, service in
      let back = servicesBack[s].map { PlanMove.back(move.instances[$0], count: service.instances) }
      return (0..<service.instances).map { i in
        guard back?[i] == nil, s < configuration.addresses.count, i < configuration.addresses[s].count else {
          return nil
        }
        return resolve(configuration.addresses[s][i])
      }
    }
  }

  /// Takes the connections that wait in the sockets, for one that was started without `accepting`.
  package func accept() async {
    isAccepting.store(true, ordering: .releasing)
    for (bound, eventLoop) in zip(loops, eventLoops) { eventLoop.execute { bound.value.takesMessages = true } }
    for channel in listeners.withLock({ $0.flatMap(\.channels) }) {
      // Fails only when the listener is closed already, and then nothing is to be taken.
      try? await channel.setOption(.autoRead, value: true).get()
    }
  }

  // MARK: - Memory

  /// How often it is looked how much memory is held: a look costs some microseconds, and between two of them ten
  /// thousand connections can take in 64 KiB each at most.
  private static let memoryEvery = TimeAmount.milliseconds(100)

  private func watchMemory() {
    eventLoops[0].scheduleRepeatedTask(initialDelay: .zero, delay: ProxyServer.memoryEvery) { [weak self] task in
      guard let self else { return task.cancel() }
      lookAtMemory()
    }
  }

  private func lookAtMemory() {
    let level = node.memory.withLock { $0.look() }
    // Mostly nothing changes, and nobody needs to be told.
    if memoryLevel.exchange(level.rawValue, ordering: .relaxed) == level.rawValue { return }
    for (bound, eventLoop) in zip(loops, eventLoops) { eventLoop.execute { bound.value.enter(level) } }
    guard isAccepting.load(ordering: .acquiring) else { return }
    // Connections wait in the sockets; those of services are for requests that are under way.
    let calls = configuration.listeners.filter(\.kind.isCalls).map(\.name)
    for listener in listeners.withLock({ $0 }) where !calls.contains(listener.name) {
      for channel in listener.channels { channel.setOption(.autoRead, value: level == .open).whenComplete { _ in } }
    }
  }

  // MARK: - Instances

  /// An instance listens here from now on, or nowhere (nil).
  ///
  /// Returns when every loop knows.
  package func setAddress(_ address: InstanceAddress?, service: Int, instance: Int) async {
    let resolved = ProxyServer.resolve(address)
    for (bound, eventLoop) in zip(loops, eventLoops) {
      // Fails only when the loop is shut down, and then nobody asks for the address.
      try? await eventLoop.submit {
        bound.value.setAddress(resolved, service: service, instance: instance)
      }.get()
    }
  }

  /// A process has been started under this index: what was learned was about the one before it.
  package func started(service: Int, instance: Int, at address: InstanceAddress) async {
    let now = SystemClock.now()
    node.withFlows { $0.replaced(service: service, instance: instance, now: now) }
    await setAddress(address, service: service, instance: instance)
    watch(service: service, instance: instance)
    node.pokeAll(but: nil)
  }

  /// The process has ended: it gets no traffic from now on.
  package func exited(service: Int, instance: Int) async {
    await unwatch(service: service, instance: instance)
    await setUp(false, service: service, instance: instance)
    await setAddress(nil, service: service, instance: instance)
  }

  func unwatch(service: Int, instance: Int) async {
    let bound = loops[0]
    try? await eventLoops[0].submit {
      bound.value.prober?.exited(service: service, instance: instance, now: bound.value.now())
    }.get()
  }

  /// Whether an instance may get traffic, said by the runtime: for those that no probe watches.
  package func setUp(_ up: Bool, service: Int, instance: Int) async {
    node.withFlows { $0.health(service: service, instance: instance, up: up, now: SystemClock.now()) }
    node.pokeAll(but: nil)
  }

  private func watch(service: Int, instance: Int) {
    let bound = loops[0]
    eventLoops[0].execute {
      bound.value.prober?.started(service: service, instance: instance, now: bound.value.now())
    }
  }

  private static func resolve(_ address: InstanceAddress?) -> SocketAddress? {
    switch address {
    case nil: nil
    // A name that does not resolve is as unreachable as a closed port: the flow retries elsewhere and says so.
    case .unix(let path): try? SocketAddress(unixDomainSocketPath: path)
    case .tcp(let host, let port): try? SocketAddress.makeAddressResolvingHost(host, port: port)
    case .known(let host, let address, let port): known(address, port: port, of: host)
    }
  }

  /// The host goes with it: under TLS the certificate is for the name.
  private static func known(_ address: String, port: Int, of host: String) -> SocketAddress? {
    switch try? SocketAddress(ipAddress: address, port: port) {
    case .v4(let found)?: SocketAddress(found.address, host: host)
    case .v6(let found)?: SocketAddress(found.address, host: host)
    case .unixDomainSocket?, nil: nil
    }
  }

  /// Where an instance listens as its name was resolved, `10.0.0.1:80`; nil when that is not known.
  package func address(service: Int, instance: Int) async -> String? {
    let bound = loops[0]
    let found = try? await eventLoops[0].submit { () -> String? in
      let loop = bound.value
      guard let address = loop.address(loop.epoch.place(service, UInt16(instance))), let host = address.ipAddress,
        let port = address.port
      else { return nil }
      return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }.get()
    return found ?? nil
  }

  // MARK: - Knowing

  /// What one loop has counted and kept since the last time.
  package struct LoopReport: Sendable {
    /// By which plan the ids are.
    package var epoch: Int
    package var ledger: Ledger
    package var events: [Event]
    package var eventsLost: Int
    package var records: [RequestRecord]
    /// Of requests that went on by older plans, in the ids of those.
    package var oldRecords: [(epoch: Int, records: [RequestRecord])]
    package var recordsLost: UInt64
    package var access: [AccessEntry]
    package var accessLost: UInt64
    /// Attempts to have messages worked on.
    package var attempts: [AttemptEntry] = []
    package var clients: Int
    package var handshakes: HandshakeTally
    /// By route: how its mirror's answers differ; since the beginning.
    package var mirrors: [MirrorReport?] = []
    /// By the name of a listener of TCP.
    package var tcp: [String: TCPCount] = [:]
    /// It takes nothing new that might be cut.
    package var isDraining: Bool
    /// By edge: who waits for a place.
    package var waiting: [Int]
    /// By route.
    package var tunnels: [TunnelCount]
    /// By edge: how many may be at the callee at the same time; nil where no gate stands before it.
    package var gateLimits: [Int?]
    /// By service, then instance: attempts under way.
    package var inFlight: [[Int]] = []
    /// By route: what became of requests with a key.
    package var keyed: [KeyedCount] = []
    /// The state process answers; nil when nothing needs it.
    package var hasState: Bool?
  }

  /// Takes events, records and access entries out of every loop, and copies its counters.
  package func reports() async -> [LoopReport] {
    var all: [LoopReport] = []
    for (bound, eventLoop) in zip(loops, eventLoops) {
      let report = try? await eventLoop.submit {
        let loop = bound.value
        let (events, eventsLost) = loop.epoch.flows.takeEvents()
        let (records, recordsLost) = loop.epoch.flows.takeRecords()
        let (access, accessLost) = loop.takeAccess()
        let attempts = loop.takeAttempts()
        let old = loop.takeOldReports()
        return LoopReport(
          epoch: loop.epoch.number, ledger: loop.ledger, events: events + old.flatMap(\.events),
          eventsLost: eventsLost + old.reduce(0) { $0 + $1.eventsLost }, records: records,
          oldRecords: old.filter { !$0.records.isEmpty }.map { (epoch: $0.epoch, records: $0.records) },
          recordsLost: recordsLost + old.reduce(0) { $0 + $1.recordsLost }, access: access, accessLost: accessLost,
          attempts: attempts,
          clients: loop.clientCount, handshakes: loop.handshakes, mirrors: loop.epoch.mirrors,
          tcp: loop.tcpCounters.mapValues(\.count),
          isDraining: loop.isDraining,
          waiting: loop.waiting, tunnels: loop.tunnels, gateLimits: loop.gateLimits,
          inFlight: loop.inFlight, keyed: loop.keyed,
          hasState: loop.state?.isUp)
      }.get()
      if let report { all.append(report) }
    }
    return all
  }

  /// What was recorded of each loop, see ``ProxyConfiguration/recording``.
  package func recordings() async -> [Recording] {
    var all: [Recording] = []
    for (bound, eventLoop) in zip(loops, eventLoops) {
      if let recording = try? await eventLoop.submit({ bound.value.epoch.flows.takeRecording() }).get() {
        all.append(recording)
      }
    }
    return all
  }

  /// The node's own events, which belong to no loop.
  package func nodeEvents() -> (events: [Event], lost: Int) {
    let told = node.withFlows { NodeEvents($0.takeEvents()) }
    return (told.events, told.lost)
  }

  private struct NodeEvents: Sendable {
    var events: [Event]
    var lost: Int
    init(_ told: (events: [Event], lost: Int)) { (events, lost) = told }
  }

  /// Reads the node's state: breakers, ejections, health.
  package func withNode<R: Sendable>(_ body: (borrowing NodeFlows) -> R) -> R {
    node.withFlows { body($0) }
  }

  /// Requests at an instance now, over all loops; 0 where `at-once` does not limit it.
  package func placesTaken(service: Int, instance: Int) -> Int {
    node.epoch.places.taken(service: service, instance: instance)
  }

  // MARK: - The end

  /// Accepts nothing more, ends every connection after its answer, and returns when none is left or the time is over.
  ///
  /// True when all have ended by themselves.
  @discardableResult
  package func drain(within time: Duration) async -> Bool {
    for channel in listeners.withLock({ $0.flatMap(\.channels) }) { try? await channel.close().get() }
    listeners.withLock { $0 = [] }
    let ends = NIODeadline.now() + .nanoseconds(time.inNanoseconds)
    var clean = true
    var promises: [EventLoopFuture<Void>] = []
    for (bound, eventLoop) in zip(loops, eventLoops) {
      let promise = eventLoop.makePromise(of: Void.self)
      let isClean = eventLoop.makePromise(of: Void.self)
      eventLoop.execute { bound.value.drain(promise, until: Instant(nanoseconds: Int64(ends.uptimeNanoseconds))) }
      let timer = eventLoop.scheduleTask(deadline: ends) { isClean.fail(DrainTimeout()) }
      promise.futureResult.whenComplete { _ in
        timer.cancel()
        isClean.succeed(())
      }
      promises.append(isClean.futureResult)
    }
    for promise in promises {
      do { try await promise.get() } catch { clean = false }
    }
    return clean
  }

  /// Another process goes on with the same sockets: accepts nothing more and ends without being noticed.
  ///
  /// Unlike ``drain(within:)`` it refuses nothing: what comes on a connection that is open is answered, with the word that
  /// the connection ends with it (`Connection: close`, GOAWAY); one that stays idle for `grace` is closed. Returns when
  /// none is left, after `grace` at the earliest (a handshake may be under way), or when the time is over.
  @discardableResult
  package func handOver(within time: Duration, grace: Duration) async -> Bool {
    let began = SystemClock.now()
    for channel in listeners.withLock({ $0.flatMap(\.channels) }) { try? await channel.close().get() }
    listeners.withLock { $0 = [] }
    let ends = began + time
    for (bound, eventLoop) in zip(loops, eventLoops) {
      try? await eventLoop.submit { bound.value.leave(until: ends, grace: grace) }.get()
    }
    try? await eventLoops[0].scheduleTask(in: .nanoseconds(grace.inNanoseconds)) {}.futureResult.get()
    var clean = true
    for (bound, eventLoop) in zip(loops, eventLoops) {
      let promise = eventLoop.makePromise(of: Void.self)
      let isClean = eventLoop.makePromise(of: Void.self)
      eventLoop.execute { bound.value.whenDrained(promise) }
      let timer = eventLoop.scheduleTask(deadline: .uptimeNanoseconds(UInt64(ends.nanoseconds))) {
        isClean.fail(DrainTimeout())
      }
      promise.futureResult.whenComplete { _ in
        timer.cancel()
        isClean.succeed(())
      }
      do { try await isClean.futureResult.get() } catch { clean = false }
    }
    return clean
  }

  private struct DrainTimeout: Error {}

  /// By saga: how its instances have ended since this node began.
  package var sagaTallies: [String: SagaTally] { node.sagas.withLock { $0 } }

  /// Asks the state process, through the first loop; nil when it does not answer in time.
  package func ask(_ request: StateRequest, within time: Int64) async -> StateReply? {
    guard let bound = loops.first, let eventLoop = eventLoops.first else { return nil }
    let promise = eventLoop.makePromise(of: StateReply?.self)
    eventLoop.execute {
      let loop = bound.value
      guard let state = loop.state else { return promise.succeed(nil) }
      state.ask(request, within: time, now: loop.now()) { promise.succeed($0) }
    }
    // Fails only on a loop that has ended.
    return try? await promise.futureResult.get()
  }

  /// Cuts what is left and ends the loops.
  ///
  /// Nothing else may be called after it; a second call changes nothing.
  package func stop() async {
    if isStopped.exchange(true, ordering: .acquiringAndReleasing) { return }
    for channel in listeners.withLock({ $0.flatMap(\.channels) }) { try? await channel.close().get() }
    listeners.withLock { $0 = [] }
    for (bound, eventLoop) in zip(loops, eventLoops) {
      try? await eventLoop.submit { bound.value.stop() }.get()
    }
    // Loops that cannot end have been ended already.
    try? await group.shutdownGracefully()
  }
}

extension ProxyLoop {
  /// A connection has been accepted: count it, or turn it away.
  func accept(_ channel: any Channel, _ name: String, _ listener: Int) throws {
    let peer = PeerAddress(channel.remoteAddress)
    // One that a reload has taken away may still have had this connection in its queue.
    guard let index = epoch.configuration.listeners.firstIndex(where: { $0.name == name }) else {
      throw ChannelError.ioOnClosedChannel
    }
    if epoch.configuration.listeners[index].isProxied {
      // It has gone again already: a load balancer that looks whether somebody listens.
      if peer.isUnknown { throw ChannelError.ioOnClosedChannel }
      guard epoch.configuration.trusted.contains(where: { $0.contains(peer) }) else {
        // Who may not say for whom it comes.
        refused(.notAllowed, at: name)
        throw ChannelError.operationUnsupported
      }
      try channel.pipeline.syncOperations.addHandler(
        ProxyIntake(loop: self, name: name, listener: listener, peer: peer))
      return
    }
    try accept(channel, index, listener, peer)
  }

  /// The same, of a client that a proxy before us has named.
  func accept(_ channel: any Channel, _ name: String, _ listener: Int, peer: PeerAddress) throws {
    guard let index = epoch.configuration.listeners.firstIndex(where: { $0.name == name }) else {
      throw ChannelError.ioOnClosedChannel
    }
    try accept(channel, index, listener, peer)
  }

  /// A connection of a listener has been closed without a word.
  func refused(_ reason: Reason, at name: String) {
    let now = now()
    epoch.flows.refused(RequestEnding(status: 0, reason: reason, phase: .accept), startedAt: now, now: now)
    if epoch.configuration.listeners.contains(where: { $0.name == name && $0.kind.isTCP }) {
      tcpCounter(name).count.ended[Int(reason.rawValue)] &+= 1
    }
  }

  private func accept(_ channel: any Channel, _ index: Int, _ listener: Int, _ peer: PeerAddress) throws {
    let kind = epoch.configuration.listeners[index].kind
    let context = epoch.shared.contexts.listener(index)
    if !kind.isCalls {
      let now = now()
      let answer = node.addresses.withLock { $0.opened(peer.key, now: now) }
      if case .refuse = answer {
        // A client that waits for a handshake can be told nothing; the close is the answer.
        if case .tcp(let tcp) = kind {
          refused(.tooManyConnections, at: tcp.name)
          throw ChannelError.operationUnsupported
        }
        if context != nil {
          epoch.flows.refused(
            RequestEnding(status: Reason.tooManyConnections.status, reason: .tooManyConnections, phase: .accept),
            startedAt: now, now: now)
          throw ChannelError.operationUnsupported
        }
        try channel.pipeline.syncOperations.addHandler(TurnAway(loop: self))
        return
      }
    }
    if let context {
      try channel.pipeline.syncOperations.addHandlers([
        NIOSSLServerHandler(context: context), Handshake(loop: self, listener: listener, kind: kind, peer: peer),
      ])
      return
    }
    try channel.pipeline.syncOperations.addHandler(
      ClientConnection(loop: self, kind: kind, listener: listener, peer: peer))
  }
}

/// Says why a connection is not served, and closes it.
private final class TurnAway: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer
  private let loop: ProxyLoop

  init(loop: ProxyLoop) { self.loop = loop }

  func channelActive(context: ChannelHandlerContext) {
    let answer = loop.answers[.tooManyConnections]
    var buffer = context.channel.allocator.buffer(capacity: 512)
    buffer.writeBytes(answer.head)
    buffer.writeBytes(loop.dateLine)
    buffer.writeStaticString("Connection: close\r\n\r\n")
    buffer.writeBytes(answer.body)
    let now = loop.now()
    loop.epoch.flows.refused(
      RequestEnding(status: answer.status, reason: .tooManyConnections, phase: .accept), startedAt: now, now: now)
    let promise = context.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    promise.futureResult.whenComplete { _ in bound.value.close(promise: nil) }
    context.writeAndFlush(wrapOutboundOut(buffer), promise: promise)
  }
}
