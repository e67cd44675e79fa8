// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirMessaging
import WeirModel
import WeirProxy
import WeirWire

extension Translation {
  /// The design's webhooks, in the words of who delivers them.
  static func webhooks(_ plan: Plan) -> [WebhookSettings] {
    plan.design.webhooks.map { webhook in
      var settings = WebhookSettings(
        name: webhook.name.text, topic: plan.design.topics[webhook.of.value].name.text)
      settings.signs = webhook.sign.value == .standard
      settings.giveUpAfter = max(1000, webhook.giveUpAfter.value.inNanoseconds / 1_000_000)
      settings.timeout = max(1, webhook.timeout.value.inNanoseconds / 1_000_000)
      settings.outgoing.allow = webhook.allow.compactMap { AddressNetwork($0.value) }
      settings.outgoing.isOpenInside = !settings.outgoing.allow.isEmpty
      return settings
    }
  }

  /// Their endpoints are documents, each webhook's in a log of its own.
  static func documents(_ webhooks: [WebhookSettings]) -> [LogDeclaration] {
    webhooks.map { LogDeclaration(name: $0.documents) }
  }
}
