// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirPatterns

/// The ways out, which are one: what is held is given back, and the call is counted.
extension UpstreamCall {
  mutating func refuse(_ reason: Reason, _ state: inout LoopState, until: Instant = .zero) -> CallStep {
    end(reason, &state, freed: false, cancels: false, until: until)
  }

  mutating func end(
    _ reason: Reason, _ state: inout LoopState, freed: Bool, cancels: Bool, until: Instant = .zero
  ) -> CallStep {
    let action: CallAction =
      hasFallback || state.here.upstream.constants.hasFallback ? .fallback(reason) : .refuse(reason, until: until)
    return last(action, &state, freed: freed, cancels: cancels)
  }

  /// The one way out: settles the callee's breaker, counts, gives back what is held.
  mutating func last(
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
  mutating func settleCallee(_ action: CallAction, _ state: inout LoopState) {
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
  func count(_ action: CallAction, _ state: inout LoopState) {
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
}
