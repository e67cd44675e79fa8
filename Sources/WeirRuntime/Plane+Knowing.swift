// SPDX-License-Identifier: Apache-2.0
import Foundation
import Hummingbird
import WeirBase
import WeirFlows
import WeirModel
import WeirPatterns
import WeirPlatform
import WeirProcesses
import WeirProxy
import WeirTelemetry

/// The plane's view of itself: counters off the loops, logs, events, status, the admin listener.
extension Plane {
  /// How many happenings `weir status` shows at most.
  private static let happeningsMax = 100
  /// Rates are taken over so many seconds.
  private static let rateSeconds = 10

  func tick() async throws {
    ticks += 1
    if isStandby { return }
    var commands: [Supervisor.Command] = []
    supervisor.tick(now: SystemClock.now(), into: &commands)
    await carryOut(commands)
    await lookForSockets()
    askNames()
    lookAtCertificates()
    if !isDraining { jobs.tick() }
    await passReload()
    // Twice a second: a log that lags by half a second is live enough, and a copy of every ledger is made each time. At
    // the start, while much changes and somebody looks, with every tick.
    if ticks % 5 == 0 || ticks < 30 {
      queues.count()
      sagas.count()
      logs.count()
      backups.count()
      await know()
    }
  }

  /// Takes what the loops have counted and kept, writes the logs, and publishes status and metrics.
  func know() async {
    guard let server else { return }
    let reports = await server.reports()
    guard var ledger = reports.first?.ledger else { return }
    for report in reports.dropFirst() { ledger.merge(report.ledger) }
    tellOfMemory(server.memory)
    let now = SystemClock.now()
    let wall = SystemClock.wall()
    let node = server.nodeEvents()
    var events = node.events
    eventsLost += UInt64(node.lost)
    for report in reports {
      events += report.events
      eventsLost += UInt64(report.eventsLost)
      recordsLost += report.recordsLost + report.accessLost
      journal.access(report, now: now, wall: wall)
    }
    tell(events.sorted { $0.at < $1.at })
    measure(now: now)
    history.append((ledger, now))
    while history.count > 2, now.since(history[1].at) > Int64(Plane.rateSeconds) * 1_000_000_000 {
      history.removeFirst()
    }
    var snapshot = snapshot(ledger, reports, now: now)
    snapshot.file = file
    let before = history.first.map { (ledger: $0.ledger, seconds: Double(now.since($0.at)) / 1e9) }
    var status = Status(
      snapshot, before: before, names: names, version: WeirVersion.text, listeners: listenerAddresses,
      admin: published.admin, draining: isDraining, events: happenings)
    tellOfProcesses(&status)
    status.queues = queues.last
    status.sagas = sagas.last
    status.logs = logs.last
    status.webhooks = webhooks.last
    status.outboxes = outboxes.look()
    published.publish(snapshot, status, names: names, isReady: hasSaidReady && !isDraining)
  }

  private func snapshot(_ ledger: Ledger, _ reports: [ProxyServer.LoopReport], now: Instant) -> Snapshot {
    let edges = server?.withNode { node in
      plan.flow.edges.enumerated().map { index, edge in
        let instances = 0..<plan.flow.services[edge.service].instances
        return Snapshot.Edge(
          breaker: Plane.word(node.breakerPhase(edge: index, instance: nil)),
          breakers: instances.map { Plane.word(node.breakerPhase(edge: index, instance: $0)) },
          ejected: instances.map { node.isEjected(edge: index, instance: $0) },
          waiting: reports.reduce(0) { $0 + $1.waiting[index] },
          gateLimit: reports.reduce(nil) { sum, report in report.gateLimits[index].map { $0 + (sum ?? 0) } ?? sum })
      }
    }
    let instances = states.indices.map { service in
      // Programs call stores by themselves: Weir knows nothing of them.
      (plan.services[service].isStore ? [] : states[service]).enumerated().map { index, state in
        let isOurs = plan.isStarted(service)
        let word: Snapshot.Instance.State =
          if state.isVacant { .vacant } else if state.isReady {
            state.isDrained ? .drained : .ready
          } else if isOurs && state.pid == 0 { .down } else {
            state.wasReady ? .unready : .starting
          }
        var instance = Snapshot.Instance(
          state: word, pid: state.pid, address: state.address, restarts: max(0, state.starts - 1), cpu: state.cpu,
          memory: state.memory)
        instance.inFlight = reports.reduce(0) { sum, report in
          sum + (service < report.inFlight.count ? report.inFlight[service].dropFirst(index).first ?? 0 : 0)
        }
        return instance
      }
    }
    var snapshot = Snapshot(
      uptime: Double(now.since(startedAt)) / 1e9, loops: settings.loops, ledger: ledger, edges: edges ?? [],
      instances: instances, events: eventCounts, eventsLost: eventsLost, recordsLost: recordsLost,
      clientConnections: reports.reduce(0) { $0 + $1.clients })
    snapshot.mirrors = reports.first?.mirrors ?? []
    for report in reports.dropFirst() {
      for (index, other) in report.mirrors.enumerated() { if let other { snapshot.mirrors[index]?.merge(other) } }
    }
    snapshot.deprecated = (plan.gateway?.treatments ?? []).map { $0?.retirement != nil }
    snapshot.families =
      securityFamilies(reports) + tunnelFamilies(reports) + tcpFamilies(reports) + identityFamilies()
      + stateFamilies(reports) + backupFamilies(backups.last) + Plane.queueFamilies(queues.last ?? [])
      + Plane.logFamilies(logs.last ?? []) + Plane.webhookFamilies(webhooks.last ?? [])
      + Plane.sagaFamilies(sagas.last ?? [])
      + Plane.outboxFamilies(outboxes.look() ?? []) + memoryFamilies()
      + scenarioFamilies()
    return snapshot
  }

