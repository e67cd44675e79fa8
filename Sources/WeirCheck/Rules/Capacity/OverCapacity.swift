// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirModel

/// More load than workers can do, with all instances or after losing one.
enum OverCapacity: Rule {
  /// What a mend leaves workers busy for: beyond four fifths waits grow steeply.
  private static let busyMost = 0.8

  static let info = RuleInfo(
    "over-capacity", .capacity, .error, title: "More load than the workers can do",
    why: "A worker is held for as long as a request takes, the calls that it makes included. With 2 instances of 4 "
      + "workers and 20 ms a request, 8 / 20 ms = 400 requests/s is all there can be: at 500/s 100 more wait every "
      + "second, until they are refused. At 300/s both can do it, and one alone, with 200/s, cannot.",
    detection: "the rates of `traffic` (scaled to `requirements.load`, behind the limits of routes) through routes, "
      + "operations, shares and the retries that the callees' availability causes; against `at-once` of every service "
      + "and store. An error with all instances; a warning if one is lost",
    formula: "utilisation = rate × time held ÷ (instances × at-once) ≥ 1",
    mend: "More instances, more at once if the program can do it, or less time: calls at the same time, a limit.",
    falsePositives:
      "Times that are guessed. Means only are looked at, without queues at callees and with calls made at "
      + "the same time as long as the longest mean: what it finds is too much, what it does not find may be too.")

  static func find(_ subject: Subject) -> [Finding] {
    if subject.design.traffic.isEmpty { return [] }
    let load = OfferedLoad(subject)
    var found: [Finding] = []
    for (index, service) in subject.design.services.enumerated() {
      guard let atOnce = service.atOnce, load.services[index].busy > 0 else { continue }
      // What runs elsewhere may be a load balancer with any number behind it.
      if case .addresses = service.kind { continue }
      if let finding = finding(service, atOnce, load.services[index], load.scale, subject) { found.append(finding) }
    }
    for (index, store) in subject.design.stores.enumerated() where load.stores[index].busy > 0 {
      // The fewest of what stands in the way.
      guard
        let places = [store.atOnce, store.pool ?? store.maxConnections].compactMap({ $0 })
          .min(by: { $0.value < $1.value })
      else { continue }
      if let finding = finding(store, places, load.stores[index], load.scale, subject) { found.append(finding) }
    }
    return found
  }

  private static func finding(
    _ service: Service, _ atOnce: Value<Int>, _ load: OfferedLoad.Share, _ scale: Double, _ subject: Subject
  ) -> Finding? {
    let (name, count) = (service.name.text, service.instances.value)
    let places = Double(count) * Double(atOnce.value)
    let utilisation = load.busy / places
    let after = count > 1 ? load.busy / (places - Double(atOnce.value)) : 0
    guard utilisation >= 1 || after >= 1 else { return nil }
    let isOver = utilisation >= 1
    let (rate, held) = (Say.rate(load.rate), Say.time(nanoseconds: load.held))
    let left = isOver ? count : count - 1
    let can = Double(left) * Double(atOnce.value) / load.held * 1e9
    let workers = "\(left) × \(atOnce.value)"
    let result = Say.percent(isOver ? utilisation : after)
    let wanted = Say.count(atLeast: load.busy / (busyMost * Double(atOnce.value)) + (isOver ? 0 : 1))
    let written = service.instances.place?.under(service.name.place)
    let why: String
    if isOver {
      why = "\(Say.rate(load.rate - can)) more wait every second, until the queue is full and they are refused"
    } else {
      let wait = Queueing.wait(load: load.busy, workers: count * atOnce.value, service: load.held)
      why =
        "with all \(count) it is \(Say.percent(utilisation)) busy"
        + (wait.map { ", and a request waits \(Say.time(nanoseconds: $0)) on average (Erlang C)" } ?? "")
        + "; after one ends \(Say.rate(load.rate - can)) more wait every second"
    }
    return info.finding(
      isOver
        ? "\(name) gets \(rate) and can do \(Say.rate(can)): \(rate) × \(held) ÷ (\(workers)) = \(result)"
        : "\(name) gets \(rate) and can do \(Say.rate(can)) after losing one instance: \(rate) × \(held) ÷ (\(workers)) "
          + "= \(result)", at: service.name.place, spot: written?.entry ?? service.name.place.head,
      caret: isOver ? "\(result) busy" : "\(result) busy with \(left)", why: why,
      mend: "instances: \(max(wanted, count + 1))", formula: "rate × time held ÷ (instances × at-once)",
      inputs: [
        Finding.Input("rate", rate), Finding.Input("time held", held, service.work?.place),
        Finding.Input("instances", String(left), service.instances.place),
        Finding.Input("at-once", String(atOnce.value), atOnce.place),
        Finding.Input("factor on traffic", Say.number(scale), subject.design.requirements.load?.place),
      ], result: result, severity: isOver ? .error : .warning)
  }

  private static func finding(
    _ store: Store, _ places: Value<Int>, _ load: OfferedLoad.Share, _ scale: Double, _ subject: Subject
  ) -> Finding? {
    let utilisation = load.busy / Double(places.value)
    guard utilisation >= 1 else { return nil }
    let (name, rate, held) = (store.name.text, Say.rate(load.rate), Say.time(nanoseconds: load.held))
    let can = Double(places.value) / load.held * 1e9
    let result = Say.percent(utilisation)
    let written = places.place?.under(store.name.place)
    return info.finding(
      "\(name) gets \(rate) and can do \(Say.rate(can)): \(rate) × \(held) ÷ \(places.value) = \(result)",
      at: store.name.place, spot: written?.entry ?? store.name.place.head, caret: "\(result) busy",
      why: "\(Say.rate(load.rate - can)) more wait every second, and all who call \(name) with them",
      mend: "fewer requests to \(name) (a share, a limit), shorter ones, or a store that works on "
        + "\(Say.count(atLeast: load.busy / busyMost)) at the same time",
      formula: "rate × time ÷ at-once",
      inputs: [
        Finding.Input("rate", rate), Finding.Input("time", held, store.work?.place),
        Finding.Input("at-once", String(places.value), places.place),
        Finding.Input("factor on traffic", Say.number(scale), subject.design.requirements.load?.place),
      ], result: result)
  }
}
