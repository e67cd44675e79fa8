// SPDX-License-Identifier: Apache-2.0
internal import WeirFlows
internal import WeirPatterns

/// When a call is made a second time beside a slow first one.
package struct Hedge: Sendable, Equatable {
  package var after = HedgeKeys.after.initial
  /// Second attempts may be so large a share of calls.
  package var most = HedgeKeys.most.initial

  func compile(into settings: inout CallSettings) {
    var hedge = HedgeTrigger.Settings()
    switch after.value {
    case .quantile(let quantile): hedge.quantile = quantile
    case .delay(let delay): hedge.delay = delay
    }
    hedge.share = most.value
    settings.hedge = hedge
  }
}

/// After how long a second attempt is due.
package enum HedgeAfter: Sendable, Equatable {
  /// When so large a share of the calls has its answer.
  case quantile(Double)
  case delay(Duration)
}

/// `hedge:` of a call.
enum HedgeKeys {
  private static let standard = HedgeTrigger.Settings()

  static let after = ScalarKey(
    "after", ScalarType<HedgeAfter>.hedgeAfter, required: false, default: .quantile(standard.quantile),
    rule: "hedge.after (Dean and Barroso)",
    "When it is sent: a percentile of how long calls take, as observed, or a length of time.",
    alias: ["delay", "at"])
  static let most = ScalarKey(
    "most", .share(zero: false), default: standard.share, rule: "hedge.most (what that percentile costs)",
    "Second attempts at most, as a share of calls; the retry budget pays for them too.", alias: ["budget", "share"])

  static let part = Part<Hedge>(
    "hedge", "A second attempt beside a slow first one; the first answer wins and the other is cancelled.",
    short: after.key, alone: [AnyScalar(word: "none")], start: { _, _ in Hedge() },
    [
      .value(after, \.after),
      .value(most, \.most),
    ])

  static let hedge = Key(
    "hedge", .section(part.section), "A second attempt beside a slow first one, of requests that may be repeated.",
    alias: ["hedging", "speculative"])
  static let fields: [Field<Call>] = [.optionalPart(hedge, \.hedge, part).inDefaults]
}

extension ScalarType where T == HedgeAfter {
  /// `p95`, `p99.9`, or a length of time.
  static var hedgeAfter: ScalarType {
    let duration = ScalarType<Duration>.duration()
    return ScalarType(
      words: "a percentile or a length of time", example: "p95",
      schema: pattern(#"^(p[0-9]+(\.[0-9]+)?|[0-9]+(\.[0-9]+)?(ns|us|ms|s|m|h|d))$"#),
      read: { text in
        if text.first == "p" {
          guard let (number, unit) = split(String(text.dropFirst())), unit.isEmpty, let value = Double(number) else {
            return .wrong(.init("a percentile is written p95"))
          }
          // Below the median more than half of the calls would be made twice.
          guard value >= 50, value < 100 else { return .wrong(.init("this must be from p50 to below p100")) }
          return .value(.quantile(value / 100))
        }
        if text.hasSuffix("%"), let (number, _) = split(text) { return .wrong(.init(mend: "p\(number)")) }
        switch duration.read(text) {
        case .value(let delay): return .value(.delay(delay))
        case .wrong(let wrong): return .wrong(.init(wrong.message, mend: wrong.mend))
        }
      },
      write: { after in
        switch after {
        case .quantile(let quantile): "p" + plain(quantile * 100)
        case .delay(let delay): duration.write(delay)
        }
      })
  }
}
