// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// RP-2 with every balancer: whatever chooses, an instance that answers 500 is left after a second, and is back when it is well.
@Suite struct BalancerBarTests {
  enum Way: String, CaseIterable, Sendable {
    case peakEWMA, leastRequest, roundRobin, random, ring, maglev, weights, zones, sticky
  }

  private func plan(_ way: Way) -> FlowPlan {
    var plan = onePlan(instances: 2) {
      $0.balance.slowStart = .zero
      switch way {
      case .peakEWMA, .weights, .zones, .sticky: $0.balance.algorithm = .peakEWMA
      case .leastRequest: $0.balance.algorithm = .leastRequest
      case .roundRobin: $0.balance.algorithm = .roundRobin
      case .random:
        $0.balance.algorithm = .leastRequest
        $0.balance.choices = 1
      case .ring: $0.balance.affinity = .ring
      case .maglev: $0.balance.affinity = .maglev
      }
    }
    if way == .weights { plan.services[0].members.weights = [1, 3] }
    if way == .zones { plan.services[0].members.zones = [0, 1] }
    plan.services[0].members.isSticky = way == .sticky
    return plan
  }

  @Test("of two instances one answers 500", arguments: Way.allCases, [1, 4])
  func bar(way: Way, loops: Int) {
    var world = MockWorld(plan(way), loops: loops)
    var random = SeededRandom(seed: 7, stream: "clients")
    world.moods[0][1] = .answers(500, 1)
    world.schedule(at(20_000), .mood(service: 0, instance: 1, .well))
    // 200 a second while it is found out, then 20.
    for i in 0..<2_500 as Range<Int64> {
      var facts = RequestFacts()
      facts.affinity = random.next() % 500 + 1
      if way == .sticky { facts.home = UInt16(facts.affinity % 2) }
      world.arrive(at(i < 1000 ? i * 5 : 5_000 + (i - 1000) * 50), loop: Int(i) % loops, facts)
    }
    world.run(until: at(90_000))
    #expect(world.wrong() == nil)
    let late = world.ended.filter { $0.startedAt >= at(1000) }
    let bad = late.count { !$0.isGood }
    #expect(late.count > 2_200 && Double(bad) < 0.005 * Double(late.count), "\(bad) of \(late.count)")
    // It is back: the last seconds know it.
    let back = world.ended.filter { $0.startedAt >= at(60_000) }.count { $0.tries.first?.instance == 1 }
    #expect(back > 50, "\(back) first tries")
  }
}
