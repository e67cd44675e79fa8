// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Synchronization
import WeirBase
import WeirFlows
package import WeirPatterns
import WeirWire

/// Asks instances how they are: when, and what it means, says a `HealthMonitor` each; this opens the connections.
///
/// Confined to the first loop; driven by its tick (100 ms), which is finer than the monitors' shortest pause matters.
final class HealthProber {
  private struct Watch {
    /// Stays the same when services and instances get other numbers.
    var id: Int
    var service: Int
    var instance: Int
    var check: ProxyConfiguration.HealthCheck
    var monitor: HealthMonitor
    var ready: (any HealthProbe)?
    var live: (any HealthProbe)?
  }

  private unowned let loop: ProxyLoop
  private var watches: [Watch] = []
  private var nextId = 0
  private var random: SeededRandom
  private var isStopped = false
  private let onChange: @Sendable (HealthChange) -> Void

  init(loop: ProxyLoop, onChange: @escaping @Sendable (HealthChange) -> Void) {
    self.loop = loop
    self.onChange = onChange
    let configuration = loop.epoch.configuration
    random = SeededRandom(seed: configuration.seed, stream: "health prober")
    for (service, check) in configuration.health.enumerated() {
      guard let check else { continue }
      for instance in 0..<configuration.plan.services[service].instances {
        watches.append(watch(service, instance, check))
      }
    }
  }

  private func watch(_ service: Int, _ instance: Int, _ check: ProxyConfiguration.HealthCheck) -> Watch {
    nextId += 1
    return Watch(
      id: nextId, service: service, instance: instance, check: check, monitor: HealthMonitor(check.settings))
  }

  /// The plan has changed: who keeps name and check is watched on as if nothing had been; others begin to be watched.
  ///
  /// A check that has changed says nothing against an instance before it has been asked: who served goes on serving.
  func moved(from old: Epoch, to new: Epoch, by move: PlanMove, now: Instant) {
    var before = watches
    watches = []
    let configuration = new.configuration
    for (service, check) in configuration.health.enumerated() {
      guard let check else { continue }
      for instance in 0..<configuration.plan.services[service].instances {
        let known = before.firstIndex {
          move.services[$0.service] == service && move.instances[$0.service][$0.instance] == instance
            && $0.check == check
        }
        if let known {
          var kept = before.remove(at: known)
          kept.service = service
          kept.instance = instance
          watches.append(kept)
          continue
        }
        var made = watch(service, instance, check)
        if loop.address(new.place(service, UInt16(instance))) != nil { made.monitor.started(now: now) }
        watches.append(made)
      }
    }
    for gone in before {
      gone.ready?.abandon()
      gone.live?.abandon()
    }
    tick(now: now)
  }

  func stop() { isStopped = true }

  /// A process has been started (again) under this index.
  func started(service: Int, instance: Int, now: Instant) {
    guard let i = find(service, instance) else { return }
    drop(i)
    watches[i].monitor.started(now: now)
    tick(now: now)
  }

  func exited(service: Int, instance: Int, now: Instant) {
    guard let i = find(service, instance) else { return }
    drop(i)
    tell(i, watches[i].monitor.exited(now: now), now: now)
  }

  /// Traffic could not reach it.
  func suspected(service: Int, instance: Int, now: Instant) {
    guard let i = find(service, instance) else { return }
    watches[i].monitor.suspected(now: now)
  }

  func phase(service: Int, instance: Int) -> HealthMonitor.Phase? {
    find(service, instance).map { watches[$0].monitor.phase }
  }

  private func find(_ service: Int, _ instance: Int) -> Int? {
    watches.firstIndex { $0.service == service && $0.instance == instance }
  }

  private func drop(_ i: Int) {
    watches[i].ready?.abandon()
    watches[i].live?.abandon()
    watches[i].ready = nil
    watches[i].live = nil
  }

  func tick(now: Instant) {
    if isStopped { return }
    for i in watches.indices {
      guard let wake = watches[i].monitor.nextWake, wake <= now else { continue }
      tell(i, watches[i].monitor.wake(now: now, using: &random), now: now)
      while let probe = watches[i].monitor.probe(now: now) { send(i, probe.kind) }
    }
  }

