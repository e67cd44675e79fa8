// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirPatterns

/// What stands before a callee whose places are found out, or given by importance: who may go on, who waits, who is told no.
///
/// One for each edge and loop: a loop finds out the limit of its own share of the traffic, by Little's law as much of the
/// whole as the share is. ``PriorityAdmission`` decides; behind the gate all is as without one.
///
/// What it decides about other calls than the one that asked is kept here until the driver asks for a `turn`.
struct Gate: Sendable, Equatable {
  /// What becomes of a call that waited.
  enum Verdict: Sendable, Equatable, BitwiseCopyable {
    case enters(Slot)
    case drops(Slot)
  }

  private(set) var admission: PriorityAdmission
  private(set) var adaptive: AdaptiveLimit?
  /// Verdicts that their calls have not heard yet, oldest first.
  private var verdicts: [Verdict] = []
  private let placesPerInstance: Int
  private let loops: Int

  init(_ service: FlowPlan.Service, _ call: CallSettings, serving: Int, loops: Int) {
    self.loops = max(1, loops)
    placesPerInstance = service.adaptive == nil ? Int(service.atOnce) : 0
    var settings = PriorityAdmission.Settings()
    settings.queue = call.queue
    settings.order = call.order ?? .adaptive
    if let adaptive = service.adaptive {
      var own = adaptive
      own.start = max(1, adaptive.start * max(1, service.instances) / self.loops)
      own.most = max(1, adaptive.most * max(1, service.instances) / self.loops)
      let limit = AdaptiveLimit(own)
      self.adaptive = limit
      settings.limit = limit.limit
    }
    admission = PriorityAdmission(settings)
    accept(serving: serving, now: .zero)
  }

  var limit: Int { admission.limit }
  var hasVerdicts: Bool { !verdicts.isEmpty }
  var waiting: Int { admission.waiting }

  /// So many instances serve now: with a known number of places each, the limit follows.
  mutating func accept(serving: Int, now: Instant) {
    guard adaptive == nil else { return }
    let all = max(1, placesPerInstance.multipliedReportingOverflow(by: max(1, serving)).partialValue)
    let limit = max(1, (all + loops - 1) / loops)
    guard limit != admission.limit else { return }
    admission.limit = limit
    fill(now: now)
  }

  mutating func acquire(
    _ slot: Slot, _ rank: PriorityAdmission.Class, now: Instant, deadline: Instant
  ) -> PriorityAdmission.Answer {
    let answer = admission.acquire(slot, rank, now: now, deadline: deadline)
    if case .waits(_, let pushedOut?) = answer { verdicts.append(.drops(pushedOut)) }
    return answer
  }

  /// A call is over that was inside, and was there for so long; nil: its time tells nothing of the work.
  mutating func release(took: Int64?, now: Instant) {
    keep(admission.release(now: now), now: now)
    guard let took, case .moved? = adaptive?.settle(latency: took, now: now), let adaptive else { return }
    admission.adapt(to: adaptive)
    fill(now: now)
  }

  /// The limit that was found out along the same edge under another plan; who is inside or waits there, ends there.
  mutating func inherit(_ old: Gate, now: Instant) {
    guard adaptive != nil, let learned = old.adaptive else { return }
    adaptive = learned
    admission.adapt(to: learned)
  }

  mutating func leave(_ slot: Slot) { admission.leave(slot) }

  /// The oldest verdict that its call has not heard.
  mutating func next() -> Verdict? { verdicts.isEmpty ? nil : verdicts.removeFirst() }

  private mutating func fill(now: Instant) { keep(admission.next(now: now), now: now) }

  private mutating func keep(_ first: PriorityAdmission.Turn, now: Instant) {
    var turn = first
    while true {
      switch turn {
      case .nobody: return
      case .enters(let slot): verdicts.append(.enters(slot))
      case .drops(let slot): verdicts.append(.drops(slot))
      }
      turn = admission.next(now: now)
    }
  }
}

extension UpstreamCall {
  /// Asks to be let in; the call goes on at once, waits, or is refused.
  mutating func enterGate(_ state: inout LoopState) -> CallStep? {
    switch state.here.upstream.gate[0].acquire(state.slot, rank, now: state.now, deadline: deadline) {
    case .enter:
      isInside = true
      return nil
    case .waits(let until, _):
      stage = .atGate
      nextWake = until
      var step = CallStep(.wait)
      step.turns = state.here.upstream.gate[0].hasVerdicts
      return step
    case .full: return refuse(rank == .critical ? .queueFull : .shed, &state)
    }
  }

  /// What the gate has decided of a call that waits there.
  mutating func gateOpens(_ enters: Bool, _ state: inout LoopState) -> CallStep {
    guard stage == .atGate else {
      // It has gone in the meantime, and its place is free again.
      return CallStep(.none)
    }
    guard enters else { return refuse(.shed, &state) }
    isInside = true
    nextWake = .distantFuture
    return proceed(&state)
  }

  /// Gives the place inside back; what it did to others is said by the step's `turns`.
  mutating func leaveGate(_ action: CallAction, _ state: inout LoopState) -> Bool {
    if stage == .atGate { state.here.upstream.gate[0].leave(state.slot) }
    if isInside {
      isInside = false
      var took: Int64?
      switch action {
      // A connection lasts as long as its two ends like.
      case .finish where failedFinally || isSettled, .abort where isSettled: break
      case .finish, .abort: took = state.now.since(attemptStartedAt)
      case .refuse(let reason, _), .fallback(let reason):
        // What ran out of time is told with the time it had; what failed at once says nothing of the work.
        if attempts > 0, reason == .attemptTimeout || reason == .deadlinePassed {
          took = state.now.since(attemptStartedAt)
        }
      case .none, .attempt, .hedge, .ask, .wait, .answer: break
      }
      state.here.upstream.gate[0].release(took: took, now: state.now)
    }
    return state.here.upstream.gate[0].hasVerdicts
  }
}
