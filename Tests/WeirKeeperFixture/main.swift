// SPDX-License-Identifier: Apache-2.0

import Synchronization
import WeirBase
import WeirPatterns
import WeirPlatform
import WeirProcesses

// A keeper and a small plane for the tests: the keeper needs a process of its own (it reaps every child and owns the
// signals), and a plane must be killed. The plane is what the runtime does with a Supervisor, without a gateway.
//
//   weir-keeper-fixture keeper FIXTURE.json      runs the keeper, which starts …
//   weir-keeper-fixture plane FIXTURE.json       … this
//
// What the plane learns goes line by line to the file `events` of the fixture.

if let code = Keeper.resume() { leave(code) }
let words = CommandLine.arguments
guard words.count == 3, let fixture = Fixture.read(words[2]) else {
  print("usage: weir-keeper-fixture keeper|plane FIXTURE.json")
  leave(2)
}

switch words[1] {
case "keeper":
  var options = Keeper.Options(
    planeArgv: fixture.planeArgv ?? [Files.ownExecutable ?? words[0], "plane", words[2]], statePath: fixture.state)
  options.listen = fixture.listen
  options.drainLimit = fixture.drainLimit
  options.logBytesMax = fixture.logBytesMax
  leave(Keeper.run(options))
default: Plane(fixture).run()
}

/// The runtime's part in small.
final class Plane: Sendable {
  struct State {
    var supervisor: Supervisor
    var random = SeededRandom(seed: 1)
    var isServing = false
  }

  let fixture: Fixture
  let state: Mutex<State>
  let client: KeeperClient

  init(_ fixture: Fixture) {
    self.fixture = fixture
    state = Mutex(
      State(
        supervisor: Supervisor(
          services: fixture.services.map {
            var restart = Supervisor.Service(name: $0.name, instances: $0.instances).restart
            restart.first = .milliseconds(50)
            return Supervisor.Service(name: $0.name, instances: $0.instances, needs: $0.needs, restart: restart)
          })))
    guard let client = KeeperClient() else { leave(2) }
    self.client = client
  }

  func event(_ text: String) {
    guard let file = try? Descriptor.open(fixture.events, .append) else { leave(4) }
    guard (try? file.writeAll(Array((text + "\n").utf8))) != nil else { leave(4) }
  }

  func run() -> Never {
    if let code = fixture.planeExits { leave(code) }
    guard let signals = try? SignalPipe([.terminate, .interrupt]) else { leave(4) }
    guard (try? client.run({ self.take($0) })) != nil else { leave(4) }
    while true {
      let wake = state.withLock { $0.supervisor.nextWake }
      // 20 ms is how soon a readiness file is noticed.
      var interests = [Poll.Interest(signals.descriptor)]
      let wait = min(20_000_000, wake.map { max(0, $0.since(SystemClock.now())) } ?? 20_000_000)
      guard (try? Poll.wait(&interests, nanoseconds: wait)) != nil else { leave(4) }
      if !signals.take().isEmpty {
        event("drain")
        if fixture.planeIgnoresTerm { continue }
        client.finish(code: fixture.planeCode)
        leave(fixture.planeCode)
      }
      decide { state, commands in state.supervisor.tick(now: SystemClock.now(), into: &commands) }
      lookForReady()
      lookForUpgrade()
    }
  }

  func lookForUpgrade() {
    guard let path = fixture.upgradeFile, let text = try? Files.text(path) else { return }
    try? Files.remove(path)
    client.send(.upgrade(binary: text, heritage: "\(Children.ownPid)"))
  }

  func lookForReady() {
    decide { state, commands in
      for (index, service) in fixture.services.enumerated() {
        for instance in 1...max(1, service.instances) {
          let reference = Supervisor.Reference(service: index, instance: instance)
          guard state.supervisor.phase(of: reference) == .running else { continue }
          if service.readyFile.map({ Files.exists($0) }) ?? true {
            state.supervisor.becameReady(reference, now: SystemClock.now(), into: &commands)
            event("ready \(service.name)-\(instance)")
          }
        }
      }
    }
  }

