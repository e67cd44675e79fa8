// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// An instance that fails is found out once, by whichever loop meets it first (RP-2 with several loops).
@Suite struct DoubtTests {
  private func world(instances: Int, loops: Int, seed: UInt64 = 1) -> MockWorld {
    // An instance's breaker would end the story after five failures.
    var world = MockWorld(
      onePlan(instances: instances) {
        $0.instanceBreaker.inARow = 0
        $0.instanceBreaker.ofAtLeast = 100_000
      }, loops: loops, seed: seed)
    // As the proxy does: what one loop posts at once, the others are poked to look at.
    world.toldAtOnce = true
    world.moods[0][0] = .refuses
    return world
  }

  private func met(_ world: MockWorld) -> Int {
    world.ended.reduce(0) { $0 + $1.tries.count { $0.instance == 0 } }
  }

  @Test(
    "an instance that is dead from the start costs nobody a call, with four loops as with one",
    arguments: [(1, 3), (4, 2), (4, 3), (8, 3)], [Int64(5), 20])
  func deadFromTheStart(_ what: (loops: Int, instances: Int), _ gap: Int64) {
    var lost = 0
    for seed in 1...3 {
      var world = MockWorld(onePlan(instances: what.instances), loops: what.loops, seed: UInt64(seed))
      world.toldAtOnce = true
      world.moods[0][0] = .refuses
      for i in 0..<1200 { world.arrive(at(Int64(i) * gap), loop: i % what.loops) }
      world.run(until: at(1200 * gap + 6000))
      lost += world.ended.count { !$0.isGood }
      // Five in a row open its breaker, whoever made them.
      #expect(met(world) <= 6)
      #expect(world.wrong() == nil && world.leftBehind() == nil)
    }
    #expect(lost == 0)
  }

  @Test(
    "trials of an instance in doubt are the node's: four a second, whatever the number of loops", arguments: [1, 2, 4])
  func sharedTrials(loops: Int) {
    var world = world(instances: 3, loops: loops)
    for i in 0..<2000 { world.arrive(at(Int64(i) * 5), loop: i % loops) }
    world.run(until: at(12_000))
    #expect((30...50).contains(met(world)), "\(met(world)) in ten seconds")
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("who is well again is so for all loops, by the first success of one", arguments: [1, 4])
  func wellAgain(loops: Int) {
    var world = world(instances: 2, loops: loops)
    for i in 0..<800 { world.arrive(at(Int64(i) * 5), loop: i % loops) }
    world.run(until: at(2000))
    let before = met(world)
    #expect(before < 20)
    #expect(world.flows.allSatisfy { $0.state.upstreams[0].view.doubted == [0] })
    world.moods[0][0] = .well
    // A trial within a quarter of a second, and a merge.
    world.run(until: at(2500))
    #expect(world.flows.allSatisfy { $0.state.upstreams[0].view.doubted.isEmpty })
    world.run(until: at(6000))
    #expect(met(world) - before > 100)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }
}
