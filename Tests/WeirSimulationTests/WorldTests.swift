// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// What a world does with faults, loops, callers and optional parts.
@Suite("world")
struct WorldTests {
  static let second: Int64 = 1_000_000_000

  /// Three instances of a service behind the gateway with all defaults.
  static func service(
    rate: Double = 200, instances: Int = 3, places: Int = 16, work: WorkModel = .exponential(mean: 5e6)
  ) -> Scene {
    var scene = Scene(
      plan: FlowPlan(
        services: [.init(instances: instances, atOnce: Int32(places), hasHealthCheck: true)],
        edges: [.init(service: 0)], routes: [.init(edge: 0)]),
      components: [ComponentModel(name: "api", workers: places, work: work)], edges: [EdgeModel(name: "gateway→api")],
      routes: ["api"], traffic: [TrafficModel(name: "reading", route: 0, rate: Rate(perSecond: rate), clients: 100)])
    scene.components[0].health = .init()
    scene.network = 50_000
    return scene
  }

  static func run(_ scene: Scene, seconds: Double, seed: UInt64 = 1) -> World {
    var world = World(scene, seed: seed)
    world.run(until: Instant(nanoseconds: Int64(seconds * 1e9)))
    #expect(world.violation() == nil)
    return world
  }

  static func kinds(_ world: borrowing World) -> [Event.Kind] { world.events.map(\.kind) }

  /// A killed instance costs no answer, and is back by itself: the retry goes elsewhere, the restart is Weir's.
  @Test("a killed instance costs no answer", arguments: [1, 4])
  func kill(_ loops: Int) {
    var scene = Self.service()
    scene.loops = loops
    scene.faults = [FaultModel(.kill(count: 1), component: 0, when: 5 * Self.second)]
    let world = Self.run(scene, seconds: 60)
    let edge = world.ledger().edges[0]
    #expect(edge.calls > 11_000)
    #expect(edge.failed == 0 && edge.refused == 0)
    let kinds = Self.kinds(world)
    #expect(kinds.starts(with: [.instanceExited, .instanceUnready]))
    #expect(kinds.contains(.instanceStarted) && kinds.contains(.instanceReady))
  }

  /// One that is held away stays away: nothing starts it before.
  @Test("an instance killed for a time stays away so long")
  func killFor() throws {
    var scene = Self.service()
    scene.faults = [FaultModel(.kill(count: 1), component: 0, when: 5 * Self.second, length: 20 * Self.second)]
    let world = Self.run(scene, seconds: 60)
    let start = try #require(world.events.first { $0.kind == .instanceStarted })
    #expect(start.at.nanoseconds == 25 * Self.second)
  }

  /// An instance that answers 500 trips its breaker, is left out, and is probed back when it is well again.
  @Test("a breaker trips and recovers", arguments: [1, 4])
  func breaker(_ loops: Int) throws {
    // Half of the last 10 s must have failed: of a steady 200 a second that is so after 5 s, give or take a bucket.
    var scene = Self.service(instances: 1)
    scene.loops = loops
    scene.faults = [
      FaultModel(.fail(status: 500, share: 1), component: 0, when: 5 * Self.second, length: 15 * Self.second)
    ]
    let world = Self.run(scene, seconds: 120)
    let opened = try #require(world.events.first { $0.kind == .breakerOpened })
    #expect(opened.at.nanoseconds < 10 * Self.second + Self.second / 2)
    let closed = try #require(world.events.first { $0.kind == .breakerClosed })
    #expect(closed.at.nanoseconds > 20 * Self.second)
    let late = Self.run(scene, seconds: 119)
    let failedLate =
      world.ledger().edges[0].failed + world.ledger().edges[0].refused - late.ledger().edges[0].failed
      - late.ledger().edges[0].refused
    #expect(failedLate == 0)
  }

