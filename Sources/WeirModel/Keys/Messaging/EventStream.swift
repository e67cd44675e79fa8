// SPDX-License-Identifier: Apache-2.0

/// An ordered log of events that is never shortened, and what is made of it.
package struct EventStream: Sendable, Equatable {
  package var name: Name
  package var owner: Value<String>?
  /// The types of events that it takes; empty for any.
  package var events: [Value<String>] = []
  /// The member of an event's data, or the field of the request, that says whose log it belongs to.
  package var key: Value<String>?
  package var projections: [Subscriber] = []

  init(name: Name) { self.name = name }
}

/// One entry of `streams:`.
enum StreamKeys {
  static let events = Key(
    "events", .list(.scalar(ScalarType<String>.eventType), least: 1), default: "any",
    "The types of events that it takes; others are refused.", alias: ["types"])
  static let key = ScalarKey(
    "key", .messageKey, rule: "one log for all",
    "The member of an event's data, or the field of the request, that says whose log it belongs to: each has versions of its own.",
    alias: ["stream-key", "aggregate", "id"])
  static let projections = Key(
    "projections", .named(.plain("a projection"), .section(SubscriberKeys.part.section)),
    "What is made of the events, by names; each knows how far it has come.", alias: ["read-models", "views"])

  static let part = Part<EventStream>(
    "stream", "An ordered log of events.", start: { layers, _ in layers.name.map { EventStream(name: $0) } },
    [
      .optional(MessageQueueKeys.owner, \.owner),
      .list(events, ScalarType<String>.eventType, \.events),
      .optional(key, \.key),
      .entries(projections, \.projections, SubscriberKeys.part, name: \.name),
    ])
}

extension ScalarType where T == String {
  /// The type of an event: `OrderPlaced`, `com.example.order.placed`.
  static var eventType: ScalarType {
    .text("a type of event", example: "OrderPlaced", pattern: "^[A-Za-z][A-Za-z0-9_.-]{0,127}$") { text in
      let isFine =
        text.utf8.count <= 128 && text.first.map { $0.isASCII && $0.isLetter } == true
        && text.utf8.allSatisfy {
          (65...90).contains($0) || (97...122).contains($0) || (48...57).contains($0) || "-_.".utf8.contains($0)
        }
      return isFine ? nil : "a type begins with a letter and has letters, digits, dashes, dots and _, at most 128"
    }
  }
}

extension Resolver {
  mutating func stream(_ entry: Entry, owner: Value<String>?) -> EventStream {
    let layers = Layers([Fields(entry.node, StreamKeys.part.section)], name: entry.name)
    var stream = StreamKeys.part.read(layers, &self) ?? EventStream(name: entry.name)
    stream.owner = self.owner(stream.owner, of: owner)
    for index in stream.projections.indices {
      settle(&stream.projections[index])
      checkOrder(of: stream.projections[index], key: stream.key, isStream: true, place: entry.name.place)
    }
    for (index, event) in stream.events.enumerated() {
      guard let first = stream.events[..<index].first(where: { $0.value == event.value }) else { continue }
      mistake(
        "defined-twice", "'\(event.value)' stands here twice", at: event, mend: "leave one of them out",
        related: first.place.map { [.init($0, "the first one")] } ?? [])
    }
    return stream
  }
}
