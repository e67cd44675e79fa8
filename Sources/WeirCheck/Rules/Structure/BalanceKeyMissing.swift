// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A balancer by key that has no key, or a key that nothing reads.
enum BalanceKeyMissing: Rule {
  static let info = RuleInfo(
    "balance-key-missing", .structure, .warning, title: "A balancer by key without a key, or a key without one",
    why: "`ring-hash` and `maglev` send requests with the same key to the same instance. Without `key` no request has "
      + "one, and all go to the better of 2 random choices: with 6 instances each fills its cache with all there is, and "
      + "holds a sixth of what they could hold together. A `key` beside another balancer is read by nobody.",
    detection: "a service with `balance` `ring-hash` or `maglev` and no `key`, or with `key` and another balancer",
    formula: "(by ∈ {ring-hash, maglev}) ≠ (key is written)",
    mend: "Say what requests go by, or choose a balancer that needs no key.",
    falsePositives: "None: what is written has no effect.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for service in subject.design.services {
      let balancing = service.balancing
      let by = balancing.by.value
      guard by.isKeyed == (balancing.key == nil),
        let spot = (balancing.key?.place ?? balancing.by.place)?.under(service.name.place)
      else { continue }
      let name = service.name.text
      if by.isKeyed {
        found.append(
          info.finding(
            "\(name) is balanced by \(by.rawValue), and 0 of its requests have a key", at: spot, spot: spot.entry,
            caret: "no key", why: "every request to \(name) goes to the better of two random choices",
            mend: "balance: { by: \(by.rawValue), key: client }", acceptAt: service.name.place,
            inputs: [Finding.Input("balance of \(name)", by.rawValue, spot)], result: "0 requests with a key"))
      } else {
        found.append(
          info.finding(
            "\(name) has a key that \(by.rawValue) reads 0 times", at: spot, spot: spot.entry, caret: "read 0 times",
            why: "requests to \(name) with the same key go to different instances",
            mend: "by: ring-hash", acceptAt: service.name.place,
            inputs: [Finding.Input("balance of \(name)", by.rawValue, spot)], result: "0 readings"))
      }
    }
    return found
  }
}
