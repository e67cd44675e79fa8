// SPDX-License-Identifier: Apache-2.0

/// What a request must have beside path, method and host.
package struct RouteMatch: Sendable, Equatable {}

/// The keys of a route that say what a request must have beside path, method and host.
enum RouteMatchKeys {
  static let fields: [Field<RouteMatch>] = [
    .later("match", "Header fields and queries that a request must have.")
  ]
}
