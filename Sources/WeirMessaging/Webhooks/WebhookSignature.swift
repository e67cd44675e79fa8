// SPDX-License-Identifier: Apache-2.0
internal import Crypto
internal import Foundation
package import WeirBase

/// Signs webhooks, and says whether one that has come was signed by whom we share a secret with.
///
/// Source: Standard Webhooks 1.0.0. Signed is `{id}.{seconds}.{body}`, byte for byte as it is sent: who parses a body and
/// writes it again has another body. The id stays the same for all attempts, the time is the attempt's.
///
/// While a secret is rotated there are two: what is sent is signed with both, and the receiver, who knows one of them, takes
/// either.
package enum WebhookSignature {
  /// The three fields, in the order in which they are sent.
  package static let idField = "webhook-id"
  package static let timestampField = "webhook-timestamp"
  package static let signatureField = "webhook-signature"

  /// How far the time of an attempt may be from ours, in both directions: what the reference libraries have.
  package static let tolerance = Duration.seconds(300)

  /// More than a rotation takes, few enough that a long field costs nothing.
  package static let signaturesMax = 16

  /// Whether this may be the id of a webhook: 1 to 256 visible characters, no `.`, which ends the id in what is signed.
  package static func isID(_ id: some StringProtocol) -> Bool {
    (1...256).contains(id.utf8.count) && id.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != 0x2e }
  }

  /// The value of `webhook-signature`, one signature for each secret that can sign; nil when none can or the id is none.
  package static func sign(id: String, at: WallTime, body: [UInt8], with secrets: [WebhookSecret]) -> String? {
    guard isID(id), at.milliseconds >= 0 else { return nil }
    let start = Array("\(id).\(at.milliseconds / 1000).".utf8)
    var signatures: [String] = []
    for secret in secrets {
      switch secret.key {
      case .shared(let key):
        signatures.append("v1," + Data(code(start, body, key)).base64EncodedString())
      case .signing(let key):
        guard let signature = try? key.signature(for: start + body) else { return nil }
        signatures.append("v1a," + signature.base64EncodedString())
      case .verifying: continue
      }
    }
    return signatures.isEmpty ? nil : signatures.joined(separator: " ")
  }

  package enum Verdict: Sendable, Equatable {
    /// It is theirs, and of now; the id tells whether it has come before.
    case genuine(id: String, at: WallTime)
    case refused(Refusal)
  }

  package enum Refusal: Sendable, Equatable {
    /// A field is not there, there twice, or not what it must be.
    case field(String)
    /// Its time is this much further from ours than it may be; negative: in the past.
    case time(seconds: Int64)
    /// No signature is of a secret that we know.
    case signature

    package var sentence: String {
      switch self {
      case .field(let name): "\(name) is missing or malformed"
      case .time(let seconds):
        "it was signed \(abs(seconds)) s \(seconds < 0 ? "ago" : "ahead of this clock"), more than \(Int64(tolerance.inSeconds))"
      case .signature: "no signature holds"
      }
    }
  }

  /// What came with a webhook; nil for a field that is not there or there more than once.
  package struct Received: Sendable {
    package var id: String?
    package var timestamp: String?
    package var signature: String?

    package init(id: String?, timestamp: String?, signature: String?) {
      self.id = id
      self.timestamp = timestamp
      self.signature = signature
    }

    /// Out of a request's fields.
    package init(_ fields: [MessagingField]) {
      func one(_ name: String) -> String? {
        let values = fields.filter { $0.name.lowercased() == name }
        return values.count == 1 ? values[0].value : nil
      }
      self.init(id: one(idField), timestamp: one(timestampField), signature: one(signatureField))
    }
  }

  /// Whether what came is genuine: any of its signatures, by any of the secrets.
  ///
  /// All pairs are tried, whichever holds, and codes are compared in constant time: how long it takes says nothing of a secret.
  package static func verify(
    _ received: Received, body: [UInt8], with secrets: [WebhookSecret], now: WallTime,
    tolerance: Duration = WebhookSignature.tolerance
  ) -> Verdict {
    guard let id = received.id, isID(id) else { return .refused(.field(idField)) }
    guard let written = received.timestamp, (1...12).contains(written.utf8.count),
      written.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let seconds = Int64(written)
    else { return .refused(.field(timestampField)) }
    guard let field = received.signature else { return .refused(.field(signatureField)) }
    let parts = field.split(separator: " ")
    guard (1...signaturesMax).contains(parts.count) else { return .refused(.field(signatureField)) }
    let distance = seconds * 1000 - now.milliseconds
    if abs(distance) > tolerance.inNanoseconds / 1_000_000 { return .refused(.time(seconds: distance / 1000)) }

    // As they wrote the time: `007` is signed as `007`.
    let start = Array("\(id).\(written).".utf8)
    var isGenuine = false
    for secret in secrets {
      switch secret.key {
      case .shared(let key):
        let expected = code(start, body, key)
        for signature in signatures(parts, "v1") {
          isGenuine = expected == signature || isGenuine
        }
      case .signing(let key): isGenuine = holds(start + body, parts, key.publicKey) || isGenuine
      case .verifying(let key): isGenuine = holds(start + body, parts, key) || isGenuine
      }
    }
    return isGenuine ? .genuine(id: id, at: WallTime(milliseconds: seconds * 1000)) : .refused(.signature)
  }

  // MARK: Parts

  private static func code(_ start: [UInt8], _ body: [UInt8], _ key: SymmetricKey) -> HMAC<SHA256>.MAC {
    var code = HMAC<SHA256>(key: key)
    code.update(data: start)
    code.update(data: body)
    return code.finalize()
  }

  private static func holds(_ signed: [UInt8], _ parts: [Substring], _ key: Curve25519.Signing.PublicKey) -> Bool {
    var holds = false
    for signature in signatures(parts, "v1a") { holds = key.isValidSignature(signature, for: signed) || holds }
    return holds
  }

  /// Those of one scheme; others, and what is no base64, are passed over: a sender may try out what comes next.
  private static func signatures(_ parts: [Substring], _ scheme: String) -> [[UInt8]] {
    parts.compactMap { part in
      let pair = part.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
      return pair.count == 2 && pair[0] == scheme ? WebhookSecret.decode(String(pair[1])) : nil
    }
  }
}
