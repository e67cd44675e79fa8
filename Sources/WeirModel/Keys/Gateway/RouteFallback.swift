// SPDX-License-Identifier: Apache-2.0

/// What a route answers when its call fails.
package enum RouteFallback: Sendable, Equatable {
  /// An empty answer (204) that says it was left out.
  case omit
  /// This body, with status 200.
  case answer(String)
  /// The last good answer to the same request.
  case stale
  /// Another service's answer, by its index.
  case service(Int)
}

/// `fallback:` of a route.
enum RouteFallbackKeys {
  static let answer = ScalarKey(
    "answer", .text("the body of an answer", example: "\"[]\""), "The body that is answered, with 200.")
  static let to = ScalarKey("to", .name, "Another service, which is asked the same.")
  static let section = Section(
    name: "route-fallback", doc: "What a route answers when its call fails.", keys: [answer.key, to.key])
  static let key = Key(
    "fallback",
    Shape.section(section).or(Shape(scalars: [AnyScalar(word: "omit"), AnyScalar(word: "stale")])),
    "What is answered when the call fails: `stale` (the last good answer), `omit` (204), `{ answer: … }`, `{ to: … }`.")

  /// A word or a map: read and explained by hand.
  static let field = Field<RouteEdge>.custom(
    key,
    read: { layers, resolver, edge in
      guard let node = layers.node(key), !node.isReported else { return }
      let own = layers.fields.first?.node
      if let instead = RouteKeys.instead.first(where: { own?.entry($0) != nil }) {
        // One that stands in the defaults is for the others.
        guard own?.entry(key.name) != nil else { return }
        resolver.mistake(
          "wrong-value", "a route with '\(instead)' answers by itself: it has no call that could fail", at: node.place,
          spot: node.place.head, mend: "leave 'fallback' out")
        return
      }
      if let scalar = node.scalar {
        if scalar.text == "omit" { edge.fallback = Value(.omit, .written(node.place)) }
        if scalar.text == "stale" { edge.fallback = Value(.stale, .written(node.place)) }
        return
      }
      let fields = Fields(node, section)
      let body = fields.value(answer)
      let service = fields.value(to)
      if (body == nil) == (service == nil) {
        if node.entries.contains(where: { $0.value.isReported }) { return }
        resolver.mistake(
          body == nil ? "missing-key" : "conflict", "a fallback is an 'answer' or leads 'to' another service",
          at: node.place, mend: "fallback: { answer: \"[]\" }")
      } else if let body {
        edge.fallback = Value(.answer(body.value), .written(node.place))
      } else if let service, let index = resolver.service(service, whatFor: "a fallback") {
        edge.fallback = Value(.service(index), .written(node.place))
      }
    },
    explain: { edge, design in
      guard let fallback = edge.fallback else { return [] }
      let value =
        switch fallback.value {
        case .omit: "omit"
        case .stale: "stale"
        case .answer(let body): "{ \(answer.name): \(JSONValue.quoted(body)) }"
        case .service(let index): "{ \(to.name): \(design.services[index].name.text) }"
        }
      return [Effective(key: key.name, content: .value(value), origin: fallback.origin)]
    })
}
