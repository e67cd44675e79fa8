// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// RP-7 in virtual time.
@Suite("hedging")
struct HedgingTests {
  /// Four instances of sixteen, 10 ms of work, half busy; one answer of a hundred takes ten times as long.
  static func scene(hedge: HedgeTrigger.Settings?, cancels: Bool = true) -> Scene {
    var call = CallSettings()
    call.hedge = hedge
    var scene = Scenes.single(
      load: 0.4, instances: 4, places: 16, work: .lognormal(mean: 10e6, cv2: 0.1), call: call)
    scene.components[0].cancels = cancels
    // A little more than the hundredth, so that the 99th percentile lies among them whatever chance does.
    scene.always = [FaultModel(.slow(by: 90_000_000, share: 0.012), component: 0, when: 0)]
    return scene
  }

  @Test("the slow hundredth: the 99th percentile falls by 40 % or more for at most 5 % of load")
  func tail() async {
    func forecast(_ hedge: HedgeTrigger.Settings?) async -> Forecast {
      await SimulationTests.forecast(Self.scene(hedge: hedge), seconds: 20) { $0.replications = 5 }
    }
    let plain = await forecast(nil)
    let hedged = await forecast(HedgeTrigger.Settings())
    #expect(plain.violation == nil && hedged.violation == nil)
    let before = plain.total.latency.p99.value
    let after = hedged.total.latency.p99.value
    let load = hedged.edges[0].attempts?.value ?? 0
    print("hedging: p99 \(before / 1e6) ms becomes \(after / 1e6) ms, \(load) attempts a call")
    #expect(after <= 0.6 * before)
    #expect(load > 1.01 && load <= 1.0505)
    #expect(hedged.total.availability.value == 1)
  }

  /// What is slow for all is no tail: there the hedges stop.
  @Test("a callee that is slow for all is not hedged")
  func slowForAll() async {
    var scene = Self.scene(hedge: HedgeTrigger.Settings())
    scene.faults = [FaultModel(.slow(by: 60_000_000, share: 1), component: 0, when: 0)]
    let hedged = await SimulationTests.forecast(scene, seconds: 20) { $0.replications = 3 }
    #expect((hedged.edges[0].attempts?.value ?? 2) < 1.02)
  }
}
