// SPDX-License-Identifier: Apache-2.0
internal import Crypto
internal import Foundation

/// What a webhook is signed or verified with, as Standard Webhooks writes it: `whsec_…`, `whsk_…`, `whpk_…`.
///
/// Source: Standard Webhooks 1.0.0, "Signature scheme". `whsec_` is a secret of both ends (HMAC-SHA256, `v1`); `whsk_` is an
/// ed25519 key that signs (`v1a`), with which nobody but its owner can; `whpk_` the public half that verifies. Base64 without
/// a prefix is a `whsec_`, as the reference libraries have it.
package struct WebhookSecret: Sendable, CustomStringConvertible {
  package enum Flaw: Error, Sendable, Equatable {
    case notBase64
    case length(bytes: Int, kind: String)

    package var sentence: String {
      switch self {
      case .notBase64: "a secret is whsec_ (or whsk_, whpk_) and base64 behind it"
      case .length(let bytes, "whsec_"):
        "a secret has 24 to 64 bytes, this has \(bytes); make one: echo whsec_$(openssl rand -base64 32)"
      case .length(let bytes, let kind):
        "a key behind \(kind) has \(kind == "whpk_" ? "32" : "32 or 64") bytes, this has \(bytes)"
      }
    }
  }

  enum Key: Sendable {
    case shared(SymmetricKey)
    case signing(Curve25519.Signing.PrivateKey)
    case verifying(Curve25519.Signing.PublicKey)
  }

  let key: Key

  package init(_ text: String) throws(Flaw) {
    let kind = ["whsec_", "whsk_", "whpk_"].first { text.hasPrefix($0) } ?? ""
    guard let bytes = WebhookSecret.decode(String(text.dropFirst(kind.count))) else { throw .notBase64 }
    switch kind {
    case "whsk_":
      // The seed, or the seed and the public key behind it, as NaCl's libraries write it.
      guard bytes.count == 32 || bytes.count == 64,
        let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: bytes.prefix(32)),
        bytes.count == 32 || key.publicKey.rawRepresentation.elementsEqual(bytes.suffix(32))
      else { throw .length(bytes: bytes.count, kind: kind) }
      self.key = .signing(key)
    case "whpk_":
      guard bytes.count == 32, let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else {
        throw .length(bytes: bytes.count, kind: kind)
      }
      self.key = .verifying(key)
    default:
      guard (24...64).contains(bytes.count) else { throw .length(bytes: bytes.count, kind: "whsec_") }
      key = .shared(SymmetricKey(data: bytes))
    }
  }

  /// What the receiver of what this signs verifies with, where that is another: the public half of a `whsk_`.
  package var publicHalf: String? {
    guard case .signing(let key) = key else { return nil }
    return "whpk_" + key.publicKey.rawRepresentation.base64EncodedString()
  }

  /// Never the secret itself: this goes into logs.
  package var description: String {
    switch key {
    case .shared: "whsec_…"
    case .signing: "whsk_…"
    case .verifying: "whpk_…"
    }
  }

  /// With padding or without; one text for one value.
  static func decode(_ text: String) -> [UInt8]? {
    let bare = text.reversed().drop { $0 == "=" }.reversed()
    let padded = String(bare) + String(repeating: "=", count: (4 - bare.count % 4) % 4)
    guard text == padded || text == String(bare), let data = Data(base64Encoded: padded),
      data.base64EncodedString() == padded
    else { return nil }
    return Array(data)
  }
}
