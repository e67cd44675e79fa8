// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Whether a receiver of webhooks is sent anything now, and what becomes of a message after an attempt.
///
/// Source: Standard Webhooks, *Delivery success and failure* (410 disables; 429, 502, 504 throttle; redirects are failures);
/// the days after which a failing endpoint is disabled: Svix. The breaker is the ``CircuitBreaker`` of every call.
///
///     enabled ──410──▶ disabled (gone)          ◀─ enable, by an operator
///        │ ───────────▶ disabled (by an operator)
///        └─ nothing taken for `disableAfter`, of `disableMin` attempts at least ─▶ disabled (failing)
/// While it rests (its breaker is open, or it asked for a pause) messages wait, and no attempt is counted. `now` is of a clock
/// that survives a restart; ``record`` is what to keep.
///
/// ## Invariants
/// 1. A disabled endpoint is sent nothing.
/// 2. A message ends: delivered, given up by the schedule, or dropped because its endpoint is gone.
/// 3. An enabled endpoint is not left for ever: `wait` names a moment, and from then on a probe is sent.
public struct WebhookEndpoint: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Failing for so long without a success disables it (Svix: 5 days).
    public var disableAfter = Duration.seconds(5 * 86_400)
    /// Failed attempts in that time, at least: more than the ten of one message that could not be taken.
    public var disableMin = 12

    public init() {}

    /// Of one endpoint, whose traffic may be a few messages an hour: only rows of failures count.
    public static var breaker: CircuitBreaker.Settings {
      var settings = CircuitBreaker.Settings()
      settings.slow = nil
      return settings
    }
  }

  public enum Cause: UInt8, Sendable, Hashable, BitwiseCopyable { case gone = 1, failing, byOperator }

  /// What outlives a restart.
  public struct Record: Sendable, Hashable, BitwiseCopyable {
    public var disabled: Cause?
    /// The first failure since the last success.
    public var failingSince: Instant?
    public var failures: Int32 = 0

    public init() {}
  }

  public enum Admission: Sendable, Equatable, BitwiseCopyable {
    case send(CircuitBreaker.Ticket)
    case wait(until: Instant)
    case disabled(Cause)
  }

  public enum Outcome: Sendable, Equatable, BitwiseCopyable {
    /// A status, and the nanoseconds of its `Retry-After`.
    case answered(UInt16, retryAfter: Int64?)
    /// Not connected, cut off, timed out.
    case unanswered
    /// Not sent, or cut off by ourselves: tells nothing, and counts as no attempt.
    case ignored
  }

  public enum Settlement: Sendable, Equatable, BitwiseCopyable {
    case delivered
    case retry(at: Instant)
    /// The schedule is over.
    case gaveUp
    /// The attempt counts for nothing: send it when the endpoint is next admitted.
    case again
    /// The endpoint is disabled from now on, or was meanwhile; this message was not taken.
    case disabled(Cause)
  }

  public private(set) var record: Record
  private let schedule: WebhookSchedule
  private let disableAfter: Int64
  private let disableMin: Int32
  private let breakerSettings: CircuitBreaker.Settings
  private var breaker: CircuitBreaker
  /// It asked not to be sent anything before.
  private var pausedUntil = Instant.zero

  public init(
    _ settings: Settings = Settings(), schedule: WebhookSchedule = WebhookSchedule(),
    breaker: CircuitBreaker.Settings = Settings.breaker, record: Record = Record()
  ) {
    self.record = record
    self.schedule = schedule
    breakerSettings = breaker
    self.breaker = CircuitBreaker(breaker)
    disableAfter = max(0, settings.disableAfter.inNanoseconds)
    disableMin = Int32(clamping: max(1, settings.disableMin))
  }

  // MARK: Inputs

  /// May a message be sent? One that is admitted is settled later.
  public mutating func admit(now: Instant, using random: inout SeededRandom) -> Admission {
    if let cause = record.disabled { return .disabled(cause) }
    if now < pausedUntil { return .wait(until: pausedUntil) }
    switch breaker.admit(now: now, using: &random) {
    case .allow(let ticket): return .send(ticket)
    case .refuse(let until): return .wait(until: until)
    }
  }

  /// What the attempt came to; `attempts` are those of this message, this one included.
  public mutating func settle(
    _ ticket: CircuitBreaker.Ticket, _ outcome: Outcome, attempts: Int, acceptedAt: Instant, now: Instant,
    using random: inout SeededRandom
  ) -> Settlement {
    var retryAfter: Int64?
    switch outcome {
    case .ignored:
      _ = breaker.settle(ticket, .ignored, now: now, using: &random)
      return .again
    case .answered(200..<300, _):
      _ = breaker.settle(ticket, .success, now: now, using: &random)
      record.failingSince = nil
      record.failures = 0
      return .delivered
    case .answered(410, _):
      _ = breaker.settle(ticket, .ignored, now: now, using: &random)
      record.disabled = record.disabled ?? .gone
      return .disabled(record.disabled ?? .gone)
    case .answered(let status, let asked):
      _ = breaker.settle(
        ticket, WebhookEndpoint.isUnwell(status) ? .failure : .success, now: now, using: &random)
      // A redirect or a 400 may name a wait as well; a pause of the whole endpoint it is only from one that is unwell.
      retryAfter = asked
      if WebhookEndpoint.isUnwell(status), asked != nil {
        pausedUntil = max(pausedUntil, now.advanced(by: schedule.limited(retryAfter: asked)))
      }
    case .unanswered: _ = breaker.settle(ticket, .failure, now: now, using: &random)
    }
    if record.failures < .max { record.failures += 1 }
    let since = record.failingSince ?? now
    record.failingSince = since
    if record.disabled == nil && record.failures >= disableMin && now.since(since) >= disableAfter {
      record.disabled = .failing
    }
    if let cause = record.disabled { return .disabled(cause) }
    guard
      let next = schedule.next(
        after: attempts, acceptedAt: acceptedAt, retryAfter: retryAfter, now: now, using: &random)
    else { return .gaveUp }
    return .retry(at: next)
  }

  /// By an operator, or for a cause that no attempt has shown.
  public mutating func disable(_ cause: Cause = .byOperator) { record.disabled = record.disabled ?? cause }

  /// By an operator: with nothing held against it.
  public mutating func enable() {
    record = Record()
    pausedUntil = .zero
    breaker = CircuitBreaker(breakerSettings)
  }

  /// Whether the endpoint as a whole is in trouble, and not only this message: a 400 or 404 is about the message.
  public static func isUnwell(_ status: UInt16) -> Bool { status >= 500 || status == 429 || status == 408 }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if (record.failingSince == nil) != (record.failures == 0) { return "\(record.failures) failures since never" }
    return breaker.violation() ?? schedule.violation()
  }
}
