// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// Places and who waits for them.
@Suite struct PlaceTests {
  @Test("with one place calls are answered in the order they came")
  func firstInFirstOut() {
    var world = MockWorld(onePlan(instances: 1, atOnce: 1))
    for i in 0..<20 { world.arrive(at(Int64(i))) }
    world.run(until: at(1500))
    #expect(world.ended.map(\.id) == Array(1...20))
    #expect(world.ended.allGood)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("a place is taken until the last byte, and then the next call has it", arguments: [1, 2])
  func streaming(loops: Int) {
    var world = MockWorld(onePlan(instances: 1, atOnce: 1), loops: loops)
    world.moods[0] = [.streams(5, 100)]
    for i in 0..<6 { world.arrive(at(Int64(10 * i)), loop: i % loops) }
    world.run(until: at(3000))
    #expect(world.ended.count == 6 && world.ended.allGood)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("an edge with a limit of its own hands its places on in order", arguments: [1, 2, 3])
  func edgeLimit(atOnce: Int32) {
    var world = MockWorld(onePlan { $0.atOnce = atOnce })
    world.moods[0] = Array(repeating: .answers(200, 10), count: 3)
    for i in 0..<30 { world.arrive(at(Int64(i))) }
    world.run(until: at(2000))
    #expect(world.ended.map(\.id) == Array(1...30))
    #expect(world.ended.allGood)
    #expect(world.ended.last.map { $0.at <= at(400) } == true)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("a limited edge to full instances: who holds a place of the edge goes before who waits for one")
  func bothLimits() {
    var plan = onePlan(instances: 1, atOnce: 1) { $0.atOnce = 1 }
    plan.edges.append(FlowPlan.Edge(service: 0))
    var world = MockWorld(plan)
    world.moods[0] = [.answers(200, 20)]
    for i in 0..<12 { world.arrive(at(Int64(i)), edge: i % 2) }
    world.run(until: at(3000))
    #expect(world.ended.count == 12 && world.ended.allGood)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("the queue is full at its length, and waits end at their time or the deadline")
  func queueEnds() {
    var world = MockWorld(onePlan(instances: 1, atOnce: 1) { $0.queue.length = 2 })
    world.moods[0] = [.hangs]
    let unsafe = RequestFacts(method: .unsafe)
    world.begin(unsafe)
    world.begin(unsafe)
    world.begin(RequestFacts(deadline: at(300), method: .unsafe))
    world.begin(unsafe)
    #expect(world.ended.map(\.reason) == [.queueFull])
    world.run(until: at(1100))
    #expect(world.ended.map(\.reason) == [.queueFull, .deadlinePassed, .queueTimeout])
    #expect(world.ended.map(\.at) == [.zero, at(300), at(1000)])
  }

  @Test("whoever is turned away keeps his place in the line and the end of his wait")
  func turnedAway() {
    var world = MockWorld(onePlan(instances: 1, atOnce: 1), loops: 2)
    world.strangers[0][0] = 1
    for i in 0..<3 { world.arrive(at(Int64(i))) }
    world.run(until: at(500))
    #expect(world.waiting() == 3)
    // False alarms: told of a place that is not there.
    for _ in 0..<5 {
      world.placeFreed(service: 0, instance: 0, by: -1, edge: -1)
      world.settle()
    }
    world.strangers[0][0] = 0
    world.placeFreed(service: 0, instance: 0, by: -1, edge: -1)
    world.settle()
    world.run(until: at(700))
    #expect(world.ended.map(\.id) == [1, 2, 3] && world.ended.allGood)

    world.strangers[0][0] = 1
    world.arrive(at(1000))
    world.run(until: at(1600))
    world.placeFreed(service: 0, instance: 0, by: -1, edge: -1)
    world.settle()
    world.run(until: at(3000))
    #expect(world.ended.last?.reason == .queueTimeout && world.ended.last?.at == at(2000))
    #expect(world.wrong() == nil)
  }

  @Test("a retry takes a free place on the instance it tried rather than wait for another's")
  func retryBesideFreePlace() {
    var world = MockWorld(onePlan(instances: 2, atOnce: 1))
    world.moods[0] = [.losesBeforeHead, .losesBeforeHead]
    world.begin()
    world.run(until: at(50))
    world.moods[0] = [.well, .well]
    let tried = world.books[0].values.first?.tries.first?.instance ?? 0
    world.strangers[0][1 - tried] = 1
    world.run(until: at(400))
    #expect(world.ended.first?.isGood == true && world.ended.first?.tries.last?.instance == tried)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("an instance that joins takes those who wait")
  func joins() {
    var world = MockWorld(onePlan(instances: 2, atOnce: 1))
    world.node.health(service: 0, instance: 1, up: false, now: .zero)
    world.look(0)
    world.moods[0][0] = .hangs
    world.begin()
    world.begin()
    world.run(until: at(200))
    #expect(world.waiting() == 1)
    world.schedule(at(300), .health(service: 0, instance: 1, up: true))
    world.run(until: at(400))
    #expect(world.waiting() == 0 && world.ended.count == 1)
  }
}
