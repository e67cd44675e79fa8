// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirBase
import WeirPatterns

// Each line is one decision as a flow makes it. Bar RL-6: at most 200 ns and no allocation.
// The clock moves 1 µs a decision (a million a second), so windows turn and cells expire as they would.
var bench = Bench()
if CommandLine.arguments.count > 1 { bench.filter = CommandLine.arguments[1] }

func at(_ number: Int) -> Instant { Instant(nanoseconds: Int64(number) &* 1_000) }

print("| decision | ns | allocations |")
print("|---|---:|---:|")

bench.measure("an empty decision (the loop itself)", setUp: { SeededRandom(seed: 1) }) { random, number in
  keep(at(number))
}

// MARK: Admission

struct Door {
  var room = WaitingRoom()
  var gate = AtOnce()
}
bench.measure("WaitingRoom offer + take, 64 waiting") {
  var door = Door()
  for index in 2000..<2064 {
    _ = door.room.offer(Slot(index: UInt32(index), generation: 0), now: .zero, deadline: .distantFuture)
  }
  return door
} decision: { door, number in
  let slot = Slot(index: UInt32(truncatingIfNeeded: number & 1023), generation: UInt32(truncatingIfNeeded: number))
  keep(door.room.offer(slot, now: at(number), deadline: .distantFuture))
  keep(door.room.take(now: at(number)))
}
bench.measure("WaitingRoom offer + leave, 64 waiting") {
  var door = Door()
  for index in 2000..<2064 {
    _ = door.room.offer(Slot(index: UInt32(index), generation: 0), now: .zero, deadline: .distantFuture)
  }
  return door
} decision: { door, number in
  let slot = Slot(index: UInt32(truncatingIfNeeded: number & 1023), generation: UInt32(truncatingIfNeeded: number))
  keep(door.room.offer(slot, now: at(0), deadline: .distantFuture))
  door.room.leave(slot)
}
bench.measure("AtOnce acquire + release", setUp: { Door() }) { door, number in
  let slot = Slot(index: UInt32(truncatingIfNeeded: number & 1023), generation: 0)
  keep(door.gate.acquire(slot, now: at(number), deadline: .distantFuture))
  keep(door.gate.release(now: at(number)))
}
struct Cell {
  var gcra = GCRA(rate: Rate(perSecond: 500_000), burst: 500)
  var cell: Int64 = 0
}
bench.measure("GCRA decide (half are refused)", setUp: { Cell() }) { state, number in
  if case .allow(let cell, _) = state.gcra.decide(cell: state.cell, now: at(number)) { state.cell = cell }
}
for (name, keys) in [
  ("1 key", 1), ("1 000 keys", 1_000), ("30 000 keys", 30_000), ("1 000 000 keys, evicting", 1_000_000),
] {
  bench.measure("RateTable admit, 65 536 cells, \(name)") {
    (RateTable(GCRA(rate: Rate(perSecond: 100), burst: 100)), SeededRandom(seed: 1))
  } decision: { state, number in
    keep(state.0.admit(key: UInt64(state.1.index(below: keys)), now: at(number)))
  }
}
bench.measure("AddressLimit opened + closed, 5 000 open") {
  var limit = AddressLimit()
  for key in 0..<5_000 { _ = limit.opened(UInt64(key), now: .zero) }
  return limit
} decision: { limit, number in
  let key = UInt64(10_000 + number % 7_000)
  if limit.opened(key, now: at(number)) == .accept { limit.closed(key) }
}

// MARK: Balancing

struct Fleet {
  var balancer: Balancer
  var serving: [UInt16]
  let isKeyed: Bool
  var random = SeededRandom(seed: 1)
  var out: [UInt16] = [UInt16](repeating: 0, count: 8)

