// SPDX-License-Identifier: Apache-2.0
import Crypto
package import Foundation
import SwiftASN1
import X509

/// An authority for one machine's development: made once, kept in the state folder, trusted by whoever imports it.
///
/// P-256 throughout; the authority may sign servers only and no further authority. Browsers refuse a server's
/// certificate of more than 398 days (CA/Browser Forum, ballot SC-31), so the leaf lasts 90 and is made anew with a month left.
package struct DevelopmentAuthority: Sendable, Equatable {
  package var certificate: String
  package var key: String

  package static let authorityDays = 3650
  package static let leafDays = 90
  package static let renewDays = 30

  package init(certificate: String, key: String) {
    self.certificate = certificate
    self.key = key
  }

  /// A new one, named after the machine so that it is recognised in a list of trusted ones.
  package static func make(machine: String, now: Date) throws -> DevelopmentAuthority {
    let key = P256.Signing.PrivateKey()
    let name = try DistinguishedName {
      CommonName("Weir development on \(machine)")
      OrganizationName("Weir")
    }
    let certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(key.publicKey),
      notValidBefore: now.addingTimeInterval(-3600), notValidAfter: now.addingTimeInterval(days(authorityDays)),
      issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: Certificate.PublicKey(key.publicKey))
      }, issuerPrivateKey: .init(key))
    return DevelopmentAuthority(
      certificate: try certificate.serializeAsPEM().pemString, key: key.pemRepresentation)
  }

  /// A server's certificate for these names, and its key; or a client's.
  package func leaf(names: [String], forClient: Bool = false, now: Date) throws -> CertificateChain {
    let issuer = try Certificate(pemEncoded: certificate)
    let issuerKey = try Certificate.PrivateKey(pemEncoded: key)
    let key = P256.Signing.PrivateKey()
    let certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: .init(key.publicKey),
      notValidBefore: now.addingTimeInterval(-3600), notValidAfter: now.addingTimeInterval(Self.days(Self.leafDays)),
      issuer: issuer.subject, subject: try DistinguishedName { CommonName(names[0]) },
      signatureAlgorithm: .ecdsaWithSHA256,
      extensions: Certificate.Extensions {
        Critical(BasicConstraints.notCertificateAuthority)
        Critical(KeyUsage(digitalSignature: true))
        try ExtendedKeyUsage([forClient ? .clientAuth : .serverAuth])
        SubjectAlternativeNames(names.map(Self.name))
        AuthorityKeyIdentifier(keyIdentifier: try issuer.extensions.subjectKeyIdentifier?.keyIdentifier)
      }, issuerPrivateKey: issuerKey)
    return try CertificateChain(chain: certificate.serializeAsPEM().pemString, key: key.pemRepresentation)
  }

  private static func days(_ count: Int) -> TimeInterval { TimeInterval(count) * 86_400 }

  private static func name(_ text: String) -> GeneralName {
    let parts = text.split(separator: ".").compactMap { UInt8($0) }
    if parts.count == 4 && text.split(separator: ".").count == 4 {
      return .ipAddress(ASN1OctetString(contentBytes: ArraySlice(parts)))
    }
    if text == "::1" {
      return .ipAddress(ASN1OctetString(contentBytes: ArraySlice([UInt8](repeating: 0, count: 15) + [1])))
    }
    return .dnsName(text)
  }
}
