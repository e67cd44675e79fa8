// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct InstanceGroupsTests {
  typealias Label = InstanceGroups.Label

  @Test("zones: each instance in its own, those without one in none")
  func zones() {
    var groups = InstanceGroups(count: 2, groupOf: [0, 1, 0, -1])
    groups.update(serving: [3, 2, 1])
    #expect(groups.serving(0) == [2] && groups.serving(1) == [1] && groups.serving == [3, 2, 1])
    #expect(groups.holds(0, group: 0) && !groups.holds(3, group: 0) && groups.count == 2)
    #expect(groups.violation() == nil)
  }

  @Test("subsets: who bears all labels; a subset without anybody, with and without a fallback")
  func subsets() {
    var groups = InstanceGroups(
      subsets: [[Label("tier", "gold")], [Label("tier", "gold"), Label("size", "l")], [Label("tier", "tin")], []],
      labels: [[Label("tier", "gold")], [Label("size", "l"), Label("tier", "gold")], []])
    groups.update(serving: [0, 1, 2])
    #expect(groups.serving(0) == [0, 1] && groups.serving(1) == [1] && groups.serving(3) == [0, 1, 2])
    #expect(groups.serving(2) == [] && groups.serving(2, or: .any) == [0, 1, 2])
    groups.update(serving: [0])
    #expect(groups.serving(1) == [] && groups.serving(1, or: .none) == [] && groups.serving(1, or: .any) == [0])
  }

  @Test("walk: as filtering anew each time", arguments: PatternSeeds.seeds(100))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let count = 1 + random.index(below: 130)
    let groupOf = (0..<count).map { _ in random.index(below: 4) - 1 }
    var groups = InstanceGroups(count: 3, groupOf: groupOf)
    for step in 0..<50 {
      let serving = (0..<count).filter { _ in random.chance(0.6) }
      groups.update(serving: serving.map { UInt16($0) })
      for group in 0..<3 {
        let expected = serving.filter { groupOf[$0] == group }
        if groups.serving(group).map(Int.init) != expected || groups.violation() != nil {
          return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(groups.serving(group))")
        }
      }
    }
  }
}