  /// A slow callee fills its workers: the queue in front of them is used, and nothing is lost.
  @Test("a slow fault lengthens answers while it lasts")
  func slow() {
    var scene = Self.service()
    let quiet = Self.run(scene, seconds: 30)
    scene.faults = [FaultModel(.slow(by: 50_000_000, share: 1), component: 0, when: 0)]
    let slow = Self.run(scene, seconds: 30)
    let longer = slow.ledger().edgeLatencies[0].mean - quiet.ledger().edgeLatencies[0].mean
    #expect(longer > 45e6 && longer < 60e6)
  }

  /// An optional callee that is dead costs its caller nothing but time, and the event says so.
  @Test("an optional call that fails leaves the answer")
  func fallback() {
    var scene = Self.callers(optional: true)
    scene.faults = [FaultModel(.fail(status: 503, share: 1), component: 1, when: 0)]
    let world = Self.run(scene, seconds: 30)
    let ledger = world.ledger()
    #expect(ledger.edges[0].failed == 0 && ledger.edges[0].refused == 0)
    #expect(ledger.edges[1].fallbacks == ledger.edges[1].ended)
    #expect(Self.kinds(world).contains(.fallbackBegan))
  }

  /// One that is not optional is its caller's failure: 502, once a request.
  @Test("a call that fails fails its caller")
  func required() {
    var scene = Self.callers(optional: false)
    scene.plan.edges[0].call.retry.attempts = 1
    scene.plan.edges[0].call.breaks = false
    scene.plan.edges[1].call.breaks = false
    scene.faults = [FaultModel(.fail(status: 503, share: 1), component: 1, when: 0)]
    let world = Self.run(scene, seconds: 30)
    let ledger = world.ledger()
    #expect(ledger.edges[0].answered == 0 && ledger.edges[0].failed > 0)
  }

  /// gateway → api → search.
  static func callers(optional: Bool) -> Scene {
    var inner = CallSettings()
    inner.timeout = .milliseconds(200)
    inner.optional = optional
    return Scene(
      plan: FlowPlan(
        services: [.init(instances: 2, atOnce: 16), .init(instances: 1)],
        edges: [.init(service: 0), .init(service: 1, call: inner)], routes: [.init(edge: 0)]),
      components: [
        ComponentModel(
          name: "api", workers: 16,
          operations: [
            OperationModel(work: .exponential(mean: 4e6), stages: [[CallItem(edge: 1, optional: optional)]])
          ]),
        ComponentModel(name: "search", workers: 100, work: .exponential(mean: 8e6)),
      ], edges: [EdgeModel(name: "gateway→api"), EdgeModel(name: "api→search")], routes: ["api"],
      traffic: [TrafficModel(name: "reading", route: 0, rate: Rate(perSecond: 100), clients: 50)])
  }

  /// A call's timeout cuts what takes too long; the work goes on, unless the component cancels.
  @Test("work goes on after a timeout unless the component cancels")
  func timeouts() {
    func busy(cancels: Bool) -> Double {
      var scene = Self.service(rate: 10, instances: 1, places: 1000, work: .constant(1e9))
      scene.plan.edges[0].call.timeout = .milliseconds(200)
      scene.plan.edges[0].call.retry.attempts = 1
      scene.plan.edges[0].call.breaks = false
      scene.plan.edges[0].call.cancels = cancels
      scene.components[0].cancels = cancels
      let replication = Replication.run(scene, seed: 1, warmUp: 5 * Self.second, length: 100 * Self.second)
      #expect(replication.violation == nil)
      #expect(replication.observations[0].edges[0].failed == replication.observations[0].edges[0].count)
      return replication.observations[0].busy[0]
    }
    #expect(abs(busy(cancels: false) - 10) < 1)
    #expect(abs(busy(cancels: true) - 2) < 0.3)
  }

  /// A client that goes away is no failure of the callee.
  @Test("a client that goes away")
  func patience() {
    var scene = Self.service(rate: 10, instances: 1, places: 1000, work: .constant(1e9))
    scene.traffic[0].patience = 100_000_000
    scene.components[0].cancels = true
    scene.plan.edges[0].call.cancels = true
    let world = Self.run(scene, seconds: 30)
    let ledger = world.ledger()
    #expect(ledger.edges[0].answered == 0)
    #expect(ledger.edgeReason(0, .callerGone) == ledger.edges[0].refused && ledger.edges[0].refused > 200)
    #expect(!Self.kinds(world).contains(.breakerOpened))
  }

