// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns
import WeirSimulation

/// Which instances the simulated requests reach, against what weights and rings promise.
@Suite struct BalancingTests {
  private func scene(_ instances: Int, edit: (inout Members, inout Balancer.Settings) -> Void) -> Scene {
    var scene = WorldTests.service(instances: instances, work: .exponential(mean: 1e5))
    scene.traffic[0].clients = 5_000
    edit(&scene.plan.services[0].members, &scene.plan.edges[0].call.balance)
    return scene
  }

  private func shares(_ served: [UInt64]) -> [Double] {
    let sum = Double(served.reduce(0, +))
    return served.map { Double($0) / sum }
  }

  /// Of n draws with probability p the share has a standard error of √(p (1 − p) ÷ n); round robin has none.
  @Test("weights divide the requests: 5, 3 and 2 of 10", arguments: [true, false])
  func weights(isRandom: Bool) {
    let scene = scene(3) { members, balance in
      members.weights = [5, 3, 2]
      balance.algorithm = isRandom ? .leastRequest : .roundRobin
      if isRandom { balance.choices = 1 }
    }
    let served = WorldTests.run(scene, seconds: 100).served(by: 0)
    let n = Double(served.reduce(0, +))
    #expect(n > 19_000)
    for (share, truth) in zip(shares(served), [0.5, 0.3, 0.2]) {
      let error = isRandom ? (truth * (1 - truth) / n).squareRoot() : 1 / n
      #expect(abs(share - truth) < 4 * error, "\(share) for \(truth)")
    }
  }

  /// With one of n gone its keys move, 1 ÷ n of all, and no other (Karger and others, STOC 1997).
  @Test("an instance that is gone moves its own keys and no other", arguments: [Balancer.Affinity.ring, .maglev])
  func removal(affinity: Balancer.Affinity) throws {
    var scene = scene(10) { _, balance in
      balance.affinity = affinity
      balance.loadMax = .infinity
      balance.slowStart = .zero
    }
    let before = WorldTests.run(scene, seconds: 100).served(by: 0)
    scene.faults = [
      FaultModel(.kill(count: 1), component: 0, when: 0, length: 1000 * WorldTests.second)
    ]
    let after = WorldTests.run(scene, seconds: 100).served(by: 0)
    let gone = try #require(after.indices.first { after[$0] == 0 })
    // A ring of 160 points is even to 8 %, the keys of 5 000 clients to 4 %.
    #expect(abs(shares(before)[gone] - 0.1) < 0.03)
    for i in after.indices where i != gone { #expect(after[i] >= before[i], "instance \(i) has lost keys") }
    // The same requests, but for the few that were tried twice when the instance went.
    let (all, left) = (before.reduce(0, +), after.reduce(0, +))
    #expect(left >= all - 5 && left <= all + 20)
  }
}
