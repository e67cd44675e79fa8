// SPDX-License-Identifier: Apache-2.0

/// Events of a topic delivered to others: to addresses that partners have given.
package struct Webhook: Sendable, Equatable {
  package var name: Name
  /// Index in `Design.topics`.
  package var of: Value<Int>
  package var sign = WebhookKeys.sign.initial
  package var giveUpAfter = WebhookKeys.giveUpAfter.initial
  package var timeout = WebhookKeys.timeout.initial
  /// Networks that deliveries may go to although they are not the internet's.
  package var allow: [Value<String>] = []

  package enum Signature: String, Sendable, CaseIterable {
    case standard = "standard-webhooks"
    case none
  }
}

/// One entry of `webhooks:`.
enum WebhookKeys {
  static let of = ScalarKey(
    "of", .name, required: true, "The topic whose events are delivered.", alias: ["topic", "events", "from"])
  static let sign = ScalarKey(
    "sign", ScalarType<Webhook.Signature>.word, default: .standard,
    rule: "webhook.sign (a receiver can tell who sent it)",
    "How a receiver can tell that a delivery is ours: `standard-webhooks` (its specification), or `none`.",
    alias: ["signature"])
  static let giveUpAfter = ScalarKey(
    "give-up-after", .duration(), default: .seconds(3 * 86_400), rule: "webhook.give-up-after (a weekend)",
    "How long a delivery is tried again.", alias: ["retry-for", "ttl"])
  static let timeout = ScalarKey(
    "timeout", .duration(), default: .seconds(15), rule: "webhook.timeout (as Standard Webhooks advises)",
    "The longest that one attempt may take.", alias: ["deadline"])

  static let allow = Key(
    "allow", .list(.scalar(.network)), default: "addresses of the internet alone",
    "Networks of your own that deliveries may go to, by http and at any port too: for partners inside, and for development.",
    alias: ["networks", "allow-networks"])

  static let part = Part<Webhook>(
    "webhook", "Events delivered to others.",
    start: { layers, resolver in
      guard let name = layers.name, let of = layers.value(of), let topic = resolver.topic(of) else { return nil }
      return Webhook(name: name, of: of.map { _ in topic })
    },
    [
      .custom(of.key, explain: { webhook, design in [.leaf(of, webhook.of.map { design.topics[$0].name.text })] }),
      .value(sign, \.sign),
      .value(giveUpAfter, \.giveUpAfter),
      .value(timeout, \.timeout),
      .list(allow, .network, \.allow),
    ])
}

extension Resolver {
  fileprivate mutating func topic(_ name: Value<String>) -> Int? {
    if case .topic(let index)? = componentNamed(name.value) { return index }
    unknownTarget(name, "a topic", among: topics.map(\.name.text))
    return nil
  }
}
