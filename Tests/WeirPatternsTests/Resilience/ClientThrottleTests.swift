// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import WeirBase
import WeirPatterns

@Suite struct ClientThrottleTests {
  private func throttle(_ change: (inout ClientThrottle.Settings) -> Void = { _ in }) -> ClientThrottle {
    var settings = ClientThrottle.Settings()
    change(&settings)
    return ClientThrottle(settings)
  }

  @Test("the formula, from both sides of one accepted of K")
  func formula() {
    var throttle = throttle { $0.refusedMax = 1 }
    var random = SeededRandom(seed: 1)
    for index in 0..<100 {
      _ = throttle.admit(now: .s(1), using: &random)
      if index % 2 == 0 { throttle.accepted(now: .s(1)) }
    }
    #expect(throttle.refusal(now: .s(1)) == 0)
    for _ in 0..<50 { _ = throttle.admit(now: .s(2), using: &random) }
    #expect(abs(throttle.refusal(now: .s(2)) - (150.0 - 100) / 151) < 1e-12)
  }

  @Test("nothing is refused below the least count, and never more than the most")
  func ends() {
    var throttle = throttle()
    var random = SeededRandom(seed: 2)
    for _ in 0..<19 { #expect(throttle.admit(now: .s(1), using: &random) == true) }
    #expect(throttle.refusal(now: .s(1)) == 0)
    for _ in 0..<10_000 { _ = throttle.admit(now: .s(1), using: &random) }
    #expect(throttle.refusal(now: .s(1)) == 0.95)
  }

  @Test("what is two minutes old is forgotten")
  func window() {
    var throttle = throttle()
    var random = SeededRandom(seed: 3)
    for _ in 0..<1_000 { _ = throttle.admit(now: .s(5), using: &random) }
    #expect(throttle.refusal(now: .s(119.9)) > 0.9)
    #expect(throttle.refusal(now: .s(120)) == 0)
  }

  /// GT-THR: p = max(0, 1 − K·capacity ÷ load), and min(load, K·capacity) is sent.
  @Test(
    "steady state: the printed probabilities",
    arguments: [
      (2.0, 4.0, 0.5), (2.0, 10.0, 0.8), (1.5, 2.0, 0.25), (1.5, 4.0, 0.625), (1.1, 2.0, 0.45), (1.1, 4.0, 0.725),
      (2.0, 1.5, 0.0),
    ])
  func steady(multiplier: Double, load: Double, truth: Double) {
    var throttle = throttle { $0.multiplier = multiplier }
    var random = SeededRandom(seed: UInt64(load * 10 + multiplier))
    // The callee accepts 100 a second, evenly: it fills by one each 10 ms and holds ten.
    var room = 10.0
    var last = 0.0
    var offered = 0
    var sent = 0
    for index in 0..<Int(600 * 100 * load) {
      let time = Double(index) / (100 * load)
      room = min(10, room + (time - last) * 100)
      last = time
      if throttle.admit(now: .s(time), using: &random) {
        if time >= 240 { sent += 1 }
        if room >= 1 {
          room -= 1
          throttle.accepted(now: .s(time))
        }
      }
      if time >= 240 { offered += 1 }
    }
    #expect(throttle.violation() == nil)
    let refused = 1 - Double(sent) / Double(offered)
    #expect(abs(refused - truth) < 0.01, "\(refused), not \(truth)")
  }

  @Test("a callee that is well again is used again", arguments: resilienceSeeds(50))
  func recovers(seed: UInt64) {
    var throttle = throttle()
    var random = SeededRandom(seed: seed)
    var now = Instant.zero
    for _ in 0..<5_000 {
      now = now.advanced(by: random.nanoseconds(upTo: 20_000_000))
      _ = throttle.admit(now: now, using: &random)
      if let violation = throttle.violation() {
        Issue.record("WEIR_SEED=\(seed): \(violation)")
        return
      }
    }
    #expect(throttle.refusal(now: now) == 0.95)
    // By the formula one more is sent for each accepted: from a twentieth that doubles in about a minute.
    for _ in 0..<60_000 {
      now = now.advanced(by: 10_000_000)
      if throttle.admit(now: now, using: &random) { throttle.accepted(now: now) }
    }
    #expect(throttle.refusal(now: now) == 0)
  }
}
