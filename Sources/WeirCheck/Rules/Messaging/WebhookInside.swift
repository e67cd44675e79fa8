// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Addresses that others choose may lead into our own networks.
enum WebhookInside: Rule {
  static let info = RuleInfo(
    "webhook-inside", .messaging, .warning, title: "A webhook may be sent into a network of our own",
    why:
      "Whoever registers an endpoint chooses where we connect to, from inside the network. With a network of our own "
      + "allowed, 1 endpoint is enough to have this system talk to anything that listens there, by http and at any port: "
      + "admin pages, databases, the addresses where clouds tell credentials.",
    detection: "`allow` of a webhook names a network",
    formula: "networks in `allow` > 0",
    mend: "Leave `allow` out where partners are on the internet. For development keep it in a file of its own.",
    falsePositives: "Files for development, and partners who are reached through a private network: name no more of it "
      + "than they use.")

  static func find(_ subject: Subject) -> [Finding] {
    subject.design.webhooks.compactMap { webhook in
      guard let first = webhook.allow.first else { return nil }
      let count = webhook.allow.count
      return info.finding(
        "\(webhook.name.text) may be sent into \(first.value)\(count > 1 ? " and \(count - 1) more" : ""), by http and at any "
          + "port",
        at: first.place ?? webhook.name.place, spot: first.place?.entry, caret: "inside",
        why: "who registers an endpoint has this system talk to whatever listens there",
        mend: "leave `allow` out, or accept this for development", acceptAt: webhook.name.place,
        inputs: [Finding.Input("networks of \(webhook.name.text)", String(count), first.place)],
        result: "\(count) network\(count == 1 ? "" : "s")")
    }
  }
}
