// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct SequencerTests {
  /// A sequencer with its answers, as its owner sees it.
  private struct Desk {
    var sequencer: Sequencer
    var handedOn: [Int64] = []
    var changes: [Sequencer.Change] = []

    init(_ set: (inout Sequencer.Settings) -> Void = { _ in }) {
      var settings = Sequencer.Settings()
      set(&settings)
      sequencer = Sequencer(settings)
    }

    mutating func offer(_ number: Int64, of stream: UInt64 = 1, at now: Instant = .zero) -> Sequencer.Answer {
      var ready: [Sequencer.Ready] = []
      let answer = sequencer.offer(number, of: stream, token: number * 10, now: now, into: &ready)
      handedOn += ready.map(\.number)
      #expect(ready.allSatisfy { $0.token == $0.number * 10 && $0.stream == stream })
      #expect(sequencer.violation() == nil)
      return answer
    }

    mutating func tick(at now: Instant) {
      var ready: [Sequencer.Ready] = []
      while sequencer.tick(2, now: now, into: &changes, ready: &ready) == 2 {}
      handedOn += ready.map(\.number)
      #expect(sequencer.violation() == nil && sequencer.nextWake > now)
    }
  }

  @Test("in order: handed on; ahead: kept until those before it have come; again: a duplicate")
  func order() {
    var desk = Desk()
    #expect(desk.offer(1) == .delivered)
    #expect(desk.offer(1) == .duplicate)
    #expect(desk.offer(3) == .kept)
    #expect(desk.offer(3) == .duplicate)
    #expect(desk.offer(5) == .kept)
    #expect(desk.handedOn == [1] && desk.sequencer.kept == 2 && desk.sequencer.gapCount == 1)
    #expect(desk.offer(2) == .delivered)
    #expect(desk.handedOn == [1, 2, 3])
    #expect(desk.offer(4) == .delivered)
    #expect(desk.handedOn == [1, 2, 3, 4, 5])
    #expect(desk.sequencer.kept == 0 && desk.sequencer.gapCount == 0)
    #expect(desk.sequencer.position(of: 1) == 6 && desk.sequencer.position(of: 2) == nil)
    #expect(desk.offer(7, of: 2) == .kept, "streams are each their own")
    #expect(desk.offer(0, of: 3) == .duplicate, "streams are each their own")
  }

  /// Holes wait side by side: 2, 4 and 6 are lost, and all is handed on when the first event beyond each is 30 s old.
  @Test("a gap is skipped and told to the nanosecond when it has lasted too long")
  func skip() {
    var desk = Desk()
    for number in [1, 3, 5, 7] as [Int64] { _ = desk.offer(number, at: .s(Double(number))) }
    #expect(desk.sequencer.nextWake == .s(33))
    desk.tick(at: Instant(nanoseconds: 32_999_999_999))
    #expect(desk.handedOn == [1])
    desk.tick(at: .s(33))
    #expect(desk.changes == [.init(stream: 1, atGap: .skip, first: 2, last: 2)] && desk.handedOn == [1, 3])
    #expect(desk.offer(2, at: .s(34)) == .duplicate, "what was skipped comes too late")
    desk.tick(at: .s(35))
    desk.tick(at: .s(37))
    #expect(desk.handedOn == [1, 3, 5, 7] && desk.changes.map(\.first) == [2, 4, 6])
  }

  /// 9 has shown at 0 s that 2 is missing; that 5 comes later does not make the wait longer.
  @Test("the wait begins with the first event from beyond, not with the lowest")
  func since() {
    var desk = Desk()
    _ = desk.offer(1)
    #expect(desk.offer(9, at: .s(0)) == .kept)
    #expect(desk.offer(5, at: .s(20)) == .kept)
    desk.tick(at: .s(30))
    #expect(desk.handedOn == [1, 5, 9] && desk.changes.map(\.last) == [4, 8])
  }

  @Test("told to stop, a stream waits for the missing one or an operator, and others go on")
  func stop() {
    var desk = Desk { $0.atGap = .stop }
    for stream in [1, 2] as [UInt64] {
      _ = desk.offer(1, of: stream)
      _ = desk.offer(3, of: stream)
    }
    desk.tick(at: .s(30))
    #expect(desk.changes.map(\.atGap) == [.stop, .stop] && desk.handedOn == [1, 1])
    #expect(desk.sequencer.isStopped(1) && desk.sequencer.nextWake == .distantFuture)
    #expect(desk.offer(4, of: 1, at: .s(31)) == .kept)
    #expect(desk.offer(1, of: 3, at: .s(31)) == .delivered)
    #expect(desk.offer(2, of: 1, at: .s(40)) == .delivered)
    #expect(desk.handedOn.suffix(3) == [2, 3, 4])
    #expect(!desk.sequencer.isStopped(1) && desk.sequencer.isStopped(2))
    var ready: [Sequencer.Ready] = []
    #expect(desk.sequencer.skip(2, now: .s(50), into: &ready) == .init(stream: 2, atGap: .skip, first: 2, last: 2))
    #expect(ready.map(\.number) == [3])
    #expect(desk.sequencer.skip(2, now: .s(50), into: &ready) == nil)
  }

  /// The second hole of a stream that had stopped at the first is a gap like any.
  @Test("a stream that goes on stops again at its next hole, and tells it")
  func stopAgain() {
    var desk = Desk { $0.atGap = .stop }
    for number in [1, 3, 5] as [Int64] { _ = desk.offer(number) }
    desk.tick(at: .s(30))
    #expect(desk.offer(2, at: .s(31)) == .delivered)
    #expect(desk.handedOn == [1, 2, 3] && !desk.sequencer.isStopped(1))
    desk.tick(at: .s(61))
    #expect(desk.changes.map(\.first) == [2, 4] && desk.sequencer.isStopped(1))
  }

  @Test("what finds no room comes again, and its gap ends all the same")
  func full() {
    var desk = Desk {
      $0.ahead = 3
      $0.buffer = 2
    }
    #expect(desk.offer(5) == .full, "4 from 1: too far")
    #expect(desk.offer(4) == .kept, "two are kept")
    #expect(desk.offer(3) == .kept, "two are kept")
    #expect(desk.offer(2) == .full, "two are kept")
    desk.tick(at: .s(30))
    #expect(desk.changes == [.init(stream: 1, atGap: .skip, first: 1, last: 1)] && desk.handedOn == [])
    #expect(desk.offer(2, at: .s(31)) == .delivered)
    #expect(desk.handedOn == [2, 3, 4])
    #expect(desk.offer(5, at: .s(31)) == .delivered)
    // A consumer that begins in the middle of a stream, further than it looks ahead.
    #expect(desk.offer(1_000, of: 2, at: .s(40)) == .full)
    desk.tick(at: .s(70))
    #expect(desk.offer(1_000, of: 2, at: .s(71)) == .delivered)
  }

  @Test("as many streams as may be, others when some are forgotten; restored ones go on where they were")
  func streams() {
    var desk = Desk { $0.streams = 2 }
    #expect(desk.offer(1, of: 1) == .delivered)
    #expect(desk.offer(2, of: 2) == .kept)
    #expect(desk.offer(1, of: 3) == .tooManyStreams)
    #expect(desk.sequencer.restore(3, position: 7) == false)
    desk.sequencer.forget(2)
    #expect(desk.sequencer.kept == 0 && desk.sequencer.violation() == nil)
    #expect(desk.sequencer.restore(3, position: 7) == true)
    #expect(desk.offer(6, of: 3) == .duplicate)
    #expect(desk.offer(7, of: 3) == .delivered)
  }

  /// A world of streams whose events are delayed, doubled, and brought again until they are taken.
  ///
  /// A set and a list a stream say what is right.
  @Test(
    "walks: each once, in order, without holes but the told ones, and all of it in the end",
    arguments: PatternSeeds.seeds(200))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "sequencer")
    var settings = Sequencer.Settings()
    settings.wait = .seconds(5)
    settings.ahead = 2 + random.index(below: 10)
    settings.buffer = 1 + random.index(below: 12)
    var sequencer = Sequencer(settings)
    var sent = [Int64](repeating: 0, count: 3)
    var under: [(stream: Int, number: Int64)] = []
    var got = [[Int64]](repeating: [], count: 3)
    var skipped = [Set<Int64>](repeating: [], count: 3)
    var lost = [Set<Int64>](repeating: [], count: 3)
    var now = Instant.zero
    var changes: [Sequencer.Change] = []
    var ready: [Sequencer.Ready] = []
    func wrong(_ what: String) { PatternSeeds.fail("WEIR_SEED=\(seed): \(what)") }
    for step in 0..<600 {
      now = now.advanced(by: random.nanoseconds(upTo: 400_000_000))
      if step < 400, random.chance(0.7) {
        let stream = random.index(below: 3)
        sent[stream] += 1
        let number = sent[stream]
        if random.chance(0.1) { lost[stream].insert(number) } else { under.append((stream, number)) }
        if random.chance(0.2), !lost[stream].contains(number) { under.append((stream, number)) }
      }
      ready.removeAll()
      if !under.isEmpty {
        // Mostly the oldest, so that some overtake others and no gap lasts for ever by chance.
        let place = random.chance(0.6) ? 0 : random.index(below: under.count)
        let event = under.remove(at: place)
        let answer = sequencer.offer(
          event.number, of: UInt64(event.stream), token: event.number, now: now, into: &ready)
        let isOld = got[event.stream].contains(event.number) || skipped[event.stream].contains(event.number)
        switch answer {
        case .delivered: if ready.first?.number != event.number { wrong("delivered \(event), not itself") }
        case .kept: if isOld { wrong("kept \(event), which was there") }
        case .duplicate: break
        case .full: under.append(event)
        case .tooManyStreams: wrong("too many")
        }
        if isOld && answer != .duplicate { wrong("\(event) again: \(answer)") }
      }
      if random.chance(0.5) {
        while sequencer.tick(1, now: now, into: &changes, ready: &ready) == 1 {}
        if sequencer.nextWake <= now { wrong("after a tick there is nothing left for now") }
      }
      for change in changes {
        for number in change.first...change.last { skipped[Int(change.stream)].insert(number) }
      }
      changes.removeAll()
      for one in ready { got[Int(one.stream)].append(one.number) }
      if let violation = sequencer.violation() { return wrong("step \(step): \(violation)") }
    }
    while sequencer.nextWake < .distantFuture || !under.isEmpty {
      ready.removeAll()
      if let event = under.popLast() {
        if sequencer.offer(event.number, of: UInt64(event.stream), token: 0, now: now, into: &ready) == .full {
          under.insert(event, at: 0)
        }
      }
      now = max(now, sequencer.nextWake == .distantFuture ? now : sequencer.nextWake)
      while sequencer.tick(10, now: now, into: &changes, ready: &ready) == 10 {}
      for change in changes {
        for number in change.first...change.last { skipped[Int(change.stream)].insert(number) }
      }
      changes.removeAll()
      for one in ready { got[Int(one.stream)].append(one.number) }
    }
    #expect(sequencer.kept == 0, "WEIR_SEED=\(seed)")
    for stream in 0..<3 {
      #expect(zip(got[stream], got[stream].dropFirst()).allSatisfy { $0 < $1 }, "WEIR_SEED=\(seed): in order, once")
      let all = Set(got[stream])
      let position = sequencer.position(of: UInt64(stream)) ?? 1
      for number in 1..<max(1, position) where !all.contains(number) {
        #expect(skipped[stream].contains(number), "WEIR_SEED=\(seed): \(number) of \(stream) is missing, and not told")
      }
      #expect(all.isDisjoint(with: skipped[stream]), "WEIR_SEED=\(seed)")
    }
  }
}
