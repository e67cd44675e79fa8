// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// What a request's driver is to do before the call.
public enum RequestStep: Sendable, Equatable, BitwiseCopyable {
  /// Ask the rate limit `limit` with `key`, then feed `answered`.
  case askLimit(Int, key: UInt64)
  /// Begin the call along this edge.
  case call(edge: Int)
  /// Answer in our own name.
  case refuse(Reason, until: Instant)
}

/// What a rate limit said.
public enum LimitAnswer: Sendable, Equatable, BitwiseCopyable {
  case allowed
  /// Not before `until`.
  case refused(until: Instant)
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

/// A request of a gateway, around its call: limits before it, the record after it.
///
/// The order of the steps before a call (limits now; identity, tenant, idempotency and cache as they come) is written
/// here and nowhere else. What needs a look outside is asked for and comes back as an input.
///
///     begin ─▶ draining? overloaded? ─▶ limit? ─▶ asked ─ allowed ─▶ call ─▶ … ─▶ record
///                └─ 503                             └─ refused ─▶ 429
public struct GatewayRequest: Sendable, Equatable, BitwiseCopyable {
  public let startedAt: Instant
  private let route: UInt32
  private let edge: Int32
  private let limit: Int32
  private let key: UInt64
  /// When it is over at the latest, if it is taken.
  private let ends: Instant

  init(facts: RequestFacts, route: LoopFlows.RouteConstants, now: Instant) {
    startedAt = now
    self.route = facts.route
    edge = route.edge
    limit = route.limit
    key = route.limitsClients ? facts.client : 0
    ends = min(facts.deadline, now.advanced(by: route.timeout))
  }

  /// A request that has no route.
  init(startedAt: Instant) {
    self.startedAt = startedAt
    route = RequestFacts.none
    edge = -1
    limit = -1
    key = 0
    ends = startedAt
  }

  /// Whether it is taken, and what is asked first.
  ///
  /// A node that stops still takes what is sure to be over in time: nobody notices its end who need not. What might be cut
  /// in the middle is refused while nothing has been sent and any method can be tried elsewhere. Both refusals cost less
  /// than the rate limit and come before it.
  @inline(__always)
  func begin(_ node: NodeReadings) -> RequestStep {
    if ends > node.drainEnds { return .refuse(.draining, until: .zero) }
    if node.requests >= node.requestsMax {
      return .refuse(.overloaded, until: startedAt.advanced(by: GatewayRequest.overloadedFor))
    }
    return limit >= 0 ? .askLimit(Int(limit), key: key) : .call(edge: Int(edge))
  }

  /// What `Retry-After` says when there is no room: a second, by which who waits for a place has one or was refused
  /// (`WaitingRoom.Settings.wait`).
  static let overloadedFor: Int64 = 1_000_000_000

  @inline(__always)
  func answered(limit answer: LimitAnswer) -> RequestStep {
    switch answer {
    case .allowed: .call(edge: Int(edge))
    case .refused(let until): .refuse(.limitReached, until: until)
    }
  }

  @inline(__always)
  func record(_ ending: RequestEnding, tag: UInt64, now: Instant) -> RequestRecord {
    RequestRecord(
      startedAt: startedAt, duration: now.since(startedAt), tag: tag, route: route,
      edge: edge < 0 ? RequestFacts.none : UInt32(edge), status: ending.status, instance: ending.instance,
      reason: ending.reason, phase: ending.phase, attempts: ending.attempts, fallback: ending.fallback)
  }
}
