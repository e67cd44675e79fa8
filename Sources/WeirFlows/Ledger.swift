// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// One request or call as it ended, for the access log and traces; 64 bytes at most.
public struct RequestRecord: Sendable, Equatable, BitwiseCopyable {
  public var startedAt: Instant
  /// Nanoseconds from the first decision to the end.
  public var duration: Int64
  /// The driver's own number for what it knows besides (path, trace id, address).
  public var tag: UInt64
  public var route: UInt32
  public var edge: UInt32
  /// The status the caller saw.
  public var status: UInt16
  /// The instance that was tried last.
  public var instance: UInt16
  public var reason: Reason
  public var phase: Phase
  public var attempts: UInt8
  public var fallback: Bool

  public init(
    startedAt: Instant, duration: Int64, tag: UInt64, route: UInt32, edge: UInt32, status: UInt16, instance: UInt16,
    reason: Reason, phase: Phase, attempts: UInt8, fallback: Bool
  ) {
    self.startedAt = startedAt
    self.duration = duration
    self.tag = tag
    self.route = route
    self.edge = edge
    self.status = status
    self.instance = instance
    self.reason = reason
    self.phase = phase
    self.attempts = attempts
    self.fallback = fallback
  }
}

/// What happened on one loop, in numbers: no strings, bounded.
///
/// Swapped out once a tick; names are added off the loop.
///
/// ## Invariants
/// 1. Every call that began is counted once more when it ends: `calls = answered + failed + refused + fallbacks +
///    open`, where the open ones are the slab's; one that lasts (``LoopFlows/lasts(_:now:)``) is counted when it begins to.
public struct Ledger: Sendable, Equatable {
  /// Counters of one edge since the beginning.
  public struct Edge: Sendable, Equatable, BitwiseCopyable {
    /// Calls that began.
    public var calls: UInt64 = 0
    /// Attempts that were made, the first included.
    public var attempts: UInt64 = 0
    /// Calls whose answer reached the caller and was no failure.
    public var answered: UInt64 = 0
    /// Calls whose answer reached the caller and was a failure (5xx, 429) or was cut.
    public var failed: UInt64 = 0
    /// Calls that ended with an answer of ours.
    public var refused: UInt64 = 0
    /// Calls that ended with their fallback.
    public var fallbacks: UInt64 = 0
    /// Attempts that were sent beside a slow one, and how many of them answered first.
    public var hedges: UInt64 = 0
    public var hedgesWon: UInt64 = 0

    /// Calls that are over.
    public var ended: UInt64 { answered + failed + refused + fallbacks }
  }

  /// Counters of one route since the beginning.
  public struct Route: Sendable, Equatable, BitwiseCopyable {
    public var requests: UInt64 = 0
    /// By class of status: index 0 is 1xx, 4 is 5xx.
    public var statuses = FixedArray<5, UInt64>(repeating: 0)
  }

  /// Counters of one instance since the beginning, along all edges of its service.
  public struct Instance: Sendable, Equatable, BitwiseCopyable {
    /// Attempts that it was sent.
    public var attempts: UInt64 = 0
    /// Those of them that failed by its own fault: what its breaker hears as failures.
    public var failures: UInt64 = 0
  }

  public private(set) var edges: [Edge]
  public private(set) var routes: [Route]
  /// Of all services, one after the other.
  private var instances: [Instance]
  /// By service, and one more: where its instances begin.
  private let firstOfService: [Int]
  /// By edge: where its callee's instances begin.
  private let firstOfEdge: [Int]
  /// By edge, then reason: how often a call ended for it.
  public private(set) var edgeReasons: [UInt64]
  /// By route (the last place is requests without a route), then reason.
  public private(set) var routeReasons: [UInt64]
  /// By edge: how long calls took that were answered.
  public private(set) var edgeLatencies: [Tally]
  /// By route: how long requests took that were answered, fallbacks and refusals included.
  public private(set) var routeLatencies: [Tally]
  public var events: EventLog
  public private(set) var records: [RequestRecord] = []
  public private(set) var recordsLost: UInt64 = 0
  /// How many records are kept between two swaps; 0 keeps none.
  public let recordsLimit: Int

  public init(plan: FlowPlan, recordsLimit: Int = 0) {
    edges = Array(repeating: Edge(), count: plan.edges.count)
    routes = Array(repeating: Route(), count: plan.routes.count + 1)
    edgeReasons = Array(repeating: 0, count: plan.edges.count * Reason.count)
    routeReasons = Array(repeating: 0, count: (plan.routes.count + 1) * Reason.count)
    edgeLatencies = Array(repeating: Tally(), count: plan.edges.count)
    routeLatencies = Array(repeating: Tally(), count: plan.routes.count + 1)
    let first = plan.services.reduce(into: [0]) { $0.append(($0.last ?? 0) + $1.instances) }
    instances = Array(repeating: Instance(), count: first.last ?? 0)
    firstOfService = first
    firstOfEdge = plan.edges.map { first[$0.service] }
    events = EventLog()
    self.recordsLimit = recordsLimit
    records.reserveCapacity(recordsLimit)
  }

  public func edgeReason(_ edge: Int, _ reason: Reason) -> UInt64 {
    edgeReasons[edge * Reason.count + Int(reason.rawValue)]
  }

  public func routeReason(_ route: Int, _ reason: Reason) -> UInt64 {
    routeReasons[route * Reason.count + Int(reason.rawValue)]
  }

  /// What was counted of the instances of a service.
  public func instances(of service: Int) -> ArraySlice<Instance> {
    instances[firstOfService[service]..<firstOfService[service + 1]]
  }

