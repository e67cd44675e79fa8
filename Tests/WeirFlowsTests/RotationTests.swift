// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// Keys, weights, zones, backups and homes: which instance a call goes to where they are not all alike.
@Suite struct RotationTests {
  private func facts(key: UInt64 = 0, home: Int? = nil) -> RequestFacts {
    var facts = RequestFacts()
    facts.affinity = key
    if let home { facts.home = UInt16(home) }
    return facts
  }

  private func plan(
    instances: Int, _ affinity: Balancer.Affinity = .none, edit: (inout Members) -> Void = { _ in }
  ) -> FlowPlan {
    var plan = onePlan(instances: instances) {
      $0.balance.affinity = affinity
      $0.balance.slowStart = .zero
      $0.backoff.first = .milliseconds(1)
    }
    edit(&plan.services[0].members)
    return plan
  }

  /// The first instance that each of these calls went to, ten milliseconds apart.
  private func firsts(_ world: inout MockWorld, _ facts: [RequestFacts], loop: (Int) -> Int = { _ in 0 }) -> [Int] {
    let before = world.ended.count
    for (i, facts) in facts.enumerated() {
      world.arrive(world.now.advanced(by: Int64(i) * 10 * ms), loop: loop(i), facts)
    }
    world.run(until: world.now.advanced(by: Int64(facts.count) * 10 * ms + second))
    return world.ended.dropFirst(before).sorted { $0.id < $1.id }.map { $0.tries.first?.instance ?? -1 }
  }

