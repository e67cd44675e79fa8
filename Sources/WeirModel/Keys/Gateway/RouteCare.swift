// SPDX-License-Identifier: Apache-2.0

/// How carefully requests are treated: once only, in which order when there are too many, how long they may last.
package struct RouteCare: Sendable, Equatable {}

/// The keys of a route that say how carefully requests are treated.
enum RouteCareKeys {
  static let fields: [Field<RouteCare>] = [
    .later("idempotency", "Requests with a key are done once."),
    .later("priority", "What is shed last."),
    .later("websocket", "Long-lived connections."),
  ]
}
