// SPDX-License-Identifier: Apache-2.0
public import WeirBase
import WeirPatterns

/// One call to a callee, from the first decision to the last byte: breaker, pick, attempt, settle, retry, fallback.
///
/// The order in which these act is written here and nowhere else; the proxy and the simulator both drive it, through
/// ``LoopFlows``. Each input says what happened and gets back one ``CallStep``: what to do, and what became free.
///
///     begin ─▶ callee's breaker ─▶ pick an instance ─▶ attempt ─▶ head ─▶ answer ─▶ ended
///                  │ askPermit        │ all places taken   │ failed, late, 5xx       └─▶ cut: abort
///                  ▼                  ▼                     ▼
///                refuse             wait for a place      settle ─▶ rest ─▶ pick …, else refuse / fallback
///
/// An attempt that takes long may get a second one beside it (`UpstreamCall+Hedge.swift`). What happens to a call, how attempts
/// are made, what follows their failure and how a call ends stand in `UpstreamCall+Inputs`, `+Attempt`, `+Retry`, `+Ending`.
///
/// Time contract: `now` never goes back. Wake-ups may come late, early or twice; only ``nextWake`` decides.
///
/// ## Invariants
/// 1. At most one attempt is under way, and one more beside it on another instance; the place of each is given back
///    exactly once (`freed` or `loser` of one step).
/// 2. After `answer` nothing is retried; after the last step the slot is stale.
/// 3. A permit to probe is settled exactly once, however the call ends: a probe is never lost here.
public struct UpstreamCall: Sendable, Equatable, BitwiseCopyable {
  enum Stage: UInt8, Sendable {
    case new, atGate, askingPlace, askingService, askingInstance, queued, connecting, sending,
      waiting, askingRetry, resting, answering, over
  }

  /// When the driver must call `wake` at the latest; `distantFuture` when there is nothing to wait for.
  public internal(set) var nextWake = Instant.distantFuture
  /// When the whole call ends at the latest (until its answer begins).
  public internal(set) var deadline: Instant
  public let startedAt: Instant
  var attemptStartedAt = Instant.zero
  /// When the attempt under way is given up.
  var limit = Instant.distantFuture
  /// The end of the first wait for a place; `zero` before any.
  var waitEnds = Instant.zero
  var tried = Balancer.Tried()
  var ticket = CircuitBreaker.Ticket(epoch: 0)
  var serviceTicket = CircuitBreaker.Ticket(epoch: 0)
  /// Half of the call's own timeout, which a route may have set.
  let half: Int64
  /// When the attempt beside it is due, or was sent; see ``hedgeStage``.
  var hedgeAt = Instant.zero
  /// The last rest before a retry, or the one that is asked for, in microseconds.
  var previousWait: UInt32 = 0
  var epoch: UInt32 = 0
  var serviceEpoch: UInt32 = 0
  var hedgeEpoch: UInt32 = 0
  public let edge: UInt32
  /// The instance of the attempt under way, or of the last one.
  public internal(set) var instance = CallStep.nobody
  var hedgeInstance = CallStep.nobody
  /// The status of the answer that is relayed; 0 before.
  public internal(set) var status: UInt16 = 0
  var flags: Flags
  /// Attempts so far.
  public internal(set) var attempts: UInt8 = 0
  var stage = Stage.new
  /// Of the attempt beside it: `new` before anything is known of it, `queued` planned for an attempt that found no place,
  /// `resting` planned, then as of an attempt, `over` when there is none any more, or none was planned.
  var hedgeStage = Stage.new
  /// Method and body of the request, two bits each: as bytes they would not fit.
  let shape: UInt8
  var sent = RetryRule.Sent.nothing
  var hedgeSent = RetryRule.Sent.nothing
  var withdrawn: UInt8 = 0
  var lastReason = Reason.none
  var failure = FailedAttempt()

  /// What is true of a call, a bit each: as bytes they would not fit beside a second attempt's record.
  struct Flags: OptionSet, Sendable, Equatable, BitwiseCopyable {
    var rawValue: UInt16
    static let outerRetries = Flags(rawValue: 1)
    static let probesInstance = Flags(rawValue: 2)
    static let isTrial = Flags(rawValue: 4)
    static let probesService = Flags(rawValue: 8)
    static let holdsPlaceOfEdge = Flags(rawValue: 16)
    static let isDeposited = Flags(rawValue: 32)
    static let failedFinally = Flags(rawValue: 64)
    static let isBlameless = Flags(rawValue: 128)
    static let isOpen = Flags(rawValue: 256)
    static let isAccepted = Flags(rawValue: 512)
    static let isInside = Flags(rawValue: 1024)
    static let isCritical = Flags(rawValue: 2048)
    static let isLow = Flags(rawValue: 4096)
    static let isSettled = Flags(rawValue: 8192)
    static let hasFallback = Flags(rawValue: 16384)

