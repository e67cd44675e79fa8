// SPDX-License-Identifier: Apache-2.0

/// How carefully requests are treated: once only, in which order when there are too many, how long they may last.
package struct RouteCare: Sendable, Equatable {
  package var webSocket: RouteWebSocket?
}

/// The keys of a route that say how carefully requests are treated.
enum RouteCareKeys {
  static let webSocket = Key(
    "websocket", .section(WebSocketKeys.section),
    "WebSockets pass, within these limits; without it an upgrade gets 501.",
    alias: ["websockets", "ws", "upgrade"])

  static let fields: [Field<RouteCare>] = [
    .later("idempotency", "Requests with a key are done once."),
    .later("priority", "What is shed last."),
    .optionalPart(webSocket, \.webSocket, WebSocketKeys.part).inDefaults,
  ]
}
