// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirFlows
internal import WeirPatterns

/// When a failed call is tried again, and how long the waits are.
package struct Retry: Sendable, Equatable {
  /// The first included: 1 means no retry.
  package var attempts = RetryKeys.attempts.initial
  package var first = BackoffKeys.first.initial
  package var max = BackoffKeys.max.initial
  /// Share of the wait that is added by chance at most.
  package var jitter = BackoffKeys.jitter.initial
  /// Retries may be so large a share of first tries.
  package var budget = RetryKeys.budget.initial
  /// A body up to this size is kept to be sent again.
  package var buffer = RetryKeys.buffer.initial

  func compile(into settings: inout CallSettings) {
    settings.retry.attempts = attempts.value
    settings.backoff.first = first.value
    settings.backoff.max = max.value
    settings.backoff.jitter = jitter.value
    settings.budget.share = budget.value
    settings.retryBuffer = buffer.value.count
  }
}

/// `retry:`.
enum RetryKeys {
  static let attempts = ScalarKey(
    "attempts", .count(1...10), required: false, default: RetryRule.Settings().attempts,
    rule: "retry.attempts (the first included)", "Attempts in all, the first included: 1 is no retry.",
    alias: ["max", "count", "tries", "max-attempts", "num-retries"])
  static let backoff = Key(
    "backoff", .section(BackoffKeys.section), "How long to wait before the next attempt.", alias: ["back-off", "delay"])
  static let budget = ScalarKey(
    "budget", .share(), default: RetryBudget.Settings().share, rule: "retry.budget (as Envoy and Finagle)",
    "Retries that are made at most, as a share of first tries.")

  static let buffer = ScalarKey(
    "buffer", .bytes, default: Bytes(CallSettings().retryBuffer), rule: "retry.buffer (more than a form has)",
    "A request's body up to this size is kept to be sent again; with a longer one it is sent once.",
    alias: ["max-body", "buffer-size", "per-request-buffer-limit"])

  static let part = Part<Retry>(
    "retry", "When a failed call is tried again.", short: attempts.key, start: { _, _ in Retry() },
    [
      .value(attempts, \.attempts),
      .part(backoff, \.self, BackoffKeys.part),
      .value(budget, \.budget),
      .value(buffer, \.buffer),
    ])
  static let section = part.section
}

/// `backoff:`.
enum BackoffKeys {
  static let first = ScalarKey(
    "first", .duration(atLeastZero: true), default: Backoff.Settings().first, rule: "backoff.first (seed 002)",
    "The wait after the first failed attempt; each next one is twice as long.",
    alias: ["initial", "base", "base-interval"])
  static let max = ScalarKey(
    "max", .duration(), default: Backoff.Settings().max, rule: "backoff.max (longer than a call lasts)",
    "No wait is longer.", alias: ["max-interval", "cap"])
  static let jitter = ScalarKey(
    "jitter", .share(), default: Backoff.Settings().jitter, rule: "backoff.jitter (seed 002)",
    "The share of a wait that chance adds, so that callers do not come back together.")

  static let part = Part<Retry>(
    "backoff", "Waits between attempts.", short: first.key, start: { _, _ in Retry() },
    [
      .value(first, \.first),
      .value(max, \.max),
      .value(jitter, \.jitter),
    ])
  static let section = part.section
}
