// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// What the flows need of a design: dense ids and resolved settings, no names.
///
/// `WeirModel.Plan` compiles it.
///
/// Ids are indexes into these arrays. An **edge** is a caller and a callee; a gateway route and every other route of the
/// same gateway to the same service share one edge, so that what one learns of an instance serves all.
public struct FlowPlan: Sendable, Equatable {
  public var services: [Service]
  public var edges: [Edge]
  public var routes: [Route]
  public var limits: [Limit]
  /// What routes ask of their callers: one for all routes that ask the same.
  public var accesses: [Access] = []
  /// Plans of tenants, in the order of the file.
  public var tenantPlans: [TenantPlan] = []
  /// Requests of the gateway in work at the same time on this node, and as many calls between services; what comes beyond
  /// is refused as `overloaded`, however many callees with room there are.
  ///
  /// It bounds the memory of the whole process: a request holds up to 64 KiB of body to be sent again and two buffers, so
  /// 16 384 of them stay within 2 GiB; and its two descriptors each within 32 768.
  public var requestsAtOnce: Int

  public init(
    services: [Service] = [], edges: [Edge] = [], routes: [Route] = [], limits: [Limit] = [],
    requestsAtOnce: Int = 16_384
  ) {
    self.services = services
    self.edges = edges
    self.routes = routes
    self.limits = limits
    self.requestsAtOnce = requestsAtOnce
  }

  /// Whether the calls of an edge pass a gate: the callee's limit is found out, routes have priorities, or the order is
  /// another one than that of their coming.
  public func isGated(_ edge: Int) -> Bool {
    let service = services[edges[edge].service]
    if service.adaptive != nil { return true }
    if service.atOnce == .max { return false }
    return edges[edge].call.order != nil
      || routes.contains { route in
        route.priority != .normal && (route.edge == edge || route.split?.edges.contains(edge) == true)
      }
  }

  /// One loop's part of what the node may have in work: the parts add up to the whole, but each loop may have one.
  func requestsAtOnce(of loop: Int, outOf loops: Int) -> Int {
    max(1, requestsAtOnce / loops + (loop < requestsAtOnce % loops ? 1 : 0))
  }

  /// A component that is called: a service, a store.
  public struct Service: Sendable, Equatable {
    /// How many instances there are, at least 1.
    public var instances: Int
    /// Requests that Weir sends to one instance at the same time; the rest waits.
    ///
    /// `Int32.max` for no limit.
    public var atOnce: Int32
    /// Instances start out ready: nothing probes them (`at:` without a health check, or a model).
    public var startsReady: Bool
    /// Instances have a health check, which a resting instance passes before its probe.
    public var hasHealthCheck: Bool
    public var ejection: OutlierEjection.Settings
    /// What one instance works on at the same time is found out; `atOnce` is no limit then.
    public var adaptive: AdaptiveLimit.Settings?
    /// What tells its instances apart.
    public var members = Members()

    public init(
      instances: Int, atOnce: Int32 = .max, startsReady: Bool = true, hasHealthCheck: Bool = false,
      ejection: OutlierEjection.Settings = .init()
    ) {
      self.instances = instances
      self.atOnce = atOnce
      self.startsReady = startsReady
      self.hasHealthCheck = hasHealthCheck
      self.ejection = ejection
    }
  }

  /// One caller and one callee, and how the calls between them are made.
  public struct Edge: Sendable, Equatable {
    /// Index of the callee in `services`.
    public var service: Int
    public var call: CallSettings
    /// Which of the callee's instances may be asked; nil: all.
    public var subset: Subset?

    public init(service: Int, call: CallSettings = .init(), subset: Subset? = nil) {
      self.service = service
      self.call = call
      self.subset = subset
    }
  }

