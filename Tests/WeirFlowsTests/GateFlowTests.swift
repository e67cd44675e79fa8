// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// Places in the order of importance, and a callee that is spared by its callers.
@Suite struct GateFlowTests {
  /// One instance of one place; routes 0, 1, 2 are critical, normal, low.
  static func plan(length: Int = 8) -> FlowPlan {
    var call = CallSettings()
    call.retry.attempts = 1
    call.queue.length = length
    var plan = FlowPlan(
      services: [.init(instances: 1, atOnce: 1)], edges: [.init(service: 0, call: call)],
      routes: [.init(edge: 0), .init(edge: 0), .init(edge: 0)])
    plan.routes[0].priority = .critical
    plan.routes[2].priority = .low
    return plan
  }

  static func flows(_ plan: FlowPlan) -> LoopFlows {
    LoopFlows(plan: plan, views: [NodeFlows(plan: plan, seed: 1).view(0)], seed: 1)
  }

  static func begin(_ flows: inout LoopFlows, route: UInt32, at when: Int64) -> (slot: Slot, step: CallStep) {
    flows.begin(call: 0, facts: RequestFacts(route: route), now: at(when))
  }

  static func end(_ flows: inout LoopFlows, _ slot: Slot, at when: Int64) -> CallStep {
    flows.sentAtOnce(slot, now: at(when))
    _ = flows.head(slot, status: 200, now: at(when))
    return flows.ended(slot, now: at(when))
  }

  @Test("a free place goes to the critical, then the normal, then the low")
  func order() {
    var flows = Self.flows(Self.plan())
    let first = Self.begin(&flows, route: 1, at: 0)
    #expect(first.step == CallStep(.attempt(instance: 0, number: 1)))
    let low = Self.begin(&flows, route: 2, at: 1)
    let normal = Self.begin(&flows, route: 1, at: 2)
    let critical = Self.begin(&flows, route: 0, at: 3)
    #expect([low, normal, critical].allSatisfy { $0.step == CallStep(.wait) })
    #expect(flows.state.upstreams[0].waitingCount == 3)
    var order: [Slot] = []
    var inside = first.slot
    for i in 0..<3 {
      let step = Self.end(&flows, inside, at: 10 + Int64(i))
      #expect(step.action == .finish && step.turns)
      let turn = flows.turn(edge: 0, now: at(10 + Int64(i)))
      guard let turn, turn.step == CallStep(.attempt(instance: 0, number: 1)) else {
        Issue.record("nobody goes on: \(String(describing: turn))")
        return
      }
      order.append(turn.slot)
      inside = turn.slot
      #expect(flows.turn(edge: 0, now: at(10 + Int64(i))) == nil)
    }
    #expect(order == [critical.slot, normal.slot, low.slot])
  }

  @Test("with no room to wait the lowest class makes place, and is told that it was shed")
  func pushedOut() {
    var flows = Self.flows(Self.plan(length: 1))
    _ = Self.begin(&flows, route: 1, at: 0)
    let low = Self.begin(&flows, route: 2, at: 1)
    #expect(low.step == CallStep(.wait))
    // Another low one finds no room, a critical one takes it.
    #expect(Self.begin(&flows, route: 2, at: 2).step == CallStep(.refuse(.shed, until: .zero)))
    #expect(Self.begin(&flows, route: 0, at: 3).step == CallStep(.wait, turns: true))
    let turn = flows.turn(edge: 0, now: at(3))
    #expect(turn?.slot == low.slot && turn?.step == CallStep(.refuse(.shed, until: .zero)))
    #expect(flows.turn(edge: 0, now: at(3)) == nil)
    #expect(Self.begin(&flows, route: 0, at: 4).step == CallStep(.refuse(.queueFull, until: .zero)))
  }

