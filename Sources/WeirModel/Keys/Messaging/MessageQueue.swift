// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirPatterns

/// Messages that wait until somebody does what they ask for: pushed to a service (`to`), or fetched by programs.
package struct MessageQueue: Sendable, Equatable {
  package var name: Name
  package var owner: Value<String>?
  /// What each message is delivered to; nil: programs fetch and settle them.
  package var to: Value<Errand>?
  /// How it is delivered; nil without `to`.
  package var call: Call?
  /// How long a delivery may take, as written; what holds is the call's.
  var timeout: Value<Duration>?
  /// In work at the same time; nil for no limit.
  package var atOnce: Value<Int>?
  package var visibility = MessageQueueKeys.visibility.initial
  package var retry = MessageRetry()
  package var deadLetters = MessageQueueKeys.deadLetters.initial
  /// The member of a JSON body, or the field of the request, that gives a message its key.
  package var key: Value<String>?
  package var keyAtOnce = MessageQueueKeys.keyAtOnce.initial
  package var keep = MessageQueueKeys.keep.initial
  package var dedup = MessageQueueKeys.dedup.initial
  package var length = MessageQueueKeys.length.initial
  package var size = MessageQueueKeys.size.initial
  /// Deliveries a second; nil for no limit.
  package var rate: Value<Rate>?

  init(name: Name) { self.name = name }

  /// What decides which message is next, when it is tried again and when it is dead.
  var settings: DeliveryQueue.Settings {
    var settings = DeliveryQueue.Settings()
    settings.visibility = visibility.value
    settings.attempts = retry.attempts.value
    settings.backoff.first = retry.first.value
    settings.backoff.max = retry.max.value
    settings.backoff.jitter = retry.jitter.value
    settings.keepsDead = deadLetters.value
    settings.keep = keep.value
    settings.dedup = dedup.value
    settings.length = length.value
    settings.bytes = size.value.count
    settings.atOnce = atOnce?.value ?? DeliveryQueue.Settings().atOnce
    settings.keyAtOnce = keyAtOnce.value
    settings.rate = rate?.value
    return settings
  }

  /// Two thirds of a lease, in whole milliseconds: the rest is for taking the message, and for its answer to be written
  /// down before another gets it.
  static func timeoutMost(visibility: Duration) -> Duration {
    .milliseconds(visibility.inNanoseconds / 1_000_000 * 2 / 3)
  }
}

/// When a message that failed is tried again, and how often.
package struct MessageRetry: Sendable, Equatable {
  /// The first included.
  package var attempts = MessageRetryKeys.attempts.initial
  package var first = MessageRetryKeys.first.initial
  package var max = MessageRetryKeys.max.initial
  package var jitter = MessageRetryKeys.jitter.initial
}

/// `retry:` of a queue.
enum MessageRetryKeys {
  private static let standard = DeliveryQueue.Settings()

  static let attempts = ScalarKey(
    "attempts", .count(1...1000), default: standard.attempts, rule: "queue-retry.attempts (the first included)",
    "How often a message is tried, the first time included; then it is a dead letter.",
    alias: ["max", "count", "tries", "max-attempts", "max-receive-count"])
  static let first = ScalarKey(
    "first", .duration(atLeastZero: true), default: standard.backoff.first,
    rule: "queue-backoff.first (nobody waits for the answer)",
    "The wait after the first failed attempt; each next one is twice as long.",
    alias: ["initial", "base", "base-interval"])
  static let max = ScalarKey(
    "max", .duration(), default: standard.backoff.max, rule: "queue-backoff.max (an outage may last a night)",
    "No wait is longer.", alias: ["max-interval", "cap"])
  static let jitter = ScalarKey(
    "jitter", .share(), default: standard.backoff.jitter, rule: "backoff.jitter (seed 002)",
    "The share of a wait that chance adds, so that messages do not come back together.")

