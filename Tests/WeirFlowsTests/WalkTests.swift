// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Seeds to walk: `WEIR_SEED=17 swift test` plays one again.
func seeds(_ count: UInt64) -> [UInt64] {
  if let raw = unsafe getenv("WEIR_SEED"), let seed = UInt64(unsafe String(cString: raw)) { return [seed] }
  return Array(1...count)
}

/// A random system with random trouble, driven for 20 s; then all is well and must become good again.
struct Walk {
  var world: MockWorld
  var random: SeededRandom
  let seed: UInt64

  static func plan(_ random: inout SeededRandom) -> FlowPlan {
    var services: [FlowPlan.Service] = []
    for _ in 0..<(1 + random.index(below: 2)) {
      services.append(
        FlowPlan.Service(
          instances: 1 + random.index(below: 5), atOnce: random.chance(0.5) ? .max : Int32(1 + random.index(below: 4)),
          hasHealthCheck: random.chance(0.5)))
      if random.chance(0.3) {
        var adaptive = AdaptiveLimit.Settings()
        adaptive.start = 4
        adaptive.samplesMin = 10
        services[services.count - 1].adaptive = adaptive
        services[services.count - 1].atOnce = .max
      }
    }
    var edges: [FlowPlan.Edge] = []
    for _ in 0..<(1 + random.index(below: 3)) {
      var call = CallSettings()
      call.timeout = .milliseconds([300, 1000, 5000][random.index(below: 3)])
      if random.chance(0.3) { call.attempt = .milliseconds(200) }
      call.retry.attempts = 1 + random.index(below: 4)
      if random.chance(0.3) { call.backoff.kind = .full }
      if random.chance(0.3) { call.atOnce = Int32(1 + random.index(below: 4)) }
      call.queue.length = random.index(below: 9)
      call.queue.wait = .milliseconds([50, 300, 1000][random.index(below: 3)])
      call.optional = random.chance(0.2)
      call.balance.algorithm = [.peakEWMA, .leastRequest, .roundRobin][random.index(below: 3)]
      call.instanceBreaker.rest = .milliseconds([500, 3000][random.index(below: 2)])
      call.instanceBreaker.restMax = .seconds(6)
      call.serviceBreaker = call.instanceBreaker
      call.instanceBreaker.probes = 1 + random.index(below: 3)
      call.instanceBreaker.probeLease = .seconds(2)
      call.serviceBreaker.probeLease = .seconds(2)
      call.serviceBreaker.ramp = .seconds(2)
      if random.chance(0.3) { call.budget.over = .concurrency }
      if random.chance(0.3) { call.order = [.adaptive, .oldest, .codel][random.index(below: 3)] }
      if random.chance(0.2) {
        var throttle = ClientThrottle.Settings()
        throttle.window = .seconds(4)
        call.throttle = throttle
      }
      if random.chance(0.5) {
        var hedge = HedgeTrigger.Settings()
        hedge.samplesMin = 20
        hedge.share = 0.3
        if random.chance(0.5) { hedge.delay = .milliseconds(10) }
        call.hedge = hedge
      }
      edges.append(FlowPlan.Edge(service: random.index(below: services.count), call: call))
    }
    return FlowPlan(services: services, edges: edges)
  }

  init(seed: UInt64, records: Int = 0) {
    self.seed = seed
    random = SeededRandom(seed: seed, stream: "walk")
    let plan = Walk.plan(&random)
    world = MockWorld(plan, loops: [1, 2, 4][random.index(below: 3)], seed: seed, records: records)
    world.lateness = random.chance(0.5) ? 20 * ms : 0
  }

  private mutating func facts() -> RequestFacts {
    RequestFacts(
      deadline: random.chance(0.1) ? world.now.advanced(by: random.nanoseconds(upTo: second)) : .distantFuture,
      method: [.safe, .safe, .idempotent, .unsafe, .keyed][random.index(below: 5)],
      body: [.none, .replayable, .streaming][random.index(below: 3)], outerRetries: random.chance(0.2))
  }

