// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirFlows
internal import WeirPatterns

/// How often requests of a route may come.
package struct RouteLimit: Sendable, Equatable {
  package enum By: String, Sendable, CaseIterable { case client, route }
  package var place: Place
  package var rate: Value<Rate>
  package var burst: Value<Int>
  package var by = LimitKeys.by.initial

  var settings: FlowPlan.Limit {
    FlowPlan.Limit(rate: rate.value, burst: burst.value, by: by.value == .client ? .client : .route)
  }
}

/// `limit:` of a route.
enum LimitKeys {
  static let rate = ScalarKey("rate", .rate, required: true, "Requests in the long run.")
  static let burst = ScalarKey(
    "burst", .count(1...1_000_000_000), rule: "one second's worth of rate", "Requests that may come at once.")
  static let by = ScalarKey(
    "by", ScalarType<RouteLimit.By>.word, default: .client, rule: "limit.by",
    "What is counted apart: each `client` (its address), or all requests of the `route` together.")

  static let part = Part<RouteLimit>(
    "limit", "A rate that requests may have.", short: rate.key,
    start: { layers, _ in
      guard let place = layers.place, let rate = layers.value(rate) else { return nil }
      let burst = GCRA(GCRA.Settings(rate: rate.value)).burst
      return RouteLimit(
        place: place, rate: rate, burst: Value(burst, .derived(from: "one second's worth of rate")))
    },
    [
      .value(rate, \.rate),
      .value(burst, \.burst),
      .value(by, \.by),
    ])
  static let section = part.section
}
