// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// The Prometheus text exposition (format 0.0.4) of a snapshot.
///
/// Labels come from declared names only, so the number of series is known before the first request: what has no route
/// counts under `route="none"`.
package struct Metrics {
  private let names: Names
  private var out = ""

  private init(names: Names) { self.names = names }

  package static func text(_ snapshot: Snapshot, names: Names, version: String) -> String {
    var metrics = Metrics(names: names)
    metrics.node(snapshot, version: version)
    metrics.file(snapshot.file)
    metrics.routes(snapshot.ledger)
    metrics.treatments(snapshot)
    metrics.edges(snapshot)
    metrics.instances(snapshot)
    metrics.events(snapshot)
    for family in snapshot.families {
      metrics.family(family.name, family.kind.rawValue, family.help)
      for sample in family.samples {
        metrics.sample(family.name, sample.labels.map { ($0.name, $0.value) }, sample.value)
      }
    }
    return metrics.out
  }

  /// How many series ``text(_:names:version:)`` has at most: the product of declared ids.
  ///
  /// `zones` are those of all services together.
  package static func seriesCount(
    routes: Int, edges: Int, instancesByEdge: [Int], instances: Int, zones: Int = 0
  ) -> Int {
    let histogram = bounds.count + 3
    // Four more for a route with WebSockets: open, opened, messages of both sides.
    let perRoute = 5 + Reason.count - 1 + histogram + 4
    let perEdge = 5 + Reason.count - 1 + histogram + 2
    let breakers = instancesByEdge.reduce(0) { $0 + 2 * $1 }
    return 12 + (routes + 1) * perRoute + edges * perEdge + breakers + instances * 7 + zones * 2
      + Event.Kind.allCases.count
  }

  private mutating func node(_ snapshot: Snapshot, version: String) {
    family("weir_build_info", "gauge", "The version of Weir that runs here.")
    sample("weir_build_info", [("version", version), ("system", names.system)], 1)
    family("weir_uptime_seconds", "gauge", "How long the plane has run.")
    sample("weir_uptime_seconds", [], snapshot.uptime)
    family("weir_loops", "gauge", "Event loops.")
    sample("weir_loops", [], Double(snapshot.loops))
    family("weir_client_connections", "gauge", "Open connections of clients.")
    sample("weir_client_connections", [], Double(snapshot.clientConnections))
    family("weir_events_lost_total", "counter", "Events that did not fit into their log.")
    sample("weir_events_lost_total", [], Double(snapshot.eventsLost))
    family("weir_log_records_lost_total", "counter", "Access log records that did not fit.")
    sample("weir_log_records_lost_total", [], Double(snapshot.recordsLost))
  }

  private mutating func file(_ file: FileState) {
    family("weir_config_hash", "gauge", "The content that runs: equal numbers are equal files.")
    sample("weir_config_hash", [], file.number)
    family("weir_config_last_success_timestamp_seconds", "gauge", "When the running content was taken over.")
    sample("weir_config_last_success_timestamp_seconds", [], Double(file.sinceMilliseconds / 1000))
    family("weir_config_reloads_total", "counter", "Changes of the file that were taken over.")
    sample("weir_config_reloads_total", [], Double(file.reloads))
    family("weir_config_reload_failures_total", "counter", "Changes of the file that were refused.")
    sample("weir_config_reload_failures_total", [], Double(file.failures))
  }

  private mutating func routes(_ ledger: Ledger) {
    family("weir_requests_total", "counter", "Requests that ended, by route and class of status.")
    for (i, route) in ledger.routes.enumerated() {
      for group in 0..<5 where route.statuses[group] > 0 || (group == 1 && i < names.routes.count) {
        sample(
          "weir_requests_total", [("route", names.route(i)), ("class", "\(group + 1)xx")],
          Double(route.statuses[group]))
      }
    }
    family("weir_request_reasons_total", "counter", "Requests that ended for a reason of Weir's closed list.")
    for i in ledger.routes.indices {
      for reason in Reason.allCases where reason != .none && ledger.routeReason(i, reason) > 0 {
        sample(
          "weir_request_reasons_total", [("route", names.route(i)), ("reason", "\(reason.name)")],
          Double(ledger.routeReason(i, reason)))
      }
    }
    family("weir_request_duration_seconds", "histogram", "From a request's head to the end of its answer.")
    for (i, tally) in ledger.routeLatencies.enumerated() {
      histogram("weir_request_duration_seconds", [("route", names.route(i))], tally)
    }
  }

  private mutating func treatments(_ snapshot: Snapshot) {
    if snapshot.deprecated.contains(true) {
      family("weir_deprecated_requests_total", "counter", "Requests of routes that are on their way out.")
      for (i, isDeprecated) in snapshot.deprecated.enumerated() where isDeprecated {
        sample(
          "weir_deprecated_requests_total", [("route", names.route(i))], Double(snapshot.ledger.routes[i].requests))
      }
    }
    let mirrors = snapshot.mirrors.enumerated().compactMap { i, report in report.map { (names.route(i), $0) } }
    if mirrors.isEmpty { return }
    family("weir_mirror_requests_total", "counter", "Copies of requests, by how the mirror's answer differs.")
    for (route, report) in mirrors {
      for difference in MirrorReport.Difference.allCases {
        sample(
          "weir_mirror_requests_total", [("route", route), ("outcome", "\(difference.name)")],
          Double(report.count(difference)))
      }
      sample("weir_mirror_requests_total", [("route", route), ("outcome", "skipped")], Double(report.skipped))
    }
    family("weir_mirror_duration_seconds", "histogram", "Answers of pairs: the service's (given) and the mirror's.")
    for (route, report) in mirrors {
      histogram("weir_mirror_duration_seconds", [("route", route), ("of", "given")], report.given)
      histogram("weir_mirror_duration_seconds", [("route", route), ("of", "mirror")], report.mirrored)
    }
  }

  private mutating func edges(_ snapshot: Snapshot) {
    let ledger = snapshot.ledger
    family("weir_calls_total", "counter", "Calls that ended, by caller, callee and outcome.")
    each(ledger) { metrics, edge, labels in
      metrics.sample("weir_calls_total", labels + [("outcome", "answered")], Double(edge.answered))
      metrics.sample("weir_calls_total", labels + [("outcome", "failed")], Double(edge.failed))
      metrics.sample("weir_calls_total", labels + [("outcome", "refused")], Double(edge.refused))
      metrics.sample("weir_calls_total", labels + [("outcome", "fallback")], Double(edge.fallbacks))
    }
    family("weir_attempts_total", "counter", "Attempts of calls, the first included.")
    each(ledger) { metrics, edge, labels in
      metrics.sample("weir_attempts_total", labels, Double(edge.attempts))
    }
    family("weir_hedges_total", "counter", "Second attempts beside a slow one, by whether they answered first.")
    each(ledger) { metrics, edge, labels in
      guard edge.hedges > 0 else { return }
      metrics.sample("weir_hedges_total", labels + [("outcome", "won")], Double(edge.hedgesWon))
      metrics.sample("weir_hedges_total", labels + [("outcome", "lost")], Double(edge.hedges &- edge.hedgesWon))
    }
    family("weir_call_reasons_total", "counter", "Calls that ended for a reason of Weir's closed list.")
    for i in ledger.edges.indices where names.edges[i].isCarried {
      for reason in Reason.allCases where reason != .none && ledger.edgeReason(i, reason) > 0 {
        sample(
          "weir_call_reasons_total", labels(i) + [("reason", "\(reason.name)")],
          Double(ledger.edgeReason(i, reason)))
      }
    }
    family("weir_call_duration_seconds", "histogram", "Calls that were answered, from the first decision to the end.")
    for (i, tally) in ledger.edgeLatencies.enumerated() where names.edges[i].isCarried {
      histogram("weir_call_duration_seconds", labels(i), tally)
    }
    family("weir_calls_waiting", "gauge", "Calls that wait for a place.")
    let carried = snapshot.edges.enumerated().filter { names.edges[$0.offset].isCarried }
    for (i, edge) in carried { sample("weir_calls_waiting", labels(i), Double(edge.waiting)) }
    if carried.contains(where: { $0.element.gateLimit != nil }) {
      family("weir_gate_limit", "gauge", "Calls that may be at the callee at the same time, where that is found out.")
      for (i, edge) in carried {
        if let limit = edge.gateLimit { sample("weir_gate_limit", labels(i), Double(limit)) }
      }
    }
    family("weir_breaker_state", "gauge", "Breakers: 0 closed, 1 probing, 2 open; without instance: the callee's own.")
    for (i, edge) in carried {
      sample("weir_breaker_state", labels(i) + [("instance", "")], Metrics.number(edge.breaker))
      for (k, state) in edge.breakers.enumerated()
      where !snapshot.isVacant(service: names.edges[i].service, instance: k) {
        sample(
          "weir_breaker_state", labels(i) + [("instance", names.instance(k, of: names.edges[i].service))],
          Metrics.number(state))
      }
    }
    family("weir_instance_ejected", "gauge", "1 while an instance is left out of rotation for its answers.")
    for (i, edge) in carried {
      for (k, ejected) in edge.ejected.enumerated()
      where !snapshot.isVacant(service: names.edges[i].service, instance: k) {
        sample(
          "weir_instance_ejected", labels(i) + [("instance", names.instance(k, of: names.edges[i].service))],
          ejected ? 1 : 0)
      }
    }
  }

  private mutating func instances(_ snapshot: Snapshot) {
    family("weir_instance_ready", "gauge", "1 while an instance takes requests.")
    each(snapshot) { metrics, instance, labels in
      metrics.sample("weir_instance_ready", labels, instance.state == .ready ? 1 : 0)
    }
    family("weir_instance_requests_total", "counter", "Attempts that an instance was sent, by all callers.")
    counts(snapshot) { metrics, counted, _, labels in
      metrics.sample("weir_instance_requests_total", labels, Double(counted.attempts))
    }
    family("weir_instance_failures_total", "counter", "Attempts that failed by the instance's own fault.")
    counts(snapshot) { metrics, counted, _, labels in
      metrics.sample("weir_instance_failures_total", labels, Double(counted.failures))
    }
    family("weir_instance_in_flight", "gauge", "Attempts that are under way at an instance.")
    counts(snapshot) { metrics, _, instance, labels in
      metrics.sample("weir_instance_in_flight", labels, Double(instance.inFlight))
    }
    zones(snapshot)
    family("weir_instance_restarts_total", "counter", "How often a program was started again.")
    each(snapshot) { metrics, instance, labels in
      metrics.sample("weir_instance_restarts_total", labels, Double(instance.restarts))
    }
    family("weir_instance_cpu_ratio", "gauge", "Share of one core that a program uses.")
    each(snapshot) { metrics, instance, labels in
      if let cpu = instance.cpu { metrics.sample("weir_instance_cpu_ratio", labels, cpu) }
    }
    family("weir_instance_memory_bytes", "gauge", "Resident memory of a program.")
    each(snapshot) { metrics, instance, labels in
      if let memory = instance.memory { metrics.sample("weir_instance_memory_bytes", labels, Double(memory)) }
    }
  }

  /// What went to each zone, and what left the one that Weir stands in: sums over instances.
  private mutating func zones(_ snapshot: Snapshot) {
    let zoned = snapshot.instances.indices.filter { !names.zones[$0].names.isEmpty }
    if zoned.isEmpty { return }
    let requests = zoned.map { ($0, ZoneRequests(snapshot.ledger, service: $0, names.zones[$0])) }
    family("weir_zone_requests_total", "counter", "Attempts that went to a zone's instances.")
    for (s, counted) in requests {
      for (zone, count) in counted.byZone.enumerated() {
        sample(
          "weir_zone_requests_total", [("service", names.services[s]), ("zone", names.zones[s].names[zone])],
          Double(count))
      }
    }
    family("weir_zone_spilled_total", "counter", "Attempts that left the zone that Weir stands in.")
    for (s, counted) in requests {
      if let spilled = counted.spilled {
        sample("weir_zone_spilled_total", [("service", names.services[s])], Double(spilled))
      }
    }
  }

  private mutating func events(_ snapshot: Snapshot) {
    family("weir_events_total", "counter", "Events, by kind.")
    for kind in Event.Kind.allCases {
      sample("weir_events_total", [("kind", "\(kind.name)")], Double(snapshot.events[Int(kind.rawValue)]))
    }
  }

  // MARK: - The format

  /// Upper bounds of the exported buckets in microseconds.
  ///
  /// Powers of two from 256 µs to 33.5 s: a tally's buckets end there exactly, so that nothing is interpolated.
  static let bounds: [Int64] = (8...25).map { 1 << $0 }

  private static func number(_ state: Snapshot.BreakerState) -> Double {
    switch state {
    case .closed: 0
    case .probing: 1
    case .open: 2
    }
  }

  private func labels(_ edge: Int) -> [(String, String)] {
    [("caller", names.edges[edge].caller), ("callee", names.edges[edge].callee)]
  }

  private mutating func each(_ ledger: Ledger, _ body: (inout Metrics, Ledger.Edge, [(String, String)]) -> Void) {
    for (i, edge) in ledger.edges.enumerated() where names.edges[i].isCarried { body(&self, edge, labels(i)) }
  }

  private mutating func each(
    _ snapshot: Snapshot, _ body: (inout Metrics, Snapshot.Instance, [(String, String)]) -> Void
  ) {
    for (s, instances) in snapshot.instances.enumerated() {
      for (i, instance) in instances.enumerated() where instance.state != .vacant {
        body(&self, instance, [("service", names.services[s]), ("instance", names.instance(i, of: s))])
      }
    }
  }

  /// Each instance that is there of the services that Weir calls.
  private mutating func counts(
    _ snapshot: Snapshot, _ body: (inout Metrics, Ledger.Instance, Snapshot.Instance, [(String, String)]) -> Void
  ) {
    for (s, instances) in snapshot.instances.enumerated() {
      for (i, (instance, counted)) in zip(instances, snapshot.ledger.instances(of: s)).enumerated()
      where instance.state != .vacant {
        body(&self, counted, instance, [("service", names.services[s]), ("instance", names.instance(i, of: s))])
      }
    }
  }

  private mutating func family(_ name: String, _ type: String, _ help: String) {
    out += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
  }

  private mutating func sample(_ name: String, _ labels: [(String, String)], _ value: Double) {
    out += name
    if !labels.isEmpty {
      out += "{"
      for (i, label) in labels.enumerated() {
        out += (i == 0 ? "" : ",") + label.0 + "=\"" + Metrics.escaped(label.1) + "\""
      }
      out += "}"
    }
    out += " \(Metrics.text(value))\n"
  }

  private mutating func histogram(_ name: String, _ labels: [(String, String)], _ tally: Tally) {
    var below: UInt64 = 0
    var bucket = 0
    for bound in Metrics.bounds {
      while bucket < Tally.bucketCount, Tally.upperBound(of: bucket) <= bound * 1000 {
        below += tally.buckets[bucket]
        bucket += 1
      }
      sample(name + "_bucket", labels + [("le", Metrics.text(Double(bound) / 1e6))], Double(below))
    }
    sample(name + "_bucket", labels + [("le", "+Inf")], Double(tally.count))
    sample(name + "_sum", labels, tally.sum / 1e9)
    sample(name + "_count", labels, Double(tally.count))
  }

  private static func text(_ value: Double) -> String {
    value == value.rounded() && abs(value) < 1e15 ? "\(Int64(value))" : "\(value)"
  }

  private static func escaped(_ value: String) -> String {
    guard value.utf8.contains(where: { $0 == 0x5c || $0 == 0x22 || $0 == 0x0a }) else { return value }
    var out = ""
    for character in value {
      switch character {
      case "\\": out += "\\\\"
      case "\"": out += "\\\""
      case "\n": out += "\\n"
      default: out.append(character)
      }
    }
    return out
  }
}
