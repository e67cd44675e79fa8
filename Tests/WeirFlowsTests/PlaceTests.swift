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

  @Test("two loops share an edge's places: never more than it has, and neither loop starves", arguments: [1, 3])
  func edgeLimitOfTwoLoops(atOnce: Int) {
    var world = MockWorld(onePlan { $0.atOnce = Int32(atOnce) }, loops: 2)
    world.moods[0] = Array(repeating: .answers(200, 10), count: 3)
    for i in 0..<30 { world.arrive(at(Int64(i)), loop: i % 2) }
    world.run(until: at(900))
    #expect(world.ended.count == 30 && world.ended.allGood)
    for end in world.ended {
      let began = end.tries.first?.at ?? .zero
      let beside = world.ended.count { other in (other.tries.first?.at ?? .zero) <= began && other.at > began }
      #expect(beside <= atOnce, "\(beside) at the same time")
    }
    // A place is handed on at once: ten milliseconds and a bit a call, one behind the other.
    let last = world.ended.last?.at ?? .zero
    #expect(last <= at(Int64(30 / atOnce) * 11), "\(last)")
    // Of the first ten that are over both loops have some.
    let first = world.ended.prefix(10).map { $0.id % 2 }
    #expect(first.contains(0) && first.contains(1))
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

  @Test("a probe that finds every place taken is not asked for again in the same moment", arguments: [1, 2])
  func probeOfFullInstance(loops: Int) {
    var world = MockWorld(
      onePlan(instances: 2, atOnce: 1) {
        $0.balance.algorithm = .roundRobin
        $0.instanceBreaker.rest = .milliseconds(500)
        $0.instanceBreaker.restJitter = 0
      }, loops: loops)
    world.moods[0] = [.answers(500, 1), .well]
    for i in 0..<20 { world.arrive(at(Int64(i) * 10), loop: i % loops) }
    world.run(until: at(400))
    #expect(world.serving() == [1])
    world.strangers[0] = [1, 1]
    world.probesGranted = 0
    for i in 0..<4 { world.arrive(at(1000 + Int64(i)), loop: i % loops) }
    world.run(until: at(1050))
    #expect(world.waiting() > 0 && world.probesGranted <= 2 * loops, "\(world.probesGranted) permits in 50 ms")
    world.moods[0] = [.well, .well]
    world.strangers[0] = [0, 0]
    for i in 0..<2 { world.placeFreed(service: 0, instance: UInt16(i), by: -1, edge: -1) }
    world.settle()
    world.run(until: at(3000))
    #expect(world.ended.suffix(4).allGood && world.wrong() == nil && world.leftBehind() == nil)
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
