// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct DiscoveredInstancesTests {
  private var random = SeededRandom(seed: 1, stream: "names")

  private func settings(_ edit: (inout DiscoveredInstances.Settings) -> Void = { _ in }) -> DiscoveredInstances {
    var settings = DiscoveredInstances.Settings()
    settings.jitter = 0
    edit(&settings)
    return DiscoveredInstances(settings)
  }

  private func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

  /// The last good answer is kept, whatever happens to the questions after it.
  @Test("an address keeps its place while answers have it, and no failure takes it away")
  mutating func keeps() {
    var value = settings()
    #expect(value.nextWake == at(0))
    value.asked()
    #expect(value.nextWake == nil)
    let first = value.answered(["b", "a", "b"], now: at(0), using: &random)
    #expect(first.changes.count == 2 && first.leftOut == 0 && !first.isBack && value.count == 2)
    #expect(value.nextWake == at(30))
    let places = value.addresses
    for second in 1...5 { value.failed(now: at(Int64(second)), using: &random) }
    let nothing = value.answered([], now: at(6), using: &random)
    #expect(nothing.changes.isEmpty)
    #expect(value.addresses == places && value.failures == 6)
    let back = value.answered(["a", "b"], now: at(7), using: &random)
    #expect(back.changes.isEmpty && back.isBack && value.addresses == places)
  }

  @Test("pauses after failures: 1, 2, 4, 8, 16, 30, 30 seconds")
  mutating func pauses() {
    var value = settings()
    for pause in [1, 2, 4, 8, 16, 30, 30] as [Int64] {
      value.asked()
      value.failed(now: at(100), using: &random)
      #expect(value.nextWake == at(100 + pause))
    }
  }

  @Test("who is gone leaves first, and who joins takes another place where there is one")
  mutating func changes() {
    var value = settings { $0.most = 8 }
    _ = value.answered(["a"], now: at(0), using: &random)
    let left = value.addresses.firstIndex { $0 == "a" }
    let outcome = value.answered(["b"], now: at(30), using: &random)
    #expect(outcome.changes.count == 2)
    #expect(outcome.changes.first == .left(place: left ?? -1, address: "a"))
    #expect(value.addresses.firstIndex { $0 == "b" } != left)
    // With one place only there is no other.
    var single = settings { $0.most = 1 }
    _ = single.answered(["a"], now: at(0), using: &random)
    let next = single.answered(["b", "c"], now: at(30), using: &random)
    #expect(next.changes == [.left(place: 0, address: "a"), .joined(place: 0, address: "b")] && next.leftOut == 1)
  }

  /// What a key is sent to must not hang on what a node has seen before.
  @Test("two nodes with different pasts agree about nearly all places")
  mutating func agreement() {
    var (one, other) = (settings(), settings())
    let all = (1...20).map { "10.0.0.\($0):80" }
    _ = one.answered(all, now: at(0), using: &random)
    for count in [3, 20, 11, 20] {
      _ = other.answered(Array(all.suffix(count)), now: at(0), using: &random)
    }
    let same = zip(one.addresses, other.addresses).filter { $0 != nil && $0 == $1 }.count
    #expect(same >= 12)
  }

  @Test("walks")
  func walks() {
    for seed in 1...200 as ClosedRange<UInt64> {
      var random = SeededRandom(seed: seed, stream: "walk")
      var settings = DiscoveredInstances.Settings()
      settings.most = Int(random.next() % 6) + 1
      var value = DiscoveredInstances(settings)
      var now = Instant.zero
      for step in 0..<100 {
        now = now.advanced(by: Int64(random.next() % 40_000_000_000))
        if let wake = value.nextWake, wake <= now { value.asked() }
        if random.next() % 4 == 0 {
          value.failed(now: now, using: &random)
        } else {
          let found = (0..<Int(random.next() % 9)).map { _ in "\(random.next() % 12)" }
          let before = value.addresses
          let outcome = value.answered(found, now: now, using: &random)
          var replayed = before
          for change in outcome.changes {
            switch change {
            case .left(let place, let address):
              #expect(replayed[place] == address)
              replayed[place] = nil
            case .joined(let place, let address):
              #expect(replayed[place] == nil)
              replayed[place] = address
            }
          }
          #expect(replayed == value.addresses)
          if !found.isEmpty { #expect(value.count == min(Set(found).count, settings.most)) }
        }
        #expect(value.violation() == nil, "seed \(seed), step \(step)")
        #expect(value.nextWake.map { $0 > now && $0 < now.advanced(by: 34_000_000_000) } ?? false)
      }
    }
  }

  /// A name with several addresses, answered in another order each time, must not move its instance each time.
  @Test("one address is followed: it stays while answers have it, and moves when they do not")
  mutating func follows() {
    var settings = DiscoveredInstances.Settings()
    settings.most = 1
    settings.jitter = 0
    var value = DiscoveredInstances(settings, holding: "b", now: at(0), using: &random)
    #expect(value.isSettled && value.nextWake == at(30) && value.addresses == ["b"])
    let same = value.answered(["a", "b", "c"], now: at(30), using: &random)
    #expect(same.changes.isEmpty && value.addresses == ["b"])
    value.failed(now: at(60), using: &random)
    #expect(value.addresses == ["b"] && value.nextWake == at(61))
    let moved = value.answered(["c", "a"], now: at(61), using: &random)
    #expect(moved.changes == [.left(place: 0, address: "b"), .joined(place: 0, address: "a")] && moved.isBack)
    #expect(value.addresses == ["a"] && value.violation() == nil)
  }
}
