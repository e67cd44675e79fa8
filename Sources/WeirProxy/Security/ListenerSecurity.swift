// SPDX-License-Identifier: Apache-2.0
package import WeirCertificates

/// What a listener speaks TLS with: plain values, read by the runtime.
package struct ListenerSecurity: Sendable, Equatable {
  package enum Version: Sendable { case tls12, tls13 }
  /// Whether clients show a certificate of their own.
  package enum ClientCertificate: Sendable { case none, optional, required }

  /// At least one; the first answers for names that none is for.
  package var certificates: [CertificateChain]
  package var minimum = Version.tls12
  package var client = ClientCertificate.none
  /// PEM of the authorities that clients' certificates must come from; empty: those that the system trusts.
  package var clientAuthorities = ""
  /// What is offered in the handshake, the best first.
  package var protocols = ["h2", "http/1.1"]

  package init(certificates: [CertificateChain]) { self.certificates = certificates }

  /// The certificate for the name that a client asks for: one that names it, then one whose wildcard covers it, then the
  /// first (RFC 6066 §3 leaves it to the server whether an unknown name ends the handshake; browsers explain it better).
  package func certificate(for host: String?) -> Int {
    guard let host = host?.lowercased() else { return 0 }
    return certificates.firstIndex { $0.facts.names.contains(host) }
      ?? certificates.firstIndex { $0.facts.covers(host) } ?? 0
  }
}

/// How the connections to a service's instances are secured.
package struct UpstreamSecurity: Sendable, Equatable {
  package enum Verification: Sendable, Equatable {
    /// By the authorities that the system trusts.
    case system
    /// By these, as PEM.
    case authorities(String)
    /// Not at all: a finding of `weir check`.
    case none
  }
  package var verification = Verification.system
  /// The name that is asked for and that the certificate must be for; nil: the host of the instance's address.
  package var name: String?
  /// Our own certificate, for services that want one.
  package var certificate: CertificateChain?

  package init() {}
}
