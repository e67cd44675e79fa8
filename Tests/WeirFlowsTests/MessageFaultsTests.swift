// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows

@Suite struct MessageFaultsTests {
  private static func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }

  private static func fault(
    _ kind: MessageFaults.Kind, from: String? = nil, share: Double = 1, count: Int = .max
  ) -> MessageFaults.Fault {
    var fault = MessageFaults.Fault(kind, to: "events", from: from, by: .seconds(20), begins: at(60), ends: at(120))
    fault.share = share
    fault.count = count
    return fault
  }

  @Test("only what goes there, from whom it is said, while it lasts, and so many at most")
  func bounds() {
    var faults = MessageFaults([Self.fault(.delay, from: "bank", count: 2)])
    func late(_ to: String, _ from: String?, _ seconds: Int64) -> Duration? {
      faults.fate(of: 7, to: to, from: from, now: Self.at(seconds)).late
    }
    #expect(late("events", "bank", 59) == nil && late("events", "bank", 120) == nil)
    #expect(late("others", "bank", 60) == nil && late("events", "shop", 60) == nil && late("events", nil, 60) == nil)
    #expect(faults.hits == [0])
    #expect(late("events", "bank", 60) == .seconds(20) && late("events", "bank", 119) == .seconds(20))
    #expect(late("events", "bank", 100) == nil && faults.hits == [2])
  }

  @Test("one fault after the other: doubled, then late, and no fault behind that sees it")
  func order() {
    var faults = MessageFaults([Self.fault(.double), Self.fault(.delay), Self.fault(.double)])
    let fate = faults.fate(of: 7, to: "events", from: nil, now: Self.at(60))
    #expect(fate.again == [.seconds(20)] && fate.late == .seconds(20) && faults.hits == [1, 1, 0])
  }

  @Test("a share is met, by the same messages every time; two faults hit others")
  func share() {
    func hit() -> [[Int]] {
      var faults = MessageFaults([Self.fault(.double, share: 0.2), Self.fault(.delay, share: 0.2)])
      var hit: [[Int]] = [[], []]
      for key in 0..<20_000 {
        let fate = faults.fate(of: UInt64(key), to: "events", from: nil, now: Self.at(60))
        if !fate.again.isEmpty { hit[0].append(key) }
        if fate.late != nil { hit[1].append(key) }
      }
      return hit
    }
    let first = hit()
    #expect(first == hit())
    for one in first { #expect((3_700...4_300).contains(one.count)) }
    #expect((600...1_000).contains(Set(first[0]).intersection(first[1]).count))
  }
}
