// SPDX-License-Identifier: Apache-2.0

/// Who may call.
package struct RouteAccess: Sendable, Equatable {}

/// The keys of a route that say who may call.
enum RouteAccessKeys {
  static let fields: [Field<RouteAccess>] = [
    .later("identity", "Who may call: one of `identities`."),
    .later("allow", "What an identity must have."),
    .later("audit", "Writes every request into the audit log."),
  ]
}
