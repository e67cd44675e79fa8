// SPDX-License-Identifier: Apache-2.0
internal import WeirFlows
internal import WeirPatterns

/// Another service that gets a copy of requests; its answers go nowhere.
package struct RouteMirror: Sendable, Equatable {
  /// Index in `Design.services`.
  package var to: Value<Int>
  /// Which of its instances; nil: all.
  package var subset: Subset?
  package var share = MirrorKeys.share.initial
  package var compare = MirrorKeys.compare.initial
  package var atOnce = MirrorKeys.atOnce.initial

  /// One attempt, nobody waits for a place, and what it says of an instance is nobody else's business.
  func settings(like call: CallSettings) -> CallSettings {
    var settings = CallSettings()
    settings.timeout = call.timeout
    settings.attempt = call.timeout
    settings.retry.attempts = 1
    settings.breaks = false
    settings.atOnce = Int32(clamping: atOnce.value)
    settings.queue.length = 0
    settings.balance = call.balance
    return settings
  }
}

/// `mirror:` of a route.
enum MirrorKeys {
  static let to = ScalarKey("to", .name, required: true, "The service that gets the copies.", alias: ["service"])
  static let share = ScalarKey(
    "share", .share(zero: false), default: 1, rule: "mirror.share", "The part of the requests that is copied.",
    alias: ["percent"])
  static let compare = ScalarKey(
    "compare", .bool, default: false, rule: "mirror.compare (bodies that differ each time would always differ)",
    "Compares the bodies of both answers, too; statuses and times always.")
  static let atOnce = ScalarKey(
    "at-once", .count(1...10_000), default: MirrorReport.Settings().atOnce, rule: "mirror.at-once",
    "Copies that may be under way at the same time; what comes beyond is not copied.")

  static let part = Part<RouteMirror>(
    "mirror", "Another service that gets a copy of requests.", short: to.key,
    start: { layers, resolver in
      guard let name = layers.value(to), let index = resolver.service(name, whatFor: "a mirror") else { return nil }
      return RouteMirror(to: name.map { _ in index })
    },
    [
      .custom(
        to.key,
        explain: { mirror, design in
          [
            Effective(
              key: to.name, content: .value(design.services[mirror.to.value].name.text), origin: mirror.to.origin)
          ]
        }),
      .value(share, \.share),
      .value(compare, \.compare),
      .value(atOnce, \.atOnce),
    ] + LabelKeys.fields(\.subset))
}
