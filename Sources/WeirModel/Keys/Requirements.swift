// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

/// `requirements:`, and `expect:` of a scenario.
enum RequirementKeys {
  static let availability = ScalarKey(
    "availability", .share(zero: false), "The share of requests that must be answered well: not with 5xx, not cut off.")
  static let latency = Key(
    "latency", .section(LatencyKeys.section), "How long answers may take, by quantile.")
  static let load = ScalarKey(
    "load", .rate, "Requests a second that it must stand: simulate plays `traffic` scaled to it.")

  static let section = Section(
    name: "requirements", doc: "What the system must reach.",
    keys: [
      availability.key, latency, load.key,
      .later("recovery", "How much may be lost (point) and how long it may take (time) after a disaster."),
      .later("cost", "What it may cost."),
      .later("team", "Who runs it: what advise weighs complexity against."),
      .later("routes", "Requirements of single routes."),
    ])

  static let lostMessages = ScalarKey(
    "lost-messages", .count(0...1_000_000_000),
    "How many messages that a queue has accepted may neither be worked on nor be kept as dead letters.",
    modelOnly: true)

  static let outOfOrder = ScalarKey(
    "out-of-order", .count(0...1_000_000_000),
    "How many messages may be worked on after a later one of their key: a message's number is its place among those of its key as they were sent.",
    modelOnly: true)
  static let doneTwice = ScalarKey(
    "done-twice", .count(0...1_000_000_000),
    "How many messages an operation that is not `idempotent` may work on twice.", modelOnly: true)
  static let halfDone = ScalarKey(
    "half-done", .count(0...1_000_000_000),
    "How many sagas may be stuck, or be over with a step that stays done though a later one failed.", modelOnly: true)
  static let lag = ScalarKey(
    "lag", .duration(), "How long a message of any queue, topic or stream may wait before it is worked on.",
    modelOnly: true)
  static let drain = ScalarKey(
    "drain", .duration(), "How long any backlog may take to go, from its peak on.", modelOnly: true)

  static let expectSection = Section(
    name: "expect", doc: "What must hold within a scenario.",
    keys: [
      availability.key, latency,
      lostMessages.key, outOfOrder.key, doneTwice.key, halfDone.key, lag.key, drain.key,
      .later("stale-reads", "How many reads may be stale, by data item."),
    ])
}

/// Quantiles as keys: `{ p50: 80ms, p99: 300ms }`.
enum LatencyKeys {
  struct Quantile: Sendable {
    var key: ScalarKey<Duration>
    /// Nil for the mean.
    var share: Double?
  }

  static let quantiles: [Quantile] = [
    Quantile(key: ScalarKey("mean", .duration(), "The mean."), share: nil),
    Quantile(key: ScalarKey("p50", .duration(), "Half are faster.", alias: ["median"]), share: 0.5),
    Quantile(key: ScalarKey("p75", .duration(), "75 % are faster."), share: 0.75),
    Quantile(key: ScalarKey("p90", .duration(), "90 % are faster."), share: 0.9),
    Quantile(key: ScalarKey("p95", .duration(), "95 % are faster."), share: 0.95),
    Quantile(key: ScalarKey("p99", .duration(), "99 % are faster."), share: 0.99),
    Quantile(key: ScalarKey("p99.9", .duration(), "99.9 % are faster.", alias: ["p999"]), share: 0.999),
  ]

  static let section = Section(
    name: "latency", doc: "Upper bounds by quantile.", keys: quantiles.map(\.key.key))
}