  /// Two callers of one service and four loops share its places: never more than there are, and nobody starves.
  @Test("places are handed over between callers and loops", arguments: [1, 4])
  func places(_ loops: Int) {
    let call = Scenes.patientCall(queue: 4096)
    var scene = Scene(
      plan: FlowPlan(
        services: [.init(instances: 2, atOnce: 2), .init(instances: 1)],
        edges: [.init(service: 0, call: call), .init(service: 1, call: call), .init(service: 0, call: call)],
        routes: [.init(edge: 0), .init(edge: 1)]),
      components: [
        ComponentModel(name: "shared", workers: 2, work: .exponential(mean: 1e6)),
        ComponentModel(
          name: "other", workers: .max, operations: [OperationModel(work: .none, stages: [[CallItem(edge: 2)]])]),
      ], edges: ["a", "b", "c"].map { EdgeModel(name: $0) }, routes: ["direct", "through"],
      traffic: [
        TrafficModel(name: "one", route: 0, rate: Rate(perSecond: 1600), clients: 1000),
        TrafficModel(name: "two", route: 1, rate: Rate(perSecond: 1600), clients: 1000),
      ])
    scene.loops = loops
    let replication = Replication.run(scene, seed: 7, warmUp: Self.second, length: 100 * Self.second)
    #expect(replication.violation == nil)
    let seen = replication.observations[0]
    // M/M/4 at .8, whoever calls: 1.7455 in the mean; which caller waits how long is the turn's to balance.
    let mean = (seen.edgeTimes[0].sum + seen.edgeTimes[2].sum) / (seen.edgeTimes[0].count + seen.edgeTimes[2].count)
    #expect(abs(mean / 1e6 - 1.7455) < 0.06)
    let one = seen.edgeTimes[0].sum / seen.edgeTimes[0].count
    let two = seen.edgeTimes[2].sum / seen.edgeTimes[2].count
    #expect(abs(one / two - 1) < 0.1)
  }

  /// A client's limit refuses what is too much of one client, and nothing of the others.
  @Test("limits by client")
  func limits() {
    var scene = Self.service(rate: 200, instances: 3)
    scene.plan.limits = [FlowPlan.Limit(rate: Rate(perSecond: 1), burst: 1)]
    scene.plan.routes[0].limits = [0]
    let world = Self.run(scene, seconds: 60)
    let ledger = world.ledger()
    // 100 clients of 2/s each with a bucket of 1 at 1/s: 1 ÷ (1 + λ) pass (GT-TB, b = 1, λ/r = 2).
    let passed = Double(ledger.edges[0].calls) / Double(ledger.routes[0].requests)
    #expect(abs(passed - 0.3333) < 0.02)
  }

  // MARK: - Sameness

  /// Common random numbers: another balancer and a retry policy leave what requests find at a component alone.
  @Test("a changed policy leaves arrivals and work alone")
  func commonNumbers() {
    let scene = Self.service(places: 1000)
    var other = scene
    other.plan.edges[0].call.balance.algorithm = .roundRobin
    other.plan.edges[0].call.retry.attempts = 1
    other.plan.edges[0].call.timeout = .seconds(7)
    // Without a queue a request takes its work and nothing else, whichever instance it goes to.
    let one = Self.run(scene, seconds: 30).ledger()
    let two = Self.run(other, seconds: 30).ledger()
    #expect(one.edges[0].calls == two.edges[0].calls)
    #expect(one.edgeLatencies[0] == two.edgeLatencies[0])
  }

  @Test("the same seed gives the same world, another seed another")
  func seeds() {
    let scene = Self.service()
    #expect(Self.run(scene, seconds: 10).ledger() == Self.run(scene, seconds: 10).ledger())
    #expect(Self.run(scene, seconds: 10).ledger() != Self.run(scene, seconds: 10, seed: 2).ledger())
  }
}
