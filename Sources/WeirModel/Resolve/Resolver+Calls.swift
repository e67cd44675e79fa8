// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

extension Resolver {
  /// One entry of `calls:`.
  mutating func call(_ entry: Node.Entry, from caller: Name) -> Call? {
    let place = entry.value.place
    // A name that cannot be one was reported; a body with mistakes still names its callee.
    let name = Value(entry.key, .written(Place(file: place.file, path: place.path, value: entry.keySpot)))
    guard nameProblem(entry.key) == nil, let to = component(name) else { return nil }
    let fields = Fields(entry.value, CallKeys.section)
    let layers = Layers([entry.value.isReported ? nil : fields] + callDefaults)
    if case .store = to { refuseForStore(fields, entry.key) }
    return call(layers, to: name.map { _ in to }, place: place)
  }

  var callDefaults: [Fields?] { defaults.map { $0.section(DefaultsKeys.call, DefaultsKeys.callSection) } }

  /// Programs call their stores by themselves: what Weir would do on the way it cannot do there.
  private mutating func refuseForStore(_ fields: Fields, _ name: String) {
    for key in [CallKeys.retry, CallKeys.breaker, CallKeys.fallback] {
      guard let node = fields.node(key.name) else { continue }
      refuse(
        .run, "'\(name)' is a store, which programs call by themselves: weir run cannot do '\(key.name)' there",
        at: node.place, mend: "leave '\(key.name)' out, or do it in the program")
    }
  }

  /// The settings of a call from its layers, the nearest first.
  func call(_ layers: Layers, to: Value<Component>, place: Place) -> Call {
    let isStore = if case .store = to.value { true } else { false }
    let timeout = layers.value(CallKeys.timeout, else: Value(.seconds(5), .defaulted(rule: "call.timeout")))
    let half = Value(timeout.value / 2, Origin.derived(from: "half of timeout"))
    // What holds for all calls by default is meant for those that Weir makes.
    let own = isStore ? Layers(Array(layers.fields.prefix { $0.section.name == CallKeys.section.name })) : layers
    let retry = retry(own, isStore: isStore)
    let attempt =
      retry.attempts.value > 1 ? half : Value(timeout.value, .derived(from: "timeout, as no other attempt follows"))
    return Call(
      place: place, to: to, timeout: timeout, attempt: layers.value(CallKeys.attempt) ?? attempt,
      connect: layers.value(CallKeys.connect, else: Value(.seconds(1), .defaulted(rule: "call.connect"))),
      retry: retry, breaker: breaker(own, half: half, isStore: isStore),
      atOnce: layers.valueOrNone(CallKeys.atOnce), connections: layers.value(CallKeys.connections),
      optional: layers.value(CallKeys.optional, else: Value(false, .defaulted(rule: "call.optional"))),
      fallback: fallback(layers))
  }

  private func retry(_ layers: Layers, isStore: Bool) -> Retry {
    let retry = layers.section(CallKeys.retry, RetryKeys.section)
    let backoff = retry.section(RetryKeys.backoff, BackoffKeys.section)
    var attempts = retry.value(RetryKeys.attempts, else: Value(1, .defaulted(rule: "retry.attempts")))
    if isStore && !attempts.isWritten {
      attempts = Value(1, .defaulted(rule: "retry.attempts of a store (the program's own business)"))
    }
    return Retry(
      attempts: attempts,
      first: backoff.value(BackoffKeys.first, else: Value(.zero, .defaulted(rule: "backoff.first"))),
      max: backoff.value(BackoffKeys.max, else: Value(.zero, .defaulted(rule: "backoff.max"))),
      jitter: backoff.value(BackoffKeys.jitter, else: Value(0, .defaulted(rule: "backoff.jitter"))),
      budget: retry.value(RetryKeys.budget, else: Value(0, .defaulted(rule: "retry.budget"))))
  }

  private func breaker(_ layers: Layers, half: Value<Duration>, isStore: Bool) -> Breaker? {
    guard let breaker = layers.section(CallKeys.breaker, BreakerKeys.section, unless: "none") else { return nil }
    if isStore && breaker.isEmpty { return nil }
    guard let failures = breaker.valueOrDefault(BreakerKeys.failures),
      let ofAtLeast = breaker.valueOrDefault(BreakerKeys.ofAtLeast),
      let within = breaker.valueOrDefault(BreakerKeys.within), let rest = breaker.valueOrDefault(BreakerKeys.rest),
      let inARow = breaker.valueOrDefault(BreakerKeys.inARow)
    else { return nil }
    return Breaker(
      failures: failures, ofAtLeast: ofAtLeast, within: within, rest: rest, inARow: inARow,
      slow: breaker.value(BreakerKeys.slow) ?? half)
  }

  private func fallback(_ layers: Layers) -> Value<Fallback>? {
    for layer in layers.fields {
      guard let node = layer.node(CallKeys.fallback.name) else { continue }
      if let scalar = node.scalar, scalar.text == "omit" { return Value(.omit, .written(node.place)) }
      if let answer = Fields(node, FallbackKeys.section).value(FallbackKeys.answer) {
        return Value(.answer(answer.value), .written(node.place))
      }
    }
    return nil
  }
}
