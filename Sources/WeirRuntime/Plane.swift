// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirBase
import WeirFlows
import WeirModel
import WeirPatterns
import WeirPlatform
import WeirProcesses
import WeirProxy
import WeirTelemetry

/// The process that decides: event loops, supervisor, admin listener. Started by the keeper, which outlives it.
///
/// Everything that happens to it (word from the keeper, health, signals, time) comes as one stream of inputs and is
/// worked on in order; the event loops run beside it and are reached through `ProxyServer` only.
package actor Plane {
  enum Input: Sendable {
    case keeper(KeeperClient.Event)
    case health(HealthChange)
    case end
    case tick
    /// Read the file again; somebody may want to know what came of it.
    case reload(String, Asker?)
    /// Take an instance out of use, or back.
    case drain(DrainOrder)
    /// Have another binary take over.
    case upgrade(String, UpgradeAsker)
    /// A name was asked for its addresses.
    case resolved(NameAnswer)
    /// A sentence for the log.
    case say(String)
  }

  let settings: RunSettings
  var plan: Plan
  var names: Names
  let client: KeeperClient
  let inputs: AsyncStream<Input>
  let send: AsyncStream<Input>.Continuation
  let startedAt = SystemClock.now()
  let ownMemory = OwnMemory()
  /// As was last said.
  var memoryLevel = MemoryBound.Level.open
  var trimmedAt = Instant.zero
  let published = Published()
  let queues = QueueOffice()
  let sagas = SagaOffice()
  let logs = LogOffice()
  let backups = BackupOffice()
  let webhooks = WebhookDesk()
  let jobs: JobClock
  let outboxes: OutboxOffice
  let journal: Journal
  var certificates: Certificates

  var supervisor: Supervisor
  var programs: Programs?
  var server: ProxyServer?
  var random: SeededRandom
  var states: [[InstanceState]]
  /// The keeper was told to start the state process.
  var hasState = false
  var sockets: [String: (spec: ListenSpec, port: UInt16, descriptors: [Int32])] = [:]
  var isDraining = false
  var hasSaidReady = false
  var ticks = 0
  /// Ledgers of the last seconds, oldest first: rates are taken from them.
  var history: [(ledger: Ledger, at: Instant)] = []
  var happenings: [Status.Happening] = []
  var eventCounts = [UInt64](repeating: 0, count: Event.Kind.allCases.count)
  var eventsLost: UInt64 = 0
  var recordsLost: UInt64 = 0

  // Upgrades.
  /// Made ready beside a plane that serves; takes nothing yet.
  var isStandby: Bool
  /// What the plane before this one has told, if this one took over from it.
  var heritage: Heritage?
  /// Whoever wants to know what came of the upgrade that is under way.
  var upgradeAsker: UpgradeAsker?
  /// Planes from before upgrades, which finish what they have begun.
  var elders: [Status.Elder] = []
  /// Of them, those that lived when this plane took over.
  var elderPids: [Int32] = []
  var upgradeBegan = Instant.zero
  var stateRuns = StateRuns()
  /// The state process ends, to be started from this binary.
  var renewsState = false
  /// The admin listener on the port.
  var adminTask: Task<Void, Never>?

  // Reloads.
  /// By which plan the proxy's newest ids are, and how they came from those before.
  var epoch = 0
  var lastMove: PlanMove?
  var file = FileState()
  var pending: PendingReload?
  var leaving: [Leaving] = []
  var rolling: [Rolling] = []
  /// Services whose instances a name says.
  var discovering: [Discovering] = []
  /// The files that are looked at, their content at the last look, and the content that was last dealt with.
  var watched: [String] = []
  var lastSeen = ""
  var settled = ""
  /// While a scenario is played: what it does to messages, from the file as it was at the beginning.
  var road: MessageRoad?
  /// Of the identities' lists that are in use.
  var credentials = ""

  /// What the plane knows of an instance beside the supervisor.
  struct InstanceState {
    var pid: Int32 = 0
    var address = ""
    var starts = 0
    /// A name says where it is, and has none for this place.
    var isVacant = false
    /// The UNIX socket that it listens on, once it has been seen to; empty before.
    var socket = ""
    var isReady = false
    /// Somebody has taken it out of use.
    var isDrained = false
    var wasReady = false
    var cpu: Double?
    var memory: Int?
    var cpuNanoseconds: Int64 = 0
    var measuredAt = Instant.zero
  }

  private init(settings: RunSettings, plan: Plan, client: KeeperClient) throws(PlaneError) {
    self.settings = settings
    self.plan = plan
    self.client = client
    let names = Translation.names(plan)
    self.names = names
    let (inputs, send) = AsyncStream.makeStream(of: Input.self)
    self.inputs = inputs
    self.send = send
    jobs = JobClock { send.yield(.say($0)) }
    outboxes = OutboxOffice { send.yield(.say($0)) }
    let supervised = Translation.supervised(plan)
    supervisor = Supervisor(services: supervised)
    random = SeededRandom(seed: UInt64(bitPattern: SystemClock.wall().milliseconds))
    states = plan.flow.services.map { Array(repeating: InstanceState(), count: $0.instances) }
    journal = Journal(settings: settings, names: names, client: client)
    isStandby = client.isStandby
    certificates = Certificates(plan: plan, state: settings.state)
  }

  /// The whole life of the plane's process; the exit code.
  package static func run(_ text: String) -> Int32 {
    guard let settings = try? JSONDecoder().decode(RunSettings.self, from: Data(text.utf8)),
      let client = KeeperClient()
    else {
      Launch.report("weir: 'plane' is started by 'weir run' only")
      return 2
    }
    if let version = KeeperClient.foreignProtocol {
      return refuse(client, "this is weir \(WeirVersion.text), which does not speak to the running one (\(version))")
    }
    var result = ModelReader.read(path: settings.file, files: .disk)
    // The file may have been changed for the worse while this run went on by its former content; and who takes over from a
    // plane goes by what that one went by.
    if result.design == nil || client.isStandby, let running = readRunning(settings) { result = running }
    if client.isStandby, let reason = mistakes(result) { return refuse(client, reason) }
    guard let design = result.design else {
      Launch.report("weir: \(settings.file) can no longer be read as it was when the run began; weir check says why")
      return 2
    }
    let plane: Plane
    do { plane = try Plane(settings: settings, plan: Plan(design), client: client) } catch {
      return refuse(client, "\(error)")
    }
    do { try plane.listenToTheWorld() } catch {
      Launch.report("weir: \(error)")
      return 3
    }
    let sources = result.sources
    Task { await plane.live(by: sources) }
    // The main thread has nothing to do; the process ends by `leave`.
    while true { SystemThread.pause(nanoseconds: 1_000_000_000_000) }
  }

  /// Signals, the keeper and time, all into the one stream.
  private nonisolated func listenToTheWorld() throws {
    let send = send
    let signals = try SignalPipe([.terminate, .interrupt, .hangup])
    Signal.brokenPipe.ignore()
    try SystemThread.start {
      while true {
        var interests = [Poll.Interest(signals.descriptor)]
        // Nothing to wait for can only be a defect of ours; the keeper would still end us.
        guard (try? Poll.wait(&interests, nanoseconds: 1_000_000_000)) != nil else { return }
        for signal in signals.take() { send.yield(signal == .hangup ? .reload("SIGHUP", nil) : .end) }
      }
    }
    try client.run { send.yield(.keeper($0)) }
    Task.detached {
      while true {
        // Woken late is woken soon enough: whatever is due asks for its own moment.
        try? await Task.sleep(nanoseconds: 100_000_000)
        send.yield(.tick)
      }
    }
  }

  private func live(by sources: [Source]) async {
    remember(sources, hash: FileState.hash(sources.map { (name: $0.file, text: $0.text) }))
    // What has been changed since the plane before this one looked is found changed.
    settled =
      isStandby ? file.hash : FileState.hash(watched.map { (name: $0, text: (try? Files.text($0)) ?? "\u{0}missing") })
    for await input in inputs {
      do { try await take(input) } catch {
        if isStandby { leave(Plane.refuse(client, "\(error)")) }
        Launch.report("weir: \(error)")
        client.finish(code: 2)
        leave(2)
      }
    }
  }

  private func take(_ input: Input) async throws {
    switch input {
    case .keeper(.opened(let socket, let descriptors)):
      // The numbers must live as long as the loops: they are the proxy's from here on.
      let numbers = try descriptors.map { try $0.duplicate() }
      sockets[socket.spec.name] = (socket.spec, socket.port, numbers)
      await opened(socket.spec.name)
    case .keeper(.message(.standby(let text))):
      heritage = Heritage(text)
      try await prepare()
      client.send(.prepared(version: WeirVersion.text))
    case .keeper(.message(.adopted(let reports, let starts, _))): try await begin(adopting: reports, starts: starts)
    case .keeper(.message(let message)): try await take(message)
    case .keeper(.keeperLost):
      isDraining = true
      supervisor.end()
      await server?.drain(within: .milliseconds(500))
    case .keeper(.programsEnded): leave(3)
    case .health(let change): if let change = current(change) { try await take(change) }
    case .end: await end()
    case .tick: try await tick()
    case .reload(let why, let asker): await reload(because: why, asker)
    case .drain(let order): await drain(order)
    case .upgrade(let binary, let asker): upgrade(to: binary, asker)
    case .resolved(let answer): await take(answer)
    case .say(let text): journal.say(text)
    }
  }

  // MARK: - Beginning and end

  /// All that can fail, before anything is taken.
  private func prepare() async throws {
    guard let calls = sockets[SocketName.calls] else { throw PlaneError("the keeper gave no loopback listener") }
    let gateways = (plan.gateway?.listeners ?? []).compactMap { socket(for: $0) }
    var configuration = try Translation.proxy(
      plan, settings: settings, sockets: gateways.map { ($0.name, $0.descriptors) }, calls: calls.descriptors,
      seed: UInt64.random(in: .min ... .max))
    for (index, security) in try certificates.read(now: Date()).enumerated() {
      configuration.listeners[index].security = security
    }
    // Before they are read for use: a change in between is found at the next reload.
    credentials = IdentityAssembly.credentials(plan)
    configuration.access = try IdentityAssembly.access(plan, callsPort: Int(calls.port))
    configuration.upstreamSecurity = try certificates.services()
    road = try Translation.road(plan, settings: settings, now: SystemClock.now(), wall: SystemClock.wall())
    configuration.road = road
    try boundMemory(&configuration)
    let send = send
    let server = try await ProxyServer.start(configuration, accepting: false) { send.yield(.health($0)) }
    self.server = server
    queues.enter(plan, server)
    sagas.enter(plan, server)
    logs.enter(plan, server)
    backups.enter(plan, server)
    webhooks.enter(plan, server)
    jobs.enter(plan, server)
    let programs = Programs(plan: plan, state: settings.state, callsPort: Int(calls.port))
    try programs.makeStoreFolders()
    try programs.makeSocketFolder()
    self.programs = programs
    for (service, addresses) in configuration.addresses.enumerated() {
      for (instance, address) in addresses.enumerated() {
        guard case .tcp(let host, let port)? = address else { continue }
        states[service][instance].address = "\(host):\(port)"
        states[service][instance].isReady = !plan.isAsked(service)
      }
    }
    discovering = discovering(for: plan, keeping: [])
    markVacant()
    await followHosts()
    askNames()
  }

  private func begin(adopting reports: [ProgramReport], starts: Int) async throws {
    takeState(reports)
    startState(for: plan)
    if server == nil { try await prepare() }
    guard let server else { return }
    isStandby = false
    client.send(.order(stages: stopStages))
    client.send(.show(lines: !settings.live))
    let now = SystemClock.now()
    for report in reports where report.spec.name != StateProgram.name { await adopt(report, now: now) }
    await takeOver(reports)
    // Only now: what waits in the sockets since an earlier plane died would find nobody who is ready.
    await server.accept()
    outboxes.enter(plan, server, folder: Files.parent(of: plan.design.file))
    var commands: [Supervisor.Command] = []
    supervisor.begin(now: now, into: &commands)
    if heritage == nil, starts > 1 {
      journal.say("the plane is back after \(starts - 1) restart\(starts == 2 ? "" : "s")")
    }
    try await serveAdmin()
    client.send(.ready)
    announce()
    await carryOut(commands)
    await know()
    if settings.live { drawLive() }
    await sayWhenReady()
  }

  private func announce() {
    if heritage != nil { return }
    for address in listenerAddresses { journal.say("listening at \(address)") }
    sayHowToTrust()
    let admin = published.admin
    journal.say("metrics and status at \(admin.isEmpty ? settings.state + "/admin.sock" : admin)")
    if settings.accessLog == .file { journal.say("access log in \(settings.state)/logs/access.log") }
    sayScenario()
    for (service, need) in supervisor.droppedNeeds {
      journal.say("'\(service)' does not wait for '\(need)': they need each other")
    }
  }

  var listenerAddresses: [String] {
    (plan.gateway?.listeners ?? []).map { listener in
      let host = listener.host == "0.0.0.0" || listener.host == "::" ? "localhost" : listener.host
      return
        "\(listener.tcp != nil ? "tcp" : listener.isSecured ? "https" : "http")://\(host):\(socket(for: listener)?.port ?? UInt16(listener.port))"
    }
  }

  private func end() async {
    if published.isRetired { return await hurryToFinish() }
    guard !isDraining else { return }
    isDraining = true
    outboxes.stop()
    supervisor.end()
    journal.say("stopping: requests may finish for \(Int(settings.drainSeconds)) s")
    let clean = await server?.drain(within: .seconds(settings.drainSeconds)) ?? true
    await know()
    await server?.stop()
    client.finish(code: clean ? 0 : 1)
    leave(clean ? 0 : 1)
  }

  // MARK: - Programs

  private func adopt(_ report: ProgramReport, now: Instant) async {
    guard let reference = reference(report.spec.id) else {
      client.send(.forget(id: report.spec.id))
      return
    }
    if let port = report.spec.port { programs?.adopt(report.spec.id, port: port) }
    let ends = report.exits.map { (Instant(nanoseconds: $0.startedAt), Instant(nanoseconds: $0.endedAt)) }
    supervisor.adopted(
      reference, isRunning: report.pid != nil, startedAt: Instant(nanoseconds: report.startedAt), ends: ends, now: now,
      using: &random)
    states[reference].starts = report.starts
    guard let pid = report.pid else { return }
    await runs(reference, pid: pid)
    // It served under the plane before this one, most probably; its check, which begins anew, says so or restarts it.
    if heritage?.unready.contains(report.spec.id) == true { return }
    await server?.setUp(true, service: reference.service, instance: reference.instance - 1)
  }

  private func take(_ message: KeeperMessage) async throws {
    let now = SystemClock.now()
    switch message {
    case .started(let id, let pid, let at):
      if id == StateProgram.id { stateStarted(at: at) }
      guard let reference = reference(id) else { return }
      supervisor.started(reference, now: now)
      states[reference].starts += 1
      await runs(reference, pid: pid)
      happened(.instanceStarted, reference)
    case .failed(let id, let reason):
      journal.say("\(id) cannot be started: \(reason)")
      guard let reference = reference(id) else { return }
      var commands: [Supervisor.Command] = []
      supervisor.startFailed(reference, now: now, using: &random, into: &commands)
      await carryOut(commands)
    case .exited(let id, let record, let lines):
      if id == StateProgram.id { stateEnded() }
      guard let reference = reference(id) else { return }
      let wasReady = states[reference].isReady
      await server?.exited(service: reference.service, instance: reference.instance - 1)
      states[reference].pid = 0
      states[reference].isReady = false
      states[reference].cpu = nil
      states[reference].memory = nil
      if isDraining { return }
      if !record.asked {
        happened(.instanceExited, reference)
        journal.say("\(id) ended by itself: \(record.exit)")
        if !wasReady { for line in lines { journal.say("  \(id) said: \(line)") } }
      }
      var commands: [Supervisor.Command] = []
      supervisor.exited(reference, now: now, using: &random, into: &commands)
      await carryOut(commands)
    case .listenFailed(let name, let reason):
      if !cannotOpen(name, reason) { throw PlaneError("cannot listen for '\(name)': \(reason)") }
    case .retire(let pid, let version): retire(for: pid, version)
    case .refused(let reason): upgradeRefused(reason)
    case .retired(let pid): elderEnded(pid)
    case .elders(let pids): elderPids = pids
    case .opened, .adopted, .standby, .lines: break
    }
  }

  /// A program runs: it gets traffic once its check passes, which, where the file has none, is that it takes a connection.
  private func runs(_ reference: Supervisor.Reference, pid: Int32) async {
    let id = name(of: reference)
    guard let port = programs?.port(of: id) else { return }
    states[reference].pid = pid
    states[reference].socket = ""
    states[reference].address = "127.0.0.1:\(port)"
    await server?.started(
      service: reference.service, instance: reference.instance - 1, at: .tcp(host: "127.0.0.1", port: Int(port)))
  }

  private func take(_ change: HealthChange) async throws {
    let reference = Supervisor.Reference(service: change.service, instance: change.instance + 1)
    switch change.change {
    case .none: return
    case .becameReady: await becameReady(reference)
    case .becameUnready:
      states[reference].isReady = false
      journal.say("\(name(of: reference)) is not ready any more")
    case .startFailed, .restart:
      states[reference].isReady = false
      guard plan.isStarted(reference.service) else { return }
      let why =
        change.change == .restart ? "fails its liveness check" : "was not ready within its start time"
      journal.say("\(name(of: reference)) \(why): it is started again")
      var commands: [Supervisor.Command] = []
      supervisor.restart(reference, into: &commands)
      await carryOut(commands)
    }
  }

  func becameReady(_ reference: Supervisor.Reference) async {
    await lookForSocket(reference)
    states[reference].isReady = true
    states[reference].wasReady = true
    guard plan.isStarted(reference.service) else { return await sayWhenReady() }
    var commands: [Supervisor.Command] = []
    supervisor.becameReady(reference, now: SystemClock.now(), into: &commands)
    await carryOut(commands)
    await sayWhenReady()
  }

  func carryOut(_ commands: [Supervisor.Command]) async {
    for command in commands {
      switch command {
      case .start(let reference, let freshPort):
        do {
          guard var programs else { continue }
          let spec = try programs.spec(reference, freshPort: freshPort)
          programs.makeWay(for: reference)
          self.programs = programs
          client.send(.start(program: spec))
        } catch {
          // A reference that is missing now may be there at the next start, but most often it is a mistake: say it.
          journal.say("\(name(of: reference)) cannot be started: \(error)")
          var more: [Supervisor.Command] = []
          supervisor.startFailed(reference, now: SystemClock.now(), using: &random, into: &more)
          await carryOut(more)
        }
      case .stop(let reference):
        client.send(.stop(id: name(of: reference), grace: ProgramSpec.defaultStopGrace))
      case .tell(let trouble):
        let seconds = Double(trouble.nextStart.since(SystemClock.now())) / 1e9
        let next = "next start in \(max(0, (seconds * 10).rounded() / 10)) s"
        let id = name(of: trouble.instance)
        if trouble.neverReady && trouble.isHopeless {
          journal.say("\(id) has ended \(trouble.endsInARow) times without ever being ready; \(next)")
          if settings.failFast {
            client.finish(code: 1)
            leave(1)
          }
        } else {
          journal.say("\(id): \(next)")
        }
      }
    }
  }

  func sayWhenReady() async {
    guard !hasSaidReady else { return }
    let ready = states.indices.allSatisfy { service in
      !plan.isStarted(service) || states[service].allSatisfy(\.isReady)
    }
    guard ready, discovering.allSatisfy(\.value.isSettled) else { return }
    hasSaidReady = true
    let tenths = SystemClock.now().since(startedAt) / 100_000_000
    let count = states.indices.reduce(0) { $0 + (plan.isStarted($1) ? states[$1].count : 0) }
    journal.say("ready: \(count) instance\(count == 1 ? "" : "s") after \(tenths / 10).\(tenths % 10) s")
  }

  func name(of reference: Supervisor.Reference) -> String {
    "\(plan.services[reference.service].name)-\(reference.instance)"
  }

  private func reference(_ id: String) -> Supervisor.Reference? {
    for service in states.indices where plan.isStarted(service) {
      for instance in states[service].indices where "\(plan.services[service].name)-\(instance + 1)" == id {
        return Supervisor.Reference(service: service, instance: instance + 1)
      }
    }
    return nil
  }

  private func happened(_ kind: Event.Kind, _ reference: Supervisor.Reference) {
    tell(
      [
        Event(
          kind, at: SystemClock.now(), service: UInt32(reference.service), instance: UInt16(reference.instance - 1))
      ])
  }
}

extension [[Plane.InstanceState]] {
  subscript(_ reference: Supervisor.Reference) -> Plane.InstanceState {
    get { self[reference.service][reference.instance - 1] }
    set { self[reference.service][reference.instance - 1] = newValue }
  }
}
