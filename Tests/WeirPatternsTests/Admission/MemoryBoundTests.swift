// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct MemoryBoundTests {
  /// Each boundary from both sides, up and down again.
  @Test(
    "waits first, refuses later, and lets go a little lower",
    arguments: [
      ([849], MemoryBound.Level.open), ([850], .pausing), ([949], .pausing), ([950], .refusing), ([2000], .refusing),
      ([850, 800], .pausing), ([850, 799], .open), ([950, 900], .refusing), ([950, 899], .pausing),
      ([950, 850], .pausing), ([950, 800], .pausing), ([950, 799], .open), ([950, 899, 949], .pausing),
      ([950, 0, 849], .open),
    ])
  func boundaries(_ held: [Int], _ level: MemoryBound.Level) {
    var bound = MemoryBound(MemoryBound.Settings(limit: 1000))
    for amount in held {
      _ = bound.look(held: amount)
      #expect(bound.violation() == nil)
    }
    #expect(bound.level == level)
  }

  @Test("a change is told once")
  func told() {
    var bound = MemoryBound(MemoryBound.Settings(limit: 1000))
    #expect(bound.look(held: 0) == .none)
    #expect(bound.look(held: 900) == .entered(.pausing))
    #expect(bound.look(held: 900) == .none)
    #expect(bound.look(held: 1000) == .entered(.refusing))
    #expect(bound.look(held: 100) == .entered(.open))
  }

  @Test("a walk: never the wrong level, no flutter, open again when all is given back", arguments: 0..<200)
  func walk(seed: Int) {
    var random = SeededRandom(seed: UInt64(seed))
    let limit = 1 + Int(random.next() % 1_000_000)
    var bound = MemoryBound(MemoryBound.Settings(limit: limit))
    var held = 0
    for step in 0..<500 {
      held = max(0, held + Int(random.next() % UInt64(limit / 5 + 2)) - limit / 10)
      _ = bound.look(held: held)
      #expect(bound.violation() == nil, "seed \(seed), step \(step): \(bound.violation() ?? "")")
      #expect(bound.look(held: held) == .none, "seed \(seed), step \(step): flutters")
    }
    _ = bound.look(held: 0)
    #expect(bound.level == .open)
  }
}
