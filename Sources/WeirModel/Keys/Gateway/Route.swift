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
  /// Index in `Design.services`.
  package var to: Value<Int>
  package var target = RouteTarget()
  /// Asked in this order.
  package var limits: [RouteLimit] = []
  /// Replaces the timeout of the call from the gateway to the service.
  package var timeout: Value<Duration>?
  package var transform = RouteTransform()
  package var access = RouteAccess()
  package var care = RouteCare()

  /// The narrowest of its limits.
  package var limit: RouteLimit? { limits.min { $0.rate.value < $1.rate.value } }
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
    "to", .name, required: true, "The service that answers.", alias: ["service", "backend", "upstream"],
    shape: Shape.scalar(ScalarType<String>.name).orLater(map: true))
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
      let target = layers.value(to).flatMap { name in
        resolver.service(name, whatFor: "a route").map { index in name.map { _ in index } }
      }
      guard let name = layers.name, let path = layers.value(path), let target else { return nil }
      return Route(name: name, path: path, to: target)
    },
    [
      .value(path, \.path),
      .words(methods, .method, \.methods),
      .optional(host, \.host),
    ] + RouteMatchKeys.fields.at(\.match) + [
      .custom(
        to.key,
        explain: { route, design in
          let name = design.services[route.to.value].name.text
          return [Effective(key: to.name, content: .value(name), origin: route.to.origin)]
        })
    ] + RouteTargetKeys.fields.at(\.target) + [
      .items(limit, \.limits, LimitKeys.part).inDefaults,
      .optional(timeout, \.timeout).inDefaults,
    ] + RouteTransformKeys.fields.at(\.transform) + RouteAccessKeys.fields.at(\.access)
      + RouteCareKeys.fields.at(\.care))
  static let section = part.section
}
