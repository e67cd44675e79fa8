// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows

extension Forecast {
  /// What the observations of all replications say together.
  init(
    _ scene: Scene, system: String, scenario: String?, seed: UInt64, warmUp: Int64, length: Int64, batches: Int,
    replications: [Replication], expectation: Expectation
  ) {
    let seen = replications.flatMap(\.observations)
    self.system = system
    self.scenario = scenario
    self.seed = seed
    loops = max(1, scene.loops)
    self.replications = replications.count
    self.batches = batches
    self.warmUp = warmUp
    self.length = length
    network = scene.network
    requests = seen.reduce(0) { $0 + $1.routes.reduce(0) { $0 + $1.count } }
    let first = replications.first
    events = (first?.events ?? []).map { NamedEvent($0, scene) }
    eventsLost = first?.eventsLost ?? 0
    violation = replications.lazy.compactMap(\.violation).first

    routes = scene.routes.indices.map { r in
      let offered = seen.map { o in
        scene.traffic.indices.reduce(0.0) { $0 + (scene.traffic[$1].route == r ? o.sent[$1] : 0) } / o.length
      }
      return Forecast.route(
        scene.routes[r], offered: offered, seen, counts: seen.map { $0.routes[r] }, times: seen.map { $0.routeTimes[r] }
      )
    }
    let all = seen.map { o in
      var sum = FlowCounts()
      sum.reasons = [Double](repeating: 0, count: Reason.count)
      for counts in o.routes {
        sum.count += counts.count
        sum.failed += counts.failed
        for i in sum.reasons.indices { sum.reasons[i] += counts.reasons[i] }
      }
      return sum
    }
    let allTimes = seen.map { o in
      var sum = o.routeTimes[0]
      for sample in o.routeTimes.dropFirst() { sum.add(sample) }
      return sum
    }
    total = Forecast.route(
      "all", offered: seen.map { o in o.sent.reduce(0, +) / o.length }, seen, counts: all, times: allTimes)

    edges = scene.edges.indices.map { e in
      let counts = seen.map { $0.edges[e] }
      let ended = counts.map(\.count)
      let calls = counts.map(\.calls)
      let waits = seen.map { $0.waits[e] }
      return Flow(
        name: scene.edges[e].name, offered: Estimating.mean(seen.indices.map { calls[$0] / seen[$0].length }),
        done: Estimating.mean(seen.indices.map { (ended[$0] - counts[$0].failed) / seen[$0].length }),
        availability: Estimating.share(counts.map { $0.count - $0.failed }, ended),
        latency: Latency(seen.map { $0.edgeTimes[e] }), attempts: Estimating.ratio(counts.map(\.attempts), calls),
        fallbacks: Forecast.share(counts.map(\.fallbacks), ended), reasons: Forecast.reasons(counts),
        queue: Queue(
          length: Estimating.mean(seen.map { $0.queueLengths[e] }),
          share: Estimating.ratio(waits.map(\.count), calls),
          wait: Estimating.ratio(waits.map(\.sum), waits.map(\.count))))
    }

    services = scene.components.indices.map { c in
      let model = scene.components[c]
      let instances = scene.plan.services[c].instances
      let isLimited = model.workers < Int(Int32.max)
      let busy = Estimating.mean(seen.map { $0.busy[c] })
      return Service(
        name: model.name, instances: instances, workers: isLimited ? model.workers : nil, busy: busy,
        utilisation: isLimited ? busy.scaled(by: 1 / Double(model.workers * instances)) : nil,
        queue: Estimating.mean(seen.map { $0.innerLengths[c] }),
        wait: Estimating.ratio(seen.map { $0.innerWaits[c] }, seen.map { $0.innerWaited[c] }))
    }
    // Those that nobody delivers are of sagas, which are told of by themselves.
    queues = scene.queues.indices.filter { scene.queues[$0].edge != nil }.map {
      Forecast.messages(scene, seen.map(\.length), $0, seen)
    }
    sagas = scene.sagas.indices.map { s in
      Forecast.saga(scene.sagas[s].name, seen.map(\.length), seen.map { $0.sagas[s] })
    }
    var fullest: Bottleneck?
    for service in services {
      if let utilisation = service.utilisation?.value, utilisation > (fullest?.utilisation ?? 0) {
        fullest = Bottleneck(service: service.name, utilisation: utilisation, factor: 1 / utilisation)
      }
    }
    bottleneck = fullest

    verdicts = []
    if let required = expectation.availability {
      verdicts.append(
        Verdict(
          name: "availability", required: required, isLatency: false, estimate: total.availability,
          outcome: Verdict.atLeast(required, total.availability)))
    }
    for bound in expectation.latency {
      let estimate = bound.quantile.map { Estimating.quantile($0, allTimes) } ?? total.latency.mean
      verdicts.append(
        Verdict(
          name: "latency \(bound.label)", required: bound.bound, isLatency: true, estimate: estimate,
          outcome: Verdict.atMost(bound.bound, estimate)))
    }
    verdicts += Forecast.messageVerdicts(expectation, seen)
  }

