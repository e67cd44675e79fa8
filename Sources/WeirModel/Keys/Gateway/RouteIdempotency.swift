// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirPatterns

/// Requests of a route that are done once, by the key that they carry.
package struct RouteIdempotency: Sendable, Equatable {
  package var place: Place
  package var keep = IdempotencyKeys.keep.initial
  package var required = IdempotencyKeys.required.initial
  package var header = IdempotencyKeys.header.initial
  package var answer = IdempotencyKeys.answer.initial

  var settings: IdempotencyRecord.Settings {
    var settings = IdempotencyRecord.Settings()
    settings.keep = keep.value
    settings.required = required.value
    settings.answer = answer.value.count
    return settings
  }
}

/// `idempotency:` of a route.
enum IdempotencyKeys {
  private static let standard = IdempotencyRecord.Settings()

  /// A size of an answer that can be kept.
  private static var answerSize: ScalarType<Bytes> {
    let plain = ScalarType<Bytes>.bytes
    var type = plain
    type.read = { text in
      guard case .value(let bytes) = plain.read(text), bytes.count > IdempotencyRecord.Settings.answerMax else {
        return plain.read(text)
      }
      let most = plain.write(Bytes(IdempotencyRecord.Settings.answerMax))
      return .wrong(.init("an answer that is kept has at most \(most)", mend: most))
    }
    return type
  }

  static let keep = ScalarKey(
    "keep", .duration(), default: standard.keep, rule: "idempotency.keep (as Stripe)",
    "How long what was done is remembered.", alias: ["ttl", "for", "expiry"])
  static let required = ScalarKey(
    "required", .bool, default: standard.required, rule: "idempotency.required",
    "POST and PATCH without a key are refused (400).")
  static let header = ScalarKey(
    "header", .fieldName, default: "idempotency-key", rule: "draft-ietf-httpapi-idempotency-key-header",
    "The field that carries the key.", alias: ["key"])
  static let answer = ScalarKey(
    "answer", answerSize, default: Bytes(standard.answer), rule: "idempotency.answer",
    "The largest body of an answer that is kept; a larger one goes out, and repeats get 409.",
    alias: ["max-answer", "response"])

  static let part = Part<RouteIdempotency>(
    "idempotency", "Requests with a key are done once.", short: keep.key, alone: [AnyScalar(word: "none")],
    start: { layers, _ in layers.place.map { RouteIdempotency(place: $0) } },
    [
      .value(keep, \.keep),
      .value(required, \.required),
      .value(header, \.header),
      .value(answer, \.answer),
    ])
  static let section = part.section
}
