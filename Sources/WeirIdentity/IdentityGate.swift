// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import Synchronization
package import WeirPatterns

/// One way of knowing who calls.
package struct IdentitySettings: Sendable {
  package enum Kind: Sendable {
    /// A token in `Authorization: Bearer`, or in the field of this name (in lower case).
    case token(TokenRules, KeyStore, field: String?)
    case apiKey(APIKeys, field: String)
    case basic(Passwords)
    case signature(SignedRequests)
    case certificate(ClientCertificates)
    case forward(ForwardAuth)
    case webhook(ReceivedWebhooks)
  }

  package var name: String
  package var kind: Kind
  /// Credentials go on to the callee.
  package var forwards = false
  /// Claims that go on as fields, both by name.
  package var fields: [ClaimField] = []

  package struct ClaimField: Sendable, Equatable {
    package var claim: String
    package var name: String

    package init(claim: String, name: String) {
      self.claim = claim
      self.name = name
    }
  }

  package init(name: String, kind: Kind) {
    self.name = name
    self.kind = kind
  }
}

/// What an identity said.
package enum IdentityVerdict: Sendable {
  case missing
  case known(Principal)
  case invalid
  case replayed
  /// Known to a service that is asked, which says no.
  case notAllowed
  case unavailable
}

/// At once, or by work that must not be done on an event loop.
package enum IdentityReply: Sendable {
  case now(IdentityVerdict)
  case later(@Sendable () async -> IdentityVerdict)
}

