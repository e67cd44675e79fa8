// SPDX-License-Identifier: Apache-2.0

/// What a listener speaks, and with which certificates.
package struct ListenSecurity: Sendable, Equatable {
  /// What comes after the handshake is HTTP either way.
  package enum Speaks: String, Sendable, CaseIterable { case http, https, tcp }
  package enum Version: String, Sendable, CaseIterable {
    case tls12 = "1.2"
    case tls13 = "1.3"
  }
  /// Whether callers show a certificate of their own.
  package enum Client: String, Sendable, CaseIterable { case none, optional, required }
  /// Where callers are sent instead of being served.
  package enum Elsewhere: String, Sendable, CaseIterable { case https }

  /// `https` where certificates stand or development's are asked for.
  package var speaks = ListenSecurityKeys.speaks.initial
  package var certificates: [CertificateFiles] = []
  package var tls = TLSChoices()
  package var client = ListenSecurityKeys.client.initial
  /// A file of the authorities that callers' certificates come from.
  package var clientAuthorities: Value<String>?
  package var redirect: Value<Elsewhere>?

  package var isSecured: Bool { speaks.value == .https }
}

/// A chain of certificates and its key.
package struct CertificateFiles: Sendable, Equatable {
  package var place: Place
  /// A file in PEM, the server's own certificate first; relative to the Weir file.
  package var chain: Value<String>
  package var key: Value<Text>
}

/// How TLS is spoken.
package struct TLSChoices: Sendable, Equatable {
  /// Who signs what is not brought along.
  package enum Authority: String, Sendable, CaseIterable { case development }

  /// Nil: certificates are the file's.
  package var authority: Value<Authority>?
  package var minimum = TLSKeys.minimum.initial
}

/// The keys of a listener that say what it speaks, and with which certificates.
enum ListenSecurityKeys {
  static let speaks = ScalarKey(
    "protocol", ScalarType<ListenSecurity.Speaks>.word, default: .http,
    rule: "listen.protocol (https where there are certificates)", "What is spoken there.", alias: ["scheme"])
  static let certificates = Key(
    "certificates", Shape.list(.section(CertificateKeys.section), least: 1).or(.section(CertificateKeys.section)),
    "Chains and keys for TLS; the name that a caller asks for chooses, the first is for all other names.",
    alias: ["certificate", "cert", "certs"])
  static let tls = Key("tls", .section(TLSKeys.section), "How TLS is spoken; `development` makes certificates.")
  static let client = ScalarKey(
    "client", ScalarType<ListenSecurity.Client>.word, default: ListenSecurity.Client.none,
    rule: "listen.client (nobody is asked for one)",
    "Whether callers show a certificate of their own.", alias: ["client-certificate", "mtls"])
  static let clientAuthorities = ScalarKey(
    "client-authorities", .text("a file", example: "tls/clients.pem"), rule: "those that the system trusts",
    "The authorities that callers' certificates must come from, in PEM.", alias: ["client-ca", "ca"])
  static let redirect = ScalarKey(
    "redirect", ScalarType<ListenSecurity.Elsewhere>.word,
    "Every caller is sent to the same address at the listener with TLS.")

  static let fields: [Field<ListenSecurity>] = [
    .value(speaks, \.speaks),
    .items(certificates, \.certificates, CertificateKeys.part),
    .part(tls, \.tls, TLSKeys.part),
    .value(client, \.client),
    .optional(clientAuthorities, \.clientAuthorities),
    .optional(redirect, \.redirect),
  ]
}

/// One of `certificates:`.
enum CertificateKeys {
  static let chain = ScalarKey(
    "chain", .text("a file", example: "tls/shop.pem"), required: true,
    "The certificates in PEM, the server's own first.", alias: ["cert", "certificate", "fullchain"])
  static let key = ScalarKey(
    "key", .reference("a private key", example: "$(file:tls/shop.key)"), required: true,
    "The private key in PEM, by reference.", alias: ["private-key"])
  static let part = Part<CertificateFiles>(
    "certificate", "A chain of certificates and its key.",
    start: { layers, _ in
      guard let place = layers.place, let chain = layers.value(chain), let key = layers.value(key) else { return nil }
      return CertificateFiles(place: place, chain: chain, key: key)
    }, [.value(chain, \.chain), .value(key, \.key)])
  static let section = part.section
}

/// `tls:` of a listener.
enum TLSKeys {
  static let authority = ScalarKey(
    "authority", ScalarType<TLSChoices.Authority>.word,
    "`development`: certificates by an authority that Weir makes on first use, for one's own machine.")
  static let minimum = ScalarKey(
    "minimum", ScalarType<ListenSecurity.Version>.word, default: .tls12, rule: "tls.minimum (older ones are broken)",
    "The oldest version that is spoken.", alias: ["min", "version"])
  static let part = Part<TLSChoices>(
    "tls", "How TLS is spoken.", short: authority.key, start: { _, _ in TLSChoices() },
    [.optional(authority, \.authority), .value(minimum, \.minimum)])
  static let section = part.section
}

extension Resolver {
  /// What of a listener's security does not go together.
  mutating func checkSecurity(of listeners: inout [Gateway.Listener]) {
    for i in listeners.indices {
      let security = listeners[i].security
      let brings = security.certificates.first?.place ?? security.tls.authority?.place
      if let brings {
        if security.speaks.place == nil {
          listeners[i].security.speaks = Value(.https, .derived(from: "certificates"))
        } else if security.speaks.value != .https {
          mistake(
            "conflict", "a listener that speaks \(security.speaks.value.rawValue) has certificates",
            at: security.speaks, mend: "protocol: https",
            related: [.init(brings, "the certificates")])
        }
      } else if security.speaks.value == .https {
        mistake(
          "missing-key", "a listener that speaks https needs certificates", at: security.speaks,
          mend: "certificates: [ { chain: tls/shop.pem, key: $(file:tls/shop.key) } ], or tls: development")
      }
      let isSecured = listeners[i].security.isSecured
      if security.client.value != .none, !isSecured {
        mistake("conflict", "certificates of callers come with TLS only", at: security.client, mend: "protocol: https")
      }
      if let redirect = security.redirect {
        if security.speaks.value != .http {
          mistake("conflict", "only a listener of http sends its callers to TLS", at: redirect)
        } else if !listeners.contains(where: { Self.isHTTPS($0) }) {
          mistake(
            "unknown-target", "no listener speaks https", at: redirect,
            mend: "- { port: 8443, protocol: https, tls: development }")
        }
      }
    }
  }

  private static func isHTTPS(_ listener: Gateway.Listener) -> Bool {
    listener.security.isSecured || !listener.security.certificates.isEmpty || listener.security.tls.authority != nil
  }
}
