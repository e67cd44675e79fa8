// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirModel
internal import WeirPatterns

/// Requests that just miss the route meant for them and land on a broader one.
enum PathFallsThrough: Rule {
  static let info = RuleInfo(
    "path-falls-through", .routing, .warning, title: "A request that misses its route lands on a broader one",
    why: "A route that takes only some methods leaves the others to whatever route is broader, with another service "
      + "or without its limit or identity. With `methods: [GET]` on /api/** beside /**, DELETE /api/notes goes to the web "
      + "service; with `limit: 5/s` on /login, /login/ has none: 5 tries a second become as many as one likes.",
    detection: "for each route a request of its path with a method that it does not take, which lands on a broader "
      + "route to another service, with a looser limit or without an identity; for a route with a limit or an identity "
      + "also its path in capitals, with a slash at the end and with one part more, which lands on a broader route to "
      + "the same service with a looser limit or without an identity",
    formula: "match(near request) = broader route, with other service ∨ looser limit ∨ no identity",
    mend: "Let the narrow route take all methods or the rest of the path, or add a route that answers them.",
    falsePositives: "A service behind the broad route that is meant to answer these methods. OPTIONS, TRACE and "
      + "CONNECT are not looked at.")

  private static let methods: [(String, MethodBits)] = [
    ("GET", .get), ("POST", .post), ("PUT", .put), ("PATCH", .patch), ("DELETE", .delete),
  ]

  /// A request beside a route, and where it lands.
  private struct Miss {
    var request: String
    /// `by its method`.
    var how: String
    var landsOn: Route
    var mend: String
  }

  static func find(_ subject: Subject) -> [Finding] {
    guard let gateway = subject.design.gateways.first, let trie = subject.plan.gateway?.trie else { return [] }
    // The plan's routes are known by their names, and those by their index in the design.
    let indexes = subject.plan.routes.map { name in gateway.routes.firstIndex { $0.name.text == name } }
    func land(_ path: String, _ method: MethodBits, _ host: String) -> Route? {
      guard case .route(let number) = trie.match(host: host, path: path, method: method), let index = indexes[number]
      else { return nil }
      return gateway.routes[index]
    }
    return gateway.routes.compactMap { route in
      guard let miss = byMethod(route, land) ?? byPath(route, land) else { return nil }
      return finding(route, miss, subject)
    }
  }

  private static func byMethod(_ route: Route, _ land: (String, MethodBits, String) -> Route?) -> Miss? {
    guard let methods = route.methods else { return nil }
    let (path, host) = (example(route), host(route))
    for (name, bit) in PathFallsThrough.methods where !methods.value.contains(name) {
      // A route of the same path that takes the method is where it belongs.
      guard let other = land(path, bit, host), other.name != route.name, other.path.value != route.path.value,
        other.services != route.services || isLooser(other, than: route)
      else { continue }
      let own = other.services == route.services
      return Miss(
        request: "\(name) \(path)", how: "by its method (it takes \(methods.value.count))", landsOn: other,
        mend: own
          ? "leave 'methods' out, so that all of them are limited"
          : "leave 'methods' out, and let the service answer 405")
    }
    return nil
  }

  private static func byPath(_ route: Route, _ land: (String, MethodBits, String) -> Route?) -> Miss? {
    guard route.limit != nil || !route.access.identity.isEmpty else { return nil }
    let (path, host) = (example(route), host(route))
    let taken = route.methods?.value ?? []
    let (name, bit) = methods.first { taken.isEmpty || taken.contains($0.0) } ?? methods[0]
    var near: [(String, String)] = []
    if !route.path.value.hasSuffix("**") {
      if path != "/" {
        near.append((path.hasSuffix("/") ? String(path.dropLast()) : path + "/", "by the slash at its end"))
      }
      near.append((path + (path.hasSuffix("/") ? "x" : "/x"), "by one part more"))
    }
    let capitals = path.uppercased()
    if capitals != path { near.append((capitals, "by its capitals")) }
    for (request, how) in near {
      guard let other = land(request, bit, host), other.name != route.name, other.path.value != route.path.value,
        other.services == route.services, isLooser(other, than: route)
      else { continue }
      let rest = route.path.value.hasSuffix("/*") ? String(route.path.value.dropLast(2)) : route.path.value
      return Miss(
        request: "\(name) \(request)", how: how, landsOn: other,
        mend: how == "by its capitals"
          ? "limit the broad route too (or name an identity there), or let the service tell capitals apart"
          : "path: \(rest.hasSuffix("/") ? String(rest.dropLast()) : rest)/**")
    }
    return nil
  }

