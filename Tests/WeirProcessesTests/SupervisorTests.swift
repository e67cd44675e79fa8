// SPDX-License-Identifier: Apache-2.0

import Testing
import WeirBase
import WeirPatterns
import WeirPlatform
import WeirProcesses

/// Decisions without processes.
struct SupervisorTests {
  typealias Service = Supervisor.Service
  typealias Reference = Supervisor.Reference

  static let shop = [
    Service(name: "web", instances: 2, needs: ["api"]), Service(name: "api", instances: 2, needs: ["db"]),
    Service(name: "db", instances: 1),
  ]

  static func starts(_ commands: [Supervisor.Command]) -> [Reference] {
    commands.compactMap { if case .start(let reference, _) = $0 { reference } else { nil } }
  }

  @Test("starts the first time only what needs nothing, the rest as its needs become ready")
  func order() {
    var supervisor = Supervisor(services: Self.shop)
    var commands: [Supervisor.Command] = []
    supervisor.begin(now: .zero, into: &commands)
    #expect(commands == [.start(Reference(service: 2, instance: 1), freshPort: false)])
    #expect(supervisor.waiting.map(\.service) == ["web", "api"])
    commands = []
    supervisor.started(Reference(service: 2, instance: 1), now: .zero)
    supervisor.becameReady(Reference(service: 2, instance: 1), now: .zero, into: &commands)
    #expect(Self.starts(commands) == [Reference(service: 1, instance: 1), Reference(service: 1, instance: 2)])
    commands = []
    // One ready instance is enough.
    supervisor.started(Reference(service: 1, instance: 2), now: .zero)
    supervisor.becameReady(Reference(service: 1, instance: 2), now: .zero, into: &commands)
    #expect(Self.starts(commands) == [Reference(service: 0, instance: 1), Reference(service: 0, instance: 2)])
    #expect(supervisor.waiting.isEmpty)
    #expect(supervisor.stopStages == [["web"], ["api"], ["db"]])
  }

  @Test("a diamond stops from the top, unrelated services with the first")
  func stages() {
    let supervisor = Supervisor(services: [
      Service(name: "top", instances: 1, needs: ["left", "right"]),
      Service(name: "left", instances: 1, needs: ["base"]),
      Service(name: "right", instances: 1, needs: ["base", "left"]), Service(name: "base", instances: 1),
      Service(name: "alone", instances: 1),
    ])
    #expect(supervisor.stopStages == [["top", "alone"], ["right"], ["left"], ["base"]])
  }

  @Test("circles and needs without a service keep nobody from starting, and are told")
  func circles() {
    var supervisor = Supervisor(services: [
      Service(name: "a", instances: 1, needs: ["b", "nobody"]), Service(name: "b", instances: 1, needs: ["c"]),
      Service(name: "c", instances: 1, needs: ["a", "c"]),
    ])
    #expect(supervisor.droppedNeeds.map { "\($0.service) \($0.need)" } == ["a nobody", "c a", "c c"])
    var commands: [Supervisor.Command] = []
    supervisor.begin(now: .zero, into: &commands)
    #expect(Self.starts(commands) == [Reference(service: 2, instance: 1)])
  }

  @Test("a program that ends rests, longer each time, and gets another port if it was never ready")
  func rests() {
    var supervisor = Supervisor(services: [Service(name: "db", instances: 1)])
    var random = SeededRandom(seed: 1)
    var commands: [Supervisor.Command] = []
    let db = Reference(service: 0, instance: 1)
    supervisor.begin(now: .zero, into: &commands)
    var now = Instant.zero
    var waits: [Int64] = []
    for round in 1...4 {
      supervisor.started(db, now: now)
      commands = []
      supervisor.exited(db, now: now, using: &random, into: &commands)
      guard case .tell(let trouble) = commands.first, commands.count == 1 else {
        Issue.record("\(commands)")
        return
      }
      #expect(trouble.neverReady && trouble.endsInARow == round && trouble.isHopeless == (round == 3))
      #expect(supervisor.nextWake == trouble.nextStart)
      waits.append(trouble.nextStart.since(now))
      commands = []
      supervisor.tick(now: trouble.nextStart.advanced(by: -1), into: &commands)
      #expect(commands.isEmpty, "not a nanosecond early")
      now = trouble.nextStart
      supervisor.tick(now: now, into: &commands)
      #expect(commands == [.start(db, freshPort: true)])
    }
    #expect(waits == waits.sorted() && waits[3] > 4 * waits[0])
  }

  @Test("a program that was ready keeps its port; one stopped for its health is no trouble")
  func restartAsked() {
    var supervisor = Supervisor(services: [Service(name: "db", instances: 1)])
    var random = SeededRandom(seed: 1)
    var commands: [Supervisor.Command] = []
    let db = Reference(service: 0, instance: 1)
    supervisor.begin(now: .zero, into: &commands)
    supervisor.started(db, now: .zero)
    supervisor.becameReady(db, now: .zero, into: &commands)
    commands = []
    supervisor.restart(db, into: &commands)
    supervisor.restart(db, into: &commands)
    #expect(commands == [.stop(db)], "asked twice, stopped once")
    commands = []
    supervisor.exited(db, now: .zero, using: &random, into: &commands)
    #expect(commands.isEmpty)
    supervisor.tick(now: supervisor.nextWake ?? .zero, into: &commands)
    #expect(commands == [.start(db, freshPort: false)])
  }

