// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// What can be wrong with a route, beside its keys one by one.
extension Resolver {
  /// The services of a route: of one name, or of names with weights.
  ///
  /// Nil when they cannot be told; empty when the route answers by itself.
  mutating func target(_ layers: Layers) -> [RouteShare]? {
    let node = layers.node(RouteKeys.to.key)
    let own = RouteKeys.instead.compactMap { key in layers.fields.first?.node.entry(key).map { (key, $0.value) } }
    let instead = own.first?.0
    if own.count > 1, let (second, place) = own.last.map({ ($0.0, $0.1.place) }), let instead {
      mistake(
        "wrong-value", "a route answers in one way: '\(instead)' or '\(second)', not both", at: place,
        spot: place.head, mend: "leave one of them out, or make two routes")
      return nil
    }
    if let instead, let node {
      mistake(
        "wrong-value", "a route with '\(instead)' answers by itself: it has no 'to'", at: node.place,
        spot: node.place.head, mend: "leave 'to' out, or '\(instead)'")
      return nil
    }
    guard let node else {
      if instead == nil { missingTarget(layers) }
      return instead == nil ? nil : []
    }
    if case .list(let items) = node.kind {
      let shares = targets(items)
      return shares.count == items.count && hasShare(shares, node) ? shares : nil
    }
    guard case .map(let entries) = node.kind else {
      return layers.value(RouteKeys.to).flatMap { name in
        service(name, whatFor: "a route").map { index in
          [RouteShare(service: name.map { _ in index }, weight: Value(1, .derived(from: "the only service")))]
        }
      }
    }
    var shares: [RouteShare] = []
    for entry in entries {
      let place = Place(
        file: entry.value.place.file, path: entry.value.place.path, key: entry.keySpot, value: entry.keySpot)
      guard let index = service(Value(entry.key, .written(place)), whatFor: "a route"),
        let weight = Fields.value(entry.value, RouteKeys.weight)
      else { continue }
      shares.append(RouteShare(service: Value(index, .written(entry.value.place)), weight: weight))
    }
    return shares.count == entries.count && hasShare(shares, node) ? shares : nil
  }

  /// Somebody gets the requests; says so if not.
  private mutating func hasShare(_ shares: [RouteShare], _ node: Node) -> Bool {
    if shares.contains(where: { $0.weight.value > 0 }) { return true }
    mistake(
      "wrong-value", shares.isEmpty ? "no service gets the requests" : "all weights are 0: nobody gets the requests",
      at: node.place, spot: node.place.value, mend: "to: { \(services.first?.name.text ?? "web"): 100 }")
    return false
  }

  private mutating func missingTarget(_ layers: Layers) {
    guard let node = layers.fields.first?.node, !node.isReported,
      !node.entries.contains(where: { $0.value.isReported }), node.entry(RouteKeys.to.name) == nil
    else { return }
    node.isReported = true
    mistake(
      "missing-key", "'\(node.place.path)' has no '\(RouteKeys.to.name)'", at: node.place, spot: node.place.head,
      why:
        "the service that answers, or several with their weights; or `answer`, `files`, `compose`, `queue`, `redirect`",
      mend: "to: \(services.first?.name.text ?? "api")")
  }

  /// The pattern of a route, whose parts were checked when they were read.
  func pattern(of route: Route) throws(RoutePattern.Mistake) -> RoutePattern {
    try RoutePattern(
      path: route.path.value, host: route.host?.value, methods: methodBits(route.methods?.value ?? []),
      conditions: route.match.conditions)
  }

  /// Conditions that no request fulfils, and those that no longer fit into the table of all.
  mutating func refuseConditions(_ routes: [Route]) {
    var builder = RouteTrie.Builder()
    for (index, route) in routes.enumerated() {
      do throws(RoutePattern.Mistake) { builder.add(try pattern(of: route), route: index) } catch {
        let place = route.match.place ?? route.path.place ?? route.name.place
        mistake("wrong-value", error.description, at: place, spot: place.value)
      }
    }
    for refusal in builder.refused {
      let place = routes[refusal.route].match.place ?? routes[refusal.route].name.place
      mistake(
        "wrong-value", refusal.mistake.description, at: place, spot: place.head,
        why: "without these conditions the route would take requests that are not meant for it")
    }
  }

  // MARK: Templates

