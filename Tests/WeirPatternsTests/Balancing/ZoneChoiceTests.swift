// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct ZoneChoiceTests {
  private func shares(own: Int?, listed: [Int], serving: [Int], callers: [Int]? = nil) -> [Double] {
    var choice = ZoneChoice(own: own, listed: listed, callers: callers)
    choice.update(serving: serving)
    #expect(choice.violation() == nil)
    return listed.indices.map(choice.share)
  }

  private func isClose(_ a: [Double], _ b: [Double]) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) < 1e-9 }
  }

  @Test("all at home while the own zone can carry it, to the last")
  func home() {
    #expect(shares(own: 0, listed: [4, 4, 4], serving: [4, 4, 4]) == [1, 0, 0])
    // 3 of 4 serve: 1.4 × 0.75 is more than all.
    #expect(shares(own: 0, listed: [4, 4, 4], serving: [3, 4, 4]) == [1, 0, 0])
    #expect(shares(own: 1, listed: [1, 9], serving: [1, 9]) == [0, 1])
  }

  @Test("half gone: capacity 0.7, 78 % stay; below half: none stays; the others share evenly")
  func spill() {
    let kept = 0.7 / 2.7 * 3
    #expect(
      isClose(shares(own: 0, listed: [4, 4, 4], serving: [2, 4, 4]), [kept, (1 - kept) / 2, (1 - kept) / 2]))
    #expect(isClose(shares(own: 0, listed: [4, 4, 4], serving: [1, 4, 4]), [0, 0.5, 0.5]))
    #expect(isClose(shares(own: 0, listed: [4, 4, 4], serving: [0, 4, 4]), [0, 0.5, 0.5]))
  }

  @Test("callers all in one zone use each zone by its capacity; a zone without callers keeps nothing back")
  func callers() {
    #expect(isClose(shares(own: 0, listed: [1, 1, 2], serving: [1, 1, 2], callers: [3, 0, 0]), [0.25, 0.25, 0.5]))
    #expect(shares(own: 1, listed: [1, 1], serving: [1, 1], callers: [1, 0]) == [0, 1])
  }

  @Test("without an own zone by capacity; with all zones failed whatever serves; with nothing none")
  func edges() {
    #expect(isClose(shares(own: nil, listed: [1, 3], serving: [1, 3]), [0.25, 0.75]))
    #expect(isClose(shares(own: 0, listed: [10, 10], serving: [1, 3]), [0.5, 0.5]))
    var choice = ZoneChoice(own: 0, listed: [2, 2])
    choice.update(serving: [0, 0])
    #expect(choice.choose(draw: 5) == .none)
    choice.update(serving: [0, 1])
    #expect(choice.choose(draw: 5) == .zone(1) && choice.choose(draw: .max) == .zone(1))
    #expect(ZoneChoice(own: nil, listed: []).choose(draw: 0) == .none)
  }

  // Invariant 2, the closed form: Σ over callers' zones of demand × share = share of capacity. All fleets of three zones
  // with up to 4 listed, any number of them serving, and any callers.
  @Test("every small fleet: each zone gets exactly its share of capacity, and no zone sends away what it could keep")
  func closedForm() {
    for bits in 0..<(1 << 12) {
      let listed = (0..<3).map { 1 + bits >> ($0 * 4) & 3 }
      let serving = (0..<3).map { min(listed[$0], bits >> ($0 * 4 + 2) & 3) }
      for callers in [listed, [1, 1, 1], [5, 1, 0]] {
        var reached = [0.0, 0, 0]
        let demand = callers.map { Double($0) / Double(callers.reduce(0, +)) }
        var capacity = (0..<3).map { zone -> Double in
          let share = Double(serving[zone]) / Double(listed[zone])
          return share < 0.5 ? 0 : Double(listed[zone]) * min(1, 1.4 * share)
        }
        if capacity.allSatisfy({ $0 == 0 }) { capacity = serving.map(Double.init) }
        let sum = capacity.reduce(0, +)
        if sum == 0 { continue }
        for own in 0..<3 where demand[own] > 0 {
          let shares = shares(own: own, listed: listed, serving: serving, callers: callers)
          for zone in 0..<3 {
            reached[zone] += demand[own] * shares[zone]
            if capacity[zone] == 0 { #expect(shares[zone] == 0) }
          }
          if capacity[own] / sum >= demand[own] { #expect(shares[own] == 1) }
        }
        for zone in 0..<3 {
          #expect(abs(reached[zone] - capacity[zone] / sum) < 1e-9, "\(listed) \(serving) \(callers) \(reached)")
        }
      }
    }
  }

  @Test("draws hit the zones by their shares; one draw, one zone")
  func draws() {
    var choice = ZoneChoice(own: 0, listed: [4, 4, 4])
    choice.update(serving: [2, 4, 4])
    var random = SeededRandom(seed: 1)
    var counts = [0.0, 0, 0]
    for _ in 0..<100_000 {
      let draw = random.next()
      if case .zone(let zone) = choice.choose(draw: draw) { counts[zone] += 1 }
      #expect(choice.choose(draw: draw) == choice.choose(draw: draw))
    }
    for zone in 0..<3 { #expect(abs(counts[zone] / 100_000 - choice.share(zone)) < 0.007) }
  }
}
