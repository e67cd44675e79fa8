// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct BalancerAffinityTests {
  private static let all: [Balancer.Affinity] = [.ring, .maglev, .jump]

  private func balancer(
    _ affinity: Balancer.Affinity, _ count: Int, weights: [Int]? = nil, loadMax: Double = 1.25, loadMin: Int = 8
  ) -> Balancer {
    var settings = Balancer.Settings()
    settings.affinity = affinity
    settings.maglevSlots = 5_003
    settings.loadMax = loadMax
    settings.loadMin = loadMin
    return Balancer(
      settings, instances: count, weights: weights, identities: (0..<count).map { UInt64($0) &* 0x9e37_79b9_7f4a_7c15 })
  }

  private func serving(_ indexes: some Sequence<Int>) -> [UInt16] { indexes.map { UInt16($0) } }

  /// Where these keys go; nothing is started.
  private func homes(
    _ balancer: inout Balancer, _ serving: [UInt16], keys: Int, tried: Balancer.Tried = .init(), now: Instant = .zero
  ) -> [Int] {
    var random = SeededRandom(seed: 1)
    return (0..<keys).map { key in
      if case .instance(let index) = balancer.pick(
        among: serving, excluding: tried, limit: 99, key: UInt64(key), now: now, using: &random)
      {
        return index
      }
      return -1
    }
  }

  @Test("a key has one instance, on every balancer that knows the same; chance has no part", arguments: all)
  func stable(affinity: Balancer.Affinity) {
    var (a, b) = (balancer(affinity, 7), balancer(affinity, 7))
    var random = SeededRandom(seed: 3)
    let before = random
    let first = homes(&a, serving(0..<7), keys: 500)
    #expect(homes(&b, serving((0..<7).reversed()), keys: 500) == first)
    #expect(Set(first).count == 7)
    _ = a.pick(among: [0, 1], excluding: .init(), limit: 9, key: 5, now: .zero, using: &random)
    #expect(random == before)
  }

  @Test("without a key, or without an affinity, the algorithm chooses", arguments: all)
  func keyless(affinity: Balancer.Affinity) {
    var keyed = balancer(affinity, 5)
    var plain = Balancer(instances: 5)
    var (a, b) = (SeededRandom(seed: 4), SeededRandom(seed: 4))
    for _ in 0..<100 {
      let now = Instant.zero
      let choice = keyed.pick(among: [0, 1, 2, 3, 4], excluding: .init(), limit: 9, now: now, using: &a)
      #expect(choice == plain.pick(among: [0, 1, 2, 3, 4], excluding: .init(), limit: 9, key: 7, now: now, using: &b))
    }
  }

  // The property that the whole file is for, exhaustively: every subset of 6 instances that may serve.
  @Test("for every subset that serves: who is out moves its own keys only", arguments: all)
  func subsets(affinity: Balancer.Affinity) {
    var balancer = balancer(affinity, 6)
    let full = homes(&balancer, serving(0..<6), keys: 200)
    for bits in 1..<64 {
      let list = serving((0..<6).filter { bits >> $0 & 1 == 1 })
      let now = homes(&balancer, list, keys: 200)
      for key in 0..<200 {
        #expect(list.contains(UInt16(now[key])))
        if list.contains(UInt16(full[key])) { #expect(now[key] == full[key], "key \(key) with \(list)") }
      }
    }
  }

  @Test("the keys of one that is out spread over all others evenly, within what the ring allows", arguments: all)
  func spread(affinity: Balancer.Affinity) {
    var balancer = balancer(affinity, 10)
    let before = homes(&balancer, serving(0..<10), keys: 20_000)
    let after = homes(&balancer, serving(1..<10), keys: 20_000)
    var gained = [Int](repeating: 0, count: 10)
    for key in 0..<20_000 where before[key] == 0 { gained[after[key]] += 1 }
    let moved = gained.reduce(0, +)
    #expect(moved > 1_500 && moved < 2_500)
    for index in 1..<10 { #expect(Double(gained[index]) / Double(moved) < 0.25 && gained[index] > 0, "\(gained)") }
  }

  @Test("tried and full instances are passed over; a retry of one key goes to the same other one", arguments: all)
  func triedAndFull(affinity: Balancer.Affinity) {
    var balancer = balancer(affinity, 5)
    let first = homes(&balancer, serving(0..<5), keys: 50)
    for key in 0..<50 {
      var tried = Balancer.Tried()
      tried.insert(first[key])
      let second = homes(&balancer, serving(0..<5), keys: key + 1, tried: tried)[key]
      #expect(second != first[key])
      var copy = balancer
      copy.markFull(first[key])
      #expect(homes(&copy, serving(0..<5), keys: key + 1)[key] == second)
    }
  }

  @Test("weights hold", arguments: all)
  func weights(affinity: Balancer.Affinity) {
    var balancer = balancer(affinity, 3, weights: [4, 2, 1])
    let homes = homes(&balancer, serving(0..<3), keys: 20_000)
    for (index, weight) in [4.0, 2, 1].enumerated() {
      let share = Double(homes.count { $0 == index }) / 20_000
      #expect(abs(share - weight / 7) < 0.07, "\(affinity) \(index): \(share)")
    }
  }

  // Slow start: 10 % at once, all after 30 s; a key that has come home stays there.
  @Test("keys come home to one that has joined a few at a time, each once", arguments: all)
  func slowStart(affinity: Balancer.Affinity) {
    var balancer = balancer(affinity, 4)
    let grown = homes(&balancer, serving(0..<4), keys: 4_000)
    balancer.joined(2, now: .zero)
    let own = Double(grown.count { $0 == 2 })
    var last = homes(&balancer, serving(0..<4), keys: 4_000)
    for second in stride(from: 0, through: 30, by: 3) {
      let now = homes(
        &balancer, serving(0..<4), keys: 4_000, now: Instant(nanoseconds: Int64(second) * 1_000_000_000))
      let share = Double(now.count { $0 == 2 }) / own
      #expect(abs(share - max(0.1, Double(second) / 30)) < 0.08)
      for key in 0..<4_000 where last[key] == 2 || grown[key] != 2 { #expect(now[key] == last[key]) }
      last = now
    }
    #expect(last == grown)
  }

  // One key only, nothing comes back: without the bound all would pile up at one instance.
  @Test("bounded load: one hot key never has more than ⌈1.25 × mean⌉ anywhere", arguments: all)
  func bounded(affinity: Balancer.Affinity) {
    var balancer = balancer(affinity, 10, loadMin: 0)
    var random = SeededRandom(seed: 5)
    let list = serving(0..<10)
    for out in 0..<500 {
      guard
        case .instance(let index) = balancer.pick(
          among: list, excluding: .init(), limit: .max, key: 42, now: .zero, using: &random)
      else { return PatternSeeds.fail("somebody is below the bound") }
      let bound = (1.25 * Double(out + 1) / 10).rounded(.up)
      #expect(Double(balancer.inFlight(index) + 1) <= bound, "\(out)")
      balancer.started(index, now: .zero)
    }
    #expect(balancer.violation() == nil)
  }

  @Test("up to loadMin in flight, and without a bound for ever, a hot key stays", arguments: all)
  func unbounded(affinity: Balancer.Affinity) {
    for (loadMax, loadMin, stays) in [(1.25, 8, 8), (Double.infinity, 0, 40)] {
      var balancer = balancer(affinity, 10, loadMax: loadMax, loadMin: loadMin)
      var random = SeededRandom(seed: 6)
      var homes: [Int] = []
      for _ in 0..<40 {
        if case .instance(let index) = balancer.pick(
          among: serving(0..<10), excluding: .init(), limit: .max, key: 42, now: .zero, using: &random)
        {
          homes.append(index)
          balancer.started(index, now: .zero)
        }
      }
      #expect(homes.prefix(stays).allSatisfy { $0 == homes[0] })
      #expect(stays == 40 || homes[stays] != homes[0])
    }
  }

  /// 200 seeds × 400 steps against a model of counts; more lists than are remembered.
  @Test("walk", arguments: PatternSeeds.seeds(200))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let affinity = Self.all[random.index(below: 3)]
    let count = 1 + random.index(below: 70)
    let weights = random.chance(0.4) ? (0..<count).map { _ in 1 + random.index(below: 9) } : nil
    var balancer = balancer(affinity, count, weights: weights, loadMin: random.index(below: 3))
    var out = [Int32](repeating: 0, count: count)
    var lists = [serving(0..<count)]
    var now = Instant.zero
    for step in 0..<400 {
      now = now.advanced(by: random.nanoseconds(upTo: 1_000_000_000))
      let index = random.index(below: count)
      switch random.index(below: 6) {
      case 0 where out[index] > 0:
        balancer.released(index)
        out[index] -= 1
      case 1 where random.chance(0.3): balancer.joined(index, now: now)
      case 2 where random.chance(0.3): lists.append(serving((0..<count).filter { _ in random.chance(0.5) }))
      default:
        let list = lists[random.index(below: lists.count)]
        var tried = Balancer.Tried()
        for _ in 0..<random.index(below: 3) { tried.insert(random.index(below: count)) }
        let limit = Int32(1 + random.index(below: 5))
        let allTried = list.count <= 4 && list.allSatisfy { tried.contains(Int($0)) }
        let open = list.map(Int.init).filter { out[$0] < limit && (allTried || !tried.contains($0)) }
        switch balancer.pick(
          among: list, excluding: tried, limit: limit, key: random.next(), now: now, using: &random)
        {
        case .none:
          if !list.isEmpty { return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): none") }
        case .full:
          if !open.isEmpty || list.isEmpty { return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): full") }
        case .instance(let picked):
          if !open.contains(picked) { return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(picked)") }
          balancer.started(picked, now: now)
          out[picked] += 1
        }
      }
      if let violation = balancer.violation() {
        return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(violation)")
      }
    }
  }
}
