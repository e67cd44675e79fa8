// SPDX-License-Identifier: Apache-2.0
internal import WeirModel
internal import WeirPatterns

/// A route with conditions that gets no requests of some methods, because another one names these methods.
enum RouteShadowed: Rule {
  static let info = RuleInfo(
    "route-shadowed", .routing, .warning, title: "Another route takes this one's requests first",
    why: "Given methods make a route more specific, before its conditions are looked at. A route for `x-version: 2` "
      + "without methods, beside one of the same path with `methods: [GET]`, gets no GET: clients of version 2 read from "
      + "version 1 and write to version 2.",
    detection: "a route without methods and with conditions, beside one of the same host and path with methods, whose "
      + "conditions are among its own",
    formula: "host₁ = host₂, path₁ = path₂, methods₁ = all, methods₂ given, match₂ ⊆ match₁, match₁ ≠ ∅",
    mend: "Name the methods at this route, too.",
    falsePositives: "A route that is meant for the other methods only: name those.")

  static func find(_ subject: Subject) -> [Finding] {
    guard let routes = subject.design.gateways.first?.routes else { return [] }
    return routes.compactMap { route in
      guard route.methods == nil, !route.match.isEmpty else { return nil }
      let first = routes.filter { other in
        other.methods != nil && other.path.value == route.path.value && other.host?.value == route.host?.value
          && other.match.isCovered(by: route.match)
      }
      guard let other = first.first, let place = route.match.place else { return nil }
      let methods = first.flatMap { $0.methods?.value ?? [] }
      let (a, b) = (other.name.text, route.name.text)
      return info.finding(
        "\(a) takes \(Say.list(methods)) of \(route.path.value) before \(b) is asked", at: place, spot: place.entry,
        caret: "is not asked for \(Say.list(methods))",
        why: "of \(methodCount) methods \(methods.count) never reach \(b), whatever they bring along",
        mend: "methods: [\(methods.joined(separator: ", "))]", acceptAt: route.name.place,
        inputs: [
          Finding.Input("path of \(b)", route.path.value, route.path.place),
          Finding.Input("methods of \(a)", methods.joined(separator: " "), other.methods?.place),
        ], result: "\(methods.count) of \(methodCount) methods",
        related: [Diagnostic.Related(other.methods?.place ?? other.name.place, "\(a) names them")])
    }
  }

  /// Those that a route can name.
  private static let methodCount = 7
}
