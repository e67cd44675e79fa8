// SPDX-License-Identifier: Apache-2.0
package import WeirBase

/// Webhooks that others send us, signed as Standard Webhooks says.
package struct WebhookIdentity: Sendable, Equatable {
  package var secret: Value<Text>
  package var tolerance = WebhookIdentityKeys.tolerance.initial
  package var body = WebhookIdentityKeys.body.initial
}

/// `webhook:` of an identity.
enum WebhookIdentityKeys {
  static let secret = ScalarKey(
    "secret", .reference("a secret or a file", example: "$(secret:partner-webhooks)"), required: true,
    "What the sender signs with, as `whsec_…` or `whpk_…`; while it is rotated both, a line each.",
    alias: ["secrets", "key", "keys"])
  static let tolerance = ScalarKey(
    "tolerance", .duration(), default: .seconds(300), rule: "webhook-identity.tolerance (as the reference libraries)",
    "By how much the time of a webhook may differ.", alias: ["window", "leeway"])
  static let body = ScalarKey(
    "body", .bytes, default: Bytes(1 << 20), rule: "webhook-identity.body (as a queue's message)",
    "The largest body: it is held until its signature is verified, and goes on after that.", alias: ["max-body"])

  static let part = Part<WebhookIdentity>(
    "webhook-identity", "Webhooks of others, signed as Standard Webhooks says.", short: secret.key,
    start: { layers, _ in layers.value(secret).map { WebhookIdentity(secret: $0) } },
    [
      .value(secret, \.secret),
      .value(tolerance, \.tolerance),
      .value(body, \.body),
    ])
  static let section = part.section
}
