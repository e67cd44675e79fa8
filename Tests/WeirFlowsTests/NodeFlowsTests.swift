// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// What loops tell each other through the node: views, versions, epochs, events.
@Suite struct NodeFlowsTests {
  private func failures(_ flows: inout LoopFlows, _ count: Int, now: Instant) {
    for _ in 0..<count {
      let (slot, step) = flows.begin(call: 0, facts: RequestFacts(method: .unsafe), now: now)
      guard case .attempt = step.action else { continue }
      if flows.head(slot, status: 500, now: now).action == .answer { _ = flows.ended(slot, now: now) }
    }
  }

  @Test("a trip on one loop is seen by the other once it has accepted the view")
  func tripIsShared() throws {
    let plan = onePlan(instances: 1)
    var node = NodeFlows(plan: plan, seed: 1)
    var loops = (0..<2).map { LoopFlows(plan: plan, views: [node.view(0)], loop: $0, loops: 2, seed: 1) }
    failures(&loops[0], 5, now: at(1))
    #expect(loops[0].isUrgent(edge: 0))
    let version = node.version(0)
    let delta = loops[0].takeDelta(edge: 0)
    node.absorb(try #require(delta), now: at(1))
    let nothing = loops[0].takeDelta(edge: 0)
    #expect(nothing == nil && !loops[0].isUrgent(edge: 0))
    #expect(node.version(0) > version && node.breakerPhase(edge: 0, instance: nil) == .open)
    guard case .attempt = loops[1].begin(call: 0, facts: RequestFacts(), now: at(2)).step.action else {
      Issue.record("the other loop has not heard of it")
      return
    }
    loops[1].accept(node.view(0), edge: 0, now: at(3))
    guard case .refuse(.breakerOpen, let until) = loops[1].begin(call: 0, facts: RequestFacts(), now: at(3)).step.action
    else {
      Issue.record("the other loop has heard of it")
      return
    }
    #expect(until > at(20_000))
  }

  @Test("results of an earlier epoch change nothing")
  func staleEpochs() throws {
    let plan = onePlan(instances: 1)
    var node = NodeFlows(plan: plan, seed: 1)
    var loops = (0..<2).map { LoopFlows(plan: plan, views: [node.view(0)], loop: $0, loops: 2, seed: 1) }
    failures(&loops[0], 5, now: at(1))
    failures(&loops[1], 5, now: at(1))
    let late = loops[1].takeDelta(edge: 0)
    let first = loops[0].takeDelta(edge: 0)
    node.absorb(try #require(first), now: at(1))
    let version = node.version(0)
    let view = node.view(0)
    _ = node.takeEvents()
    node.absorb(try #require(late), now: at(2))
    #expect(node.version(0) == version && node.view(0) == view)
    let events = node.takeEvents().events
    #expect(events.isEmpty)
  }

  /// Success rates are compared every ten seconds; by then the process that failed may have been replaced.
  @Test("a replaced process is not judged by what its predecessor did", arguments: ["never", "before", "after"])
  func replacedIsForgotten(when: String) throws {
    var plan = onePlan(instances: 3) {
      $0.balance.algorithm = .roundRobin
      $0.instanceBreaker.inARow = 0
      $0.instanceBreaker.ofAtLeast = 1000
    }
    plan.services[0].ejection.hostsMin = 2
    plan.services[0].ejection.volumeMin = 1
    plan.services[0].ejection.successRateFactor = 0.5
    var node = NodeFlows(plan: plan, seed: 1)
    var flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1)
    for _ in 0..<12 {
      let (slot, step) = flows.begin(call: 0, facts: RequestFacts(method: .unsafe), now: at(1))
      guard case .attempt(let instance, _) = step.action else { continue }
      _ = flows.head(slot, status: instance == 0 ? 500 : 200, now: at(2))
      _ = flows.ended(slot, now: at(2))
    }
    let delta = flows.takeDelta(edge: 0)
    // What a loop posts late was learned of the process before; what was posted in time is forgotten.
    if when == "before" { node.replaced(service: 0, instance: 0, now: at(3)) }
    node.absorb(try #require(delta), now: at(4))
    if when == "after" { node.replaced(service: 0, instance: 0, now: at(5)) }
    node.tick(now: at(10_000))
    #expect(node.isEjected(edge: 0, instance: 0) == (when == "never"))
    #expect(node.view(0).serving == (when == "never" ? [1, 2] : [0, 1, 2]))
  }

  @Test("merging in loop order gives the same node every time")
  func deterministic() {
    func play() -> [EdgeView] {
      var world = MockWorld(onePlan(instances: 4), loops: 4, seed: 7)
      world.moods[0] = [.answers(500, 1), .refuses, .well, .chaos]
      for i in 0..<4000 { world.arrive(at(Int64(i) * 5), loop: i % 4) }
      world.run(until: at(25_000))
      return [world.node.view(0)]
    }
    #expect(play() == play())
  }

  @Test("equal versions are equal views; events come once, in pairs", arguments: 1...20)
  func events(seed: UInt64) {
    var walk = Walk(seed: seed)
    let wrong = walk.trouble(until: at(5000))
    #expect(wrong == nil)
    var ejected: [String: Bool] = [:]
    var open: [String: CircuitBreaker.Phase] = [:]
    var everyone: [String: Bool] = [:]
    walk.world.events += walk.world.node.takeEvents().events
    for event in walk.world.events {
      let key = "\(event.edge) \(event.instance)"
      switch event.kind {
      case .instanceEjected:
        #expect(ejected[key] != true, "seed \(seed): ejected twice: \(event)")
        ejected[key] = true
      case .instanceReturned:
        #expect(ejected[key] == true, "seed \(seed): returned without having been ejected: \(event)")
        ejected[key] = false
      case .breakerOpened:
        #expect(open[key, default: .closed] != .open, "seed \(seed): opened twice: \(event)")
        open[key] = .open
      case .breakerProbing:
        #expect(open[key] == .open, "seed \(seed): probing out of nothing: \(event)")
        open[key] = .probing
      case .breakerClosed:
        #expect(open[key, default: .closed] != .closed, "seed \(seed): closed twice: \(event)")
        open[key] = .closed
      case .everyoneServes, .everyoneServesEnded:
        #expect(everyone[key, default: false] == (event.kind == .everyoneServesEnded))
        everyone[key] = event.kind == .everyoneServes
      default: break
      }
    }
  }

  @Test("an instance that goes down while ejected and comes back well is told to have returned, once")
  func ejectedThenDown() {
    var world = MockWorld(onePlan(instances: 2) { $0.balance.algorithm = .roundRobin })
    world.moods[0][0] = .answers(500, 1)
    for i in 0..<20 { world.arrive(at(Int64(i) * 5)) }
    world.schedule(at(500), .health(service: 0, instance: 0, up: false))
    world.schedule(at(600), .replaced(service: 0, instance: 0))
    world.schedule(at(700), .health(service: 0, instance: 0, up: true))
    world.run(until: at(1000))
    #expect(
      world.events.filter { $0.instance == 0 }.map(\.kind) == [
        .breakerOpened, .instanceEjected, .instanceUnready, .breakerClosed, .instanceReady, .instanceReturned,
      ])
  }

  @Test("with every instance failing its check calls are refused at once; the first that passes serves")
  func nobodyPasses() {
    var world = MockWorld(onePlan(instances: 3, health: true))
    for i in 0..<3 { world.schedule(at(1), .health(service: 0, instance: i, up: false)) }
    for i in 0..<10 { world.arrive(at(10 + Int64(i))) }
    world.run(until: at(50))
    #expect(world.ended.map(\.reason) == Array(repeating: .noHealthyInstance, count: 10))
    #expect(world.attempts == 0 && world.ended.allSatisfy { $0.at == $0.startedAt })
    world.schedule(at(60), .health(service: 0, instance: 1, up: true))
    for i in 0..<10 { world.arrive(at(70 + Int64(i))) }
    world.run(until: at(200))
    #expect(world.ended.suffix(10).allGood)
    #expect(world.ended.suffix(10).allSatisfy { $0.tries.map(\.instance) == [1] })
  }

  @Test("an instance that is down is nobody's to probe")
  func downIsNotProbeable() throws {
    let plan = onePlan(instances: 2)
    var node = NodeFlows(plan: plan, seed: 1)
    var flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1)
    failures(&flows, 20, now: at(1))
    let delta = flows.takeDelta(edge: 0)
    node.absorb(try #require(delta), now: at(1))
    #expect(node.view(0).probeable == [0, 1])
    node.health(service: 0, instance: 0, up: false, now: at(2))
    #expect(node.view(0).probeable == [1])
  }

  @Test("with everybody down nobody serves, and nobody is said to")
  func allDown() {
    var node = NodeFlows(plan: onePlan(instances: 2), seed: 1)
    node.health(service: 0, instance: 0, up: false, now: .zero)
    node.health(service: 0, instance: 1, up: false, now: .zero)
    #expect(node.view(0).serving.isEmpty && !node.view(0).everyoneServes)
    let ticket = node.permit(edge: 0, instance: 0, now: .zero)
    #expect(ticket == nil)
    let kinds = node.takeEvents().events.map(\.kind)
    #expect(kinds == [.instanceUnready, .instanceUnready])
  }
}
