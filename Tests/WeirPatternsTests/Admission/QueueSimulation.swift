// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirBase
import WeirPatterns

/// A callee with so many workers and a queue of its own that nobody limits, behind Weir's gate: for bar RP-8.
struct QueueSimulation {
  enum Service: Sendable { case exponential, lognormal(sigma: Double), constant }

  var workers = 16
  /// The mean time of work, in nanoseconds.
  var mean = 10e6
  var service = Service.exponential
  /// Arrivals ÷ what the workers can do at `mean`.
  var load = 5.0
  /// Instead of arrivals at a rate: so many callers, each of which waits for its answer and then asks again.
  ///
  /// Who is refused pauses before that.
  var callers: (critical: Int, low: Int)?
  var pause = 50e6
  /// Until `loadFrom` seconds it is this instead.
  var loadBefore = 0.6
  var loadFrom = 0.0
  var seconds = 60.0
  /// Answers before this are not looked at.
  var warmUp = 0.0
  /// Within it work takes `slowdown` times as long.
  var slow: ClosedRange<Double>?
  var slowdown = 2.0
  /// Until so many seconds the machine stands still for 20 … 420 ms again and again, with 10 … 310 ms between.
  var stallsUntil = 0.0
  /// Shares of critical and of normal requests; the rest is low.
  var shares = (critical: 0.05, normal: 0.15)
  var admission = PriorityAdmission.Settings()
  /// Without it the limit is fixed.
  var adaptive: AdaptiveLimit.Settings? = AdaptiveLimit.Settings()
  var seed: UInt64 = 1

  struct Outcome {
    var offered = [0, 0, 0]
    var served = [0, 0, 0]
    var refused = [0, 0, 0]
    /// Of those served, waiting included.
    var latencies = Tally()
    var goodput = 0.0
    /// Answers in each second, as a share of what the workers could do in it.
    var bySecond: [Double] = []
    var limits: (least: Int, most: Int, last: Int) = (.max, 0, 0)
    var service = 0.0
    var violation: String?

    var p99: Double { Double(latencies.quantile(0.99) ?? 0) }
    func share(_ rank: PriorityAdmission.Class) -> Double {
      Double(served[Int(rank.rawValue)]) / Double(max(1, offered[Int(rank.rawValue)]))
    }
  }

  private struct Request {
    var rank = PriorityAdmission.Class.normal
    var arrived: Int64 = 0
    var entered: Int64 = 0
    var caller = 0
  }