  /// Trouble until `end`; nil when every promise was kept.
  mutating func trouble(until end: Instant) -> String? {
    let kinds: [Mood] = [
      .well, .well, .well, .chaos, .answers(500, 2), .answers(503, 2), .refuses, .neverConnects, .losesBeforeHead,
      .cutsInBody, .hangs, .answersByWeir(503, 2), .streams(5, 200), .answers(200, 700),
    ]
    var down: [[Bool]] = world.cells.map { Array(repeating: false, count: $0.count) }
    let pause: Int64 = [1, 5, 20][random.index(below: 3)] * ms
    while world.now < end {
      let next = world.now.advanced(by: 1 + random.nanoseconds(upTo: 2 * pause))
      world.run(until: next)
      let loop = random.index(below: world.flows.count)
      switch random.index(below: 40) {
      case 0:
        let service = random.index(below: world.cells.count)
        let instance = random.index(below: world.cells[service].count)
        world.moods[service][instance] = kinds[random.index(below: kinds.count)]
      case 1 where random.chance(0.3):
        let service = random.index(below: world.cells.count)
        let instance = random.index(below: world.cells[service].count)
        down[service][instance].toggle()
        world.schedule(world.now, .health(service: service, instance: instance, up: !down[service][instance]))
        if random.chance(0.3) { world.schedule(world.now, .replaced(service: service, instance: instance)) }
      case 2:
        if let slot = world.books[loop].keys.min(by: { $0.index < $1.index }) {
          world.schedule(world.now, .callerGone, loop: loop, slot: slot)
        }
      case 3:
        // Somebody the loop does not see takes a place, and gives it back later.
        let service = random.index(below: world.cells.count)
        let instance = random.index(below: world.cells[service].count)
        if world.strangers[service][instance] == 0 {
          world.strangers[service][instance] = 1
        } else {
          world.strangers[service][instance] = 0
          world.placeFreed(service: service, instance: UInt16(instance), by: -1, edge: -1)
          world.settle()
        }
      default:
        world.arrive(world.now, loop: loop, edge: random.index(below: world.plan.edges.count), facts())
      }
      if let wrong = world.wrong() { return "seed \(seed) at \(world.now): \(wrong)" }
    }
    return nil
  }

  /// All is well from now on: every call ends, every place comes back, and calls succeed again.
  mutating func recovery() -> String? {
    // What is due now, a check that finds an instance down among it, comes before all is well, not after.
    world.run(until: world.now)
    for service in world.moods.indices {
      for instance in world.moods[service].indices {
        world.moods[service][instance] = .well
        world.node.health(service: service, instance: instance, up: true, now: world.now)
        if world.strangers[service][instance] > 0 {
          world.strangers[service][instance] = 0
          world.placeFreed(service: service, instance: UInt16(instance), by: -1, edge: -1)
        }
      }
    }
    for loop in world.flows.indices { world.look(loop) }
    world.settle()
    // The longest call lasts 5 s.
    world.run(until: world.now.advanced(by: 6 * second))
    if let wrong = world.wrong() { return "seed \(seed), after: \(wrong)" }
    if let left = world.leftBehind() { return "seed \(seed), after: \(left)" }
    // Rests last 7.2 s at most, a lease 2 s, a ramp 2 s: half a minute of calls finds out.
    for i in 0..<1200 {
      let now = world.now.advanced(by: 25 * ms)
      world.run(until: now)
      let edge = i % world.plan.edges.count
      world.arrive(now, loop: i / 7 % world.flows.count, edge: edge, RequestFacts(method: i % 3 == 0 ? .unsafe : .safe))
    }
    world.run(until: world.now.advanced(by: second))
    if let wrong = world.wrong() { return "seed \(seed), well: \(wrong)" }
    if let left = world.leftBehind() { return "seed \(seed), well: \(left)" }
    let lately = world.ended.suffix(100)
    if let bad = lately.first(where: { !$0.isGood }) { return "seed \(seed): all is well, and still \(bad)" }
    for edge in world.plan.edges.indices {
      for instance in world.cells[world.plan.edges[edge].service].indices
      where world.node.breakerPhase(edge: edge, instance: instance) != .closed {
        return "seed \(seed): the breaker of \(instance) on edge \(edge) never closed"
      }
      if world.node.breakerPhase(edge: edge, instance: nil) != .closed {
        return "seed \(seed): the callee's never closed"
      }
    }
    return nil
  }
}

/// Random walks: hundreds of systems, any trouble, no promise broken, and nothing that refuses for ever (RL-2).
@Suite struct WalkTests {
  @Test("no walk breaks a promise, and all is well again when the callees are")
  func walks() {
    var failures: [String] = []
    var hedges = 0
    for seed in seeds(300) {
      var walk = Walk(seed: seed)
      defer { hedges += walk.world.hedges }
      if let wrong = walk.trouble(until: at(20_000)) ?? walk.recovery() { failures.append(wrong) }
      if failures.count > 20 { break }
    }
    #expect(failures.isEmpty, "\(failures.joined(separator: "\n"))")
    #expect(hedges > 300 || seeds(300).count == 1, "\(hedges) hedges in all walks")
  }
}
