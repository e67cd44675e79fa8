// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirPatterns

/// WebSockets of a route: how long they may be silent, what a client may send.
package struct RouteWebSocket: Sendable, Equatable {
  package var idle = WebSocketKeys.idle.initial
  package var messages: Value<Rate>?
  package var burst: Value<Int>?
  package var messageSize = WebSocketKeys.messageSize.initial
  package var atOnce: Value<Int>?

  var settings: TunnelWatch.Settings {
    var settings = TunnelWatch.Settings()
    settings.idle = idle.value
    settings.messages = messages?.value
    settings.burst = burst?.value
    settings.messageBytes = Int64(messageSize.value.count)
    settings.atOnce = atOnce?.value
    return settings
  }
}

/// `websocket:` of a route.
enum WebSocketKeys {
  private static let standard = TunnelWatch.Settings()

  static let idle = ScalarKey(
    "idle", .duration(), default: standard.idle, rule: "websocket.idle (longer than servers' pings)",
    "A WebSocket in which nothing moves for so long is closed (1001).", alias: ["timeout", "idle-timeout"])
  static let messages = ScalarKey(
    "messages", .rate, rule: "no limit", "Messages that a client may send in the long run; more close it (1008).",
    alias: ["rate", "message-rate"])
  static let burst = ScalarKey(
    "burst", .count(1...1_000_000_000), rule: "one second's worth of messages", "Messages that may come at once.")
  static let messageSize = ScalarKey(
    "message-size", .bytes, default: Bytes(Int(standard.messageBytes)), rule: "websocket.message-size",
    "The largest message that a client may send; a larger one closes it (1009).", alias: ["max-message-size", "size"])
  static let atOnce = ScalarKey(
    "at-once", .count(1...1_000_000), rule: "as many as requests may be in work",
    "WebSockets that are open at the same time; more get 503.", alias: ["connections"])

  /// `websocket: true`.
  private static var yes: AnyScalar {
    var word = AnyScalar(word: "true")
    word.schema = .object([("const", .bool(true))])
    return word
  }

  static let part = Part<RouteWebSocket>(
    "websocket", "WebSockets of a route.", alone: [yes, AnyScalar(word: "none")], start: { _, _ in RouteWebSocket() },
    [
      .value(idle, \.idle),
      .optional(messages, \.messages),
      .optional(burst, \.burst),
      .value(messageSize, \.messageSize),
      .optional(atOnce, \.atOnce),
    ])
  static let section = part.section
}
