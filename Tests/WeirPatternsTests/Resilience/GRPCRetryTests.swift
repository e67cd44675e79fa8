// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

@Suite struct GRPCRetryTests {
  private func facts(_ attempts: Int = 1) -> RetryRule.Facts { RetryRule.Facts(attempts: attempts, method: .unsafe) }

  /// GT-DEF: after five failures from full no retry; one success (5.1) enables it again.
  @Test("A6's bucket: more than half of it, or no retry")
  func bucket() {
    var rule = GRPCRetry()
    for _ in 0..<4 { #expect(rule.judge(code: 14, facts()) == .retry(after: nil)) }
    #expect(rule.tokens == 6)
    #expect(rule.judge(code: 14, facts()) == .keep(.budgetSpent))
    #expect(rule.tokens == 5 && rule.isThrottled)
    rule.succeeded()
    #expect(rule.tokens == 5.1 && !rule.isThrottled)
    // The next failure takes one first: 4.1 is not enough.
    #expect(rule.judge(code: 14, facts()) == .keep(.budgetSpent))
    for _ in 0..<20 { rule.succeeded() }
    #expect(rule.tokens == 6.1)
    #expect(rule.judge(code: 14, facts()) == .retry(after: nil))
    for _ in 0..<200 { rule.succeeded() }
    #expect(rule.tokens == 10)
  }

  @Test("only listed codes, and success is none", arguments: Array(UInt8(0)...17))
  func codes(code: UInt8) {
    var settings = GRPCRetry.Settings()
    settings.codes = [0, 1, 8, 14, 16, 40]
    var rule = GRPCRetry(settings)
    #expect(rule.violation() == nil)
    let expected: GRPCRetry.Verdict = [1, 8, 14, 16].contains(code) ? .retry(after: nil) : .keep(.status)
    #expect(rule.judge(code: code, facts()) == expected)
  }

  @Test("more than five attempts count as five", arguments: [(2, 2), (5, 5), (6, 5), (100, 5)])
  func attempts(settings attempts: Int, most: Int) {
    var settings = GRPCRetry.Settings()
    settings.attempts = attempts
    settings.tokensMax = 1000
    var rule = GRPCRetry(settings)
    #expect(rule.judge(code: 14, facts(most - 1)) == .retry(after: nil))
    #expect(rule.judge(code: 14, facts(most)) == .keep(.attemptsUsedUp))
  }

  @Test(
    "pushback: a number waits, anything else forbids",
    arguments: [
      ("0", GRPCRetry.Pushback.after(milliseconds: 0)), ("250", .after(milliseconds: 250)), ("-1", .never),
      ("", .never), ("1.5", .never), ("10s", .never), ("12345678901", .never),
    ])
  func pushback(text: String, expected: GRPCRetry.Pushback) {
    let bytes = Array(text.utf8)
    let pushback = GRPCRetry.Pushback.parsing(bytes.span)
    #expect(pushback == expected)
    var rule = GRPCRetry()
    switch expected {
    case .after(let milliseconds):
      #expect(rule.judge(code: 14, pushback: pushback, facts()) == .retry(after: milliseconds * 1_000_000))
    default: #expect(rule.judge(code: 14, pushback: pushback, facts()) == .keep(.status))
    }
    #expect(rule.tokens == 9)
  }

  @Test("what nobody may repeat: after the first byte, without the body, below a retrying hop")
  func kept() {
    var rule = GRPCRetry()
    var facts = RetryRule.Facts(attempts: 1, method: .safe, body: .streaming)
    #expect(rule.judge(code: 14, facts) == .keep(.body))
    facts.sent = .nothing
    #expect(rule.judge(code: 14, facts) == .retry(after: nil))
    facts.outerRetries = true
    #expect(rule.judge(code: 14, facts) == .keep(.outerRetries))
    facts.committed = true
    #expect(rule.judge(code: 14, facts) == .keep(.committed))
  }

  /// A6's own example: initialBackoff 0.1 s, maxBackoff 1 s, multiplier 2; each ± 20 %.
  @Test("the waits: 100, 200, 400, 800, 1000 ms, each by 0.8 to 1.2", arguments: resilienceSeeds(50))
  func waits(seed: UInt64) {
    let backoff = Backoff(.grpcRetry(first: .milliseconds(100), max: .seconds(1), factor: 2))
    var random = SeededRandom(seed: seed)
    for (attempt, milliseconds) in [(1, 100.0), (2, 200), (3, 400), (4, 800), (5, 1000), (6, 1000)] {
      let wait = Double(backoff.wait(after: attempt, using: &random)) / 1e6
      #expect(wait >= 0.8 * milliseconds - 1e-6 && wait <= 1.2 * milliseconds + 1e-6)
    }
  }

  // The state is small: all sequences of 12 successes and failures of a bucket of two.
  @Test("exhaustive: the bucket never leaves its bounds, and successes always enable it again")
  func exhaustive() {
    var settings = GRPCRetry.Settings()
    settings.tokensMax = 2
    settings.tokenRatio = 0.5
    for sequence in 0..<4096 {
      var rule = GRPCRetry(settings)
      for bit in 0..<12 {
        if sequence >> bit & 1 == 1 { rule.succeeded() } else { _ = rule.judge(code: 14, facts()) }
        if let violation = rule.violation() { Issue.record("sequence \(sequence): \(violation)") }
      }
      for _ in 0..<5 { rule.succeeded() }
      if rule.tokens != 2 { Issue.record("sequence \(sequence): \(rule.tokens) tokens after five successes") }
    }
  }
}
