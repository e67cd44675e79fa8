// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// Where a TCP listener leads, and what is said about its connections.
package struct ListenRoute: Sendable, Equatable {
  package enum Expected: String, Sendable, CaseIterable { case required }

  /// By the name that a TLS client asks for: `*.shop.example` for every name below.
  package struct Name: Sendable, Equatable {
    package var host: String
    package var to: Value<Component>
  }

  /// Where connections go that no name of `sni` takes.
  package var to: Value<Component>?
  package var sni: [Name] = []
  package var idle = ListenRouteKeys.idle.initial
  package var proxyProtocol: Value<Expected>?

  /// The file says where to, though that may be nowhere.
  var isTold = false

  var targets: [Value<Component>] { (to.map { [$0] } ?? []) + sni.map(\.to) }
}

/// The keys of a listener that say where TCP connections go.
enum ListenRouteKeys {
  static let to = ScalarKey("to", .name, "The service or store that a TCP listener leads to.")
  static let sni = Key(
    "sni", .named(.init(what: "a host name", problem: problem, pattern: #"^(\*\.)?[^ /:*]+$"#), .scalar(.name)),
    "By the name that a TLS client asks for, without ending its TLS: `a.example`, or `*.example` for all names below.")
  static let idle = ScalarKey(
    "idle", .duration(), default: .seconds(3600), rule: "listen.idle (Envoy's `idle_timeout` of its TCP proxy)",
    "A TCP connection in which nothing moves for so long is closed.", alias: ["timeout"])
  static let proxyProtocol = ScalarKey(
    "proxy-protocol", ScalarType<ListenRoute.Expected>.word,
    "`required`: every connection begins with a PROXY header (v1 or v2), from networks of `trust-forwarded-from` only.",
    alias: ["accept-proxy"])

  private static let problem: @Sendable (String) -> String? = { text in
    switch ScalarType<String>.host.read(text) {
    case .value: nil
    case .wrong(let wrong): wrong.message ?? "it is no host name"
    }
  }

  static let fields: [Field<ListenRoute>] = [
    .custom(
      to.key,
      read: { layers, resolver, route in
        if layers.node(to.key) != nil { route.isTold = true }
        guard let name = layers.value(to), let component = resolver.component(name) else { return }
        route.to = name.map { _ in component }
      },
      explain: { route, design in
        guard let to = route.to else { return [] }
        let name = design.name(of: to.value).text
        return [Effective(key: ListenRouteKeys.to.name, content: .value(name), origin: to.origin)]
      }),
    .custom(
      sni,
      read: { layers, resolver, route in
        if layers.node(sni) != nil { route.isTold = true }
        for entry in layers.node(sni)?.entries ?? [] {
          guard let name = Fields.value(entry.value, .name), let component = resolver.component(name) else { continue }
          route.sni.append(ListenRoute.Name(host: entry.key.lowercased(), to: name.map { _ in component }))
        }
      },
      explain: { route, design in
        let lines = route.sni.map {
          Effective(key: $0.host, content: .value(design.name(of: $0.to.value).text), origin: $0.to.origin)
        }
        return lines.isEmpty ? [] : [.map(sni, lines)]
      }),
    .custom(
      idle.key, read: { layers, _, route in layers.value(idle).map { route.idle = $0 } },
      explain: { route, _ in route.targets.isEmpty ? [] : [.leaf(idle, route.idle)] }),
    .optional(proxyProtocol, \.proxyProtocol),
  ]
}

extension Resolver {
  /// What of a listener's targets does not go together; and a call of the gateway to each of them.
  mutating func checkTargets(of gateway: inout Gateway) {
    for listener in gateway.listeners {
      let route = listener.route
      if let header = route.proxyProtocol, gateway.trustForwardedFrom.isEmpty {
        mistake(
          "conflict", "nobody is trusted to send PROXY headers: every connection would be closed", at: header,
          mend: "trust-forwarded-from: [10.0.0.0/8]")
      }
      guard listener.security.speaks.value == .tcp else {
        refuseTargets(of: listener)
        continue
      }
      if !route.isTold {
        mistake(
          "missing-key", "a TCP listener needs 'to' or 'sni'", at: listener.security.speaks, mend: "to: my-service")
      }
      for target in route.targets {
        checkStore(of: target)
        checkAffinity(of: target)
        if gateway.calls.contains(where: { $0.leads(to: target.value) }) { continue }
        gateway.calls.append(call(Layers(callDefaults), to: target, place: listener.place))
      }
    }
  }

  /// A store must be a server, and `run` must know where.
  private mutating func checkStore(of target: Value<Component>) {
    guard case .store(let index) = target.value else { return }
    let (node, name) = (stores[index].node, stores[index].name)
    if node.entry(StoreKeys.path.name) != nil {
      mistake("conflict", "store '\(name.text)' is a file: nothing listens for its connections", at: target)
    } else if node.entry(StoreKeys.at.name) == nil {
      refuse(
        .run, "'\(name.text)' has no 'at', and a TCP listener leads to it", at: name.place,
        mend: "at: \"\(name.text):5432\"")
    }
  }

  /// Of a TCP connection nothing is known but where it comes from.
  private mutating func checkAffinity(of target: Value<Component>) {
    guard case .service(let index) = target.value, resolvedServices.indices.contains(index) else { return }
    let service = resolvedServices[index]
    let name = service.name.text
    if let key = service.balancing.key, service.balancing.readsKey != nil, key.value != .client {
      mistake(
        "conflict", "'\(name)' goes by \(key.value.text), which a TCP connection does not have", at: target,
        mend: "key: client", related: key.place.map { [.init($0, "the key")] } ?? [])
    }
    if let sticky = service.sticky {
      mistake(
        "conflict", "'\(name)' keeps clients by a cookie, which a TCP connection does not have", at: target,
        mend: "balance: { by: ring-hash, key: client }",
        related: sticky.by.place.map { [.init($0, "the cookie")] } ?? [])
    }
  }

  private mutating func refuseTargets(of listener: Gateway.Listener) {
    let speaks = listener.security.speaks.value.rawValue
    if let target = listener.route.targets.first {
      mistake("conflict", "a listener of \(speaks) leads where its routes do", at: target, mend: "protocol: tcp")
    }
    if listener.route.idle.place != nil {
      mistake("conflict", "only a TCP listener has 'idle'", at: listener.route.idle, mend: "protocol: tcp")
    }
  }
}
