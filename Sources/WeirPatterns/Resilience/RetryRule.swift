// SPDX-License-Identifier: Apache-2.0

/// Says once, where all is known, whether a failed attempt may be made again.
///
/// Source: RFC 9110 §9.2.2 (idempotent methods, and "a means to know that the request was never applied"); Envoy's
/// retry policies; the statuses are the seeds'. Whether there is budget and time for it is the budget's and the
/// deadline's to say.
///
///     what failed? ──not on the list──▶ keep          first byte given to the caller? ──yes──▶ keep
///       │                                                │
///       ▼ nothing of it was sent: any method, any body   ▼ sent: safe, idempotent or keyed, and the body still there
///     an outer hop retries? ──yes──▶ keep             attempts left? ──no──▶ keep, else retry
/// ## Invariants
/// 1. What may have reached the callee is repeated only if repeating it is harmless by its method or its key.
/// 2. 400, 401, 403, 404 and 409 are never retried, whatever the settings say: the same request gets the same answer.
/// 3. After the first response byte went to the caller nothing is retried.
/// 4. The verdict depends on nothing but the rule and the facts.
public struct RetryRule: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Attempts in all, the first included.
    public var attempts = 3
    /// Answers worth another attempt.
    public var statuses: [UInt16] = [429, 502, 503, 504]
    /// Refused, or no connection in time.
    public var onConnectFailure = true
    /// The connection ended before the first byte of an answer.
    public var onLostBeforeHead = true
    /// No answer within the attempt's time.
    public var onAttemptTimeout = true

    public init() {}
  }

  /// What repeating the request would mean.
  public enum Method: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable {
    /// GET, HEAD, OPTIONS.
    case safe
    /// PUT, DELETE.
    case idempotent
    /// POST, PATCH and what is not known.
    case unsafe
    /// Any method with an idempotency key.
    case keyed
  }

  /// How an attempt ended without an answer.
  public enum Failure: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable {
    case connectRefused, connectTimeout, lostBeforeHead, lostInBody, attemptTimeout, protocolError
    /// The connection could not be secured: its certificate was not the right one, or the handshake failed.
    case tlsFailed
  }

  /// How much of the request went out.
  public enum Sent: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable { case nothing, something, all }

  /// Whether the request's body can be sent again.
  public enum Body: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable { case none, replayable, streaming }

  /// What there is to know of the request when an attempt has failed.
  public struct Facts: Sendable, Equatable, BitwiseCopyable {
    /// Attempts made, the failed one included: 1 after the first.
    public var attempts: Int
    public var method: Method
    public var body: Body
    public var sent: Sent
    /// A first byte of an answer went to the caller.
    public var committed: Bool
    /// The caller's caller says it retries (`Weir-Retries: taken`).
    public var outerRetries: Bool

    public init(
      attempts: Int, method: Method, body: Body = .none, sent: Sent = .all, committed: Bool = false,
      outerRetries: Bool = false
    ) {
      self.attempts = attempts
      self.method = method
      self.body = body
      self.sent = sent
      self.committed = committed
      self.outerRetries = outerRetries
    }
  }

  /// Why the failure is kept and passed on.
  ///
  /// The last two are said by the flow, which knows budget and deadline.
  public enum Why: UInt8, Sendable, Equatable, CaseIterable, BitwiseCopyable {
    case status, failure, committed, method, body, outerRetries, attemptsUsedUp, budgetSpent, deadline

    /// The word used in events, logs and metrics.
    public var name: String {
      switch self {
      case .status: "status"
      case .failure: "failure"
      case .committed: "committed"
      case .method: "method"
      case .body: "body"
      case .outerRetries: "outer-retries"
      case .attemptsUsedUp: "attempts-used-up"
      case .budgetSpent: "budget-spent"
      case .deadline: "deadline"
      }
    }
  }

  public enum Verdict: Sendable, Equatable, BitwiseCopyable {
    case retry
    case keep(Why)
  }

  /// Answers that say that the request itself is wrong or not allowed.
  ///
  /// From the seeds.
  public static let neverRetried: [UInt16] = [400, 401, 403, 404, 409]

  public let attemptsMax: Int
  /// One bit a status from 400 to 599; others are never retried.
  private let statuses: (UInt64, UInt64, UInt64, UInt64)
  /// One bit a `Failure`.
  private let failures: UInt8

  public init(_ settings: Settings = Settings()) {
    attemptsMax = max(1, settings.attempts)
    var bits: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    for status in settings.statuses
    where status >= 400 && status < 600 && !RetryRule.neverRetried.contains(status) {
      let bit = UInt64(1) << UInt64((status - 400) % 64)
      switch (status - 400) / 64 {
      case 0: bits.0 |= bit
      case 1: bits.1 |= bit
      case 2: bits.2 |= bit
      default: bits.3 |= bit
      }
    }
    statuses = bits
    var mask: UInt8 = 0
    if settings.onConnectFailure {
      mask |= 1 << Failure.connectRefused.rawValue | 1 << Failure.connectTimeout.rawValue
      mask |= 1 << Failure.tlsFailed.rawValue
    }
    if settings.onLostBeforeHead { mask |= 1 << Failure.lostBeforeHead.rawValue }
    if settings.onAttemptTimeout { mask |= 1 << Failure.attemptTimeout.rawValue }
    failures = mask
  }

  /// Whether an answer with this status is worth another attempt, the request aside.
  public func isRetryable(status: UInt16) -> Bool {
    guard status >= 400 && status < 600 else { return false }
    let bit = UInt64((status - 400) % 64)
    let word =
      switch (status - 400) / 64 {
      case 0: statuses.0
      case 1: statuses.1
      case 2: statuses.2
      default: statuses.3
      }
    return word >> bit & 1 == 1
  }

  /// Whether this failure is worth another attempt, the request aside.
  public func isRetryable(failure: Failure) -> Bool { failures >> failure.rawValue & 1 == 1 }

  /// An answer came, and this was its status.
  ///
  /// It was sent for: something went out, whatever the facts say of it.
  public func judge(status: UInt16, _ facts: Facts) -> Verdict {
    guard isRetryable(status: status) else { return .keep(.status) }
    var facts = facts
    if facts.sent == .nothing { facts.sent = .something }
    return judge(facts)
  }

  /// No answer, or not a whole one.
  public func judge(failure: Failure, _ facts: Facts) -> Verdict {
    guard isRetryable(failure: failure) else { return .keep(.failure) }
    return judge(facts)
  }

  private func judge(_ facts: Facts) -> Verdict {
    if facts.committed { return .keep(.committed) }
    if facts.sent != .nothing {
      if facts.method == .unsafe { return .keep(.method) }
      if facts.body == .streaming { return .keep(.body) }
    }
    if facts.outerRetries { return .keep(.outerRetries) }
    if facts.attempts >= attemptsMax { return .keep(.attemptsUsedUp) }
    return .retry
  }

  /// What to wait when the callee said `Retry-After` (both in nanoseconds): never less than either asks for.
  public static func wait(backoff: Int64, retryAfter: Int64?) -> Int64 { max(backoff, retryAfter ?? 0) }

  public static func == (a: RetryRule, b: RetryRule) -> Bool {
    a.attemptsMax == b.attemptsMax && a.failures == b.failures && a.statuses == b.statuses
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    for status in RetryRule.neverRetried where isRetryable(status: status) { return "\(status) would be retried" }
    if isRetryable(failure: .protocolError) || isRetryable(failure: .lostInBody) {
      return "a failure after the first byte would be retried"
    }
    return nil
  }
}
