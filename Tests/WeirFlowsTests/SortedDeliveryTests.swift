// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

@Suite struct SortedDeliveryTests {
  private static func at(_ seconds: Double) -> Instant { Instant(nanoseconds: Int64(seconds * 1e9)) }

  private static func event(_ token: Int64, _ id: UInt64, number: Int64?, stream: UInt64 = 7) -> SortedDelivery.Event {
    SortedDelivery.Event(token: token, id: .init(high: id, low: 0), stream: stream, number: number)
  }

  private static func both(atOnce: Int = 4) -> SortedDelivery {
    SortedDelivery(.init(sequence: .init(), dedup: .init(), atOnce: atOnce))
  }

  @Test("one that comes early is kept until its turn, and goes when the one before it is done")
  func order() {
    var sorted = Self.both()
    var go: [Int64] = []
    #expect(sorted.came(Self.event(1, 2, number: 2), now: .zero, into: &go) == .taken)
    #expect(go.isEmpty)
    #expect(sorted.came(Self.event(2, 1, number: 1), now: .zero, into: &go) == .taken)
    #expect(go == [2], "one at a time")
    go = []
    sorted.ended(2, isOver: true, into: &go)
    #expect(go == [1])
    go = []
    sorted.ended(1, isOver: true, into: &go)
    #expect(go.isEmpty && sorted.count == 0 && sorted.out == 0)
    #expect(sorted.violation() == nil)
  }

  @Test("what failed keeps its turn, and those behind it wait for it")
  func retry() {
    var sorted = Self.both()
    var go: [Int64] = []
    _ = sorted.came(Self.event(1, 1, number: 1), now: .zero, into: &go)
    _ = sorted.came(Self.event(2, 2, number: 2), now: .zero, into: &go)
    #expect(go == [1])
    go = []
    sorted.ended(1, isOver: false, into: &go)
    #expect(go.isEmpty)
    #expect(sorted.came(Self.event(1, 1, number: 1), now: Self.at(1), into: &go) == .taken)
    #expect(go == [1])
    go = []
    sorted.ended(1, isOver: true, isDead: true, into: &go)
    #expect(go == [2], "a dead one's turn passes")
  }

  @Test("a copy is known, under whatever number of a message it comes")
  func copies() {
    var sorted = Self.both()
    var go: [Int64] = []
    _ = sorted.came(Self.event(1, 1, number: 1), now: .zero, into: &go)
    #expect(sorted.came(Self.event(9, 1, number: 1), now: .zero, into: &go) == .duplicate)
    sorted.ended(1, isOver: true, into: &go)
    #expect(sorted.came(Self.event(10, 1, number: 1), now: Self.at(10), into: &go) == .duplicate)
    #expect(go == [1])
    var numbers = SortedDelivery(.init(sequence: .init()))
    go = []
    _ = numbers.came(Self.event(1, 1, number: 1), now: .zero, into: &go)
    #expect(numbers.came(Self.event(2, 5, number: 1), now: .zero, into: &go) == .duplicate, "by its number alone")
  }

  @Test("what is missing is skipped after the wait; when it comes after that it is late, not lost")
  func late() {
    var sorted = Self.both()
    var go: [Int64] = []
    _ = sorted.came(Self.event(2, 2, number: 2), now: .zero, into: &go)
    #expect(sorted.nextWake == Self.at(30))
    #expect(sorted.tick(now: Self.at(29), into: &go).isEmpty)
    let changes = sorted.tick(now: Self.at(30), into: &go)
    #expect(changes.map(\.first) == [1] && go == [2])
    #expect(sorted.came(Self.event(1, 1, number: 1), now: Self.at(31), into: &go) == .late)
    #expect(sorted.violation() == nil)
  }

  @Test("no more are with the consumer than it has places; streams do not wait for each other")
  func places() {
    var sorted = Self.both(atOnce: 2)
    var go: [Int64] = []
    for stream in 1...4 as ClosedRange<UInt64> {
      _ = sorted.came(Self.event(Int64(stream), stream, number: 1, stream: stream), now: .zero, into: &go)
    }
    #expect(go == [1, 2] && sorted.out == 2)
    go = []
    sorted.ended(2, isOver: true, into: &go)
    #expect(go == [3])
    go = []
    sorted.ended(1, isOver: false, into: &go)
    #expect(go == [4], "who waits for its retry takes no place")
    #expect(sorted.violation() == nil)
  }

  @Test("without numbers only copies are left out; an event without one goes as it comes")
  func dedupAlone() {
    var sorted = SortedDelivery(.init(dedup: .init()))
    var go: [Int64] = []
    _ = sorted.came(Self.event(1, 1, number: nil), now: .zero, into: &go)
    _ = sorted.came(Self.event(2, 2, number: 5), now: .zero, into: &go)
    #expect(go == [1, 2])
    #expect(sorted.came(Self.event(3, 1, number: nil), now: .zero, into: &go) == .duplicate)
    var numbered = Self.both()
    go = []
    _ = numbered.came(Self.event(1, 1, number: nil), now: .zero, into: &go)
    #expect(go == [1])
  }

  /// Random deliveries, failures, deaths, copies and gaps: order and bounds hold, and all ends.
  @Test("walks", arguments: 0..<40 as Range<UInt64>)
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "sorted")
    func below(_ bound: UInt64) -> Int { Int(random.next() % bound) }
    var sorted = Self.both(atOnce: 3)
    var now: Int64 = 0
    var sent: [SortedDelivery.Event] = []
    for stream in 1...5 as ClosedRange<UInt64> {
      for number in 1...8 as ClosedRange<Int64> {
        sent.append(Self.event(Int64(sent.count + 1), stream << 8 | UInt64(number), number: number, stream: stream))
        if below(4) == 0 {
          sent.append(Self.event(Int64(sent.count + 1), stream << 8 | UInt64(number), number: number, stream: stream))
        }
      }
    }
    sent.shuffle(using: &random)
    var waiting = sent
    var out: [Int64] = []
    var last: [UInt64: Int64] = [:]
    var done: Set<UInt64> = []
    let byToken = Dictionary(uniqueKeysWithValues: sent.map { ($0.token, $0) })
    for step in 0..<10_000 {
      now += Int64(below(300)) * 1_000_000
      var go: [Int64] = []
      _ = sorted.tick(now: Instant(nanoseconds: now), into: &go)
      if !waiting.isEmpty, below(2) == 0 {
        let event = waiting.removeLast()
        let answer = sorted.came(event, now: Instant(nanoseconds: now), into: &go)
        #expect(answer != .full, "seed \(seed), step \(step)")
      } else if !out.isEmpty {
        let token = out.remove(at: below(UInt64(out.count)))
        let isOver = below(4) != 0
        sorted.ended(token, isOver: isOver, into: &go)
        guard let event = byToken[token] else { continue }
        if isOver { #expect(done.insert(event.id.high).inserted, "seed \(seed), step \(step): twice") }
        if !isOver { waiting.append(event) }
      }
      for token in go {
        guard let event = byToken[token], let number = event.number else { continue }
        #expect(number >= last[event.stream] ?? 0, "seed \(seed), step \(step): \(number) after \(last)")
        #expect(!out.contains { byToken[$0]?.stream == event.stream }, "seed \(seed), step \(step): two of a stream")
        last[event.stream] = number
        out.append(token)
      }
      #expect(sorted.violation() == nil, "seed \(seed), step \(step)")
      if waiting.isEmpty, out.isEmpty, sorted.count == 0 { return }
    }
    Issue.record("seed \(seed): \(sorted.count) are held, \(waiting.count) wait, \(out.count) are out")
  }
}
