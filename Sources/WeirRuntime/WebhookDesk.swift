// SPDX-License-Identifier: Apache-2.0
import Synchronization
import WeirBase
import WeirMessaging
import WeirModel
import WeirPlatform
import WeirProxy
import WeirTelemetry

/// What an operator asks of webhooks: the same requests as programs make, through the state process.
final class WebhookDesk: Sendable {
  private struct Shared {
    var server: ProxyServer?
    var isOn = false
    var random = SeededRandom(seed: .random(in: .min ... .max))
  }

  private let shared = Mutex(Shared())

  /// A plan is in force.
  func enter(_ plan: Plan, _ server: ProxyServer) {
    shared.withLock {
      $0.server = server
      $0.isOn = !plan.design.webhooks.isEmpty
    }
  }

  /// Nil where the file has none.
  var last: [Status.Webhook]? {
    let server = shared.withLock { $0.isOn ? $0.server : nil }
    return server?.webhooks.map { reading in
      Status.Webhook(
        webhook: reading.webhook, endpoint: reading.endpoint, url: reading.url, disabled: reading.disabled,
        delivered: reading.delivered, failed: reading.failed, gaveUp: reading.gaveUp, inFlight: reading.inFlight,
        waiting: Int(reading.waiting), oldest: reading.oldest.map { Double($0) / 1000 })
    }
  }

  func answer(_ method: String, _ path: String, _ body: [UInt8]) async -> MessagingAnswer {
    guard let server = shared.withLock({ $0.server }) else { return MessagingAPI.unavailable }
    let request = MessagingRequest(method: method, path: path, body: body)
    // As programs have it.
    let api = server.configuration.messaging
    var outcome = shared.withLock { api.parse(request, now: SystemClock.wall(), using: &$0.random) }
    while true {
      switch outcome {
      case .answer(let answer): return answer
      case .ask(let request, let then):
        guard let reply = await server.ask(request, within: QueueOffice.patience) else {
          return MessagingAPI.unavailable
        }
        outcome = then.next(reply)
      }
    }
  }
}

extension Plane {
  /// How webhooks go out, for metrics.
  static func webhookFamilies(_ webhooks: [Status.Webhook]) -> [Snapshot.Family] {
    if webhooks.isEmpty { return [] }
    var deliveries = Snapshot.Family(
      "weir_webhook_deliveries_total", .counter, "Webhooks by what became of them: attempts that failed, and messages.")
    var waiting = Snapshot.Family("weir_webhook_waiting", .gauge, "Events that an endpoint has not got yet.")
    var oldest = Snapshot.Family(
      "weir_webhook_oldest_seconds", .gauge, "How long the oldest event waits that may be sent; 0 when none does.")
    var disabled = Snapshot.Family("weir_webhook_disabled", .gauge, "1 while nothing is sent to the endpoint.")
    for endpoint in webhooks {
      let label = [(name: "webhook", value: endpoint.webhook), (name: "endpoint", value: endpoint.endpoint)]
      for (outcome, count) in [
        ("delivered", endpoint.delivered), ("failed", endpoint.failed), ("given-up", endpoint.gaveUp),
      ] {
        deliveries.add(label + [(name: "outcome", value: outcome)], Double(count))
      }
      waiting.add(label, Double(endpoint.waiting))
      oldest.add(label, endpoint.oldest ?? 0)
      disabled.add(label, endpoint.disabled == nil ? 0 : 1)
    }
    return [deliveries, waiting, oldest, disabled]
  }
}
