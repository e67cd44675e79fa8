// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// What a request's driver is to do before the call.
public enum RequestStep: Sendable, Equatable, BitwiseCopyable {
  /// Ask the identity `identity` of the plan who the caller is, then feed `answered`.
  case askIdentity(Int)
  /// Ask the rate limit `limit` with `key`, then feed `answered`.
  case askLimit(Int, key: UInt64)
  /// Ask the record of the request's key, until then at the latest, then feed `answered`.
  case askRecord(until: Instant)
  /// Give the answer that the record has.
  case replay
  /// Begin the call along this edge.
  case call(edge: Int)
  /// Answer what the route itself says, without asking anybody.
  case answer
  /// Answer in our own name.
  case refuse(Reason, until: Instant)
}

/// What a rate limit said.
public enum LimitAnswer: Sendable, Equatable, BitwiseCopyable {
  case allowed
  /// Not before `until`.
  case refused(until: Instant)
}

/// What the record of a request's key said.
public enum RecordAnswer: Sendable, Equatable, BitwiseCopyable {
  /// It was not made before: this one is to be done.
  case execute
  case replay
  case notKept
  /// Another with this key is still being done, and is not over in time.
  case busy(until: Instant)
  case mismatch
  /// There is no room to store it.
  case full
  /// Nobody says.
  case unavailable
}

/// What an identity said of a request's caller.
public enum IdentityAnswer: Sendable, Equatable, BitwiseCopyable {
  /// The request carries nothing that this identity looks at.
  case missing
  case known(PrincipalFacts)
  /// What it carries does not hold: a reason of the client's side.
  case refused(Reason)
  /// It cannot be said now: keys that were never loaded, a service that does not answer.
  case unavailable
}

/// What the flows know of a caller that an identity knows: numbers only, made by the driver.
public struct PrincipalFacts: Sendable, Equatable, BitwiseCopyable {
  /// A keyed hash of identity and subject: what `by: client` counts instead of the address.
  public var client: UInt64
  /// A keyed hash of its tenant; 0 when it has none.
  public var tenant: UInt64
  /// Index of the tenant's plan in ``FlowPlan/tenantPlans``, or -1.
  public var plan: Int32
  /// Which conditions of the route's access it meets, bit by condition.
  public var grants: UInt64

  public init(client: UInt64, tenant: UInt64 = 0, plan: Int32 = -1, grants: UInt64 = 0) {
    self.client = client
    self.tenant = tenant
    self.plan = plan
    self.grants = grants
  }
}

/// What a request reads of its loop and node when it begins.
public struct NodeReadings: Sendable, Equatable, BitwiseCopyable {
  /// When this node cuts what is still under way; `distantFuture` while it is not stopping.
  public var drainEnds = Instant.distantFuture
  /// Requests in work on this loop, and how many there may be.
  public var requests = 0
  public var requestsMax = Int.max

  public init() {}
}

/// How a request ended, as its driver saw it.
public struct RequestEnding: Sendable, Equatable, BitwiseCopyable {
  /// The status the caller saw; 499 when it went away before one was sent.
  public var status: UInt16
  public var reason: Reason
  public var phase: Phase
  public var instance: UInt16
  public var attempts: UInt8
  public var fallback: Bool
  /// The edge that it was led along where that is not the route's: of a connection of TCP, and of a fallback to another
  /// service.
  public var edge = RequestFacts.none

  public init(
    status: UInt16, reason: Reason = .none, phase: Phase = .done, instance: UInt16 = CallStep.nobody,
    attempts: UInt8 = 0, fallback: Bool = false
  ) {
    self.status = status
    self.reason = reason
    self.phase = phase
    self.instance = instance
    self.attempts = attempts
    self.fallback = fallback
  }
}

/// A request of a gateway, around its call: who may, and how often, before it, the record after it.
///
/// The order of the steps before a call (the cache as it comes) is written here and nowhere else. What needs a look outside
/// is asked for and comes back as an input.
///
///     begin ─▶ draining? overloaded? ─▶ address? ─▶ identity? ─▶ authorization ─▶ tenant's limit? ─▶ limit? ─▶ key? ─▶ call ─▶ …
///                └─ 503                   └─ 403      └─ 401, 503    └─ 403           └─ 429             └─ 429    └─ 400, 409, 422, replay
///
/// Several identities of a route are asked one after another, until one knows the caller. What counts by client counts by
/// the identity's subject once there is one, so that neither a shared address nor many addresses change what is counted.
///
/// ## Invariants
/// 1. A route with an access is called only after one of its identities has said `known` (if it names any) and every need
///    was met: each other answer leads to another question or to a refusal.
/// 2. Every question is another one: identities leave `left` when they are asked, so there are at most 64.
public struct GatewayRequest: Sendable, Equatable, BitwiseCopyable {
  public let startedAt: Instant
  private let route: UInt32
  private let edge: Int32
  /// Of the loop's list of limits: the next that is asked, and the end of this route's.
  private var nextLimit: Int32
  private let limitsEnd: Int32
  /// Index of the route's access, or -1.
  let access: Int32
  /// The tenant's limit is being asked; the route's own comes after it.
  private var asksTenant = false
  private let isOutside: Bool
  private let key: RequestFacts.Key
  private let requiresKey: Bool
  /// What is known of it if no identity knows the caller: the worst answer of those that were asked.
  private var worst = Reason.identityMissing
  /// Identities that may still be asked.
  private var left: UInt64
  private var client: UInt64
  /// A keyed hash of the caller's tenant; 0 without one.
  private var tenant: UInt64 = 0
  /// When it is over at the latest, if it is taken.
  private let ends: Instant