/// All identities of a gateway: what loops ask, and what answers.
///
/// Thread-safe. What was verified before is answered at once from memory; a signature or a password is work for another
/// thread, of which only so much may be under way: what comes beyond it is unavailable, and loops go on.
package final class IdentityGate: Sendable {
  /// Verified credentials an identity remembers: twice so many, of about 1 KiB each.
  static let rememberedMax = 8192
  /// Verifications under way at the same time: 512 of 100 µs are 50 ms of one core.
  static let pendingMax = 512
  /// Passwords, which take tenths of a second each.
  static let passwordsPendingMax = 8

  package let identities: [IdentitySettings]
  private let accesses: [AccessRule]
  private let tenants: TenantRules?
  private let counted: [String]
  private let hash: KeyedHash
  let now: @Sendable () -> Int64
  private let remembered: [Memory]
  private let pending = Mutex([0, 0])
  private let counts: Mutex<[Counts]>
  private let tenantCounts: Mutex<[UInt64]>

  private final class Memory: Sendable {
    let known = Mutex(Remembered<DigestKey, Known>(generationMax: IdentityGate.rememberedMax))
  }

  private struct Known: Sendable {
    var principal: Principal
    /// Of the keys it was verified with.
    var version: UInt64
  }

  /// How often an identity answered what.
  package struct Counts: Sendable, Equatable {
    package var known: UInt64 = 0
    package var invalid: UInt64 = 0
    package var replayed: UInt64 = 0
    package var refused: UInt64 = 0
    package var unavailable: UInt64 = 0
    /// Known ones that were answered from memory.
    package var remembered: UInt64 = 0
  }

  /// `now` is seconds since 1970; `hash` has a secret of this process; `counted` are claims that limits count by.
  package init(
    _ identities: [IdentitySettings], accesses: [AccessRule], tenants: TenantRules?, counted: [String] = [],
    hash: KeyedHash,
    now: @escaping @Sendable () -> Int64
  ) {
    self.identities = identities
    self.accesses = accesses
    self.tenants = tenants
    self.counted = counted
    self.hash = hash
    self.now = now
    remembered = identities.map { _ in Memory() }
    tenantCounts = Mutex(Array(repeating: 0, count: (tenants?.known.count ?? 0) + 1))
    counts = Mutex(Array(repeating: Counts(), count: identities.count))
  }

  /// Requests of known callers by declared tenant, `other` last; empty without tenants.
  package var tenantRequests: [(name: String, count: UInt64)] {
    guard let tenants else { return [] }
    return Array(zip(tenants.known.map(\.name) + ["other"], tenantCounts.withLock { $0 }))
      .map { (name: $0.0, count: $0.1) }
  }

  package var tally: [Counts] { counts.withLock { $0 } }

  /// By identity: how its keys stand; nil for those without.
  package var keyStores: [KeyStore?] {
    identities.map { if case .token(_, let store, _) = $0.kind { store } else { nil } }
  }

  // MARK: - Asking

  /// A token or an API key.
  package func ask(_ identity: Int, secret: Span<UInt8>) -> IdentityReply {
    switch identities[identity].kind {
    case .token(let rules, let store, _):
      if secret.count > TokenRules.bytesMax { return .now(count(identity, .invalid)) }
      let key = DigestKey.of(secret)
      if let principal = recall(identity, key, version: store.version) {
        return .now(count(identity, .known(principal)))
      }
      let token = Array(copying: secret)
      return later(identity) { await self.verify(identity, token, key, rules, store) }
    case .apiKey(let keys, _):
      let key = DigestKey.of(secret)
      if let principal = recall(identity, key, version: 0) { return .now(count(identity, .known(principal))) }
      guard let claims = keys.find(secret) else { return .now(count(identity, .invalid)) }
      return .now(count(identity, .known(remember(identity, key, claims, version: 0))))
    default: return .now(.unavailable)
    }
  }

  package func ask(_ identity: Int, user: Span<UInt8>, password: Span<UInt8>) -> IdentityReply {
    guard case .basic(let passwords) = identities[identity].kind else { return .now(.unavailable) }
    let user = String(decoding: Array(copying: user), as: UTF8.self)
    let password = Array(copying: password)
    // A fast hash of a slow secret may lie in memory only with a secret of its own.
    let mixed = Array("\(hash.hash(user))\u{0}\(user)\u{0}".utf8) + password
    let key = DigestKey.of(mixed.span)
    if let principal = recall(identity, key, version: 0) { return .now(count(identity, .known(principal))) }
    return later(identity, isSlow: true) {
      guard let claims = passwords.check(user: user, password: password) else { return .invalid }
      return .known(self.remember(identity, key, claims, version: 0))
    }
  }

  package func ask(_ identity: Int, signature: String, _ request: SignedRequests.Request) -> IdentityReply {
    guard case .signature(let signed) = identities[identity].kind else { return .now(.unavailable) }
    switch signed.check(signature, request, now: now()) {
    case .valid(let claims): return .now(count(identity, .known(principal(identity, claims, fields: []))))
    case .invalid: return .now(count(identity, .invalid))
    case .replayed: return .now(count(identity, .replayed))
    case .full: return .now(count(identity, .unavailable))
    }
  }

  package func ask(_ identity: Int, certificate: ClientCertificates.Evidence) -> IdentityReply {
    guard case .certificate(let certificates) = identities[identity].kind else { return .now(.unavailable) }
    let key = DigestKey(Array(certificate.fingerprint.utf8).suffix(32))
    if let principal = recall(identity, key, version: 0) { return .now(count(identity, .known(principal))) }
    guard let claims = certificates.check(certificate) else { return .now(count(identity, .invalid)) }
    return .now(count(identity, .known(remember(identity, key, claims, version: 0))))
  }

  package func ask(_ identity: Int, _ question: ForwardAuth.Question) -> IdentityReply {
    guard case .forward(let forward) = identities[identity].kind else { return .now(.unavailable) }
    return later(identity) {
      switch await forward.check(question) {
      case .known(let claims, let fields): .known(self.principal(identity, claims, fields: fields))
      case .refused: .invalid
      case .notAllowed: .notAllowed
      case .unavailable: .unavailable
      }
    }
  }

  // MARK: - Answering

  private func verify(
    _ identity: Int, _ token: [UInt8], _ key: DigestKey, _ rules: TokenRules, _ store: KeyStore
  ) async -> IdentityVerdict {
    if store.current() == nil { await store.refresh(now: now()) }
    var mayFetch = true
    while let (set, version) = store.current() {
      switch rules.check(token, keys: set, now: now()) {
      case .valid(let claims): return .known(remember(identity, key, claims, version: version))
      case .invalid: return .invalid
      case .unknownKey:
        guard mayFetch, await store.refreshForUnknown(now: now()) else { return .invalid }
        mayFetch = false
      }
    }
    return .unavailable
  }

  func later(
    _ identity: Int, isSlow: Bool = false, _ work: @escaping @Sendable () async -> IdentityVerdict
  ) -> IdentityReply {
    let (lane, most) = isSlow ? (1, IdentityGate.passwordsPendingMax) : (0, IdentityGate.pendingMax)
    let hasRoom = pending.withLock { pending in
      if pending[lane] >= most { return false }
      pending[lane] += 1
      return true
    }
    if !hasRoom { return .now(count(identity, .unavailable)) }
    return .later {
      let verdict = await work()
      self.pending.withLock { $0[lane] -= 1 }
      return self.count(identity, verdict)
    }
  }

  private func recall(_ identity: Int, _ key: DigestKey, version: UInt64) -> Principal? {
    let known: Known? = remembered[identity].known.withLock { $0.value(key) }
    guard let known, known.version == version, known.principal.claims.expiresAt > now() else { return nil }
    counts.withLock { $0[identity].remembered += 1 }
    return known.principal
  }

  private func remember(_ identity: Int, _ key: DigestKey, _ claims: Claims, version: UInt64) -> Principal {
    let principal = principal(identity, claims, fields: [])
    remembered[identity].known.withLock { $0.remember(key, Known(principal: principal, version: version)) }
    return principal
  }

  func principal(_ identity: Int, _ claims: Claims, fields: [ForwardAuth.Field]) -> Principal {
    let settings = identities[identity]
    var lines: [UInt8] = []
    for field in settings.fields {
      let values = field.claim == "roles" && claims.json["roles"] == nil ? claims.roles : claims.values(field.claim)
      lines += IdentityGate.line(field.name, values.joined(separator: ","))
    }
    for field in fields { lines += IdentityGate.line(field.name, field.value) }
    return Principal(
      claims, identity: identity, name: settings.name, fields: lines, accesses: accesses, tenants: tenants,
      counted: counted, hash: hash)
  }

  /// A field line; none for a value that would not be one: an issuer's claim must not end a head (RFC 9110 §5.5).
  private static func line(_ name: String, _ value: String) -> [UInt8] {
    let bytes = Array(value.utf8)
    guard let first = bytes.first, let last = bytes.last, first != 0x20, last != 0x20, bytes.count <= 4096,
      !bytes.contains(where: { $0 < 0x20 || $0 == 0x7f })
    else { return [] }
    return Array("\(name): ".utf8) + bytes + [0x0d, 0x0a]
  }

  func count(_ identity: Int, _ verdict: IdentityVerdict) -> IdentityVerdict {
    if case .known(let principal) = verdict, principal.tenant != nil {
      tenantCounts.withLock { $0[principal.series < 0 ? $0.count - 1 : principal.series] += 1 }
    }
    counts.withLock { counts in
      switch verdict {
      case .missing: break
      case .known: counts[identity].known += 1
      case .invalid: counts[identity].invalid += 1
      case .replayed: counts[identity].replayed += 1
      case .notAllowed: counts[identity].refused += 1
      case .unavailable: counts[identity].unavailable += 1
      }
    }
    return verdict
  }
}

extension Array where Element == UInt8 {
  init(copying span: Span<UInt8>) {
    self = span.withUnsafeBufferPointer { Array($0) }
  }
}
