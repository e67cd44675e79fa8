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
/// An attempt that takes long may get a second one beside it (`UpstreamCall+Hedge.swift`).
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
  public private(set) var deadline: Instant
  public let startedAt: Instant
  var attemptStartedAt = Instant.zero
  /// When the attempt under way is given up.
  var limit = Instant.distantFuture
  /// The end of the first wait for a place; `zero` before any.
  private var waitEnds = Instant.zero
  var tried = Balancer.Tried()
  private var ticket = CircuitBreaker.Ticket(epoch: 0)
  private var serviceTicket = CircuitBreaker.Ticket(epoch: 0)
  /// Half of the call's own timeout, which a route may have set.
  private let half: Int64
  /// When the attempt beside it is due, or was sent; see ``hedgeStage``.
  var hedgeAt = Instant.zero
  /// The last rest before a retry, or the one that is asked for, in microseconds.
  private var previousWait: UInt32 = 0
  var epoch: UInt32 = 0
  private var serviceEpoch: UInt32 = 0
  var hedgeEpoch: UInt32 = 0
  public let edge: UInt32
  /// The instance of the attempt under way, or of the last one.
  public internal(set) var instance = CallStep.nobody
  var hedgeInstance = CallStep.nobody
  /// The status of the answer that is relayed; 0 before.
  public private(set) var status: UInt16 = 0
  private var flags: Flags
  /// Attempts so far.
  public internal(set) var attempts: UInt8 = 0
  var stage = Stage.new
  /// Of the attempt beside it: `new` before anything is known of it, `queued` planned for an attempt that found no place,
  /// `resting` planned, then as of an attempt, `over` when there is none any more, or none was planned.
  var hedgeStage = Stage.new
  /// Method and body of the request, two bits each: as bytes they would not fit.
  private let shape: UInt8
  var sent = RetryRule.Sent.nothing
  var hedgeSent = RetryRule.Sent.nothing
  var withdrawn: UInt8 = 0
  private var lastReason = Reason.none
  private var failure = FailedAttempt()

  /// What is true of a call, a bit each: as bytes they would not fit beside a second attempt's record.
  private struct Flags: OptionSet, Sendable, Equatable, BitwiseCopyable {
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
  private var outerRetries: Bool { flags[.outerRetries] }
  /// The request's own, beside that of all calls along the edge.
  private var hasFallback: Bool { flags[.hasFallback] }
  @inline(__always)
  private(set) var probesInstance: Bool {
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
  private(set) var probesService: Bool {
    get { flags[.probesService] }
    set { flags[.probesService] = newValue }
  }
  @inline(__always)
  private var holdsPlaceOfEdge: Bool {
    get { flags[.holdsPlaceOfEdge] }
    set { flags[.holdsPlaceOfEdge] = newValue }
  }
  @inline(__always)
  private var isDeposited: Bool {
    get { flags[.isDeposited] }
    set { flags[.isDeposited] = newValue }
  }
  /// The answer has begun, and its end will say whether it is a good one.
  @inline(__always)
  private var isOpen: Bool {
    get { flags[.isOpen] }
    set { flags[.isOpen] = newValue }
  }
  /// The callee's breaker has heard of it and it has been counted, before its end.
  @inline(__always)
  private(set) var isSettled: Bool {
    get { flags[.isSettled] }
    set { flags[.isSettled] = newValue }
  }
  @inline(__always)
  private(set) var failedFinally: Bool {
    get { flags[.failedFinally] }
    set { flags[.failedFinally] = newValue }
  }
  /// The failing answer was another Weir's own: it says nothing of the callee.
  @inline(__always)
  private var isBlameless: Bool {
    get { flags[.isBlameless] }
    set { flags[.isBlameless] = newValue }
  }

  /// The last attempt that failed, until it is decided what follows.
  private struct FailedAttempt: Equatable, BitwiseCopyable {
    /// Of the answer that is waiting to be passed on; 0: there is none.
    var status: UInt16 = 0
    private var bits: UInt8 = 0

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

  // MARK: - Inputs

  @inline(__always)
  mutating func begin(_ state: inout LoopState) -> CallStep {
    state.ledger.began(edge: Int(edge))
    if state.now >= deadline { return refuse(.deadlinePassed, &state) }
    if state.here.upstream.constants.isThrottled,
      !state.here.upstream.throttle[0].admit(now: state.now, using: &state.random)
    {
      return refuse(.throttled, &state)
    }
    if state.here.upstream.constants.isGated, let step = enterGate(&state) { return step }
    return proceed(&state)
  }

  /// Whoever has come this far is inside: a place of the edge, if it is limited, then the callee's breaker.
  @inline(__always)
  mutating func proceed(_ state: inout LoopState) -> CallStep {
    if state.here.upstream.constants.isLimited {
      if state.here.upstream.waiting.count > 0 { return queue(&state) }
      stage = .askingPlace
      return CallStep(.ask(.place))
    }
    return admit(&state)
  }

  /// This loop has as much in work as it may.
  mutating func overloaded(_ state: inout LoopState) -> CallStep {
    state.ledger.began(edge: Int(edge))
    return refuse(.overloaded, &state, until: state.now.advanced(by: GatewayRequest.overloadedFor))
  }

  /// The node's answer to a question.
  mutating func permit(_ granted: CircuitBreaker.Ticket?, _ state: inout LoopState) -> CallStep {
    if hedgeStage == .askingRetry { return sendHedge(granted != nil, &state) }
    switch stage {
    case .askingPlace:
      guard granted != nil else { return queue(&state) }
      holdsPlaceOfEdge = true
      // Whoever had waited is the first in line: those behind him are no reason to wait again.
      return admit(&state)
    case .askingService:
      guard let granted else {
        state.here.upstream.probeAsked(.probeService, now: state.now)
        // Not the view's own point: the rest is over, and a point that has passed tells nobody when to come again.
        return refuse(.breakerOpen, &state, until: state.here.upstream.askServiceProbeAt)
      }
      probesService = true
      serviceTicket = granted
      return enter(&state)
    case .askingInstance:
      guard let granted else {
        state.here.upstream.probeAsked(.probeInstance(instance), now: state.now)
        return pick(&state, mayProbe: false)
      }
      probesInstance = true
      ticket = granted
      return attempt(instance, &state)
    case .askingRetry:
      // A second question would be answered as the first.
      guard granted != nil else { return failure.asksElsewhere ? giveUp(&state) : withoutRetry(&state, mayAsk: false) }
      withdrawn += 1
      return rest(failure.asksElsewhere ? 0 : Int64(previousWait) * 1000, &state)
    default: return CallStep(.none)
    }
  }

  /// The instance's places are all taken, by callers that this loop does not see.
  mutating func full(of given: UInt16, _ state: inout LoopState) -> CallStep {
    if isHedge(given) { return hedgeFull(&state) }
    guard stage == .connecting else { return CallStep(.none) }
    putOffHedge()
    state.here.upstream.balancer.released(Int(instance))
    state.here.upstream.balancer.markFull(Int(instance))
    attempts -= 1
    state.ledger.unattempted(edge: Int(edge))
    // The permit that goes back makes a new view, and that a turn: without a pause the same call would ask again, and find
    // the same places taken, without end and without time passing.
    if probesInstance { state.here.upstream.probeAsked(.probeInstance(instance), now: state.now) }
    giveBackInstanceProbe(.ignored, &state)
    return pick(&state, mayProbe: false)
  }

  /// A place may be free now, and this call waited longest.
  @inline(__always)
  mutating func turn(_ state: inout LoopState) -> CallStep {
    guard stage == .queued else { return CallStep(.none) }
    if state.here.upstream.constants.isLimited && !holdsPlaceOfEdge {
      stage = .askingPlace
      nextWake = .distantFuture
      return CallStep(.ask(.place))
    }
    return pick(&state)
  }

  @inline(__always)
  mutating func connected(of given: UInt16) {
    if isHedge(given) {
      if hedgeStage == .connecting { hedgeStage = .sending }
      return
    }
    guard stage == .connecting else { return }
    stage = .sending
    nextWake = hedgeStage == .resting ? min(limit, hedgeAt) : limit
  }

  /// How much of the request has been handed to the connection; `all` once its last byte has.
  @inline(__always)
  mutating func sent(_ amount: RetryRule.Sent, of given: UInt16) {
    if isHedge(given) {
      hedgeSent = amount
      if amount == .all, hedgeStage == .sending { hedgeStage = .waiting }
      return
    }
    sent = amount
    if amount == .all, stage == .sending { stage = .waiting }
  }

  /// The head of the attempt's answer.
  ///
  /// `fromWeir`: the answer was made by another Weir for its callee's sake (its `Proxy-Status` says so); that instance
  /// is well. `retryAfter`: nanoseconds it asks to wait, or nil.
  @inline(__always)
  mutating func head(
    status: UInt16, retryAfter: Int64?, fromWeir: Bool, of given: UInt16, _ state: inout LoopState
  ) -> CallStep {
    if isHedge(given) { changeOver() }
    guard stage == .connecting || stage == .sending || stage == .waiting else { return CallStep(.none) }
    let latency = state.now.since(attemptStartedAt)
    if state.here.upstream.constants.isThrottled { accept(status, &state) }
    var outcome = state.here.upstream.thresholds.outcome(status: status, took: latency)
    let isFailure = outcome == .failure
    if isFailure && fromWeir { outcome = .ignored }
    failure = FailedAttempt(status: status, wasProbe: probesInstance)
    settleAttempt(outcome, latency: latency, failed: isFailure, &state)
    guard isFailure else { return answer(&state) }
    if isHedgeOut { return carryOn(&state, cancels: false) }
    isBlameless = fromWeir
    // A Weir that was told `Weir-Retries: taken` leaves retries to us, also those of what broke behind it (502, 504).
    // Its 503 is a refusal for its callee's sake: to repeat it would work against it.
    if fromWeir && status == 503 { return giveUp(&state) }
    let verdict = state.here.upstream.rule.judge(status: status, retryFacts)
    return again(verdict, retryAfter: retryAfter, &state)
  }

  /// The answer has begun and goes to the caller, but only its end says whether it is a good one: gRPC's way.
  ///
  /// Feed `outcome` before `ended`.
  mutating func begun(_ state: inout LoopState) -> CallStep {
    guard stage == .connecting || stage == .sending || stage == .waiting else { return CallStep(.none) }
    // No attempt is given up any more: the field keeps when the answer began.
    limit = state.now
    isOpen = true
    status = 200
    stage = .answering
    nextWake = .distantFuture
    return CallStep(.answer)
  }

  /// What the end of such an answer says: the status of HTTP that means the same.
  mutating func outcome(status: UInt16, _ state: inout LoopState) {
    guard stage == .answering, isOpen else { return }
    self.status = status
    if state.here.upstream.constants.isThrottled { accept(status, &state) }
    let outcome = state.here.upstream.thresholds.outcome(status: status, took: limit.since(attemptStartedAt))
    failedFinally = outcome == .failure
    settleOpen(outcome, &state)
  }

  /// The throttle hears of each call once that its callee took it on, whatever the answer was.
  private mutating func accept(_ status: UInt16, _ state: inout LoopState) {
    guard status != 429, status != 503, !flags[.isAccepted] else { return }
    flags[.isAccepted] = true
    state.here.upstream.throttle[0].accepted(now: state.now)
  }

  private mutating func settleOpen(_ outcome: CircuitBreaker.Outcome, _ state: inout LoopState) {
    guard isOpen else { return }
    isOpen = false
    settleAttempt(outcome, latency: limit.since(attemptStartedAt), failed: outcome == .failure, &state)
    // The place is held until the last byte.
    state.here.upstream.balancer.started(Int(instance), now: state.now)
  }

  /// The answer is a connection that lasts (TCP): what the call shows of its callee has been shown, only the place is held.
  ///
  /// A probe that waited for its end would keep the callee's breaker half open for as long as the connection lasts.
  mutating func lasts(_ state: inout LoopState) {
    guard stage == .answering, !isSettled else { return }
    settleCallee(.finish, &state)
    count(.finish, &state)
    isSettled = true
  }

  /// The answer has been received whole.
  @inline(__always)
  mutating func ended(_ state: inout LoopState) -> CallStep {
    guard stage == .answering else { return CallStep(.none) }
    return last(.finish, &state, freed: true, cancels: false)
  }

  /// The attempt failed: connecting, or the connection was lost, or what came is no HTTP.
  mutating func failed(_ failure: RetryRule.Failure, of given: UInt16, _ state: inout LoopState) -> CallStep {
    if isHedge(given) { changeOver() }
    switch stage {
    case .connecting, .sending, .waiting:
      return fail(failure, cancels: UpstreamCall.leavesOpen(failure), &state)
    case .answering:
      failedFinally = true
      settleOpen(.failure, &state)
      let reason = failure == .protocolError ? Reason.badAnswer : .answerCut
      return last(.abort(reason), &state, freed: true, cancels: UpstreamCall.leavesOpen(failure))
    default: return CallStep(.none)
    }
  }

  mutating func wake(_ state: inout LoopState) -> CallStep {
    guard state.now >= nextWake else { return CallStep(.none) }
    switch stage {
    case .resting:
      guard state.now >= deadline else { return pick(&state) }
      // A retry was due before the deadline and its wake-up came after it.
      failedFinally = true
      return refuse(.deadlinePassed, &state)
    case .queued, .atGate:
      return refuse(state.now >= deadline ? .deadlinePassed : .queueTimeout, &state)
    case .connecting, .sending, .waiting: return late(&state)
    case .new, .askingPlace, .askingService, .askingInstance, .askingRetry, .answering, .over: return CallStep(.none)
    }
  }

  /// The caller went away; nothing that it caused counts against anybody.
  mutating func callerGone(_ state: inout LoopState) -> CallStep {
    guard stage != .over else { return CallStep(.none) }
    let under = isUnderWay
    if under && stage != .answering && stage != .askingRetry { release(.ignored, &state) }
    if isOpen { giveBackInstanceProbe(.ignored, &state) }
    return last(.refuse(.callerGone, until: .zero), &state, freed: under, cancels: under)
  }

  // MARK: - Steps

  private var isUnderWay: Bool {
    switch stage {
    case .connecting, .sending, .waiting, .askingRetry, .answering: true
    default: false
    }
  }

  private var retryFacts: RetryRule.Facts {
    RetryRule.Facts(
      attempts: Int(attempts), method: method, body: body, sent: sent, committed: stage == .answering,
      outerRetries: outerRetries)
  }

  @inline(__always)
  private mutating func admit(_ state: inout LoopState) -> CallStep {
    switch state.here.upstream.admit(now: state.now, using: &state.random) {
    case .allow:
      serviceEpoch = state.here.upstream.view.service.epoch
      return enter(&state)
    case .askPermit:
      stage = .askingService
      return CallStep(.ask(.probeService))
    case .refuse(let until): return refuse(.breakerOpen, &state, until: until)
    }
  }

  /// The callee's breaker let it pass: from here on it is a first try, on which retries are earned.
  @inline(__always)
  private mutating func enter(_ state: inout LoopState) -> CallStep {
    state.here.upstream.deposit()
    isDeposited = true
    if waitEnds == .zero && state.here.upstream.waiting.count > 0 { return queue(&state) }
    return pick(&state)
  }

  private mutating func pick(_ state: inout LoopState, mayProbe: Bool = true) -> CallStep {
    let wish = state.wish
    if mayProbe, attempts == 0, !probesService, !state.here.upstream.view.probeable.isEmpty,
      let due = state.here.upstream.dueProbe(wish, now: state.now, canRepeat: canRepeat)
    {
      stage = .askingInstance
      instance = due
      return CallStep(.ask(.probeInstance(due)))
    }
    if mayProbe, attempts == 0, !probesService, mayRepeatElsewhere(state),
      let due = state.here.upstream.dueTrial(wish, now: state.now)
    {
      return attempt(due, &state)
    }
    var choice = state.here.upstream.pick(wish, excluding: tried, now: state.now, using: &state.random)
    // Another instance first, but none of them has a place: better the same one again than to wait beside a free place,
    // with everybody behind.
    if choice == .full && !tried.isEmpty {
      choice = state.here.upstream.pick(wish, excluding: Balancer.Tried(), now: state.now, using: &state.random)
    }
    switch choice {
    case .instance(let index): return attempt(UInt16(index), &state)
    case .full: return queue(&state)
    case .none: return refuse(.noHealthyInstance, &state)
    }
  }

  /// A failed attempt can be made up for on another instance, whatever was sent.
  var canRepeat: Bool { method != .unsafe && body != .streaming && !outerRetries }

  @inline(__always)
  private mutating func attempt(_ index: UInt16, _ state: inout LoopState) -> CallStep {
    instance = index
    attempts += 1
    epoch = state.here.upstream.view.breakers[Int(index)].epoch
    sent = .nothing
    stage = .connecting
    attemptStartedAt = state.now
    limit = min(deadline, state.now.advanced(by: attemptLength(state)))
    nextWake = min(limit, state.now.advanced(by: state.here.upstream.constants.connect))
    isTrial = state.here.upstream.isTrial(index)
    if state.here.upstream.constants.isHedged { planHedge(&state) }
    state.here.upstream.balancer.started(Int(index), now: state.now)
    isBlameless = false
    state.ledger.attempted(edge: Int(edge))
    return CallStep(.attempt(instance: index, number: attempts))
  }

  /// Half the timeout leaves room for a second attempt; where none can follow, it would only cut good answers short.
  @inline(__always)
  func attemptLength(_ state: borrowing LoopState) -> Int64 {
    if state.here.upstream.constants.attemptIsWritten { return state.here.upstream.constants.attempt }
    let canFollow =
      Int(attempts) < state.here.upstream.rule.attemptsMax && method != .unsafe && body != .streaming
      && !outerRetries && state.here.upstream.rule.isRetryable(failure: .attemptTimeout)
    return canFollow ? half : .max
  }

  private mutating func queue(_ state: inout LoopState) -> CallStep {
    let isLimited = state.here.upstream.constants.isLimited
    let rank = isLimited && !holdsPlaceOfEdge ? WaitingLine.Rank.edge : .instance
    switch state.here.upstream.waiting.offer(
      state.slot, rank: rank, isAhead: isLimited && holdsPlaceOfEdge, until: waitEnds, now: state.now,
      deadline: deadline)
    {
    case .waits(let until):
      waitEnds = until
      stage = .queued
      nextWake = until
      return CallStep(.wait)
    case .full: return refuse(.queueFull, &state)
    }
  }

  mutating func fail(
    _ failure: RetryRule.Failure, cancels: Bool, _ state: inout LoopState
  ) -> CallStep {
    if failure == .attemptTimeout { hedgeLearns(state) }
    let reason = UpstreamCall.reason(failure)
    let isLate = state.now >= deadline
    lastReason = isLate && failure == .attemptTimeout ? .deadlinePassed : reason
    self.failure = FailedAttempt(
      wasProbe: probesInstance, cancels: cancels, wasTurnedAway: failure == .connectRefused)
    isBlameless = lastReason == .deadlinePassed && wasCutEarly(state)
    settleAttempt(
      isBlameless ? .ignored : .failure, latency: state.now.since(attemptStartedAt), failed: !isBlameless, &state)
    if isHedgeOut { return carryOn(&state, cancels: cancels) }
    return again(state.here.upstream.rule.judge(failure: failure, retryFacts), retryAfter: nil, &state)
  }

  /// An attempt failed: another one, if the rule, the deadline and the node's budget allow it.
  ///
  /// Who was turned away at the door while another instance answers is tried elsewhere at once, on nobody's budget (as gRPC's
  /// transparent retries, proposal A6): that was no load which the budget is to bound, and among few calls its floor would be
  /// spent in the first seconds after an instance's death.
  private mutating func again(
    _ verdict: RetryRule.Verdict, retryAfter: Int64?, _ state: inout LoopState
  ) -> CallStep {
    guard verdict == .retry else { return withoutRetry(&state) }
    // A caller that was used as a probe does not pay for it: it is tried elsewhere at once, on nobody's budget. With
    // nobody else to try this is a retry like any other: it rests, and the budget pays for it.
    if failure.wasProbe && mayRepeatProbe(state.here.upstream, now: state.now) { return rest(0, &state) }
    if failure.wasTurnedAway, state.now < deadline, state.here.upstream.hasProvenInstance(than: tried) {
      return rest(0, &state)
    }
    guard let wait = retryWait(retryAfter: retryAfter, &state) else { return withoutRetry(&state) }
    previousWait = UInt32(clamping: (wait + 999) / 1000)
    return askRetry(elsewhere: false, &state)
  }

  /// The rule has no retry for it, or it cannot be made: a try elsewhere for who found out what others now know, or the end.
  private mutating func withoutRetry(_ state: inout LoopState, mayAsk: Bool = true) -> CallStep {
    // What another Weir answers, and a 429, does not say that the instance is ill.
    let isIll = failure.status == 0 || failure.status >= 500 && !isBlameless
    guard isIll, canRepeat, mayRepeatProbe(state.here.upstream, now: state.now) else { return giveUp(&state) }
    if failure.wasProbe { return rest(0, &state) }
    // An attempt on an instance that had failed last failed again. It was made to find out, as a probe is, so the caller
    // gets one try elsewhere. Unlike probes, which come one at a time, trials are paid for by the retry budget: when
    // everything fails, every attempt is one.
    guard mayAsk, isTrial, failure.status != 0, attempts == 1, mayRepeatElsewhere(state) else { return giveUp(&state) }
    return askRetry(elsewhere: true, &state)
  }

  private mutating func askRetry(elsewhere: Bool, _ state: inout LoopState) -> CallStep {
    failure.asksElsewhere = elsewhere
    stage = .askingRetry
    nextWake = .distantFuture
    return CallStep(.ask(.retry(state.here.upstream.takeBudget())))
  }

  /// Nothing follows the attempt that failed: its answer is passed on, or ours is given.
  private mutating func giveUp(_ state: inout LoopState) -> CallStep {
    failedFinally = true
    if failure.status == 0 { return end(lastReason, &state, freed: true, cancels: failure.cancels) }
    if hasFallback || state.here.upstream.constants.hasFallback {
      return last(.fallback(.failedAnswer), &state, freed: true, cancels: true)
    }
    return answer(&state)
  }

  /// The attempt's answer goes to the caller.
  @inline(__always)
  private mutating func answer(_ state: inout LoopState) -> CallStep {
    status = failure.status
    stage = .answering
    // The balancer has learned from the head; the place is held until the last byte.
    state.here.upstream.balancer.started(Int(instance), now: state.now)
    nextWake = .distantFuture
    var step = CallStep(.answer)
    if hedgeStage != .new { step.loser = hedgeEnded(&state) }
    return step
  }

  /// The deadline ended an attempt that had not yet taken long enough to be called slow.
  ///
  /// A caller with little time says nothing of the callee: a few with 10 ms each would open the breaker of one that is well
  /// and takes 20. Who has taken longer than what is slow is judged whatever the deadline; half of a route's own timeout is
  /// slow, too, or a route that is shorter than the edge's notion of slow would never find out that its callee hangs.
  private func wasCutEarly(_ state: borrowing LoopState) -> Bool {
    limit == deadline
      && state.now.since(attemptStartedAt) <= min(state.here.upstream.thresholds.slow, half)
  }

  /// How long to rest before the next attempt, or nil when it could not finish in time.
  private func retryWait(retryAfter: Int64?, _ state: inout LoopState) -> Int64? {
    let backoff = state.here.upstream.backoff.wait(
      after: Int(attempts), previous: Int64(previousWait) * 1000, using: &state.random)
    let wait = RetryRule.wait(backoff: backoff, retryAfter: retryAfter)
    // One that cannot finish is not made (RL-4): its wait, and what an answer usually takes.
    let room = wait.addingReportingOverflow(state.here.upstream.usual)
    guard !room.overflow, Deadline(ends: deadline, attemptMax: 0).leaves(room: room.partialValue, now: state.now) else {
      return nil
    }
    return wait
  }

  /// There is time for one more try of a probe that failed, and an instance that is not in doubt.
  private func mayRepeatProbe(_ upstream: Upstream, now: Instant) -> Bool {
    now < deadline && upstream.hasAnotherInstance(than: tried)
  }

  @inline(__always)
  private func mayRepeatElsewhere(_ state: borrowing LoopState) -> Bool {
    canRepeat && state.here.upstream.rule.attemptsMax > 1
  }

  private mutating func rest(_ wait: Int64, _ state: inout LoopState) -> CallStep {
    let cancels = failure.cancels
    let freed = instance
    if wait == 0 {
      var step = pick(&state, mayProbe: false)
      step.freed = freed
      step.cancels = cancels
      return step
    }
    stage = .resting
    // It ends before the deadline: a retry that would not is not made.
    nextWake = state.now.advanced(by: wait)
    return CallStep(.wait, freed: freed, cancels: cancels)
  }

  /// The attempt's result goes to the balancer and to the instance's breaker.
  ///
  /// `ignored` without having failed: it was given up too early to say more than how long it has lasted.
  @inline(__always)
  private mutating func settleAttempt(
    _ outcome: CircuitBreaker.Outcome, latency: Int64, failed: Bool, _ state: inout LoopState
  ) {
    if outcome == .ignored {
      if failed {
        state.here.upstream.balancer.released(Int(instance))
      } else {
        state.here.upstream.balancer.gaveUp(Int(instance), after: latency, now: state.now)
      }
    } else {
      if !failed { state.here.upstream.learn(latency: latency) }
      state.here.upstream.balancer.finished(Int(instance), latency: latency, failed: failed, now: state.now)
      state.here.upstream.doubt(instance, now: state.now)
    }
    // Only now: an instance whose places were taken was not tried.
    tried.insert(Int(instance))
    if hedgeStage == .resting { hedgeStage = .over }
    // If a retry has to wait, that is a wait of its own.
    waitEnds = .zero
    if probesInstance {
      giveBackInstanceProbe(outcome, &state)
    } else {
      state.here.upstream.settle(instance: instance, epoch: epoch, outcome)
    }
  }

  private mutating func release(_ outcome: CircuitBreaker.Outcome, _ state: inout LoopState) {
    state.here.upstream.balancer.released(Int(instance))
    giveBackInstanceProbe(outcome, &state)
  }

  @inline(__always)
  private mutating func giveBackInstanceProbe(_ outcome: CircuitBreaker.Outcome, _ state: inout LoopState) {
    guard probesInstance else { return }
    probesInstance = false
    state.here.upstream.settleProbe(instance: instance, ticket: ticket, outcome)
  }

  mutating func refuse(_ reason: Reason, _ state: inout LoopState, until: Instant = .zero) -> CallStep {
    end(reason, &state, freed: false, cancels: false, until: until)
  }

  private mutating func end(
    _ reason: Reason, _ state: inout LoopState, freed: Bool, cancels: Bool, until: Instant = .zero
  ) -> CallStep {
    let action: CallAction =
      hasFallback || state.here.upstream.constants.hasFallback ? .fallback(reason) : .refuse(reason, until: until)
    return last(action, &state, freed: freed, cancels: cancels)
  }

  /// The one way out: settles the callee's breaker, counts, gives back what is held.
  private mutating func last(
    _ action: CallAction, _ state: inout LoopState, freed: Bool, cancels: Bool
  ) -> CallStep {
    if stage == .queued { state.here.upstream.waiting.leave(state.slot) }
    if stage == .answering { state.here.upstream.balancer.released(Int(instance)) }
    if !isSettled { settleCallee(action, &state) }
    if isDeposited { state.here.upstream.withdrawEnded(retries: withdrawn) }
    if !isSettled { count(action, &state) }
    let loser = isHedgeOut ? dropHedge(&state) : CallStep.nobody
    let turns = state.here.upstream.constants.isGated ? leaveGate(action, &state) : false
    stage = .over
    nextWake = .distantFuture
    return CallStep(
      action, freed: freed ? instance : CallStep.nobody, cancels: freed && cancels, freesEdge: holdsPlaceOfEdge,
      loser: loser, turns: turns)
  }

  /// The callee's breaker hears of final outcomes: of every success, and of failures when no instance was left to try.
  @inline(__always)
  private mutating func settleCallee(_ action: CallAction, _ state: inout LoopState) {
    let outcome: CircuitBreaker.Outcome =
      switch action {
      case .finish where !failedFinally: .success
      default:
        failedFinally && !isBlameless && !state.here.upstream.hasAnotherInstance(than: tried)
          ? .failure : .ignored
      }
    if probesService {
      probesService = false
      // A probe that failed while others were left to try showed nothing of the callee as a whole.
      state.here.upstream.settleProbe(instance: CallStep.nobody, ticket: serviceTicket, outcome)
    } else if attempts > 0 {
      state.here.upstream.settleService(epoch: serviceEpoch, outcome)
    }
  }

  @inline(__always)
  private func count(_ action: CallAction, _ state: inout LoopState) {
    let edge = Int(edge)
    let duration = state.now.since(startedAt)
    switch action {
    case .finish:
      state.ledger.answered(edge: edge, failed: failedFinally, reason: .none, duration: duration)
      if state.here.upstream.fallbackIsOn {
        state.here.upstream.fallbackIsOn = false
        state.ledger.events.append(Event(.fallbackEnded, at: state.now, edge: self.edge))
      }
    case .abort(let reason): state.ledger.answered(edge: edge, failed: true, reason: reason, duration: duration)
    case .refuse(let reason, _): state.ledger.refused(edge: edge, reason: reason)
    case .fallback(let reason):
      state.ledger.fellBack(edge: edge, reason: reason)
      if !state.here.upstream.fallbackIsOn {
        state.here.upstream.fallbackIsOn = true
        state.ledger.events.append(Event(.fallbackBegan, at: state.now, edge: self.edge, reason: reason))
      }
    case .none, .attempt, .hedge, .ask, .wait, .answer: break
    }
  }

  /// The failure does not mean that the connection is gone: it must be closed.
  static func leavesOpen(_ failure: RetryRule.Failure) -> Bool {
    switch failure {
    case .connectTimeout, .attemptTimeout, .protocolError, .tlsFailed: true
    case .connectRefused, .lostBeforeHead, .lostInBody: false
    }
  }

  static func reason(_ failure: RetryRule.Failure) -> Reason {
    switch failure {
    case .connectRefused: .connectFailed
    case .connectTimeout: .connectTimeout
    case .lostBeforeHead: .connectionLost
    case .lostInBody: .answerCut
    case .attemptTimeout: .attemptTimeout
    case .protocolError: .badAnswer
    case .tlsFailed: .tlsFailed
    }
  }
}
