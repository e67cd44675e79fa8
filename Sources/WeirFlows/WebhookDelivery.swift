// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// How messages get to one endpoint of a partner: how many are taken at a time, whether one is sent now, and what an attempt
/// came to.
///
/// When a message is sent again says ``WebhookSchedule``, whether the endpoint is sent anything ``WebhookEndpoint``; which
/// message is next, and in what order those of one key go, is its queue's (``DeliveryQueue``). One value an endpoint; the
/// simulator drives the same. Instants are of a clock that survives a restart.
///
///     ask(n) ─▶ leased(k ≤ n) ─▶ admit ─┬─ send ─▶ ended ─▶ ack · retry · gave up · give back · disabled
///        ▲                              └─ give back: it rests, or is disabled       │
///        └───────────────────────────────────────────────────────────────────────────┘
/// ## Invariants
/// 1. At most `slots` messages are under way, one ask is open, and no more are sent than `rate` allows.
/// 2. What is given back has cost its message no attempt: the breaker's rests use up no schedule.
/// 3. After a rest one message goes alone; the others follow when the endpoint has answered it.
/// 4. A disabled endpoint is asked nothing for.
public struct WebhookDelivery: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Messages under way at the same time: a partner's server is small, and 16 answers of 100 ms are 160 a second.
    public var slots = 16
    /// What the endpoint may be sent in the long run; one second's worth at once.
    public var rate: Rate?
    /// How long nothing is taken after the state process did not answer, or an attempt was cut off by ourselves.
    public var rest = Duration.seconds(1)
    public var endpoint = WebhookEndpoint.Settings()
    public var schedule = WebhookSchedule.Settings()
    public var breaker = WebhookEndpoint.Settings.breaker

    public init() {}
  }

  public enum Admission: Sendable, Equatable, BitwiseCopyable {
    case send(CircuitBreaker.Ticket)
    /// Not now: it waits in its queue, and no attempt was made.
    case giveBack
  }

  /// What becomes of a message.
  public enum Verdict: Sendable, Equatable, BitwiseCopyable {
    case ack
    /// Not before so many nanoseconds.
    case retry(after: Int64)
    /// Its schedule is over.
    case gaveUp
    case giveBack
    /// Not taken; nothing more goes to this endpoint.
    case disabled(WebhookEndpoint.Cause)
  }

  public private(set) var settings: Settings
  private var endpoint: WebhookEndpoint
  private var limit: GCRA?
  private var cell: Int64 = 0
  public private(set) var inFlight = 0
  public private(set) var isAsking = false
  public private(set) var isStopped = false
  /// It was at rest, and has answered nothing since.
  private var isProbing = false
  private var restsUntil = Instant.zero

  public init(_ settings: Settings = Settings(), record: WebhookEndpoint.Record = .init()) {
    self.settings = settings
    endpoint = WebhookDelivery.endpoint(settings, record)
    limit = WebhookDelivery.limit(settings)
  }

  private static func endpoint(_ settings: Settings, _ record: WebhookEndpoint.Record) -> WebhookEndpoint {
    WebhookEndpoint(
      settings.endpoint, schedule: WebhookSchedule(settings.schedule), breaker: settings.breaker, record: record)
  }

  private static func limit(_ settings: Settings) -> GCRA? {
    settings.rate.flatMap { $0.perSecond > 0 ? GCRA(GCRA.Settings(rate: $0)) : nil }
  }

  /// What is to be kept of the endpoint.
  public var record: WebhookEndpoint.Record { endpoint.record }

  // MARK: Inputs

  /// The plan or the endpoint's own settings have changed; what is under way beyond new slots ends first.
  public mutating func moved(to settings: Settings) {
    if settings == self.settings { return }
    if limit != WebhookDelivery.limit(settings) { cell = 0 }
    self.settings = settings
    limit = WebhookDelivery.limit(settings)
    endpoint = WebhookDelivery.endpoint(settings, endpoint.record)
  }

  /// Nothing more is asked for; what is under way ends.
  public mutating func stop() { isStopped = true }

  /// How many messages to ask for now, which is then under way; 0 for none.
  public mutating func ask(now: Instant) -> Int {
    if isAsking || isStopped || endpoint.record.disabled != nil || now < restsUntil { return 0 }
    var most = (isProbing ? 1 : max(1, settings.slots)) - inFlight
    if let limit { most = min(most, limit.remaining(cell: cell, now: now)) }
    if most <= 0 { return 0 }
    isAsking = true
    return most
  }

  /// When ``ask(now:)`` may say something else by itself.
  public func nextWake(now: Instant) -> Instant {
    if isStopped || isAsking || endpoint.record.disabled != nil { return .distantFuture }
    var wake = restsUntil
    if let limit, case .refuse(let until) = limit.decide(cell: cell, now: now) { wake = max(wake, until) }
    return wake > now ? wake : .distantFuture
  }

  /// The answer to an ask; each message is admitted or skipped next.
  public mutating func leased(_ count: Int) {
    isAsking = false
    inFlight += count
  }

  /// The ask was not answered: whoever keeps the queue is away.
  public mutating func unanswered(now: Instant) {
    isAsking = false
    restsUntil = max(restsUntil, now + settings.rest)
  }

  /// A message that the endpoint does not want: no attempt is made.
  public mutating func skipped() { inFlight -= 1 }

  /// Whether a leased message is sent now.
  public mutating func admit(now: Instant, using random: inout SeededRandom) -> Admission {
    if !isStopped {
      switch endpoint.admit(now: now, using: &random) {
      case .send(let ticket):
        if let limit, case .allow(let moved, _) = limit.decide(cell: cell, now: now) { cell = moved }
        return .send(ticket)
      case .wait(let until):
        restsUntil = max(restsUntil, until)
        isProbing = true
      case .disabled: break
      }
    }
    inFlight -= 1
    return .giveBack
  }

  /// What an attempt came to; `attempts` are those of this message, this one included.
  public mutating func ended(
    _ ticket: CircuitBreaker.Ticket, _ outcome: WebhookEndpoint.Outcome, attempts: Int, acceptedAt: Instant,
    now: Instant, using random: inout SeededRandom
  ) -> Verdict {
    inFlight -= 1
    if case .answered(let status, _) = outcome, !WebhookEndpoint.isUnwell(status) {
      isProbing = false
      restsUntil = .zero
    }
    switch endpoint.settle(ticket, outcome, attempts: attempts, acceptedAt: acceptedAt, now: now, using: &random) {
    case .delivered: return .ack
    case .retry(let at): return .retry(after: max(0, at.since(now)))
    case .gaveUp: return .gaveUp
    case .again:
      restsUntil = max(restsUntil, now + settings.rest)
      return .giveBack
    case .disabled(let cause): return .disabled(cause)
    }
  }

  /// By an operator, or for a cause that no attempt has shown.
  public mutating func disable(_ cause: WebhookEndpoint.Cause = .byOperator) { endpoint.disable(cause) }

  /// By an operator: with nothing held against it.
  public mutating func enable() {
    endpoint.enable()
    isProbing = false
    restsUntil = .zero
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    if inFlight < 0 { return "\(inFlight) messages are under way" }
    return endpoint.violation()
  }
}
