// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

/// Who callers are, by name: what `identity` and `allow` of a route refer to.
package struct Identities: Sendable, Equatable {
  /// In the order of the file, which is the order in which a route with several asks them.
  package var all: [Identity] = []

  package func index(_ name: String) -> Int? { all.firstIndex { $0.name.text == name } }
}

/// One way of knowing who calls: exactly one of its kinds is there.
package struct Identity: Sendable, Equatable {
  package var name: Name
  package var jwt: TokenIdentity?
  package var apiKey: KeyIdentity?
  package var basic: BasicIdentity?
  package var hmac: SignedIdentity?
  package var certificate: CertificateIdentity?
  package var forwardAuth: ForwardIdentity?
  package var webhook: WebhookIdentity?
  /// The callee gets the credentials too.
  package var forward = IdentityKeys.forward.initial
  /// Claims that the callee gets, each in a field: `sub` → `x-user`.
  package var fields: [Named<String>] = []

  /// How many kinds are written.
  var kinds: Int {
    (jwt == nil ? 0 : 1) + (apiKey == nil ? 0 : 1) + (basic == nil ? 0 : 1) + (hmac == nil ? 0 : 1)
      + (certificate == nil ? 0 : 1) + (forwardAuth == nil ? 0 : 1) + (webhook == nil ? 0 : 1)
  }
}

/// A token that an issuer has signed (RFC 7519).
package struct TokenIdentity: Sendable, Equatable {
  package enum Algorithm: String, Sendable, CaseIterable {
    case es256 = "ES256"
    case es384 = "ES384"
    case es512 = "ES512"
    case edDSA = "EdDSA"
    case ps256 = "PS256"
    case ps384 = "PS384"
    case ps512 = "PS512"
    case rs256 = "RS256"
    case rs384 = "RS384"
    case rs512 = "RS512"
  }
  package var issuer: Value<String>
  package var audience: Value<[String]>?
  package var keys: Value<Text>
  package var algorithms: Value<[Algorithm]>?
  package var leeway = TokenKeys.leeway.initial
  package var refresh = TokenKeys.refresh.initial
  package var roles = TokenKeys.roles.initial
  package var header: Value<String>?
}

/// Keys that callers send in a field of their own.
package struct KeyIdentity: Sendable, Equatable {
  package var header = KeyIdentityKeys.header.initial
  package var keys: Value<Text>
}

/// Users with passwords (RFC 7617).
package struct BasicIdentity: Sendable, Equatable {
  package var users: Value<Text>
}

/// Requests that callers sign with a shared secret.
package struct SignedIdentity: Sendable, Equatable {
  package var keys: Value<Text>
  package var window = SignedKeys.window.initial
}

/// Certificates of callers, verified by the listener's `client`.
package struct CertificateIdentity: Sendable, Equatable {
  package struct Member: Sendable, Equatable {
    package var name: Value<String>
    package var roles: [String]
  }
  package var names: [Member] = []
}

/// A service that is asked who the caller is.
package struct ForwardIdentity: Sendable, Equatable {
  package var to: Value<Int>
  package var path = ForwardKeys.path.initial
  package var show: [Value<String>] = []
  package var copy: [Value<String>] = []
  package var subject: Value<String>?
  package var roles: Value<String>?
  package var timeout = ForwardKeys.timeout.initial
}

/// The keys of `gateway:` that say who callers are.
enum IdentityKeys {
  static let jwt = Key(
    "jwt", .section(TokenKeys.section), "Tokens that an issuer has signed.", alias: ["oidc", "token"])
  static let apiKey = Key("api-key", .section(KeyIdentityKeys.section), "Keys that callers send in a field.")
  static let basic = Key("basic", .section(BasicKeys.section), "Users with passwords.")
  static let hmac = Key("hmac", .section(SignedKeys.section), "Requests signed with a shared secret.")
  static let certificate = Key(
    "certificate", .section(CertificateIdentityKeys.section), "Certificates of callers, which the listener verifies.",
    alias: ["mtls"])
  static let forwardAuth = Key("forward-auth", .section(ForwardKeys.section), "A service that is asked.")
  static let webhook = Key(
    "webhook", .section(WebhookIdentityKeys.section), "Webhooks of others, signed as Standard Webhooks says.",
    alias: ["standard-webhooks"])
  static let forward = ScalarKey(
    "forward", .bool, default: false, rule: "identity.forward (a credential goes no further than it must)",
    "Whether the callee gets the credentials too.")
  static let claims = Key(
    "claims-to-headers",
    .named(
      Shape.Names(
        what: "a claim", problem: { $0.isEmpty ? "a claim has a name" : nil }, pattern: "^.+$"), .scalar(.fieldName)),
    "Claims that the callee gets in a field; what callers send in these fields never goes on.",
    alias: ["headers", "claims"])