    @inline(__always)
    subscript(_ flag: Flags) -> Bool {
      get { rawValue & flag.rawValue != 0 }
      set { rawValue = newValue ? rawValue | flag.rawValue : rawValue & ~flag.rawValue }
    }
  }

  /// How much it matters.
  var rank: PriorityAdmission.Class { flags[.isCritical] ? .critical : flags[.isLow] ? .low : .normal }
  /// It was let in at the callee's gate, and gives that place back.
  var isInside: Bool {
    get { flags[.isInside] }
    set { flags[.isInside] = newValue }
  }

  @inline(__always)
  var method: RetryRule.Method { RetryRule.Method(rawValue: shape & 3) ?? .unsafe }
  @inline(__always)
  var body: RetryRule.Body { RetryRule.Body(rawValue: shape >> 2) ?? .streaming }
  @inline(__always)
  var outerRetries: Bool { flags[.outerRetries] }
  /// The request's own, beside that of all calls along the edge.
  var hasFallback: Bool { flags[.hasFallback] }
  @inline(__always)
  var probesInstance: Bool {
    get { flags[.probesInstance] }
    set { flags[.probesInstance] = newValue }
  }
  /// The attempt is made on an instance whose last one failed.
  @inline(__always)
  var isTrial: Bool {
    get { flags[.isTrial] }
    set { flags[.isTrial] = newValue }
  }
  @inline(__always)
  var probesService: Bool {
    get { flags[.probesService] }
    set { flags[.probesService] = newValue }
  }
  @inline(__always)
  var holdsPlaceOfEdge: Bool {
    get { flags[.holdsPlaceOfEdge] }
    set { flags[.holdsPlaceOfEdge] = newValue }
  }
  @inline(__always)
  var isDeposited: Bool {
    get { flags[.isDeposited] }
    set { flags[.isDeposited] = newValue }
  }
  /// The answer has begun, and its end will say whether it is a good one.
  @inline(__always)
  var isOpen: Bool {
    get { flags[.isOpen] }
    set { flags[.isOpen] = newValue }
  }
  /// The callee's breaker has heard of it and it has been counted, before its end.
  @inline(__always)
  var isSettled: Bool {
    get { flags[.isSettled] }
    set { flags[.isSettled] = newValue }
  }
  @inline(__always)
  var failedFinally: Bool {
    get { flags[.failedFinally] }
    set { flags[.failedFinally] = newValue }
  }
  /// The failing answer was another Weir's own: it says nothing of the callee.
  @inline(__always)
  var isBlameless: Bool {
    get { flags[.isBlameless] }
    set { flags[.isBlameless] = newValue }
  }

  /// The last attempt that failed, until it is decided what follows.
  struct FailedAttempt: Equatable, BitwiseCopyable {
    /// Of the answer that is waiting to be passed on; 0: there is none.
    var status: UInt16 = 0
    var bits: UInt8 = 0

    init(status: UInt16 = 0, wasProbe: Bool = false, cancels: Bool = false, wasTurnedAway: Bool = false) {
      self.status = status
      bits = (wasProbe ? 1 : 0) | (cancels ? 2 : 0) | (wasTurnedAway ? 8 : 0)
    }

    /// It was a probe of its instance.
    var wasProbe: Bool { bits & 1 != 0 }
    /// Its connection must be closed.
    var cancels: Bool { bits & 2 != 0 }
    /// Nobody listens there: the attempt has been no work for anybody.
    var wasTurnedAway: Bool { bits & 8 != 0 }
    /// The node is asked for a try elsewhere at once, not for a retry by the rule.
    var asksElsewhere: Bool {
      get { bits & 4 != 0 }
      set { bits = newValue ? bits | 4 : bits & ~4 }
    }
  }

  init(edge: Int, facts: RequestFacts, timeout: Int64, rank: PriorityAdmission.Class, now: Instant) {
    self.edge = UInt32(edge)
    shape = facts.method.rawValue | facts.body.rawValue << 2
    flags = facts.outerRetries ? .outerRetries : []
    switch rank {
    case .normal: break
    case .critical: flags.insert(.isCritical)
    case .low: flags.insert(.isLow)
    }
    if facts.hasFallback { flags[.hasFallback] = true }
    startedAt = now
    half = timeout / 2
    deadline = min(facts.deadline, now.advanced(by: timeout))
  }

  /// Where in its life the call is, for logs.
  public var phase: Phase {
    switch stage {
    case .new, .atGate, .askingPlace, .askingService, .askingInstance, .queued, .resting: .queue
    case .connecting: .connect
    case .sending: .send
    case .waiting, .askingRetry: .wait
    case .answering: .receive
    case .over: .done
    }
  }

  /// The call waits for a place, and `turn` may hand it one.
  public var isQueued: Bool { stage == .queued || stage == .atGate }
}
