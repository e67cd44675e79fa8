// SPDX-License-Identifier: Apache-2.0

/// Who answers, beside one service: shares of several, the same instance again, several calls made into one answer.
package struct RouteTarget: Sendable, Equatable {
  package var redirect: RouteRedirect?
  package var retirement: RouteRetirement?
  package var sticky: Value<Sticky>?
  package var mirror: RouteMirror?

  /// What keeps a client at one of several services.
  package enum Sticky: String, Sendable, CaseIterable { case cookie, client }
}

/// Sends callers elsewhere instead of answering.
package struct RouteRedirect: Sendable, Equatable {
  package var to: Value<String>
  package var status = RedirectKeys.status.initial
}

/// `redirect:` of a route.
enum RedirectKeys {
  static let to = ScalarKey(
    "to", .text("an address", example: "https://shop.example$path$?query"), required: true,
    "Where callers are sent: a path or an address; `$path`, `$1`, `$rest` and others stand for the request's.")
  // 307 keeps method and body, and nobody remembers it: a redirect for ever cannot be taken back from browsers' caches.
  static let status = ScalarKey(
    "status", .redirectStatus, default: 307, rule: "redirect.status (keeps the method; no cache remembers it)",
    "301 and 308 for ever, 302, 303 and 307 for now; 307 and 308 keep the method.", alias: ["code"])

  static let part = Part<RouteRedirect>(
    "redirect", "Sends callers elsewhere.", short: to.key,
    start: { layers, _ in layers.value(to).map { RouteRedirect(to: $0) } },
    [.value(to, \.to), .value(status, \.status)])
  static let section = part.section
}

extension ScalarType where T == Int {
  static var redirectStatus: ScalarType {
    let known = [301, 302, 303, 307, 308]
    return ScalarType(
      words: "a status of redirects", example: "308", schema: .object([("enum", .array(known.map { .int($0) }))]),
      read: { text in
        Int(text).flatMap { known.contains($0) ? .value($0) : nil }
          ?? .wrong(.init("a redirect has one of the statuses 301, 302, 303, 307, 308"))
      }, write: { String($0) })
  }
}

/// The keys of a route that say who answers, beside `to`.
enum RouteTargetKeys {
  static let redirect = Key(
    "redirect", .section(RedirectKeys.section), "Sends callers elsewhere, instead of `to`.")

  static let sticky = ScalarKey(
    "sticky", ScalarType<RouteTarget.Sticky>.word, rule: "each request is drawn anew",
    "What keeps a client at one of several services: a `cookie`, or its address (`client`).")
  static let mirror = Key(
    "mirror", .section(MirrorKeys.part.section),
    "Another service that gets a copy of requests; its answers go nowhere.",
    alias: ["shadow"])
  static let deprecated = Key(
    "deprecated", .section(RetirementKeys.section), "It is on its way out: callers are told since when and until when.")

  static let fields: [Field<RouteTarget>] = [
    .optionalPart(redirect, \.redirect, RedirectKeys.part),
    .optional(sticky, \.sticky),
    .optionalPart(mirror, \.mirror, MirrorKeys.part),
    .optionalPart(deprecated, \.retirement, RetirementKeys.part),
  ]
}
