// SPDX-License-Identifier: Apache-2.0
internal import Crypto
internal import CryptoExtras
internal import Foundation

/// Users and their passwords, as slow salted hashes: PBKDF2 with SHA-256.
///
/// The form is `pbkdf2-sha256$rounds$salt$hash`, both parts in base64. bcrypt and argon2 are not read: no library of ours
/// has them.
package struct Passwords: Sendable {
  private struct User: Sendable {
    var rounds: Int
    var salt: [UInt8]
    var hash: [UInt8]
    var claims: Claims
  }

  /// OWASP's password storage cheat sheet (2023) for PBKDF2 with SHA-256.
  package static let rounds = 600_000
  /// Fewer are refused: they would be guessed in a day.
  ///
  /// More than the most would take seconds each and be a weapon.
  static let roundsAllowed = 100_000...10_000_000

  private var users: [String: User] = [:]

  package init(_ text: String) throws(CredentialLines.Mistake) {
    for line in try CredentialLines(text).lines {
      let parts = line.proof.split(separator: "$", omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 4, parts[0] == "pbkdf2-sha256", let rounds = Int(parts[1]),
        Passwords.roundsAllowed.contains(rounds), let salt = Base64Text.usual(parts[2]), salt.count >= 8,
        let hash = Base64Text.usual(parts[3]), hash.count == 32
      else {
        throw CredentialLines.Mistake(
          line: line.number,
          what: "the proof of '\(line.claims.subject)' is not pbkdf2-sha256$rounds$salt$hash with "
            + "\(Passwords.roundsAllowed.lowerBound) rounds or more (weir key hash --password makes it)")
      }
      users[line.claims.subject] = User(rounds: rounds, salt: salt, hash: hash, claims: line.claims)
    }
  }

  package var count: Int { users.count }

  /// Takes tenths of a second.
  ///
  /// A user who does not exist costs as much as one who does: who there is cannot be told from the time.
  func check(user: String, password: [UInt8]) -> Claims? {
    let found = users[user]
    let hash = Passwords.derive(
      password, salt: found?.salt ?? [UInt8](repeating: 7, count: 16),
      rounds: found?.rounds ?? users.values.map(\.rounds).max() ?? Passwords.rounds)
    guard let found, let hash, constantTimeEqual(hash, found.hash) else { return nil }
    return found.claims
  }

  package static func proof(of password: String, rounds: Int = Passwords.rounds) -> String? {
    let salt = SymmetricKey(size: .bits128).withUnsafeBytes { Array($0) }
    guard let hash = derive(Array(password.utf8), salt: salt, rounds: rounds) else { return nil }
    return "pbkdf2-sha256$\(rounds)$\(Base64Text.encode(salt))$\(Base64Text.encode(hash))"
  }

  private static func derive(_ password: [UInt8], salt: [UInt8], rounds: Int) -> [UInt8]? {
    // The unchecked variant, for the bounds above are ours; it fails only for lack of memory.
    let key = try? KDF.Insecure.PBKDF2.deriveKey(
      from: password, salt: salt, using: .sha256, outputByteCount: 32, unsafeUncheckedRounds: rounds)
    return key?.withUnsafeBytes { Array($0) }
  }
}

/// Whether two lists of bytes are the same; the time depends on their lengths alone.
func constantTimeEqual(_ one: [UInt8], _ other: [UInt8]) -> Bool {
  guard one.count == other.count else { return false }
  var difference: UInt8 = 0
  for index in one.indices { difference |= one[index] ^ other[index] }
  return difference == 0
}