  /// A gateway's route.
  public struct Route: Sendable, Equatable {
    /// Index into `edges`; nil for a route that answers by itself.
    public var edge: Int?
    /// Several edges that share the requests; `edge` is the first of them.
    public var split: Split?
    /// Where a share of the requests goes, too.
    public var mirror: Mirror?
    /// The calls whose answers make that of a route that has no edge; all are made at the same time.
    public var parts: [Part] = []
    /// What is answered when the call fails.
    public var fallback = Fallback.none
    /// Indexes into `limits`, asked in this order; a later one that refuses gives nothing back of an earlier one.
    public var limits: [Int]
    /// What a route answers with that has no edge.
    public var status: UInt16 = 200
    /// Total time of a request, which replaces the edge's when it is given.
    public var timeout: Duration?
    /// Index into `accesses`, or nil: everybody may.
    public var access: Int?
    /// How WebSockets of this route are watched; nil when it has none.
    ///
    /// Its call is the handshake: with the 101 the call is over and its place free.
    public var webSocket: TunnelWatch.Settings?
    /// How much its requests matter when there are too many.
    public var priority = PriorityAdmission.Class.normal
    /// Requests with a key are done once; nil: keys are the callee's business alone.
    public var idempotency: IdempotencyRecord.Settings?

    public init(
      edge: Int?, limit: Int? = nil, timeout: Duration? = nil, access: Int? = nil,
      webSocket: TunnelWatch.Settings? = nil
    ) {
      limits = limit.map { [$0] } ?? []
      self.access = access
      self.edge = edge
      self.timeout = timeout
      self.webSocket = webSocket
    }
  }

  /// Who may come through a route: compiled conditions, no names.
  public struct Access: Sendable, Equatable {
    /// Identities of which one must know the caller, bit by index; 0 asks nobody, and only addresses count.
    public var identities: UInt64
    /// Of each of these masks one grant must be there; which bit is which condition, the driver knows.
    public var needs: [UInt64]

    public init(identities: UInt64, needs: [UInt64] = []) {
      self.identities = identities
      self.needs = needs
    }
  }

  /// What tenants of one plan may have.
  public struct TenantPlan: Sendable, Equatable {
    /// Index into `limits`, or nil.
    public var limit: Int?

    public init(limit: Int? = nil) { self.limit = limit }
  }

  /// Where a share of a route's requests goes, too; nobody waits for its answers.
  public struct Mirror: Sendable, Equatable {
    /// An edge of its own: one attempt, no queue, no breaker, few at once.
    public var edge: Int
    public var share: MirrorShare

    public init(edge: Int, share: MirrorShare) {
      self.edge = edge
      self.share = share
    }
  }

  /// How the requests of a route are shared out over several edges.
  public struct Split: Sendable, Equatable {
    /// What keeps a client where it is.
    public enum By: UInt8, Sendable {
      /// Nothing: each request is drawn anew.
      case request
      /// Its address or identity, as limits count it.
      case client
      /// A key that it was given, in ``RequestFacts/draw``.
      case key
    }
    public var edges: [Int]
    public var choice: WeightedSplit
    public var by: By

    /// `salt` is of the route: see ``WeightedSplit``.
    public init(edges: [Int], weights: [Int], salt: UInt64, by: By = .request) {
      precondition(edges.count == weights.count, "a split has a weight for each edge")
      self.edges = edges
      choice = WeightedSplit(weights: weights, salt: salt)
      self.by = by
    }

    /// The edge of a request.
    @inline(__always)
    func edge(_ facts: RequestFacts) -> Int { edges[choice.choose(key: by == .client ? facts.client : facts.draw)] }
  }

  /// What a route answers when its call fails.
  public enum Fallback: Sendable, Equatable {
    case none
    /// Something that is at hand: a text, nothing at all, the last good answer.
    case own
    /// What is answered along another edge.
    case edge(Int)
  }

  /// One call of a composed answer.
  public struct Part: Sendable, Equatable {
    /// Index into `edges`.
    public var edge: Int
    /// Which of the callee's operations it is, for who models them; nil: none that is named.
    public var operation: Int?
    /// The answer is whole without it.
    public var isOptional: Bool

