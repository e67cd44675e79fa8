// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirPatterns

/// A second attempt beside the first: the slow answer of one instance is not worth waiting for when another is quick.
///
/// Source: Dean and Barroso, *The Tail at Scale*, CACM 56(2) (2013). When it is sent is ``HedgeTrigger``'s business; here is
/// what becomes of the two. Whoever answers well first is relayed and the other is cancelled, and counts against nobody;
/// whoever fails first is forgotten while the other is out.
///
///     attempt ──hedgeAt──▶ due ─▶ hedge(other) ─┬─ one answers: answer, loser = the other
///                           └ kept: as before   └─ one fails: it is freed, the other is now *the* attempt
///
/// The call has one record of *the* attempt and one of the other; an input that is about the other one exchanges them
/// first, so that all the rest of the flow knows one attempt only.
extension UpstreamCall {
  /// A second attempt is under way.
  var isHedgeOut: Bool {
    switch hedgeStage {
    case .connecting, .sending, .waiting: true
    default: false
    }
  }

  /// The input is about the other attempt.
  @inline(__always)
  func isHedge(_ given: UInt16) -> Bool { given == hedgeInstance && given != CallStep.nobody && isHedgeOut }

  /// The other attempt becomes the one that the next lines are about.
  mutating func changeOver() {
    (instance, hedgeInstance) = (hedgeInstance, instance)
    (epoch, hedgeEpoch) = (hedgeEpoch, epoch)
    (attemptStartedAt, hedgeAt) = (hedgeAt, attemptStartedAt)
    (stage, hedgeStage) = (hedgeStage, stage)
    (sent, hedgeSent) = (hedgeSent, sent)
  }

  // MARK: - Before it is sent

  /// The first attempt is about to be sent; says when a second one is due.
  ///
  /// A probe is out to find something out, and a request that may not be made twice is not.
  mutating func planHedge(_ state: inout LoopState) {
    switch hedgeStage {
    case .queued:
      hedgeStage = .resting
      hedgeAt = attemptStartedAt.advanced(by: hedgeAt.nanoseconds)
    case .new:
      guard attempts == 1, canRepeat, !probesInstance, !probesService, state.here.upstream.view.serving.count > 1 else {
        return
      }
      switch state.here.upstream.hedges[0].began(now: state.now) {
      case .none: hedgeStage = .over
      case .after(let delay):
        hedgeStage = .resting
        hedgeAt = state.now.advanced(by: delay)
      }
    default: return
    }
    if hedgeStage == .resting { nextWake = min(nextWake, hedgeAt) }
  }

  /// The attempt found no place: the delay begins anew with the next one.
  mutating func putOffHedge() {
    guard hedgeStage == .resting else { return }
    hedgeStage = .queued
    hedgeAt = Instant(nanoseconds: hedgeAt.since(attemptStartedAt))
  }

  /// The delay is over and there is no answer.
  private mutating func hedge(_ state: inout LoopState) -> CallStep {
    hedgeStage = .over
    var others = tried
    others.insert(Int(instance))
    var other: UInt16?
    let wish = state.wish
    // What is still on its way from the caller cannot be sent twice.
    if sent == .all || body == .none,
      case .instance(let index) = state.here.upstream.pick(
        wish, excluding: others, now: state.now, using: &state.random),
      index != Int(instance), !state.here.upstream.isTrial(UInt16(index)),
      deadline.since(state.now) > state.here.upstream.hedges[0].median
    {
      other = UInt16(index)
    }
    let isCrowded = other == nil || state.here.upstream.waiting.count > 0
    rearm(state)
    guard state.here.upstream.hedges[0].due(isCrowded: isCrowded) == .send, let other else { return CallStep(.none) }
    hedgeInstance = other
    hedgeStage = .askingRetry
    return CallStep(.ask(.retry(state.here.upstream.takeBudget())))
  }