  @Test("what already runs is not started again, what ended unseen is")
  func adoption() {
    var supervisor = Supervisor(services: Self.shop)
    var random = SeededRandom(seed: 1)
    var commands: [Supervisor.Command] = []
    let now = Instant(nanoseconds: 100_000_000_000)
    supervisor.adopted(
      Reference(service: 2, instance: 1), isRunning: true, startedAt: .zero, ends: [], now: now, using: &random)
    supervisor.adopted(
      Reference(service: 1, instance: 1), isRunning: false, startedAt: .zero, ends: [(.zero, now)], now: now,
      using: &random)
    supervisor.adopted(
      Reference(service: 1, instance: 2), isRunning: true, startedAt: .zero, ends: [], now: now, using: &random)
    supervisor.begin(now: now, into: &commands)
    #expect(commands.isEmpty)
    #expect(supervisor.phase(of: Reference(service: 2, instance: 1)) == .running)
    supervisor.tick(now: now + .seconds(1), into: &commands)
    #expect(Self.starts(commands) == [Reference(service: 1, instance: 1)])
    commands = []
    supervisor.becameReady(Reference(service: 1, instance: 2), now: now, into: &commands)
    #expect(Self.starts(commands).map(\.service) == [0, 0])
  }

  /// A world that refuses impossible orders plays every input in every order that chance finds.
  @Test(
    "walks: never two lives of one instance, needs before users, everything comes up in the end", arguments: 0..<300)
  func walk(seed: UInt64) throws {
    var chance = SeededRandom(seed: seed)
    var random = SeededRandom(seed: seed, stream: "supervisor")
    let count = 1 + chance.index(below: 6)
    let services = (0..<count).map { index in
      Service(
        name: "s\(index)", instances: 1 + chance.index(below: 3),
        needs: (0..<count).filter { _ in chance.chance(0.3) }.map { "s\($0)" })
    }
    var supervisor = Supervisor(services: services)
    var world = World(services: services, dropped: supervisor.droppedNeeds)
    var now = Instant.zero
    var commands: [Supervisor.Command] = []
    supervisor.begin(now: now, into: &commands)
    world.carryOut(commands)

    func step(_ input: Int) throws {
      commands = []
      let service = chance.index(below: count)
      let reference = Reference(service: service, instance: 1 + chance.index(below: services[service].instances))
      let life = world.life(reference)
      switch input {
      case 0 where life == .asked:
        world.set(reference, .running)
        supervisor.started(reference, now: now)
      case 1 where life == .asked:
        world.set(reference, .none)
        supervisor.startFailed(reference, now: now, using: &random, into: &commands)
      case 2 where life == .running:
        world.becameReady(service)
        supervisor.becameReady(reference, now: now, into: &commands)
      case 3 where life == .running || life == .stopping:
        world.set(reference, .none)
        supervisor.exited(reference, now: now, using: &random, into: &commands)
      case 4: supervisor.restart(reference, into: &commands)
      // Untimely and repeated inputs must change nothing that matters.
      case 5 where life == .none: supervisor.exited(reference, now: now, using: &random, into: &commands)
      case 6:
        now = max(now, supervisor.nextWake ?? now)
        supervisor.tick(now: now, into: &commands)
      default:
        now = now.advanced(by: chance.nanoseconds(upTo: 1_000_000_000))
        supervisor.tick(now: now, into: &commands)
      }
      world.carryOut(commands)
      if let wrong = supervisor.violation() ?? world.wrong { throw Broken(what: "seed \(seed): \(wrong)") }
    }

    for _ in 0..<300 { try step(chance.index(below: 8)) }
    // Liveness: when nothing fails any more, everything is up after as many rests as there are instances.
    for _ in 0..<4000 where !world.isUp {
      try step([0, 2, 3, 6][world.isStopping && chance.chance(0.2) ? 2 : [0, 1, 3][chance.index(below: 3)]])
    }
    #expect(world.isUp, "seed \(seed)")
    supervisor.end()
    for service in services.indices {
      commands = []
      supervisor.exited(Reference(service: service, instance: 1), now: now, using: &random, into: &commands)
      supervisor.tick(now: .distantFuture, into: &commands)
      #expect(commands.isEmpty)
    }
    #expect(supervisor.nextWake == nil)
  }

  struct Broken: Error { var what: String }

  /// What the keeper and the programs are to the supervisor.
  struct World {
    enum Life { case none, asked, running, stopping }
    let services: [Service]
    let needs: [[Int]]
    var lives: [[Life]]
    var wasReady: [Bool]
    var wrong: String?

    init(services: [Service], dropped: [(service: String, need: String)]) {
      self.services = services
      needs = services.map { service in
        service.needs.compactMap { need in
          dropped.contains { $0.service == service.name && $0.need == need }
            ? nil : services.firstIndex { $0.name == need }
        }
      }
      lives = services.map { [Life](repeating: .none, count: $0.instances) }
      wasReady = services.map { _ in false }
    }

    func life(_ reference: Reference) -> Life { lives[reference.service][reference.instance - 1] }
    mutating func set(_ reference: Reference, _ life: Life) { lives[reference.service][reference.instance - 1] = life }
    mutating func becameReady(_ service: Int) { wasReady[service] = true }
    var isUp: Bool { lives.joined().allSatisfy { $0 == .running } && wasReady.allSatisfy { $0 } }
    var isStopping: Bool { lives.joined().contains(.stopping) }

    mutating func carryOut(_ commands: [Supervisor.Command]) {
      for command in commands {
        switch command {
        case .start(let reference, _):
          if life(reference) != .none { wrong = "\(reference) started while it is \(life(reference))" }
          if let need = needs[reference.service].first(where: { !wasReady[$0] }) {
            wrong = "\(reference) started before \(services[need].name) was ready"
          }
          set(reference, .asked)
        case .stop(let reference):
          if life(reference) != .running { wrong = "\(reference) stopped while it is \(life(reference))" }
          set(reference, .stopping)
        case .tell: break
        }
      }
    }
  }
}
