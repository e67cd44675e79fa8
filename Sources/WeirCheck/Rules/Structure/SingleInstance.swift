// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A service of one instance that others need.
enum SingleInstance: Rule {
  static let info = RuleInfo(
    "single-instance", .structure, .warning, title: "A service that others need runs once",
    why: "When the one instance ends, is restarted or is brought out anew, every request to it fails until it is "
      + "back. With a restart of 10 s and 100 requests/s that is 1000 failures; with two instances it is none, for "
      + "the other one takes them.",
    detection: "a service that Weir starts or models, with one instance, that a route, traffic or a call leads to",
    formula: "instances − 1 < 1",
    mend: "Give it a second instance.",
    falsePositives: "What may be away (an optional call with a fallback), and what keeps its state in itself so that "
      + "two would not agree. Accept it with the reason.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for (index, service) in subject.design.services.enumerated() where service.instances.value == 1 {
      // One address may be a load balancer: what runs elsewhere has instances that the file cannot see.
      if case .addresses = service.kind { continue }
      let users = users(of: index, subject)
      guard !users.isEmpty else { continue }
      let name = service.name.text
      let written = service.instances.place?.under(service.name.place)
      found.append(
        info.finding(
          "\(name) runs once, and \(Say.list(users)) \(users.count == 1 ? "needs" : "need") it: 1 − 1 = 0 instances are "
            + "left when it ends", at: service.name.place, spot: written?.entry ?? service.name.place.head,
          caret: "1 instance",
          why: "while it is restarted or brought out anew, every request to \(name) fails",
          mend: "instances: 2",
          inputs: [Finding.Input("instances of \(name)", "1", written)], result: "0 instances left"))
    }
    return found
  }

  /// Who needs a service, in words.
  private static func users(of index: Int, _ subject: Subject) -> [String] {
    var users: [String] = []
    for caller in subject.callers[index] {
      let name = subject.name(of: caller.service)
      if !users.contains(name) { users.append(name) }
    }
    for traffic in subject.design.traffic {
      if case .component(.service(index), _, _, _) = traffic.to.value { users.append("traffic \(traffic.name.text)") }
    }
    return users
  }
}