  static let backoff = Key(
    "backoff", .section(backoffPart.section), "How long to wait before the next attempt.", alias: ["back-off", "delay"])
  static let backoffPart = Part<MessageRetry>(
    "queue-backoff", "Waits between the attempts of a message.", short: first.key,
    start: { _, _ in MessageRetry() }, [.value(first, \.first), .value(max, \.max), .value(jitter, \.jitter)])
  static let part = Part<MessageRetry>(
    "queue-retry", "When a message that failed is tried again.", short: attempts.key,
    start: { _, _ in MessageRetry() }, [.value(attempts, \.attempts), .part(backoff, \.self, backoffPart)])
}

/// One entry of `queues:`.
enum MessageQueueKeys {
  private static let standard = DeliveryQueue.Settings()
  /// Deliveries at the same time to an instance of which nobody says how many it works on.
  static let atOnceUnknown = 16

  static let owner = ScalarKey(
    "owner", .text("a team or person", example: "team-orders"), rule: "the system's owner", "Who answers for it.")
  static let to = ScalarKey(
    "to", ScalarType<Target>.target, rule: "programs fetch messages (`lease`, `ack`)",
    "The operation of a service that each message is delivered to: `POST mailer/send`.",
    alias: ["push", "consumer", "handler"])
  static let timeout = ScalarKey(
    "timeout", .duration(), rule: "two thirds of visibility",
    "The longest that one delivery may take, with `to`; at most two thirds of `visibility`.", alias: ["deadline"])
  static let atOnce = ScalarKey(
    "at-once", .count(1...1_000_000),
    rule: "with `to` as many as the service's instances work on (a fixed few where that is not said), else no limit",
    "Messages in work at the same time.", alias: ["concurrency", "workers", "prefetch"])
  static let visibility = ScalarKey(
    "visibility", .duration(), default: standard.visibility, rule: "queue.visibility (as SQS)",
    "How long who takes a message has it for himself; if it is not settled by then, it is given out again.",
    alias: ["lease", "visibility-timeout", "ack-deadline", "ack-wait"])
  static let retry = Key(
    "retry", .section(MessageRetryKeys.part.section), "When a message that failed is tried again.", alias: ["retries"])
  static let deadLetters = ScalarKey(
    "dead-letters", .bool, default: standard.keepsDead, rule: "queue.dead-letters (nothing is thrown away unseen)",
    "Whether messages that failed for good are kept, with the reason, to be looked into and sent again.",
    alias: ["dlq", "dead-letter", "dead-letter-queue"])
  static let key = ScalarKey(
    "key", .messageKey, rule: "messages have no order, unless who sends names a key",
    "The member of a JSON body, or the field of the request, that gives the key: messages of one key are delivered one after the other.",
    alias: ["ordering-key", "group", "partition-key"])
  static let keyAtOnce = ScalarKey(
    "key-at-once", .count(1...100_000), default: standard.keyAtOnce, rule: "queue.key-at-once (in order)",
    "Messages of one key in work at the same time; with more than one they have no order.")
  static let keep = ScalarKey(
    "keep", .duration(), default: standard.keep, rule: "queue.keep (the most that SQS keeps)",
    "A message that is older is a dead letter; dead letters are kept as long.",
    alias: ["ttl", "retention", "max-age", "expiry"])
  static let dedup = ScalarKey(
    "dedup", .duration(atLeastZero: true), default: standard.dedup, rule: "queue.dedup (as SQS)",
    "For how long a message with the id of an earlier one is the same message, and not delivered again.",
    alias: ["dedup-window", "deduplication"])
  static let length = ScalarKey(
    "length", .count(1...100_000_000), default: standard.length, rule: "queue.messages",
    "Messages that may wait or be in work; the next is refused (429).", alias: ["max-length", "max-messages"])
  static let size = ScalarKey(
    "size", .bytes, default: Bytes(standard.bytes), rule: "queue.size",
    "Bytes of their bodies; what would be more is refused (429).", alias: ["max-bytes", "max-size"])
  static let rate = ScalarKey(
    "rate", .rate, rule: "no limit", "Messages that are given out at most.", alias: ["limit", "throttle"])