  func decide(_ body: (inout State, inout [Supervisor.Command]) -> Void) {
    var commands: [Supervisor.Command] = []
    state.withLock { body(&$0, &commands) }
    for command in commands {
      switch command {
      case .start(let reference, _):
        let service = fixture.services[reference.service]
        client.send(
          .start(
            program: ProgramSpec(
              name: service.name, instance: reference.instance, argv: service.argv,
              environment: service.environment + [.init("INSTANCE", "\(reference.instance)")],
              directory: service.directory, stopGrace: service.stopGrace)))
      case .stop(let reference):
        let service = fixture.services[reference.service]
        client.send(.stop(id: "\(service.name)-\(reference.instance)", grace: service.stopGrace))
      case .tell(let trouble):
        let name = fixture.services[trouble.instance.service].name
        event(
          "trouble \(name)-\(trouble.instance.instance) \(trouble.endsInARow)\(trouble.isHopeless ? " hopeless" : "")")
      }
    }
  }

  func reference(_ id: String) -> Supervisor.Reference? {
    for (index, service) in fixture.services.enumerated() {
      for instance in 1...max(1, service.instances) where "\(service.name)-\(instance)" == id {
        return Supervisor.Reference(service: index, instance: instance)
      }
    }
    return nil
  }

  func take(_ event: KeeperClient.Event) {
    let now = SystemClock.now()
    switch event {
    case .opened(let socket, let descriptors):
      self.event("opened \(socket.spec.name) \(socket.port) \(descriptors.count)")
      for descriptor in descriptors { serve(descriptor) }
    case .message(.adopted(let programs, let starts, _)):
      self.event("adopted \(starts) \(programs.map { "\($0.spec.id):\($0.pid ?? 0)" }.joined(separator: ","))")
      client.send(.order(stages: state.withLock { $0.supervisor.stopStages }))
      decide { state, commands in
        for report in programs {
          guard let reference = reference(report.spec.id) else { continue }
          state.supervisor.adopted(
            reference, isRunning: report.pid != nil, startedAt: Instant(nanoseconds: report.startedAt),
            ends: report.exits.map { (Instant(nanoseconds: $0.startedAt), Instant(nanoseconds: $0.endedAt)) }, now: now,
            using: &state.random)
        }
        state.supervisor.begin(now: now, into: &commands)
      }
      if !fixture.neverReady {
        client.send(.ready)
        self.event("serving")
      }
    case .message(.started(let id, let pid, _)):
      self.event("started \(id) \(pid)")
      if let reference = reference(id) { state.withLock { $0.supervisor.started(reference, now: now) } }
    case .message(.failed(let id, let reason)):
      self.event("failed \(id) \(reason)")
      if let reference = reference(id) {
        decide { state, commands in
          state.supervisor.startFailed(reference, now: now, using: &state.random, into: &commands)
        }
      }
    case .message(.exited(let id, let record, let lines)):
      self.event("exited \(id) \(record.exit) asked=\(record.asked) last=\(lines.joined(separator: "/"))")
      if let reference = reference(id) {
        decide { state, commands in
          state.supervisor.exited(reference, now: now, using: &state.random, into: &commands)
        }
      }
    case .message(.standby(let heritage)):
      self.event("standby of \(heritage)")
      client.send(fixture.standbyCannot ? .cannot(reason: "it will not") : .prepared(version: "9.9"))
    case .message(.retire(let successor, let version)):
      self.event("retire for \(successor) \(version)")
      leave(0)
    case .message(.refused(let reason)): self.event("refused \(reason)")
    case .message(.elders(let pids)): self.event("elders \(pids)")
    case .message(.retired(let pid)): self.event("retired \(pid)")
    case .message(let message): self.event("message \(message)")
    case .keeperLost: self.event("keeper lost")
    case .programsEnded:
      self.event("programs ended")
      leave(3)
    }
  }

  /// Answers every connection with this process's id.
  func serve(_ listener: Descriptor) {
    let began: Void? = try? SystemThread.start {
      while let connection = try? Connecting.accept(from: listener) {
        _ = try? connection.write(Array("\(Children.ownPid)\n".utf8))
      }
    }
    if began == nil { leave(4) }
  }
}
