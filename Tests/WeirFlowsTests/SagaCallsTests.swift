// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows

/// Who stands in line, and who is made again.
@Suite struct SagaCallsTests {
  @Test("so many at a time, the others in line, in their order")
  func line() {
    var calls = SagaCalls<Int>()
    #expect((0..<5).map { calls.begin($0, slots: 2) } == [true, true, false, false, false])
    #expect(calls.inFlight == 2 && calls.inLine == 3 && calls.next(slots: 2) == nil)
    calls.leave()
    #expect(calls.next(slots: 2) == 2 && calls.next(slots: 2) == nil)
    // A plan with one place: the line moves when both have ended.
    calls.leave()
    #expect(calls.next(slots: 1) == nil)
    calls.leave()
    #expect(calls.next(slots: 1) == 3)
    calls.leave()
    #expect(calls.next(slots: 0) == 4, "there is always one place")
    calls.leave()
    #expect(calls.next(slots: 9) == nil && calls.inLine == 0 && calls.violation() == nil)
  }

  @Test("a long line keeps its order and forgets whom it has served")
  func long() {
    var calls = SagaCalls<Int>()
    var begun: [Int] = []
    for i in 0..<1000 where calls.begin(i, slots: 1) { begun.append(i) }
    for _ in 0..<999 {
      calls.leave()
      if let next = calls.next(slots: 1) { begun.append(next) }
    }
    #expect(begun == Array(0..<1000) && calls.inLine == 0)
  }

  /// Only what reached nobody for want of a place is made again, and not for ever.
  @Test(
    "who found no place is made again, for 30 s",
    arguments: [
      (Reason.queueFull, 0, 0, true), (.queueTimeout, 0, 29, true), (.queueTimeout, 0, 30, false),
      (.overloaded, 0, 1, true), (.shed, 0, 1, true), (.throttled, 0, 1, true), (.queueTimeout, 1, 0, false),
      (.noHealthyInstance, 0, 0, false), (.breakerOpen, 0, 0, false), (.none, 0, 0, false),
    ] as [(Reason, UInt8, Int64, Bool)])
  func again(_ reason: Reason, _ attempts: UInt8, _ seconds: Int64, _ isMade: Bool) {
    var random = SeededRandom(seed: 1, stream: "again")
    let pause = SagaCalls<Int>.again(
      after: reason, attempts: attempts, waited: seconds * 1_000_000_000, using: &random)
    #expect((pause != nil) == isMade)
    if let pause { #expect(pause >= 200_000_000 && pause <= 400_000_000) }
  }
}
