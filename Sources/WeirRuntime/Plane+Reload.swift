// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirBase
import WeirFlows
import WeirModel
import WeirPlatform
import WeirProcesses
import WeirProxy
import WeirTelemetry

/// The file changes while the system runs: `docs/reload.md` tells what follows.
///
/// Everything that can go wrong goes wrong before anything has changed: reading, references, addresses, sockets. The
/// steps after that cannot fail.
extension Plane {
  /// Whoever wants to know what came of a reload.
  typealias Asker = CheckedContinuation<ReloadOutcome, Never>

  /// A changed plan that waits for the keeper to open its sockets.
  struct PendingReload {
    var plan: Plan
    var sources: [Source]
    var hash: String
    var began: Instant
    /// Names of the sockets that are still to come, and of those that have.
    var awaited: [String]
    var opened: [String] = []
    var askers: [Asker]
  }

  /// A program's instance that the plan does not have any more: it ends when nothing is under way in it.
  struct Leaving {
    var id: String
    var epoch: Int
    var until: Instant
  }

  /// A service whose program has changed: one instance after the other is started anew.
  struct Rolling {
    enum Step {
      case next
      /// It gets no new requests; those under way may end.
      case draining(Int, until: Instant)
      case restarting(Int, pid: Int32, until: Instant)
    }
    var service: String
    /// Numbers of the instances that are still to come, counted from 1.
    var left: [Int]
    var step = Step.next
  }

  /// How long an instance that is to be started anew may finish its requests where they are not counted.
  private static let uncountedDrain = Duration.seconds(1)
  /// A changed program that is not ready by then keeps the others from being changed.
  private static let rollingLimit = Duration.seconds(60)

  // MARK: - Reading

  /// The file's content as it was last looked at, found changed twice in a row: a second's rest for whoever writes it.
  func lookAtFile() async {
    guard settings.watch, ticks % 10 == 0, !isDraining, pending == nil else { return }
    let hash = FileState.hash(watched.map { (name: $0, text: (try? Files.text($0)) ?? "\u{0}missing") })
    defer { lastSeen = hash }
    guard hash != settled, hash == lastSeen else { return }
    settled = hash
    await reload(because: "the file has changed", nil)
  }

  /// Reads the file again and goes on by it, if it can be.
  func reload(because why: String, _ asker: Asker?) async {
    if isDraining {
      asker?.resume(returning: refusal(["the system is ending"]))
      return
    }
    guard pending == nil, upgradeAsker == nil else {
      asker?.resume(returning: refusal(["another reload, or an upgrade, is under way"]))
      return
    }
    let began = SystemClock.now()
    let result = ModelReader.read(path: settings.file, files: .disk)
    let sources = result.sources
    let hash = FileState.hash(sources.map { (name: $0.file, text: $0.text) })
    settled = FileState.hash(sources.map { (name: $0.file, text: (try? Files.text($0.file)) ?? "\u{0}missing") })
    watched = sources.map(\.file)
    if result.design != nil && hash == file.hash && credentials == IdentityAssembly.credentials(plan)
      && !outboxes.hasMoved(plan, folder: Files.parent(of: plan.design.file))
    {
      file.refused = []
      asker?.resume(returning: ReloadOutcome(.unchanged, hash: hash))
      return
    }
    journal.say("reload: \(why)")
    guard let design = result.design else {
      return refuse(result.diagnostics.filter { $0.severity == .error }.map(Plane.sentence), asker)
    }
    let unsupported = design.unsupported(for: .run)
    if !unsupported.isEmpty { return refuse(unsupported.map(Plane.sentence), asker) }
    if design.system.value != plan.design.system.value {
      return refuse(
        [
          "the system is called '\(design.system.value)' now, and a run keeps its name: "
            + "end '\(plan.design.system.value)' and start it with: weir run"
        ], asker)
    }
    let new = Plan(design)
    let missing = (new.gateway?.listeners ?? []).filter { socket(for: $0) == nil }
    pending = PendingReload(
      plan: new, sources: sources, hash: hash, began: began, awaited: missing.map(SocketName.gateway),
      askers: asker.map { [$0] } ?? [])
    if missing.isEmpty { return await goOn() }
    for listener in missing {
      client.send(
        .listen(
          spec: ListenSpec(
            name: SocketName.gateway(listener), address: listener.host, port: UInt16(listener.port),
            count: settings.loops)))
    }
  }

