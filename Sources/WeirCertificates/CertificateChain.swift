// SPDX-License-Identifier: Apache-2.0
import Crypto
package import Foundation
import SwiftASN1
package import X509

/// What a certificate says of itself, as far as Weir needs it: for choosing one by name, for checks, and for who a client is.
package struct CertificateFacts: Sendable, Equatable {
  /// The names that it is for, in lower case: `shop.example`, `*.shop.example`, `127.0.0.1`; no other source than the
  /// subject's alternative names counts (RFC 9525 §2).
  package var names: [String]
  /// `CN=shop.example,O=Shop`: for people and for roles, never for choosing.
  package var subject: String
  package var issuer: String
  package var notBefore: Date
  package var notAfter: Date
  /// SHA-256 of the certificate, in lower-case hexadecimal.
  package var fingerprint: String

  package init(_ certificate: Certificate) throws(CertificateMistake) {
    var names: [String] = []
    do {
      for name in try certificate.extensions.subjectAlternativeNames ?? SubjectAlternativeNames([]) {
        switch name {
        case .dnsName(let name): names.append(name.lowercased())
        case .ipAddress(let bytes): names.append(CertificateFacts.address(Array(bytes.bytes)))
        case .rfc822Name(let name): names.append(name)
        case .uniformResourceIdentifier(let name): names.append(name)
        default: break
        }
      }
      var serializer = DER.Serializer()
      try serializer.serialize(certificate)
      fingerprint = SHA256.hash(data: serializer.serializedBytes).map { byte in
        String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
      }.joined()
    } catch {
      throw CertificateMistake("a certificate cannot be read: \(error)")
    }
    self.names = names
    subject = String(describing: certificate.subject)
    issuer = String(describing: certificate.issuer)
    notBefore = certificate.notValidBefore
    notAfter = certificate.notValidAfter
  }

  /// Of a certificate as it comes in a handshake.
  package init(der bytes: [UInt8]) throws(CertificateMistake) {
    let certificate: Certificate
    do { certificate = try Certificate(derEncoded: bytes) } catch {
      throw CertificateMistake("a certificate cannot be read: \(error)")
    }
    try self.init(certificate)
  }

  /// Whether it is for this host: exactly, or by a wildcard that stands for one label (RFC 9525 §6.3).
  package func covers(_ host: String) -> Bool {
    let host = host.lowercased()
    if names.contains(host) { return true }
    guard let dot = host.firstIndex(of: "."), dot != host.startIndex else { return false }
    return names.contains("*" + host[dot...])
  }

  private static func address(_ bytes: [UInt8]) -> String {
    if bytes.count == 4 { return bytes.map(String.init).joined(separator: ".") }
    return stride(from: 0, to: bytes.count - 1, by: 2)
      .map { String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16) }.joined(separator: ":")
  }
}

/// A chain of certificates and its private key, as two PEM texts.
package struct CertificateChain: Sendable, Equatable {
  package var chain: String
  package var key: String
  /// Of the first certificate, which is the server's own.
  package var facts: CertificateFacts

  /// Reads both and holds them against each other: a key that does not fit is found here and not in a handshake.
  package init(chain: String, key: String) throws(CertificateMistake) {
    let first = try CertificateChain.certificates(chain)[0]
    self.chain = chain
    self.key = key
    facts = try CertificateFacts(first)
    let privateKey: Certificate.PrivateKey
    do { privateKey = try Certificate.PrivateKey(pemEncoded: key) } catch {
      throw CertificateMistake("the key is no private key in PEM (a key with a password is not read)")
    }
    if privateKey.publicKey != first.publicKey {
      throw CertificateMistake("the key does not belong to the certificate of \(facts.subject)")
    }
  }

  /// The certificates of a PEM text, at least one.
  package static func certificates(_ text: String) throws(CertificateMistake) -> [Certificate] {
    let certificates: [Certificate]
    do {
      certificates = try PEMDocument.parseMultiple(pemString: text).filter { $0.discriminator == "CERTIFICATE" }
        .map { try Certificate(pemDocument: $0) }
    } catch {
      throw CertificateMistake("this is no certificate in PEM")
    }
    if certificates.isEmpty { throw CertificateMistake("no certificate stands in it") }
    return certificates
  }
}

/// What is wrong with a certificate or a key: a sentence for the user, without any byte of a key.
package struct CertificateMistake: Error, Equatable, CustomStringConvertible {
  package var description: String
  package init(_ description: String) { self.description = description }
}
