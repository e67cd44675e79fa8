// SPDX-License-Identifier: Apache-2.0

/// What a caller gets instead of a failure.
package enum Fallback: Sendable, Equatable {
  /// An empty answer (204) that says it was left out.
  case omit
  /// This body, with status 200.
  case answer(String)
}

/// `fallback:`.
enum FallbackKeys {
  static let answer = ScalarKey(
    "answer", .text("the body of an answer", example: "\"[]\""), required: true, "The body that is answered, with 200.")
  static let section = Section(
    name: "fallback", doc: "What is answered instead.",
    keys: [answer.key, .later("to", "Another component that answers.")])

  /// A word or a map: read and explained by hand.
  static let field = Field<Call>.custom(
    CallKeys.fallback,
    read: { layers, _, call in
      guard let node = layers.node(CallKeys.fallback) else { return }
      if let scalar = node.scalar, scalar.text == "omit" { call.fallback = Value(.omit, .written(node.place)) }
      if let answer = Fields(node, section).value(answer) {
        call.fallback = Value(.answer(answer.value), .written(node.place))
      }
    },
    explain: { call, _ in
      guard let fallback = call.fallback else { return [] }
      let value =
        switch fallback.value {
        case .omit: "omit"
        case .answer(let body): "{ \(answer.name): \(JSONValue.quoted(body)) }"
        }
      return [Effective(key: CallKeys.fallback.name, content: .value(value), origin: fallback.origin)]
    })
}
