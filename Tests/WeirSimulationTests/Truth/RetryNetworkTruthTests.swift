// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// A queue that its own retries load.
///
/// The gateway calls a worker, which works and then calls a dependency that fails a share `p` of its calls at once; the
/// worker then answers 502 and the gateway tries again, `n` attempts in all. Without a pause an attempt follows in the
/// place that the last one frees, so to the queue a request is one customer, whose work is that of all its attempts: K
/// exponential ones, K geometric and cut at n. Pollaczek and Khinchine (GT-MG1) with E[S] = E[K], E[S²] = E[K] + E[K²].
@Suite("truth: a queue and its retries")
struct RetryNetworkTruthTests {
  static func scene(rate: Double, failing p: Double, attempts n: Int) -> Scene {
    var outer = Scenes.patientCall()
    outer.retry.attempts = n
    outer.backoff.first = .zero
    outer.backoff.jitter = 0
    outer.budget.share = 1000
    var scene = Scene(
      plan: FlowPlan(
        services: [.init(instances: 1, atOnce: 1), .init(instances: 1)],
        edges: [.init(service: 0, call: outer), .init(service: 1, call: Scenes.patientCall())],
        routes: [.init(edge: 0)]),
      components: [
        ComponentModel(
          name: "worker", workers: 1,
          operations: [OperationModel(work: .exponential(mean: Scenes.unit), stages: [[CallItem(edge: 1)]])]),
        ComponentModel(name: "dependency", workers: .max, work: .none),
      ],
      edges: [EdgeModel(name: "gateway → worker"), EdgeModel(name: "worker → dependency")], routes: ["all"],
      traffic: [TrafficModel(name: "t", route: 0, rate: Rate(perSecond: rate * 1000))])
    scene.always = [FaultModel(.fail(status: 503, share: p), component: 1, when: 0)]
    return scene
  }

  /// Attempts a request and the mean time of one, in units.
  static func exact(rate: Double, failing p: Double, attempts n: Int) -> (attempts: Double, time: Double) {
    var first = 0.0
    var second = 0.0
    for k in 1...n {
      let share = pow(p, Double(k - 1)) * (k < n ? 1 - p : 1)
      first += share * Double(k)
      second += share * Double(k * k)
    }
    return (first, first + rate * (first + second) / (2 * (1 - rate * first)))
  }

  /// GT-AMP and GT-MG1 in one: each attempt meets the dependency anew, and the queue feels all of them.
  @Test("retries through a queue", arguments: [(0.4, 0.5, 3), (0.6, 0.25, 3), (0.7, 0.1, 2), (0.4, 0.5, 6)])
  func feedback(_ rate: Double, _ p: Double, _ n: Int) {
    let exact = Self.exact(rate: rate, failing: p, attempts: n)
    let seen = Truth.observe(
      Self.scene(rate: rate, failing: p, attempts: n), customers: 300_000,
      settle: QueueTruthTests.settle(rate * exact.attempts) * exact.attempts)
    let name = "λ \(rate) p \(p) n \(n)"
    let all = [
      Truth.compare(
        "GT-AMP", "\(name) two hops, attempts", exact.attempts, seen.map { $0.edges[0].attempts },
        seen.map { $0.edges[0].calls }),
      Truth.compare(
        "GT-AMP", "\(name) two hops, success", 1 - pow(p, Double(n)),
        seen.map { $0.edges[0].count - $0.edges[0].failed }, seen.map { $0.edges[0].count }),
      Truth.compare(
        "GT-MG1", "\(name) retries through a queue, mean time", exact.time, seen.map { $0.edgeTimes[0].sum },
        seen.map { $0.edgeTimes[0].count }, scale: 1 / Scenes.unit),
    ]
    for result in all { #expect(abs(result.z) < 4, "\(result)") }
    Truth.keep(all)
  }

  /// SM-2: both intervals of the network, its mean time and its attempts, hold the truth in at least 178 of 200 seeds.
  @Test("95 % intervals hold the truth of a retry network")
  func coverage() {
    let exact = Self.exact(rate: 0.4, failing: 0.5, attempts: 3)
    let held = Coverage.held(
      Self.scene(rate: 0.4, failing: 0.5, attempts: 3), customers: 2500, settle: QueueTruthTests.settle(0.7) * 1.75
    ) { seen in
      let times = Estimating.ratio(seen.map { $0.edgeTimes[0].sum }, seen.map { $0.edgeTimes[0].count })
      let attempts = Estimating.ratio(seen.map { $0.edges[0].attempts }, seen.map { $0.edges[0].calls })
      return [times.scaled(by: 1 / Scenes.unit).holds(exact.time), attempts.holds(exact.attempts)]
    }
    #expect(held.allSatisfy { Coverage.enough.contains($0) }, "time and attempts: held \(held) of 200")
  }
}
