// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Keys of an issuer that come over a line on which anybody may change them.
enum KeysWithoutTLS: Rule {
  static let info = RuleInfo(
    "keys-without-tls", .security, .error, title: "An issuer's keys are fetched without TLS",
    why:
      "Whoever sits on the way answers with 1 key of their own and signs tokens for every user with it: the signature "
      + "of a token is worth as much as the way its key came.",
    detection: "`jwt.keys` of an identity begins with http:// and leads to another machine",
    formula: "scheme of keys = http ∧ host is not the loopback address",
    mend: "Fetch them by https://, or from a file.",
    falsePositives: "An issuer within a network that is encrypted as a whole.")

  static func find(_ subject: Subject) -> [Finding] {
    guard let gateway = subject.design.gateways.first else { return [] }
    return gateway.identities.all.compactMap { identity in
      guard let keys = identity.jwt?.keys, keys.value.raw.hasPrefix("http://"), let place = keys.place else {
        return nil
      }
      let host = keys.value.raw.dropFirst(7).prefix { $0 != "/" && $0 != ":" }
      if ["127.0.0.1", "localhost", "[", "[::1]"].contains(String(host)) { return nil }
      return info.finding(
        "the keys of \(identity.name.text) come from \(host) without TLS: 1 wrong answer replaces them", at: place,
        spot: place.entry,
        caret: "anybody on the way may answer", why: "who answers in its place signs tokens for every user",
        mend: "keys: https://\(keys.value.raw.dropFirst(7))", acceptAt: identity.name.place,
        inputs: [Finding.Input("keys of \(identity.name.text)", keys.value.raw, place)], result: "http")
    }
  }
}
