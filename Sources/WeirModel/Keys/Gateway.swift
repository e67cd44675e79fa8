// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

/// `gateway:`.
enum GatewayKeys {
  static let listen = Key(
    "listen", Shape.section(ListenKeys.section).or(.list(.section(ListenKeys.section), least: 1)), required: true,
    "Where it listens: a port, or a list of ports and addresses.")
  static let routes = Key(
    "routes", .named(.plain("a route"), .section(RouteKeys.section)), required: true,
    "Which requests go where. The most specific path wins; order means nothing.")
  static let trustForwardedFrom = Key(
    "trust-forwarded-from", .list(.scalar(.network)), default: "nobody",
    "Networks of proxies whose `Forwarded` and `X-Forwarded-*` fields are believed.")
  static let flood = Key(
    "flood", .section(FloodKeys.section), "Limits by address, before anything costs.")
  static let body = ScalarKey(
    "body", .bytes, default: .mebi(10), rule: "gateway.body",
    "How large the body of a request may be; larger ones get 413.",
    alias: ["max-body", "body-limit", "client-max-body-size"])

  static let section = Section(
    name: "gateway", doc: "Where requests from outside come in.",
    keys: [
      listen, routes, trustForwardedFrom, flood, body.key,
      .later("identities", "Who callers are: tokens, keys, certificates."),
    ])
}

/// One item of `listen:`.
enum ListenKeys {
  static let port = ScalarKey(
    "port", .count(0...65535, words: "a port"), required: true, "The TCP port; 0 lets the system choose one.")
  static let host = ScalarKey(
    "host", .address, default: "0.0.0.0", rule: "listen.host (all addresses of the machine)",
    "The address it binds.", alias: ["address", "bind"])

  static let section = Section(
    name: "listen", doc: "One listener.",
    keys: [
      port.key, host.key,
      .later("redirect", "Sends callers elsewhere: `https`."),
      .later("protocol", "`https`, `tcp`."),
      .later("certificates", "Chains and keys for TLS."),
      .later("client", "Whether callers need a certificate."),
      .later("to", "Where a TCP listener leads."),
    ], short: port.key)
}

/// `flood:`.
enum FloodKeys {
  static let connections = ScalarKey(
    "connections", .count(1...1_000_000), default: AddressLimit.Settings().perAddress,
    rule: "flood.connections (6 connections for each of some 16 browsers behind one address)",
    "Connections that one address may hold at the same time.", alone: ["none"])
  static let limit = ScalarKey(
    "limit", .rate, default: AddressLimit.Settings().rate, rule: "flood.limit (twice the connections, each second)",
    "Connections that one address may open.", alone: ["none"])

  static let section = Section(
    name: "flood", doc: "Limits by address.", keys: [connections.key, limit.key])
}

/// One entry of `routes:`.
enum RouteKeys {
  static let path = ScalarKey(
    "path", .routePath, required: true, "Which paths: `*` stands for one part, `**` for the rest, also none.")
  static let methods = Key(
    "methods", .list(.scalar(.method), least: 1), default: "all methods",
    "Which methods; a path with others answers 405.",
    alias: ["method"])
  static let host = ScalarKey(
    "host", .host, rule: "any host", "Which host: `shop.example`, or `*.shop.example` for every name below.",
    alias: ["hosts"])
  static let to = ScalarKey(
    "to", .name, required: true, "The service that answers.", alias: ["service", "backend", "upstream"],
    shape: Shape.scalar(ScalarType<String>.name).orLater(map: true))
  static let limit = Key(
    "limit", .section(LimitKeys.section), "How often requests may come; more get 429.", alias: ["rate-limit"])
  static let timeout = ScalarKey(
    "timeout", .duration(), rule: "the timeout of the call",
    "The longest that a request may take in all, waits and retries included.")

  static let section = Section(
    name: "route", doc: "Which requests go where, and within which limits.",
    keys: [
      path.key, methods, host.key, to.key, limit, timeout.key,
      .later("match", "Header fields and queries that a request must have."),
      .later("rewrite", "The path as the service sees it."),
      .later("cache", "How long answers are kept."),
      .later("headers", "Header fields that are set or removed."),
      .later("cors", "Pages of other origins that may call it."),
      .later("identity", "Who may call: one of `identities`."),
      .later("allow", "What an identity must have."),
      .later("idempotency", "Requests with a key are done once."),
      .later("priority", "What is shed last."),
      .later("audit", "Writes every request into the audit log."),
      .later("websocket", "Long-lived connections."),
      .later("compose", "Answers made of several calls."),
      .later("sticky", "The same client meets the same instance."),
    ])
}

/// `limit:` of a route.
enum LimitKeys {
  static let rate = ScalarKey("rate", .rate, required: true, "Requests in the long run.")
  static let burst = ScalarKey(
    "burst", .count(1...1_000_000_000), rule: "one second's worth of rate", "Requests that may come at once.")
  static let by = ScalarKey(
    "by", ScalarType<RouteLimit.By>.word, default: .client, rule: "limit.by",
    "What is counted apart: each `client` (its address), or all requests of the `route` together.")

  static let section = Section(
    name: "limit", doc: "A rate that requests may have.", keys: [rate.key, burst.key, by.key], short: rate.key)
}
