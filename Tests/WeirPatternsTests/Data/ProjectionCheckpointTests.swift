// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct ProjectionCheckpointTests {
  private func settings(window: Int, every: Int = 256) -> ProjectionCheckpoint.Settings {
    var settings = ProjectionCheckpoint.Settings()
    settings.window = window
    settings.saveEvery = every
    return settings
  }

  @Test("moves over what is done without a gap, and no further")
  func moves() {
    var checkpoint = ProjectionCheckpoint()
    #expect(checkpoint.take(3, head: 10) == .positions(1...3))
    #expect(checkpoint.complete(2, generation: 0, now: .zero) == .noted)
    #expect(checkpoint.complete(3, generation: 0, now: .zero) == .noted)
    #expect(checkpoint.point.position == 0 && checkpoint.isDone(2) && !checkpoint.isDone(1))
    #expect(checkpoint.complete(2, generation: 0, now: .zero) == .already)
    #expect(checkpoint.complete(1, generation: 0, now: .zero) == .moved(to: 3))
    #expect(checkpoint.complete(1, generation: 0, now: .zero) == .already)
    #expect(checkpoint.complete(4, generation: 0, now: .zero) == .stale, "never taken")
    #expect(checkpoint.complete(0, generation: 0, now: .zero) == .stale)
    #expect(checkpoint.take(100, head: 10) == .positions(4...10))
    #expect(checkpoint.take(100, head: 10) == .atHead)
    #expect(checkpoint.lag(head: 10) == 7)
  }

  @Test(
    "one that never ends stops the reading when the window is full, and names itself",
    arguments: [1, 2, 63, 64, 65, 1000])
  func window(size: Int) {
    var checkpoint = ProjectionCheckpoint(at: .init(generation: 3, position: 500), settings(window: size))
    let last = 500 + Int64(size)
    #expect(checkpoint.take(10_000, head: 10_000) == .positions(501...last))
    for position in 501...last where position > 501 {
      #expect(checkpoint.complete(position, generation: 3, now: .zero) == .noted)
    }
    #expect(checkpoint.take(1, head: 10_000) == .full(oldest: 501))
    #expect(checkpoint.complete(501, generation: 3, now: .zero) == .moved(to: last))
    #expect(checkpoint.take(1, head: 10_000) == .positions(last + 1...last + 1))
    #expect(checkpoint.violation() == nil)
  }

  @Test("saved after so many positions or so long, whichever comes first")
  func saving() {
    var checkpoint = ProjectionCheckpoint(settings(window: 100, every: 3))
    _ = checkpoint.take(100, head: 100)
    #expect(checkpoint.toSave(now: .s(100)) == nil && checkpoint.nextWake == nil)
    _ = checkpoint.complete(1, generation: 0, now: .s(100))
    #expect(checkpoint.nextWake == .s(101))
    #expect(checkpoint.toSave(now: Instant(nanoseconds: 100_999_999_999)) == nil)
    #expect(checkpoint.toSave(now: .s(101)) == .init(position: 1))
    _ = checkpoint.complete(2, generation: 0, now: .s(100))
    #expect(checkpoint.toSave(now: .s(100)) == nil)
    _ = checkpoint.complete(3, generation: 0, now: .s(100))
    #expect(checkpoint.toSave(now: .s(100)) == .init(position: 3))
    // It moves on while it is written.
    _ = checkpoint.complete(4, generation: 0, now: .s(100))
    checkpoint.saved(.init(position: 3), now: .s(105))
    #expect(checkpoint.nextWake == .s(106) && checkpoint.toSave(now: .s(105)) == nil)
    checkpoint.saved(.init(position: 4), now: .s(106))
    #expect(checkpoint.nextWake == nil)
    checkpoint.saved(.init(position: 2), now: .s(107))
    #expect(checkpoint.nextWake == nil)
  }

  @Test("a rebuild begins at the first position, and what was out counts for nothing")
  func rebuild() {
    var checkpoint = ProjectionCheckpoint(at: .init(position: 7), settings(window: 10))
    _ = checkpoint.take(3, head: 100)
    _ = checkpoint.complete(9, generation: 0, now: .zero)
    checkpoint.rebuild()
    #expect(checkpoint.toSave(now: .zero) == .init(generation: 1, position: 0) && checkpoint.nextWake == .zero)
    #expect(checkpoint.complete(8, generation: 0, now: .zero) == .stale)
    #expect(checkpoint.take(100, head: 100) == .positions(1...10))
    #expect(checkpoint.complete(8, generation: 0, now: .zero) == .stale)
    #expect(!checkpoint.isDone(9))
    checkpoint.saved(.init(generation: 0, position: 8), now: .zero)
    #expect(checkpoint.toSave(now: .zero) == .init(generation: 1, position: 0), "the old one is not the new one")
    checkpoint.saved(.init(generation: 1, position: 0), now: .zero)
    #expect(checkpoint.toSave(now: .zero) == nil && checkpoint.violation() == nil)
  }

  /// Works ended in any order, crashes, rebuilds: against a set, and against what was really done.
  @Test("walks: nothing is skipped, through crashes and rebuilds", arguments: resilienceSeeds(150))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "checkpoint")
    let settings = settings(window: 1 + random.index(below: 150), every: 1 + random.index(below: 20))
    var checkpoint = ProjectionCheckpoint(settings)
    var disk = ProjectionCheckpoint.Point()
    /// Positions done since the last rebuild, in whatever life.
    var done: Set<Int64> = []
    var out: [Int64] = []
    var head: Int64 = 0
    var now = Instant.zero
    for step in 0..<600 {
      now = now.advanced(by: Int64(random.index(below: 200_000_000)))
      head += Int64(random.index(below: 3))
      let before = checkpoint
      switch random.index(below: 100) {
      case 0:
        checkpoint = ProjectionCheckpoint(at: disk, settings)
        out = []
      case 1 where random.index(below: 4) == 0:
        checkpoint.rebuild()
        disk = checkpoint.point
        checkpoint.saved(disk, now: now)
        done = []
      // What is out goes on, and ends later.
      case 2..<40:
        switch checkpoint.take(1 + random.index(below: 10), head: head) {
        case .positions(let positions):
          #expect(
            positions.lowerBound == before.taken + 1 && positions.upperBound <= head, "WEIR_SEED=\(seed) step \(step)")
          out += positions
        case .atHead: #expect(before.taken == head, "WEIR_SEED=\(seed) step \(step)")
        case .full(let oldest):
          #expect(out.contains(oldest) && before.taken < head, "WEIR_SEED=\(seed) step \(step): \(oldest) is not out")
        }
      default:
        if out.isEmpty { continue }
        // Mostly the older ones, as in life; sometimes one twice.
        let index = random.index(below: 3) == 0 ? random.index(below: out.count) : 0
        let position = random.index(below: 20) == 0 ? out[index] : out.remove(at: index)
        let known = position <= checkpoint.taken
        if known { done.insert(position) }
        switch checkpoint.complete(position, generation: checkpoint.point.generation, now: now) {
        case .moved(let to): #expect(to > before.point.position && to == checkpoint.point.position)
        case .noted, .already: #expect(checkpoint.point == before.point)
        case .stale: #expect(!known, "WEIR_SEED=\(seed) step \(step)")
        }
      }
      if let point = checkpoint.toSave(now: now) {
        disk = point
        checkpoint.saved(point, now: now)
      }
      let position = checkpoint.point.position
      if position > 0, let missing = (1...position).first(where: { !done.contains($0) }) {
        return PatternSeeds.fail("WEIR_SEED=\(seed) step \(step): \(missing) was skipped")
      }
      if checkpoint.taken > position && checkpoint.isDone(position + 1) {
        return PatternSeeds.fail("WEIR_SEED=\(seed) step \(step): stands before \(position + 1), which is done")
      }
      if let wrong = checkpoint.violation() { return PatternSeeds.fail("WEIR_SEED=\(seed) step \(step): \(wrong)") }
    }
  }
}
