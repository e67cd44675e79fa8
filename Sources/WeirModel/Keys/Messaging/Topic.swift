// SPDX-License-Identifier: Apache-2.0
package import WeirBase

/// Events that several may hear, each at its own pace.
package struct Topic: Sendable, Equatable {
  package var name: Name
  package var owner: Value<String>?
  package var engine = TopicKeys.engine.initial
  /// The member of an event's data, or the field of the request, that orders: events of one key keep their order.
  package var key: Value<String>?
  package var keep = TopicKeys.keep.initial
  /// Bytes that are kept at most; nil for no limit but `keep`.
  package var size: Value<Bytes>?
  /// A file with a JSON Schema, relative to the Weir file.
  package var schema: Value<String>?
  package var subscribers: [Subscriber] = []

  package enum Engine: String, Sendable, CaseIterable { case sqlite, nats }

  init(name: Name) { self.name = name }
}

/// Somebody who hears a topic, with a place of its own in it.
package struct Subscriber: Sendable, Equatable {
  package var name: Name
  /// What its events are delivered to; nil: programs fetch them.
  package var to: Value<Errand>?
  package var call: Call?
  var timeout: Value<Duration>?
  /// So many events go in one request.
  package var batch = SubscriberKeys.batch.initial
  package var atOnce: Value<Int>?
  package var visibility = MessageQueueKeys.visibility.initial
  package var retry = MessageRetry()
  package var deadLetters = MessageQueueKeys.deadLetters.initial
  /// Nil: events are delivered as they come.
  package var sequence: EventSequence?
  package var dedup: EventDedup?

  init(name: Name) { self.name = name }
}

/// One entry of `topics:`.
enum TopicKeys {
  static let engine = ScalarKey(
    "engine", ScalarType<Topic.Engine>.word, default: .sqlite, rule: "topic.engine (Weir's own store)",
    "What keeps the events.", alias: ["type", "kind"])
  static let key = ScalarKey(
    "key", .messageKey, rule: "events have no order",
    "The member of an event's data, or the field of the request, by which events keep their order.",
    alias: ["ordering-key", "partition-key"])
  static let keep = ScalarKey(
    "keep", .duration(), default: .seconds(7 * 86_400), rule: "topic.keep (as Kafka)", "How long events are kept.",
    alias: ["retention", "ttl", "max-age"])
  static let size = ScalarKey(
    "size", .bytes, rule: "no limit", "Bytes that are kept at most; the oldest events go first.",
    alias: ["max-bytes", "retention-bytes"])
  static let schema = ScalarKey(
    "schema", .text("a path", example: "schemas/order-event.json"),
    "A JSON Schema that every event must fit, relative to the Weir file.")
  static let to = Key(
    "to", .named(.plain("a subscriber"), .section(SubscriberKeys.part.section)),
    "Who hears it, by names; each has a place of its own in it.", alias: ["subscribers", "consumers", "groups"])

  static let part = Part<Topic>(
    "topic", "Events that several may hear.", start: { layers, _ in layers.name.map { Topic(name: $0) } },
    [
      .optional(MessageQueueKeys.owner, \.owner),
      .value(engine, \.engine),
      .optional(key, \.key),
      .value(keep, \.keep),
      .optional(size, \.size),
      .optional(schema, \.schema),
      .entries(to, \.subscribers, SubscriberKeys.part, name: \.name),
    ])
}

/// One entry of a topic's `to:`, or of a stream's `projections:`.
enum SubscriberKeys {
  static let `do` = ScalarKey(
    "do", ScalarType<Target>.target, rule: "programs fetch events",
    "The operation of a service that events are delivered to: `POST inventory/events`.", alias: ["push", "handler"])
  static let batch = ScalarKey(
    "batch", .count(1...1000), default: 1, rule: "subscriber.batch (one by one)",
    "So many events go in one request at most; those of one key never together.", alias: ["batch-size"])

  static let part = Part<Subscriber>(
    "subscriber", "Somebody who hears a topic, or makes something of a stream.", short: `do`.key,
    start: { layers, _ in layers.name.map { Subscriber(name: $0) } },
    [
      .custom(
        `do`.key,
        read: { layers, resolver, subscriber in
          subscriber.to = layers.value(`do`).flatMap { resolver.errand($0, whatFor: "a subscriber") }
        },
        explain: { subscriber, design in
          subscriber.to.map { to in [.leaf(SubscriberKeys.do, to.map { $0.target(design) })] } ?? []
        }),
      .custom(
        MessageQueueKeys.timeout.key,
        read: { layers, _, subscriber in subscriber.timeout = layers.value(MessageQueueKeys.timeout) },
        explain: { subscriber, _ in subscriber.call.map { [.leaf(MessageQueueKeys.timeout, $0.timeout)] } ?? [] }),
      .value(batch, \.batch),
      .optional(MessageQueueKeys.atOnce, \.atOnce),
      .value(MessageQueueKeys.visibility, \.visibility),
      .part(MessageQueueKeys.retry, \.retry, MessageRetryKeys.part),
      .value(MessageQueueKeys.deadLetters, \.deadLetters),
      .optionalPart(sequence, \.sequence, EventSequenceKeys.part),
      .optionalPart(dedup, \.dedup, EventDedupKeys.part),
    ])
}

extension Resolver {
  mutating func topic(_ entry: Entry, owner: Value<String>?) -> Topic {
    let layers = Layers([Fields(entry.node, TopicKeys.part.section)], name: entry.name)
    var topic = TopicKeys.part.read(layers, &self) ?? Topic(name: entry.name)
    topic.owner = self.owner(topic.owner, of: owner)
    for index in topic.subscribers.indices {
      settle(&topic.subscribers[index])
      checkKeep(of: topic, topic.subscribers[index])
      checkOrder(of: topic.subscribers[index], key: topic.key, isStream: false, place: entry.name.place)
    }
    if topic.engine.value == .nats, let place = topic.engine.place {
      refuse(
        .run, "weir run keeps events in its own store: it cannot have NATS keep those of '\(topic.name.text)' yet",
        at: place, mend: "engine: sqlite")
    }
    return topic
  }

  private mutating func checkKeep(of topic: Topic, _ subscriber: Subscriber) {
    if topic.keep.value >= subscriber.visibility.value { return }
    let words = ScalarType<Duration>.duration()
    let (keep, visibility) = (words.write(topic.keep.value), words.write(subscriber.visibility.value))
    mistake(
      "wrong-value",
      "events are kept for \(keep) and given out to '\(subscriber.name.text)' for \(visibility): none could be tried twice",
      at: topic.keep.isWritten ? topic.keep : subscriber.visibility,
      mend: topic.keep.isWritten ? "keep: 7d" : "visibility: 30s",
      related: topic.keep.isWritten ? subscriber.visibility.place.map { [.init($0, "its visibility")] } ?? [] : [])
  }

  mutating func settle(_ subscriber: inout Subscriber) {
    checkWaits(of: subscriber.retry)
    checkLease(
      visibility: subscriber.visibility, timeout: subscriber.timeout, hasTarget: subscriber.to != nil,
      target: SubscriberKeys.do.name)
    guard let to = subscriber.to else { return }
    let timeout = deliveryTimeout(subscriber.timeout, visibility: subscriber.visibility)
    subscriber.call = delivery(of: to, timeout: timeout, place: subscriber.name.place)
    if subscriber.atOnce == nil { subscriber.atOnce = placesAtOnce(of: to.value.service) }
  }
}
