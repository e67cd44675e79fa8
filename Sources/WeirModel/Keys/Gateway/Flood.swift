// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirPatterns

extension Gateway {
  /// Limits by address, before anything costs.
  ///
  /// Nil means no limit.
  package struct Flood: Sendable, Equatable {
    /// Connections that one address may hold at the same time.
    package var connections: Value<Int>? = FloodKeys.connections.initial
    /// Connections that one address may open in a time.
    package var limit: Value<Rate>? = FloodKeys.limit.initial

    /// For the listeners: what is not limited gets what no address reaches.
    var settings: AddressLimit.Settings {
      var settings = AddressLimit.Settings()
      settings.perAddress = connections?.value ?? settings.total
      settings.rate = limit?.value ?? Rate(perSecond: 1e9)
      settings.burst = max(1, Int(settings.rate.perSecond.rounded(.up)))
      return settings
    }
  }
}

/// `flood:`.
enum FloodKeys {
  static let connections = ScalarKey(
    "connections", .count(1...1_000_000), default: AddressLimit.Settings().perAddress,
    rule: "flood.connections (several browsers behind one address)",
    "Connections that one address may hold at the same time.", alone: ["none"])
  static let limit = ScalarKey(
    "limit", .rate, default: AddressLimit.Settings().rate,
    rule: "flood.limit (a browser that opens all its connections again)",
    "Connections that one address may open.", alone: ["none"])

  static let part = Part<Gateway.Flood>(
    "flood", "Limits by address.", start: { _, _ in Gateway.Flood() },
    [
      .optional(connections, \.connections),
      .optional(limit, \.limit),
    ])
  static let section = part.section
}
