// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct ControlledDelayTests {
  private func at(_ microseconds: Int64) -> Instant { Instant(nanoseconds: microseconds * 1_000) }

  /// GROUND_TRUTH GT-TB: the spacing of drops, interval ÷ √k: 100, 70.711, 57.735, 50, 44.721, 40.825, 37.796, 35.355 ms.
  @Test("the spacing of drops in a queue that stands")
  func spacing() {
    var delay = ControlledDelay()
    var drops: [Int64] = []
    // One leaves each microsecond, each after a wait of 50 ms.
    for microsecond in Int64(1)...600_000 where delay.drops(wait: 50_000_000, isLast: false, now: at(microsecond)) {
      drops.append(microsecond)
    }
    #expect(drops.first == 100_001)
    let truth = [100.0, 70.711, 57.735, 50, 44.721, 40.825, 37.796, 35.355]
    for (index, spacing) in truth.enumerated() where index + 1 < drops.count {
      #expect(abs(Double(drops[index + 1] - drops[index]) / 1000 - spacing) < 0.003)
    }
    #expect(drops.count >= 9)
  }

  @Test(
    "one that waited less than the target, or the last one, ends the spell and is not dropped",
    arguments: [true, false])
  func ends(isLast: Bool) {
    var delay = ControlledDelay()
    _ = delay.drops(wait: 6_000_000, isLast: false, now: at(1))
    #expect(delay.drops(wait: 6_000_000, isLast: false, now: at(100_000)) == false)
    #expect(delay.drops(wait: 6_000_000, isLast: false, now: at(100_001)) == true)
    #expect(delay.isDropping)
    #expect(delay.drops(wait: isLast ? 6_000_000 : 4_999_999, isLast: isLast, now: at(900_000)) == false)
    #expect(!delay.isDropping)
    #expect(delay.drops(wait: 6_000_000, isLast: false, now: at(900_001)) == false)
  }

  @Test("a spell soon after another goes on at its pace")
  func resumes() {
    var delay = ControlledDelay()
    var drops = 0
    for microsecond in Int64(1)...500_000 where delay.drops(wait: 9_000_000, isLast: false, now: at(microsecond)) {
      drops += 1
    }
    _ = delay.drops(wait: 0, isLast: false, now: at(500_001))
    var second: [Int64] = []
    for microsecond in Int64(500_002)...700_000 where delay.drops(wait: 9_000_000, isLast: false, now: at(microsecond))
    {
      second.append(microsecond)
    }
    #expect(drops >= 6 && second.count >= 2)
    #expect(second[1] - second[0] < 50_000, "a fresh spell would wait 100 ms")
  }

  @Test("walk", arguments: PatternSeeds.seeds(50))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var delay = ControlledDelay()
    var now = Instant.zero
    for step in 0..<2_000 {
      now = now.advanced(by: random.nanoseconds(upTo: 5_000_000))
      let wait = random.nanoseconds(upTo: step / 200 % 2 == 0 ? 30_000_000 : 7_000_000)
      let drops = delay.drops(wait: wait, isLast: random.chance(0.05), now: now)
      if drops, wait < 5_000_000 {
        return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): dropped after \(wait) ns")
      }
      if let violation = delay.violation() { return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(violation)") }
    }
  }
}
