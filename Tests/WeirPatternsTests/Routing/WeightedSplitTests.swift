// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct WeightedSplitTests {
  @Test(
    "shares are the weights; weight 0 gets nothing",
    arguments: [[95, 5], [1], [0, 1], [1, 0], [1, 0, 2, 3, 0], [1_000_000, 1]])
  func shares(weights: [Int]) {
    let split = WeightedSplit(weights: weights, salt: 7)
    #expect(split.violation() == nil && split.count == weights.count)
    var random = SeededRandom(seed: 1)
    let draws = 100_000
    var keyed = [Double](repeating: 0, count: weights.count)
    var drawn = keyed
    for key in 0..<draws {
      keyed[split.choose(key: UInt64(key))] += 1
      drawn[split.choose(using: &random)] += 1
    }
    let sum = Double(weights.reduce(0, +))
    for (index, weight) in weights.enumerated() {
      let p = Double(weight) / sum
      let error = 4.5 * (p * (1 - p) / Double(draws)).squareRoot()
      #expect(abs(keyed[index] / Double(draws) - p) <= error && abs(drawn[index] / Double(draws) - p) <= error)
    }
  }

  @Test("a canary that grows takes clients, and gives none back; from 0 to all")
  func grows() {
    var before = (0..<5_000).map { _ in 0 }
    for canary in stride(from: 0, through: 100, by: 5) {
      let split = WeightedSplit(weights: [100 - canary, canary], salt: 3)
      let now = (0..<5_000).map { split.choose(key: UInt64($0)) }
      for key in 0..<5_000 where before[key] == 1 { #expect(now[key] == 1) }
      before = now
    }
    #expect(before.allSatisfy { $0 == 1 })
  }

  @Test("two routes try their canaries on different clients")
  func salted() {
    let (a, b) = (WeightedSplit(weights: [9, 1], salt: 1), WeightedSplit(weights: [9, 1], salt: 2))
    let both = (0..<100_000).count { a.choose(key: UInt64($0)) == 1 && b.choose(key: UInt64($0)) == 1 }
    // Independent: 1 % of both, ± 4 standard errors.
    #expect(abs(both - 1_000) < 130)
  }

  @Test("mirror: the share, nested as it grows, none and all at the ends, other than the split's clients")
  func mirror() {
    var taken = [Bool](repeating: false, count: 20_000)
    for percent in [0, 1, 10, 50, 100] {
      let mirror = MirrorShare(share: Double(percent) / 100, salt: 5)
      let now = (0..<20_000).map { mirror.takes(UInt64($0)) }
      for key in 0..<20_000 where taken[key] { #expect(now[key]) }
      #expect(abs(now.count { $0 } - percent * 200) < (percent % 100 == 0 ? 1 : 300))
      taken = now
    }
    #expect(!MirrorShare(share: .nan, salt: 0).takes(1) && !MirrorShare(share: -1, salt: 0).takes(1))
    let (split, mirror) = (WeightedSplit(weights: [1, 1], salt: 5), MirrorShare(share: 0.5, salt: 5))
    let both = (0..<20_000).count { split.choose(key: UInt64($0)) == 0 && mirror.takes(UInt64($0)) }
    #expect(abs(both - 5_000) < 300)
  }
}
