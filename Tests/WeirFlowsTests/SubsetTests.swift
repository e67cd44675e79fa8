// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// Edges that may ask a part of their callee's instances only.
@Suite struct SubsetFlowTests {
  private let labels: [[InstanceGroups.Label]] = [
    [.init("version", "v1")], [.init("version", "v1")], [.init("version", "v2")], [.init("version", "v2")],
  ]

  /// Edge 0 asks v1, edge 1 asks v2, edge 2 all.
  private func plan(_ fallback: InstanceGroups.Fallback = .none, edit: (inout FlowPlan) -> Void = { _ in }) -> FlowPlan
  {
    var plan = onePlan(instances: 4, health: true) {
      $0.balance.slowStart = .zero
      $0.backoff.first = .milliseconds(1)
    }
    let groups = InstanceGroups(subsets: [[.init("version", "v1")], [.init("version", "v2")]], labels: labels)
    let call = plan.edges[0].call
    plan.edges = (0..<2).map { group in
      FlowPlan.Edge(
        service: 0, call: call, subset: FlowPlan.Subset(groups, group: group, instances: 4, fallback: fallback))
    }
    plan.edges.append(FlowPlan.Edge(service: 0, call: call))
    edit(&plan)
    return plan
  }

  /// The instances that calls along an edge went to, and why the others ended.
  private func asked(
    _ world: inout MockWorld, edge: Int, _ count: Int = 60
  ) -> (instances: Set<Int>, reasons: Set<Reason>) {
    let before = world.ended.count
    for i in 0..<count {
      world.arrive(world.now.advanced(by: Int64(i) * 10 * ms), edge: edge)
    }
    world.run(until: world.now.advanced(by: Int64(count) * 10 * ms + second))
    let ended = world.ended.dropFirst(before)
    return (
      Set(ended.flatMap { $0.tries.map(\.instance) }), Set(ended.map(\.reason))
    )
  }

  @Test("an edge asks the instances of its subset, and no others")
  func asks() {
    var world = MockWorld(plan())
    for i in 0..<4 { world.schedule(at(0), .health(service: 0, instance: i, up: true)) }
    world.run(until: at(500))
    let first = asked(&world, edge: 0)
    let second = asked(&world, edge: 1)
    let all = asked(&world, edge: 2)
    #expect(first.instances == [0, 1] && second.instances == [2, 3] && all.instances == [0, 1, 2, 3])
    #expect(world.ended.allGood && world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test(
    "with none of the subset up the call is refused, or goes to all, as it is said",
    arguments: [InstanceGroups.Fallback.none, .any])
  func empty(fallback: InstanceGroups.Fallback) {
    var world = MockWorld(plan(fallback))
    for i in 0..<4 { world.schedule(at(0), .health(service: 0, instance: i, up: true)) }
    for i in 2..<4 { world.schedule(at(100), .health(service: 0, instance: i, up: false)) }
    world.run(until: at(500))
    let without = asked(&world, edge: 1)
    if fallback == .any {
      #expect(without.instances == [0, 1] && without.reasons == [.none])
    } else {
      #expect(without.instances.isEmpty && without.reasons == [.subsetEmpty])
    }
    let others = asked(&world, edge: 0)
    #expect(others.instances == [0, 1] && others.reasons == [.none])
    world.schedule(world.now, .health(service: 0, instance: 3, up: true))
    world.run(until: world.now.advanced(by: second))
    let back = asked(&world, edge: 1)
    #expect(back.instances == [3] && back.reasons == [.none])
    // With nobody left at all there is nothing to fall back to.
    for i in 0..<4 { world.schedule(world.now, .health(service: 0, instance: i, up: false)) }
    world.run(until: world.now.advanced(by: second))
    let none = asked(&world, edge: 1, 5)
    #expect(none.reasons == [fallback == .any ? .noHealthyInstance : .subsetEmpty])
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  /// More than half of a subset in doubt is more than half of all that it may ask: half of the service is not the measure.
  @Test("a retry stays in the subset, and what fails in one says nothing of the other")
  func retries() {
    var world = MockWorld(plan())
    for i in 0..<4 { world.schedule(at(0), .health(service: 0, instance: i, up: true)) }
    world.moods[0][2] = .answers(503, 2)
    world.run(until: at(500))
    let second = asked(&world, edge: 1, 200)
    #expect(second.instances == [2, 3] && world.ended.allGood)
    #expect(world.node.view(1).serving == [3])
    #expect(world.node.view(0).serving == [0, 1] && world.node.view(2).serving == [0, 1, 2, 3])
    #expect(!world.node.isEjected(edge: 0, instance: 2) && world.node.isEjected(edge: 1, instance: 2))
    #expect(world.wrong() == nil)
  }

  @Test(
    "the last of a subset is not taken out of use, unless others may stand in",
    arguments: [InstanceGroups.Fallback.none, .any])
  func drain(fallback: InstanceGroups.Fallback) {
    let plan = plan(fallback)
    var node = NodeFlows(plan: plan, seed: 1)
    for i in 0..<4 { node.health(service: 0, instance: i, up: true, now: at(0)) }
    let isFirst = node.drain(service: 0, instance: 2, true, now: at(1))
    let isLast = node.drain(service: 0, instance: 3, true, now: at(2))
    #expect(isFirst && isLast == (fallback == .any))
    #expect(node.view(1).serving == (fallback == .any ? [0, 1] : [3]))
    #expect(node.view(0).resting.isEmpty && node.view(2).resting.contains(2))
  }

  @Test("a zone is measured by its instances of the subset")
  func zones() {
    // v2 has one instance in the own zone and one elsewhere; both zones have one of v1, too.
    var world = MockWorld(
      plan {
        $0.services[0].members.zones = [0, 1, 0, 1]
        $0.services[0].members.zone = 0
      })
    for i in 0..<4 { world.schedule(at(0), .health(service: 0, instance: i, up: true)) }
    world.run(until: at(500))
    let got = asked(&world, edge: 1)
    #expect(got.instances == [2])
    world.schedule(world.now, .health(service: 0, instance: 2, up: false))
    world.run(until: world.now.advanced(by: second))
    let away = asked(&world, edge: 1)
    #expect(away.instances == [3] && away.reasons == [.none])
  }

  @Test("a reload keeps what is known of an edge whose subset has other instances now")
  func reload() {
    let old = plan()
    var node = NodeFlows(plan: old, seed: 1)
    for i in 0..<4 { node.health(service: 0, instance: i, up: true, now: at(0)) }
    let moved = old.edges[1].subset
    let new = plan { $0.edges[0].subset = moved }
    let after = node.moved(to: new, from: old, by: PlanMove.none(of: old), now: at(10))
    #expect(after.view(0).serving == [2, 3] && after.view(1).serving == [2, 3])
  }
}
