// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// The id that each request gets.
package struct RequestID: Sendable, Equatable {
  package var header = RequestIDKeys.header.initial
  package var trust = RequestIDKeys.trust.initial
}

/// `request-id:` of the gateway.
enum RequestIDKeys {
  static let header = ScalarKey(
    "header", .headerName, default: "x-request-id", rule: "request-id.header (what most programs read)",
    "The field that it is sent on, and returned, in.")
  static let trust = ScalarKey(
    "trust", .bool, default: true, rule: "request-id.trust",
    "One that a proxy of `trust-forwarded-from` has given stays; a client's never does.")
  static let part = Part<RequestID>(
    "request-id", "The id that each request gets.", short: header.key, start: { _, _ in RequestID() },
    [.value(header, \.header), .value(trust, \.trust)])
  static let key = Key(
    "request-id", .section(part.section), "Each request gets an id, which is sent on, returned and logged.")
}

extension ScalarType where T == String {
  /// The name of a header field that a transform may write.
  static var headerName: ScalarType {
    .text("the name of a header", example: "x-request-id", pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") { text in
      do throws(HeaderEdits.Mistake) {
        _ = try HeaderEdits(remove: [text])
        return nil
      } catch { return error.description }
    }
  }
}
