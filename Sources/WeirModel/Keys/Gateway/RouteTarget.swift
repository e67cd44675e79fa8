// SPDX-License-Identifier: Apache-2.0

/// Who answers, beside one service: shares of several, the same instance again, several calls made into one answer.
package struct RouteTarget: Sendable, Equatable {}

/// The keys of a route that say who answers, beside `to`.
enum RouteTargetKeys {
  static let fields: [Field<RouteTarget>] = [
    .later("compose", "Answers made of several calls."),
    .later("sticky", "The same client meets the same instance."),
  ]
}
