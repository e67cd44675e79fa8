// SPDX-License-Identifier: Apache-2.0

/// How connections to a service's instances are secured.
package struct UpstreamTLS: Sendable, Equatable {
  package var place: Place
  /// Whether an instance must prove who it is.
  package var verify = UpstreamTLSKeys.verify.initial
  /// A file of authorities in PEM; nil: those that the system trusts.
  package var authorities: Value<String>?
  /// The name that is asked for and that the certificate must be for; nil: the host of the address.
  package var name: Value<String>?
  /// Our own certificate, for services that want one.
  package var certificate: CertificateFiles?
}

/// `tls:` of a service.
enum UpstreamTLSKeys {
  static let verify = ScalarKey(
    "verify", .bool, default: true, rule: "tls.verify (an unproven instance may be anybody)",
    "Whether an instance must prove who it is.")
  static let authorities = ScalarKey(
    "authorities", .text("a file", example: "tls/internal.pem"), rule: "those that the system trusts",
    "The authorities that instances' certificates must come from, in PEM.", alias: ["ca", "authority"])
  static let name = ScalarKey(
    "name", .text("a host name", example: "api.internal"), rule: "the host of the address",
    "The name that is asked for and that the certificate must be for.", alias: ["sni", "server-name"])
  static let certificate = Key(
    "certificate", .section(CertificateKeys.section), "Our own certificate, for services that want one.")

  static let part = Part<UpstreamTLS>(
    "service-tls", "How connections to its instances are secured.", short: verify.key,
    start: { layers, _ in layers.place.map { UpstreamTLS(place: $0) } },
    [
      .value(verify, \.verify),
      .optional(authorities, \.authorities),
      .optional(name, \.name),
      .optionalPart(certificate, \.certificate, CertificateKeys.part),
    ])
  static let section = part.section

  /// `tls: false` is no TLS, and not TLS without a look at who answers: that is written out.
  static let field = Field<Service>.custom(
    ServiceKeys.tls,
    read: { layers, resolver, service in
      guard let node = layers.node(ServiceKeys.tls), node.scalar?.text != "false" else { return }
      service.tls = part.read(Layers([Fields(node, section)]), &resolver)
    },
    explain: { service, design in service.tls.map { [.map(ServiceKeys.tls, part.explain($0, design))] } ?? [] })
}