  static func sentence(_ diagnostic: Diagnostic) -> String {
    "\(diagnostic.place.file):\(diagnostic.place.line):\(diagnostic.place.column): \(diagnostic.message)"
  }

  private func refusal(_ errors: [String]) -> ReloadOutcome {
    var outcome = ReloadOutcome(.refused, hash: file.hash)
    outcome.errors = errors
    return outcome
  }

  private func refuse(_ errors: [String], _ asker: Asker?) {
    file.failures += 1
    file.refused = errors
    journal.say("reload refused, everything goes on as it was:")
    for error in errors { journal.say("  \(error)") }
    asker?.resume(returning: refusal(errors))
  }

  // MARK: - Sockets

  /// The sockets of a listener, by where it listens.
  func socket(for listener: Plan.Listener) -> (name: String, port: UInt16, descriptors: [Int32])? {
    for name in sockets.keys.sorted() where name != SocketName.calls {
      guard let socket = sockets[name], socket.spec.address == listener.host, socket.spec.port == UInt16(listener.port)
      else { continue }
      return (name, socket.port, socket.descriptors)
    }
    return nil
  }

  /// The keeper has opened a socket.
  func opened(_ name: String) async {
    guard pending != nil else { return }
    pending?.awaited.removeAll { $0 == name }
    pending?.opened.append(name)
    if pending?.awaited.isEmpty == true { await goOn() }
  }

  /// The keeper cannot open a socket of a reload: nothing changes.
  ///
  /// False: it was not of a reload.
  func cannotOpen(_ name: String, _ reason: String) -> Bool {
    guard let pending, pending.awaited.contains(name) else { return false }
    giveUp(pending, ["cannot listen for '\(name)': \(reason)"])
    return true
  }

  private func giveUp(_ pending: PendingReload, _ errors: [String]) {
    self.pending = nil
    for name in pending.opened { close(name) }
    refuse(errors, pending.askers.first)
  }

  private func close(_ name: String) {
    client.send(.unlisten(name: name))
    // The proxy has closed its own copies, or never had them.
    sockets[name] = nil
  }

  // MARK: - Changing

  /// Everything is there: the change itself.
  private func goOn() async {
    guard let pending, let server, let programs, let calls = sockets[SocketName.calls] else { return }
    let new = pending.plan
    let old = plan
    let move = PlanMove(from: old, to: new)
    let number: Int
    var moved = programs.moved(to: new)
    let lists = IdentityAssembly.credentials(new)
    do {
      let listeners = (new.gateway?.listeners ?? []).compactMap { socket(for: $0) }
      var configuration = try Translation.proxy(
        new, settings: settings, sockets: listeners.map { ($0.name, $0.descriptors) }, calls: calls.descriptors, seed: 0
      )
      var read = Certificates(plan: new, state: settings.state)
      for (index, security) in try read.read(now: Date()).enumerated() {
        configuration.listeners[index].security = security
      }
      configuration.upstreamSecurity = try read.services()
      configuration.access = try IdentityAssembly.access(new, callsPort: Int(calls.port))
      configuration.road = road
      try boundMemory(&configuration)
      // What a program needs and cannot get is found before it is started.
      var trial = moved
      for service in new.services.indices where new.isStarted(service) {
        _ = try trial.spec(Supervisor.Reference(service: service, instance: 1), freshPort: false)
      }
      try moved.makeStoreFolders()
      startState(for: new)
      number = try await server.reload(configuration, by: move)
      certificates = read
      credentials = lists
    } catch { return giveUp(pending, ["\(error)"]) }
    self.pending = nil
    let milliseconds = Double(SystemClock.now().since(pending.began)) / 1e6
    for name in sockets.keys.sorted()
    where name != SocketName.calls && !(new.gateway?.listeners ?? []).contains(where: { socket(for: $0)?.name == name })
    {
      close(name)
    }
    plan = new
    queues.enter(new, server)
    sagas.enter(new, server)
    logs.enter(new, server)
    backups.enter(new, server)
    webhooks.enter(new, server)
    jobs.enter(new, server)
    outboxes.enter(new, server, folder: Files.parent(of: new.design.file))
    names = Translation.names(new)
    epoch = number
    lastMove = move
    // Rates are taken between ledgers of one plan.
    history = []
    journal.enter(epoch: number, names: names)
    var outcome = ReloadOutcome(.reloaded, hash: pending.hash)
    outcome.milliseconds = milliseconds
    outcome.changes = changePrograms(from: old, to: new, by: move, &moved)
    self.programs = moved
    await followHosts()
    remember(pending.sources, hash: pending.hash)
    file.reloads += 1
    file.refused = []
    client.send(.order(stages: stopStages))
    var commands: [Supervisor.Command] = []
    supervisor.begin(now: SystemClock.now(), into: &commands)
    await carryOut(commands)
    journal.say("reloaded in \((milliseconds * 10).rounded() / 10) ms: \(Plane.summary(outcome.changes))")
    for change in outcome.changes { journal.say("  \(change)") }
    await know()
    for asker in pending.askers { asker.resume(returning: outcome) }
  }

