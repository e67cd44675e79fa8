// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// A priority of a route whose service takes whatever comes.
enum PriorityWithoutEffect: Rule {
  static let info = RuleInfo(
    "priority-without-effect", .capacity, .warning, title: "A priority that changes nothing",
    why: "Priorities say who waits and who is told no when a service has too much to do; Weir knows that by `at-once`. "
      + "With `at-once: none` there are 0 places to wait for: under overload every request gets slower, important or not.",
    detection: "a route has `priority: critical` or `low`, and none of its services has a limit of requests at once",
    formula: "priority ≠ normal ∧ services with at-once = 0",
    mend: "Give the service `at-once`, or let Weir find it out: `at-once: adaptive`.",
    falsePositives: "A service behind a proxy of its own that has priorities and reads a field which this route sets.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for gateway in subject.design.gateways {
      for route in gateway.routes {
        guard route.care.priority.value != .normal, let place = route.care.priority.place, let first = route.service
        else {
          continue
        }
        let services = route.services.map { subject.design.services[$0] }
        guard services.allSatisfy({ $0.atOnce == nil && $0.adaptive == nil }) else { continue }
        let name = subject.design.services[first].name
        found.append(
          info.finding(
            "\(route.name.text) is \(route.care.priority.value.rawValue), and \(name.text) has 0 places to wait for",
            at: place, spot: place.entry, caret: "0 places to wait for",
            why: "under overload all requests to \(name.text) get slower alike", mend: "at-once: adaptive",
            acceptAt: route.name.place,
            inputs: [Finding.Input("priority", route.care.priority.value.rawValue, place)], result: "0 places",
            related: [Diagnostic.Related(name.place, "\(name.text) has `at-once: none`")]))
      }
    }
    return found
  }
}
