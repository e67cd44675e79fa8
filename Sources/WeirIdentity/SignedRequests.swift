// SPDX-License-Identifier: Apache-2.0
internal import Crypto
internal import Foundation
internal import Synchronization

/// Requests that callers sign with a secret they share with us: HMAC-SHA256, a time window, and no request twice.
///
///     Authorization: Weir-HMAC-SHA256 key=acme, time=1732190000, nonce=5f1c…, signature=<base64>
///
/// signs these lines, each with its line feed: the method, the target as sent, the host as sent, the time, the nonce, and
/// the value of `Content-Digest` (RFC 9530; empty without one). Whoever sends a body must send its digest.
///
/// ## Invariants
/// 1. A signature is taken at most once, as long as its time would let it be taken.
/// 2. When so many signatures came that one would have to be forgotten too early, new ones are not taken: never twice,
///    rather than not at all.
package final class SignedRequests: Sendable {
  package struct Settings: Sendable, Equatable {
    /// Seconds by which the time of a request may differ from ours, to either side.
    package var window: Int64 = 300
    /// Signatures that are remembered: of twice the window.
    package var rememberedMax = 200_000

    package init() {}
  }

  /// What is signed, beside what the field itself says.
  package struct Request: Sendable, Equatable {
    package var method: String
    package var target: String
    package var host: String
    package var digest: String
    package var hasBody: Bool

    package init(method: String, target: String, host: String, digest: String, hasBody: Bool) {
      self.method = method
      self.target = target
      self.host = host
      self.digest = digest
      self.hasBody = hasBody
    }
  }

  enum Outcome: Sendable, Equatable { case valid(Claims), invalid, replayed, full }

  package static let scheme = "Weir-HMAC-SHA256"

  private struct Secret: Sendable {
    var key: SymmetricKey
    var claims: Claims
  }

  private struct Seen {
    /// Those whose window ends in this stretch of time, and in the one before it.
    var young: Set<DigestKey> = []
    var old: Set<DigestKey> = []
    var turnedAt = Int64.min
  }

  private let settings: Settings
  private let secrets: [String: Secret]
  private let seen = Mutex(Seen())

  package init(_ text: String, _ settings: Settings = Settings()) throws(CredentialLines.Mistake) {
    self.settings = settings
    var secrets: [String: Secret] = [:]
    for line in try CredentialLines(text).lines {
      guard let secret = Base64Text.usual(line.proof), secret.count >= 16 else {
        throw CredentialLines.Mistake(
          line: line.number, what: "the secret of '\(line.claims.subject)' is not base64 of 16 bytes or more")
      }
      secrets[line.claims.subject] = Secret(key: SymmetricKey(data: secret), claims: line.claims)
    }
    self.secrets = secrets
  }

  package var count: Int { secrets.count }

  /// `parameters` is what stands behind the scheme.
  func check(_ parameters: String, _ request: Request, now: Int64) -> Outcome {
    var values: [String: String] = [:]
    for part in parameters.split(separator: ",") {
      let text = part.trimmingPrefix { $0 == " " }
      guard let equals = text.firstIndex(of: "="), let value = Optional(String(text[text.index(after: equals)...])),
        values.updateValue(value, forKey: String(text[..<equals])) == nil
      else { return .invalid }
    }
    guard let name = values["key"], let time = values["time"], let seconds = Int64(time), let nonce = values["nonce"],
      !nonce.isEmpty, nonce.utf8.count <= 128, let signature = values["signature"].flatMap(Base64Text.usual),
      values.count == 4, !request.hasBody || !request.digest.isEmpty
    else { return .invalid }
    let text = SignedRequests.text(request, time: time, nonce: nonce)
    // Compared in constant time by the library; a key that does not exist costs as much.
    let key = secrets[name]?.key ?? SymmetricKey(data: [UInt8](repeating: 0, count: 32))
    let holds = HMAC<SHA256>.isValidAuthenticationCode(signature, authenticating: Array(text.utf8), using: key)
    guard holds, let secret = secrets[name] else { return .invalid }
    // Only who has the key learns that the time is wrong.
    guard seconds > now - settings.window, seconds < now + settings.window else { return .replayed }
    return remember(DigestKey(SHA256.hash(data: Array("\(name)\n\(text)".utf8))), now: now)
      ?? .valid(secret.claims)
  }

  /// Nil when it is new.
  private func remember(_ key: DigestKey, now: Int64) -> Outcome? {
    seen.withLock { seen in
      // A signature can come up to two windows after it was first seen, when its time lay ahead of ours.
      let stretch = 2 * settings.window
      if seen.turnedAt == .min { seen.turnedAt = now }
      if now - seen.turnedAt >= stretch {
        seen.old = now - seen.turnedAt >= 2 * stretch ? [] : seen.young
        seen.young = []
        seen.turnedAt = now
      }
      if seen.young.contains(key) || seen.old.contains(key) { return .replayed }
      if seen.young.count + seen.old.count >= settings.rememberedMax { return .full }
      seen.young.insert(key)
      return nil
    }
  }

  private static func text(_ request: Request, time: String, nonce: String) -> String {
    "\(request.method)\n\(request.target)\n\(request.host)\n\(time)\n\(nonce)\n\(request.digest)\n"
  }

  /// The field that signs a request: for clients in Swift, and for tests.
  package static func sign(_ request: Request, key: String, secret: [UInt8], time: Int64, nonce: String) -> String {
    let code = HMAC<SHA256>.authenticationCode(
      for: Array(text(request, time: "\(time)", nonce: nonce).utf8), using: SymmetricKey(data: secret))
    return "\(scheme) key=\(key), time=\(time), nonce=\(nonce), signature=\(Base64Text.encode(code))"
  }
}