  private static func summary(_ changes: [String]) -> String {
    changes.isEmpty
      ? "no program is started or ended for it" : "\(changes.count) program\(changes.count == 1 ? "" : "s")"
  }

  /// What programs must be started, ended and started anew; says it in sentences.
  private func changePrograms(
    from old: Plan, to new: Plan, by move: PlanMove, _ programs: inout Programs
  ) -> [String] {
    var said: [String] = []
    supervisor = supervisor.moved(to: Translation.supervised(new), by: move)
    var states = new.flow.services.map { Array(repeating: InstanceState(), count: $0.instances) }
    let until = SystemClock.now() + .seconds(settings.drainSeconds)
    for service in old.services.indices {
      let to = move.services[service]
      for (i, state) in self.states[service].enumerated() {
        if let to, let k = move.instances[service][i] {
          states[to][k] = state
        } else if old.isStarted(service), state.pid != 0 {
          let id = "\(old.services[service].name)-\(i + 1)"
          leaving.append(Leaving(id: id, epoch: epoch, until: until))
          said.append("\(id) ends when its requests have")
        }
      }
      guard let to, new.isStarted(to), old.isStarted(service), old.programText(of: service) != new.programText(of: to)
      else { continue }
      let name = new.services[to].name
      let running = states[to].indices.filter { states[to][$0].pid != 0 }.map { $0 + 1 }
      rolling.removeAll { $0.service == name }
      if !running.isEmpty {
        rolling.append(Rolling(service: name, left: running))
        said.append("\(name): its program has changed; \(running.count) restarted, one after the other")
      }
    }
    let servicesBack = PlanMove.back(move.services, count: new.services.count)
    for service in new.services.indices {
      if new.discovery(service) == nil,
        case .addresses(let texts)? = service < new.design.services.count ? new.design.services[service].kind : nil
      {
        for (i, text) in texts.enumerated() where states[service][i].address.isEmpty {
          states[service][i].address =
            (try? References.resolve(text.value, folder: Files.parent(of: new.design.file))) ?? text.value.raw
          states[service][i].isReady = new.services[service].health?.ready == nil
        }
      }
      guard new.isStarted(service) else { continue }
      let known = servicesBack[service].map { move.instances[$0].compactMap { $0 } } ?? []
      for i in states[service].indices where !known.contains(i) {
        said.append("\(new.services[service].name)-\(i + 1) is started")
      }
    }
    self.states = states
    discovering = discovering(for: new, keeping: discovering)
    markVacant()
    return said
  }

  /// The content that runs: for status and metrics, and for a plane that comes after this one and finds a file that
  /// cannot be used.
  func remember(_ sources: [Source], hash: String) {
    let wall = SystemClock.wall()
    file.hash = hash
    file.since = wall.rfc3339
    file.sinceMilliseconds = wall.milliseconds
    watched = sources.map(\.file)
    var texts: [String: String] = [:]
    for source in sources { texts[source.file] = source.text }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    do {
      try Files.replace(Plane.runningPath(settings), with: Array(try encoder.encode(texts)))
    } catch {
      journal.say("cannot keep a copy of the running file: \(error)")
    }
  }

