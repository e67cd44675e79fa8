// SPDX-License-Identifier: Apache-2.0
import Foundation
import Hummingbird
import WeirBase
import WeirFlows
import WeirModel
import WeirPlatform
import WeirProcesses
import WeirProxy
import WeirTelemetry

/// Another binary takes over while the system runs: `docs/upgrade.md` tells what follows.
///
/// The keeper starts the other plane, which makes all ready and takes nothing (standby); when it has said so it is told what
/// runs, and this one to retire. Sockets and programs are the keeper's, so neither changes hands.
extension Plane {
  typealias UpgradeAsker = CheckedContinuation<UpgradeOutcome, Never>

  /// How long a plane that was replaced keeps connections on which nothing comes: whoever uses them at all is told with the
  /// next answer that they end.
  static let retireGrace = Duration.seconds(5)

  /// What a plane tells the one after it, as text that the keeper does not read.
  ///
  /// Versions write and read it for each other: what is added later is optional. One that cannot be read is none, and the
  /// next plane begins as after a crash.
  struct Heritage: Codable {
    var version = WeirVersion.text
    var pid = Children.ownPid
    var isReady = false
    /// Instances that get no requests, programs and addresses.
    var unready: [String] = []
    /// Instances that were taken out of use by hand.
    var drained: [String]?
    /// By service whose instances a name says: the addresses that it had last.
    var discovered: [String: [String]]?
    /// Of the admin listener on loopback.
    var adminPort: Int?
    /// When the run began, on the monotonic clock, which all processes share.
    var askedAt = SystemClock.now().nanoseconds
    var elders: [Status.Elder] = []

    init() {}

    init?(_ text: String) {
      guard let read = try? JSONDecoder().decode(Heritage.self, from: Data(text.utf8)) else { return nil }
      self = read
    }
  }

  // MARK: - Before it takes over

  /// Tells whoever waits that this process cannot take over, or cannot begin; its exit code.
  static func refuse(_ client: KeeperClient, _ reason: String) -> Int32 {
    if client.isStandby { client.send(.cannot(reason: reason)) } else { Launch.report("weir: \(reason)") }
    return 2
  }

  /// Why this version cannot go by the file that runs; nil when it can.
  static func mistakes(_ result: ModelReader.Result) -> String? {
    let found = result.diagnostics.filter { $0.severity == .error } + (result.design?.unsupported(for: .run) ?? [])
    guard let first = found.first else { return nil }
    let more = found.count > 1 ? " (and \(found.count - 1) more)" : ""
    return "weir \(WeirVersion.text) cannot use the running file: \(sentence(first))\(more)"
  }

  // MARK: - The plane that serves

