// SPDX-License-Identifier: Apache-2.0
internal import Foundation
package import WeirBase
package import WeirPatterns

/// An endpoint of a partner, as it is kept: a document, in JSON.
///
/// Points are wall time in milliseconds.
package struct WebhookSubscription: Sendable, Equatable, Codable {
  package struct Secret: Sendable, Equatable, Codable {
    package var secret: String
    package var since: Int64
    /// It was replaced, and signs along until then.
    package var until: Int64?
  }

  package var url: String
  /// The types of events that it wants; empty: all.
  package var types: [String] = []
  /// Deliveries a second, at most.
  package var rate: Double?
  package var created: Int64
  /// The newest first.
  package var secrets: [Secret]
  /// `WebhookEndpoint.Record`.
  package var disabled: UInt8?
  package var disabledAt: Int64?
  package var failingSince: Int64?
  package var failures: Int32 = 0

  package init(url: String, created: Int64, secret: String) {
    self.url = url
    self.created = created
    secrets = [Secret(secret: secret, since: created, until: nil)]
  }

  /// Secrets that are replaced sign along for so long.
  package static let overlap: Int64 = 24 * 3_600_000
  /// A new one beside so many is not made: each is a signature of every request.
  package static let secretsMax = 4

  /// 32 bytes of the system's own chance.
  package static func makeSecret() -> String {
    var random = SystemRandomNumberGenerator()
    let bytes = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &random) }
    return "whsec_" + Data(bytes).base64EncodedString()
  }

  /// Nil for what is none.
  package init?(document: [UInt8]) {
    guard let read = try? JSONDecoder().decode(WebhookSubscription.self, from: Data(document)) else { return nil }
    self = read
  }

  package var document: [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    // Numbers and texts: there is nothing in it that cannot be written.
    return (try? encoder.encode(self)).map { Array($0) } ?? []
  }

  package var record: WebhookEndpoint.Record {
    get {
      var record = WebhookEndpoint.Record()
      record.disabled = disabled.flatMap { WebhookEndpoint.Cause(rawValue: $0) }
      record.failingSince = failingSince.map { Instant(nanoseconds: $0 * 1_000_000) }
      record.failures = failures
      return record
    }
    set {
      disabled = newValue.disabled?.rawValue
      failingSince = newValue.failingSince.map { $0.nanoseconds / 1_000_000 }
      failures = newValue.failures
    }
  }

  /// What signs at this moment, the newest first.
  package func valid(at now: WallTime) -> [WebhookSecret] {
    secrets.filter { $0.until.map { now.milliseconds < $0 } ?? true }.compactMap { try? WebhookSecret($0.secret) }
  }

  /// A new secret, beside which those that were there sign along for a day.
  package mutating func rotate(to secret: String, now: WallTime) {
    let over = now.milliseconds + WebhookSubscription.overlap
    secrets = secrets.filter { $0.until.map { now.milliseconds < $0 } ?? true }.map {
      Secret(secret: $0.secret, since: $0.since, until: min($0.until ?? over, over))
    }
    secrets.insert(Secret(secret: secret, since: now.milliseconds, until: nil), at: 0)
    secrets = Array(secrets.prefix(WebhookSubscription.secretsMax))
  }

  /// Whether it wants events of this type; `order.*` is all that begin so.
  package func wants(_ type: String) -> Bool {
    types.isEmpty
      || types.contains { $0 == type || $0.hasSuffix(".*") && type.hasPrefix($0.dropLast()) }
  }

  /// Of a secret what tells it from another.
  static func masked(_ secret: String) -> String { "whsec_…" + secret.suffix(4) }

  /// An address as everybody may see it: what stands behind the host is often the partner's own secret.
  package static func shown(_ url: String) -> String {
    var slashes = 0
    let end = url.firstIndex { letter in
      if letter == "/" { slashes += 1 }
      return slashes == 3 || letter == "?"
    }
    guard let end, url[end...] != "/" else { return url }
    return url[..<end] + "/…"
  }

  package static func word(_ cause: WebhookEndpoint.Cause) -> String {
    switch cause {
    case .gone: "gone"
    case .failing: "failing"
    case .byOperator: "by-operator"
    }
  }
}