  /// Templates that name what the route's path does not have, headers that are not the file's to write.
  mutating func refuseTemplates(of route: Route) {
    let pattern = try? RoutePattern(path: route.path.value)
    if let path = route.transform.rewrite?.path, let pattern {
      do throws(Template.Mistake) { _ = try Template(rewrite: path.value, of: pattern) } catch {
        mistake("wrong-value", error.description, at: path, related: related(route))
      }
    }
    if let redirect = route.target.redirect { refuseRedirect(redirect.to, pattern, route) }
    if let sticky = route.target.sticky, route.to.count < 2 {
      mistake(
        "wrong-value", "'sticky' keeps a client at one of several services, and this route has not several", at: sticky,
        mend: "leave 'sticky' out")
    }
    if let retirement = route.target.retirement { refuse(retirement) }
    if let mirror = route.target.mirror, route.to.isEmpty {
      mistake(
        "wrong-value", "this route answers by itself: there is no answer to compare with", at: mirror.to,
        mend: "leave 'mirror' out")
    }
    if let fallback = route.edge.fallback, case .service(let other) = fallback.value, route.services.contains(other) {
      mistake(
        "wrong-value", "a fallback that leads to the service that has just failed", at: fallback,
        mend: "fallback: stale")
    }
    refuseEdits(route.transform.request, pattern, route)
    refuseEdits(route.transform.response, pattern, route)
    refuseJSON(of: route, pattern)
  }

  private mutating func refuse(_ retirement: RouteRetirement) {
    if retirement.since == nil, retirement.sunset == nil {
      mistake(
        "missing-key", "'deprecated' says neither since when nor until when", at: retirement.place,
        spot: retirement.place.head, mend: "deprecated: { since: \"2026-01-01\" }")
    }
    if retirement.refuse.value, retirement.sunset == nil {
      mistake(
        "missing-key", "'refuse' answers 410 from 'sunset' on, and there is none", at: retirement.refuse,
        mend: "sunset: \"2027-06-30\"")
    }
    if let wrong = Retirement(retirement.settings).violation(), let sunset = retirement.sunset {
      mistake("wrong-value", wrong, at: sunset)
    }
  }

  private func related(_ route: Route) -> [Diagnostic.Related] {
    route.path.place.map { [.init($0, "the route's path")] } ?? []
  }

  private mutating func refuseRedirect(_ to: Value<String>, _ pattern: RoutePattern?, _ route: Route) {
    do throws(Template.Mistake) {
      let template = try Template(to.value, path: pattern)
      let isReference = template.startsAsPath || to.value.contains("://")
      if !isReference || to.value.contains(" ") || !to.value.utf8.allSatisfy({ $0 < 0x7f }) {
        mistake(
          "wrong-value", "a redirect leads to a path or to an address with its scheme, in ASCII without spaces", at: to,
          mend: "redirect: https://\(to.value.filter { $0 != " " })")
      }
    } catch { mistake("wrong-value", error.description, at: to, related: related(route)) }
  }

  /// One by one, so that each is told with its place; then all of them, for what stands twice.
  private mutating func refuseEdits(_ change: RouteTransform.HeaderChange, _ pattern: RoutePattern?, _ route: Route) {
    var wrong: [(error: HeaderEdits.Mistake, place: Place?)] = []
    for entry in change.set + change.add {
      do throws(HeaderEdits.Mistake) {
        _ = try HeaderEdits(add: [(entry.name, entry.value.value)], path: pattern)
      } catch { wrong.append((error, entry.value.place)) }
    }
    for name in change.remove {
      do throws(HeaderEdits.Mistake) { _ = try HeaderEdits(remove: [name.value]) } catch {
        wrong.append((error, name.place))
      }
    }
    if wrong.isEmpty {
      do throws(HeaderEdits.Mistake) { _ = try change.edits(pattern) } catch {
        wrong.append((error, change.remove.last?.place ?? change.set.last?.value.place))
      }
    }
    for (error, place) in wrong {
      guard let place else { continue }
      var related: [Diagnostic.Related] = []
      if case .badValue = error { related = self.related(route) }
      mistake("wrong-value", error.description, at: place, spot: place.value, related: related)
    }
  }
}

extension ScalarType where T == String {
  /// A host with a port or without, as the `Host` field has it.
  static var rewriteHost: ScalarType {
    .text("a host", example: "catalog.internal", pattern: "^[^ /]+$") { text in
      let fine =
        !text.isEmpty
        && text.utf8.allSatisfy { byte in
          (97...122).contains(byte) || (65...90).contains(byte) || (48...58).contains(byte)
            || "-._[]".utf8.contains(byte)
        }
      return fine ? nil : "a host is written catalog.internal or catalog.internal:8080, without scheme and path"
    }
  }
}
