// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// A plan changes: what keeps its name keeps its state, under whatever id.
@Suite struct MovedTests {
  /// Two services of three and two instances, an edge and a route to each; a limit on the first route.
  private static func before() -> FlowPlan {
    FlowPlan(
      services: [FlowPlan.Service(instances: 3), FlowPlan.Service(instances: 2)],
      edges: [FlowPlan.Edge(service: 0), FlowPlan.Edge(service: 1)],
      routes: [FlowPlan.Route(edge: 0, limit: 0), FlowPlan.Route(edge: 1)],
      limits: [FlowPlan.Limit(rate: Rate(perSecond: 10), burst: 5)])
  }

  /// A service before them, the first one's instances in another order and one fewer, the second service gone.
  private static func after() -> FlowPlan {
    FlowPlan(
      services: [FlowPlan.Service(instances: 1), FlowPlan.Service(instances: 3)],
      edges: [FlowPlan.Edge(service: 0), FlowPlan.Edge(service: 1)],
      routes: [FlowPlan.Route(edge: 0), FlowPlan.Route(edge: 1, limit: 0)],
      limits: [FlowPlan.Limit(rate: Rate(perSecond: 10), burst: 5)])
  }

  /// Instance 0 is gone, 1 and 2 become 2 and 0; 1 is new.
  private static let move = PlanMove(
    services: [1, nil], instances: [[nil, 2, 0], []], edges: [1, nil], routes: [1, nil], limits: [0])

  private func flows(_ plan: FlowPlan, _ node: NodeFlows) -> LoopFlows {
    LoopFlows(plan: plan, views: plan.edges.indices.map { node.view($0) }, seed: 1)
  }

  private func views(_ plan: FlowPlan, _ node: NodeFlows) -> [EdgeView] { plan.edges.indices.map { node.view($0) } }

  // MARK: Moves

  @Test("names find their places; a name that stands twice moves once")
  func places() {
    #expect(PlanMove.places(of: ["a", "b", "a", "c"], in: ["c", "a", "d"]) == [1, nil, nil, 0])
    #expect(PlanMove.back([1, nil, 0], count: 3) == [2, 0, nil])
  }

  @Test("two moves after each other are one")
  func then() {
    let back = PlanMove(
      services: [nil, 0], instances: [[], [1, nil, 0]], edges: [nil, 0], routes: [nil, 0], limits: [nil])
    let both = Self.move.then(back)
    #expect(both.services == [0, nil])
    // 1 became 2 and then 0; 2 became 0 and then 1.
    #expect(both.instances == [[nil, 0, 1], []])
    #expect(both.edges == [0, nil] && both.routes == [0, nil] && both.limits == [nil])
    #expect(Self.move.then(PlanMove.none(of: Self.after())) == Self.move)
    #expect(PlanMove.none(of: Self.before()).then(Self.move) == Self.move)
  }

  @Test("what cannot be a move is found")
  func violations() {
    #expect(Self.move.violation(from: Self.before(), to: Self.after()) == nil)
    var wrong = Self.move
    wrong.services = [1, 1]
    #expect(wrong.violation(from: Self.before(), to: Self.after()) != nil)
    wrong = Self.move
    wrong.instances[0] = [0, 0, nil]
    #expect(wrong.violation(from: Self.before(), to: Self.after()) != nil)
    wrong = Self.move
    wrong.edges = [0, nil]
    #expect(wrong.violation(from: Self.before(), to: Self.after()) != nil)
  }

  // MARK: The node

