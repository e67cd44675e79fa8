// SPDX-License-Identifier: Apache-2.0
internal import WeirFlows
internal import WeirPatterns

/// How one component calls another: one entry of `calls`, or a gateway's calls to a service it routes to.
package struct Call: Sendable, Equatable {
  /// `place.path` is `services.api.calls.search`; for a gateway's call it is the route's.
  package var place: Place
  package var to: Value<Component>
  /// Which of the callee's instances; nil: all.
  package var subset: Subset?
  package var timeout = CallKeys.timeout.initial
  package var attempt: Value<Duration>
  package var connect = CallKeys.connect.initial
  package var retry = Retry()
  /// Nil: never.
  package var hedge: Hedge?
  /// So many are sent for one that the callee accepts; nil: all.
  package var throttle: Value<Double>?
  /// Nil for `breaker: none`, and for stores, which programs call by themselves.
  package var breaker: Breaker?
  /// Calls of one instance of the caller at the same time; nil for no limit.
  package var atOnce: Value<Int>?
  /// Connections that one instance of the caller holds open; nil when the file does not say.
  package var connections: Value<Int>?
  package var optional = CallKeys.optional.initial
  /// What the caller gets instead when the call fails; nil: the failure.
  package var fallback: Value<Fallback>?

  init(place: Place, to: Value<Component>) {
    self.place = place
    self.to = to
    attempt = CallKeys.half(of: timeout)
  }

  /// It is the call to these instances of a component.
  func leads(to component: Component, _ subset: Subset? = nil) -> Bool {
    to.value == component && self.subset?.text == subset?.text
  }

  /// Sets what follows from other values and is not written.
  mutating func derive() {
    if !attempt.isWritten {
      attempt =
        retry.attempts.value > 1
        ? CallKeys.half(of: timeout) : Value(timeout.value, .derived(from: "timeout, as no other attempt follows"))
    }
    if breaker?.slow.isWritten == false { breaker?.slow = CallKeys.half(of: timeout) }
  }

  func compile(into settings: inout CallSettings) {
    settings.timeout = timeout.value
    // Unwritten, a call decides by itself: half its timeout where another attempt can follow.
    settings.attempt = attempt.isWritten ? attempt.value : nil
    settings.connect = connect.value
    retry.compile(into: &settings)
    hedge?.compile(into: &settings)
    if let throttle {
      var own = ClientThrottle.Settings()
      own.multiplier = throttle.value
      settings.throttle = own
    }
    settings.breaks = breaker != nil
    breaker?.compile(into: &settings)
    settings.atOnce = atOnce.map { Int32($0.value) } ?? .max
    settings.optional = optional.value
    if case .answer? = fallback?.value { settings.hasFallback = true }
    // A failure must not look better to the balancer than the slowest answer.
    settings.balance.failurePenalty = max(settings.balance.failurePenalty, timeout.value)
  }
}

