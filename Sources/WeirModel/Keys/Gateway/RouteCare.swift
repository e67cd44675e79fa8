// SPDX-License-Identifier: Apache-2.0

/// How carefully requests are treated: once only, in which order when there are too many, how long they may last.
package struct RouteCare: Sendable, Equatable {
  package var webSocket: RouteWebSocket?
  package var idempotency: RouteIdempotency?
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

  static let fields: [Field<RouteCare>] = [
    .optionalPart(idempotency, \.idempotency, IdempotencyKeys.part).inDefaults,
    .later("priority", "What is shed last."),
    .optionalPart(webSocket, \.webSocket, WebSocketKeys.part).inDefaults,
  ]
}
