// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// RP-8 in virtual time: an adaptive limit below, at and far above what the callee can do.
@Suite("overload")
struct OverloadTests {
  /// Instances that work on so many at a time, 10 ms each; half of the requests are of low priority.
  static func scene(load: Double, instances: Int = 2, workers: Int = 16, start: Int = 64) -> Scene {
    var call = CallSettings()
    call.retry.attempts = 1
    let work = WorkModel.exponential(mean: 10e6)
    let rate = load * Double(instances) * Double(workers) * 100
    var plan = FlowPlan(
      services: [.init(instances: instances)], edges: [.init(service: 0, call: call)],
      routes: [.init(edge: 0), .init(edge: 0), .init(edge: 0)])
    plan.services[0].adaptive = .init()
    plan.services[0].adaptive?.start = start
    plan.routes[0].priority = .critical
    plan.routes[2].priority = .low
    return Scene(
      plan: plan, components: [ComponentModel(name: "s", workers: workers, work: work)],
      edges: [EdgeModel(name: "gateway → s")], routes: ["critical", "normal", "low"],
      traffic: [
        TrafficModel(name: "critical", route: 0, rate: Rate(perSecond: 0.1 * rate)),
        TrafficModel(name: "normal", route: 1, rate: Rate(perSecond: 0.4 * rate)),
        TrafficModel(name: "low", route: 2, rate: Rate(perSecond: 0.5 * rate)),
      ])
  }

  /// Half an hour at 60 %: nobody is refused (envoyproxy/envoy#46532 refuses while it probes), neither with the limit of
  /// the first minute nor with one that an overload has brought down to what the service does and a quarter.
  @Test("no refusal in thirty minutes at 60 % load", arguments: [64, 5])
  func calm(_ start: Int) {
    var world = World(Self.scene(load: 0.6, instances: 1, workers: 4, start: start), seed: 8)
    world.run(until: Instant(nanoseconds: 1800 * 1_000_000_000))
    let ledger = world.ledger()
    #expect(ledger.edges[0].calls > 400_000)
    #expect(ledger.edges[0].refused == 0 && ledger.edges[0].failed == 0)
    #expect(world.violation() == nil)
  }

  @Test("at five times the load: goodput, what is admitted is quick, and the low is shed first")
  func overload() async {
    let idle = await SimulationTests.forecast(Self.scene(load: 0.1), seconds: 10) { $0.replications = 3 }
    let f = await SimulationTests.forecast(Self.scene(load: 5), seconds: 20) { $0.replications = 3 }
    #expect(f.violation == nil)
    let goodput = f.edges[0].done.value
    let p99 = f.edges[0].latency.p99.value
    let critical = f.routes[0].availability.value
    let normal = f.routes[1].availability.value
    let low = f.routes[2].availability.value
    print(
      "overload: goodput \(goodput / 3200) of capacity, p99 \(p99 / 1e6) ms (idle \(idle.edges[0].latency.p99.value / 1e6)), "
        + "critical \(critical), normal \(normal), low \(low)")
    #expect(goodput >= 0.9 * 3200)
    #expect(p99 <= 2 * idle.edges[0].latency.p99.value)
    #expect(critical > 0.999)
    #expect(low < 0.1 * normal)
  }
}
