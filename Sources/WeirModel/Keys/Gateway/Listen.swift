// SPDX-License-Identifier: Apache-2.0

extension Gateway {
  /// One place where it listens.
  package struct Listener: Sendable, Equatable {
    package var place: Place
    /// The address it binds; `0.0.0.0` unless said.
    package var host = ListenKeys.host.initial
    package var port: Value<Int>
    package var security = ListenSecurity()
    package var route = ListenRoute()
  }
}

/// One item of `listen:`.
enum ListenKeys {
  static let port = ScalarKey(
    "port", .count(0...65535, words: "a port"), required: true, "The TCP port; 0 lets the system choose one.")
  static let host = ScalarKey(
    "host", .address, default: "0.0.0.0", rule: "listen.host (all addresses of the machine)",
    "The address it binds.", alias: ["address", "bind"])

  static let part = Part<Gateway.Listener>(
    "listen", "One listener.", short: port.key,
    start: { layers, resolver in
      guard let place = layers.place, let port = layers.value(port) else { return nil }
      return Gateway.Listener(place: place, port: port)
    },
    [
      .value(port, \.port),
      .value(host, \.host),
    ] + ListenSecurityKeys.fields.at(\.security) + ListenRouteKeys.fields.at(\.route))
  static let section = part.section
}
