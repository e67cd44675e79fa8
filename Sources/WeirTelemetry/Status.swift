// SPDX-License-Identifier: Apache-2.0
import WeirBase
package import WeirFlows

/// What `weir status` tells of a running system; the JSON of the admin API and of `--format json`.
package struct Status: Sendable, Codable, Equatable {
  package struct Route: Sendable, Codable, Equatable {
    package var name: String
    package var requests: UInt64
    /// Over the last seconds.
    package var perSecond: Double
    /// Of the requests since the start, those answered 5xx.
    package var failed: UInt64
    /// Milliseconds; absent before the first request.
    package var p50: Double?
    package var p99: Double?
    /// Own answers, by reason.
    package var reasons: [String: UInt64]
  }

  package struct Instance: Sendable, Codable, Equatable {
    package var name: String
    package var state: Snapshot.Instance.State
    package var pid: Int32?
    package var address: String
    package var restarts: Int
    package var cpu: Double?
    package var memory: Int?
    /// Attempts that it was sent, those that failed by its fault, those under way; nil from a Weir that does not count.
    package var requests: UInt64?
    package var failures: UInt64?
    package var inFlight: Int?
  }

  /// What a zone of a service was sent.
  package struct Zone: Sendable, Codable, Equatable {
    package var name: String
    package var requests: UInt64
    /// Weir stands in it.
    package var own: Bool
  }

  package struct Service: Sendable, Codable, Equatable {
    package var name: String
    package var instances: [Instance]
    /// Nil for one without zones.
    package var zones: [Zone]?
  }

  package struct Breaker: Sendable, Codable, Equatable {
    package var instance: String
    package var state: Snapshot.BreakerState
    package var ejected: Bool
  }

  package struct Call: Sendable, Codable, Equatable {
    package var caller: String
    package var callee: String
    package var calls: UInt64
    package var perSecond: Double
    package var attempts: UInt64
    package var failed: UInt64
    package var refused: UInt64
    package var fallbacks: UInt64
    package var p50: Double?
    package var p99: Double?
    package var waiting: Int
    package var breaker: Snapshot.BreakerState
    package var breakers: [Breaker]
    package var reasons: [String: UInt64]
  }

  package struct Happening: Sendable, Codable, Equatable {
    package var time: String
    package var text: String
    package var kind: String

    package init(time: String, text: String, kind: String) {
      self.time = time
      self.text = text
      self.kind = kind
    }
  }

  /// The process that decides, see docs/upgrade.md.
  package struct Plane: Sendable, Codable, Equatable {
    package var pid: Int32
    package var binary: String
    package var uptime: Double

    package init(pid: Int32, binary: String, uptime: Double) {
      self.pid = pid
      self.binary = binary
      self.uptime = uptime
    }
  }

  /// A plane from before an upgrade, which finishes what it has begun.
  package struct Elder: Sendable, Codable, Equatable {
    package var pid: Int32
    package var version: String

    package init(pid: Int32, version: String) {
      self.pid = pid
      self.version = version
    }
  }

  /// The state process.
  package struct State: Sendable, Codable, Equatable {
    package var up: Bool
    package var uptime: Double?
    package var restarts: Int
    /// Nil where none are made, or nobody can say.
    package var backup: Backup?

    package init(up: Bool, uptime: Double?, restarts: Int, backup: Backup? = nil) {
      self.up = up
      self.uptime = uptime
      self.restarts = restarts
      self.backup = backup
    }
  }

  /// Copies of the state.
  package struct Backup: Sendable, Codable, Equatable {
    /// When the newest was begun; nil: there is none.
    package var last: String?
    /// In seconds.
    package var age: Double?
    package var bytes: Int
    package var copies: Int
    /// Since the state process has started.
    package var made: Int
    package var failures: Int
    /// One is under way.
    package var copying: Bool
    /// Why the last one was not made; nil: it was.
    package var trouble: String?

    package init(
      last: String?, age: Double?, bytes: Int, copies: Int, made: Int, failures: Int, copying: Bool, trouble: String?
    ) {
      self.last = last
      self.age = age
      self.bytes = bytes
      self.copies = copies
      self.made = made
      self.failures = failures
      self.copying = copying
      self.trouble = trouble
    }

    /// `copied 12 min ago`, `no copy: there is no room on the disk`.
    package var text: String {
      let ago = age.map { "copied \(Status.length($0)) ago" }
      guard let trouble else { return ago ?? (copying ? "the first copy is made" : "not copied yet") }
      return "\(ago.map { "\($0), and not since" } ?? "no copy"): \(trouble)"
    }
  }

  package var schema = 1
  package var system: String
  package var version: String
  package var uptime: Double
  package var loops: Int
  package var listeners: [String]
  package var admin: String
  package var draining: Bool
  package var plane: Plane?
  package var elders: [Elder]?
  /// Nil where nothing needs it.
  package var state: State?
  package var file: FileState
  package var routes: [Route]
  package var services: [Service]
  package var calls: [Call]
  /// Of routes that have one; nil from a Weir that knows none.
  package var mirrors: [Mirror]?
  /// Nil where there is none, or while nobody can say.
  package var queues: [Queue]?
  /// The file's sagas; nil where there is none, or nobody can say.
  package var sagas: [Saga]?
  /// Topics and streams; nil as `queues`.
  package var logs: [Log]?
  /// Endpoints of webhooks; nil where the file has none.
  package var webhooks: [Webhook]?
  /// Nil where there is none.
  package var outboxes: [Outbox]?
  /// The last ones, oldest first.
  package var events: [Happening]

  /// `before` is an earlier ledger and how many seconds ago it was: rates are taken between the two.
  package init(
    _ snapshot: Snapshot, before: (ledger: Ledger, seconds: Double)?, names: Names, version: String,
    listeners: [String], admin: String, draining: Bool, events: [Happening]
  ) {
    let ledger = snapshot.ledger
    func rate(_ now: UInt64, _ path: (Ledger) -> UInt64) -> Double {
      guard let before, before.seconds > 0 else { return 0 }
      return Double(now - path(before.ledger)) / before.seconds
    }
    func milliseconds(_ tally: Tally, _ q: Double) -> Double? { tally.quantile(q).map { Double($0) / 1e6 } }
    system = names.system
    self.version = version
    uptime = snapshot.uptime
    loops = snapshot.loops
    self.listeners = listeners
    self.admin = admin
    self.draining = draining
    file = snapshot.file
    routes = ledger.routes.indices.compactMap { i in
      let route = ledger.routes[i]
      if i == names.routes.count && route.requests == 0 { return nil }
      var reasons: [String: UInt64] = [:]
      for reason in Reason.allCases where ledger.routeReason(i, reason) > 0 {
        reasons["\(reason.name)"] = ledger.routeReason(i, reason)
      }
      return Route(
        name: names.route(i), requests: route.requests, perSecond: rate(route.requests) { $0.routes[i].requests },
        failed: route.statuses[4], p50: milliseconds(ledger.routeLatencies[i], 0.5),
        p99: milliseconds(ledger.routeLatencies[i], 0.99), reasons: reasons)
    }
    services = snapshot.instances.enumerated().compactMap { s, instances in
      instances.isEmpty
        ? nil
        : Service(
          name: names.services[s],
          instances: zip(instances, ledger.instances(of: s)).enumerated().compactMap { i, pair in
            let (instance, counted) = pair
            return instance.state == .vacant
              ? nil
              : Instance(
                name: names.instance(i, of: s), state: instance.state, pid: instance.pid == 0 ? nil : instance.pid,
                address: instance.address, restarts: instance.restarts, cpu: instance.cpu, memory: instance.memory,
                requests: counted.attempts, failures: counted.failures, inFlight: instance.inFlight)
          }, zones: Status.zones(ledger, s, names.zones[s]))
    }
    calls = snapshot.edges.enumerated().compactMap { i, edge in
      guard names.edges[i].isCarried else { return nil }
      let counted = ledger.edges[i]
      let name = names.edges[i]
      var reasons: [String: UInt64] = [:]
      for reason in Reason.allCases where ledger.edgeReason(i, reason) > 0 {
        reasons["\(reason.name)"] = ledger.edgeReason(i, reason)
      }
      return Call(
        caller: name.caller, callee: name.callee, calls: counted.calls,
        perSecond: rate(counted.calls) { $0.edges[i].calls }, attempts: counted.attempts, failed: counted.failed,
        refused: counted.refused, fallbacks: counted.fallbacks, p50: milliseconds(ledger.edgeLatencies[i], 0.5),
        p99: milliseconds(ledger.edgeLatencies[i], 0.99), waiting: edge.waiting, breaker: edge.breaker,
        breakers: edge.breakers.enumerated().compactMap { k, state in
          snapshot.isVacant(service: name.service, instance: k)
            ? nil : Breaker(instance: names.instance(k, of: name.service), state: state, ejected: edge.ejected[k])
        }, reasons: reasons)
    }
    let compared = snapshot.mirrors.enumerated().compactMap { i, report in
      report.map { Mirror(route: names.route(i), $0) }
    }
    mirrors = compared.isEmpty ? nil : compared
    self.events = events
  }

  private static func zones(_ ledger: Ledger, _ service: Int, _ zones: Names.Zones) -> [Zone]? {
    if zones.names.isEmpty { return nil }
    let counted = ZoneRequests(ledger, service: service, zones)
    return zip(zones.names, counted.byZone).enumerated().map { index, zone in
      Zone(name: zone.0, requests: zone.1, own: index == zones.own)
    }
  }
}