  private static func isLooser(_ other: Route, than route: Route) -> Bool {
    isOpen(other, unlike: route) || hasLooserLimit(other, than: route)
  }

  /// Whether everybody may come through a route, where the other one asks who it is.
  private static func isOpen(_ other: Route, unlike route: Route) -> Bool {
    other.access.identity.isEmpty && !route.access.identity.isEmpty
  }

  /// Whether a route has no limit, or one that lets more through, where the other one has one.
  private static func hasLooserLimit(_ other: Route, than route: Route) -> Bool {
    guard let limit = route.limit else { return false }
    guard let broad = other.limit else { return true }
    return broad.rate.value > limit.rate.value || (limit.countsAll && !broad.countsAll)
  }

  /// A path that the route takes: `/api/*/x/**` as `/api/x/x/x`.
  private static func example(_ route: Route) -> String {
    route.path.value.split(separator: "/", omittingEmptySubsequences: false)
      .map { $0 == "*" || $0 == "**" ? "x" : String($0) }.joined(separator: "/")
  }

  private static func host(_ route: Route) -> String {
    guard let host = route.host?.value, host != "*" else { return "any.example" }
    return host.hasPrefix("*.") ? "x" + host.dropFirst() : host
  }

  private static func finding(_ route: Route, _ miss: Miss, _ subject: Subject) -> Finding {
    let other = miss.landsOn
    let (name, service) = (route.name.text, subject.names(of: other))
    var differences: [String] = []
    if other.services != route.services {
      differences.append("another service (\(service) for \(subject.names(of: route)))")
    }
    if isOpen(other, unlike: route) {
      differences.append(
        "0 identities, where \(name) wants \(route.access.identity.map(\.value).joined(separator: " or "))")
    }
    if hasLooserLimit(other, than: route), let limit = route.limit {
      let rate = Say.rate(limit.rate.value.perSecond)
      differences.append(
        other.limit.map { "a limit of \(Say.rate($0.rate.value.perSecond)) for \(rate)" } ?? "no limit for \(rate)")
    }
    let place =
      (miss.how.hasPrefix("by its method") ? route.methods?.place : nil) ?? route.path.place ?? route.name.place
    var inputs = [
      Finding.Input("near request", miss.request), Finding.Input("path of \(name)", route.path.value, route.path.place),
      Finding.Input("path of \(other.name.text)", other.path.value, other.path.place),
    ]
    if let methods = route.methods {
      inputs.append(Finding.Input("methods of \(name)", methods.value.joined(separator: " "), methods.place))
    }
    if let limit = route.limit {
      inputs.append(Finding.Input("limit of \(name)", Say.rate(limit.rate.value.perSecond), limit.rate.place))
    }
    return info.finding(
      "\(miss.request) misses the route \(name) \(miss.how) and lands on \(other.name.text): "
        + differences.joined(separator: ", "), at: place, spot: place.entry, caret: "does not take \(miss.request)",
      why: "who sends it gets past what \(name) is there for, and nothing answers 404 or 405", mend: miss.mend,
      acceptAt: route.name.place, inputs: inputs, result: "\(miss.request) → \(other.name.text)",
      related: [Diagnostic.Related(other.path.place ?? other.name.place, "\(other.name.text) takes it")])
  }
}
