// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A certificate that has ended, or will before anybody looks again.
enum CertificateExpiry: Rule {
  /// What is left when a certificate should have been renewed: Let's Encrypt's of 90 days are renewed when a third is left.
  private static let days = 30

  static let info = RuleInfo(
    "certificate-expiry", .security, .warning, title: "A certificate ends soon, or has ended",
    why:
      "From the day after its last one on every handshake with it fails: of 1 000 callers 0 are served. It happens on a "
      + "night or a holiday as well as on any other day, for nothing else changes on that day.",
    detection:
      "the certificate of a listener or of a service's `tls`, where its file can be read, against today (`--today`): "
      + "an error when it has ended, a warning \(days) days before",
    formula: "last day − today ≤ \(days) days",
    mend:
      "Renew it, and put the new one in its place: it is taken up within seconds, without a restart. Have it renewed by "
      + "a machine; `weir_tls_certificate_expiry_timestamp_seconds` tells an alarm when that has failed.",
    falsePositives: "A certificate that is meant to live for days only, and renewed each day. A clock that is wrong.")

  static func find(_ subject: Subject) -> [Finding] {
    if subject.facts.certificates.isEmpty { return [] }
    var found: [Finding] = []
    for gateway in subject.design.gateways {
      for listener in gateway.listeners {
        for files in listener.security.certificates {
          if let one = finding(files, "no caller of port \(listener.port.value)", subject) { found.append(one) }
        }
      }
    }
    for service in subject.design.services {
      guard let files = service.tls?.certificate else { continue }
      if let one = finding(files, "no call to \(service.name.text)", subject) { found.append(one) }
    }
    return found
  }

  private static func finding(_ files: CertificateFiles, _ who: String, _ subject: Subject) -> Finding? {
    guard let fact = subject.facts.certificates.first(where: { $0.file == files.chain.value }) else { return nil }
    let left = subject.today.days(until: fact.until)
    if left > days { return nil }
    let (name, last) = (files.chain.value, fact.until.text)
    let place = files.chain.place ?? files.place
    let message =
      switch left {
      case ..<0: "\(name) has ended \(count(-left)) ago: its last day was \(last)"
      case 0: "\(name) ends today, in 0 days"
      default: "\(name) ends in \(count(left)): its last day is \(last)"
      }
    return info.finding(
      message, at: place, spot: place.entry, caret: left < 0 ? "ended" : "\(count(left)) left",
      why: left < 0 ? "\(who) gets past the handshake" : "from the day after on \(who) gets past the handshake",
      mend: "a new \(name), in its place: it is taken up without a restart",
      inputs: [
        Finding.Input("last day of \(name)", last, place), Finding.Input("today", subject.today.text),
      ], result: count(left), severity: left < 0 ? .error : nil)
  }

  private static func count(_ days: Int) -> String { days == 1 ? "1 day" : "\(days) days" }
}
