// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirFlows

/// Where requests from outside come in.
package struct Gateway: Sendable, Equatable {
  package var name: Name
  package var listeners: [Listener] = []
  /// Networks whose `X-Forwarded-*` and `Forwarded` fields are believed, as CIDR: `10.0.0.0/8`.
  package var trustForwardedFrom: [Value<String>] = []
  package var flood = Flood()
  /// A request's body may have so many bytes.
  package var body = GatewayKeys.body.initial
  /// Requests that may be in work at the same time.
  package var atOnce = GatewayKeys.atOnce.initial
  /// How much memory the process may hold; nil: nobody looks.
  package var memory: Value<Bytes>?
  /// Each request gets an id; nil: none.
  package var requestID: RequestID?
  package var identities = Identities()
  /// Of all its routes, asked before their own.
  package var limits: [RouteLimit] = []
  package var routes: [Route] = []
  /// How it calls each service that a route leads to: one for all routes to the same service.
  package var calls: [Call] = []
}

/// `gateway:`.
enum GatewayKeys {
  static let listen = Key(
    "listen", Shape.section(ListenKeys.section).or(.list(.section(ListenKeys.section), least: 1)), required: true,
    "Where it listens: a port, or a list of ports and addresses.")
  static let trustForwardedFrom = Key(
    "trust-forwarded-from", .list(.scalar(.network)), default: "nobody",
    "Networks of proxies whose `Forwarded` and `X-Forwarded-*` fields are believed.")
  static let flood = Key(
    "flood", .section(FloodKeys.section), "Limits by address, before anything costs.")
  static let body = ScalarKey(
    "body", .bytes, default: .mebi(10), rule: "gateway.body",
    "How large the body of a request may be; larger ones get 413.",
    alias: ["max-body", "body-limit", "client-max-body-size"])
  static let atOnce = ScalarKey(
    "at-once", .count(1...1_000_000), default: FlowPlan().requestsAtOnce, rule: "gateway.at-once",
    "Requests that may be in work at the same time, whatever they call; more get 503, `overloaded`.",
    alias: ["max-requests", "max-in-flight", "max-concurrent-requests"])
  static let memory = ScalarKey(
    "memory", .bytes, rule: "off unless said: what is right is the container's or machine's to say",
    "How much memory the gateway's process may hold; near it bodies and connections wait, then requests get 503, `overloaded`.",
    alone: ["none"], alias: ["max-memory", "memory-limit", "max-heap-size"])
  static let limit = Key(
    "limit", Shape.section(LimitKeys.section).or(.list(.section(LimitKeys.section), least: 1)),
    "How often requests of all routes together may come; asked before the routes' own limits.", alias: ["rate-limit"])
  static let routes = Key(
    "routes", .named(.plain("a route"), .section(RouteKeys.section)),
    default: "needed by every listener but those of TCP",
    "Which requests go where. The most specific path wins; order means nothing.")

  static let part = Part<Gateway>(
    "gateway", "Where requests from outside come in.",
    start: { layers, _ in layers.place.map { Gateway(name: Name("gateway", $0)) } },
    [
      .items(listen, \.listeners, ListenKeys.part),
      .list(trustForwardedFrom, .network, \.trustForwardedFrom),
      .part(flood, \.flood, FloodKeys.part),
      .value(body, \.body),
      .value(atOnce, \.atOnce),
      .optional(memory, \.memory),
      .optionalPart(RequestIDKeys.key, \.requestID, RequestIDKeys.part),
      .items(limit, \.limits, LimitKeys.part),
    ] + IdentityKeys.fields.at(\.identities) + [
      .custom(
        routes, read: { layers, resolver, gateway in resolver.routes(layers, of: &gateway) },
        explain: { gateway, design in
          [.map(routes, gateway.routes.map { .named($0.name, RouteKeys.part.explain($0, design)) })]
        })
    ])
  static let section = part.section
}