  static let part = Part<Identity>(
    "identity",
    "One way of knowing who calls: one of `jwt`, `api-key`, `basic`, `hmac`, `certificate`, `forward-auth`, `webhook`.",
    start: { layers, _ in layers.name.map { Identity(name: $0) } },
    [
      .optionalPart(jwt, \.jwt, TokenKeys.part),
      .optionalPart(apiKey, \.apiKey, KeyIdentityKeys.part),
      .optionalPart(basic, \.basic, BasicKeys.part),
      .optionalPart(hmac, \.hmac, SignedKeys.part),
      .optionalPart(certificate, \.certificate, CertificateIdentityKeys.part),
      .optionalPart(forwardAuth, \.forwardAuth, ForwardKeys.part),
      .optionalPart(webhook, \.webhook, WebhookIdentityKeys.part),
      .value(forward, \.forward),
      .named(claims, .fieldName, \.fields),
    ])

  static let identities = Key(
    "identities", .named(.plain("an identity"), .section(part.section)), "Who callers are: tokens, keys, certificates.")

  static let fields: [Field<Identities>] = [
    .entries(identities, \.all, part, name: \.name)
  ]
}

/// `jwt:`.
enum TokenKeys {
  static let issuer = ScalarKey(
    "issuer", .text("an issuer", example: "https://id.shop.example"), required: true,
    "What `iss` must be, letter by letter.", alias: ["iss"])
  static let audience = Key(
    "audience",
    Shape.list(.scalar(.text("an audience", example: "shop")), least: 1)
      .or(.scalar(.text("an audience", example: "shop"))), default: "any audience",
    "One of these must be in `aud`.", alias: ["aud", "audiences"])
  static let keys = ScalarKey(
    "keys", .reference("a URL or the path of a file", example: "https://id.shop.example/jwks"), required: true,
    "Where the issuer's public keys are, as a JWK set: fetched again from time to time and when a token names a new key.",
    alias: ["jwks", "jwks-uri"])
  static let algorithms = Key(
    "algorithms", .list(.scalar(ScalarType<TokenIdentity.Algorithm>.word), least: 1),
    default: "all with public keys; none without a signature or with a shared secret",
    "Which signatures are taken.", alias: ["algorithm", "alg"])
  static let leeway = ScalarKey(
    "leeway", .duration(atLeastZero: true), default: .seconds(30), rule: "jwt.leeway (clocks that are kept by NTP)",
    "By how much clocks may differ.")
  static let refresh = ScalarKey(
    "refresh", .duration(), default: .seconds(300), rule: "jwt.refresh (keys are rotated over days)",
    "How often keys are fetched again.")
  static let roles = ScalarKey(
    "roles", .text("a claim", example: "realm_access.roles"), default: "roles", rule: "jwt.roles (as Microsoft Entra)",
    "The claim that lists roles; dots lead into claims within claims.")
  static let header = ScalarKey(
    "header", .fieldName, rule: "Authorization, with the scheme Bearer", "The field that carries the token.")

  static let part = Part<TokenIdentity>(
    "jwt", "Tokens that an issuer has signed.",
    start: { layers, _ in
      guard let issuer = layers.value(issuer), let keys = layers.value(keys) else { return nil }
      return TokenIdentity(issuer: issuer, keys: keys)
    },
    [
      .value(issuer, \.issuer),
      .words(audience, .text("an audience", example: "shop"), \.audience),
      .value(keys, \.keys),
      .words(algorithms, .word, \.algorithms),
      .value(leeway, \.leeway),
      .value(refresh, \.refresh),
      .value(roles, \.roles),
      .optional(header, \.header),
    ])
  static let section = part.section
}

