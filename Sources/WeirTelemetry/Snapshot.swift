// SPDX-License-Identifier: Apache-2.0
package import WeirFlows
package import WeirPatterns

/// The whole node at one moment, in numbers: what metrics and status are made of.
package struct Snapshot: Sendable {
  /// What is known of one instance of a service.
  package struct Instance: Sendable, Equatable {
    package enum State: String, Sendable, Codable, CaseIterable {
      /// Its program runs and has not been ready yet.
      case starting
      /// It takes requests.
      case ready
      /// It was ready and fails its check.
      case unready
      /// It was taken out of use by hand.
      case drained
      /// No program runs.
      case down
      /// There is none at present: a name says where they are, and has fewer.
      case vacant
    }

    package var state: State
    /// 0 where Weir did not start it.
    package var pid: Int32
    package var address: String
    package var restarts: Int
    /// Share of one core over the last tick; nil where it is not ours.
    package var cpu: Double?
    /// Resident memory in bytes; nil where it is not ours.
    package var memory: Int?
    /// Attempts that are under way there, over all callers and loops.
    package var inFlight = 0

    package init(
      state: State, pid: Int32 = 0, address: String, restarts: Int = 0, cpu: Double? = nil, memory: Int? = nil
    ) {
      self.state = state
      self.pid = pid
      self.address = address
      self.restarts = restarts
      self.cpu = cpu
      self.memory = memory
    }
  }

  /// A breaker's phase, in words.
  package enum BreakerState: String, Sendable, Codable, CaseIterable { case closed, open, probing }

  package struct Edge: Sendable, Equatable {
    package var breaker: BreakerState
    /// By instance.
    package var breakers: [BreakerState]
    /// By instance: left out of rotation for its answers.
    package var ejected: [Bool]
    /// Calls that wait for a place.
    package var waiting: Int
    /// How many may be at the callee at the same time, over all loops; nil where nothing decides it.
    package var gateLimit: Int?

    package init(breaker: BreakerState, breakers: [BreakerState], ejected: [Bool], waiting: Int, gateLimit: Int? = nil)
    {
      self.gateLimit = gateLimit
      self.breaker = breaker
      self.breakers = breakers
      self.ejected = ejected
      self.waiting = waiting
    }
  }

  /// A metric of one part of the node (TLS, reloads …): what needs no arithmetic of its own here.
  package struct Family: Sendable, Equatable {
    package enum Kind: String, Sendable { case counter, gauge }
    package struct Sample: Sendable, Equatable {
      package var labels: [(name: String, value: String)]
      package var value: Double

      package static func == (one: Sample, other: Sample) -> Bool {
        one.value == other.value && one.labels.elementsEqual(other.labels, by: ==)
      }
    }
    package var name: String
    package var kind: Kind
    package var help: String
    package var samples: [Sample] = []

    package init(_ name: String, _ kind: Kind, _ help: String) {
      self.name = name
      self.kind = kind
      self.help = help
    }

    package mutating func add(_ labels: [(name: String, value: String)] = [], _ value: Double) {
      samples.append(Sample(labels: labels, value: value))
    }
  }

  /// Metrics of single parts; only those that are in use.
  package var families: [Family] = []
  /// Since the node started, in seconds.
  package var uptime: Double
  package var loops: Int
  /// All loops' ledgers, merged.
  package var ledger: Ledger
  package var edges: [Edge]
  /// By service, then instance.
  package var instances: [[Instance]]
  /// How often each kind of event happened, by `Event.Kind`.
  package var events: [UInt64]
  package var eventsLost: UInt64
  package var recordsLost: UInt64
  package var clientConnections: Int
  package var file = FileState()
  /// By route: how its mirror's answers differ; nil for none.
  package var mirrors: [MirrorReport?] = []
  /// By route: since when it is deprecated and until when, as its answers say it; nil for one that stays.
  package var deprecated: [Bool] = []

  package init(
    uptime: Double, loops: Int, ledger: Ledger, edges: [Edge], instances: [[Instance]], events: [UInt64],
    eventsLost: UInt64 = 0, recordsLost: UInt64 = 0, clientConnections: Int = 0
  ) {
    self.uptime = uptime
    self.loops = loops
    self.ledger = ledger
    self.edges = edges
    self.instances = instances
    self.events = events
    self.eventsLost = eventsLost
    self.recordsLost = recordsLost
    self.clientConnections = clientConnections
  }

  /// There is no instance in this place.
  func isVacant(service: Int, instance: Int) -> Bool {
    service < instances.count && instance < instances[service].count && instances[service][instance].state == .vacant
  }
}
