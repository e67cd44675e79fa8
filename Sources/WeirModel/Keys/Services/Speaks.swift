// SPDX-License-Identifier: Apache-2.0

/// What a service's instances speak.
package enum Speaks: String, Sendable, CaseIterable {
  case http, http2, grpc

  /// HTTP/2, known beforehand or agreed on within TLS; gRPC is carried by it.
  package var isHTTP2: Bool { self != .http }
}

/// The key of a service that says what its instances speak.
enum SpeaksKeys {
  static let speaks = ScalarKey(
    "protocol", ScalarType<Speaks>.word, default: .http, rule: "service.protocol (what every server speaks)",
    "What its instances speak: HTTP/1.1, or HTTP/2 on shared connections, which gRPC needs.")
}
