// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// More connections than a store's server takes.
enum ConnectionStorm: Rule {
  static let info = RuleInfo(
    "connection-storm", .capacity, .error, title: "Instances open more connections than the server takes",
    why: "50 instances with pools of 20 connections open 1000 when they start; a server with max-connections 500 "
      + "refuses half of them. Those instances fail, are started again, and open connections again.",
    detection:
      "for each store with `max-connections`: instances × `connections` of all that call it, and the same with "
      + "`deploy.surge`; with a pool in front of it, the pool's size. A warning if only the surge is too much",
    formula: "Σ (instances + surge) × connections > max-connections",
    mend: "Put a pooler between (`pool`), give each instance fewer connections, and bring few instances out at once.",
    falsePositives: "Pools that open connections as they need them and never need all. Count, too, what the server "
      + "keeps for itself: PostgreSQL 3 for superusers, so 500 are 497.")

  /// What a mend proposes for a pool: 2 × cores + disks (PostgreSQL wiki, *Number Of Database Connections*) for some
  /// 20 cores; a start to measure from.
  private static let poolSize = 40

  private struct Share {
    var service: Service
    var call: Call
    var connections: Int
    var instances: Int
    var surge: Int
    var steady: Int { instances * connections }
    var whole: Int { (instances + surge) * connections }
  }

  static func find(_ subject: Subject) -> [Finding] {
    let stores = subject.design.stores
    // Once over all calls: a thousand services would be asked for every store.
    var shares = [[Share]](repeating: [], count: stores.count)
    for service in subject.design.services {
      for call in service.calls {
        guard case .store(let store) = call.to.value, let connections = call.connections else { continue }
        let instances = service.instances.value
        shares[store].append(
          Share(
            service: service, call: call, connections: connections.value, instances: instances,
            surge: service.deploy.surge?.value.instances(of: instances) ?? 0))
      }
    }
    return stores.enumerated().compactMap { index, store in
      guard let most = store.maxConnections else { return nil }
      if let pool = store.pool { return tooLarge(pool, store, most) }
      let steady = shares[index].reduce(0) { $0 + $1.steady }
      let whole = shares[index].reduce(0) { $0 + $1.whole }
      guard whole > most.value, let largest = shares[index].max(by: { $0.whole < $1.whole }) else { return nil }
      return tooMany(shares[index], largest, store, most, steady: steady, whole: whole)
    }
  }

  private static func tooMany(
    _ shares: [Share], _ largest: Share, _ store: Store, _ most: Value<Int>, steady: Int, whole: Int
  ) -> Finding {
    let isSteady = steady > most.value
    let total = isSteady ? steady : whole
    let parts = shares.map { share in
      isSteady || share.surge == 0
        ? "\(share.instances) × \(share.connections)" : "(\(share.instances) + \(share.surge)) × \(share.connections)"
    }
    let sum = (parts.count > 4 ? parts.prefix(3) + ["…"] : parts).joined(separator: " + ")
    let name = store.name.text
    let when = isSteady ? "" : " while a new version is brought out"
    // Instances of all callers share what the server takes.
    let instances = shares.reduce(0) { $0 + $1.instances + $1.surge }
    let each = most.value / max(1, instances)
    var mend = "a pooler in front of \(name):   pool: { size: \(max(1, min(most.value, poolSize))) }"
    if each > 0 { mend += "\nor fewer for each instance:   connections: \(each)" }
    let place = largest.call.connections?.place?.under(largest.call.place)
    var inputs: [Finding.Input] = []
    for share in shares {
      let service = share.service.name.text
      inputs.append(Finding.Input("instances of \(service)", String(share.instances), share.service.instances.place))
      inputs.append(Finding.Input("surge of \(service)", String(share.surge), share.service.deploy.surge?.place))
      inputs.append(
        Finding.Input("connections of \(service)", String(share.connections), share.call.connections?.place))
    }
    inputs.append(Finding.Input("max-connections of \(name)", String(most.value), most.place))
    let others = shares.filter { $0.call.place != largest.call.place }.prefix(5)
    return info.finding(
      "\(sum) = \(total) connections\(when), and \(name) takes \(most.value)", at: place ?? largest.call.place,
      spot: (place ?? largest.call.place).head(orEntryOf: place), caret: "\(total) > \(most.value)",
      why: "\(total - most.value) of \(total) are refused; who does not get one fails, is started again and asks again",
      mend: mend, acceptAt: largest.call.place, formula: "\(sum) > max-connections", inputs: inputs,
      result: "\(total) connections for \(most.value)",
      related: others.map {
        Diagnostic.Related($0.call.place, "\($0.service.name.text) opens \(isSteady ? $0.steady : $0.whole) of them")
      } + (most.place.map { [Diagnostic.Related($0, "\(name) takes \(most.value)")] } ?? []),
      severity: isSteady ? .error : .warning)
  }

  private static func tooLarge(_ pool: Value<Int>, _ store: Store, _ most: Value<Int>) -> Finding? {
    guard pool.value > most.value else { return nil }
    let place = pool.place ?? store.name.place
    let name = store.name.text
    return info.finding(
      "the pool holds \(pool.value) connections, and \(name) takes \(most.value)", at: place, spot: place.entry,
      caret: "\(pool.value) > \(most.value)",
      why:
        "\(pool.value - most.value) of \(pool.value) are refused: the pool tells its users that it has what it cannot get",
      mend: "size: \(most.value)", acceptAt: store.name.place, formula: "pool size > max-connections",
      inputs: [
        Finding.Input("size of the pool", String(pool.value), pool.place),
        Finding.Input("max-connections of \(name)", String(most.value), most.place),
      ], result: "\(pool.value) connections for \(most.value)")
  }
}