  @Test("health, breakers and their phase move to the new ids")
  func node() throws {
    let plan = Self.before()
    var node = NodeFlows(plan: plan, seed: 1)
    var loop = flows(plan, node)
    // Instance 2 fails until its breaker opens.
    node.health(service: 0, instance: 0, up: false, now: at(0))
    node.health(service: 0, instance: 1, up: false, now: at(0))
    loop.accept(node.view(0), edge: 0, now: at(0))
    for step in 0..<5 {
      let (slot, _) = loop.begin(call: 0, facts: RequestFacts(method: .unsafe), now: at(Int64(step)))
      if loop.head(slot, status: 500, now: at(Int64(step))).action == .answer { _ = loop.ended(slot, now: at(5)) }
    }
    let delta = loop.takeDelta(edge: 0)
    node.absorb(try #require(delta), now: at(5))
    #expect(node.breakerPhase(edge: 0, instance: 2) == .open)
    let moved = node.moved(to: Self.after(), from: plan, by: Self.move, now: at(6))
    #expect(moved.breakerPhase(edge: 1, instance: 0) == .open)
    #expect(moved.breakerPhase(edge: 1, instance: 1) == .closed)
    #expect(moved.breakerPhase(edge: 1, instance: nil) == node.breakerPhase(edge: 0, instance: nil))
    #expect(!moved.isUp(service: 1, instance: 2) && moved.isUp(service: 1, instance: 1))
    #expect(moved.isUp(service: 1, instance: 0) && moved.isUp(service: 0, instance: 0))
    // The opening was told in the old ids and not taken yet.
    var told = moved
    let events = told.takeEvents().events
    #expect(events.contains { $0.kind == .breakerOpened && $0.edge == 1 && $0.instance == 0 })
    #expect(!events.contains { $0.kind == .instanceUnready && $0.instance == 0 }, "instance 0 is gone")
  }

  @Test("a breaker whose settings have changed begins closed; one of another edge does not notice")
  func changedBreaker() throws {
    let plan = onePlan(instances: 1)
    var node = NodeFlows(plan: plan, seed: 1)
    var loop = flows(plan, node)
    for step in 0..<5 {
      let (slot, _) = loop.begin(call: 0, facts: RequestFacts(method: .unsafe), now: at(Int64(step)))
      if loop.head(slot, status: 500, now: at(Int64(step))).action == .answer { _ = loop.ended(slot, now: at(5)) }
    }
    let delta = loop.takeDelta(edge: 0)
    node.absorb(try #require(delta), now: at(5))
    let same = node.moved(to: plan, from: plan, by: .none(of: plan), now: at(6))
    #expect(same.breakerPhase(edge: 0, instance: 0) == .open)
    #expect(same.view(0) == node.view(0) && same.version(0) > node.version(0))
    var changed = plan
    changed.edges[0].call.instanceBreaker.inARow = 9
    let fresh = node.moved(to: changed, from: plan, by: .none(of: plan), now: at(6))
    #expect(fresh.breakerPhase(edge: 0, instance: 0) == .closed)
    #expect(fresh.breakerPhase(edge: 0, instance: nil) == .open)
  }

  @Test("a loop that is behind tells and hears in its own ids")
  func behind() throws {
    let plan = Self.before()
    var node = NodeFlows(plan: plan, seed: 1)
    var loop = flows(plan, node)
    node = node.moved(to: Self.after(), from: plan, by: Self.move, now: at(1))
    // It fails on instance 1 only, which is 2 now.
    node.health(service: 1, instance: 0, up: false, now: at(1))
    var view = node.view(1).movedBack(by: Self.move, of: 0, onto: loop.state.upstreams[0].view)
    #expect(view.serving == [1], "0 is gone, 2 is down")
    loop.accept(view, edge: 0, now: at(1))
    for step in 0..<5 {
      let (slot, _) = loop.begin(call: 0, facts: RequestFacts(method: .unsafe), now: at(2 + Int64(step)))
      if loop.head(slot, status: 500, now: at(2 + Int64(step))).action == .answer {
        _ = loop.ended(slot, now: at(2 + Int64(step)))
      }
    }
    let delta = loop.takeDelta(edge: 0)?.moved(by: Self.move, from: plan, to: Self.after())
    node.absorb(try #require(delta), now: at(8))
    #expect(node.breakerPhase(edge: 1, instance: 2) == .open && node.breakerPhase(edge: 1, instance: 1) == .closed)
    view = node.view(1).movedBack(by: Self.move, of: 0, onto: loop.state.upstreams[0].view)
    #expect(view.breakers[1].phase == .open)
    loop.accept(view, edge: 0, now: at(9))
    // What is gone is told to nobody.
    let (slot, _) = loop.begin(call: 1, facts: RequestFacts(), now: at(9))
    _ = loop.head(slot, status: 500, now: at(9))
    let gone = loop.takeDelta(edge: 1)
    #expect(try #require(gone).moved(by: Self.move, from: plan, to: Self.after()) == nil)
  }

  // MARK: A loop

  @Test("latencies, doubts and counters move; what is in flight stays and is counted once")
  func loop() throws {
    let plan = Self.before()
    var node = NodeFlows(plan: plan, seed: 1)
    var old = flows(plan, node)
    var open: Slot?
    for step in 0..<40 {
      let (slot, first) = old.begin(call: 0, facts: RequestFacts(method: .unsafe), now: at(Int64(step * 10)))
      guard case .attempt(let instance, _) = first.action else { continue }
      if step == 39 {
        open = slot
        break
      }
      // Ten milliseconds an index, so that they can be told apart.
      let ends = at(Int64(step * 10) + Int64(instance + 1) * 10)
      _ = old.head(slot, status: 200, now: ends)
      _ = old.ended(slot, now: ends)
    }
    let before = old.state.ledger.instances(of: 0).map(\.attempts)
    #expect(before.reduce(0, +) == 40 && old.inFlight(of: 0, in: plan).reduce(0, +) == 1)
    node = node.moved(to: Self.after(), from: plan, by: Self.move, now: at(500))
    var new = old.moved(
      to: Self.after(), from: plan, by: Self.move, views: views(Self.after(), node), loops: 1, now: at(500))
    old.countAnew()
    #expect(new.isEmpty && !old.isEmpty)
    #expect(new.state.ledger.edges[1].calls == 40 && new.state.ledger.edges[1].answered == 39)
    #expect(new.state.ledger.instances(of: 1).map(\.attempts) == [before[2], 0, before[1]])
    #expect(new.state.ledger.edges[0].calls == 0 && new.state.ledger.edgeLatencies[1].count == 39)
    // Instances 1 and 2 are 2 and 0 now; what they took is known, of the new one nothing is.
    #expect(
      new.state.latency(edge: 1, instance: 2, now: at(500)) == old.state.latency(edge: 0, instance: 1, now: at(500)))
    #expect(
      new.state.latency(edge: 1, instance: 0, now: at(500)) == old.state.latency(edge: 0, instance: 2, now: at(500)))
    #expect(new.state.latency(edge: 1, instance: 1, now: at(500)) == nil)
    // The last one ends under the old plan.
    let slot = try #require(open)
    _ = old.head(slot, status: 200, now: at(510))
    _ = old.ended(slot, now: at(510))
    #expect(old.isEmpty)
    new.absorb(ledgerOf: old, by: Self.move)
    let counted = new.state.ledger.edges[1]
    #expect(counted.calls == 40 && counted.ended == 40)
  }

  @Test("a retry budget that is spent stays spent, unless its settings change", arguments: [false, true])
  func budget(_ changes: Bool) {
    let plan = onePlan(instances: 2)
    var node = NodeFlows(plan: plan, seed: 1)
    func retries(_ node: inout NodeFlows) -> Int {
      (0..<10).count { _ in node.retry(edge: 0, BudgetTally(), now: at(10)) }
    }
    // The floor.
    #expect(retries(&node) == 3)
    var next = plan
    if changes { next.edges[0].call.budget.share = 0.5 }
    var moved = node.moved(to: next, from: plan, by: .none(of: plan), now: at(11))
    #expect(retries(&moved) == (changes ? 3 : 0))
  }

  @Test("what holds requests back holds them back in the new plan")
  func heldBack() {
    let plan = Self.before()
    let node = NodeFlows(plan: plan, seed: 1)
    var old = flows(plan, node)
    old.holdBack(true, now: at(1))
    let after = node.moved(to: Self.after(), from: plan, by: Self.move, now: at(2))
    var new = old.moved(
      to: Self.after(), from: plan, by: Self.move, views: views(Self.after(), after), loops: 1, now: at(2))
    guard case .refuse(.overloaded, _) = new.begin(request: RequestFacts(route: 0), now: at(2)).step else {
      Issue.record("it is let in")
      return
    }
    new.holdBack(false, now: at(3))
    #expect(new.begin(request: RequestFacts(route: 0), now: at(3)).step == .call(edge: 0))
  }

  @Test("requests of the old plan end in it; the node's draining goes on in the new one")
  func requests() {
    let plan = Self.before()
    let node = NodeFlows(plan: plan, seed: 1)
    var old = flows(plan, node)
    let (slot, _) = old.begin(request: RequestFacts(route: 1), now: at(0))
    old.drain(until: at(10), now: at(1))
    let after = node.moved(to: Self.after(), from: plan, by: Self.move, now: at(2))
    var new = old.moved(
      to: Self.after(), from: plan, by: Self.move, views: views(Self.after(), after), loops: 1, now: at(2))
    old.countAnew()
    guard case .refuse(.draining, _) = new.begin(request: RequestFacts(route: 0), now: at(2)).step else {
      Issue.record("the node drains")
      return
    }
    old.end(request: slot, as: RequestEnding(status: 200), now: at(3))
    #expect(old.isEmpty)
    // Its route is gone, and its count with it.
    new.absorb(ledgerOf: old, by: Self.move)
    #expect(new.state.ledger.routes.map(\.requests) == [0, 0, 0])
  }
}