  @inline(__always)
  mutating func began(edge: Int) { edges[edge].calls &+= 1 }
  @inline(__always)
  mutating func attempted(edge: Int, _ instance: UInt16) {
    edges[edge].attempts &+= 1
    instances[firstOfEdge[edge] + Int(instance)].attempts &+= 1
  }
  /// The attempt was not made after all: its instance's places were taken.
  mutating func unattempted(edge: Int, _ instance: UInt16) {
    edges[edge].attempts &-= 1
    instances[firstOfEdge[edge] + Int(instance)].attempts &-= 1
  }
  /// The attempt has failed, and the instance is to blame.
  mutating func attemptFailed(edge: Int, _ instance: UInt16) {
    instances[firstOfEdge[edge] + Int(instance)].failures &+= 1
  }

  mutating func hedged(edge: Int, _ instance: UInt16) {
    attempted(edge: edge, instance)
    edges[edge].hedges &+= 1
  }
  mutating func unhedged(edge: Int, _ instance: UInt16) {
    unattempted(edge: edge, instance)
    edges[edge].hedges &-= 1
  }
  mutating func hedgeWon(edge: Int) { edges[edge].hedgesWon &+= 1 }

  @inline(__always)
  mutating func answered(edge: Int, failed: Bool, reason: Reason, duration: Int64) {
    if failed { edges[edge].failed &+= 1 } else { edges[edge].answered &+= 1 }
    count(edge: edge, reason)
    edgeLatencies[edge].record(duration)
  }

  mutating func refused(edge: Int, reason: Reason) {
    edges[edge].refused &+= 1
    count(edge: edge, reason)
  }

  mutating func fellBack(edge: Int, reason: Reason) {
    edges[edge].fallbacks &+= 1
    count(edge: edge, reason)
  }

  @inline(__always)
  private mutating func count(edge: Int, _ reason: Reason) {
    if reason != .none { edgeReasons[edge * Reason.count + Int(reason.rawValue)] &+= 1 }
  }

  /// A request of a gateway is over.
  ///
  /// `route` is the plan's index, or ``RequestFacts/none``.
  @inline(__always)
  mutating func ended(_ record: RequestRecord) {
    let route = record.route == RequestFacts.none ? routes.count - 1 : Int(record.route)
    routes[route].requests &+= 1
    let group = Int(record.status) / 100 - 1
    if (0..<5).contains(group) { routes[route].statuses[group] &+= 1 }
    if record.reason != .none {
      routeReasons[route * Reason.count + Int(record.reason.rawValue)] &+= 1
    }
    // A tunnel lasts as long as its peers like: that is no latency. One of TCP has no status.
    if record.status != 101 && record.status != 0 { routeLatencies[route].record(record.duration) }
    keep(record)
  }

  @inline(__always)
  mutating func keep(_ record: RequestRecord) {
    guard recordsLimit > 0 else { return }
    if records.count < recordsLimit { records.append(record) } else { recordsLost &+= 1 }
  }

  /// Hands out the records that have come and begins anew.
  public mutating func takeRecords() -> (records: [RequestRecord], lost: UInt64) {
    defer {
      records.removeAll(keepingCapacity: true)
      recordsLost = 0
    }
    return (records, recordsLost)
  }

  /// Adds another loop's numbers; events and records stay with their loop.
  public mutating func merge(_ other: Ledger) {
    for i in edges.indices { add(other, edge: i, to: i) }
    for i in routes.indices { add(other, route: i, to: i) }
    for i in instances.indices { add(other.instances[i], to: i) }
  }

  private mutating func add(_ other: Instance, to i: Int) {
    instances[i].attempts &+= other.attempts
    instances[i].failures &+= other.failures
  }

  /// Adds what another plan's instance has counted.
  mutating func add(_ other: Ledger, service: Int, instance: Int, to: (service: Int, instance: Int)) {
    add(
      other.instances[other.firstOfService[service] + instance], to: firstOfService[to.service] + to.instance)
  }

  mutating func add(_ other: Ledger, edge: Int, to i: Int) {
    edges[i].calls &+= other.edges[edge].calls
    edges[i].attempts &+= other.edges[edge].attempts
    edges[i].answered &+= other.edges[edge].answered
    edges[i].failed &+= other.edges[edge].failed
    edges[i].refused &+= other.edges[edge].refused
    edges[i].fallbacks &+= other.edges[edge].fallbacks
    edges[i].hedges &+= other.edges[edge].hedges
    edges[i].hedgesWon &+= other.edges[edge].hedgesWon
    // One that has counted nothing keeps the memory that all empty ones share.
    if other.edgeLatencies[edge].count > 0 { edgeLatencies[i].merge(other.edgeLatencies[edge]) }
    for reason in 0..<Reason.count {
      edgeReasons[i * Reason.count + reason] &+= other.edgeReasons[edge * Reason.count + reason]
    }
  }

  mutating func add(_ other: Ledger, route: Int, to i: Int) {
    routes[i].requests &+= other.routes[route].requests
    for group in 0..<5 { routes[i].statuses[group] &+= other.routes[route].statuses[group] }
    if other.routeLatencies[route].count > 0 { routeLatencies[i].merge(other.routeLatencies[route]) }
    for reason in 0..<Reason.count {
      routeReasons[i * Reason.count + reason] &+= other.routeReasons[route * Reason.count + reason]
    }
  }

  /// All counters at nothing; events and records stay.
  mutating func countAnew() {
    edges = Array(repeating: Edge(), count: edges.count)
    routes = Array(repeating: Route(), count: routes.count)
    instances = Array(repeating: Instance(), count: instances.count)
    edgeReasons = Array(repeating: 0, count: edgeReasons.count)
    routeReasons = Array(repeating: 0, count: routeReasons.count)
    edgeLatencies = Array(repeating: Tally(), count: edgeLatencies.count)
    routeLatencies = Array(repeating: Tally(), count: routeLatencies.count)
  }
}
