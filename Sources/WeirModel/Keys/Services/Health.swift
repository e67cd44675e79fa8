// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// How Weir learns whether an instance can be used.
package struct Health: Sendable, Equatable {
  package var place: Place
  /// GET: a status below 400 means that it takes requests; the word `tcp`: a connection does.
  package var ready: Value<String>?
  /// GET: anything else, in a row, means that it must be restarted.
  ///
  /// Nil: only its exit counts.
  package var live: Value<String>?
  /// The service that gRPC's health checking is asked for; empty for the whole server.
  package var grpc: Value<String>?
  package var startWithin = HealthKeys.startWithin.initial
  package var every = HealthKeys.every.initial
  package var timeout = HealthKeys.timeout.initial

  /// Something asks whether it takes requests.
  var isAsked: Bool { ready != nil || grpc != nil }

  /// `isOurs`: Weir starts its instances, and starts them again.
  func compiled(isOurs: Bool) -> Plan.Health {
    var settings = HealthMonitor.Settings()
    settings.every = every.value
    settings.timeout = timeout.value
    settings.startWithin = startWithin.value
    settings.checksLiveness = live != nil && isOurs
    settings.isOurs = isOurs
    return Plan.Health(
      ready: ready.map { $0.value == "tcp" ? "/" : $0.value }, isConnect: ready?.value == "tcp",
      live: isOurs ? live?.value : nil, grpc: grpc?.value, settings: settings)
  }
}

/// `health:`.
enum HealthKeys {
  private static let standard = HealthMonitor.Settings()

  static let ready = ScalarKey(
    "ready", .urlPathOrTCP,
    "Asked by GET: a status below 400 means that it takes requests; `tcp`: that it takes a connection does.",
    alias: ["readiness", "path"])
  static let live = ScalarKey(
    "live", .urlPath, rule: "only its exit counts",
    "Asked by GET: when it fails in a row, the instance is restarted.", alias: ["liveness"])
  static let grpc = ScalarKey(
    "grpc",
    .text("a gRPC service", example: "shop.Orders", pattern: "^[A-Za-z0-9_.]{0,100}$") { text in
      let isName = text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "." || $0 == "_") }
      return isName && text.utf8.count <= 100 ? nil : "a gRPC service is written shop.Orders"
    },
    "Asked by gRPC's health checking protocol: the name of a service, or \"\" for the whole server.")
  static let startWithin = ScalarKey(
    "start-within", .duration(), default: standard.startWithin, rule: "health.start-within",
    "A program that is not ready by then has failed to start.", alias: ["start-timeout", "start-period"])
  static let every = ScalarKey(
    "every", .duration(), default: standard.every, rule: "health.every", "How often it is asked.",
    alias: ["interval", "period"])
  static let timeout = ScalarKey(
    "timeout", .duration(), default: standard.timeout, rule: "health.timeout",
    "A question without an answer by then counts as failed.")

  static let part = Part<Health>(
    "health", "How Weir learns whether an instance can be used.", short: ready.key,
    start: { layers, _ in
      guard let place = layers.place,
        layers.value(ready) != nil || layers.value(live) != nil || layers.value(grpc) != nil
          || layers.value(startWithin) != nil
      else { return nil }
      return Health(place: place)
    },
    [
      .optional(ready, \.ready),
      .optional(live, \.live),
      .optional(grpc, \.grpc),
      .value(startWithin, \.startWithin),
      .value(every, \.every),
      .value(timeout, \.timeout),
    ])
  static let section = part.section
}
