// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct RetryBudgetTests {
  @Test(
    "a quiet caller has the floor, a busy one a fifth",
    arguments: [(0, 3), (1, 3), (15, 3), (19, 3), (20, 4), (100, 20), (104, 20), (105, 21)])
  func allowance(deposits: Int, retries: Int) {
    var budget = RetryBudget()
    for _ in 0..<deposits { budget.deposit(now: .zero) }
    #expect(budget.balance(now: .zero) == retries)
    for _ in 0..<retries { #expect(budget.withdraw(now: .zero) == true) }
    #expect(budget.withdraw(now: .zero) == false)
    #expect(budget.balance(now: .zero) == 0)
    #expect(budget.violation() == nil)
  }

  @Test("a batch of deposits is as many single ones")
  func batch() {
    var singles = RetryBudget()
    var batch = RetryBudget()
    for _ in 0..<57 { singles.deposit(now: .s(3)) }
    batch.deposit(57, now: .s(3))
    #expect(singles == batch)
  }

  /// What was deposited in the first second counts until the bucket of the eleventh begins.
  @Test("deposits and retries leave with the window", arguments: [(9.999, 0), (10.0, 3), (25.0, 3)])
  func window(later: Double, retries: Int) {
    var budget = RetryBudget()
    budget.deposit(100, now: .zero)
    for _ in 0..<20 { #expect(budget.withdraw(now: .zero) == true) }
    #expect(budget.balance(now: .s(later)) == retries)
    // What left took its deposits with it: there is the floor, and no more.
    for _ in 0..<retries { #expect(budget.withdraw(now: .s(later)) == true) }
    #expect(budget.withdraw(now: .s(later)) == false)
  }

  @Test("over concurrency: a fifth of what is in flight, at least three")
  func concurrency() {
    var budget = RetryBudget(.envoy)
    for _ in 0..<3 { #expect(budget.withdraw(now: .zero) == true) }
    #expect(budget.withdraw(now: .zero) == false)
    budget.ended(.retry)
    #expect(budget.withdraw(now: .zero) == true)
    // 100 in flight with the three retries: 20; time alone gives nothing back.
    budget.deposit(97, now: .zero)
    for _ in 0..<17 { #expect(budget.withdraw(now: .s(1000)) == true) }
    // By now 117 are in flight, of which a fifth is 23.
    for _ in 0..<4 { #expect(budget.withdraw(now: .s(1000)) == true) }
    #expect(budget.balance(now: .s(1000)) == 0)
    for _ in 0..<97 { budget.ended(.first) }
    #expect(budget.withdraw(now: .s(1000)) == false)
    for _ in 0..<50 { budget.ended(.retry) }
    #expect(budget.balance(now: .zero) == 3 && budget.violation() == nil)
  }

  @Test("over tokens: ten first tries pay for a retry, the bucket holds five")
  func tokens() {
    var budget = RetryBudget(.tokenBucket)
    for _ in 0..<5 { #expect(budget.withdraw(now: .zero) == true) }
    #expect(budget.withdraw(now: .zero) == false)
    for i in 1...10 {
      #expect(budget.withdraw(now: .zero) == false, "after \(i - 1)")
      budget.deposit(now: .zero)
    }
    #expect(budget.withdraw(now: .zero) == true)
    budget.deposit(1000, now: .zero)
    #expect(budget.balance(now: .zero) == 5 && budget.violation() == nil)
  }

  /// Invariant 3, against a list of all that happened: over any window that ends at a retry.
  @Test("never more than the share of the window, by brute force")
  func walk() {
    for seed in resilienceSeeds(300) {
      var random = SeededRandom(seed: seed)
      var settings = RetryBudget.Settings()
      settings.share = random.unit()
      settings.floor = random.index(below: 5)
      var budget = RetryBudget(settings)
      var now = Instant.zero
      var deposits: [Int64] = []
      var taken: [Int64] = []
      for step in 0..<400 {
        now = now.advanced(by: random.nanoseconds(upTo: random.chance(0.02) ? 15_000_000_000 : 200_000_000))
        if random.chance(0.5) {
          budget.deposit(now: now)
          deposits.append(now.nanoseconds / 1_000_000_000)
        } else {
          // The window of the ring: the bucket of now and the nine before it.
          let oldest = now.nanoseconds / 1_000_000_000 - 9
          let paid = Double(deposits.filter { $0 >= oldest }.count)
          let spent = Double(taken.filter { $0 >= oldest }.count)
          let allowed = spent + 1 <= max(Double(settings.floor), settings.share * paid) + 1e-9
          if budget.withdraw(now: now) != allowed { Issue.record("seed \(seed), step \(step)") }
          if allowed { taken.append(now.nanoseconds / 1_000_000_000) }
        }
        if let wrong = budget.violation() { Issue.record("seed \(seed), step \(step): \(wrong)") }
      }
    }
  }

  /// RP-1 for the value: everything fails for a minute, and each failure asks for two more attempts.
  @Test("with everything failing the load grows by a fifth and the floor", arguments: [1, 10, 1000])
  func outage(perSecond: Int) {
    var budget = RetryBudget()
    var retries = 0
    let calls = perSecond * 60
    for i in 0..<calls {
      let now = Instant(nanoseconds: Int64(i) * 60_000_000_000 / Int64(calls))
      budget.deposit(now: now)
      for _ in 0..<2 where budget.withdraw(now: now) { retries += 1 }
    }
    // The floor of three is per window of nine to ten seconds: seven of them touch a minute.
    #expect(Double(retries) <= max(0.2 * Double(calls), 3 * 7) + 3)
    #expect(retries >= 3)
  }
}