/// `api-key:`.
enum KeyIdentityKeys {
  static let header = ScalarKey(
    "header", .fieldName, default: "x-api-key", rule: "api-key.header (as AWS and Azure)",
    "The field that carries the key.")
  static let keys = ScalarKey(
    "keys", .reference("a secret or a file", example: "$(secret:partner-keys)"), required: true,
    "The keys, a line each: name, `sha256:` and the key's hash, claims. `weir key` makes them.")
  static let part = Part<KeyIdentity>(
    "api-key", "Keys that callers send.", start: { layers, _ in layers.value(keys).map { KeyIdentity(keys: $0) } },
    [.value(header, \.header), .value(keys, \.keys)])
  static let section = part.section
}

/// `basic:`.
enum BasicKeys {
  static let users = ScalarKey(
    "users", .reference("a secret or a file", example: "$(file:users)"), required: true,
    "The users, a line each: name, the password's slow hash, claims. `weir key hash --password` makes them.",
    alias: ["file", "htpasswd"])
  static let part = Part<BasicIdentity>(
    "basic", "Users with passwords.", short: users.key,
    start: { layers, _ in layers.value(users).map { BasicIdentity(users: $0) } }, [.value(users, \.users)])
  static let section = part.section
}

/// `hmac:`.
enum SignedKeys {
  static let keys = ScalarKey(
    "keys", .reference("a secret or a file", example: "$(secret:signing-keys)"), required: true,
    "The secrets, a line each: name, base64, claims.")
  static let window = ScalarKey(
    "window", .duration(), default: .seconds(300), rule: "hmac.window (as AWS)",
    "By how much the time of a request may differ; within it none is taken twice.")
  static let part = Part<SignedIdentity>(
    "hmac", "Requests signed with a shared secret.",
    start: { layers, _ in layers.value(keys).map { SignedIdentity(keys: $0) } },
    [.value(keys, \.keys), .value(window, \.window)])
  static let section = part.section
}

/// `certificate:`.
enum CertificateIdentityKeys {
  static let names = Key(
    "names",
    .named(
      Shape.Names(
        what: "a certificate", problem: { $0.isEmpty ? "a certificate has a name" : nil }, pattern: "^.+$"),
      Shape.list(.scalar(.text("a role", example: "partner"))).or(.scalar(.text("a role", example: "partner")))),
    required: true,
    "Which certificates, by alternative name (`*.partner.example` for one label below), subject or SHA-256, and the "
      + "roles that go with each.")
  static let part = Part<CertificateIdentity>(
    "certificate-identity", "Certificates of callers.", start: { _, _ in CertificateIdentity() },
    [
      .custom(
        names,
        read: { layers, _, identity in
          for entry in layers.node(names)?.entries ?? [] where !entry.value.isReported {
            let roles = Fields.values(entry.value, ScalarType<String>.text("a role"))
            identity.names.append(
              .init(name: Value(entry.key, .written(entry.value.place)), roles: roles.map(\.value)))
          }
        },
        explain: { identity, _ in
          [
            .map(
              names,
              identity.names.map { member in
                Effective(
                  key: member.name.value, content: .value("[\(member.roles.joined(separator: ", "))]"),
                  origin: member.name.origin)
              })
          ]
        })
    ])
  static let section = part.section
}

/// `forward-auth:`.
enum ForwardKeys {
  static let to = ScalarKey("to", .name, required: true, "The service that is asked.", alias: ["service"])
  static let path = ScalarKey(
    "path", .urlPath, default: "/", rule: "forward-auth.path", "The path that is asked for, by GET.")
  static let show = Key(
    "show", .list(.scalar(.fieldName)), default: "Authorization and Cookie",
    "Fields of the request that it sees.", alias: ["request-headers"])
  static let copy = Key(
    "copy", .list(.scalar(.fieldName)), default: "none",
    "Fields of its answer that the callee gets; what callers send in them never goes on.",
    alias: ["headers", "response-headers"])
  static let subject = ScalarKey(
    "subject", .fieldName, rule: "the client's address", "The field of its answer that says who the caller is.")
  static let roles = ScalarKey(
    "roles", .fieldName, rule: "no roles", "The field of its answer that lists roles, with commas.")
  static let timeout = ScalarKey(
    "timeout", .duration(), default: .seconds(1), rule: "forward-auth.timeout",
    "How long it may take; without an answer the request gets 503.")