  private static func word(_ phase: CircuitBreaker.Phase) -> Snapshot.BreakerState {
    switch phase {
    case .closed: .closed
    case .open: .open
    case .probing: .probing
    }
  }

  /// CPU and memory of our programs, from the process table, about once a second.
  private func measure(now: Instant) {
    for service in states.indices {
      for instance in states[service].indices where states[service][instance].pid != 0 {
        var state = states[service][instance]
        guard now.since(state.measuredAt) > 900_000_000, let entry = ProcessTable.entry(of: state.pid) else { continue }
        if state.measuredAt > .zero, entry.cpuNanoseconds >= state.cpuNanoseconds {
          state.cpu = Double(entry.cpuNanoseconds - state.cpuNanoseconds) / Double(now.since(state.measuredAt))
        }
        state.cpuNanoseconds = entry.cpuNanoseconds
        state.memory = entry.residentBytes
        state.measuredAt = now
        states[service][instance] = state
      }
    }
  }

  /// Events go to the log, to the terminal and to the status.
  func tell(_ events: [Event]) {
    let now = SystemClock.now()
    let wall = SystemClock.wall()
    for event in events {
      eventCounts[Int(event.kind.rawValue)] += 1
      let at = WallTime(milliseconds: wall.milliseconds - now.since(event.at) / 1_000_000)
      let text = EventText.text(event, names: names)
      happenings.append(Status.Happening(time: at.rfc3339, text: text, kind: "\(event.kind.name)"))
      journal.event(event, text: text, at: at)
    }
    if happenings.count > Plane.happeningsMax { happenings.removeFirst(happenings.count - Plane.happeningsMax) }
  }

  // MARK: - Admin

  func serveAdmin() async throws {
    let published = published
    let send = send
    let tokenPath = settings.state + "/admin.token"
    let token = (0..<4).map { _ in String(UInt64.random(in: .min ... .max), radix: 36) }.joined()
    try Files.replace(tokenPath, with: Array((token + "\n").utf8))
    let admin = AdminServer(
      content: AdminServer.Content(
        metrics: { published.metrics() }, status: { published.status }, isReady: { published.isReady },
        reload: { await withCheckedContinuation { send.yield(.reload("asked for at the admin listener", $0)) } },
        drain: { service, instance, isOn in
          await withCheckedContinuation {
            send.yield(.drain(.init(service: service, instance: instance, isOn: isOn, asker: $0)))
          }
        },
        upgrade: { binary in await withCheckedContinuation { send.yield(.upgrade(binary, $0)) } },
        queues: queues, sagas: sagas, logs: logs, webhooks: webhooks, token: token))
    let socket = settings.state + "/admin.sock"
    // Made aside and put in the place of the one before, so that there always is one. A shorter name: paths have a limit.
    let fresh = settings.state + "/admin.new"
    try Files.remove(fresh)
    try await listen(admin, .unixDomainSocket(path: fresh), isOwner: true, "the admin socket \(socket)") { _ in
      // The folder is ours alone already (0700); the socket says so too.
      try? FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: fresh)
    }
    try Files.rename(fresh, to: socket)
    if let port = heritage?.adminPort { return inheritAdmin(admin, port: port) }
    switch settings.admin {
    case .off: break
    case .port(let port):
      try await listen(admin, .hostname("127.0.0.1", port: port), "the admin port \(port)") { bound in
        published.admin = "http://127.0.0.1:\(bound ?? port)"
      }
    case .usual:
      // Two systems on one machine must not hinder each other: the second gets a free port, and says which.
      do {
        try await listen(admin, .hostname("127.0.0.1", port: 9180), "the admin port 9180") { bound in
          published.admin = "http://127.0.0.1:\(bound ?? 9180)"
        }
      } catch {
        try await listen(admin, .hostname("127.0.0.1", port: 0), "an admin port") { bound in
          published.admin = "http://127.0.0.1:\(bound ?? 0)"
        }
      }
    }
  }

  /// Starts a listener and returns once it listens, or throws why it cannot.
  func listen(
    _ admin: AdminServer, _ address: BindAddress, isOwner: Bool = false, _ what: String,
    listening: @escaping @Sendable (Int?) -> Void
  ) async throws {
    let (stream, told) = AsyncStream.makeStream(of: (any Error)?.self)
    let task = Task.detached {
      do {
        try await admin.run(address, isOwner: isOwner) { port in
          listening(port)
          told.yield(nil)
        }
      } catch { told.yield(error) }
      told.finish()
    }
    for await error in stream {
      if let error { throw PlaneError("cannot listen at \(what): \(error)") }
      if !isOwner { adminTask = task }
      return
    }
  }

  func drawLive() {
    let published = published
    let journal = journal
    let colour = settings.colour
    Task.detached {
      while !published.isRetired {
        if let status = published.status {
          let text = status.text(colour: colour)
          let recent = journal.recent.map { "  \($0)\n" }.joined()
          FileHandle.standardOutput.write(Data("\u{1b}[H\u{1b}[2J\(text)\n\(recent)\nCtrl-C ends it.\n".utf8))
        }
        // Only the rhythm of the picture.
        try? await Task.sleep(nanoseconds: 1_000_000_000)
      }
    }
  }
}