  @Test("who goes away between the verdict and its turn gives the place to the next")
  func gone() {
    var flows = Self.flows(Self.plan())
    let first = Self.begin(&flows, route: 1, at: 0)
    let second = Self.begin(&flows, route: 1, at: 1)
    let third = Self.begin(&flows, route: 1, at: 2)
    _ = Self.end(&flows, first.slot, at: 10)
    let gone = flows.callerGone(second.slot, now: at(11))
    #expect(gone.action == .refuse(.callerGone, until: .zero) && gone.turns)
    #expect(flows.turn(edge: 0, now: at(11))?.slot == third.slot)
    // The wait of one that nobody lets in ends by itself.
    let fourth = Self.begin(&flows, route: 1, at: 12)
    #expect(flows.wake(fourth.slot, now: at(1012)).action == .refuse(.queueTimeout, until: .zero))
  }

  /// GT-THR: sent is min(load, K · capacity), so at load L a share of 1 − K/L is kept back.
  @Test("what is kept back in the long run is 1 − K/L", arguments: [(2.0, 4.0, 0.5), (2, 10, 0.8), (1.5, 4, 0.625)])
  func share(_ multiplier: Double, _ load: Double, _ expected: Double) {
    var call = CallSettings()
    call.retry.attempts = 1
    call.breaks = false
    call.throttle = ClientThrottle.Settings()
    call.throttle?.multiplier = multiplier
    let plan = FlowPlan(services: [.init(instances: 1)], edges: [.init(service: 0, call: call)])
    var flows = Self.flows(plan)
    var kept = 0
    let count = 60_000
    var credit = 0.0
    for i in 0..<count {
      // Ten milliseconds apart; the callee can do one in as long as `load` of them take, and is never idle in between.
      credit = min(50, credit + 1 / load)
      let now = at(Int64(i) * 10)
      let (slot, step) = flows.begin(call: 0, facts: RequestFacts(), now: now)
      guard step.action != .refuse(.throttled, until: .zero) else {
        if i >= count / 2 { kept += 1 }
        continue
      }
      let isServed = credit >= 1
      if isServed { credit -= 1 }
      flows.sentAtOnce(slot, now: now)
      _ = flows.head(slot, status: isServed ? 200 : 503, now: now)
      _ = flows.ended(slot, now: now)
    }
    let share = Double(kept) / Double(count / 2)
    #expect(abs(share - expected) < 0.03, "\(share) of the calls were kept back, \(expected) were to be")
  }

  /// The window is of two minutes: after 1 000 good calls as many bad ones pass, and of n bad ones 1 − 2000/(n + 1000).
  @Test("a caller keeps back what its callee refuses")
  func throttle() {
    var call = CallSettings()
    call.retry.attempts = 1
    call.breaks = false
    call.throttle = ClientThrottle.Settings()
    let plan = FlowPlan(services: [.init(instances: 1)], edges: [.init(service: 0, call: call)])
    var flows = Self.flows(plan)
    func run(_ count: Int, status: UInt16, from begin: Int64) -> Int {
      var kept = 0
      for i in 0..<count {
        let now = at(begin + Int64(i) * 10)
        let (slot, step) = flows.begin(call: 0, facts: RequestFacts(), now: now)
        if step == CallStep(.refuse(.throttled, until: .zero)) {
          kept += 1
          continue
        }
        flows.sentAtOnce(slot, now: now)
        _ = flows.head(slot, status: status, now: now)
        _ = flows.ended(slot, now: now)
      }
      return kept
    }
    #expect(run(1000, status: 200, from: 0) == 0)
    let kept = run(4000, status: 503, from: 10_000)
    // 3000 − 2000 · ln(5000/2000).
    #expect(abs(kept - 1167) < 150, "\(kept) kept back")
    #expect(flows.state.ledger.edgeReason(0, .throttled) == UInt64(kept))
    _ = run(2000, status: 200, from: 200_000)
    #expect(run(1000, status: 200, from: 230_000) == 0)
  }
}