  @Test(
    "calls with the same key go to the same instance, from every loop", arguments: [Balancer.Affinity.ring, .maglev])
  func keys(affinity: Balancer.Affinity) {
    var world = MockWorld(plan(instances: 5, affinity), loops: 2)
    let keys = (1...40).map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 }
    let once = firsts(&world, keys.map { facts(key: $0) })
    let again = firsts(&world, keys.map { facts(key: $0) }) { $0 % 2 }
    #expect(once == again && Set(once).count == 5)
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("who loses an instance moves, nobody else does, and with the instance its keys are back")
  func gone() {
    var world = MockWorld(plan(instances: 5, .ring))
    let keys = (1...60).map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 }
    let once = firsts(&world, keys.map { facts(key: $0) })
    world.schedule(world.now, .health(service: 0, instance: 2, up: false))
    world.run(until: world.now.advanced(by: second))
    let without = firsts(&world, keys.map { facts(key: $0) })
    #expect(!without.contains(2))
    #expect(zip(once, without).allSatisfy { $0 == 2 || $0 == $1 })
    world.schedule(world.now, .health(service: 0, instance: 2, up: true))
    world.run(until: world.now.advanced(by: second))
    let got1 = firsts(&world, keys.map { facts(key: $0) })
    #expect(got1 == once)
  }

  @Test("a retry goes to the key's next instance")
  func retry() {
    var world = MockWorld(plan(instances: 4, .ring))
    let home = firsts(&world, [facts(key: 77)])[0]
    world.moods[0][home] = .refuses
    world.arrive(world.now, facts(key: 77))
    world.run(until: world.now.advanced(by: second))
    let last = world.ended.last
    #expect(last?.isGood == true && last?.tries.map(\.instance).last != home)
  }

  @Test("a call without a key is balanced as without keys")
  func keyless() {
    var world = MockWorld(plan(instances: 4, .maglev))
    let all = firsts(&world, Array(repeating: facts(), count: 200))
    #expect(Set(all).count == 4)
  }

  @Test("who can take three times as much gets three times as much")
  func weights() {
    var world = MockWorld(
      plan(instances: 2) { $0.weights = [3, 1] }.with { $0.edges[0].call.balance.algorithm = .roundRobin })
    let all = firsts(&world, Array(repeating: facts(), count: 200))
    #expect(all.filter { $0 == 0 }.count == 150)
  }

  @Test("the own zone is asked while it can carry its calls, and others when it is gone")
  func zones() {
    var world = MockWorld(
      plan(instances: 4) {
        $0.zones = [0, 0, 1, 1]
        $0.zone = 1
      })
    let got2 = firsts(&world, Array(repeating: facts(), count: 100))
    #expect(Set(got2) == [2, 3])
    for i in [2, 3] { world.schedule(world.now, .health(service: 0, instance: i, up: false)) }
    world.run(until: world.now.advanced(by: second))
    let got3 = firsts(&world, Array(repeating: facts(), count: 100))
    #expect(Set(got3) == [0, 1])
  }

  @Test("a retry leaves the zone when all of it was tried")
  func zoneRetry() {
    var world = MockWorld(
      plan(instances: 2) {
        $0.zones = [0, 1]
        $0.zone = 0
      })
    world.moods[0][0] = .refuses
    world.arrive(world.now, facts())
    world.run(until: world.now.advanced(by: second))
    #expect(world.ended.map { $0.tries.map(\.instance) } == [[0, 1]] && world.ended.allGood)
  }

  @Test("a backup is asked when no other serves, or when the others were tried")
  func backups() {
    var world = MockWorld(plan(instances: 3) { $0.backups = [false, false, true] })
    let got4 = firsts(&world, Array(repeating: facts(), count: 100))
    #expect(Set(got4) == [0, 1])
    for i in [0, 1] { world.schedule(world.now, .health(service: 0, instance: i, up: false)) }
    world.run(until: world.now.advanced(by: second))
    let got5 = firsts(&world, Array(repeating: facts(), count: 20))
    #expect(Set(got5) == [2])
    var other = MockWorld(plan(instances: 2) { $0.backups = [false, true] })
    other.moods[0][0] = .refuses
    other.arrive(at(0), facts())
    other.run(until: at(1000))
    #expect(other.ended.map { $0.tries.map(\.instance) } == [[0, 1]] && other.ended.allGood)
  }

  @Test("a call goes to its home while that serves or rests, and elsewhere when it is gone")
  func home() {
    var world = MockWorld(plan(instances: 4) { $0.isSticky = true })
    let got6 = firsts(&world, Array(repeating: facts(home: 2), count: 50))
    #expect(Set(got6) == [2])
    let got7 = world.node.drain(service: 0, instance: 2, true, now: world.now)
    #expect(got7)
    world.run(until: world.now.advanced(by: second))
    let got8 = firsts(&world, Array(repeating: facts(home: 2), count: 50))
    #expect(Set(got8) == [2])
    let got9 = firsts(&world, Array(repeating: facts(), count: 50))
    #expect(!got9.contains(2))
    world.schedule(world.now, .health(service: 0, instance: 2, up: false))
    world.run(until: world.now.advanced(by: second))
    let got10 = firsts(&world, Array(repeating: facts(home: 2), count: 50))
    #expect(!got10.contains(2))
    #expect(world.wrong() == nil && world.leftBehind() == nil)
  }

  @Test("an instance in doubt is tried by its own keys and clients only")
  func trials() {
    var world = MockWorld(plan(instances: 4, .ring))
    let keys = (1...40).map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 }
    let homes = firsts(&world, keys.map { facts(key: $0) })
    let ill = homes[0]
    world.moods[0][ill] = .answers(503, 5)
    for _ in 0..<12 {
      let now = firsts(&world, keys.map { facts(key: $0) })
      #expect(zip(homes, now).allSatisfy { $0 == ill || $0 == $1 })
      world.run(until: world.now.advanced(by: second / 4))
    }
    var sticky = MockWorld(plan(instances: 3) { $0.isSticky = true })
    sticky.moods[0][1] = .answers(503, 5)
    for _ in 0..<12 {
      let got = firsts(&sticky, (0..<20).map { _ in facts(home: 0) } + (0..<4).map { _ in facts(home: 1) })
      #expect(got.prefix(20).allSatisfy { $0 == 0 })
      sticky.run(until: sticky.now.advanced(by: second / 4))
    }
    #expect(world.wrong() == nil && sticky.wrong() == nil)
  }

  @Test("a backup, and a zone that is asked nothing, is tried by nobody")
  func trialsElsewhere() {
    var world = MockWorld(
      plan(instances: 4) {
        $0.zones = [0, 0, 1, 1]
        $0.zone = 0
        $0.backups = [false, true, false, false]
      })
    world.moods[0][1] = .refuses
    world.moods[0][2] = .refuses
    for _ in 0..<12 {
      let got = firsts(&world, Array(repeating: facts(), count: 20))
      #expect(Set(got) == [0])
      world.run(until: world.now.advanced(by: second / 4))
    }
    #expect(world.wrong() == nil)
  }

  @Test("an instance that is out is probed by one of its own keys, or after a second by any")
  func probes() {
    for isOwn in [true, false] {
      var world = MockWorld(plan(instances: 4, .ring))
      let keys = (1...40).map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 }
      let homes = firsts(&world, keys.map { facts(key: $0) })
      let ill = homes[0]
      let own = zip(keys, homes).filter { $0.1 == ill }.map(\.0)
      let others = zip(keys, homes).filter { $0.1 != ill }.map(\.0)
      world.moods[0][ill] = .answers(503, 5)
      for _ in 0..<40 { _ = firsts(&world, own.map { facts(key: $0) }) }
      world.run(until: world.now.advanced(by: second))
      #expect(!world.serving().contains(UInt16(ill)))
      world.moods[0][ill] = .well
      let outAt = world.now
      while !world.serving().contains(UInt16(ill)), world.now.since(outAt) < 60 * second {
        _ = firsts(&world, (isOwn ? own.prefix(1) : others.prefix(1)).map { facts(key: $0) })
        world.run(until: world.now.advanced(by: second / 10))
      }
      #expect(world.serving().contains(UInt16(ill)), "by its own \(isOwn)")
      #expect(world.wrong() == nil)
    }
  }

  @Test("a place without an instance is asked nothing, also when most of the others are down")
  func vacant() {
    var plan = plan(instances: 6) { $0.isDiscovered = true }
    plan.services[0].startsReady = false
    plan.services[0].ejection.panic = 0.6
    var node = NodeFlows(plan: plan, seed: 1)
    #expect(node.view(0).serving.isEmpty)
    for i in [1, 3, 4] {
      node.occupied(service: 0, instance: i, true, now: at(1))
      node.health(service: 0, instance: i, up: true, now: at(1))
    }
    #expect(node.view(0).serving == [1, 3, 4])
    // One of three is above the threshold, two are not; who is drained counts for nothing.
    node.health(service: 0, instance: 3, up: false, now: at(2))
    #expect(node.view(0).serving == [1, 4])
    node.health(service: 0, instance: 4, up: false, now: at(3))
    #expect(node.view(0).serving == [1, 3, 4])
    node.occupied(service: 0, instance: 4, false, now: at(4))
    #expect(node.view(0).serving == [1, 3])
    node.health(service: 0, instance: 3, up: true, now: at(5))
    #expect(node.view(0).serving == [1, 3])
    node.occupied(service: 0, instance: 1, false, now: at(6))
    node.occupied(service: 0, instance: 3, false, now: at(6))
    #expect(node.view(0).serving.isEmpty)
  }

  @Test("the last instance that serves is not taken out of use, and one that comes back is asked again")
  func drain() {
    var node = NodeFlows(plan: plan(instances: 2), seed: 1)
    let got11 = node.drain(service: 0, instance: 0, true, now: at(1))
    #expect(got11)
    #expect(node.view(0).serving == [1] && node.view(0).resting == [0] && node.isDrained(service: 0, instance: 0))
    let got12 = node.drain(service: 0, instance: 1, true, now: at(2))
    #expect(!got12)
    let got13 = node.drain(service: 0, instance: 0, false, now: at(3))
    #expect(got13)
    #expect(node.view(0).serving == [0, 1] && node.view(0).resting.isEmpty)
    let got14 = node.takeEvents()
    #expect(got14.events.isEmpty)
  }
}

extension FlowPlan {
  fileprivate func with(_ edit: (inout FlowPlan) -> Void) -> FlowPlan {
    var plan = self
    edit(&plan)
    return plan
  }
}
