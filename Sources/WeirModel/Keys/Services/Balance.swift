// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// Which instance a request goes to: the word for the balancer's algorithm, or for what finds the instance of a key.
package enum Balance: String, Sendable, CaseIterable {
  case peakEWMA = "peak-ewma"
  case leastRequest = "least-request"
  case roundRobin = "round-robin"
  case random
  case ringHash = "ring-hash"
  case maglev

  init(_ algorithm: Balancer.Algorithm) {
    switch algorithm {
    case .peakEWMA: self = .peakEWMA
    case .leastRequest: self = .leastRequest
    case .roundRobin: self = .roundRobin
    }
  }

  /// Requests with the same key go to the same instance.
  package var isKeyed: Bool { self == .ringHash || self == .maglev }

  func compile(into settings: inout Balancer.Settings) {
    switch self {
    case .peakEWMA: settings.algorithm = .peakEWMA
    case .leastRequest: settings.algorithm = .leastRequest
    case .roundRobin: settings.algorithm = .roundRobin
    case .random:
      // The better of one.
      settings.algorithm = .leastRequest
      settings.choices = 1
    case .ringHash: settings.affinity = .ring
    case .maglev: settings.affinity = .maglev
    }
  }
}

/// What keeps requests at one instance.
package enum BalanceKey: Sendable, Equatable {
  case client, path
  case header(String)
  case cookie(String)
  case query(String)

  init?(_ text: String) {
    if text == "client" {
      self = .client
      return
    }
    if text == "path" {
      self = .path
      return
    }
    guard let colon = text.firstIndex(of: ":") else { return nil }
    let name = String(text[text.index(after: colon)...])
    if name.isEmpty || HeaderName.problem(name) != nil { return nil }
    switch text[..<colon] {
    case "header": self = .header(name.lowercased())
    case "cookie": self = .cookie(name)
    case "query": self = .query(name)
    default: return nil
    }
  }

  var text: String {
    switch self {
    case .client: "client"
    case .path: "path"
    case .header(let name): "header:\(name)"
    case .cookie(let name): "cookie:\(name)"
    case .query(let name): "query:\(name)"
    }
  }
}

extension ScalarType where T == BalanceKey {
  static var balanceKey: ScalarType {
    ScalarType(
      words: "client, path, header:NAME, cookie:NAME or query:NAME", example: "header:x-user",
      schema: pattern("^(client|path|(header|cookie|query):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$"),
      read: { text in
        BalanceKey(text).map { .value($0) }
          ?? .wrong(.init("a key is client, path, header:NAME, cookie:NAME or query:NAME", mend: "header:x-user"))
      }, write: { $0.text })
  }
}

/// How requests are spread over instances.
package struct Balancing: Sendable, Equatable {
  package var by = BalanceKeys.by.initial
  package var key: Value<BalanceKey>?
  /// The zone that this Weir stands in.
  package var zone: Value<String>?
  package var loadMax: Value<Double>? = BalanceKeys.loadMax.initial
  package var slowStart = BalanceKeys.slowStart.initial
  package var halfLife = BalanceKeys.halfLife.initial
  package var panic = BalanceKeys.panic.initial

  func compile(into settings: inout Balancer.Settings) {
    by.value.compile(into: &settings)
    settings.loadMax = loadMax?.value ?? .infinity
    settings.slowStart = slowStart.value
    settings.halfLife = halfLife.value
  }

  /// What the proxy reads of a request; nil where nothing asks.
  package var readsKey: BalanceKey? { by.value.isKeyed ? key?.value : nil }
}

/// `balance:` of a service.
enum BalanceKeys {
  private static let standard = Balancer.Settings()

  static let balance = Key(
    "balance", .section(section), default: "service.balance (of two random choices the better)",
    "Which instance a request goes to.", alias: ["load-balancing", "lb"])
  static let by = ScalarKey(
    "by", ScalarType<Balance>.word, default: Balance(standard.algorithm),
    rule: "service.balance (of two random choices the better)",
    "What chooses; `ring-hash` and `maglev` send requests with the same key to the same instance.",
    alias: ["algorithm", "policy", "method"])
  static let key = ScalarKey(
    "key", .balanceKey,
    "What `ring-hash` and `maglev` go by; a request without it goes to the better of two random choices.",
    alias: ["hash-on", "hash-key", "hash"])
  static let zone = ScalarKey(
    "zone", .name, rule: "all zones alike",
    "The zone that this Weir stands in: its instances are asked first, those of other zones for what is too much.",
    alias: ["prefer-zone", "locality"])
  static let loadMax = ScalarKey(
    "load-max", .times, default: standard.loadMax, rule: "balance.load-max (consistent hashing with bounded loads)",
    "An instance of a key with more than so many times the mean in flight is passed over.", alone: ["none"],
    alias: ["balance-factor"])
  static let slowStart = ScalarKey(
    "slow-start", .duration(atLeastZero: true), default: standard.slowStart, rule: "balance.slow-start",
    "How long an instance that has joined gets less than its share.", alias: ["warmup"])
  static let halfLife = ScalarKey(
    "half-life", .duration(), default: standard.halfLife, rule: "balance.half-life (a mean lifetime of ten seconds)",
    "How long until a latency that was measured counts half; of `peak-ewma`.", alias: ["decay"])

  static let panic = ScalarKey(
    "panic", .share(most: 1), default: OutlierEjection.Settings().panic, rule: "balance.panic (only when all are out)",
    "When a smaller share than this passes its health check, all are asked, well or not.",
    alias: ["panic-threshold", "healthy-panic-threshold"])

  static let part = Part<Balancing>(
    "balance", "How requests are spread over instances.", short: by.key, start: { _, _ in Balancing() },
    [
      .value(by, \.by),
      .optional(key, \.key),
      .optional(zone, \.zone),
      .optional(loadMax, \.loadMax),
      .value(slowStart, \.slowStart),
      .value(halfLife, \.halfLife),
      .value(panic, \.panic),
    ])
  static let section = part.section
  static var field: Field<Service> {
    var field = Field<Service>.part(balance, \.balancing, part)
    let read = field.read
    field.read = { layers, resolver, service in
      read(layers, &resolver, &service)
      resolver.zone(of: service)
    }
    return field
  }
}

extension Resolver {
  /// The zone that is preferred must be one that an instance stands in, or nothing is.
  fileprivate mutating func zone(of service: Service) {
    let zones = service.zoneNames
    guard let zone = service.balancing.zone, !zones.isEmpty, !zones.contains(zone.value) else { return }
    let meant = Nearest.to(zone.value, among: zones)
    mistake(
      "unknown-target",
      "no instance of '\(service.name.text)' stands in zone '\(zone.value)'\(meant.map { ": did you mean '\($0)'?" } ?? "")",
      at: zone, why: "its instances stand in \(zones.joined(separator: ", "))", mend: "zone: \(meant ?? zones[0])")
  }
}
