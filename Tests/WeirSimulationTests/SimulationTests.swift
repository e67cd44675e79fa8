// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// Replications, the stop rule, and verdicts.
@Suite("simulation")
struct SimulationTests {
  static func forecast(
    _ scene: Scene, expectation: WeirSimulation.Expectation = WeirSimulation.Expectation(), seconds: Int64 = 5,
    _ change: (inout SimulationOptions) -> Void
  ) async -> Forecast {
    var options = SimulationOptions()
    change(&options)
    return await Simulation.run(
      scene, system: "test", expectation: expectation, length: seconds * 1_000_000_000, options)
  }

  /// The result does not depend on who computes it.
  @Test("any number of threads gives the same forecast")
  func threads() async {
    let scene = WorldTests.service()
    let one = await Self.forecast(scene) { $0.threads = 1 }
    let four = await Self.forecast(scene) { $0.threads = 4 }
    #expect(one == four)
    #expect(one.violation == nil)
  }

  /// A requirement in the middle of the interval is undecided, and asks for more replications; far away it is decided.
  @Test("an interval that straddles the requirement is undecided")
  func undecided() async {
    let scene = Scenes.single(load: 0.8)
    let first = await Self.forecast(scene) { $0.replications = 10 }
    let mean = first.total.latency.mean.value
    func outcome(_ bound: Double) async -> (Forecast.Verdict.Outcome, Int) {
      let f = await Self.forecast(
        scene, expectation: WeirSimulation.Expectation(latency: [.init(label: "mean", quantile: nil, bound: bound)])
      ) { _ in }
      return (f.outcome, f.replications)
    }
    #expect(await outcome(mean * 2) == (.met, SimulationOptions.replicationsMin))
    #expect(await outcome(mean / 2) == (.missed, SimulationOptions.replicationsMin))
    let exact = await outcome(5 * Scenes.unit)
    #expect(exact == (.undecided, SimulationOptions.replicationsMax))
  }

  /// Without a single failure the interval still says how much could not be seen.
  @Test("no failure seen is not no failure")
  func noFailure() async {
    let scene = WorldTests.service(rate: 20)
    let f = await Self.forecast(scene, expectation: WeirSimulation.Expectation(availability: 0.999999)) {
      $0.replications = 10
    }
    #expect(f.total.availability.value == 1)
    #expect(f.total.availability.low < 0.9999)
    #expect(f.outcome == Forecast.Verdict.Outcome.undecided)
  }

  /// The forecast of a queue is the queue's: utilisation, queue, attempts, bottleneck.
  @Test("a forecast of M/M/4")
  func mm4() async {
    let f = await Self.forecast(Scenes.single(load: 0.8, places: 4), seconds: 30) { $0.replications = 10 }
    let utilisation = f.services[0].utilisation
    #expect(utilisation.map { $0.low <= 0.8 && 0.8 <= $0.high } == true)
    #expect(f.bottleneck?.service == "s")
    // Calls that waited when an observation began have their attempt in it.
    #expect(f.edges[0].attempts.map { abs($0.value - 1) < 0.001 } == true)
    let wait = f.edges[0].queue
    #expect(wait.map { $0.share.low <= 0.5964325 && 0.5964325 <= $0.share.high } == true)
  }

  @Test("the warm-up rule cuts what is not like the rest")
  func warmUp() {
    var means = [Double](repeating: 0, count: 200)
    for i in means.indices { means[i] = (i < 30 ? Double(i) / 30 : 1) + (i % 2 == 0 ? 0.01 : -0.01) }
    #expect((25...32).contains(WarmUp.cut(means)))
    #expect(WarmUp.cut([Double](repeating: 1, count: 100)) == 0)
  }
}
