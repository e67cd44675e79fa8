// SPDX-License-Identifier: Apache-2.0

/// What a listener speaks, and with which certificates.
package struct ListenSecurity: Sendable, Equatable {}

/// The keys of a listener that say what it speaks, and with which certificates.
enum ListenSecurityKeys {
  static let fields: [Field<ListenSecurity>] = [
    .later("protocol", "`https`, `tcp`."),
    .later("certificates", "Chains and keys for TLS."),
    .later("client", "Whether callers need a certificate."),
  ]
}
