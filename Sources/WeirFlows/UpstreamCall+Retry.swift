// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirPatterns

/// What follows an attempt that failed: another one, at once or after a rest, or the end.
extension UpstreamCall {
  var retryFacts: RetryRule.Facts {
    RetryRule.Facts(
      attempts: Int(attempts), method: method, body: body, sent: sent, committed: stage == .answering,
      outerRetries: outerRetries)
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
  mutating func again(
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
  mutating func withoutRetry(_ state: inout LoopState, mayAsk: Bool = true) -> CallStep {
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

  mutating func askRetry(elsewhere: Bool, _ state: inout LoopState) -> CallStep {
    failure.asksElsewhere = elsewhere
    stage = .askingRetry
    nextWake = .distantFuture
    return CallStep(.ask(.retry(state.here.upstream.takeBudget())))
  }

  /// Nothing follows the attempt that failed: its answer is passed on, or ours is given.
  mutating func giveUp(_ state: inout LoopState) -> CallStep {
    failedFinally = true
    if failure.status == 0 { return end(lastReason, &state, freed: true, cancels: failure.cancels) }
    if hasFallback || state.here.upstream.constants.hasFallback {
      return last(.fallback(.failedAnswer), &state, freed: true, cancels: true)
    }
    return answer(&state)
  }

  /// The deadline ended an attempt that had not yet taken long enough to be called slow.
  ///
  /// A caller with little time says nothing of the callee: a few with 10 ms each would open the breaker of one that is well
  /// and takes 20. Who has taken longer than what is slow is judged whatever the deadline; half of a route's own timeout is
  /// slow, too, or a route that is shorter than the edge's notion of slow would never find out that its callee hangs.
  func wasCutEarly(_ state: borrowing LoopState) -> Bool {
    limit == deadline
      && state.now.since(attemptStartedAt) <= min(state.here.upstream.thresholds.slow, half)
  }

  /// How long to rest before the next attempt, or nil when it could not finish in time.
  func retryWait(retryAfter: Int64?, _ state: inout LoopState) -> Int64? {
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
  func mayRepeatProbe(_ upstream: Upstream, now: Instant) -> Bool {
    now < deadline && upstream.hasAnotherInstance(than: tried)
  }

  @inline(__always)
  func mayRepeatElsewhere(_ state: borrowing LoopState) -> Bool {
    canRepeat && state.here.upstream.rule.attemptsMax > 1
  }

  mutating func rest(_ wait: Int64, _ state: inout LoopState) -> CallStep {
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
