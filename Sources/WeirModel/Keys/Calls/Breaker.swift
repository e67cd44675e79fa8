// SPDX-License-Identifier: Apache-2.0
internal import WeirFlows
internal import WeirPatterns

/// When calls stop for a while.
package struct Breaker: Sendable, Equatable {
  /// Share of failures that opens it.
  package var failures = BreakerKeys.failures.initial
  /// … of so many calls at least.
  package var ofAtLeast = BreakerKeys.ofAtLeast.initial
  package var within = BreakerKeys.within.initial
  /// Instead of `within`: the last so many calls.
  package var ofLast: Value<Int>?
  /// Instead of `within`: all calls, the older the less.
  package var halfLife: Value<Duration>?
  package var rest = BreakerKeys.rest.initial
  /// Failures in a row that open it while the window holds fewer than `ofAtLeast`.
  package var inARow = BreakerKeys.inARow.initial
  /// A call slower than this counts as slow; half slow ones open it too.
  package var slow = CallKeys.half(of: CallKeys.timeout.initial)

  func compile(into settings: inout CallSettings) {
    apply(to: &settings.instanceBreaker)
    apply(to: &settings.serviceBreaker)
  }

  /// Which of the three keys of the window the nearest layer has that has one.
  enum Window: Sendable, Equatable { case within, ofLast, halfLife }
  var nearest = Window.within

  private var window: CircuitBreaker.Settings.Window {
    if nearest == .halfLife, let halfLife { return .ewma(halfLife: halfLife.value) }
    if nearest == .ofLast, let ofLast { return .calls(ofLast.value) }
    return .time(within.value)
  }

  private func apply(to settings: inout CircuitBreaker.Settings) {
    settings.failures = failures.value
    settings.ofAtLeast = ofAtLeast.value
    settings.window = window
    settings.rest = rest.value
    settings.inARow = inARow.value
    settings.slow = slow.value
  }
}

/// `breaker:`.
enum BreakerKeys {
  private static let standard = CircuitBreaker.Settings()

  static let failures = ScalarKey(
    "failures", .share(zero: false), default: standard.failures, rule: "breaker.failures",
    "The share of failed calls that opens it.", alias: ["threshold", "failure-rate"])
  static let ofAtLeast = ScalarKey(
    "of-at-least", .count(1...100_000), default: standard.ofAtLeast, rule: "breaker.of-at-least (as Hystrix)",
    "Calls that must be in the window before a share counts.", alias: ["minimum", "request-volume-threshold"])
  static let within = ScalarKey(
    "within", .duration(), default: standard.windowLength, rule: "breaker.within (as Hystrix)",
    "The window that is looked at.", alias: ["window"])
  static let ofLast = ScalarKey(
    "of-last", .count(1...10_000), "Instead of `within`: the last so many calls are looked at (as resilience4j).",
    alias: ["sliding-window-size"])
  static let halfLife = ScalarKey(
    "half-life", .duration(),
    "Instead of `within`: all calls are looked at, each weighing half as much for every so long that has passed since (an EWMA)."
  )
  static let rest = ScalarKey(
    "rest", .duration(), default: standard.rest, rule: "breaker.rest (seed 002)",
    "How long it refuses before a probe may pass; longer each time in a row.",
    alias: ["open", "reset", "sleep-window", "timeout", "wait"])
  static let inARow = ScalarKey(
    "in-a-row", .count(0...1000), default: standard.inARow, rule: "breaker.in-a-row (as Envoy)",
    "Failures in a row that open it while fewer than `of-at-least` calls are in the window (with more, so many); 0: none do.",
    alias: ["consecutive", "consecutive-failures"])
  static let slow = ScalarKey(
    "slow", .duration(), rule: "half of timeout", "A call that takes longer is slow; half slow ones open it too.")

  static let part = Part<Breaker>(
    "breaker", "When calls stop for a while.", alone: [AnyScalar(word: "none")],
    start: { layers, resolver in
      var breaker = Breaker()
      breaker.nearest = window(layers, &resolver)
      return breaker
    },
    [
      .value(failures, \.failures),
      .value(ofAtLeast, \.ofAtLeast),
      .value(within, \.within),
      .optional(ofLast, \.ofLast),
      .optional(halfLife, \.halfLife),
      .value(rest, \.rest),
      .value(inARow, \.inARow),
      .value(slow, \.slow),
    ])
  static let section = part.section

  /// What the shares are of is said once: by time, by calls, or by weights that halve.
  private static func window(_ layers: Layers, _ resolver: inout Resolver) -> Breaker.Window {
    let keys: [(Key, Breaker.Window)] = [(within.key, .within), (ofLast.key, .ofLast), (halfLife.key, .halfLife)]
    for layer in layers.fields {
      let said = keys.filter { layer.node($0.0.name) != nil }
      if said.count > 1, let second = layer.node(said[1].0.name)?.place {
        resolver.mistake(
          "conflict", "a breaker has one window: `\(said[0].0.name)` says another", at: second,
          mend: "leave out one of `within`, `of-last` and `half-life`")
      }
      if let first = said.first { return first.1 }
    }
    return .within
  }
}

extension CircuitBreaker.Settings {
  /// The window's length.
  fileprivate var windowLength: Duration {
    guard case .time(let length) = window else {
      preconditionFailure("the language knows windows of time only, so the default is one")
    }
    return length
  }
}
