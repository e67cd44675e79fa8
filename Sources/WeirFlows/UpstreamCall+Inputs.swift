// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirPatterns

/// What happens to a call, and what it makes of it: each input gives one step.
extension UpstreamCall {
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
    state.ledger.unattempted(edge: Int(edge), instance)
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
  mutating func accept(_ status: UInt16, _ state: inout LoopState) {
    guard status != 429, status != 503, !flags[.isAccepted] else { return }
    flags[.isAccepted] = true
    state.here.upstream.throttle[0].accepted(now: state.now)
  }

  mutating func settleOpen(_ outcome: CircuitBreaker.Outcome, _ state: inout LoopState) {
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
      // What was settled by its head is not settled again, but it was no good answer.
      if !isOpen { state.ledger.attemptFailed(edge: Int(edge), instance) }
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
}