  func run() -> Outcome {
    var random = SeededRandom(seed: seed, stream: "arrivals")
    var work = SeededRandom(seed: seed, stream: "work")
    var outcome = Outcome()
    var settings = admission
    var limit = adaptive.map { AdaptiveLimit($0) }
    if let limit { settings.limit = limit.limit }
    var gate = PriorityAdmission(settings)
    var requests: [Request] = []
    var free: [UInt32] = []
    var generations: [UInt32] = []
    // The callee: who waits for a worker, and the ends of work as a heap.
    var line: [UInt32] = []
    var head = 0
    var idle = workers
    var heap: [(at: Int64, index: UInt32)] = []
    // Time that has passed on the clock while nothing moved: all below is reckoned without it, and told with it.
    var stood: Int64 = 0
    let end = Int64(seconds * 1e9)
    let gap = mean / Double(workers)
    // When each caller asks; with arrivals at a rate there is one.
    var comes = [Int64](repeating: 0, count: callers.map { $0.critical + $0.low } ?? 1)
    outcome.bySecond = Array(repeating: 0, count: Int(seconds) + 1)

    func draw(_ now: Int64) -> Int64 {
      var time: Double
      switch service {
      case .exponential: time = -log(1 - work.unit()) * mean
      case .constant: time = mean
      case .lognormal(let sigma):
        let normal = (-2 * log(1 - work.unit())).squareRoot() * cos(2 * .pi * work.unit())
        time = mean * exp(sigma * normal - sigma * sigma / 2)
      }
      if let slow, slow.contains(Double(now) / 1e9) { time *= slowdown }
      return Int64(time)
    }
    func push(_ at: Int64, _ index: UInt32) {
      heap.append((at, index))
      var child = heap.count - 1
      while child > 0, heap[(child - 1) / 2].at > heap[child].at {
        heap.swapAt(child, (child - 1) / 2)
        child = (child - 1) / 2
      }
    }
    func pop() -> UInt32 {
      let top = heap[0].index
      let last = heap.removeLast()
      if !heap.isEmpty {
        heap[0] = last
        var parent = 0
        while true {
          var child = 2 * parent + 1
          if child >= heap.count { break }
          if child + 1 < heap.count, heap[child + 1].at < heap[child].at { child += 1 }
          if heap[parent].at <= heap[child].at { break }
          heap.swapAt(parent, child)
          parent = child
        }
      }
      return top
    }
    func start(_ index: UInt32, _ now: Int64) {
      requests[Int(index)].entered = now + stood
      if idle > 0 {
        idle -= 1
        push(now + draw(now), index)
      } else {
        line.append(index)
      }
    }
    func refuse(_ slot: Slot, _ now: Int64) {
      if callers != nil { comes[requests[Int(slot.index)].caller] = now + Int64(pause) }
      outcome.refused[Int(requests[Int(slot.index)].rank.rawValue)] += 1
      generations[Int(slot.index)] &+= 1
      free.append(slot.index)
    }
    func turn(_ first: PriorityAdmission.Turn, _ now: Int64) {
      var turn = first
      while true {
        switch turn {
        case .nobody: return
        case .enters(let slot): start(slot.index, now)
        case .drops(let slot): refuse(slot, now)
        }
        turn = gate.next(now: Instant(nanoseconds: now + stood))
      }
    }
    // Wake-ups of those whose wait is over, in the order of their ends: waits are all equally long.
    var wakes: [(at: Int64, slot: Slot)] = []
    var woken = 0
    var step = 0
    var stalls = SeededRandom(seed: seed, stream: "stalls")
    var stallAt = stallsUntil > 0 ? stalls.nanoseconds(upTo: 300_000_000) : Int64.max

    while true {
      let caller = comes.indices.min { comes[$0] < comes[$1] } ?? 0
      let arrival = comes[caller]
      let next = min(arrival, heap.first?.at ?? .max, woken < wakes.count ? wakes[woken].at : .max)
      while next >= stallAt {
        stood += 20_000_000 + stalls.nanoseconds(upTo: 400_000_000)
        stallAt += 10_000_000 + stalls.nanoseconds(upTo: 300_000_000)
        if Double(stallAt + stood) / 1e9 >= stallsUntil { stallAt = .max }
      }
      if next + stood >= end { break }
      step += 1
      if step % 1024 == 0, outcome.violation == nil { outcome.violation = gate.violation() ?? limit?.violation() }
      if woken < wakes.count, wakes[woken].at == next {
        let slot = wakes[woken].slot
        woken += 1
        if woken > 4096 {
          wakes.removeFirst(woken)
          woken = 0
        }
        if generations[Int(slot.index)] == slot.generation, requests[Int(slot.index)].entered < 0 {
          gate.leave(slot)
          refuse(slot, next)
        }
      } else if next == arrival {
        let draw = random.unit()
        var rank: PriorityAdmission.Class =
          draw < shares.critical ? .critical : draw < shares.critical + shares.normal ? .normal : .low
        if let callers {
          rank = caller < callers.critical ? .critical : .low
          comes[caller] = .max
        } else {
          comes[0] = next + Int64(-log(1 - random.unit()) * gap / (Double(next) / 1e9 < loadFrom ? loadBefore : load))
        }
        outcome.offered[Int(rank.rawValue)] += 1
        let index = free.popLast() ?? UInt32(requests.count)
        if Int(index) == requests.count {
          requests.append(Request())
          generations.append(0)
        }
        requests[Int(index)] = Request(rank: rank, arrived: next, entered: -1, caller: caller)
        let slot = Slot(index: index, generation: generations[Int(index)])
        switch gate.acquire(slot, rank, now: Instant(nanoseconds: next + stood), deadline: .distantFuture) {
        case .enter: start(index, next)
        case .waits(let until, let pushedOut):
          wakes.append((until.nanoseconds - stood, slot))
          if let pushedOut { refuse(pushedOut, next) }
        case .full: refuse(slot, next)
        }
      } else {
        let index = pop()
        let request = requests[Int(index)]
        if Double(next) / 1e9 >= warmUp {
          outcome.latencies.record(next - request.arrived)
          outcome.goodput += 1
        }
        outcome.served[Int(request.rank.rawValue)] += 1
        outcome.bySecond[Int(next / 1_000_000_000)] += 1
        generations[Int(index)] &+= 1
        free.append(index)
        if callers != nil { comes[request.caller] = next }
        if head < line.count {
          push(next + draw(next), line[head])
          head += 1
          if head > 4096 {
            line.removeFirst(head)
            head = 0
          }
        } else {
          idle += 1
        }
        let now = Instant(nanoseconds: next + stood)
        var moved = false
        if case .moved(let places)? = limit?.settle(latency: next + stood - request.entered, now: now) {
          if let limit { gate.adapt(to: limit) }
          moved = true
          if Double(next) / 1e9 >= warmUp {
            outcome.limits.least = min(outcome.limits.least, places)
            outcome.limits.most = max(outcome.limits.most, places)
          }
          outcome.limits.last = places
        }
        turn(gate.release(now: now), next)
        if moved { turn(gate.next(now: now), next) }
      }
    }
    outcome.goodput /= (seconds - warmUp) * Double(workers) / mean * 1e9
    for second in outcome.bySecond.indices {
      let isSlow = slow.map { $0.contains(Double(second) + 0.5) } ?? false
      outcome.bySecond[second] /= Double(workers) / mean * 1e9 / (isSlow ? slowdown : 1)
    }
    outcome.service = limit?.service ?? 0
    return outcome
  }
}
