// SPDX-License-Identifier: Apache-2.0

/// `queue:` of a route: what is asked for is done later, and the caller can see what became of it.
enum RouteQueueKeys {
  static let queue = ScalarKey(
    "queue", .name, rule: "the request is answered by a service",
    "A queue that takes the request's body: answered 202 with where its state can be asked for, `GET` below the route's path.",
    alias: ["enqueue", "async"])

  static let field = Field<RouteEdge>.custom(
    queue.key,
    read: { layers, resolver, edge in
      guard let name = layers.value(queue) else { return }
      guard case .queue(let index)? = resolver.componentNamed(name.value) else {
        return resolver.unknownTarget(name, "a queue", among: resolver.queues.map(\.name.text))
      }
      edge.queue = name.map { _ in index }
      guard let path = layers.value(RouteKeys.path), !path.value.hasSuffix("**") else { return }
      resolver.mistake(
        "wrong-value", "what became of a request is asked for below '\(path.value)', which this route does not take",
        at: path, mend: "path: \(path.value.hasSuffix("/") ? String(path.value.dropLast()) : path.value)/**")
    },
    explain: { edge, design in
      edge.queue.map { queue in [.leaf(RouteQueueKeys.queue, queue.map { design.queues[$0].name.text })] } ?? []
    })
}
