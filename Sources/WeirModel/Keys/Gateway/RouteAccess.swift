// SPDX-License-Identifier: Apache-2.0

/// Who may call.
package struct RouteAccess: Sendable, Equatable {
  /// Names of the gateway's identities, of which one must know the caller; empty lets everybody in.
  package var identity: [Value<String>] = []
  package var allow: Allow?
}

/// What a caller must have: every key that is written, of each list one.
package struct Allow: Sendable, Equatable {
  package var place: Place
  package var roles: Value<[String]>?
  package var scopes: Value<[String]>?
  package var claims: [Claim] = []
  /// Networks that the request must come from.
  package var addresses: [Value<String>] = []

  package struct Claim: Sendable, Equatable {
    package var name: String
    package var values: Value<[String]>
  }

  package enum Condition: Sendable, Equatable {
    case role(String)
    case scope(String)
    case claim(String, String)
  }

  /// Groups of conditions: of each one must be met.
  package var conditions: [[Condition]] {
    var groups: [[Condition]] = []
    if let roles { groups.append(roles.value.map { .role($0) }) }
    if let scopes { groups.append(scopes.value.map { .scope($0) }) }
    for claim in claims { groups.append(claim.values.value.map { .claim(claim.name, $0) }) }
    return groups
  }

  package var needsIdentity: Bool { roles != nil || scopes != nil || !claims.isEmpty }
}

/// The keys of a route that say who may call.
enum RouteAccessKeys {
  static let identity = Key(
    "identity", Shape.list(.scalar(.name)).or(.scalar(.name)), default: "everybody",
    "Who may call: one of `identities`, or several of which one will do. All others get 401.",
    alias: ["auth", "identities", "authentication"])
  static let allow = Key(
    "allow", .section(AllowKeys.section), "What a caller must have beside an identity; all others get 403.",
    alias: ["authorization", "require"])

  static let fields: [Field<RouteAccess>] = [
    .list(identity, .name, \.identity).inDefaults,
    .optionalPart(allow, \.allow, AllowKeys.part).inDefaults,
    .later("audit", "Writes every request into the audit log."),
  ]
}

/// `allow:`.
enum AllowKeys {
  private static func words(_ what: String, _ example: String) -> Shape {
    Shape.list(.scalar(.text(what, example: example)), least: 1).or(.scalar(.text(what, example: example)))
  }

  static let role = Key("role", words("a role", "buyer"), "One of these roles.", alias: ["roles"])
  static let scope = Key("scope", words("a scope", "orders.read"), "One of these scopes.", alias: ["scopes"])
  static let claim = Key(
    "claim",
    .named(
      Shape.Names(what: "a claim", problem: { $0.isEmpty ? "a claim has a name" : nil }, pattern: "^.+$"),
      words("a value", "acme")), "Claims and the values that they may have; every claim that stands here must fit.",
    alias: ["claims"])
  static let address = Key(
    "address", Shape.list(.scalar(.network), least: 1).or(.scalar(.network)), default: "any address",
    "Networks that the request must come from; needs no identity.", alias: ["addresses", "ip", "cidr"])

  static let part = Part<Allow>(
    "allow", "What a caller must have.", start: { layers, _ in layers.place.map { Allow(place: $0) } },
    [
      .words(role, .text("a role"), \.roles),
      .words(scope, .text("a scope"), \.scopes),
      .custom(
        claim,
        read: { layers, _, allow in
          for entry in layers.node(claim)?.entries ?? [] where !entry.value.isReported {
            let values = Fields.values(entry.value, ScalarType<String>.text("a value")).map(\.value)
            allow.claims.append(.init(name: entry.key, values: Value(values, .written(entry.value.place))))
          }
        },
        explain: { allow, _ in
          let lines = allow.claims.map { claim in
            Effective(
              key: claim.name, content: .value("[\(claim.values.value.joined(separator: ", "))]"),
              origin: claim.values.origin)
          }
          return lines.isEmpty ? [] : [.map(claim, lines)]
        }),
      .list(address, .network, \.addresses),
    ])
  static let section = part.section
}