  init(
    _ algorithm: Balancer.Algorithm, _ count: Int, weights: [Int]? = nil, fullFrom: Int? = nil,
    affinity: Balancer.Affinity = .none, choices: Int = 2
  ) {
    var settings = Balancer.Settings()
    settings.algorithm = algorithm
    settings.affinity = affinity
    settings.choices = choices
    isKeyed = affinity != .none
    balancer = Balancer(settings, instances: count, weights: weights)
    serving = (0..<count).map { UInt16($0) }
    if let fullFrom { for index in fullFrom..<count { balancer.markFull(index) } }
    for index in 0..<count where fullFrom == nil {
      balancer.started(index, now: .zero)
      balancer.finished(index, latency: 5_000_000 + Int64(index), failed: false, now: .zero)
    }
    for place in out.indices { step(place) }
  }

  /// Eight requests are out: picks one more, and the oldest comes back.
  mutating func step(_ number: Int) {
    let now = at(number)
    if case .instance(let index) = balancer.pick(
      among: serving, excluding: .init(), limit: 64, key: isKeyed ? random.next() : nil, now: now, using: &random)
    {
      balancer.started(index, now: now)
      out[number & 7] = UInt16(index)
    }
  }

  mutating func turn(_ number: Int) {
    let oldest = Int(out[number & 7])
    balancer.finished(oldest, latency: 4_000_000 + Int64(number & 0xfffff), failed: false, now: at(number))
    step(number)
  }
}
for algorithm in Balancer.Algorithm.allCases {
  for count in [1, 2, 3, 10, 100, 1_000] {
    bench.measure(
      "Balancer \(algorithm), \(count) instances: pick + started + finished", setUp: { Fleet(algorithm, count) }
    ) {
      fleet, number in fleet.turn(number)
    }
  }
}
for (name, affinity) in [("ring", Balancer.Affinity.ring), ("maglev", .maglev), ("jump", .jump)] {
  for count in [1, 2, 3, 10, 100, 1_000] {
    bench.measure(
      "Balancer \(name), \(count) instances: pick by a key + started + finished",
      setUp: { Fleet(.peakEWMA, count, affinity: affinity) }
    ) {
      fleet, number in fleet.turn(number)
    }
  }
}
for count in [1, 2, 3, 10, 100, 1_000] {
  bench.measure(
    "Balancer random, \(count) instances: pick + started + finished",
    setUp: { Fleet(.leastRequest, count, choices: 1) }
  ) {
    fleet, number in fleet.turn(number)
  }
}
bench.measure("Balancer roundRobin, 10 instances of uneven weight") {
  Fleet(.roundRobin, 10, weights: [5, 1, 1, 2, 3, 4, 5, 6, 7, 8])
} decision: { fleet, number in
  fleet.turn(number)
}
bench.measure("Balancer peakEWMA, 100 instances, 90 of them full") {
  Fleet(.peakEWMA, 100, fullFrom: 10)
} decision: { fleet, number in
  fleet.turn(number)
}
bench.measure("Balancer peakEWMA, 1 000 instances, all full", count: 40_000) {
  Fleet(.peakEWMA, 1_000, fullFrom: 1)
} decision: { fleet, number in
  fleet.balancer.markFull(0)
  keep(
    fleet.balancer.pick(among: fleet.serving, excluding: .init(), limit: 64, now: at(number), using: &fleet.random))
}

// MARK: Routing

struct Router {
  var trie: RouteTrie
  var paths: [[UInt8]]
  var host = Array("api.example.com".utf8)

  init(_ routes: Int, hosts: Bool = false) {
    var builder = RouteTrie.Builder()
    for index in 0..<routes {
      do {
        try builder.add(
          path: "/api/v1/service\(index)/*/items/**", host: hosts ? "h\(index % 100).example.com" : nil,
          methods: index % 3 == 0 ? [.get] : [], route: index)
      } catch { fatalError("\(error)") }
    }
    trie = builder.build()
    paths = (0..<64).map { Array("/api/v1/service\($0 * 7919 % routes)/4711/items/2/detail".utf8) }
    if hosts { host = Array("h7.example.com".utf8) }
  }

