// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirModel

/// Keys that are kept as many as come.
enum IdempotencyWithoutLimit: Rule {
  static let info = RuleInfo(
    "idempotency-without-limit", .resilience, .warning, title: "Nothing bounds how many keys are kept",
    why:
      "Each new key is a record on the disk for as long as `keep` says, with the answer in it. One client that draws a new key "
      + "for each of 100 requests/s leaves 8.6 million records in 24 hours; when the disk is nearly full every request with "
      + "a key is refused (507), those of all others too.",
    detection:
      "`idempotency` at a route that takes POST or PATCH, where neither the route nor the gateway has a `limit`",
    formula: "records ≤ rate × keep, and rate has no bound",
    mend:
      "Limit the route by client, to what one of them can mean: `limit: { rate: 10/s, by: client }`; keep keys for as long as "
      + "clients repeat, and answers no larger than they are.",
    falsePositives:
      "Clients that are all your own programs, or a limit that stands before Weir. Accept it with the reason.")

  static func find(_ subject: Subject) -> [Finding] {
    subject.design.gateways.flatMap { gateway in
      gateway.limits.isEmpty ? gateway.routes.compactMap { finding($0, subject) } : []
    }
  }

  private static func finding(_ route: Route, _ subject: Subject) -> Finding? {
    // One that has no effect has a finding of its own.
    guard let kept = route.care.idempotency, route.limits.isEmpty, !route.services.isEmpty,
      route.methods?.value.contains(where: { $0 == "POST" || $0 == "PATCH" }) ?? true
    else { return nil }
    let name = route.name.text
    let seconds = Double(kept.keep.value.inNanoseconds) / 1e9
    let keep = Say.time(kept.keep.value)
    let records = Say.number(seconds)
    let bytes = gibibytes(seconds * Double(kept.answer.value.count))
    let written = kept.place.under(route.name.place)
    return info.finding(
      "\(name) keeps keys for \(keep) and has 0 limits: each request a second is \(records) records, of up to \(bytes)",
      at: written ?? route.name.place, spot: written?.entry ?? route.name.place.head, caret: "0 limits",
      why: "one client with new keys fills the disk, and then every request with a key is refused",
      mend: "limit: { rate: 10/s, by: client }", acceptAt: route.name.place,
      inputs: [
        Finding.Input("keep of \(name)", keep, kept.keep.place),
        Finding.Input("answer of \(name)", "\(kept.answer.value.count) bytes", kept.answer.place),
        Finding.Input("limits of \(name)", "0", route.name.place),
      ], result: "\(records) records for each request a second")
  }

  private static func gibibytes(_ bytes: Double) -> String {
    let mebibytes = bytes / 1_048_576
    return mebibytes < 1024 ? Say.number(mebibytes) + " MiB" : Say.number(mebibytes / 1024) + " GiB"
  }
}
