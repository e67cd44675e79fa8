// SPDX-License-Identifier: Apache-2.0

/// The key of a service whose instances are told who a connection is from.
enum SendProxyKeys {
  static let sendProxy = ScalarKey(
    "send-proxy", ScalarType<ProxyHeaderVersion>.word,
    "A PROXY header says who the client is, before a connection's first byte: requests then share no connections.")
}

/// Versions of the PROXY protocol.
package enum ProxyHeaderVersion: String, Sendable, CaseIterable { case v1, v2 }

extension Resolver {
  mutating func checkSendProxy(of service: Service) {
    guard let header = service.sendProxy, service.speaks.value.isHTTP2 else { return }
    mistake(
      "conflict", "connections of \(service.speaks.value.rawValue) are shared by clients: no header can name one",
      at: header, mend: "leave it out: X-Forwarded-For names the client of each request")
  }
}