  func match(_ number: Int) {
    let path = paths[number & 63]
    keep(trie.match(host: host.span, path: path.span, method: .get))
  }
}
for routes in [10, 1_000, 10_000] {
  bench.measure("RouteTrie match, 45 bytes of path, \(routes) routes", setUp: { Router(routes) }) { router, number in
    router.match(number)
  }
}
bench.measure("RouteTrie match, 10 000 routes on 100 hosts", setUp: { Router(10_000, hosts: true) }) { router, number in
  router.match(number)
}

// MARK: Resilience

struct Guarded {
  var breaker: CircuitBreaker
  var budget = RetryBudget()
  var backoff = Backoff()
  var rule = RetryRule()
  var random = SeededRandom(seed: 1)
  var deadline = Deadline(now: .zero)

  init(_ settings: CircuitBreaker.Settings = .init()) { breaker = CircuitBreaker(settings) }
}
bench.measure("CircuitBreaker admit + settle, closed", setUp: { Guarded() }) { state, number in
  let now = at(number)
  if case .allow(let ticket) = state.breaker.admit(now: now, using: &state.random) {
    keep(state.breaker.settle(ticket, number % 10 == 0 ? .failure : .success, now: now, using: &state.random))
  }
}
bench.measure("CircuitBreaker admit, open") {
  var state = Guarded()
  for _ in 0..<30 {
    if case .allow(let ticket) = state.breaker.admit(now: .zero, using: &state.random) {
      _ = state.breaker.settle(ticket, .failure, now: .zero, using: &state.random)
    }
  }
  return state
} decision: { state, number in
  keep(state.breaker.admit(now: at(number & 0xfffff), using: &state.random))
}
bench.measure("RetryBudget deposit + withdraw", setUp: { Guarded() }) { state, number in
  state.budget.deposit(now: at(number))
  keep(state.budget.withdraw(now: at(number)))
}
bench.measure("Backoff wait", setUp: { Guarded() }) { state, number in
  keep(state.backoff.wait(after: 1 + number & 3, using: &state.random))
}
bench.measure("RetryRule judge", setUp: { Guarded() }) { state, number in
  keep(
    state.rule.judge(
      status: number & 1 == 0 ? 503 : 404,
      RetryRule.Facts(attempts: 1, method: .safe, body: .none, sent: .all, committed: false)))
}
bench.measure("Deadline leaves", setUp: { Guarded() }) { state, number in
  keep(state.deadline.leaves(room: 1_000_000, now: at(number)))
}
bench.measure("OutlierEjection report + decide, 10 instances") {
  (OutlierEjection(instances: 10), [Bool](repeating: false, count: 10))
} decision: { state, number in
  state.0.report(number % 10, successes: 20, failures: number % 10 == 3 ? 15 : 0)
  keep(state.0.decide(suspects: state.1, now: at(number)))
}
bench.measure("HealthMonitor probe + probed", setUp: { (HealthMonitor(), SeededRandom(seed: 1)) }) { state, number in
  // A second a turn: there is always a probe due.
  let now = Instant(nanoseconds: Int64(number) &* 2_500_000_000)
  if number == 0 { state.0.started(now: now) }
  if let probe = state.0.probe(now: now) { keep(state.0.probed(ok: true, kind: probe.kind, now: now, using: &state.1)) }
}
bench.measure("RestartBackoff exited", setUp: { (RestartBackoff(), SeededRandom(seed: 1)) }) { state, number in
  state.0.started(now: at(number))
  keep(state.0.exited(now: at(number), using: &state.1))
}

// MARK: Delivery

/// A queue that stays as long as it is: one message comes, one goes, with clocks, leases and expiries as they would be.
struct Post {
  var queue: DeliveryQueue
  var leased: [DeliveryQueue.Leased] = []
  var changes: [DeliveryQueue.Change] = []
  var random = SeededRandom(seed: 1)
  var id: Int64 = 0
  let keys: Int
  let tenants: Int