  private func send(_ i: Int, _ kind: HealthMonitor.Kind) {
    let watch = watches[i]
    let place = loop.epoch.place(watch.service, UInt16(watch.instance))
    let path = kind == .ready ? watch.check.ready : watch.check.live ?? watch.check.ready
    guard let address = loop.address(place) else { return settle(watch.id, kind, nil, false) }
    let header = loop.epoch.configuration.sendsHeader(to: watch.service)
    let probe: any HealthProbe
    if watch.check.isConnect && kind == .ready {
      probe = Probe(path: nil, after: header)
    } else if loop.epoch.configuration.http2Services.contains(watch.service) {
      probe = HTTP2Probe(path: path, service: watch.check.grpc)
    } else {
      probe = Probe(path: path, after: header)
    }
    probe.done = { [weak self, unowned probe] isWell in self?.settle(watch.id, kind, probe, isWell) }
    if kind == .ready {
      watches[i].ready?.abandon()
      watches[i].ready = probe
    } else {
      watches[i].live?.abandon()
      watches[i].live = probe
    }
    let context = loop.epoch.shared.contexts.service(watch.service)
    let name = context == nil ? nil : loop.epoch.shared.contexts.name(of: watch.service, at: address)
    probe.start(address, securedBy: context, name: name, on: loop.eventLoop)
  }

  private func settle(_ id: Int, _ kind: HealthMonitor.Kind, _ probe: (any HealthProbe)?, _ isWell: Bool) {
    guard !isStopped, let i = watches.firstIndex(where: { $0.id == id }) else { return }
    // An answer that came after its probe was given up tells of the past.
    if let probe, probe !== (kind == .ready ? watches[i].ready : watches[i].live) { return }
    if kind == .ready { watches[i].ready = nil } else { watches[i].live = nil }
    let now = loop.now()
    tell(i, watches[i].monitor.probed(ok: isWell, kind: kind, now: now, using: &random), now: now)
  }

  private func tell(_ i: Int, _ change: HealthMonitor.Change, now: Instant) {
    let watch = watches[i]
    switch change {
    case .none: return
    case .becameReady, .becameUnready:
      loop.node.withFlows {
        $0.health(service: watch.service, instance: watch.instance, up: change == .becameReady, now: now)
      }
      loop.poked()
      loop.node.pokeAll(but: loop.index)
    case .startFailed, .restart: break
    }
    onChange(
      HealthChange(
        service: watch.service, instance: watch.instance, change: change, epoch: loop.epoch.number))
  }

  /// One question on a connection of its own.
  private final class Probe: ChannelInboundHandler, HealthProbe {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Nil: that it takes the connection is the answer.
    private let path: String?
    private let header: ProxyVersion?
    private var isSecured = false
    var done: ((Bool) -> Void)?
    private var input = ByteBuffer()
    private var scanner = ResponseScanner()
    private var head = ResponseHead()
    private var context: ChannelHandlerContext?

    init(path: String?, after header: ProxyVersion?) {
      self.path = path
      self.header = header
    }

    func start(_ address: SocketAddress, securedBy secure: NIOSSLContext?, name: String?, on eventLoop: any EventLoop) {
      isSecured = secure != nil
      let header = header.map { HeadBuffer.ownProxy($0) }
      let bound = NIOLoopBound(self, eventLoop: eventLoop)
      ClientBootstrap(group: eventLoop)
        .connectTimeout(.seconds(10))
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            if let header { try channel.pipeline.syncOperations.addHandler(ProxyPreface(header)) }
            if let secure {
              try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler.handler(context: secure, name: name))
            }
            try channel.pipeline.syncOperations.addHandler(bound.value)
          }
        }
        .connect(to: address)
        .whenFailure { _ in bound.value.finish(false) }
    }

    func abandon() {
      done = nil
      context?.close(promise: nil)
    }

    private func finish(_ isWell: Bool) {
      let done = self.done
      self.done = nil
      context?.close(promise: nil)
      done?(isWell)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelActive(context: ChannelHandlerContext) {
      if done == nil {
        context.close(promise: nil)
        return
      }
      guard let path else {
        if !isSecured { finish(true) }
        return
      }
      let text = "GET \(path) HTTP/1.1\r\nHost: localhost\r\nUser-Agent: weir-health\r\nConnection: close\r\n\r\n"
      context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text)), promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      if path == nil, case TLSUserEvent.handshakeCompleted? = event as? TLSUserEvent { return finish(true) }
      context.fireUserInboundEventTriggered(event)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
      guard done != nil else { return }
      var buffer = unwrapInboundIn(data)
      input.writeBuffer(&buffer)
      while input.readableBytes > 0 {
        switch scanner.scan(&input, toHead: false, limits: HeadLimits(), into: &head) {
        case .needMore: return
        case .refused: return finish(false)
        case .complete:
          if head.isInformational {
            input.moveReaderIndex(forwardBy: head.length)
            continue
          }
          return finish(head.status < 400)
        }
      }
    }

    func channelInactive(context: ChannelHandlerContext) {
      self.context = nil
      finish(false)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
  }
}

/// What a probe has changed, for whoever starts and stops processes.
package struct HealthChange: Sendable, Equatable {
  package var service: Int
  package var instance: Int
  package var change: HealthMonitor.Change
  /// By which plan the ids are: 0 the first one's, one more with each reload.
  package var epoch = 0
}
