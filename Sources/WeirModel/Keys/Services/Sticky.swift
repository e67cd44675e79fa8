// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// A cookie keeps each client at the instance that it met first.
package struct Sticky: Sendable, Equatable {
  package enum By: String, Sendable, CaseIterable { case cookie }
  package enum Away: String, Sendable, CaseIterable { case move, borrow }

  package var by: Value<By>
  /// Nil: `weir-at-` and the service's name.
  package var name: Value<String>?
  package var away = StickyKeys.away.initial
}

/// `sticky:` of a service.
enum StickyKeys {
  static let sticky = Key(
    "sticky", .section(section), "Keeps each client at one instance, by a cookie that Weir sets.",
    alias: ["session-affinity", "stickiness"])
  static let by = ScalarKey(
    "by", ScalarType<Sticky.By>.word, default: .cookie, rule: "sticky.by",
    "What tells which instance a client belongs to.")
  static let name = ScalarKey(
    "name",
    .text("a cookie", example: "weir-at-shop", pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") {
      HeaderName.problem($0) == nil ? nil : "a cookie's name has letters, digits and dashes"
    }, rule: "weir-at- and the service's name", "The name of the cookie.")
  static let away = ScalarKey(
    "away", ScalarType<Sticky.Away>.word,
    default: StickyCookie.Settings().away == .move ? Sticky.Away.move : .borrow, rule: "sticky.away",
    "When its instance is out of use a client moves for good (`move`), or goes elsewhere until it is back (`borrow`).")

  static let part = Part<Sticky>(
    "sticky", "Keeps each client at one instance.", short: by.key,
    start: { layers, _ in Sticky(by: layers.valueOrInitial(by)) },
    [.value(by, \.by), .optional(name, \.name), .value(away, \.away)])
  static let section = part.section
  static let field: Field<Service> = .optionalPart(sticky, \.sticky, part)
}