  init(_ waiting: Int, keys: Int, tenants: Int) {
    var settings = DeliveryQueue.Settings()
    settings.length = 2 * waiting + 64
    queue = DeliveryQueue(settings)
    self.keys = keys
    self.tenants = tenants
    leased.reserveCapacity(16)
    changes.reserveCapacity(16)
    for _ in 0..<waiting { offer(.zero) }
  }

  mutating func offer(_ now: Instant) {
    id += 1
    let key = keys == 0 ? 0 : UInt64(1 + random.index(below: keys))
    let entry = DeliveryQueue.Entry(
      id: id, key: key, tenant: UInt64(random.index(below: tenants)), bytes: 1_000, due: now,
      expires: queue.settings.expiry(due: now))
    keep(queue.offer(entry, now: now))
  }

  mutating func lease(_ now: Instant) {
    changes.removeAll(keepingCapacity: true)
    keep(queue.tick(16, now: now, using: &random, into: &changes))
    leased.removeAll(keepingCapacity: true)
    queue.lease(1, now: now, into: &leased)
  }

  mutating func turn(_ number: Int) {
    let now = at(number)
    offer(now)
    lease(now)
    for one in leased { keep(queue.ack(one.id, attempt: one.attempt, now: now)) }
  }

  /// Leased, failed, and back after its wait; what has failed for the last time is replaced.
  mutating func fail(_ number: Int) {
    let now = at(number)
    lease(now)
    for one in leased {
      if case .dead = queue.nack(one.id, attempt: one.attempt, now: now, using: &random) { offer(now) }
    }
  }
}
for (name, waiting, keys, tenants) in [
  ("empty", 0, 0, 1), ("1 000 waiting", 1_000, 0, 1), ("1 000 000 waiting", 1_000_000, 0, 1),
  ("1 000 000 waiting, 1 000 tenants", 1_000_000, 0, 1_000),
  ("1 000 000 waiting behind 100 000 keys", 1_000_000, 100_000, 1),
  ("1 000 000 waiting, each its own key", 1_000_000, 1 << 40, 1),
] {
  var bytes = 0.0
  bench.measure("DeliveryQueue offer + tick + lease + ack, \(name)", count: 100_000) {
    let post = Post(waiting, keys: keys, tenants: tenants)
    bytes = Double(post.queue.reservedBytes) / Double(max(1, waiting))
    return post
  } decision: { post, number in
    post.turn(number)
  }
  if bytes > 0 && waiting > 0 { print(String(format: "  %.0f bytes a message are reserved", bytes)) }
}
if bench.filter.isEmpty || "deliveryqueue longest".contains(bench.filter.lowercased()) {
  // The one call in so many that doubles the tables: what a queue that grows to 1 100 000 stops for at most.
  var settings = DeliveryQueue.Settings()
  settings.length = 2_000_000
  var queue = DeliveryQueue(settings)
  var longest: UInt64 = 0
  for id in 1...Int64(1_100_000) {
    let start = Bench.now()
    keep(queue.offer(.init(id: id, due: .zero, expires: .distantFuture), now: .zero))
    longest = max(longest, Bench.now() - start)
  }
  print(String(format: "  %.1f ms is the longest offer on the way to 1 100 000", Double(longest) / 1e6))
}
bench.measure("DeliveryQueue tick + lease + nack, 1 000 000 waiting", count: 100_000) {
  Post(1_000_000, keys: 0, tenants: 1)
} decision: { post, number in
  post.fail(number)
}

let over = bench.rows.filter { $0.nanoseconds > 200 || ($0.allocations ?? 0) > 0.0005 }
FileHandle.standardError.write(
  Data("\n\(bench.rows.count) decisions; above 200 ns or allocating: \(over.map(\.name))\n".utf8))
