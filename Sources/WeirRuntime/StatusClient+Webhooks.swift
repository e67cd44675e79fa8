// SPDX-License-Identifier: Apache-2.0
import Foundation
package import WeirTelemetry

extension StatusClient {
  /// The endpoints of webhooks, as the plane that delivers to them sees them.
  package func webhooks() throws -> [Status.Webhook] { try decoded(ask("GET /webhooks").body) }

  /// A request about a webhook's endpoint: the JSON of the answer, and whether it was done.
  package func webhook(
    _ method: String, _ webhook: String, _ endpoint: String? = nil, _ action: String? = nil, body: String = ""
  ) throws -> (isDone: Bool, json: String) {
    let path = ["/webhooks", escaped(webhook), "endpoints"] + [endpoint, action].compactMap { $0.map(escaped) }
    let answer = try ask(
      "\(method) \(path.joined(separator: "/"))",
      fields: "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n", body: body,
      also: "HTTP/1.1 ")
    return (answer.head.hasPrefix("HTTP/1.1 2"), answer.body)
  }
}
