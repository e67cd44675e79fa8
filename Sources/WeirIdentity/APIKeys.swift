// SPDX-License-Identifier: Apache-2.0
internal import Crypto
internal import Foundation

/// Keys that callers send, known by their SHA-256 only.
///
/// A key is made by a machine and has 128 bits or more, so a fast hash without salt is enough: there is nothing to guess,
/// and a table of all keys cannot be made. The look-up is by the hash, whose bytes a caller cannot choose: its time tells
/// nothing of the keys. What people choose are passwords: ``Passwords``.
package struct APIKeys: Sendable {
  private var claims: [DigestKey: Claims] = [:]

  package init(_ text: String) throws(CredentialLines.Mistake) {
    for line in try CredentialLines(text).lines {
      guard let key = APIKeys.digest(line.proof) else {
        throw CredentialLines.Mistake(
          line: line.number,
          what: "the proof of '\(line.claims.subject)' is not sha256: and 64 hexadecimal digits "
            + "(weir key hash makes it of a key)")
      }
      if claims.updateValue(line.claims, forKey: key) != nil {
        throw CredentialLines.Mistake(line: line.number, what: "two names have the same key")
      }
    }
  }

  package var count: Int { claims.count }

  func find(_ key: Span<UInt8>) -> Claims? { claims[DigestKey.of(key)] }

  private static func digest(_ proof: String) -> DigestKey? {
    guard proof.hasPrefix("sha256:") else { return nil }
    let digits = Array(proof.utf8.dropFirst(7))
    guard digits.count == 64 else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: 64, by: 2) {
      guard let high = Character(Unicode.Scalar(digits[index])).hexDigitValue,
        let low = Character(Unicode.Scalar(digits[index + 1])).hexDigitValue
      else { return nil }
      bytes.append(UInt8(high << 4 | low))
    }
    return DigestKey(bytes)
  }

  /// `sha256:…` of a key: what stands in the list.
  package static func proof(of key: String) -> String {
    "sha256:"
      + SHA256.hash(data: Array(key.utf8)).map { byte in
        String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
      }.joined()
  }

  /// A key of 256 bits, as text that needs no quoting anywhere.
  package static func make() -> String {
    SymmetricKey(size: .bits256).withUnsafeBytes { "wk_" + Base64Text.encode($0, forURL: true) }
  }
}

extension DigestKey {
  static func of(_ bytes: Span<UInt8>) -> DigestKey {
    var hash = SHA256()
    bytes.withUnsafeBufferPointer { hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }
    return DigestKey(hash.finalize())
  }
}
