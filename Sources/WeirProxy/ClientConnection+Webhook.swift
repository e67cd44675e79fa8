// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirBase
import WeirFlows
import WeirIdentity
import WeirWire

/// A webhook whose body is collected, so that its signature can be verified before anything of it goes on.
///
/// Confined to its loop. The body stays in the connection's input, behind the head, and goes on from there.
final class WebhookReceipt {
  fileprivate let identity: Int
  fileprivate let bodyMax: Int
  fileprivate var evidence: ReceivedWebhooks.Evidence
  /// Where the next bytes of the body stand.
  fileprivate var at: Int
  fileprivate var chunks = ChunkedScanner()

  fileprivate init(_ identity: Int, bodyMax: Int, _ evidence: ReceivedWebhooks.Evidence, at: Int) {
    self.identity = identity
    self.bodyMax = bodyMax
    self.evidence = evidence
    self.at = at
  }
}

extension ClientConnection {
  /// What an identity of webhooks says of the request; nil when its body is still to come, or when it was refused.
  func ask(_ gate: IdentityGate, _ identity: Int, _ webhooks: ReceivedWebhooks, now: Instant) -> IdentityAnswer? {
    let evidence: ReceivedWebhooks.Evidence
    do {
      let input = self.input
      let bytes = input.readableBytesUInt8Span
      let fields = Fields(head)
      func one(_ found: Fields.Found) -> String? {
        if case .one(let run) = found { text(bytes, run.range) } else { nil }
      }
      let signature = fields.find(bytes, "webhook-signature")
      if case .none = signature { return .missing }
      evidence = ReceivedWebhooks.Evidence(
        id: one(fields.find(bytes, "webhook-id")), timestamp: one(fields.find(bytes, "webhook-timestamp")),
        signature: one(signature))
    }
    // Who sends wrong signatures is not listened to for a while: nothing is collected for it.
    if isBraked(now: now) { return answer(.unavailable, now: now) }
    let receipt = WebhookReceipt(identity, bodyMax: webhooks.bodyMax, evidence, at: head.length)
    if case .length(let length) = head.framing, length > Int64(webhooks.bodyMax) {
      refuse(.bodyTooLarge, with: tooLarge, now: now)
      return nil
    }
    if owesContinue && input.readableBytes == head.length {
      owesContinue = false
      loop.out.clear()
      loop.out.writeStaticString("HTTP/1.1 100 Continue\r\n\r\n")
      write(loop.out)
      needsFlush = true
    }
    return take(receipt, now: now)
  }

  /// More of its body has come.
  func collectBody(_ receipt: WebhookReceipt, now: Instant) {
    let slot = requestSlot
    guard let answer = take(receipt, now: now) else { return }
    phase = .head
    carry(epoch.flows.answered(slot, identity: answer, now: now), now: now)
  }

  /// The answer, when the body is whole and small; else nil.
  private func take(_ receipt: WebhookReceipt, now: Instant) -> IdentityAnswer? {
    var isWhole = false
    var isTooLarge = false
    var error: HeadError?
    do {
      let input = self.input
      let bytes = input.readableBytesUInt8Span
      switch head.framing {
      case .none, .untilClose: isWhole = true
      case .length(let length):
        let end = head.length + Int(length)
        isWhole = bytes.count >= end
        if isWhole { append(bytes, head.length..<end, to: receipt) }
      case .chunked:
        reading: while receipt.chunks.announced <= Int64(receipt.bodyMax) {
          switch receipt.chunks.next(bytes, from: &receipt.at) {
          case .data(let run): append(bytes, run, to: receipt)
          case .needMore: break reading
          case .end:
            isWhole = true
            break reading
          case .refused(let refused):
            error = refused
            break reading
          }
        }
        isTooLarge = receipt.chunks.announced > Int64(receipt.bodyMax)
      }
    }
    if isTooLarge || error != nil {
      webhook = nil
      closeAfter = true
      if let error {
        refuse(error.reason, with: OwnAnswers.detailed(error.reason, error), now: now)
      } else {
        refuse(.bodyTooLarge, with: tooLarge, now: now)
      }
      return nil
    }
    if !isWhole {
      webhook = receipt
      phase = .body
      loop.silentAt[Int(place)] = now.nanoseconds + loop.times.bodyIdle
      return nil
    }
    webhook = nil
    if stage == .body { loop.silentAt[Int(place)] = .max }
    guard let gate = epoch.configuration.access?.gate else { return .unavailable }
    let evidence = receipt.evidence
    return taken(gate.ask(receipt.identity, webhook: evidence), of: receipt.identity, now: now)
  }

  private func append(_ bytes: Span<UInt8>, _ run: Range<Int>, to receipt: WebhookReceipt) {
    bytes.extracting(run).withUnsafeBytes { receipt.evidence.body.append(contentsOf: $0) }
  }

  private var tooLarge: ErrorAnswer {
    ErrorAnswer(
      status: Reason.bodyTooLarge.status, name: Reason.bodyTooLarge.name, error: Reason.bodyTooLarge.proxyStatus,
      detail: "The webhook's body is larger than its identity takes (body).")
  }

  /// Its body did not come in time.
  func webhookIsSlow(now: Instant) {
    webhook = nil
    closeAfter = true
    refuse(.senderTooSlow, now: now)
  }
}