  static let part = Part<ForwardIdentity>(
    "forward-auth", "A service that is asked who the caller is.",
    start: { layers, resolver in
      layers.value(to).flatMap { name in
        resolver.service(name, whatFor: "forward-auth").map { index in ForwardIdentity(to: name.map { _ in index }) }
      }
    },
    [
      .custom(
        to.key,
        explain: { identity, design in
          [
            Effective(
              key: to.name, content: .value(design.services[identity.to.value].name.text), origin: identity.to.origin)
          ]
        }),
      .value(path, \.path),
      .list(show, .fieldName, \.show),
      .list(copy, .fieldName, \.copy),
      .optional(subject, \.subject),
      .optional(roles, \.roles),
      .value(timeout, \.timeout),
    ])
  static let section = part.section
}

extension ScalarType where T == String {
  /// The name of a field that Weir does not write or read by itself; in lower case.
  static var fieldName: ScalarType {
    var type = text("a field name", example: "x-user", pattern: "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") { text in
      let letters = Set("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^`|~")
      let name = text.lowercased()
      if !name.allSatisfy({ letters.contains($0) }) {
        return "a field name has letters, digits and dashes (readers fold '_' and '-', so '_' is not taken)"
      }
      let reserved = [
        "host", "content-length", "transfer-encoding", "connection", "te", "upgrade", "trailer", "keep-alive",
        "proxy-connection", "expect", "forwarded", "traceparent", "tracestate", "via",
      ]
      if reserved.contains(name) || name.hasPrefix("x-forwarded-") || name.hasPrefix("weir-") {
        return "'\(name)' frames or directs the message: it carries no identity"
      }
      return nil
    }
    let read = type.read
    type.read = { text in
      guard case .value(let name) = read(text) else { return read(text) }
      return .value(name.lowercased())
    }
    return type
  }
}

extension Resolver {
  /// What needs more than one place of the file: kinds, and names that routes use.
  mutating func refuseIdentities(of gateway: Gateway) {
    for identity in gateway.identities.all where identity.kinds != 1 {
      // A kind that has a mistake of its own is missing here, and that was said.
      if identity.kinds == 0 && hasMistake(below: identity.name.place) { continue }
      mistake(
        "wrong-value",
        identity.kinds == 0
          ? "'\(identity.name.text)' says not how callers are known" : "'\(identity.name.text)' is of two kinds",
        at: identity.name.place, spot: identity.name.place.head,
        mend: "one of jwt, api-key, basic, hmac, certificate, forward-auth, webhook")
    }
    if gateway.identities.all.count > 64, let last = gateway.identities.all.last {
      mistake("wrong-value", "a gateway has at most 64 identities", at: last.name.place, spot: last.name.place.head)
    }
    for route in gateway.routes {
      for name in route.access.identity where gateway.identities.index(name.value) == nil {
        unknownTarget(name, "an identity", among: gateway.identities.all.map(\.name.text))
      }
      guard let allow = route.access.allow else { continue }
      if allow.needsIdentity && route.access.identity.isEmpty {
        mistake(
          "wrong-value", "the route '\(route.name.text)' allows by role, scope or claim and names no identity",
          at: allow.place, spot: allow.place.head, why: "nobody would have any: every request would be refused",
          mend: gateway.identities.all.first.map { "identity: \($0.name.text)" })
      }
      if allow.conditions.flatMap(\.self).count > 64 {
        mistake(
          "wrong-value", "at most 64 roles, scopes and claims can be allowed in one route", at: allow.place,
          spot: allow.place.head)
      }
    }
  }

  private func hasMistake(below place: Place) -> Bool {
    roots.contains { (root: Node) -> Bool in
      root.entry("gateway")?.value.entry("identities")?.value.entries.contains { entry in
        entry.value.place == place && (entry.value.isReported || entry.value.anyReported)
      } ?? false
    }
  }
}

extension Node {
  /// Whether something in it was told already.
  fileprivate var anyReported: Bool {
    if isReported { return true }
    switch kind {
    case .scalar: return false
    case .list(let items): return items.contains(where: \.anyReported)
    case .map(let entries): return entries.contains { $0.value.anyReported }
    }
  }
}