  func upgrade(to binary: String, _ asker: UpgradeAsker) {
    if let reason = reasonNotToUpgrade {
      var outcome = UpgradeOutcome(.refused, from: ownSide)
      outcome.errors = [reason]
      return asker.resume(returning: outcome)
    }
    upgradeAsker = asker
    upgradeBegan = SystemClock.now()
    var heritage = Heritage()
    heritage.isReady = hasSaidReady
    heritage.elders = elders
    heritage.adminPort = published.admin.split(separator: ":").last.flatMap { Int($0) }
    for service in states.indices {
      for instance in states[service].indices where !states[service][instance].isReady {
        heritage.unready.append("\(plan.services[service].name)-\(instance + 1)")
      }
    }
    heritage.drained = states.indices.flatMap { service in
      states[service].indices.filter { states[service][$0].isDrained }
        .map { "\(plan.services[service].name)-\($0 + 1)" }
    }
    heritage.discovered = discovered
    // Numbers and words only: it cannot fail, and if it did the next plane would begin as after a crash.
    let text = (try? JSONEncoder().encode(heritage)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    journal.say("upgrade: \(binary) is made ready")
    client.send(.upgrade(binary: binary, heritage: text))
  }

  private var reasonNotToUpgrade: String? {
    if isDraining { return "the system is ending" }
    if upgradeAsker != nil { return "another upgrade is under way" }
    // What it has begun the next plane would not know of.
    let isChanging = pending != nil || !leaving.isEmpty || !rolling.isEmpty
    return isChanging ? "a reload's changes are still being made: try again when they are done" : nil
  }

  private var ownSide: UpgradeOutcome.Side {
    UpgradeOutcome.Side(version: WeirVersion.text, pid: Children.ownPid, binary: Files.ownExecutable ?? "")
  }

  func upgradeRefused(_ reason: String) {
    var outcome = UpgradeOutcome(.refused, from: ownSide)
    outcome.errors = [reason]
    upgradeAsker?.resume(returning: outcome)
    upgradeAsker = nil
  }

  /// Another plane serves: this one finishes what it has begun, and ends.
  func retire(for pid: Int32, _ version: String) {
    if isDraining { return }
    isDraining = true
    published.isRetired = true
    outboxes.stop()
    supervisor.end()
    adminTask?.cancel()
    var outcome = UpgradeOutcome(.upgraded, from: ownSide)
    outcome.to = UpgradeOutcome.Side(
      version: version, pid: pid, binary: Files.linkTarget("/proc/\(pid)/exe") ?? "")
    outcome.milliseconds = Double(SystemClock.now().since(upgradeBegan)) / 1e6
    upgradeAsker?.resume(returning: outcome)
    upgradeAsker = nil
    // Beside the inputs: programs still come and go.
    Task { await finish() }
  }

  /// The whole run ends while it does so: without the grace.
  func hurryToFinish() async {
    await server?.drain(within: .seconds(settings.drainSeconds))
    await know()
    leave(0)
  }

  private func finish() async {
    let time = Duration.seconds(settings.drainSeconds)
    let isClean = await server?.handOver(within: time, grace: min(Plane.retireGrace, time / 2)) ?? true
    await know()
    if !isClean { client.send(.say(text: "process \(Children.ownPid) cut what it could not finish within its drain")) }
    await server?.stop()
    leave(0)
  }

  // MARK: - The plane that takes over

  /// What the plane before this one knew of instances.
  func takeOver(_ reports: [ProgramReport]) async {
    guard let heritage, let server else { return }
    hasSaidReady = heritage.isReady
    await inherit(discovered: heritage.discovered ?? [:])
    // One may have ended since the heritage was written.
    elders = (heritage.elders + [Status.Elder(pid: heritage.pid, version: heritage.version)])
      .filter { elderPids.contains($0.pid) }
    for service in states.indices {
      for instance in states[service].indices {
        let reference = Supervisor.Reference(service: service, instance: instance + 1)
        if heritage.unready.contains(name(of: reference)) { continue }
        if plan.isStarted(service) {
          if states[reference].pid == 0 { continue }
          await becameReady(reference)
        } else if !states[reference].address.isEmpty {
          states[reference].isReady = true
          states[reference].wasReady = true
          await server.setUp(true, service: service, instance: instance)
        }
      }
    }
    // Now that the others serve.
    for service in states.indices {
      for instance in states[service].indices {
        let reference = Supervisor.Reference(service: service, instance: instance + 1)
        guard heritage.drained?.contains(name(of: reference)) == true,
          await server.drain(service: service, instance: instance, true)
        else { continue }
        states[reference].isDrained = true
      }
    }
  }

  /// The admin port, when the plane before this one has let go of it.
  func inheritAdmin(_ admin: AdminServer, port: Int) {
    let published = published
    Task {
      // 250 times 20 ms.
      for _ in 0..<250 {
        let bound: Void? = try? await listen(admin, .hostname("127.0.0.1", port: port), "the admin port \(port)") {
          published.admin = "http://127.0.0.1:\($0 ?? port)"
        }
        if bound != nil { return }
        // Nothing tells of a port that has become free.
        try? await Task.sleep(nanoseconds: 20_000_000)
      }
      journal.say("the admin port \(port) is not free: status and metrics at \(settings.state)/admin.sock only")
    }
  }

  func elderEnded(_ pid: Int32) { elders.removeAll { $0.pid == pid } }

  // MARK: - The state process

  /// What runs of it; after an upgrade it is started anew from this binary.
  ///
  /// It answers all that it has read before it ends, and loops ask again what it has not: requests wait meanwhile.
  func takeState(_ reports: [ProgramReport]) {
    guard let report = reports.first(where: { $0.spec.name == StateProgram.name }) else { return }
    hasState = true
    stateRuns = StateRuns(starts: report.starts, startedAt: report.pid == nil ? nil : report.startedAt)
    guard heritage != nil, report.pid != nil else { return }
    renewsState = true
    client.send(.stop(id: StateProgram.id, grace: ProgramSpec.defaultStopGrace))
  }

  func stateStarted(at: Int64) {
    stateRuns.starts += 1
    stateRuns.startedAt = at
  }

  func stateEnded() {
    stateRuns.startedAt = nil
    guard renewsState else { return }
    renewsState = false
    guard !isDraining, let spec = StateProgram.spec(settings) else { return }
    client.send(.start(program: spec))
  }

  /// How the state process has run, as the keeper told.
  struct StateRuns {
    var starts = 0
    var startedAt: Int64?
  }

  // MARK: - Status

  func tellOfProcesses(_ status: inout Status) {
    status.plane = Status.Plane(
      pid: Children.ownPid, binary: Files.ownExecutable ?? "", uptime: Double(SystemClock.now().since(startedAt)) / 1e9)
    status.elders = elders
    guard hasState else { return }
    status.state = Status.State(
      up: stateRuns.startedAt != nil,
      uptime: stateRuns.startedAt.map { Double(SystemClock.now().nanoseconds - $0) / 1e9 },
      restarts: max(0, stateRuns.starts - 1), backup: backups.last?.status(now: SystemClock.wall()))
  }
}