  /// The node's answer: the retry budget pays for it, or there is none.
  mutating func sendHedge(_ isGranted: Bool, _ state: inout LoopState) -> CallStep {
    hedgeStage = .over
    guard isGranted else { return CallStep(.none) }
    let other = hedgeInstance
    state.here.upstream.hedges[0].sent()
    withdrawn += 1
    attempts += 1
    hedgeStage = .connecting
    hedgeAt = state.now
    hedgeInstance = other
    hedgeEpoch = state.here.upstream.view.breakers[Int(other)].epoch
    hedgeSent = .nothing
    state.here.upstream.balancer.started(Int(other), now: state.now)
    state.ledger.hedged(edge: Int(edge), other)
    rearm(state)
    return CallStep(.hedge(instance: other, number: attempts))
  }

  // MARK: - While both are out

  /// A moment of an attempt under way has come.
  mutating func late(_ state: inout LoopState) -> CallStep {
    if state.now >= limit { return fail(.attemptTimeout, cancels: true, &state) }
    let connect = state.here.upstream.constants.connect
    if stage == .connecting, state.now >= attemptStartedAt.advanced(by: connect) {
      return fail(.connectTimeout, cancels: true, &state)
    }
    if hedgeStage == .resting, state.now >= hedgeAt { return hedge(&state) }
    if hedgeStage == .connecting, state.now >= hedgeAt.advanced(by: connect) {
      changeOver()
      return fail(.connectTimeout, cancels: true, &state)
    }
    rearm(state)
    return CallStep(.none)
  }

  private mutating func rearm(_ state: borrowing LoopState) {
    let connect = state.here.upstream.constants.connect
    nextWake = limit
    if stage == .connecting { nextWake = min(nextWake, attemptStartedAt.advanced(by: connect)) }
    if hedgeStage == .resting { nextWake = min(nextWake, hedgeAt) }
    if hedgeStage == .connecting { nextWake = min(nextWake, hedgeAt.advanced(by: connect)) }
  }

  /// The other instance's places are all taken: it stays with one attempt.
  mutating func hedgeFull(_ state: inout LoopState) -> CallStep {
    state.here.upstream.balancer.released(Int(hedgeInstance))
    state.here.upstream.balancer.markFull(Int(hedgeInstance))
    hedgeStage = .over
    attempts -= 1
    state.ledger.unhedged(edge: Int(edge), hedgeInstance)
    rearm(state)
    return CallStep(.none)
  }

  /// The attempt has failed and is settled; the other one is now the call's only one.
  mutating func carryOn(_ state: inout LoopState, cancels: Bool) -> CallStep {
    let freed = instance
    let isFirstOneLeft = hedgeAt < attemptStartedAt
    changeOver()
    hedgeStage = .over
    isTrial = false
    // The first one's limit is known; a second one has as long as any attempt.
    if !isFirstOneLeft {
      limit = max(state.now, min(deadline, attemptStartedAt.advanced(by: attemptLength(state))))
    }
    rearm(state)
    return CallStep(.none, freed: freed, cancels: cancels)
  }

  // MARK: - After it

  /// An answer has come: who lost, if there were two.
  mutating func hedgeEnded(_ state: inout LoopState) -> UInt16 {
    hedgeLearns(state)
    guard isHedgeOut else {
      hedgeStage = .over
      return CallStep.nobody
    }
    if attemptStartedAt > hedgeAt { state.ledger.hedgeWon(edge: Int(edge)) }
    return dropHedge(&state)
  }

  /// The other attempt is given up: its instance is not to blame, but the balancer learns how long it has lasted.
  mutating func dropHedge(_ state: inout LoopState) -> UInt16 {
    hedgeStage = .over
    state.here.upstream.balancer.gaveUp(Int(hedgeInstance), after: state.now.since(hedgeAt), now: state.now)
    return hedgeInstance
  }

  /// How long it took from the first attempt on: an answer, or what ran out of time.
  ///
  /// Of a call whose first attempt had failed nothing is told: that was not the usual way.
  func hedgeLearns(_ state: borrowing LoopState) {
    guard hedgeStage != .new, attempts == 1 || isHedgeOut else { return }
    let first = isHedgeOut ? min(attemptStartedAt, hedgeAt) : attemptStartedAt
    state.here.upstream.hedges[0].ended(latency: state.now.since(first), now: state.now)
  }
}
