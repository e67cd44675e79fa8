// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Pages that may act in their visitor's name, of more origins than are meant.
enum WideCORS: Rule {
  static let info = RuleInfo(
    "wide-cors", .security, .warning, title: "Pages of too many origins may act in their visitors' names",
    why:
      "With `credentials` a page of an allowed origin calls with its visitor's cookies and reads the answer. `null` is "
      + "the origin of every sandboxed frame, so of any page in the world; under `https://*.example` everybody who can "
      + "have a name there is let in; an `http://` page can be changed by anybody on its way: 1 open network is enough.",
    detection: "routes whose `cors` has `credentials: true` and among its origins `null`, one of plain http, or a "
      + "wildcard with fewer than 2 names behind it",
    formula: "credentials ∧ (origin = null ∨ scheme = http ∨ names behind *. < 2)",
    mend: "Name the origins of your own pages, with https.",
    falsePositives: "Wildcards below a name of your own network (`https://*.corp`). `http://localhost` and `127.0.0.1` "
      + "are not looked at. A list of public suffixes (`*.github.io`) is not known to the rule.")

  static func find(_ subject: Subject) -> [Finding] {
    subject.design.gateways.flatMap(\.routes).flatMap { route -> [Finding] in
      guard let cors = route.edge.cors, cors.credentials.value else { return [] }
      return cors.origins.compactMap { origin in
        guard let what = problem(of: origin.value) else { return nil }
        let place = origin.place ?? cors.place
        var inputs = [Finding.Input("origin", origin.value, origin.place)]
        inputs.append(Finding.Input("credentials", "true", cors.credentials.place))
        return info.finding(
          "with their visitors' cookies \(what.who) may call \(route.name.text): 1 origin too wide", at: place,
          spot: place.value, caret: what.caret, why: what.why, mend: "origins: [\"https://shop.example\"]",
          acceptAt: route.name.place, inputs: inputs, result: origin.value,
          related: cors.credentials.place.map { [Diagnostic.Related($0, "cookies come along")] } ?? [])
      }
    }
  }

  private static func problem(of origin: String) -> (who: String, caret: String, why: String)? {
    if origin == "null" {
      return (
        "pages of every sandboxed frame", "any page can have this origin",
        "a page puts itself into a sandboxed frame, and its origin is null"
      )
    }
    guard let colon = origin.firstRange(of: "://") else { return nil }
    let host = origin[colon.upperBound...]
    if host.hasPrefix("*."), host.dropFirst(2).split(separator: ".").count < 2 {
      return (
        "pages of everybody below \(host.dropFirst(2))", "everybody who has a name there",
        "whoever can have a name there is let in"
      )
    }
    let isOwn = host.hasPrefix("localhost") || host.hasPrefix("127.0.0.1") || host.hasPrefix("[::1]")
    if origin.hasPrefix("http://"), !isOwn {
      return (
        "pages that came over plain http", "can be changed on its way",
        "whoever sits on the way puts a script into the page, and it acts for the visitor"
      )
    }
    return nil
  }
}
