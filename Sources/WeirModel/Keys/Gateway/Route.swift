// SPDX-License-Identifier: Apache-2.0

/// Which requests go where, and within which limits.
package struct Route: Sendable, Equatable {
  package var name: Name
  /// `/api/**`: `*` is one part, `**` the rest, also none.
  package var path: Value<String>
  /// In capitals; nil for all methods.
  package var methods: Value<[String]>?
  /// In lower case; nil for any host.
  ///
  /// `*.shop.example` for every name below.
  package var host: Value<String>?
  package var match = RouteMatch()
  /// The services that answer, with their weights: one, several that share the requests, or none for a route that answers
  /// by itself.
  package var to: [RouteShare]
  /// Which instances of its only service.
  var subset: Subset?
  package var target = RouteTarget()
  /// Asked in this order.
  package var limits: [RouteLimit] = []
  /// Replaces the timeout of the call from the gateway to the service.
  package var timeout: Value<Duration>?
  package var transform = RouteTransform()
  package var access = RouteAccess()
  package var care = RouteCare()
  package var edge = RouteEdge()

  /// The narrowest of its limits.
  package var limit: RouteLimit? { limits.min { $0.rate.value < $1.rate.value } }

  /// Indexes in `Design.services`.
  package var services: [Int] { to.map(\.service.value) }
  /// The first service.
  package var service: Int? { to.first?.service.value }
}

/// One entry of `routes:`.
enum RouteKeys {
  static let path = ScalarKey(
    "path", .routePath, required: true, "Which paths: `*` stands for one part, `**` for the rest, also none.")
  static let methods = Key(
    "methods", .list(.scalar(.method), least: 1), default: "all methods",
    "Which methods; a path with others answers 405.",
    alias: ["method"])
  static let host = ScalarKey(
    "host", .host, rule: "any host", "Which host: `shop.example`, or `*.shop.example` for every name below.",
    alias: ["hosts"])
  static let to = ScalarKey(
    "to", .name, rule: "a route that answers by itself has none",
    "The service that answers, or several with their weights: `{ web: 95, web-next: 5 }`; a list where there is more to say.",
    alias: ["service", "backend", "upstream"],
    shape: Shape.scalar(ScalarType<String>.name).or(.named(.plain("a service"), .scalar(weight)))
      .or(.list(.section(RouteShareKeys.section), least: 1)))
  static let weight = ScalarType<Int>.count(0...1_000_000, words: "a weight")
  /// Keys of routes that answer by themselves.
  static let instead = ["redirect", "answer", "files", "compose", "queue"]
  static let limit = Key(
    "limit", Shape.section(LimitKeys.section).or(.list(.section(LimitKeys.section), least: 1)),
    "How often requests may come; more get 429. One limit, or a list of them.", alias: ["rate-limit"])
  static let timeout = ScalarKey(
    "timeout", .duration(), rule: "the timeout of the call",
    "The longest that a request may take in all, waits and retries included.")

  static let part = Part<Route>(
    "route", "Which requests go where, and within which limits.",
    start: { layers, resolver in
      // Also without a path: a target that does not exist is a mistake of its own.
      let target = resolver.target(layers)
      guard let name = layers.name, let path = layers.value(path), let target else { return nil }
      return Route(name: name, path: path, to: target)
    },
    [
      .value(path, \.path),
      .words(methods, .method, \.methods),
      .optional(host, \.host),
    ] + RouteMatchKeys.fields.at(\.match) + [
      .custom(to.key, explain: { route, design in route.explainTargets(design) })
    ] + LabelKeys.fields(\.subset) + RouteTargetKeys.fields.at(\.target) + [
      .items(limit, \.limits, LimitKeys.part).inDefaults,
      .optional(timeout, \.timeout).inDefaults,
    ] + RouteEdgeKeys.fields.at(\.edge) + RouteTransformKeys.fields.at(\.transform)
      + RouteAccessKeys.fields.at(\.access)
      + RouteCareKeys.fields.at(\.care))
  static let section = part.section
}
