// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirIdentity
import WeirMessaging
import WeirModel

/// From the file's `webhook:` of an identity to what verifies webhooks that come in.
enum WebhookReceiving {
  /// Secrets that are valid at the same time: more than a rotation takes.
  static let secretsMax = 8

  struct Mistake: Error, CustomStringConvertible { var description: String }

  static func identity(_ identity: WebhookIdentity, _ folder: String) throws -> ReceivedWebhooks {
    let secrets = try secrets(try IdentityAssembly.list(identity.secret.value, folder))
    let tolerance = identity.tolerance.value
    return ReceivedWebhooks(bodyMax: Int(clamping: identity.body.value.count)) { evidence, seconds in
      let received = WebhookSignature.Received(
        id: evidence.id, timestamp: evidence.timestamp, signature: evidence.signature)
      let now = WallTime(milliseconds: seconds * 1000)
      switch WebhookSignature.verify(received, body: evidence.body, with: secrets, now: now, tolerance: tolerance) {
      case .genuine: return .genuine
      case .refused(.time): return .outOfTime
      case .refused: return .invalid
      }
    }
  }

  /// A secret a line; empty lines and those that begin with `#` mean nothing.
  ///
  /// A mistake says nothing of the secret.
  static func secrets(_ text: String) throws(Mistake) -> [WebhookSecret] {
    var secrets: [WebhookSecret] = []
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
      let word = line.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == "\r" }).first.map(String.init) ?? ""
      if word.isEmpty || word.hasPrefix("#") { continue }
      do throws(WebhookSecret.Flaw) { secrets.append(try WebhookSecret(word)) } catch {
        throw Mistake(description: "line \(index + 1): \(error.sentence)")
      }
    }
    guard (1...secretsMax).contains(secrets.count) else {
      throw Mistake(
        description: "a webhook is verified with 1 to \(secretsMax) secrets, a line each; here are \(secrets.count)")
    }
    return secrets
  }
}
