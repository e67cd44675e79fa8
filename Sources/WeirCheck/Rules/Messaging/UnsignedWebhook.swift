// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Deliveries to others that anybody could have sent.
enum UnsignedWebhook: Rule {
  static let info = RuleInfo(
    "unsigned-webhook", .messaging, .warning, title: "A receiver cannot tell who sent a webhook",
    why:
      "The address of a receiver is no secret: it stands in logs and settings. Without a signature anybody who knows it "
      + "can tell a partner that an order is paid, and an old delivery can be sent again for ever: 1 forged request is "
      + "enough.",
    detection: "`sign: none` at a webhook",
    formula: "signatures of a delivery = 0",
    mend: "Leave `sign` at its default, Standard Webhooks: three fields, and libraries for receivers in each language.",
    falsePositives: "Receivers that are reached through a private network or by mTLS alone.")

  static func find(_ subject: Subject) -> [Finding] {
    subject.design.webhooks.filter { $0.sign.value == .none }.map { webhook in
      let topic = subject.design.topics[webhook.of.value].name.text
      return info.finding(
        "\(webhook.name.text) delivers \(topic) with 0 signatures: a receiver cannot tell it from anybody's",
        at: webhook.sign.place ?? webhook.name.place, spot: webhook.sign.place?.entry, caret: "0 signatures",
        why: "who knows a receiver's address can tell it whatever he likes",
        mend: "sign: standard-webhooks", acceptAt: webhook.name.place,
        inputs: [Finding.Input("sign of \(webhook.name.text)", "none", webhook.sign.place)], result: "0 signatures")
    }
  }
}
