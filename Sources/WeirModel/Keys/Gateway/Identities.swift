// SPDX-License-Identifier: Apache-2.0

/// Who callers are, by name: what `identity` and `allow` of a route refer to.
package struct Identities: Sendable, Equatable {}

/// The keys of `gateway:` that say who callers are.
enum IdentityKeys {
  static let fields: [Field<Identities>] = [
    .later("identities", "Who callers are: tokens, keys, certificates.")
  ]
}