/// One entry of `calls:`.
enum CallKeys {
  static let timeout = ScalarKey(
    "timeout", .duration(), default: CallSettings().timeout, rule: "call.timeout",
    "The longest that a call may take in all, waits and retries included.", alias: ["deadline"])
  static let attempt = ScalarKey(
    "attempt", .duration(), rule: "half of timeout where another attempt can follow",
    "The longest that one attempt may take.",
    alias: ["attempt-timeout", "per-try-timeout"])
  static let connect = ScalarKey(
    "connect", .duration(), default: CallSettings().connect, rule: "call.connect",
    "The longest that connecting may take, within an attempt.", alias: ["connect-timeout"])
  static let retry = Key(
    "retry", .section(RetryKeys.section), "When a failed call is tried again.", alias: ["retries"])
  static let breaker = Key(
    "breaker", .section(BreakerKeys.section), "When calls stop for a while, because they fail anyway.",
    alias: ["circuit-breaker", "circuitbreaker"])
  static let atOnce = ScalarKey(
    "at-once", .count(1...1_000_000), rule: "no limit",
    "Calls of one instance of the caller at the same time: what is slow cannot take all of it.", alone: ["none"],
    alias: ["bulkhead", "concurrency"])
  static let connections = ScalarKey(
    "connections", .count(1...100_000), "Connections that one instance of the caller holds: its pool.",
    alias: ["pool", "pool-size", "max-connections"])
  static let throttle = ScalarKey(
    "throttle", .times, rule: "no throttle",
    "While the callee refuses (429, 503, no answer), about so many calls are sent for each that it accepts: `x2`.",
    alone: ["none"], alias: ["client-throttle", "adaptive-throttle"])
  static let optional = ScalarKey(
    "optional", .bool, default: CallSettings().optional, rule: "call.optional",
    "Whether the caller lives without it: it does not count against the caller's availability, and gets its fallback.")
  static let fallback = Key(
    "fallback",
    Shape.section(FallbackKeys.section).or(Shape(scalars: [AnyScalar(word: "omit")])).orLater(words: ["stale"]),
    "What the caller gets instead when the call fails: `omit`, or `{ answer: … }`.")

  /// Two attempts fit into it.
  static func half(of timeout: Value<Duration>) -> Value<Duration> {
    Value(timeout.value / 2, .derived(from: "half of timeout"))
  }

  static let part = Part<Call>(
    "call", "How one component calls another.",
    // Who calls whom is the map's name: the resolver begins it.
    start: { _, _ in nil },
    [
      .value(timeout, \.timeout).inDefaults,
      .value(attempt, \.attempt).inDefaults,
      .value(connect, \.connect).inDefaults,
      .custom(
        retry, read: { layers, resolver, call in call.readRetry(call.own(layers), &resolver) },
        explain: { call, design in [.map(retry, RetryKeys.part.explain(call.retry, design))] }
      ).inDefaults,
      .custom(
        breaker, read: { layers, resolver, call in call.readBreaker(call.own(layers), &resolver) },
        explain: { call, design in [call.explainBreaker(design)] }
      ).inDefaults,
      .optional(atOnce, \.atOnce).inDefaults,
      .optional(connections, \.connections),
      .optional(throttle, \.throttle).inDefaults,
      .value(optional, \.optional),
      FallbackKeys.field,
    ] + HedgeKeys.fields + LabelKeys.fields(\.subset))
  static let section = part.section
}

extension Call {
  private var isToStore: Bool { if case .store = to.value { true } else { false } }

  /// What holds for all calls by default is meant for those that Weir makes; programs call stores by themselves.
  fileprivate func own(_ layers: Layers) -> Layers {
    isToStore ? Layers(Array(layers.fields.prefix { $0.section.name == CallKeys.section.name })) : layers
  }

  fileprivate mutating func readRetry(_ layers: Layers, _ resolver: inout Resolver) {
    RetryKeys.part.read(layers.section(CallKeys.retry, RetryKeys.section), &resolver, into: &retry)
    if isToStore && !retry.attempts.isWritten {
      retry.attempts = Value(1, .defaulted(rule: "retry.attempts of a store (the program's own business)"))
    }
  }

  fileprivate mutating func readBreaker(_ layers: Layers, _ resolver: inout Resolver) {
    guard let layers = layers.section(CallKeys.breaker, BreakerKeys.section, unless: "none"),
      !(isToStore && layers.isEmpty)
    else { return }
    breaker = BreakerKeys.part.read(layers, &resolver)
  }

  fileprivate func explainBreaker(_ design: Design) -> Effective {
    if let breaker { return .map(CallKeys.breaker, BreakerKeys.part.explain(breaker, design)) }
    let rule = "breaker of a store (the program's own business)"
    return Effective(
      key: CallKeys.breaker.name, content: .value("none"), origin: isToStore ? .defaulted(rule: rule) : nil)
  }
}