  static let part = Part<MessageQueue>(
    "message-queue", "Messages that wait until they are worked on.",
    start: { layers, _ in layers.name.map { MessageQueue(name: $0) } },
    [
      .optional(owner, \.owner),
      .custom(
        to.key,
        read: { layers, resolver, queue in
          queue.to = layers.value(to).flatMap { resolver.errand($0, whatFor: "a queue") }
        },
        explain: { queue, design in
          queue.to.map { to in [.leaf(MessageQueueKeys.to, to.map { $0.target(design) })] } ?? []
        }),
      .custom(
        timeout.key, read: { layers, _, queue in queue.timeout = layers.value(timeout) },
        explain: { queue, _ in queue.call.map { [.leaf(timeout, $0.timeout)] } ?? [] }),
      .optional(atOnce, \.atOnce),
      .value(visibility, \.visibility),
      .part(retry, \.retry, MessageRetryKeys.part),
      .value(deadLetters, \.deadLetters),
      .optional(key, \.key),
      .value(keyAtOnce, \.keyAtOnce),
      .value(keep, \.keep),
      .value(dedup, \.dedup),
      .value(length, \.length),
      .value(size, \.size),
      .optional(rate, \.rate),
    ])
}

extension ScalarType where T == String {
  /// What a message's key is read from.
  static var messageKey: ScalarType {
    .text("the name of a member or field", example: "customer_id", pattern: "^[A-Za-z0-9_.-]{1,64}$") { text in
      let isFine =
        (1...64).contains(text.utf8.count)
        && text.utf8.allSatisfy {
          (65...90).contains($0) || (97...122).contains($0) || (48...57).contains($0) || "-_.".utf8.contains($0)
        }
      return isFine
        ? nil : "a member of a JSON body or a field of the request: letters, digits, dashes, dots and _, at most 64"
    }
  }
}

extension Resolver {
  mutating func queue(_ entry: Entry, owner: Value<String>?) -> MessageQueue {
    let layers = Layers([Fields(entry.node, MessageQueueKeys.part.section)], name: entry.name)
    var queue = MessageQueueKeys.part.read(layers, &self) ?? MessageQueue(name: entry.name)
    queue.owner = self.owner(queue.owner, of: owner)
    let hasTarget = entry.node.entry(MessageQueueKeys.to.name) != nil
    checkLease(
      visibility: queue.visibility, timeout: queue.timeout, hasTarget: hasTarget, target: MessageQueueKeys.to.name)
    checkKeep(of: queue)
    checkWaits(of: queue.retry)
    if let to = queue.to {
      let timeout = deliveryTimeout(queue.timeout, visibility: queue.visibility)
      queue.call = delivery(of: to, timeout: timeout, place: queue.name.place)
      queue.atOnce = queue.atOnce ?? placesAtOnce(of: to.value.service)
    }
    if let atOnce = queue.atOnce, queue.keyAtOnce.value > atOnce.value, queue.keyAtOnce.isWritten {
      mistake(
        "wrong-value",
        "'key-at-once: \(queue.keyAtOnce.value)' is more than the \(atOnce.value) that the queue has in work in all",
        at: queue.keyAtOnce, mend: "key-at-once: \(atOnce.value)",
        related: atOnce.place.map { [.init($0, "its 'at-once'")] } ?? [])
    }
    return queue
  }

  private mutating func checkKeep(of queue: MessageQueue) {
    if queue.keep.value >= queue.visibility.value { return }
    let words = ScalarType<Duration>.duration()
    mistake(
      "wrong-value",
      "messages are kept for \(words.write(queue.keep.value)) and given out for "
        + "\(words.write(queue.visibility.value)): none could be tried twice", at: queue.keep, mend: "keep: 14d",
      related: queue.visibility.place.map { [.init($0, "the visibility")] } ?? [])
  }
}
