// SPDX-License-Identifier: Apache-2.0

/// What a token must say to be taken (RFC 7519, RFC 8725), and how one is read.
package struct TokenRules: Sendable, Equatable {
  /// `iss`, exactly.
  package var issuer: String?
  /// One of these must be in `aud`; empty asks for none.
  package var audiences: [String] = []
  package var algorithms: [SignatureAlgorithm] = SignatureAlgorithm.allCases
  /// Seconds by which clocks may differ.
  package var leeway: Int64 = 30
  /// The claim that holds roles, `realm_access.roles` within others.
  package var roles = "roles"

  package init() {}

  /// Longer tokens are not read; a head has 32 KiB in all.
  package static let bytesMax = 16 << 10

  package enum Outcome: Sendable {
    case valid(Claims)
    case invalid(Fault)
    /// It names a key that is not in the set.
    case unknownKey
  }

  /// What is wrong with a token: for tests and debug logs; callers get one answer for all of them.
  package enum Fault: Sendable, Equatable {
    case malformed, algorithm, issuer, audience, expired, early, signature
  }

  /// Reads a token and holds it against the keys; `now` is seconds since 1970.
  ///
  /// What is cheap comes first: nothing is verified of a token that could not be taken anyway.
  package func check(_ token: [UInt8], keys: KeySet, now: Int64) -> Outcome {
    if token.count > TokenRules.bytesMax { return .invalid(.malformed) }
    let parts = token.split(separator: 0x2e, maxSplits: 3, omittingEmptySubsequences: false)
    guard parts.count == 3, let headBytes = Base64Text.url(parts[0]), let payloadBytes = Base64Text.url(parts[1]),
      let signature = Base64Text.url(parts[2]), let head = JSON(headBytes), case .object = head,
      let payload = JSON(payloadBytes), case .object = payload
    else { return .invalid(.malformed) }
    guard let name = head["alg"]?.text, let algorithm = SignatureAlgorithm(rawValue: name),
      algorithms.contains(algorithm)
    else { return .invalid(.algorithm) }
    // What must be understood is not (RFC 7515 §4.1.11); a `kid` that is no text names no key.
    if head["crit"] != nil || head["b64"] != nil { return .invalid(.malformed) }
    if let id = head["kid"], id.text == nil { return .invalid(.malformed) }
    if let issuer, payload["iss"]?.text != issuer { return .invalid(.issuer) }
    if !audiences.isEmpty, !(payload["aud"]?.scalars ?? []).contains(where: { audiences.contains($0) }) {
      return .invalid(.audience)
    }
    // Without an end it would be good for ever: a stolen one too.
    guard let ends = TokenRules.seconds(payload["exp"]) else { return .invalid(.expired) }
    if now >= ends.saturating(plus: leeway) { return .invalid(.expired) }
    for name in ["nbf", "iat"] {
      guard let value = payload[name] else { continue }
      guard let at = TokenRules.seconds(value) else { return .invalid(.malformed) }
      if at > now.saturating(plus: leeway) { return .invalid(.early) }
    }
    let signedCount = parts[0].count + 1 + parts[1].count
    switch keys.verify(Array(token.prefix(signedCount)), signature, algorithm, id: head["kid"]?.text) {
    case .noKey: return .unknownKey
    case .invalid: return .invalid(.signature)
    case .valid: return .valid(claims(payload, ends: ends))
    }
  }

  private static func seconds(_ json: JSON?) -> Int64? {
    guard let number = json?.number, number >= 0, number < 1e15 else { return nil }
    return Int64(number)
  }

  private func claims(_ payload: JSON, ends: Int64) -> Claims {
    var claims = Claims(subject: payload["sub"]?.scalar ?? "")
    claims.json = payload
    claims.roles = Claims.values(payload, roles)
    // RFC 9068 §2.2.3: one text with spaces; some issuers write a list, or `scp`.
    claims.scopes = (Claims.values(payload, "scope") + Claims.values(payload, "scp")).flatMap {
      $0.split(separator: " ").map(String.init)
    }
    claims.expiresAt = ends.saturating(plus: leeway)
    return claims
  }
}

extension Int64 {
  fileprivate func saturating(plus other: Int64) -> Int64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}
