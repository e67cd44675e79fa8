// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// Networks of queues, retries and balancing against closed forms and published values (GROUND_TRUTH §1 to §3).
@Suite("truth: networks, retries, balancing")
struct NetworkTruthTests {
  /// A front that costs nothing and calls stations: each is an edge from it.
  static func network(rate: Double, stations: [WorkModel], together: Bool) -> Scene {
    let call = Scenes.patientCall()
    let front = FlowPlan.Service(instances: 1)
    let items = stations.indices.map { CallItem(edge: $0 + 1) }
    let stages = together ? [items] : items.map { [$0] }
    return Scene(
      plan: FlowPlan(
        services: [front] + stations.map { _ in .init(instances: 1, atOnce: 1) },
        edges: (0...stations.count).map { .init(service: $0, call: call) }, routes: [.init(edge: 0)]),
      components: [
        ComponentModel(name: "front", workers: .max, operations: [OperationModel(work: .none, stages: stages)])
      ] + stations.enumerated().map { ComponentModel(name: "station \($0)", workers: 1, work: $1) },
      edges: (0...stations.count).map { EdgeModel(name: "edge \($0)") }, routes: ["all"],
      traffic: [TrafficModel(name: "t", route: 0, rate: Rate(perSecond: rate))])
  }

  /// GT-NET: Jackson's tandem, λ = .6, µ = 1, .8 and 2; each station alone is M/M/1.
  @Test("GT-NET tandem")
  func tandem() {
    let unit = Scenes.unit
    let scene = Self.network(
      rate: 600,
      stations: [.exponential(mean: unit), .exponential(mean: unit / 0.8), .exponential(mean: unit / 2)],
      together: false)
    let seen = Truth.observe(scene, customers: 600_000, settle: 500)
    var all = [
      Truth.compare(
        "GT-NET", "tandem, mean time", 8.214286, seen.map { $0.routeTimes[0].sum }, seen.map { $0.routeTimes[0].count },
        scale: 1 / unit)
    ]
    for (station, exact) in [(1, 2.5), (2, 5.0), (3, 1 / 1.4)] {
      all.append(
        Truth.compare(
          "GT-NET", "tandem, station \(station)", exact, seen.map { $0.edgeTimes[station].sum },
          seen.map { $0.edgeTimes[station].count }, scale: 1 / unit))
    }
    for result in all { #expect(abs(result.z) < 4, "\(result)") }
    Truth.keep(all)
  }

  /// GT-NET: fork and join of two M/M/1, (12 − ρ) ÷ 8 ÷ (1 − ρ) (Flatto and Hahn; Nelson and Tantawi 1988).
  @Test("GT-NET fork and join", arguments: [(0.5, 2.875), (0.8, 7.0), (0.9, 13.875)])
  func forkJoin(_ load: Double, _ exact: Double) {
    let work = WorkModel.exponential(mean: Scenes.unit)
    let scene = Self.network(rate: load * 1000, stations: [work, work], together: true)
    let seen = Truth.observe(scene, customers: 600_000, settle: QueueTruthTests.settle(load))
    let result = Truth.compare(
      "GT-NET", "fork-join ρ \(load)", exact, seen.map { $0.routeTimes[0].sum }, seen.map { $0.routeTimes[0].count },
      scale: 1 / Scenes.unit)
    #expect(abs(result.z) < 4, "\(result)")
    Truth.keep([result])
  }

  /// GT-NET: the slowest of n exponential ones takes H(n): no queue, n calls at the same time.
  @Test("GT-NET the slowest of n", arguments: [(2, 1.5), (5, 2.283333), (10, 2.928968)])
  func slowest(_ n: Int, _ exact: Double) {
    var scene = Self.network(
      rate: 100, stations: [WorkModel](repeating: .exponential(mean: Scenes.unit), count: n), together: true)
    for s in 1...n {
      scene.plan.services[s].atOnce = .max
      scene.components[s].workers = .max
    }
    let seen = Truth.observe(scene, customers: 100_000, settle: 100)
    let result = Truth.compare(
      "GT-NET", "slowest of \(n)", exact, seen.map { $0.routeTimes[0].sum }, seen.map { $0.routeTimes[0].count },
      scale: 1 / Scenes.unit)
    #expect(abs(result.z) < 4, "\(result)")
    Truth.keep([result])
  }

  /// GT-AMP: attempts a request (1 − pⁿ) ÷ (1 − p) and success 1 − pⁿ, no back-off, budget and breaker off.
  @Test(
    "GT-AMP",
    arguments: [
      (0.1, 2, 1.1, 0.99), (0.1, 3, 1.11, 0.999), (0.1, 4, 1.111, 0.9999), (0.5, 2, 1.5, 0.75), (0.5, 3, 1.75, 0.875),
      (0.5, 4, 1.875, 0.9375), (0.75, 2, 1.75, 0.4375), (0.75, 3, 2.3125, 0.578125), (0.75, 4, 2.734375, 0.683594),
      (0.9, 2, 1.9, 0.19), (0.9, 3, 2.71, 0.271), (0.9, 4, 3.439, 0.3439),
    ])
  func amplification(_ p: Double, _ n: Int, _ attempts: Double, _ success: Double) {
    var call = Scenes.patientCall()
    call.retry.attempts = n
    call.backoff.first = .zero
    call.backoff.jitter = 0
    call.budget.share = 1000
    var scene = Scenes.single(load: 0.001, instances: 8, places: 1000, call: call)
    scene.always = [FaultModel(.fail(status: 503, share: p), component: 0, when: 0)]
    let seen = Truth.observe(scene, customers: 200_000)
    let all = [
      Truth.compare(
        "GT-AMP", "p \(p) n \(n) attempts", attempts, seen.map { $0.edges[0].attempts }, seen.map { $0.edges[0].calls }),
      Truth.compare(
        "GT-AMP", "p \(p) n \(n) success", success, seen.map { $0.edges[0].count - $0.edges[0].failed },
        seen.map { $0.edges[0].count }),
    ]
    for result in all { #expect(abs(result.z) < 4, "\(result)") }
    Truth.keep(all)
  }

  /// GT-P2C: the supermarket model of 100 servers, by least request of d; published values (Mitzenmacher 2001).
  @Test("GT-P2C", arguments: [(0.7, 2, 1.6202), (0.9, 2, 2.6454), (0.7, 3, 1.3634), (0.9, 3, 2.0614)])
  func supermarket(_ load: Double, _ choices: Int, _ published: Double) {
    var call = Scenes.patientCall()
    call.balance.algorithm = .leastRequest
    call.balance.choices = choices
    var scene = Scenes.single(load: load, instances: 100, places: 1, call: call)
    scene.plan.services[0].atOnce = .max
    let seen = Truth.observe(scene, customers: 1_000_000, settle: 100)
    let result = Truth.compare(
      "GT-P2C", "n 100 λ \(load) d \(choices)", published, seen.map { $0.routeTimes[0].sum },
      seen.map { $0.routeTimes[0].count }, scale: 1 / Scenes.unit)
    // The table's last digit is rounded: half of it is added to the error.
    #expect(abs(result.simulated - published) < 4 * (result.error + 0.0005), "\(result)")
    Truth.keep([result])
  }

  /// GT-DRAIN: 30 s without service at 80 a second leave 2400, which take 120 s at 100 a second.
  @Test("GT-DRAIN")
  func drain() {
    var scene = Scenes.single(load: 0.8, work: .constant(1e7))
    // Exactly one request takes 30 s longer: its worker is the only one.
    scene.faults = [FaultModel(.slow(by: 30_000_000_000, share: 1), component: 0, when: 0, length: 29_000_000_000)]
    var drained: [Double] = []
    var most: [Double] = []
    for seed in 1...20 {
      var world = World(scene, seed: UInt64(seed), storyBegins: 10_000_000_000)
      var longest = 0
      var at = 40.0
      while at < 300 {
        world.run(until: Instant(nanoseconds: Int64(at * 1e9)))
        longest = max(longest, world.openCalls)
        if at > 41, world.openCalls <= 1 { break }
        at += 0.05
      }
      drained.append(at - 40)
      most.append(Double(longest))
      #expect(world.violation() == nil)
    }
    let ones = [Double](repeating: 1, count: 20)
    let all = [
      Truth.compare("GT-DRAIN", "seconds to drain", 120, drained, ones),
      Truth.compare("GT-DRAIN", "queued at most", 2400, most, ones),
    ]
    // The fluid form is exact in the mean but for the requests that the queue holds anyway: 2 % is what it claims.
    for result in all { #expect(abs(result.simulated / result.exact - 1) < 0.02, "\(result)") }
    Truth.keep(all)
  }

  /// SM-2: the simulator's own 95 % intervals must hold the truth in at least 178 of 200 seeds (190 less 4σ).
  @Test("95 % intervals hold the truth", arguments: [(0.8, 1, 5.0, 3000.0, 200.0), (0.9, 4, 2.969383, 12_000, 400)])
  func coverage(_ load: Double, _ c: Int, _ time: Double, _ customers: Double, _ settle: Double) {
    let scene = Scenes.single(load: load, places: c)
    let length = Int64(customers / scene.load * 1e9)
    var held = 0
    for seed in 1...200 {
      let seen = (0..<10).flatMap { i in
        Replication.run(
          scene, seed: Replication.seed(UInt64(seed), i), warmUp: Int64(settle * Scenes.unit), length: length
        ).observations
      }
      let estimate = Estimating.ratio(seen.map { $0.routeTimes[0].sum }, seen.map { $0.routeTimes[0].count })
      if estimate.low <= time * Scenes.unit, time * Scenes.unit <= estimate.high { held += 1 }
    }
    #expect(held >= 178 && held <= 199, "held \(held) of 200")
  }
}
