// SPDX-License-Identifier: Apache-2.0

/// A service of a route, and how much of the requests it gets.
package struct RouteShare: Sendable, Equatable {
  /// Index in `Design.services`.
  package var service: Value<Int>
  /// Its part of the sum of all weights.
  package var weight: Value<Int>
  /// Which of its instances; nil: all.
  package var subset: Subset?
  /// It is an item of a list of targets.
  var isItem = false
}

/// An entry of `to:` where it is a list: a service may stand there with several of its subsets.
enum RouteShareKeys {
  static let service = ScalarKey("service", .name, required: true, "The service that answers.", alias: ["to", "host"])
  static let weight = ScalarKey(
    "weight", RouteKeys.weight, default: 1, rule: "all get the same", "Its part of the sum of all weights.")

  static let part = Part<RouteShare>(
    "target", "One of several that share a route's requests.", short: service.key,
    start: { layers, resolver in
      guard let name = layers.value(service), let index = resolver.service(name, whatFor: "a route") else { return nil }
      return RouteShare(service: name.map { _ in index }, weight: weight.initial, isItem: true)
    },
    [
      .custom(
        service.key,
        explain: { share, design in
          [
            Effective(
              key: service.name, content: .value(design.services[share.service.value].name.text),
              origin: share.service.origin)
          ]
        }),
      .value(weight, \.weight),
    ] + LabelKeys.fields(\.subset))
  static let section = part.section
}

extension Resolver {
  /// The targets of a list.
  mutating func targets(_ items: [Node]) -> [RouteShare] {
    items.filter { !$0.isReported }.compactMap {
      RouteShareKeys.part.read(Layers([Fields($0, RouteShareKeys.section)]), &self)
    }
  }

  /// What is wrong with the targets of a route and the subset that it names for its only one.
  mutating func settleSubset(of route: inout Route) {
    if let subset = route.subset {
      if route.to.count == 1, route.to[0].subset == nil {
        route.to[0].subset = subset
      } else if route.to.isEmpty {
        mistake(
          "wrong-value", "this route answers by itself: there are no instances to choose from", at: subset.place,
          spot: subset.place.entry, mend: "leave 'subset' out")
      } else {
        let name = services[route.to[0].service.value].name.text
        mistake(
          "wrong-value", "a route with several targets says at each which of its instances are meant", at: subset.place,
          spot: subset.place.entry,
          mend:
            "to: [ { service: \(name), weight: 95, subset: { version: v1 } }, { service: \(name), weight: 5, subset: { version: v2 } } ]"
        )
      }
    }
    for (index, share) in route.to.enumerated() {
      guard let first = route.to[..<index].first(where: { $0.isSame(as: share) }) else { continue }
      mistake(
        "defined-twice", "'\(services[share.service.value].name.text)' stands twice in 'to'", at: share.service,
        mend: "one entry with the sum of both weights",
        related: first.service.place.map { [.init($0, "the first")] } ?? [])
    }
  }
}

extension RouteShare {
  /// Both lead to the same instances.
  func isSame(as other: RouteShare) -> Bool {
    service.value == other.service.value && subset?.text == other.subset?.text
  }
}

extension Route {
  /// The lines of `to:`: a name, names with their weights, or a list where there is more to say.
  func explainTargets(_ design: Design) -> [Effective] {
    guard let first = to.first else { return [] }
    let key = RouteKeys.to.name
    if to.contains(where: \.isItem) {
      let items = to.map { Effective(key: "", content: .map(RouteShareKeys.part.explain($0, design))) }
      return [Effective(key: key, content: .list(items))]
    }
    if to.count == 1, !first.weight.isWritten {
      let name = design.services[first.service.value].name.text
      return [Effective(key: key, content: .value(name), origin: first.service.origin)]
    }
    let shares = to.map { share in
      Effective(
        key: design.services[share.service.value].name.text,
        content: .value(RouteKeys.weight.write(share.weight.value)), origin: share.weight.origin)
    }
    return [Effective(key: key, content: .map(shares))]
  }
}
