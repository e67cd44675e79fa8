// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// How carefully requests are treated: once only, in which order when there are too many, how long they may last.
package struct RouteCare: Sendable, Equatable {
  package var webSocket: RouteWebSocket?
  package var idempotency: RouteIdempotency?
  package var priority = RouteCareKeys.priority.initial
}

/// What comes first when a service has too much to do.
package enum Priority: String, Sendable, Equatable, CaseIterable {
  case critical, normal, low

  var rank: PriorityAdmission.Class {
    switch self {
    case .critical: .critical
    case .normal: .normal
    case .low: .low
    }
  }
}

/// The keys of a route that say how carefully requests are treated.
enum RouteCareKeys {
  static let webSocket = Key(
    "websocket", .section(WebSocketKeys.section),
    "WebSockets pass, within these limits; without it an upgrade gets 501.",
    alias: ["websockets", "ws", "upgrade"])

  static let idempotency = Key(
    "idempotency", .section(IdempotencyKeys.section),
    "POST and PATCH that carry a key are done once, and repeats get the same answer; here for how long.",
    alias: ["idempotent", "idempotency-key"])

  static let priority = ScalarKey(
    "priority", ScalarType<Priority>.word, default: .normal, rule: "route.priority",
    "What comes first when the service has too much to do; `low` is shed first, `critical` last.", alias: ["importance"]
  )

  static let fields: [Field<RouteCare>] = [
    .optionalPart(idempotency, \.idempotency, IdempotencyKeys.part).inDefaults,
    .value(priority, \.priority).inDefaults,
    .optionalPart(webSocket, \.webSocket, WebSocketKeys.part).inDefaults,
  ]
}
