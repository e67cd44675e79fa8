// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A cookie that keeps clients at an instance which they do not need.
enum StickyWithoutNeed: Rule {
  static let info = RuleInfo(
    "sticky-without-need", .structure, .note, title: "Clients are kept at one instance, and nothing says why",
    why:
      "A cookie that keeps a client where it is takes the choice from the balancer: whoever met a slow instance stays "
      + "with it, a new instance gets new clients only, and when one of 3 ends, 33 % of all clients move at once. That is "
      + "worth it for what an instance holds in memory. With one instance there is nothing to stay with; with the state "
      + "in a store every instance can answer.",
    detection: "a service with `sticky` written at it and one instance (`dns` excepted), or with an operation or call "
      + "that leads to a store",
    formula: "sticky ∧ (instances = 1 ∨ ∃ store ∈ calls)",
    mend: "Leave `sticky` out.",
    falsePositives:
      "Programs that keep sessions in memory beside their stores, or a cache that is warm for its clients. "
      + "Accept it with that reason.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for service in subject.design.services {
      guard let sticky = service.sticky, let spot = sticky.by.place?.under(service.name.place) else { continue }
      let name = service.name.text
      let stores = service.calls.compactMap { call in
        if case .store = call.to.value { subject.design.name(of: call.to.value).text } else { nil }
      }
      if service.discovery == nil, service.instances.value == 1 {
        found.append(
          info.finding(
            "\(name) keeps its clients at one of 1 instances", at: spot, spot: spot.entry, caret: "1 instance",
            why: "there is no other to keep them from", mend: "leave 'sticky' out", acceptAt: service.name.place,
            inputs: [Finding.Input("instances of \(name)", "1", service.instances.place)], result: "nothing is kept"))
      } else if !stores.isEmpty {
        let count = service.instances.value
        found.append(
          info.finding(
            "\(name) keeps its clients at one of \(count) instances, and has \(Say.list(stores)) for its state",
            at: spot,
            spot: spot.entry, caret: "1 of \(count)",
            why: "what is in \(Say.list(stores)) all \(count) can read; a client of a slow instance stays with it",
            mend: "leave 'sticky' out", acceptAt: service.name.place,
            inputs: [
              Finding.Input("instances of \(name)", "\(count)", service.instances.place),
              Finding.Input("stores of \(name)", "\(stores.count)", nil),
            ], result: "\(stores.count) store\(stores.count == 1 ? "" : "s")"))
      }
    }
    return found
  }
}
