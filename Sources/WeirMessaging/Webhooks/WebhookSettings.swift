// SPDX-License-Identifier: Apache-2.0
package import WeirWire

/// What the file says of webhooks that go out: of which topic, how, for how long, and where to.
package struct WebhookSettings: Sendable, Equatable {
  package var name: String
  /// The log whose entries are delivered: a topic.
  package var topic: String
  /// As Standard Webhooks says; else not at all.
  package var signs = true
  /// In milliseconds: how long a delivery is tried again, and how long one attempt may take.
  package var giveUpAfter: Int64 = 3 * 86_400_000
  package var timeout: Int64 = 15_000
  package var outgoing = OutgoingGuard.Settings()

  package init(name: String, topic: String) {
    self.name = name
    self.topic = topic
  }

  private static let prefix = "webhooks"

  /// The log in which endpoints are kept as documents; no name of the file has a dot.
  package var documents: String { "\(WebhookSettings.prefix).\(name)" }

  /// The topic's group, and the queue, of an endpoint.
  package func queue(_ endpoint: String) -> String { "\(documents).\(endpoint)" }

  /// The endpoint whose group of the topic this is; nil: it is none of this webhook's.
  package func endpoint(ofQueue name: String) -> String? {
    let start = documents + "."
    return name.hasPrefix(start) ? String(name.dropFirst(start.utf8.count)) : nil
  }

  /// Of a log's groups those of webhooks that take nothing from it any more.
  ///
  /// Their webhook has left the file, or is of another topic now: nobody takes what they are fed, and publishers would wait for
  /// them for ever.
  package static func left(
    of groups: some Sequence<String>, of log: String, by webhooks: [WebhookSettings]
  ) -> [String] {
    groups.filter { group in
      let parts = group.split(separator: ".")
      return parts.count == 3 && parts[0] == prefix && !webhooks.contains { $0.name == parts[1] && $0.topic == log }
    }
  }

  /// Beyond so many messages an endpoint is disabled: a partner that is away must not hold up who publishes.
  package static let lengthMax: Int64 = 1_000_000

  package func declaration(_ endpoint: String) -> QueueDeclaration {
    var queue = QueueDeclaration(name: queue(endpoint))
    // The attempt, and time to say how it went.
    queue.visibility = timeout + 30_000
    // When again, and when no more, is said with each failure.
    queue.attempts = .max
    queue.backoffFirst = 1000
    queue.backoffMax = 1000
    queue.backoffJitter = 0
    // What is given up is not kept: an entry would stay in the topic for as long. It can be replayed while the topic has it.
    queue.keepsDead = false
    queue.keep = giveUpAfter
    queue.length = WebhookSettings.lengthMax
    queue.bytes = 1 << 50
    queue.atOnce = 1024
    queue.keyAtOnce = 1
    return queue
  }
}