  static func runningPath(_ settings: RunSettings) -> String { settings.state + "/running.json" }

  /// The file as it was when it was last taken over.
  static func readRunning(_ settings: RunSettings) -> ModelReader.Result? {
    guard let bytes = try? Files.bytes(runningPath(settings)),
      let texts = try? JSONDecoder().decode([String: String].self, from: Data(bytes))
    else { return nil }
    return ModelReader.read(path: settings.file, files: ModelReader.Files(texts))
  }

  // MARK: - What follows, step by step

  /// With each tick: programs that leave, and programs that are started anew.
  func passReload() async {
    let now = SystemClock.now()
    await lookAtFile()
    guard !isDraining else { return }
    if !leaving.isEmpty, let server {
      // Those that are gone get nothing new; when only the newest plan is in use nothing is under way in them.
      // Planes from before an upgrade may still have requests in them.
      let isOver = server.livingEpochs == 1 && elders.isEmpty
      for gone in leaving where isOver || now >= gone.until {
        client.send(.forget(id: gone.id))
        programs?.forget(gone.id)
      }
      leaving.removeAll { isOver || now >= $0.until }
    }
    for index in rolling.indices.reversed() {
      if await roll(index, now: now) { rolling.remove(at: index) }
    }
  }

  /// One look at a service that is started anew; true when it is done.
  private func roll(_ index: Int, now: Instant) async -> Bool {
    let name = rolling[index].service
    guard let service = plan.services.firstIndex(where: { $0.name == name }), let server else { return true }
    switch rolling[index].step {
    case .next:
      guard let instance = rolling[index].left.first else {
        journal.say("\(name): every instance runs the changed program")
        return true
      }
      rolling[index].left.removeFirst()
      guard instance <= states[service].count, states[service][instance - 1].pid != 0 else { return false }
      // With nobody else to take its requests, waiting would only refuse more of them.
      let others = states[service].indices.filter { $0 != instance - 1 && states[service][$0].isReady }
      if others.isEmpty {
        await restart(service, instance, index, now: now)
      } else {
        await server.setUp(false, service: service, instance: instance - 1)
        let isCounted = plan.flow.services[service].atOnce != .max
        let drain = isCounted ? Duration.seconds(settings.drainSeconds) : Plane.uncountedDrain
        rolling[index].step = .draining(instance, until: now + drain)
      }
    case .draining(let instance, let until):
      let isCounted = plan.flow.services[service].atOnce != .max
      let isEmpty = isCounted && server.placesTaken(service: service, instance: instance - 1) == 0
      if isEmpty || now >= until { await restart(service, instance, index, now: now) }
    case .restarting(let instance, let pid, let until):
      guard instance <= states[service].count else { return true }
      let state = states[service][instance - 1]
      if state.pid != 0 && state.pid != pid && state.isReady {
        rolling[index].step = .next
      } else if now >= until {
        let left = rolling[index].left.map { "\(name)-\($0)" }
        journal.say(
          "\(name)-\(instance) is not ready with the changed program"
            + (left.isEmpty ? "" : "; \(left.joined(separator: ", ")) keep running the one before"))
        return true
      }
    }
    return false
  }

  private func restart(_ service: Int, _ instance: Int, _ index: Int, now: Instant) async {
    let reference = Supervisor.Reference(service: service, instance: instance)
    rolling[index].step = .restarting(instance, pid: states[reference].pid, until: now + Plane.rollingLimit)
    var commands: [Supervisor.Command] = []
    supervisor.restart(reference, into: &commands)
    await carryOut(commands)
  }

  /// A change of health in the ids of this plan; nil when it tells of what is gone.
  func current(_ change: HealthChange) -> HealthChange? {
    if change.epoch == epoch { return change }
    guard change.epoch == epoch - 1, let move = lastMove, let service = move.services[change.service],
      let instance = move.instances[change.service][change.instance]
    else { return nil }
    var moved = change
    moved.service = service
    moved.instance = instance
    moved.epoch = epoch
    return moved
  }
}
