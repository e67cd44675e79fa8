// SPDX-License-Identifier: Apache-2.0

package import WeirBase
package import WeirFlows
package import WeirPatterns

/// Decides which program starts when: dependencies first, again after it ended, later each time it keeps ending.
///
/// Source: Erlang/OTP's supervisors (one for one), with readiness instead of a returned `start_link`; Compose's
/// `depends_on: service_healthy`. Lives in the plane; the keeper carries out what it answers, the health monitors tell it
/// who is ready. In which order programs are *stopped* is decided here too (``stopStages``), but told to the keeper in
/// advance, for it must be able to end everything without a plane.
///
///     waiting ──needs were ready──▶ starting ──started──▶ running ──becameReady──▶ ready
///                                     ▲  │ startFailed       │ exited                │ exited
///                                     │  ▼                   ▼                       ▼
///                                     └──────rest over──── resting ◀─────────────────┘
///     running, ready ──restart──▶ stopping ──exited──▶ resting;      any ──end──▶ no start any more
/// ## Invariants
/// 1. An instance is never started while it may live: after `start` only `startFailed` or `exited` make it startable.
/// 2. An instance is started the first time only when each service it needs has had a ready instance. Once met a need
///    stays met: a dependency that fails later is the breaker's concern, and restarting the dependents would not help.
/// 3. A start after an end waits for `RestartBackoff`; there is always a next start (`nextWake`) until `end`.
/// 4. After `end` nothing is started.
package struct Supervisor: Sendable, Equatable {
  package struct Service: Sendable, Equatable {
    package var name: String
    package var instances: Int
    /// Services that must have been ready before this one starts; without the optional ones.
    package var needs: [String]
    package var restart: RestartBackoff.Settings

    package init(name: String, instances: Int, needs: [String] = [], restart: RestartBackoff.Settings = .init()) {
      self.name = name
      self.instances = instances
      self.needs = needs
      self.restart = restart
    }
  }

  package struct Settings: Sendable, Equatable {
    /// Ends before it was ever ready, in a row, after which a service counts as failing to start.
    ///
    /// Three: the first may be a race for a port, the second its repetition.
    package var startFailuresMax = 3
    package init() {}
  }

  /// One instance: the service's index and which one, counted from 1, as in its name `api-1`.
  package struct Reference: Sendable, Hashable, BitwiseCopyable {
    package var service: Int
    package var instance: Int

    package init(service: Int, instance: Int) {
      self.service = service
      self.instance = instance
    }
  }

  package enum Command: Sendable, Equatable {
    /// `freshPort`: its last run ended before it was ready, so its port may be the cause and it gets another.
    case start(Reference, freshPort: Bool)
    /// TERM, after its grace KILL.
    case stop(Reference)
    case tell(Trouble)
  }

  /// What the user is told when a program ends by itself.
  package struct Trouble: Sendable, Equatable {
    package var instance: Reference
    /// It has never been ready since the run began.
    package var neverReady: Bool
    /// Ends in a row, this one included.
    package var endsInARow: Int
    /// When it is started again.
    package var nextStart: Instant
    /// `endsInARow` has just reached `startFailuresMax` and it was never ready: `weir run --fail-fast` ends here.
    package var isHopeless: Bool
  }

  package enum Phase: Sendable, Equatable {
    case waiting, starting, running, ready, stopping
    case resting(until: Instant)
  }

  struct Instance: Sendable, Equatable {
    var phase = Phase.waiting
    var backoff: RestartBackoff
    /// Ready at least once since the supervisor began.
    var wasReady = false
    /// Ready in its present run, or in the one before while it rests.
    var runWasReady = false
    var endsBeforeReady = 0
  }

  package let services: [Service]
  let settings: Settings
  let needs: [[Int]]
  /// Needs left out because they would close a circle (or name no service): service and need.
  ///
  /// To be told as findings.
  package let droppedNeeds: [(service: String, need: String)]
  var instances: [[Instance]]
  /// The service has had a ready instance.
  var wasReady: [Bool]
  package private(set) var hasEnded = false

  package init(services: [Service], settings: Settings = .init()) {
    self.services = services
    self.settings = settings
    (needs, droppedNeeds) = Supervisor.resolve(services)
    instances = services.map { service in
      (0..<max(0, service.instances)).map { _ in Instance(backoff: RestartBackoff(service.restart)) }
    }
    // What has no instance of ours (it runs elsewhere) is nobody's to wait for.
    wasReady = instances.map(\.isEmpty)
  }

  package static func == (a: Supervisor, b: Supervisor) -> Bool {
    a.services == b.services && a.settings == b.settings && a.needs == b.needs && a.instances == b.instances
      && a.wasReady == b.wasReady && a.hasEnded == b.hasEnded
  }

  /// The same programs under a changed plan: who keeps its name and number keeps what is known of it.
  ///
  /// What is new waits for `begin`; what is gone is nobody's here any more, and the caller ends it.
  package func moved(to services: [Service], by move: PlanMove) -> Supervisor {
    var new = Supervisor(services: services, settings: settings)
    new.hasEnded = hasEnded
    for (s, to) in move.services.enumerated() {
      guard let to else { continue }
      for (i, k) in move.instances[s].enumerated() {
        guard let k, i < instances[s].count, k < new.instances[to].count else { continue }
        new.instances[to][k] = instances[s][i]
      }
      if !instances[s].isEmpty && !new.instances[to].isEmpty {
        new.wasReady[to] = wasReady[s] || new.instances[to].contains { $0.phase == .ready }
      }
    }
    return new
  }

  // MARK: Asking

  package func phase(of reference: Reference) -> Phase { instances[reference.service][reference.instance - 1].phase }

  /// When `tick` has something to do.
  package var nextWake: Instant? {
    if hasEnded { return nil }
    var wake: Instant?
    for instance in instances.joined() {
      if case .resting(let until) = instance.phase { wake = min(wake ?? until, until) }
    }
    return wake
  }

  /// Service names in the order in which programs end: who needs others before those it needs.
  package var stopStages: [[String]] {
    var depth = [Int](repeating: -1, count: services.count)
    // Needs are free of circles, so this ends; a service's depth is one more than the deepest of those that need it.
    func measure(_ service: Int) -> Int {
      if depth[service] >= 0 { return depth[service] }
      let users = needs.indices.filter { needs[$0].contains(service) }
      depth[service] = users.map { measure($0) + 1 }.max() ?? 0
      return depth[service]
    }
    let deepest = services.indices.map { measure($0) }.max() ?? -1
    return (0..<(deepest + 1)).map { stage in services.indices.filter { depth[$0] == stage }.map { services[$0].name } }
  }

  /// Services that wait, and for whom.
  package var waiting: [(service: String, needs: [String])] {
    services.indices.compactMap { service in
      guard instances[service].contains(where: { $0.phase == .waiting }) else { return nil }
      let missing = needs[service].filter { !wasReady[$0] }.map { services[$0].name }
      return missing.isEmpty ? nil : (services[service].name, missing)
    }
  }

  // MARK: Inputs

  /// Begins: starts what needs nothing.
  ///
  /// After `adopted` for what already runs.
  package mutating func begin(now: Instant, into commands: inout [Command]) { startAll(into: &commands) }

  /// From before a plane's crash: it runs, or it ran and ended while there was no plane.
  ///
  /// Before `begin`.
  package mutating func adopted(
    _ reference: Reference, isRunning: Bool, startedAt: Instant, ends: [(startedAt: Instant, endedAt: Instant)],
    now: Instant, using random: inout SeededRandom
  ) {
    change(reference) { instance in
      var due = now
      for end in ends {
        instance.backoff.started(now: end.startedAt)
        due = instance.backoff.exited(now: end.endedAt, using: &random)
      }
      if isRunning {
        instance.backoff.started(now: startedAt)
        instance.phase = .running
      } else if !ends.isEmpty {
        instance.phase = .resting(until: max(now, due))
      }
    }
  }

  /// The keeper has started it.
  package mutating func started(_ reference: Reference, now: Instant) {
    change(reference) { instance in
      guard instance.phase == .starting else { return }
      instance.phase = .running
      instance.runWasReady = false
      instance.backoff.started(now: now)
    }
  }

  /// The keeper could not start it.
  package mutating func startFailed(
    _ reference: Reference, now: Instant, using random: inout SeededRandom, into commands: inout [Command]
  ) {
    guard phase(of: reference) == .starting else { return }
    change(reference) { $0.runWasReady = false }
    rest(reference, now: now, using: &random, into: &commands)
  }

  /// Its health monitor says it is ready.
  package mutating func becameReady(_ reference: Reference, now: Instant, into commands: inout [Command]) {
    guard phase(of: reference) == .running else { return }
    change(reference) { instance in
      instance.phase = .ready
      instance.wasReady = true
      instance.runWasReady = true
      instance.endsBeforeReady = 0
    }
    wasReady[reference.service] = true
    startAll(into: &commands)
  }

  /// It has ended, whyever.
  package mutating func exited(
    _ reference: Reference, now: Instant, using random: inout SeededRandom, into commands: inout [Command]
  ) {
    switch phase(of: reference) {
    case .starting, .running, .ready, .stopping: rest(reference, now: now, using: &random, into: &commands)
    case .waiting, .resting: break
    }
  }

  /// Its health monitor says it must be restarted, or the user does.
  package mutating func restart(_ reference: Reference, into commands: inout [Command]) {
    switch phase(of: reference) {
    case .running, .ready:
      change(reference) { $0.phase = .stopping }
      commands.append(.stop(reference))
    case .waiting, .starting, .stopping, .resting: break
    }
  }

  /// Time has passed.
  package mutating func tick(now: Instant, into commands: inout [Command]) {
    if hasEnded { return }
    for service in instances.indices {
      for index in instances[service].indices {
        if case .resting(let until) = instances[service][index].phase, now >= until {
          instances[service][index].phase = .starting
          commands.append(
            .start(
              Reference(service: service, instance: index + 1), freshPort: !instances[service][index].runWasReady))
        }
      }
    }
  }

  /// Everything is about to end: nothing is started any more.
  package mutating func end() { hasEnded = true }

  // MARK: Helpers

  private mutating func change(_ reference: Reference, _ body: (inout Instance) -> Void) {
    body(&instances[reference.service][reference.instance - 1])
  }

  private mutating func startAll(into commands: inout [Command]) {
    if hasEnded { return }
    for service in instances.indices where needs[service].allSatisfy({ wasReady[$0] }) {
      for index in instances[service].indices where instances[service][index].phase == .waiting {
        instances[service][index].phase = .starting
        commands.append(.start(Reference(service: service, instance: index + 1), freshPort: false))
      }
    }
  }

  private mutating func rest(
    _ reference: Reference, now: Instant, using random: inout SeededRandom, into commands: inout [Command]
  ) {
    var trouble: Trouble?
    let most = settings.startFailuresMax
    let ended = hasEnded
    change(reference) { instance in
      let until = instance.backoff.exited(now: now, using: &random)
      if !instance.runWasReady { instance.endsBeforeReady += 1 }
      let wasAsked = instance.phase == .stopping
      instance.phase = .resting(until: until)
      let isHopeless = !instance.wasReady && instance.endsBeforeReady == most
      // An end that was asked for is no trouble, unless it was asked for because the program never gets ready.
      if ended || (wasAsked && !isHopeless) { return }
      trouble = Trouble(
        instance: reference, neverReady: !instance.wasReady, endsInARow: instance.backoff.exits, nextStart: until,
        isHopeless: isHopeless)
    }
    if let trouble { commands.append(.tell(trouble)) }
  }

  /// Needs as indices, without those that name nothing or close a circle.
  private static func resolve(_ services: [Service]) -> (needs: [[Int]], dropped: [(service: String, need: String)]) {
    var needs = [[Int]](repeating: [], count: services.count)
    var dropped: [(service: String, need: String)] = []
    func reaches(_ from: Int, _ to: Int) -> Bool {
      var seen = [Bool](repeating: false, count: services.count)
      var open = [from]
      while let next = open.popLast() {
        if next == to { return true }
        if seen[next] { continue }
        seen[next] = true
        open += needs[next]
      }
      return false
    }
    for (index, service) in services.enumerated() {
      for name in service.needs {
        guard let need = services.firstIndex(where: { $0.name == name }), !reaches(need, index) else {
          dropped.append((service.name, name))
          continue
        }
        if !needs[index].contains(need) { needs[index].append(need) }
      }
    }
    return (needs, dropped)
  }

  /// What is wrong with this state, or nil.
  package func violation() -> String? {
    for service in instances.indices {
      for (index, instance) in instances[service].enumerated() {
        let name = "\(services[service].name)-\(index + 1)"
        if let wrong = instance.backoff.violation() { return "\(name): \(wrong)" }
        if instance.phase == .ready, !wasReady[service] { return "\(name) is ready and its service never was" }
        if instance.phase == .waiting, !hasEnded, !instances[service].isEmpty,
          needs[service].allSatisfy({ wasReady[$0] }), instances[service].contains(where: { $0.phase != .waiting })
        {
          return "\(name) waits though its needs are met"
        }
      }
    }
    return nil
  }
}
