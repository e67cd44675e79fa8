// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct OutlierEjectionTests {
  /// The guard over every size and number of suspects: at least one may go, at most half, never the last; above half all
  /// serve. (RP-2)
  @Test("the guard, for every pool of up to eight", arguments: 1...8)
  func guardrail(n: Int) {
    for mask in 0..<(1 << n) {
      let suspects = (0..<n).map { mask >> $0 & 1 == 1 }
      let count = suspects.filter { $0 }.count
      var ejection = OutlierEjection(instances: n)
      let decision = ejection.decide(suspects: suspects, now: .zero)
      let out = decision.out.filter { $0 }.count
      if count == 0 {
        #expect(out == 0 && !decision.everyone)
      } else if n == 1 {
        #expect(out == 0 && decision.everyone)
      } else if count * 2 > n && !(count == 1 && n > 1) {
        #expect(out == 0 && decision.everyone)
      } else {
        #expect(decision.out == suspects && !decision.everyone)
      }
      #expect(ejection.violation() == nil)
    }
  }

  /// Every combination of down and suspect for up to five: those down stay out while anyone is left, and the guard holds
  /// among those not down.
  @Test("down ones are out while anyone is left", arguments: 1...5)
  func down(n: Int) {
    for downMask in 0..<(1 << n) {
      for suspectMask in 0..<(1 << n) {
        let down = (0..<n).map { downMask >> $0 & 1 == 1 }
        let suspects = (0..<n).map { suspectMask >> $0 & 1 == 1 }
        var ejection = OutlierEjection(instances: n)
        let decision = ejection.decide(down: down, suspects: suspects, now: .zero)
        let up = down.filter { !$0 }.count
        if up == 0 {
          #expect(decision == OutlierEjection.Decision(out: suspects.map { _ in false }, everyone: true, panic: true))
          continue
        }
        #expect(!decision.panic)
        let doubtful = (0..<n).filter { suspects[$0] && !down[$0] }.count
        let allowed = doubtful < up && (doubtful == 1 || doubtful * 2 <= up)
        for i in 0..<n {
          #expect(decision.out[i] == (down[i] || suspects[i] && allowed), "\(down) \(suspects)")
        }
        #expect(decision.out.contains(false))
      }
    }
  }

  @Test("with Envoy's panic threshold all serve below half", arguments: [(1, false), (2, false), (3, true), (4, true)])
  func panic(downCount: Int, all: Bool) {
    var ejection = OutlierEjection(instances: 4, .envoy)
    let decision = ejection.decide(
      down: (0..<4).map { $0 < downCount }, suspects: [], now: .zero)
    #expect(decision.panic == all)
    #expect(decision.out.filter { $0 }.count == (all ? 0 : downCount))
  }

  /// A tenth of 25 is two; two are out already, and a third suspect with a lower index does not take a place.
  @Test("who is out stays out before another goes")
  func sticky() {
    var ejection = OutlierEjection(instances: 25, .envoy)
    var suspects = [Bool](repeating: false, count: 25)
    suspects[7] = true
    suspects[9] = true
    #expect(ejection.decide(suspects: suspects, now: .zero).out == suspects)
    var more = suspects
    more[0] = true
    #expect(ejection.decide(suspects: more, now: .zero).out == suspects)
    more[7] = false
    let next = ejection.decide(suspects: more, now: .zero).out
    #expect(next[0] && !next[7] && next[9])
  }

  /// Nine at 99 % and one at 90 %: the mean is 98.1 %, the deviation 2.7 %, the threshold 92.97 %.
  private func interval(
    _ ejection: inout OutlierEjection, bad: Int = 0, at now: Instant, calls: Int = 1000, hosts: Int = 10
  ) -> OutlierEjection.Decision {
    for i in 0..<hosts {
      let good = i == bad ? calls * 90 / 100 : calls * 99 / 100
      ejection.report(i, successes: good, failures: calls - good)
    }
    return ejection.decide(suspects: [], now: now)
  }

  @Test("a success rate far below its peers' is an outlier's, once an interval is over")
  func outlier() {
    var ejection = OutlierEjection(instances: 10)
    #expect(interval(&ejection, at: .ms(9_999)).out.allSatisfy { !$0 })
    let decision = ejection.decide(suspects: [], now: .s(10))
    #expect(decision.out == (0..<10).map { $0 == 0 })
    #expect(ejection.isOutlier(0, now: .s(39.9)) && !ejection.isOutlier(0, now: .s(40)))
    #expect(ejection.violation() == nil)
  }

  @Test(
    "too few calls or too few instances compare nothing",
    arguments: [(99, 10, false), (100, 10, true), (1000, 4, false), (1000, 5, true)])
  func minimums(calls: Int, hosts: Int, found: Bool) {
    var ejection = OutlierEjection(instances: hosts)
    // Of five, the largest deviation one can have is √4 = 2 of them: above 1.9, so five are just enough.
    let decision = interval(&ejection, at: .s(10), calls: calls, hosts: hosts)
    #expect(decision.out.contains(true) == found)
  }

  @Test("each ejection in a row is longer by the base, up to the longest, and good intervals shorten the next")
  func growth() {
    var ejection = OutlierEjection(instances: 10)
    var now = Instant.zero
    var lengths: [Int64] = []
    for _ in 0..<12 {
      now = now + .seconds(10)
      _ = interval(&ejection, at: now)
      var length: Int64 = 0
      while ejection.isOutlier(0, now: now.advanced(by: length * 1_000_000_000)) { length += 1 }
      lengths.append(length)
    }
    #expect(lengths == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300])
    // It is left out for 300 s; after that 11 good intervals pay the row off, and the next ejection is the first again.
    now = now + .seconds(300)
    for _ in 0..<12 {
      now = now + .seconds(10)
      #expect(interval(&ejection, bad: -1, at: now).out.allSatisfy { !$0 })
    }
    now = now + .seconds(10)
    _ = interval(&ejection, at: now)
    #expect(ejection.isOutlier(0, now: now + .milliseconds(29_999)) && !ejection.isOutlier(0, now: now + .seconds(30)))
  }

  @Test("instances come and go, and a new process has no past")
  func resize() {
    var ejection = OutlierEjection(instances: 10)
    _ = interval(&ejection, bad: 2, at: .s(10))
    ejection.resize(to: 12)
    #expect(ejection.count == 12 && ejection.isOutlier(2, now: .s(11)))
    ejection.forget(2)
    #expect(!ejection.isOutlier(2, now: .s(11)))
    ejection.resize(to: 1)
    #expect(ejection.decide(suspects: [true], now: .s(11)).out == [false])
    ejection.resize(to: 0)
    #expect(ejection.decide(suspects: [], now: .s(11)).out.isEmpty)
  }

  @Test("walks: someone always serves, and nobody without doubt is left out")
  func walks() {
    for seed in resilienceSeeds(300) {
      var random = SeededRandom(seed: seed)
      var settings = OutlierEjection.Settings()
      settings.shareMax = random.unit()
      settings.everyoneAbove = random.unit()
      settings.panic = random.chance(0.5) ? 0 : random.unit()
      settings.volumeMin = 10
      let n = 1 + random.index(below: 12)
      var ejection = OutlierEjection(instances: n, settings)
      var now = Instant.zero
      for step in 0..<200 {
        now = now.advanced(by: random.nanoseconds(upTo: 8_000_000_000))
        for i in 0..<n {
          ejection.report(i, successes: random.index(below: 50), failures: random.index(below: i == 0 ? 200 : 5))
        }
        let down = (0..<n).map { _ in random.chance(0.2) }
        let suspects = (0..<n).map { _ in random.chance(0.3) }
        let decision = ejection.decide(down: down, suspects: suspects, now: now)
        let up = down.filter { !$0 }.count
        var ejected = 0
        for i in 0..<n {
          let doubted = down[i] || suspects[i] || ejection.isOutlier(i, now: now)
          if decision.out[i] && !doubted { Issue.record("seed \(seed), step \(step): \(i) is out without doubt") }
          if decision.out[i] && !down[i] { ejected += 1 }
          if down[i] && !decision.out[i] && !decision.panic { Issue.record("seed \(seed), step \(step): \(i) serves") }
        }
        let most = max(1, Int(settings.shareMax * Double(up) + 1e-9))
        if ejected > most || ejected > 0 && decision.everyone {
          Issue.record("seed \(seed), step \(step): \(ejected) out")
        }
        if !decision.out.contains(false) { Issue.record("seed \(seed), step \(step): nobody serves") }
        if let wrong = ejection.violation() { Issue.record("seed \(seed), step \(step): \(wrong)") }
      }
    }
  }
}
