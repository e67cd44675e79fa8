// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct LeaseTests {
  private static func at(_ milliseconds: Int64) -> WallTime { WallTime(milliseconds: milliseconds) }
  private static func owner(_ number: UInt64) -> Lease.Owner { .init(high: 0, low: number) }

  /// 15 s and a margin of 1 s, as they come.
  @Test("held by one, renewed, taken over when it is over and the margin with it, to the millisecond")
  func life() {
    var lease = Lease()
    #expect(lease.acquire(by: Self.owner(1), now: Self.at(0)) == .held(token: 1))
    #expect(lease.acquire(by: Self.owner(2), now: Self.at(5)) == .taken(until: Self.at(16_000)))
    #expect(lease.acquire(by: Self.owner(1), now: Self.at(10)) == .held(token: 1), "the answer was lost")
    #expect(lease.renew(by: Self.owner(1), token: 1, now: Self.at(5000)) == true)
    #expect(lease.renew(by: Self.owner(2), token: 1, now: Self.at(5000)) == false)
    #expect(lease.renew(by: Self.owner(1), token: 2, now: Self.at(5000)) == false)
    #expect(lease.acquire(by: Self.owner(2), now: Self.at(20_999)) == .taken(until: Self.at(21_000)))
    var late = lease
    #expect(late.renew(by: Self.owner(1), token: 1, now: Self.at(20_000)) == false)
    #expect(late.acquire(by: Self.owner(1), now: Self.at(20_000)) == .held(token: 2), "its own, under a new token")
    #expect(lease.acquire(by: Self.owner(2), now: Self.at(21_000)) == .held(token: 2))
    #expect(lease.renew(by: Self.owner(1), token: 1, now: Self.at(21_000)) == false)
    #expect(lease.release(by: Self.owner(1), token: 1) == false)
    #expect(lease.release(by: Self.owner(2), token: 2) == true)
    #expect(lease.release(by: Self.owner(2), token: 2) == false)
    #expect(lease.acquire(by: Self.owner(3), now: Self.at(21_001)) == .held(token: 3), "free at once")
    #expect(lease.violation() == nil)
  }

  @Test("a hold counts from when it was asked for, and says when to renew")
  func hold() {
    var hold = Lease.Hold(token: 4, asked: .s(10))
    #expect(hold.nextWake == .s(15) && hold.until == .s(25))
    #expect(hold.isHeld(now: Instant(nanoseconds: 24_999_999_999)) && !hold.isHeld(now: .s(25)))
    #expect(hold.isHeld(now: .s(20), for: .milliseconds(4999)) && !hold.isHeld(now: .s(20), for: .seconds(5)))
    hold.renewed(asked: .s(15))
    hold.renewed(asked: .s(12))
    #expect(hold.until == .s(30))
  }

  @Test("a fence admits the newest token again and again, and no older one")
  func fence() {
    var fence = Lease.Fence()
    let tokens: [UInt64] = [1, 1, 3, 3, 2, 3, 1]
    var admitted: [Bool] = []
    for token in tokens { admitted.append(fence.admit(token)) }
    #expect(admitted == [true, true, true, true, false, true, false] && fence.highest == 3)
  }

  // MARK: Everything that can happen

  /// Two processes, a store and a thing that is written to, on a line of whole milliseconds.
  private struct World: Hashable {
    var now: Int64 = 0
    var lease = Lease()
    var fence = Lease.Fence()
    var holders = [Holder(), Holder()]
    /// Tokens of writes on their way.
    var writes: Set<UInt64> = []
    var admitted: UInt64 = 0
  }

  private struct Holder: Hashable {
    var hold: Lease.Hold?
    /// On its way back: when it was asked, and the token; nil: no.
    var answer: Answer?
  }

  private struct Answer: Hashable {
    var asked: Int64
    var token: UInt64?
  }

  private struct Seen {
    var worlds = 0
    var overlaps = 0
    var refused = 0
    var takenOver = 0
  }

  /// All interleavings up to a moment: answers late or lost, releases, writes that arrive when they like.
  ///
  /// The second process's clock runs at three quarters. A request is at the store at once, which is the worst for a hold: it
  /// counts from when it was asked for.
  private func explore(margin: Int, until end: Int64) -> Seen {
    var settings = Lease.Settings()
    settings.length = .milliseconds(3)
    settings.margin = .milliseconds(margin)
    func clock(_ who: Int, _ now: Int64) -> Instant { .ms(who == 0 ? now : now * 3 / 4) }
    var seen = Seen()
    var known: Set<World> = [World()]
    var queue = [World()]
    var next = 0
    while next < queue.count {
      let world = queue[next]
      next += 1
      func push(_ world: World) { if known.insert(world).inserted { queue.append(world) } }
      let holding = (0..<2).filter { world.holders[$0].hold?.isHeld(now: clock($0, world.now)) ?? false }
      if holding.count == 2 { seen.overlaps += 1 }
      let tokens = world.holders.compactMap { $0.hold?.token }
      if tokens.count == 2 && tokens[0] == tokens[1] { PatternSeeds.fail("one token for two: \(world)") }
      if world.lease.violation() != nil { PatternSeeds.fail("\(world)") }
      if world.now < end {
        var later = world
        later.now += 1
        // What it knows to be over it forgets.
        for who in 0..<2 where !(later.holders[who].hold?.isHeld(now: clock(who, later.now)) ?? true) {
          later.holders[who].hold = nil
        }
        push(later)
      }
      for who in 0..<2 {
        let me = Self.owner(UInt64(who))
        if let answer = world.holders[who].answer {
          var told = world
          told.holders[who].answer = nil
          // The answer is lost.
          push(told)
          told.holders[who].hold = answer.token.map {
            Lease.Hold(token: $0, asked: clock(who, answer.asked), settings)
          }
          push(told)
        } else if world.lease.token < 3 || holding.contains(who) {
          // Three tokens are enough to be confused by; released and taken again they would never end.
          var asked = world
          if holding.contains(who), let token = world.holders[who].hold?.token {
            let isTaken = asked.lease.renew(by: me, token: token, now: Self.at(world.now), settings)
            asked.holders[who].answer = Answer(asked: world.now, token: isTaken ? token : nil)
          } else {
            switch asked.lease.acquire(by: me, now: Self.at(world.now), settings) {
            case .held(let token):
              if token <= world.lease.token && world.lease.owner != me { PatternSeeds.fail("a token twice: \(world)") }
              if let before = world.lease.owner, before != me { seen.takenOver += 1 }
              asked.holders[who].answer = Answer(asked: world.now, token: token)
            case .taken(let until):
              if until <= Self.at(world.now) { PatternSeeds.fail("free, and refused: \(world)") }
              asked.holders[who].answer = Answer(asked: world.now, token: nil)
            }
          }
          push(asked)
        }
        if holding.contains(who), let hold = world.holders[who].hold {
          if world.writes.count < 2 {
            var writing = world
            writing.writes.insert(hold.token)
            push(writing)
          }
          var released = world
          released.holders[who] = Holder()
          _ = released.lease.release(by: me, token: hold.token)
          push(released)
        }
      }
      for token in world.writes {
        var arrived = world
        arrived.writes.remove(token)
        if arrived.fence.admit(token) {
          if token < world.admitted { PatternSeeds.fail("an old write after a new one: \(world)") }
          arrived.admitted = token
        } else {
          if token >= world.admitted { PatternSeeds.fail("a good write is refused: \(world)") }
          seen.refused += 1
        }
        push(arrived)
      }
    }
    seen.worlds = known.count
    return seen
  }

  @Test("with a margin as large as what the clocks are off, never two hold it; a stale token is always refused")
  func exploreMargin() {
    let seen = explore(margin: 1, until: 4)
    #expect(seen.overlaps == 0)
    #expect(seen.worlds > 1000 && seen.refused > 0 && seen.takenOver > 0, "\(seen)")
  }

  /// The margin is needed, the exploration would see it, and the fence holds where the clocks do not.
  @Test("without a margin two do hold it, and the fence still refuses the stale one")
  func exploreWithout() {
    let seen = explore(margin: 0, until: 4)
    #expect(seen.overlaps > 0 && seen.refused > 0, "\(seen)")
  }
}
