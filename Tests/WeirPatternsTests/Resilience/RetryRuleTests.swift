// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

private typealias Rule = RetryRule

struct RetryRuleTests {
  private let rule = RetryRule()

  @Test("of all statuses only the listed ones are retried")
  func statuses() {
    let facts = Rule.Facts(attempts: 1, method: .safe)
    for status in UInt16(0)...999 {
      let expected: Rule.Verdict = [429, 502, 503, 504].contains(status) ? .retry : .keep(.status)
      #expect(rule.judge(status: status, facts) == expected)
    }
  }

  /// Invariant 2: a file that lists 404 does not get it.
  @Test("what says that the request is wrong is never retried, even if asked for")
  func never() {
    var settings = Rule.Settings()
    settings.statuses = Array(0...999)
    let eager = Rule(settings)
    for status: UInt16 in [400, 401, 403, 404, 409] {
      #expect(eager.judge(status: status, Rule.Facts(attempts: 1, method: .safe)) == .keep(.status))
    }
    #expect(eager.judge(status: 500, Rule.Facts(attempts: 1, method: .safe)) == .retry)
    #expect(eager.judge(status: 599, Rule.Facts(attempts: 1, method: .safe)) == .retry)
    #expect(eager.judge(status: 399, Rule.Facts(attempts: 1, method: .safe)) == .keep(.status))
    #expect(eager.judge(status: 600, Rule.Facts(attempts: 1, method: .safe)) == .keep(.status))
    #expect(eager.violation() == nil && rule.violation() == nil)
  }

  @Test(
    "three attempts are three, the first included", arguments: [(1, true), (2, true), (3, false), (4, false)])
  func attempts(made: Int, retried: Bool) {
    let verdict = rule.judge(status: 503, Rule.Facts(attempts: made, method: .safe))
    #expect(verdict == (retried ? .retry : .keep(.attemptsUsedUp)))
  }

  @Test("zero or fewer attempts are one", arguments: [-1, 0, 1])
  func single(attempts: Int) {
    var settings = Rule.Settings()
    settings.attempts = attempts
    #expect(Rule(settings).judge(status: 503, Rule.Facts(attempts: 1, method: .safe)) == .keep(.attemptsUsedUp))
  }

  /// The whole table, against the sentence it stands for (RFC 9110 §9.2.2): every failure, method, body, and how much went
  /// out, committed or not, with an outer hop that retries or none.
  @Test("every combination of facts is judged as the sentence says")
  func table() {
    var retried = 0
    for failure in Rule.Failure.allCases {
      for method in Rule.Method.allCases {
        for body in Rule.Body.allCases {
          for sent in Rule.Sent.allCases {
            for committed in [false, true] {
              for outer in [false, true] {
                for attempts in [1, 3] {
                  let facts = Rule.Facts(
                    attempts: attempts, method: method, body: body, sent: sent, committed: committed,
                    outerRetries: outer)
                  let listed = failure != .lostInBody && failure != .protocolError
                  let untouched = sent == .nothing
                  let harmless = method != .unsafe && body != .streaming
                  let may = listed && !committed && (untouched || harmless) && !outer && attempts < 3
                  let verdict = rule.judge(failure: failure, facts)
                  #expect((verdict == .retry) == may, "\(failure) \(facts)")
                  if verdict == .retry { retried += 1 }
                  // A status is an answer: it was sent for, so `nothing` does not make a POST repeatable.
                  let answered = rule.judge(status: 503, facts)
                  #expect((answered == .retry) == (!committed && harmless && !outer && attempts < 3))
                }
              }
            }
          }
        }
      }
    }
    // 5 listed failures, 1 attempt, not committed, no outer: (12 with nothing sent + 2 · 3 · 2 otherwise) each.
    #expect(retried == 5 * (12 + 12))
  }

  @Test("the reason named is the one that would have to change first")
  func reasons() {
    var facts = Rule.Facts(attempts: 3, method: .unsafe, body: .streaming, committed: true, outerRetries: true)
    #expect(rule.judge(status: 404, facts) == .keep(.status))
    #expect(rule.judge(failure: .lostInBody, facts) == .keep(.failure))
    #expect(rule.judge(status: 503, facts) == .keep(.committed))
    facts.committed = false
    #expect(rule.judge(status: 503, facts) == .keep(.method))
    facts.method = .keyed
    #expect(rule.judge(status: 503, facts) == .keep(.body))
    facts.body = .replayable
    #expect(rule.judge(status: 503, facts) == .keep(.outerRetries))
    facts.outerRetries = false
    #expect(rule.judge(status: 503, facts) == .keep(.attemptsUsedUp))
    facts.attempts = 2
    #expect(rule.judge(status: 503, facts) == .retry)
    #expect(Set(Rule.Why.allCases.map(\.name)).count == Rule.Why.allCases.count)
  }

  @Test("each kind of failure can be switched off by itself")
  func switches() {
    var settings = Rule.Settings()
    settings.onConnectFailure = false
    settings.onAttemptTimeout = false
    let shy = Rule(settings)
    let facts = Rule.Facts(attempts: 1, method: .safe, sent: .nothing)
    #expect(shy.judge(failure: .connectRefused, facts) == .keep(.failure))
    #expect(shy.judge(failure: .connectTimeout, facts) == .keep(.failure))
    #expect(shy.judge(failure: .attemptTimeout, facts) == .keep(.failure))
    #expect(shy.judge(failure: .lostBeforeHead, facts) == .retry)
    #expect(shy != rule && Rule() == rule)
  }

  @Test("Retry-After lengthens a wait and never shortens it")
  func retryAfter() {
    #expect(Rule.wait(backoff: 100, retryAfter: nil) == 100)
    #expect(Rule.wait(backoff: 100, retryAfter: 50) == 100)
    #expect(Rule.wait(backoff: 100, retryAfter: 5000) == 5000)
    // One that does not fit is not obeyed by trying sooner: the deadline leaves no room, and the failure is kept.
    let deadline = Deadline(timeout: 4000, attempt: 2000, now: .zero)
    #expect(!deadline.leaves(room: Rule.wait(backoff: 100, retryAfter: 5000), now: .zero))
  }
}
