// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirFlows
internal import WeirPatterns

/// How often requests of a route, or of all routes of a gateway, may come.
package struct RouteLimit: Sendable, Equatable {
  package enum By: Sendable, Equatable {
    case client, route, tenant
    /// A header field, in lower case.
    case header(String)
    case cookie(String)
    /// A claim of whoever an identity says it is: a path as in `allow`.
    case claim(String)
  }
  package enum Kind: String, Sendable, Equatable, CaseIterable {
    case gcra
    case tokenBucket = "token-bucket"
    case slidingWindow = "sliding-window"
  }
  package var place: Place
  package var rate: Value<Rate>
  package var burst: Value<Int>
  package var by = LimitKeys.byDefault
  package var kind = LimitKeys.kind.initial

  var settings: FlowPlan.Limit {
    let counted: FlowPlan.Limit.By =
      switch by.value {
      case .client: .client
      case .route: .route
      case .tenant: .tenant
      case .header, .cookie, .claim: .field
      }
    var limit = FlowPlan.Limit(rate: rate.value, burst: burst.value, by: counted)
    limit.kind = kind.value == .slidingWindow ? .window : .bucket
    return limit
  }

  /// All requests together are counted, not those of each client.
  package var countsAll: Bool { by.value == .route }

  /// What it counts by, as the file writes it.
  package var byText: String {
    switch by.value {
    case .client: "client"
    case .route: "route"
    case .tenant: "tenant"
    case .header(let name): "{ header: \(name) }"
    case .cookie(let name): "{ cookie: \(name) }"
    case .claim(let path): "{ claim: \(path) }"
    }
  }
}

/// `limit:` of a route or of the gateway.
enum LimitKeys {
  static let rate = ScalarKey("rate", .rate, required: true, "Requests in the long run.")
  static let burst = ScalarKey(
    "burst", .count(1...1_000_000_000), rule: "one second's worth of rate", "Requests that may come at once.")
  static let kind = ScalarKey(
    "kind", ScalarType<RouteLimit.Kind>.word, default: .gcra, rule: "limit.kind (a token bucket in one number)",
    "`gcra` and `token-bucket`: `burst` at once, then `rate`. `sliding-window`: `burst` in any window as long as so many "
      + "take at `rate`.", alias: ["algorithm", "type"])

  static let byDefault = Value(RouteLimit.By.client, .defaulted(rule: "limit.by"))
  private enum Word: String, Sendable, Equatable, CaseIterable { case client, route, tenant, key }
  private static let word = ScalarType<Word>.word
  private static let header = ScalarKey(
    "header", .text("the name of a header field", example: "x-api-key"),
    "A header field: each of its values is counted.")
  private static let cookie = ScalarKey(
    "cookie", .text("the name of a cookie", example: "session"), "A cookie: each of its values is counted.")
  private static let claim = ScalarKey(
    "claim", .text("the name of a claim", example: "org"),
    "A claim of the caller, as an identity of the route knows it: each of its values is counted.")
  private static let bySection = Section(
    name: "limit-by", doc: "What of a request is counted apart; requests without it count by client.",
    keys: [header.key, cookie.key, claim.key])
  static let by = Key(
    "by", Shape.scalar(word).or(.section(bySection)), default: "client",
    "What is counted apart: each `client` (who an identity says it is, else its address; `key` is the same), each "
      + "`tenant`, all of the `route` together, or each value of a `header`, `cookie` or `claim`.")

  static let part = Part<RouteLimit>(
    "limit", "A rate that requests may have.", short: rate.key,
    start: { layers, _ in
      guard let place = layers.place, let rate = layers.value(rate) else { return nil }
      let burst = GCRA(GCRA.Settings(rate: rate.value)).burst
      return RouteLimit(
        place: place, rate: rate, burst: Value(burst, .derived(from: "one second's worth of rate")))
    },
    [
      .value(rate, \.rate),
      .value(burst, \.burst),
      .custom(by, read: { layers, resolver, limit in readBy(layers, &resolver, &limit) }, explain: explainBy),
      .value(kind, \.kind),
    ])
  static let section = part.section

  private static func readBy(_ layers: Layers, _ resolver: inout Resolver, _ limit: inout RouteLimit) {
    guard let node = layers.node(by) else { return }
    if let value = Fields.value(node, word) {
      let counted: RouteLimit.By =
        switch value.value {
        case .client, .key: .client
        case .route: .route
        case .tenant: .tenant
        }
      limit.by = Value(counted, value.origin)
      return
    }
    let fields = Fields(node, bySection)
    let named = [header, cookie, claim].filter { fields.value($0) != nil }
    if case .map(let entries) = node.kind, named.count > 1 || entries.isEmpty {
      resolver.mistake(
        "wrong-value",
        "'by' names one of header, cookie, claim, not \(named.isEmpty ? "none" : "\(named.count)") of them",
        at: node.place, spot: node.place.value, mend: "a list of limits, one for each")
    }
    if let name = fields.value(header) {
      limit.by = Value(.header(name.value.lowercased()), name.origin)
    } else if let name = fields.value(cookie) {
      limit.by = Value(.cookie(name.value), name.origin)
    } else if let path = fields.value(claim) {
      limit.by = Value(.claim(path.value), path.origin)
    }
  }

  private static func explainBy(_ limit: RouteLimit, _ design: Design) -> [Effective] {
    [Effective(key: by.name, content: .value(limit.byText), origin: limit.by.origin)]
  }
}