    public init(edge: Int, operation: Int? = nil, isOptional: Bool = false) {
      self.edge = edge
      self.operation = operation
      self.isOptional = isOptional
    }
  }

  /// A rate limit and what it counts by.
  public struct Limit: Sendable, Equatable {
    public enum By: UInt8, Sendable {
      /// The address, or who an identity says it is.
      case client
      /// All requests together.
      case route
      /// The tenant an identity says it is of; the client where there is none.
      case tenant
      /// Something of the request that the driver knows: a header field, a cookie.
      case field
    }
    public enum Kind: UInt8, Sendable {
      /// A bucket of `burst` that fills at `rate` (``GCRA``).
      case bucket
      /// `burst` in any window that is as long as so many take at `rate` (``SlidingWindow``).
      case window
    }
    public var kind = Kind.bucket
    public var rate: Rate
    public var burst: Int
    public var by: By
    /// Cells of its table: clients that are told apart at the same time.
    public var cells: Int

    public init(rate: Rate, burst: Int, by: By = .client, cells: Int = 65_536) {
      self.rate = rate
      self.burst = burst
      self.by = by
      self.cells = cells
    }

    /// How long `burst` requests take at `rate`.
    public var window: Duration {
      .nanoseconds(Int64(max(1, min((Double(max(1, burst)) * 1e9 / rate.perSecond).rounded(), 1e18))))
    }
  }
}

/// How calls along one edge are made.
///
/// The defaults here are the ones a file gets: `weir explain` shows them.
public struct CallSettings: Sendable, Equatable {
  /// From the first decision to the answer's first byte, waits included.
  ///
  /// An answer that has begun may last: a download is cut by its reader's idleness, not by this.
  public var timeout: Duration = .seconds(5)
  /// One attempt, from connecting to the end of the answer's head; nil is half the timeout.
  public var attempt: Duration?
  /// Connecting, within the attempt.
  public var connect: Duration = .seconds(1)
  public var retry: RetryRule.Settings = .init()
  /// Bytes of a request's body that are kept so that it can be sent again; a longer one is sent once.
  ///
  /// 64 KiB is more than any form or document of an API has that is not an upload, and with 16 384 requests in work it is
  /// 1 GiB at most.
  public var retryBuffer = 64 << 10
  public var backoff: Backoff.Settings = .init()
  public var budget: RetryBudget.Settings = .init()
  /// When a second attempt is sent beside a slow first one; nil for never.
  public var hedge: HedgeTrigger.Settings?
  /// Calls are kept back that the callee would refuse anyway; nil for never.
  public var throttle: ClientThrottle.Settings?
  /// Who is first of those that wait, where the callee has a gate; nil: who came first, without classes.
  public var order: PriorityAdmission.Order?
  /// The breaker of each instance: settles on attempts.
  public var instanceBreaker: CircuitBreaker.Settings = .init()
  /// The breaker of the whole callee: settles on final outcomes, and only when no instance is left to try.
  public var serviceBreaker: CircuitBreaker.Settings = .init()
  /// False for callees without a breaker: stores that programs call by themselves.
  public var breaks = true
  public var balance: Balancer.Settings = .init()
  /// Who waits for a place on an instance.
  public var queue: WaitingRoom.Settings = .init()
  /// Calls along this edge at the same time; `Int32.max` for no limit.
  public var atOnce: Int32 = .max
  /// The caller lives without it: when the call fails, its fallback is the answer.
  public var optional = false
  /// Something is written to answer with when the call fails; an optional call without it is left out.
  public var hasFallback = false
  /// The callee stops working when its caller has given up.
  public var cancels = false

  public init() {}

  /// One attempt's longest time.
  public var attemptResolved: Duration { attempt ?? timeout / 2 }
  /// The instances' breaker, where an answer is slow after half the timeout unless the file says otherwise.
  public var instanceBreakerResolved: CircuitBreaker.Settings {
    var settings = instanceBreaker
    settings.slow = settings.slow ?? timeout / 2
    return settings
  }
}
