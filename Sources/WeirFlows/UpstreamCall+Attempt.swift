// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirPatterns

/// From the callee's breaker to an attempt, and what an attempt's end tells balancer and breaker.
extension UpstreamCall {
  var isUnderWay: Bool {
    switch stage {
    case .connecting, .sending, .waiting, .askingRetry, .answering: true
    default: false
    }
  }

  @inline(__always)
  mutating func admit(_ state: inout LoopState) -> CallStep {
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
  mutating func enter(_ state: inout LoopState) -> CallStep {
    state.here.upstream.deposit()
    isDeposited = true
    if waitEnds == .zero && state.here.upstream.waiting.count > 0 { return queue(&state) }
    return pick(&state)
  }

  mutating func pick(_ state: inout LoopState, mayProbe: Bool = true) -> CallStep {
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
    case .none:
      return refuse(state.here.upstream.constants.isSubset ? .subsetEmpty : .noHealthyInstance, &state)
    }
  }

  /// A failed attempt can be made up for on another instance, whatever was sent.
  var canRepeat: Bool { method != .unsafe && body != .streaming && !outerRetries }

  @inline(__always)
  mutating func attempt(_ index: UInt16, _ state: inout LoopState) -> CallStep {
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
    state.ledger.attempted(edge: Int(edge), index)
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

  mutating func queue(_ state: inout LoopState) -> CallStep {
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

  /// The attempt's answer goes to the caller.
  @inline(__always)
  mutating func answer(_ state: inout LoopState) -> CallStep {
    status = failure.status
    stage = .answering
    // The balancer has learned from the head; the place is held until the last byte.
    state.here.upstream.balancer.started(Int(instance), now: state.now)
    nextWake = .distantFuture
    var step = CallStep(.answer)
    if hedgeStage != .new { step.loser = hedgeEnded(&state) }
    return step
  }

  /// The attempt's result goes to the balancer and to the instance's breaker.
  ///
  /// `ignored` without having failed: it was given up too early to say more than how long it has lasted.
  @inline(__always)
  mutating func settleAttempt(
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
    if outcome == .failure { state.ledger.attemptFailed(edge: Int(edge), instance) }
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

  mutating func release(_ outcome: CircuitBreaker.Outcome, _ state: inout LoopState) {
    state.here.upstream.balancer.released(Int(instance))
    giveBackInstanceProbe(outcome, &state)
  }

  @inline(__always)
  mutating func giveBackInstanceProbe(_ outcome: CircuitBreaker.Outcome, _ state: inout LoopState) {
    guard probesInstance else { return }
    probesInstance = false
    state.here.upstream.settleProbe(instance: instance, ticket: ticket, outcome)
  }
}