  init(facts: RequestFacts, route: LoopFlows.RouteConstants, now: Instant) {
    startedAt = now
    self.route = facts.route
    edge = route.edge
    nextLimit = route.firstLimit
    limitsEnd = route.limitsEnd
    access = route.access
    left = route.identities
    isOutside = facts.isOutside
    key = facts.key
    requiresKey = route.requiresKey
    client = facts.client
    ends = min(facts.deadline, now.advanced(by: route.timeout + route.after))
  }

  /// A request that has no route.
  init(startedAt: Instant) {
    self.startedAt = startedAt
    route = RequestFacts.none
    edge = -1
    nextLimit = 0
    limitsEnd = 0
    access = -1
    left = 0
    isOutside = false
    key = .notAsked
    requiresKey = false
    client = 0
    ends = startedAt
  }

  /// Whether it is taken, and what is asked first.
  ///
  /// A node that stops still takes what is sure to be over in time: nobody notices its end who need not. What might be cut
  /// in the middle is refused while nothing has been sent and any method can be tried elsewhere. Both refusals cost less
  /// than the rate limit and come before it; so does an address from which the route is not reached.
  @inline(__always)
  mutating func begin(_ node: NodeReadings, _ asked: LimitsAsked) -> RequestStep {
    if ends > node.drainEnds { return .refuse(.draining, until: .zero) }
    if node.requests >= node.requestsMax {
      return .refuse(.overloaded, until: startedAt.advanced(by: GatewayRequest.overloadedFor))
    }
    if access < 0 { return limits(asked) }
    if isOutside { return .refuse(.notAllowed, until: .zero) }
    return left == 0 ? limits(asked) : askNext()
  }

  private mutating func askNext() -> RequestStep {
    if left == 0 { return .refuse(worst, until: .zero) }
    let next = left.trailingZeroBitCount
    left &= left &- 1
    return .askIdentity(next)
  }

  /// An identity's answer; `needs` are the masks of the route's access, of each of which one grant must be there.
  mutating func answered(
    identity answer: IdentityAnswer, needs: ArraySlice<UInt64>, plans: [Int32], _ asked: LimitsAsked
  ) -> RequestStep {
    switch answer {
    case .known(let facts):
      for need in needs where facts.grants & need == 0 { return .refuse(.notAllowed, until: .zero) }
      left = 0
      client = facts.client
      tenant = facts.tenant
      if facts.plan >= 0 && Int(facts.plan) < plans.count && plans[Int(facts.plan)] >= 0 {
        asksTenant = true
        return .askLimit(Int(plans[Int(facts.plan)]), key: facts.tenant)
      }
      return limits(asked)
    case .missing: break
    // Nobody can be told from what cannot be asked: this says more than a credential that another identity refused.
    case .unavailable: worst = .identityUnavailable
    case .refused(let reason): if worst != .identityUnavailable { worst = reason }
    }
    return askNext()
  }

  /// The next limit of the route, with the key that it counts by as far as the flow knows it; after the last one the call.
  @inline(__always)
  private mutating func limits(_ asked: LimitsAsked) -> RequestStep {
    guard nextLimit < limitsEnd else { return last }
    let limit = Int(asked.limits[Int(nextLimit)])
    nextLimit += 1
    switch asked.by[limit] {
    case .client: return .askLimit(limit, key: client)
    case .tenant: return .askLimit(limit, key: tenant == 0 ? client : tenant)
    case .route: return .askLimit(limit, key: 0)
    // The driver has a better one if the request carries it.
    case .field: return .askLimit(limit, key: client)
    }
  }

  /// What comes when its limits let it through.
  @inline(__always)
  private var last: RequestStep {
    if key != .notAsked { return keyed }
    return edge < 0 ? .answer : .call(edge: Int(edge))
  }

  private var keyed: RequestStep {
    if edge < 0 { return .answer }
    switch key {
    case .present: return .askRecord(until: ends)
    case .malformed: return .refuse(.keyMalformed, until: .zero)
    case .missing where requiresKey: return .refuse(.keyMissing, until: .zero)
    case .missing, .notAsked: return .call(edge: Int(edge))
    }
  }

  mutating func answered(record answer: RecordAnswer, now: Instant) -> RequestStep {
    switch answer {
    case .execute: .call(edge: Int(edge))
    case .replay: .replay
    case .notKept: .refuse(.answerNotKept, until: .zero)
    case .busy(let until): .refuse(.keyInUse, until: until)
    case .mismatch: .refuse(.keyMismatch, until: .zero)
    case .full: .refuse(.stateFull, until: .zero)
    case .unavailable: .refuse(.stateUnavailable, until: now.advanced(by: GatewayRequest.stateAwayFor))
    }
  }

  /// What `Retry-After` says while the state process is away: it is started again within a second.
  public static let stateAwayFor: Int64 = 1_000_000_000

  /// What `Retry-After` says when there is no room: a second, by which who waits for a place has one or was refused
  /// (`WaitingRoom.Settings.wait`).
  static let overloadedFor: Int64 = 1_000_000_000

  @inline(__always)
  mutating func answered(limit answer: LimitAnswer, _ asked: LimitsAsked) -> RequestStep {
    switch answer {
    case .allowed:
      asksTenant = false
      return limits(asked)
    case .refused(let until): return .refuse(.limitReached, until: until)
    }
  }

  @inline(__always)
  func record(_ ending: RequestEnding, tag: UInt64, now: Instant) -> RequestRecord {
    RequestRecord(
      startedAt: startedAt, duration: now.since(startedAt), tag: tag, route: route,
      edge: ending.edge != RequestFacts.none || edge < 0 ? ending.edge : UInt32(edge), status: ending.status,
      instance: ending.instance,
      reason: ending.reason, phase: ending.phase, attempts: ending.attempts, fallback: ending.fallback)
  }
}
