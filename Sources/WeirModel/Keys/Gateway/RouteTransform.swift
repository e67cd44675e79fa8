// SPDX-License-Identifier: Apache-2.0

/// What is changed on the way, of requests and of answers.
package struct RouteTransform: Sendable, Equatable {}

/// The keys of a route that say what is changed on the way, of requests and of answers.
enum RouteTransformKeys {
  static let fields: [Field<RouteTransform>] = [
    .later("rewrite", "The path as the service sees it."),
    .later("cache", "How long answers are kept."),
    .later("headers", "Header fields that are set or removed."),
    .later("cors", "Pages of other origins that may call it."),
  ]
}
