// SPDX-License-Identifier: Apache-2.0

/// Which fields may not come behind a body (RFC 9110 §6.5.1).
///
/// Servers that merge trailers into the head would take them for what was checked there: framing, routing, forwarding,
/// who asks, and what the body is.
enum TrailerRule {
  /// `name` is in any case, with `_` taken for `-`: see ``FieldName/isDisguised(_:_:_:)``.
  static func isRefused(_ name: Span<UInt8>) -> Bool {
    let length = min(name.count, 24)
    var copy = InlineArray<24, UInt8>(repeating: 0)
    for i in 0..<length { copy[i] = name[i] == 0x5f ? 0x2d : name[i] }
    switch FieldName.of(copy.span, 0, length) {
    // Fields of answers; an origin may send its date or a hint late.
    case .date, .retryAfter, .idempotencyKey: return false
    case .other: break
    default: return true
    }
    switch length {
    case 5: return Grammar.matches(copy.span, 0, length, "range")
    case 6: return Grammar.matches(copy.span, 0, length, "cookie")
    case 7: return Grammar.matches(copy.span, 0, length, "trailer")
    case 12: return Grammar.matches(copy.span, 0, length, "content-type")
    case 13:
      return Grammar.matches(copy.span, 0, length, "authorization")
        || Grammar.matches(copy.span, 0, length, "content-range")
    case 16: return Grammar.matches(copy.span, 0, length, "content-encoding")
    default: return false
    }
  }
}
