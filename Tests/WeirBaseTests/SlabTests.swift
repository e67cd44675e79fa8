// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase

struct SlabTests {
  @Test("a stale slot is recognised after its place has another tenant")
  func generations() {
    var slab = Slab<Int>()
    let first = slab.insert(1)
    slab.remove(first)
    #expect(!slab.isLive(first))
    let second = slab.insert(2)
    #expect(second.index == first.index && second.generation != first.generation)
    #expect(!slab.isLive(first) && slab.isLive(second))
    #expect(!slab.isLive(.none))
    slab[second] += 5
    #expect(slab[second] == 7)
    #expect(slab.count == 1)
  }

  /// Against a list of what should be live, over random inserts and removals.
  @Test("keeps what is live and nothing else", arguments: 0..<50 as Range<UInt64>)
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var slab = Slab<Int>(reserving: 8)
    var live: [(Slot, Int)] = []
    var dead: [Slot] = []
    for step in 0..<500 {
      if live.isEmpty || random.chance(0.55) {
        live.append((slab.insert(step), step))
      } else {
        let (slot, value) = live.remove(at: random.index(below: live.count))
        #expect(slab[slot] == value)
        slab.remove(slot)
        dead.append(slot)
      }
      #expect(slab.count == live.count, "seed \(seed), step \(step)")
    }
    for (slot, value) in live { #expect(slab.isLive(slot) && slab[slot] == value) }
    for slot in dead { #expect(!slab.isLive(slot)) }
  }
}