  private static func messages(_ scene: Scene, _ lengths: [Double], _ q: Int, _ seen: [Observation]) -> Messages {
    let name = scene.queues[q].name
    let counts = seen.map { $0.messages[q] }
    let accepted = counts.map(\.accepted)
    let drained = counts.filter { $0.drain >= 0 }.map(\.drain)
    let total = accepted.reduce(0, +)
    let names = ["attempts", "expired", "refused"]
    let isSorted = scene.queues[q].sorting != nil
    return Messages(
      name: name, sent: Estimating.ratio(accepted, lengths), done: Estimating.ratio(counts.map(\.done), lengths),
      depth: Estimating.ratio(zip(counts, lengths).map { $0.depth * $1 }, lengths),
      inFlight: Estimating.ratio(zip(counts, lengths).map { $0.inFlight * $1 }, lengths),
      peak: Estimating.mean(counts.map(\.peak)), oldest: Estimating.mean(counts.map(\.oldest)),
      drain: drained.isEmpty ? nil : Estimating.mean(drained),
      undrained: counts.isEmpty ? 0 : Double(counts.count - drained.count) / Double(counts.count),
      wait: Estimating.ratio(counts.map(\.waits.sum), counts.map(\.waits.count)),
      time: Latency(counts.map(\.times)),
      attempts: Estimating.ratio(
        counts.map(\.leased), counts.map { $0.done + $0.dead.reduce(0, +) }),
      dead: names.indices.compactMap { reason in
        let hits = counts.reduce(0) { $0 + $1.dead[reason] }
        return hits > 0 && total > 0 ? NamedShare(name: names[reason], share: hits / total) : nil
      }, refused: share(counts.map(\.refused), counts.map { $0.refused + $0.accepted }),
      lost: Estimating.mean(counts.map(\.lost)), outOfOrder: Estimating.mean(counts.map(\.overtaken)),
      doneTwice: Estimating.mean(counts.map(\.twice)), kept: isSorted ? Estimating.mean(counts.map(\.kept)) : nil,
      known: isSorted ? Estimating.mean(counts.map(\.known)) : nil,
      skipped: isSorted ? Estimating.mean(counts.map(\.skipped)) : nil)
  }

  private static func route(
    _ name: String, offered: [Double], _ seen: [Observation], counts: [FlowCounts], times: [Sample]
  ) -> Flow {
    Flow(
      name: name, offered: Estimating.mean(offered),
      done: Estimating.mean(seen.indices.map { (counts[$0].count - counts[$0].failed) / seen[$0].length }),
      availability: Estimating.share(counts.map { $0.count - $0.failed }, counts.map(\.count)), latency: Latency(times),
      attempts: nil, fallbacks: nil, reasons: reasons(counts), queue: nil)
  }

  private static func share(_ hits: [Double], _ counts: [Double]) -> Double {
    let total = counts.reduce(0, +)
    return total > 0 ? hits.reduce(0, +) / total : 0
  }

  private static func reasons(_ counts: [FlowCounts]) -> [NamedShare] {
    let total = counts.reduce(0) { $0 + $1.count }
    guard total > 0 else { return [] }
    return Reason.allCases.compactMap { reason in
      let hits = counts.reduce(0) { $0 + $1.reasons[Int(reason.rawValue)] }
      return hits > 0 ? NamedShare(name: "\(reason.name)", share: hits / total) : nil
    }
  }
}

extension Forecast.Latency {
  init(_ samples: [Sample]) {
    mean = Estimating.ratio(samples.map(\.sum), samples.map(\.count))
    p50 = Estimating.quantile(0.5, samples)
    p90 = Estimating.quantile(0.9, samples)
    p99 = Estimating.quantile(0.99, samples)
    p999 = Estimating.quantile(0.999, samples)
    shape = []
    shapeFrom = 0
    shapeTo = 0
    guard var pooled = samples.first else { return }
    for sample in samples.dropFirst() { pooled.add(sample) }
    guard pooled.count > 0 else { return }
    shapeFrom = max(1000, pooled.quantile(0.01))
    shapeTo = max(shapeFrom * 1.001, pooled.quantile(0.999))
    let bins = 24
    let step = Mathematics.log(shapeTo / shapeFrom) / Double(bins)
    var before = 0.0
    for bin in 1...bins {
      let below = pooled.below(shapeFrom * Mathematics.exp(step * Double(bin)))
      shape.append(max(0, below - before) / pooled.count)
      before = below
    }
  }
}

extension Forecast.NamedEvent {
  init(_ event: Event, _ scene: Scene) {
    at = event.at.nanoseconds
    until = event.until == .zero ? nil : event.until.nanoseconds
    kind = "\(event.kind.name)"
    subject =
      event.edge != RequestFacts.none
      ? scene.edges[Int(event.edge)].name
      : event.service != RequestFacts.none ? scene.components[Int(event.service)].name : ""
    instance = event.instance == CallStep.nobody ? nil : Int(event.instance)
    reason = event.reason == .none ? nil : "\(event.reason.name)"
  }
}
