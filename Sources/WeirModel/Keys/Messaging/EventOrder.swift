// SPDX-License-Identifier: Apache-2.0
package import WeirPatterns

/// `sequence:` of a subscriber: events are handed on in the order of the numbers that they carry.
package struct EventSequence: Sendable, Equatable {
  /// The member of an event's data, or the field of the request, that is its number.
  package var by: Value<String>
  package var wait = EventSequenceKeys.wait.initial
  package var atGap = EventSequenceKeys.atGap.initial

  package enum AtGap: String, Sendable, CaseIterable {
    case skip, stop
  }

  package var settings: Sequencer.Settings {
    var settings = Sequencer.Settings()
    settings.wait = wait.value
    settings.atGap = atGap.value == .skip ? .skip : .stop
    return settings
  }
}

/// `sequence:` as a map.
enum EventSequenceKeys {
  private static let standard = Sequencer.Settings()

  static let by = ScalarKey(
    "by", .messageKey, required: true,
    "The member of an event's data, or the field of the request, that is its number among those of its key: 1, 2, 3 …",
    alias: ["number", "member"])
  static let wait = ScalarKey(
    "wait", .duration(), default: standard.wait, rule: "sequencer.wait (as long as a lease)",
    "How long the events behind a missing one are kept until it comes.", alias: ["timeout"])
  static let atGap = ScalarKey(
    "at-gap", ScalarType<EventSequence.AtGap>.word, default: .skip,
    rule: "sequencer.at-gap (one that is lost does not stop its key for ever)",
    "What then: go on without it (what comes after that is a dead letter), or `stop` that key until it comes.")

  static let part = Part<EventSequence>(
    "event-sequence", "Events in the order of the numbers that they carry.", short: by.key,
    start: { layers, _ in layers.value(by).map { EventSequence(by: $0) } },
    [.value(by, \.by), .value(wait, \.wait), .value(atGap, \.atGap)])
}

/// `dedup:` of a subscriber: an event that has come before is not delivered.
package struct EventDedup: Sendable, Equatable {
  package var within = EventDedupKeys.within.initial
  /// What names an event; nil: its id.
  package var by: Value<String>?

  package var settings: Deduplicator.Settings {
    var settings = Deduplicator.Settings()
    settings.window = within.value
    return settings
  }
}

/// `dedup:` as a map.
enum EventDedupKeys {
  static let within = ScalarKey(
    "within", .duration(), default: Deduplicator.Settings().window, rule: "deduplicator.window (as SQS)",
    "For how long an event is known after it has come.", alias: ["window", "for"])
  static let by = ScalarKey(
    "by", .messageKey, rule: "the event's id (`Weir-Id`, or source and id of a CloudEvent)",
    "The member of an event's data, or the field of the request, that names it: for senders that give a new id to what they send again.",
    alias: ["member", "id"])

  static let part = Part<EventDedup>(
    "event-dedup", "Events that have come before are not delivered.", short: within.key,
    start: { _, _ in EventDedup() }, [.value(within, \.within), .optional(by, \.by)])
}

extension SubscriberKeys {
  static let sequence = Key(
    "sequence", .section(EventSequenceKeys.part.section), default: "in the order in which they came",
    "Hand events on in the order of the numbers that they carry, whatever their order on the way.",
    alias: ["ordered-by", "sequence-number"])
  static let dedup = Key(
    "dedup", .section(EventDedupKeys.part.section), default: "what comes twice is delivered twice",
    "Do not deliver what has come before.", alias: ["deduplication", "idempotent"])
}

extension Resolver {
  /// Numbers count the events of a key, one after the other.
  mutating func checkOrder(of subscriber: Subscriber, key: Value<String>?, isStream: Bool, place: Place) {
    guard let sequence = subscriber.sequence else { return }
    let name = subscriber.name.text
    if isStream {
      mistake(
        "wrong-value", "the events of a stream have versions already, and '\(name)' gets them in their order",
        at: sequence.by, mend: "leave 'sequence' out")
    } else if key == nil {
      mistake(
        "missing-key", "'\(name)' sorts events by their numbers, and the topic has no key: numbers of what?",
        at: sequence.by, why: "each key counts its events from 1", mend: "key: order_id at \(place.path)")
    }
    if subscriber.batch.value > 1 {
      mistake(
        "wrong-value", "events that are sorted are delivered one by one, not in batches of \(subscriber.batch.value)",
        at: subscriber.batch, mend: "batch: 1")
    }
  }
}
