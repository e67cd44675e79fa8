// SPDX-License-Identifier: Apache-2.0

/// `work:`: own time of a component.
enum WorkKeys {
  static let shape = ScalarKey(
    "shape", ScalarType<Work.Shape>.word, default: .lognormal, rule: "work.shape (service times have a long tail)",
    "How the times are spread.", modelOnly: true, alias: ["distribution"])
  static let start = ScalarKey(
    "start", .duration(atLeastZero: true), rule: "ready at once", "From its start until it is ready.", modelOnly: true)

  struct Point: Sendable {
    var key: ScalarKey<Duration>
    /// Nil for the mean.
    var quantile: Double?
  }

  static let points: [Point] = [
    Point(key: ScalarKey("mean", .duration(), "The mean.", modelOnly: true, alias: ["average", "avg"]), quantile: nil),
    Point(key: ScalarKey("median", .duration(), "Half are faster.", modelOnly: true, alias: ["p50"]), quantile: 0.5),
    Point(key: ScalarKey("p90", .duration(), "90 % are faster.", modelOnly: true), quantile: 0.9),
    Point(key: ScalarKey("p95", .duration(), "95 % are faster.", modelOnly: true), quantile: 0.95),
    Point(key: ScalarKey("p99", .duration(), "99 % are faster.", modelOnly: true), quantile: 0.99),
    Point(
      key: ScalarKey("p99.9", .duration(), "99.9 % are faster.", modelOnly: true, alias: ["p999"]), quantile: 0.999),
  ]

  static let pointKeys = points.map(\.key.key)
  static let later: [Key] = [
    .later("cpu", "The part of it that needs a processor."),
    .later("cold-start", "From nothing until it is ready, of a function."),
  ]

  static let worksAtOnce = ScalarKey(
    "at-once", .count(1...1_000_000), rule: "at-once of the service",
    "Requests that one instance really works on at the same time, where `at-once` of the service does not say it.",
    modelOnly: true)

  static let section = Section(
    name: "work", doc: "Own time: a mean or median, and a second quantile that says how long its tail is.",
    keys: pointKeys + [shape.key, start.key, worksAtOnce.key] + later)

  // A store's work.
  static let read = Key("read", .section(section), "Of requests that read (GET, HEAD, OPTIONS).", modelOnly: true)
  static let write = Key("write", .section(section), "Of requests that write.", modelOnly: true)
  static let atOnce = ScalarKey(
    "at-once", .count(1...1_000_000), rule: "no limit", "Requests that it works on at the same time.", alone: ["none"],
    modelOnly: true)

  static let storeSection = Section(
    name: "store-work", doc: "Time for a request, or one for reads and one for writes.",
    keys: pointKeys + [shape.key, read, write, atOnce.key] + later)
}
