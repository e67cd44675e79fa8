// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// How messages of a queue get from the state process to the service that works on them: how many are taken at a time,
/// what an answer means for its message, and when to leave a service alone that takes nothing.
///
/// Which message is next, and when again, is the queue's decision (``DeliveryQueue``); how the call is made is the
/// call's (``UpstreamCall``). One value a queue and loop; the simulator drives the same.
///
///     ask(n) ─▶ leased(k ≤ n) ─▶ k calls ─▶ ended ─▶ ack · retry · refused · give back
///        ▲                                                            │ nobody was asked: rest, then one alone
///        └────────────────────────────────────────────────────────────┘
/// ## Invariants
/// 1. At most `slots` messages are under way (after a plan with fewer: until those that are too many have ended), and at
///    most one ask is open.
/// 2. What did not reach the service costs the message no attempt: it is given back, and the delivery rests, longer
///    each time, so that a service that is away uses up no message.
/// 3. After a rest one message goes alone; the others follow when it has reached the service.
public struct QueueDelivery: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Messages under way at the same time, on one loop.
    public var slots = 64
    /// How long nothing is taken after nothing could be delivered.
    ///
    /// From 100 ms, for an instance that starts again is back in a second, to 5 s, so that a service that comes back after an
    /// hour is found within that.
    public var rest: Backoff.Settings = {
      var settings = Backoff.Settings()
      settings.first = .milliseconds(100)
      settings.max = .seconds(5)
      return settings
    }()

    public init() {}
  }

  /// What becomes of a message.
  public enum Verdict: Sendable, Equatable {
    /// The service has taken it.
    case ack
    /// Again, not before so many nanoseconds if the service said so.
    case retry(after: Int64?)
    /// The service will never take it: no attempt more.
    case refused
    /// The service was not asked.
    case giveBack
  }

  private var slots: Int
  private var rest: Backoff
  public private(set) var inFlight = 0
  public private(set) var isAsking = false
  public private(set) var isStopped = false
  /// In a row: nothing reached the service.
  private var failures = 0
  private var restsUntil = Instant.zero

  public init(_ settings: Settings = Settings()) {
    slots = max(1, settings.slots)
    rest = Backoff(settings.rest)
  }

  /// The plan has changed; what is under way beyond the new slots ends first.
  public mutating func moved(to settings: Settings) {
    slots = max(1, settings.slots)
    rest = Backoff(settings.rest)
  }

  /// Nothing more is asked for; what is under way ends.
  public mutating func stop() { isStopped = true }

  /// How many messages to ask for now, which is then under way; 0 for none.
  public mutating func ask(now: Instant) -> Int {
    if isAsking || isStopped || now < restsUntil { return 0 }
    let most = failures > 0 ? 1 : slots
    guard inFlight < most else { return 0 }
    isAsking = true
    return most - inFlight
  }

  /// When ``ask(now:)`` may say something else by itself.
  public var nextWake: Instant { isStopped || isAsking || restsUntil == .zero ? .distantFuture : restsUntil }

  /// The answer to an ask.
  public mutating func leased(_ count: Int) {
    isAsking = false
    inFlight += count
  }

  /// The ask was not answered: whoever keeps the queue is away.
  public mutating func unanswered(now: Instant, using random: inout SeededRandom) {
    isAsking = false
    leaveAlone(now, &random)
  }

  /// A call has ended.
  ///
  /// `status` is of the service's own answer, 0 when there was none; `reason` is why there was none, or why ours stands in
  /// its place. `attempts` is how often the service was tried.
  public mutating func ended(
    status: UInt16, reason: Reason, attempts: UInt8, retryAfter: Int64?, now: Instant, using random: inout SeededRandom
  ) -> Verdict {
    inFlight -= 1
    if reason != .none && attempts == 0 {
      leaveAlone(now, &random)
      return .giveBack
    }
    failures = 0
    restsUntil = .zero
    return QueueDelivery.verdict(status: reason == .none ? status : 0, retryAfter: retryAfter)
  }

  /// A message that came when nothing is to be delivered any more.
  public mutating func declined() { inFlight -= 1 }

  private mutating func leaveAlone(_ now: Instant, _ random: inout SeededRandom) {
    // Several that fail together are one failure.
    if now < restsUntil { return }
    failures = min(failures + 1, 64)
    restsUntil = now.advanced(by: rest.wait(after: failures, using: &random))
  }

  /// What an answer says of its message; `status` 0: there was none.
  ///
  /// 2xx is done. What says "you" (4xx) will say so again, but for those that say "not now": 408, 409, 425, 429. All
  /// else may be better next time: redirects are mended by an operator.
  public static func verdict(status: UInt16, retryAfter: Int64?) -> Verdict {
    switch status {
    case 200..<300: .ack
    case 408, 409, 425, 429: .retry(after: retryAfter)
    case 400..<500: .refused
    default: .retry(after: retryAfter)
    }
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    inFlight < 0 ? "\(inFlight) messages are under way" : nil
  }
}
