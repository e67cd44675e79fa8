// SPDX-License-Identifier: Apache-2.0
internal import WeirModel
internal import WeirPatterns

/// Two routes that take the same requests.
enum RouteTie: Rule {
  static let info = RuleInfo(
    "route-tie", .routing, .error, title: "Two routes take the same requests",
    why:
      "Neither is more specific, so the one that the file names first gets every request that both take: of 2 routes "
      + "1 is never reached with them, and moving lines would change where requests go.",
    detection:
      "two routes of the same host and path whose methods meet, and whose conditions are as many and of the same "
      + "kinds without excluding each other",
    formula: "host₁ = host₂, path₁ = path₂, methods₁ ∩ methods₂ ≠ ∅, rank(match₁) = rank(match₂)",
    mend: "Take one of the two out, or tell them apart by path, host, methods or match.",
    falsePositives: "None.")

  static func find(_ subject: Subject) -> [Finding] {
    guard let gateway = subject.plan.gateway, let routes = subject.design.gateways.first?.routes else { return [] }
    return gateway.ties.compactMap { tie in
      // The plan's routes are known by their names.
      guard let first = routes.first(where: { $0.name.text == subject.plan.routes[tie.first] }),
        let second = routes.first(where: { $0.name.text == subject.plan.routes[tie.second] })
      else { return nil }
      let place = second.path.place ?? second.name.place
      let (a, b) = (first.name.text, second.name.text)
      return info.finding(
        "the routes \(a) and \(b) take the same requests: 2 routes for \(second.path.value)", at: place,
        spot: place.entry, caret: "as \(a)",
        why: "\(b) gets none of them, for \(a) stands first in the file",
        mend: "take \(b) out, or give it another path, host, methods or match", acceptAt: second.name.place,
        inputs: [
          Finding.Input("path of \(a)", first.path.value, first.path.place),
          Finding.Input("path of \(b)", second.path.value, second.path.place),
        ], result: "2 routes for 1 path",
        related: [Diagnostic.Related(first.path.place ?? first.name.place, "\(a) takes them")])
    }
  }
}
