// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// M/M/4 at 80 % through the whole pipeline: what `script/bench simulate` times.
///
/// Everything is on that a request of the default gateway meets: route, rate limit by client (1000 clients, a million a second
/// each, so that every request asks and none is refused), the service's breaker, the balancer, the instance's breaker, places
/// and their queue, the retry budget, deadline and timers, the ledger with its tallies, the merges every 100 ms, Little's
/// gauges. Four places of one instance, exponential work with a mean of 1 ms, 3200 requests a second.
package enum SimulationBenchmark {
  package static func scene(instances: Int = 1) -> Scene {
    var scene = Scene(
      plan: FlowPlan(
        services: [.init(instances: instances, atOnce: Int32(4 / instances))], edges: [.init(service: 0)],
        routes: [.init(edge: 0, limit: 0)],
        limits: [.init(rate: Rate(perSecond: 1e6), burst: 1_000_000)]),
      components: [ComponentModel(name: "s", workers: 4 / instances, work: .exponential(mean: 1e6))],
      edges: [EdgeModel(name: "gateway→s")], routes: ["all"],
      traffic: [TrafficModel(name: "t", route: 0, rate: Rate(perSecond: 3200), clients: 1000)])
    scene.network = 0
    return scene
  }

  /// Runs so many virtual seconds; how many customers were served, and their mean time in milliseconds.
  package static func run(seconds: Int64, instances: Int = 1, seed: UInt64 = 1) -> (customers: UInt64, mean: Double) {
    var world = World(scene(instances: instances), seed: seed, eventsLimit: 0)
    world.run(until: Instant(nanoseconds: seconds * 1_000_000_000))
    precondition(world.violation() == nil, "the audit of every run")
    let ledger = world.ledger()
    return (ledger.edges[0].ended, ledger.edgeLatencies[0].mean / 1e6)
  }
}
