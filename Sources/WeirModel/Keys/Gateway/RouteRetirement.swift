// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

/// A route that is on its way out.
package struct RouteRetirement: Sendable, Equatable {
  package var place: Place
  package var since: Value<Day>?
  package var sunset: Value<Day>?
  package var link: Value<String>?
  package var refuse = RetirementKeys.refuse.initial

  /// As the pattern takes it: days begin at midnight, UTC.
  var settings: Retirement.Settings {
    var settings = Retirement.Settings()
    settings.since = since.map { WallTime(milliseconds: $0.value.number * 86_400_000) }
    settings.until = sunset.map { WallTime(milliseconds: $0.value.number * 86_400_000) }
    settings.refuses = refuse.value
    return settings
  }
}

/// `deprecated:` of a route.
enum RetirementKeys {
  static let since = ScalarKey(
    "since", .day, "Since when it is deprecated, or will be: the `Deprecation` field of its answers.", alias: ["date"])
  static let sunset = ScalarKey(
    "sunset", .day, "From when on it may be gone: the `Sunset` field of its answers.", alias: ["until"])
  static let link = ScalarKey(
    "link",
    .text("an address", example: "https://shop.example/docs/v2", pattern: "^[^ <>]+$") { text in
      text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x3c && $0 != 0x3e }
        ? nil : "an address is written in ASCII without spaces"
    }, "Where it is told what to use instead: the `Link` field of its answers.")
  static let refuse = ScalarKey(
    "refuse", .bool, default: Retirement.Settings().refuses, rule: "deprecated.refuse",
    "Answers 410 from `sunset` on; else it goes on answering.")

  static let part = Part<RouteRetirement>(
    "deprecated", "A route that is on its way out.", short: since.key,
    start: { layers, _ in layers.place.map { RouteRetirement(place: $0) } },
    [.optional(since, \.since), .optional(sunset, \.sunset), .optional(link, \.link), .value(refuse, \.refuse)])
  static let section = part.section
}

extension Day {
  /// Days since 1970-01-01.
  ///
  /// Hinnant, *chrono-Compatible Low-Level Date Algorithms*, `days_from_civil`; years are 1 to 9999.
  var number: Int64 {
    let shifted = month <= 2 ? year - 1 : year
    let era = shifted / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return Int64(era * 146_097 + dayOfEra - 719_468)
  }
}
