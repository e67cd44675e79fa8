// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// The retry budget of a node with several loops: one budget, whichever loop earns and whichever spends (DESIGN §3).
@Suite struct NodeBudgetTests {
  private func failing(loops: Int, edit: (inout CallSettings) -> Void = { _ in }) -> MockWorld {
    var world = MockWorld(
      onePlan {
        $0.breaks = false
        edit(&$0)
      }, loops: loops)
    world.moods[0] = Array(repeating: .refuses, count: 3)
    return world
  }

  @Test("the floor is there once a node, for whichever loop comes first", arguments: [1, 2, 4])
  func floor(loops: Int) {
    // All of it to one loop, which saw only these calls.
    var world = failing(loops: loops)
    for i in 0..<3 { world.arrive(at(Int64(i)), loop: loops - 1) }
    world.run(until: at(3000))
    #expect(world.attempts - world.offered == 3)
    // One call each: three are tried again, however many loops there are.
    world = failing(loops: loops)
    for i in 0..<12 { world.arrive(at(Int64(i)), loop: i % loops) }
    world.run(until: at(3000))
    #expect(world.attempts - world.offered == 3)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("a loop with few calls spends what the others have earned, once they have told", arguments: [false, true])
  func pooled(told: Bool) {
    var world = failing(loops: 4)
    world.moods[0] = Array(repeating: .well, count: 3)
    for i in 0..<99 { world.arrive(at(Int64(i % 50)), loop: i % 3) }
    // The loops tell at 100 … 103 ms.
    let when: Int64 = told ? 110 : 90
    world.run(until: at(when - 1))
    world.moods[0] = Array(repeating: .refuses, count: 3)
    for _ in 0..<11 { world.arrive(at(when), loop: 3) }
    // Every first failure is decided before any second one.
    world.run(until: at(when + 5))
    // A fifth of 110 first tries is more than eleven retries; a fifth of its own eleven is less than the floor.
    #expect(world.openCalls == (told ? 11 : 3))
    world.run(until: at(5000))
    // The three that had the floor come back after the others have told, and have their second retries.
    #expect(world.attempts - world.offered == (told ? 22 : 6))
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("what the asking loop has not posted yet counts with its question")
  func toldWithTheQuestion() {
    var world = failing(loops: 1)
    world.moods[0] = Array(repeating: .well, count: 3)
    for i in 0..<39 { world.arrive(at(Int64(i))) }
    world.run(until: at(45))
    world.moods[0] = Array(repeating: .refuses, count: 3)
    for _ in 0..<11 { world.arrive(at(50)) }
    world.run(until: at(55))
    // Before the first merge: a fifth of 50.
    #expect(world.openCalls == 10)
  }

  @Test("RP-1: with several loops, too, at most 1.2 attempts a call, plus the floor", arguments: [2, 4, 8])
  func amplification(loops: Int) {
    var world = failing(loops: loops)
    for round in 0..<60 {
      for i in 0..<200 { world.arrive(at(Int64(round) * 1000), loop: i % loops) }
    }
    world.run(until: at(66_000))
    #expect(world.attempts <= world.offered * 12 / 10 + 7 * 3, "\(world.attempts) of \(world.offered)")
    // Nor is it left unused: in each window of ten seconds a fifth of its calls is tried again.
    #expect(world.attempts >= world.offered * 118 / 100, "\(world.attempts) of \(world.offered)")
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("that the budget is spent is told once, until a retry is granted again")
  func toldOnce() {
    var node = NodeFlows(plan: onePlan { $0.budget.window = .seconds(1) }, seed: 1)
    var answers: [Bool] = []
    for i in 0..<6 { answers.append(node.retry(edge: 0, BudgetTally(), now: at(Int64(i)))) }
    #expect(answers == [true, true, true, false, false, false])
    #expect(node.events.events.map(\.kind) == [.retryBudgetSpent] && node.events.events[0].at == at(3))
    for i in 0..<4 { _ = node.retry(edge: 0, BudgetTally(), now: at(1100 + Int64(i))) }
    #expect(node.events.events.map(\.kind) == [.retryBudgetSpent, .retryBudgetSpent])
  }

  @Test("the edge's own settings decide", arguments: [(0.2, 10), (0.05, 3), (0.5, 25)])
  func settings(share: Double, most: Int) {
    var node = NodeFlows(plan: onePlan { $0.budget.share = share }, seed: 1)
    var told = BudgetTally()
    told.firsts = 50
    var granted = 0
    while node.retry(edge: 0, told, now: at(1)) {
      told = BudgetTally()
      granted += 1
    }
    #expect(granted == most)
  }

  @Test("a caller that goes away while the node is asked gives everything back once")
  func goneWhileAsking() {
    let plan = onePlan(instances: 1)
    var flows = LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 1).view(0)], seed: 1)
    let slot = flows.begin(call: 0, facts: RequestFacts(), now: .zero).slot
    let ask = flows.head(slot, status: 503, now: at(1))
    // The attempt's place is held until it is known what follows: its answer may have to be passed on.
    #expect(ask.freed == CallStep.nobody && flows.nextWake(of: slot) == .distantFuture)
    let step = flows.callerGone(slot, now: at(1))
    #expect(step.freed == 0 && step.cancels && step.action == .refuse(.callerGone, until: .zero))
    #expect(flows.calls.count == 0)
  }
}
