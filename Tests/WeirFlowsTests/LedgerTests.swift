// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows

/// What is counted, and that what is kept has a bound.
@Suite struct LedgerTests {
  @Test("a log keeps its limit and counts the rest, until it is taken")
  func eventLog() {
    var log = EventLog(limit: 2)
    for i in 0..<5 { log.append(Event(.instanceReady, at: at(Int64(i)))) }
    let (events, lost) = log.take()
    #expect(events.map(\.at) == [at(0), at(1)] && lost == 3)
    log.append(Event(.instanceReady, at: at(9)))
    let next = log.take()
    #expect(next.events.map(\.at) == [at(9)] && next.lost == 0)
    #expect(log.events.isEmpty)
  }

  @Test("records keep their limit and count the rest, until they are taken", arguments: [0, 3])
  func records(limit: Int) {
    let plan = onePlan()
    let node = NodeFlows(plan: plan, seed: 1)
    var flows = LoopFlows(plan: plan, views: [node.view(0)], seed: 1, recordsLimit: limit)
    for i in 0..<5 {
      flows.refused(
        RequestEnding(status: 404, reason: .noRoute, phase: .head), startedAt: at(Int64(i)), tag: UInt64(i),
        now: at(Int64(i) + 2))
    }
    let (records, lost) = flows.takeRecords()
    #expect(records.map(\.tag) == Array([0, 1, 2].prefix(limit)) && lost == (limit == 0 ? 0 : 2))
    #expect(
      records.allSatisfy { $0.duration == 2 * ms && $0.route == RequestFacts.none && $0.edge == RequestFacts.none })
    let again = flows.takeRecords()
    #expect(again.records.isEmpty && again.lost == 0)
    // The counters have no bound, and requests without a route have a place of their own, behind the routes.
    #expect(flows.state.ledger.routes[0].requests == 5 && flows.state.ledger.routes[0].statuses[3] == 5)
    #expect(flows.state.ledger.routeReason(0, .noRoute) == 5)
  }

  @Test("a request's record has what its facts and its ending say, under its route")
  func record() throws {
    var plan = onePlan()
    plan.edges.append(FlowPlan.Edge(service: 0))
    plan.routes = [FlowPlan.Route(edge: 0), FlowPlan.Route(edge: 1)]
    let node = NodeFlows(plan: plan, seed: 1)
    var flows = LoopFlows(plan: plan, views: [node.view(0), node.view(1)], seed: 1, recordsLimit: 8)
    let (slot, step) = flows.begin(request: RequestFacts(route: 1), now: at(10))
    #expect(step == .call(edge: 1))
    flows.end(
      request: slot,
      as: RequestEnding(
        status: 200, reason: .failedAnswer, phase: .wait, instance: 2, attempts: 3, fallback: true), tag: 77,
      now: at(25))
    let taken = flows.takeRecords().records
    #expect(
      taken == [
        RequestRecord(
          startedAt: at(10), duration: 15 * ms, tag: 77, route: 1, edge: 1, status: 200, instance: 2,
          reason: .failedAnswer, phase: .wait, attempts: 3, fallback: true)
      ])
    #expect(flows.state.ledger.routes.map(\.requests) == [0, 1, 0])
    #expect(flows.state.ledger.routes[1].statuses[1] == 1)
    #expect(flows.state.ledger.routeReason(1, .failedAnswer) == 1 && flows.requests.count == 0)
  }

  @Test("each way a call can end is counted once, under its reason")
  func endings() {
    for (mood, optional, reason) in [
      (Mood.well, false, Reason.none), (.answers(500, 1), false, .none), (.cutsInBody, false, .answerCut),
      (.refuses, false, .connectFailed), (.answers(500, 1), true, .failedAnswer), (.refuses, true, .connectFailed),
    ] {
      var world = MockWorld(onePlan(instances: 1) { $0.optional = optional })
      world.moods[0] = [mood]
      world.begin()
      world.run(until: at(5000))
      let ledger = world.flows[0].state.ledger
      let edge = ledger.edges[0]
      #expect(edge.calls == 1 && edge.ended == 1)
      let answered = !optional && mood != .refuses
      #expect(edge.fallbacks == (optional ? 1 : 0) && edge.refused == (!optional && !answered ? 1 : 0))
      #expect(edge.answered == (mood == .well ? 1 : 0) && edge.failed == (answered && mood != .well ? 1 : 0))
      for other in Reason.allCases {
        #expect(ledger.edgeReason(0, other) == (other == reason && reason != .none ? 1 : 0), "\(mood): \(other)")
      }
      #expect(ledger.edgeLatencies[0].count == (answered ? 1 : 0))
    }
  }

  @Test("merging adds every number, and leaves events and records where they are", arguments: 1...10)
  func merge(seed: UInt64) {
    var walk = Walk(seed: seed)
    let wrong = walk.trouble(until: at(3000))
    #expect(wrong == nil)
    let ledgers = walk.world.flows.map(\.state.ledger)
    var sum = Ledger(plan: walk.world.plan)
    for ledger in ledgers { sum.merge(ledger) }
    for e in walk.world.plan.edges.indices {
      for count in [
        \Ledger.Edge.calls, \.attempts, \.answered, \.failed, \.refused, \.fallbacks, \.ended,
      ] {
        #expect(sum.edges[e][keyPath: count] == ledgers.reduce(0) { $0 + $1.edges[e][keyPath: count] })
      }
      #expect(sum.edgeLatencies[e].count == sum.edges[e].answered + sum.edges[e].failed)
      #expect(sum.edgeLatencies[e].maximum == ledgers.map { $0.edgeLatencies[e].maximum }.max())
      for reason in Reason.allCases {
        #expect(sum.edgeReason(e, reason) == ledgers.reduce(0) { $0 + $1.edgeReason(e, reason) })
      }
    }
    // Every attempt is at one instance, and what is under way is what the world holds.
    let plan = walk.world.plan
    let counted = plan.services.indices.flatMap { sum.instances(of: $0) }
    #expect(counted.reduce(0) { $0 + $1.attempts } == sum.edges.reduce(0) { $0 + $1.attempts })
    #expect(counted.allSatisfy { $0.failures <= $0.attempts } && counted.contains { $0.failures > 0 })
    for s in plan.services.indices {
      let held = walk.world.flows.indices.map { walk.world.flows[$0].inFlight(of: s, in: plan) }
      for i in 0..<plan.services[s].instances {
        #expect(held.reduce(0) { $0 + $1[i] } == walk.world.cells[s][i])
      }
    }
    #expect(sum.edges.contains { $0.calls > 0 } && sum.events.events.isEmpty && sum.records.isEmpty)
  }

  @Test("routes are merged as edges are")
  func mergeRoutes() {
    var plan = onePlan()
    plan.routes = [FlowPlan.Route(edge: 0)]
    let node = NodeFlows(plan: plan, seed: 1)
    var sum = Ledger(plan: plan)
    for (loop, status) in [UInt16(200), 503, 503].enumerated() {
      var flows = LoopFlows(plan: plan, views: [node.view(0)], loop: loop, loops: 3, seed: 1)
      let (slot, _) = flows.begin(request: RequestFacts(route: 0), now: .zero)
      let reason = status == 503 ? Reason.queueFull : .none
      flows.end(request: slot, as: RequestEnding(status: status, reason: reason), now: at(Int64(loop + 1)))
      sum.merge(flows.state.ledger)
    }
    #expect(sum.routes[0].requests == 3 && sum.routes[0].statuses[1] == 1 && sum.routes[0].statuses[4] == 2)
    #expect(sum.routeReason(0, .queueFull) == 2 && sum.routeReason(0, .none) == 0)
    #expect(sum.routeLatencies[0].count == 3 && sum.routeLatencies[0].maximum == 3 * ms)
  }
}
