// SPDX-License-Identifier: Apache-2.0
import Foundation
import WeirModel
import WeirProxy
import WeirTelemetry

extension Plane {
  /// Certificates whose files have changed are taken up; what cannot be used is said, and the old ones stay.
  func lookAtCertificates() {
    guard let server else { return }
    for (listener, news) in certificates.look(now: Date()) {
      do {
        try server.replaceSecurity(news.get(), ofListener: listener)
        journal.say("\(listenerAddresses[listener]) has new certificates")
      } catch {
        journal.say("\(listenerAddresses[listener]) keeps its certificates: \(error)")
      }
    }
  }

  /// A certificate for development is no use to a browser that does not know who issued it.
  func sayHowToTrust() {
    let listeners = plan.design.gateways.first?.listeners ?? []
    guard listeners.contains(where: { $0.security.tls.authority != nil }) else { return }
    let path = Certificates.authorityPath(state: settings.state)
    journal.say("certificates are for development, by \(path): import it as an authority, or curl --cacert \(path)")
  }

  /// Handshakes and expiry, where a listener speaks TLS.
  func securityFamilies(_ reports: [ProxyServer.LoopReport]) -> [Snapshot.Family] {
    let expiries = certificates.expiries
    if expiries.isEmpty { return [] }
    let tally = reports.reduce(HandshakeTally()) { $0 + $1.handshakes }
    var handshakes = Snapshot.Family(
      "weir_tls_handshakes_total", .counter, "TLS handshakes of clients, by how they ended.")
    handshakes.add([("result", "completed"), ("version", "1.2")], Double(tally.tls12))
    handshakes.add([("result", "completed"), ("version", "1.3")], Double(tally.tls13))
    handshakes.add([("result", "failed"), ("version", "")], Double(tally.failed))
    var expiry = Snapshot.Family(
      "weir_tls_certificate_expiry_timestamp_seconds", .gauge, "When a listener's certificate expires.")
    for (listener, subject, at) in expiries {
      expiry.add([("listener", listenerAddresses[listener]), ("name", subject)], at.timeIntervalSince1970)
    }
    return [handshakes, expiry]
  }
}
