// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct AddressLimitTests {
  private func limit(_ perAddress: Int, _ total: Int, rate: Double = 1e6, burst: Int = 1_000_000) -> AddressLimit {
    var settings = AddressLimit.Settings()
    settings.perAddress = perAddress
    settings.total = total
    settings.rate = Rate(perSecond: rate)
    settings.burst = burst
    settings.cells = 256
    return AddressLimit(settings)
  }

  @Test("open over all is asked first, then of the address, then its rate")
  func order() {
    var limit = limit(2, 3, rate: 1, burst: 2)
    #expect(limit.opened(1, now: .zero) == .accept)
    #expect(limit.opened(1, now: .zero) == .accept)
    #expect(limit.opened(1, now: .zero) == .refuse(.perAddress))
    #expect(limit.opened(2, now: .zero) == .accept)
    #expect(limit.opened(2, now: .zero) == .refuse(.total))
    #expect(limit.opened(3, now: .zero) == .refuse(.total))
    limit.closed(1)
    #expect(limit.opened(1, now: .zero) == .refuse(.rate))
    #expect(limit.opened(1, now: Instant(nanoseconds: 1_000_000_000)) == .accept)
    #expect(limit.open == 3)
  }

  // An address that connects and goes again and again is stopped by its rate, not by what is open.
  @Test("200 connections a second from one address by default, the 201st at once is refused")
  func defaults() {
    var limit = AddressLimit()
    for _ in 0..<200 {
      #expect(limit.opened(9, now: .zero) == .accept)
      limit.closed(9)
    }
    #expect(limit.opened(9, now: .zero) == .refuse(.rate))
    #expect(limit.opened(9, now: Instant(nanoseconds: 5_000_000)) == .accept)
    #expect(limit.open(of: 9) == 1)
  }

  @Test("limits of 0 refuse everything, and nothing traps")
  func zero() {
    var none = limit(5, 0)
    #expect(none.opened(1, now: .zero) == .refuse(.total))
    var nobody = limit(0, 5)
    #expect(nobody.opened(1, now: .zero) == .refuse(.perAddress))
  }

  @Test("walk against a dictionary", arguments: PatternSeeds.seeds(150))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let perAddress = 1 + random.index(below: 4)
    let total = 1 + random.index(below: 40)
    var limit = limit(perAddress, total)
    var oracle: [UInt64: Int] = [:]
    var open: [UInt64] = []
    for step in 0..<2_000 {
      if random.chance(0.55) || open.isEmpty {
        let key = UInt64(random.index(below: 60))
        let expected: AddressLimit.Answer =
          open.count >= total
          ? .refuse(.total) : oracle[key, default: 0] >= perAddress ? .refuse(.perAddress) : .accept
        let answer = limit.opened(key, now: Instant(nanoseconds: Int64(step) * 1_000_000))
        if answer != expected {
          return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(answer), not \(expected)")
        }
        if answer == .accept {
          oracle[key, default: 0] += 1
          open.append(key)
        }
      } else {
        let key = open.remove(at: random.index(below: open.count))
        oracle[key, default: 0] -= 1
        limit.closed(key)
      }
      if let violation = limit.violation() { return PatternSeeds.fail("WEIR_SEED=\(seed), step \(step): \(violation)") }
    }
  }
}
