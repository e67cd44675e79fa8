// SPDX-License-Identifier: Apache-2.0

/// Webhooks of one sender: known by the signature over their id, their time and every byte of their body.
///
/// How a signature is verified is said by whoever makes this value (WeirMessaging's `WebhookSignature`). A body is held until it is
/// whole: what its signature does not cover must reach no callee.
package struct ReceivedWebhooks: Sendable {
  /// What came.
  package struct Evidence: Sendable, Equatable {
    /// The three fields; nil for one that is not there, or there more than once.
    package var id: String?
    package var timestamp: String?
    package var signature: String?
    package var body: [UInt8] = []

    package init(id: String?, timestamp: String?, signature: String?) {
      self.id = id
      self.timestamp = timestamp
      self.signature = signature
    }
  }

  package enum Outcome: Sendable, Equatable { case genuine, invalid, outOfTime }

  /// A body up to this size is verified on the loop: that takes some tenths of a millisecond.
  package static let verifiedHere = 64 << 10
  /// The field that a request must have to be a webhook; it goes no further.
  package static let signatureField = "webhook-signature"

  /// Bytes of a body that are held.
  package var bodyMax: Int
  /// By what came and by seconds since 1970.
  package var verify: @Sendable (Evidence, Int64) -> Outcome

  package init(bodyMax: Int, verify: @escaping @Sendable (Evidence, Int64) -> Outcome) {
    self.bodyMax = bodyMax
    self.verify = verify
  }
}

extension IdentityGate {
  /// A webhook whose body is whole; a small one is answered at once.
  package func ask(_ identity: Int, webhook: ReceivedWebhooks.Evidence) -> IdentityReply {
    guard case .webhook(let webhooks) = identities[identity].kind else { return .now(.unavailable) }
    if webhook.body.count <= ReceivedWebhooks.verifiedHere {
      return .now(count(identity, verdict(identity, webhooks, webhook)))
    }
    return later(identity) { self.verdict(identity, webhooks, webhook) }
  }

  private func verdict(
    _ identity: Int, _ webhooks: ReceivedWebhooks, _ evidence: ReceivedWebhooks.Evidence
  ) -> IdentityVerdict {
    switch webhooks.verify(evidence, now()) {
    // There is one sender, and it has the identity's name.
    case .genuine: .known(principal(identity, Claims(subject: identities[identity].name), fields: []))
    case .invalid: .invalid
    case .outOfTime: .replayed
    }
  }
}
