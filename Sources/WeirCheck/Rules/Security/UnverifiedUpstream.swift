// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// TLS to a service without a look at who answers.
enum UnverifiedUpstream: Rule {
  static let info = RuleInfo(
    "unverified-upstream", .security, .warning, title: "Nobody checks who answers",
    why:
      "TLS without verification hides the bytes from those who only listen. Who can answer in the service's stead, by "
      + "a wrong DNS record or an address that was given to somebody else, reads every request and writes every answer: "
      + "0 of the 2 things that TLS is for are left against them.",
    detection: "a service with `tls: { verify: false }`",
    formula: "tls ∧ ¬verify",
    mend: "Name the authority that signs its certificates: `tls: { authorities: tls/internal.pem }`.",
    falsePositives:
      "A service on this machine that makes its certificate anew at each start. Accept it with the reason.")

  static func find(_ subject: Subject) -> [Finding] {
    subject.design.services.compactMap { service in
      guard let tls = service.tls, !tls.verify.value else { return nil }
      let name = service.name.text
      let written = tls.verify.place ?? tls.place
      return info.finding(
        "connections to \(name) are encrypted, and 0 of its instances must prove who they are", at: service.name.place,
        spot: written.entry, caret: "not verified",
        why: "whoever can answer at its address is taken for \(name)",
        mend: "tls: { authorities: tls/\(name).pem }",
        inputs: [Finding.Input("verify", "false", written)], result: "anybody may answer")
    }
  }
}
