// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization
import WeirBase
package import WeirCertificates
package import WeirFlows
import WeirPatterns
import WeirPlatform
import WeirWire

/// The running proxy: event loops, their listening sockets, and the doors through which the runtime reaches them.
///
/// Thread-safe: loops are reached by tasks only.
package final class ProxyServer: Sendable {
  package let configuration: ProxyConfiguration
  /// By listener: the port it has; 0 for descriptors that have none.
  package let ports: [Int]
  let node: NodeState
  private let contexts: SecurityContexts
  private let group: MultiThreadedEventLoopGroup
  private let loops: [NIOLoopBound<ProxyLoop>]
  private let eventLoops: [any EventLoop]
  private let listeners: Mutex<[any Channel]>
  private let isStopped = Atomic<Bool>(false)

  private init(
    configuration: ProxyConfiguration, ports: [Int], node: NodeState, contexts: SecurityContexts,
    group: MultiThreadedEventLoopGroup,
    loops: [NIOLoopBound<ProxyLoop>], eventLoops: [any EventLoop], listeners: [any Channel]
  ) {
    self.configuration = configuration
    self.ports = ports
    self.node = node
    self.contexts = contexts
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
    let contexts = try SecurityContexts(configuration)
    // Before any thread runs: what is taken or forbidden is said at once.
    var sockets: [[Int32]] = []
    var ports: [Int] = []
    for listener in configuration.listeners {
      switch listener.source {
      case .descriptors(let given):
        precondition(given.count == count, "one listening socket a loop")
        sockets.append(given)
        ports.append(Int(Listening.port(of: Descriptor(borrowing: given[0])) ?? 0))
      case .bind(let host, let port):
        let (made, chosen) = try Listening.tcp(address: host, port: UInt16(clamping: port), count: count)
        sockets.append(try made.map { try $0.duplicate() })
        ports.append(Int(chosen))
      }
    }

    let group = MultiThreadedEventLoopGroup(numberOfThreads: count)
    let eventLoops = Array(group.makeIterator().prefix(count))
    let node = NodeState(configuration, now: SystemClock.now())
    var loops: [NIOLoopBound<ProxyLoop>] = []
    for (index, eventLoop) in eventLoops.enumerated() {
      let fixed = configuration
      let bound = try await eventLoop.submit {
        NIOLoopBound(
          ProxyLoop(fixed, node: node, contexts: contexts, index: index, eventLoop: eventLoop), eventLoop: eventLoop)
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

    var channels: [any Channel] = []
    for index in configuration.listeners.indices {
      for (eventLoop, (bound, socket)) in zip(eventLoops, zip(loops, sockets[index])) {
        channels.append(try await listen(socket, index, bound, eventLoop, configuration.limits, accepting))
      }
    }
    let server = ProxyServer(
      configuration: configuration, ports: ports, node: node, contexts: contexts, group: group, loops: loops,
      eventLoops: eventLoops,
      listeners: channels)
    for (service, instances) in configuration.addresses.enumerated() {
      for (instance, address) in instances.enumerated() where address != nil {
        await server.setAddress(address, service: service, instance: instance)
      }
    }
    for (index, bound) in loops.enumerated() {
      try await eventLoops[index].submit {
        if index == 0 && bound.value.configuration.health.contains(where: { $0 != nil }) {
          bound.value.prober = HealthProber(loop: bound.value, onChange: onHealth)
        }
        bound.value.start()
      }.get()
    }
    for (service, instances) in configuration.addresses.enumerated() {
      for (instance, address) in instances.enumerated() where address != nil {
        server.watch(service: service, instance: instance)
      }
    }
    return server
  }

  private static func listen(
    _ socket: Int32, _ listener: Int, _ bound: NIOLoopBound<ProxyLoop>,
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
          try bound.value.accept(channel, listener)
        }
      }
      .withBoundSocket(socket)
      .get()
  }

  /// Connections of a listener are accepted with these certificates from now on; those that are open keep theirs.
  ///
  /// Throws, and changes nothing, when they cannot be used.
  package func replaceSecurity(_ security: ListenerSecurity, ofListener index: Int) throws(CertificateMistake) {
    try contexts.replace(index, security)
  }

  /// Takes the connections that wait in the sockets, for one that was started without `accepting`.
  package func accept() async {
    for channel in listeners.withLock({ $0 }) {
      // Fails only when the listener is closed already, and then nothing is to be taken.
      try? await channel.setOption(.autoRead, value: true).get()
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
    node.flows.withLock { $0.replaced(service: service, instance: instance, now: now) }
    await setAddress(address, service: service, instance: instance)
    watch(service: service, instance: instance)
    node.pokeAll(but: nil)
  }

  /// The process has ended: it gets no traffic from now on.
  package func exited(service: Int, instance: Int) async {
    let bound = loops[0]
    try? await eventLoops[0].submit {
      bound.value.prober?.exited(service: service, instance: instance, now: bound.value.now())
    }.get()
    await setUp(false, service: service, instance: instance)
    await setAddress(nil, service: service, instance: instance)
  }

  /// Whether an instance may get traffic, said by the runtime: for those that no probe watches.
  package func setUp(_ up: Bool, service: Int, instance: Int) async {
    node.flows.withLock { $0.health(service: service, instance: instance, up: up, now: SystemClock.now()) }
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
    }
  }

  // MARK: - Knowing

  /// What one loop has counted and kept since the last time.
  package struct LoopReport: Sendable {
    package var ledger: Ledger
    package var events: [Event]
    package var eventsLost: Int
    package var records: [RequestRecord]
    package var recordsLost: UInt64
    package var access: [AccessEntry]
    package var accessLost: UInt64
    package var clients: Int
    package var handshakes: HandshakeTally
    /// It takes nothing new that might be cut.
    package var isDraining: Bool
    /// By edge: who waits for a place.
    package var waiting: [Int]
    /// By route.
    package var tunnels: [TunnelCount]
    /// By edge: how many may be at the callee at the same time; nil where no gate stands before it.
    package var gateLimits: [Int?]
  }

  /// Takes events, records and access entries out of every loop, and copies its counters.
  package func reports() async -> [LoopReport] {
    var all: [LoopReport] = []
    for (bound, eventLoop) in zip(loops, eventLoops) {
      let report = try? await eventLoop.submit {
        let loop = bound.value
        let (events, eventsLost) = loop.flows.takeEvents()
        let (records, recordsLost) = loop.flows.takeRecords()
        let (access, accessLost) = loop.takeAccess()
        return LoopReport(
          ledger: loop.flows.state.ledger, events: events, eventsLost: eventsLost, records: records,
          recordsLost: recordsLost, access: access, accessLost: accessLost, clients: loop.clientCount,
          handshakes: loop.handshakes, isDraining: loop.isDraining,
          waiting: loop.flows.state.upstreams.map(\.waitingCount),
          tunnels: loop.tunnels, gateLimits: loop.flows.state.upstreams.map(\.gateLimit))
      }.get()
      if let report { all.append(report) }
    }
    return all
  }

  /// What was recorded of each loop, see ``ProxyConfiguration/recording``.
  package func recordings() async -> [Recording] {
    var all: [Recording] = []
    for (bound, eventLoop) in zip(loops, eventLoops) {
      if let recording = try? await eventLoop.submit({ bound.value.flows.takeRecording() }).get() {
        all.append(recording)
      }
    }
    return all
  }

  /// The node's own events, which belong to no loop.
  package func nodeEvents() -> (events: [Event], lost: Int) { node.flows.withLock { $0.takeEvents() } }

  /// Reads the node's state: breakers, ejections, health.
  package func withNode<R: Sendable>(_ body: (borrowing NodeFlows) -> R) -> R {
    node.flows.withLock { body($0) }
  }

  /// Requests at an instance now, over all loops; 0 where `at-once` does not limit it.
  package func placesTaken(service: Int, instance: Int) -> Int {
    node.places.taken(service: service, instance: instance)
  }

  // MARK: - The end

  /// Accepts nothing more, ends every connection after its answer, and returns when none is left or the time is over.
  ///
  /// True when all have ended by themselves.
  @discardableResult
  package func drain(within time: Duration) async -> Bool {
    for channel in listeners.withLock({ $0 }) { try? await channel.close().get() }
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

  private struct DrainTimeout: Error {}

  /// Cuts what is left and ends the loops.
  ///
  /// Nothing else may be called after it; a second call changes nothing.
  package func stop() async {
    if isStopped.exchange(true, ordering: .acquiringAndReleasing) { return }
    for channel in listeners.withLock({ $0 }) { try? await channel.close().get() }
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
  func accept(_ channel: any Channel, _ listener: Int) throws {
    let peer = PeerAddress(channel.remoteAddress)
    let kind = configuration.listeners[listener].kind
    let context = contexts.listener(listener)
    if !kind.isCalls {
      let now = now()
      let answer = node.addresses.withLock { $0.opened(peer.key, now: now) }
      if case .refuse = answer {
        // A client that waits for a handshake can be told nothing; the close is the answer.
        if context != nil { throw ChannelError.operationUnsupported }
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
    try channel.pipeline.syncOperations.addHandler(ClientConnection(loop: self, kind: kind, peer: peer))
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
    loop.flows.refused(
      RequestEnding(status: answer.status, reason: .tooManyConnections, phase: .accept), startedAt: now, now: now)
    let promise = context.eventLoop.makePromise(of: Void.self)
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    promise.futureResult.whenComplete { _ in bound.value.close(promise: nil) }
    context.writeAndFlush(wrapOutboundOut(buffer), promise: promise)
  }
}
