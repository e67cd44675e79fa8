// SPDX-License-Identifier: Apache-2.0

/// `sends:` of a service: where its programs may put messages.
enum SendsKeys {
  static let sends = Key(
    "sends", Shape.list(.scalar(ScalarType<String>.name)).or(.scalar(ScalarType<String>.name)),
    "Queues, topics and streams that it puts messages into, and sagas that it begins: its programs get NAME_URL for each.",
    alias: ["publishes", "produces"])

  static let field = Field<Service>.custom(
    sends,
    read: { layers, resolver, service in
      for name in Fields.values(layers.node(sends), ScalarType<String>.name) {
        guard let to = resolver.sink(name) else { continue }
        if service.sends.contains(where: { $0.value == to }) {
          resolver.mistake(
            "defined-twice", "'\(service.name.text)' sends to '\(name.value)' once already", at: name,
            mend: "leave one of them out")
        } else {
          service.sends.append(name.map { _ in to })
        }
      }
    },
    explain: { service, design in
      if service.sends.isEmpty { return [] }
      return [.list(sends, service.sends.map { (design.name(of: $0.value).text, $0.origin) })]
    })
}

extension Resolver {
  /// What messages may be sent to, by its name.
  mutating func sink(_ name: Value<String>) -> Component? {
    switch componentNamed(name.value) {
    case .queue?, .topic?, .stream?, .saga?: return componentNamed(name.value)
    case .service?, .store?:
      mistake(
        "unknown-target", "'\(name.value)' is neither queue nor topic: nothing can be sent to it", at: name,
        why: "a service or store is called", mend: "calls: { \(name.value): {} }")
    case nil: unknownSink(name)
    }
    return nil
  }

  private mutating func unknownSink(_ name: Value<String>) {
    if !isLater(name.value) {
      unknownTarget(name, "a queue or topic", among: (queues + topics + streams + sagas).map(\.name.text))
    }
  }
}
