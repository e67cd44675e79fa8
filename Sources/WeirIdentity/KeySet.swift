// SPDX-License-Identifier: Apache-2.0
internal import Crypto
internal import CryptoExtras
internal import Foundation

/// How a token may be signed: public keys only.
///
/// `none` and the symmetric ones (HS256 …) are not on the list: with them a public key could be taken for a secret that
/// everybody knows (RFC 8725 §2.1). A file that lists one is refused when it is read.
package enum SignatureAlgorithm: String, Sendable, CaseIterable {
  case rs256 = "RS256"
  case rs384 = "RS384"
  case rs512 = "RS512"
  case ps256 = "PS256"
  case ps384 = "PS384"
  case ps512 = "PS512"
  case es256 = "ES256"
  case es384 = "ES384"
  case es512 = "ES512"
  case edDSA = "EdDSA"
}

/// The public keys of an issuer, as a JWK set gives them (RFC 7517).
///
/// A key is used only with algorithms of its own kind: what `alg` of a token's head says chooses among them, and never
/// makes one key of another.
package struct KeySet: Sendable {
  package struct Key: Sendable {
    package var id: String?
    /// The only algorithm that it is for, if it says.
    var algorithm: SignatureAlgorithm?
    var material: Material
  }

  enum Material: Sendable {
    case rsa(_RSA.Signing.PublicKey)
    case p256(P256.Signing.PublicKey)
    case p384(P384.Signing.PublicKey)
    case p521(P521.Signing.PublicKey)
    case ed25519(Curve25519.Signing.PublicKey)
  }

  package enum Mistake: Error, Sendable, Equatable, CustomStringConvertible {
    case notASet
    case noKeys(unusable: Int)

    package var description: String {
      switch self {
      case .notASet: "this is no JWK set: a JSON object with a list 'keys'"
      case .noKeys(let unusable):
        "no key of the set can be used (\(unusable) of other kinds, for encryption, or with less than 2048 bits)"
      }
    }
  }

  /// A set is read up to this size, and so many keys of it: an issuer has two or three.
  package static let bytesMax = 256 << 10
  static let keysMax = 64

  package private(set) var keys: [Key] = []

  /// Keys of other kinds, for other uses, or too short are left out (RFC 7517 §5).
  package init(_ bytes: [UInt8]) throws(Mistake) {
    guard bytes.count <= KeySet.bytesMax, let json = JSON(bytes), case .array(let items)? = json["keys"] else {
      throw .notASet
    }
    for item in items.prefix(KeySet.keysMax) {
      if let key = KeySet.key(item) { keys.append(key) }
    }
    if keys.isEmpty { throw .noKeys(unusable: items.count) }
  }

  package var ids: [String] { keys.compactMap(\.id) }

  private static func key(_ json: JSON) -> Key? {
    if let use = json["use"], use != .string("sig") { return nil }
    if let operations = json["key_ops"], !operations.scalars.contains("verify") { return nil }
    var algorithm: SignatureAlgorithm?
    if let name = json["alg"] {
      guard let known = name.text.flatMap({ SignatureAlgorithm(rawValue: $0) }) else { return nil }
      algorithm = known
    }
    func bytes(_ name: String) -> [UInt8]? { json[name]?.text.flatMap { Base64Text.url($0.utf8) } }
    let material: Material?
    switch (json["kty"]?.text, json["crv"]?.text) {
    case ("RSA", _):
      guard let n = bytes("n"), let e = bytes("e") else { return nil }
      material = (try? _RSA.Signing.PublicKey(n: n, e: e)).map { .rsa($0) }
    case ("EC", "P-256"):
      material = point(bytes, 32).flatMap { try? P256.Signing.PublicKey(x963Representation: $0) }
        .map { .p256($0) }
    case ("EC", "P-384"):
      material = point(bytes, 48).flatMap { try? P384.Signing.PublicKey(x963Representation: $0) }
        .map { .p384($0) }
    case ("EC", "P-521"):
      material = point(bytes, 66).flatMap { try? P521.Signing.PublicKey(x963Representation: $0) }
        .map { .p521($0) }
    case ("OKP", "Ed25519"):
      material = bytes("x").flatMap { try? Curve25519.Signing.PublicKey(rawRepresentation: $0) }.map { .ed25519($0) }
    default: material = nil
    }
    guard let material else { return nil }
    let key = Key(id: json["kid"]?.text, algorithm: algorithm, material: material)
    if let algorithm, !key.fits(algorithm) { return nil }
    return key
  }

  /// An uncompressed point (SEC 1 §2.3.3); coordinates have their curve's full length (RFC 7518 §6.2.1.2).
  private static func point(_ bytes: (String) -> [UInt8]?, _ length: Int) -> [UInt8]? {
    guard let x = bytes("x"), let y = bytes("y"), x.count == length, y.count == length else { return nil }
    return [4] + x + y
  }

  package enum Finding { case valid, invalid, noKey }

  /// Whether one of the keys that may have made this signature has made it.
  ///
  /// With an id only the keys of that id count; without one, all that fit, at most eight.
  package func verify(_ signed: [UInt8], _ signature: [UInt8], _ algorithm: SignatureAlgorithm, id: String?) -> Finding
  {
    var tried = 0
    for key in keys where (id == nil || key.id == id) && key.fits(algorithm) && tried < 8 {
      tried += 1
      if key.verify(signed, signature, algorithm) { return .valid }
    }
    return tried == 0 ? .noKey : .invalid
  }
}

extension KeySet.Key {
  func fits(_ wanted: SignatureAlgorithm) -> Bool {
    if let algorithm, algorithm != wanted { return false }
    switch (material, wanted) {
    case (.rsa, .rs256), (.rsa, .rs384), (.rsa, .rs512), (.rsa, .ps256), (.rsa, .ps384), (.rsa, .ps512),
      (.p256, .es256), (.p384, .es384), (.p521, .es512), (.ed25519, .edDSA):
      return true
    default: return false
    }
  }

  func verify(_ signed: [UInt8], _ signature: [UInt8], _ algorithm: SignatureAlgorithm) -> Bool {
    switch material {
    case .rsa(let key):
      let signature = _RSA.Signing.RSASignature(rawRepresentation: signature)
      switch algorithm {
      case .rs256: return key.isValidSignature(signature, for: SHA256.hash(data: signed), padding: .insecurePKCS1v1_5)
      case .rs384: return key.isValidSignature(signature, for: SHA384.hash(data: signed), padding: .insecurePKCS1v1_5)
      case .rs512: return key.isValidSignature(signature, for: SHA512.hash(data: signed), padding: .insecurePKCS1v1_5)
      case .ps256: return key.isValidSignature(signature, for: SHA256.hash(data: signed), padding: .PSS)
      case .ps384: return key.isValidSignature(signature, for: SHA384.hash(data: signed), padding: .PSS)
      case .ps512: return key.isValidSignature(signature, for: SHA512.hash(data: signed), padding: .PSS)
      default: return false
      }
    case .p256(let key):
      guard let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
      return key.isValidSignature(signature, for: SHA256.hash(data: signed))
    case .p384(let key):
      guard let signature = try? P384.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
      return key.isValidSignature(signature, for: SHA384.hash(data: signed))
    case .p521(let key):
      guard let signature = try? P521.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
      return key.isValidSignature(signature, for: SHA512.hash(data: signed))
    case .ed25519(let key): return key.isValidSignature(signature, for: signed)
    }
  }
}
