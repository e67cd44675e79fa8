// SPDX-License-Identifier: Apache-2.0

extension Status {
  /// An endpoint of a partner, as the plane that delivers to it sees it.
  package struct Webhook: Sendable, Equatable, Codable {
    package var webhook: String
    package var endpoint: String
    package var url: String
    /// Why nothing is sent to it: gone, failing, by-operator.
    package var disabled: String?
    /// Since this plane began.
    package var delivered: UInt64
    package var failed: UInt64
    package var gaveUp: UInt64
    package var inFlight: Int
    package var waiting: Int
    /// Seconds.
    package var oldest: Double?

    package init(
      webhook: String, endpoint: String, url: String, disabled: String?, delivered: UInt64, failed: UInt64,
      gaveUp: UInt64, inFlight: Int, waiting: Int, oldest: Double?
    ) {
      self.webhook = webhook
      self.endpoint = endpoint
      self.url = url
      self.disabled = disabled
      self.delivered = delivered
      self.failed = failed
      self.gaveUp = gaveUp
      self.inFlight = inFlight
      self.waiting = waiting
      self.oldest = oldest
    }
  }
}

extension [Status.Webhook] {
  /// A line an endpoint.
  package var text: String {
    if isEmpty { return "" }
    let rows = map { one -> [String] in
      let oldest = one.oldest.map { "\(Int($0.rounded())) s" } ?? "-"
      return [
        one.webhook, one.endpoint, one.disabled.map { "disabled (\($0))" } ?? "enabled", "\(one.delivered)",
        "\(one.failed)", "\(one.gaveUp)", "\(one.waiting)", oldest, one.url,
      ]
    }
    let head = ["webhook", "endpoint", "state", "delivered", "failed", "given up", "waiting", "oldest", "url"]
    let widths = head.indices.map { column in ([head] + rows).map { $0[column].count }.reduce(0, Swift.max) }
    func line(_ cells: [String]) -> String {
      let padded = zip(cells, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: "  ")
      return String(padded.reversed().drop { $0 == " " }.reversed())
    }
    return ([head] + rows).map(line).joined(separator: "\n") + "\n"
  }
}
