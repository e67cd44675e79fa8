// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// One input of a loop's flows as it was recorded, and what was answered.
public struct RecordedInput: Sendable, Equatable {
  public enum Input: Sendable, Equatable {
    case request(RequestFacts)
    case identity(IdentityAnswer)
    case limit(LimitAnswer)
    case record(RecordAnswer)
    case requestEnded(RequestEnding)
    case call(edge: UInt32, RequestFacts)
    case permit(CircuitBreaker.Ticket?)
    case full, connected, begun, lasts, ended, wake, callerGone
    case outcome(status: UInt16)
    case turn(edge: UInt32)
    case sent(RetryRule.Sent)
    case head(status: UInt16, retryAfter: Int64?, fromWeir: Bool)
    case failed(RetryRule.Failure)
    case placeFreed(edge: UInt32, instance: UInt16)
    case view(EdgeView, edge: Int)
    case deltaTaken(edge: UInt32)
    case drain(until: Instant)
    case holdBack(Bool)
  }

  public enum Answer: Sendable, Equatable {
    case nothing
    case call(CallStep)
    case request(RequestStep)
  }

  public var input: Input
  /// Which attempt it is about, by its instance; ``CallStep/nobody`` where there is no question.
  public var instance = CallStep.nobody
  public var slot: Slot
  public var now: Instant
  public var answer: Answer
}

/// Everything that a loop was told, in order: replayed into fresh flows it gives the same answers, bit for bit.
public struct Recording: Sendable, Equatable {
  public var inputs: [RecordedInput]
  /// Inputs came after the recorder was full; the recording is a prefix.
  public var isCut: Bool

  /// Feeds the inputs to `flows`, which must be made with the same plan, views, loop and seed.
  ///
  /// Returns the first input whose answer differs, with what came instead, or nil when all are the same.
  public func replay(into flows: inout LoopFlows) -> (index: Int, got: RecordedInput.Answer)? {
    for (index, recorded) in inputs.enumerated() {
      let got = flows.replay(recorded)
      if got != recorded.answer { return (index, got) }
    }
    return nil
  }
}

/// Keeps the inputs of one loop, up to a limit.
public struct Recorder: Sendable {
  private var inputs: [RecordedInput] = []
  private var isCut = false
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  mutating func record(
    _ input: RecordedInput.Input, of instance: UInt16 = CallStep.nobody, _ slot: Slot, _ now: Instant, _ step: CallStep
  ) {
    append(RecordedInput(input: input, instance: instance, slot: slot, now: now, answer: .call(step)))
  }

  mutating func record(_ input: RecordedInput.Input, _ slot: Slot, _ now: Instant, _ step: RequestStep) {
    append(RecordedInput(input: input, slot: slot, now: now, answer: .request(step)))
  }

  mutating func record(_ input: RecordedInput.Input, _ slot: Slot, _ now: Instant) {
    append(RecordedInput(input: input, slot: slot, now: now, answer: .nothing))
  }

  mutating func record(_ view: EdgeView, edge: Int, now: Instant) {
    append(RecordedInput(input: .view(view, edge: edge), slot: .none, now: now, answer: .nothing))
  }

  mutating func take() -> Recording {
    defer {
      inputs = []
      isCut = false
    }
    return Recording(inputs: inputs, isCut: isCut)
  }

  private mutating func append(_ input: RecordedInput) {
    if inputs.count < limit { inputs.append(input) } else { isCut = true }
  }
}

extension LoopFlows {
  /// Feeds one recorded input and says what is answered now.
  mutating func replay(_ recorded: RecordedInput) -> RecordedInput.Answer {
    let slot = recorded.slot
    let now = recorded.now
    let instance = recorded.instance
    switch recorded.input {
    case .request(let facts): return .request(begin(request: facts, now: now).step)
    case .identity(let answer): return .request(answered(slot, identity: answer, now: now))
    case .limit(let answer): return .request(answered(slot, limit: answer, now: now))
    case .record(let answer): return .request(answered(slot, record: answer, now: now))
    case .requestEnded(let ending):
      if slot == .none {
        refused(ending, startedAt: now, now: now)
      } else {
        end(request: slot, as: ending, now: now)
      }
      return .nothing
    case .call(let edge, let facts): return .call(begin(call: Int(edge), facts: facts, now: now).step)
    case .permit(let ticket): return .call(permit(slot, ticket, now: now))
    case .full: return .call(full(slot, of: instance, now: now))
    case .connected:
      connected(slot, of: instance, now: now)
      return .call(CallStep(.none))
    case .sent(let amount):
      sent(slot, amount, of: instance, now: now)
      return .call(CallStep(.none))
    case .head(let status, let retryAfter, let fromWeir):
      return .call(
        head(slot, status: status, retryAfter: retryAfter, fromWeir: fromWeir, of: instance, now: now))
    case .begun: return .call(begun(slot, now: now))
    case .lasts:
      lasts(slot, now: now)
      return .call(CallStep(.none))
    case .outcome(let status):
      outcome(slot, status: status, now: now)
      return .call(CallStep(.none))
    case .ended: return .call(ended(slot, now: now))
    case .failed(let failure): return .call(failed(slot, failure, of: instance, now: now))
    case .wake: return .call(wake(slot, now: now))
    case .callerGone: return .call(callerGone(slot, now: now))
    case .turn(let edge): return turn(edge: Int(edge), now: now).map { .call($0.step) } ?? .nothing
    case .placeFreed(let edge, let instance):
      placeFreed(edge: Int(edge), instance: instance)
      return .call(CallStep(.none))
    case .deltaTaken(let edge):
      _ = takeDelta(edge: Int(edge))
      return .nothing
    case .drain(let ends):
      drain(until: ends, now: now)
      return .nothing
    case .holdBack(let on):
      holdBack(on, now: now)
      return .nothing
    case .view(let view, let edge):
      accept(view, edge: edge, now: now)
      return .nothing
    }
  }
}
