// SPDX-License-Identifier: Apache-2.0
import WeirBase

// What an entry of the journal does to the state: the same when it is written and when it is read again.
extension Saga {
  /// The only place where the state changes; false when the entry cannot follow those before it.
  mutating func apply(_ entry: Entry) -> Bool {
    switch entry {
    case .begun(let at):
      guard phase == .new else { return false }
      phase = .forward
      deadline = at.later(byMilliseconds: within)
    case .calling(let step, let attempt):
      guard isRunning, has(step), [.idle, .waiting].contains(steps[step].stage),
        attempt == (steps[step].stage == .idle ? 1 : steps[step].attempt + 1)
      else { return false }
      steps[step].stage = .calling
      steps[step].attempt = attempt
    case .done(let step):
      guard isRunning, has(step), [.calling, .waiting, .stuck].contains(steps[step].stage) else { return false }
      steps[step].stage = .done
      steps[step].mayBeDone = true
    case .failed(let step, let mayBeDone, let retryAt):
      guard isRunning, has(step), steps[step].stage == .calling else { return false }
      steps[step].mayBeDone = mayBeDone
      if let retryAt {
        steps[step].stage = .waiting
        steps[step].retryAt = retryAt
      } else {
        giveUp(step)
      }
    case .turned(let cause):
      guard phase == .forward else { return false }
      phase = .backward(cause)
      // Not tried again; but for those whose fate must be known, as nothing could undo them.
      for step in steps.indices where steps[step].stage == .waiting && plan.steps[step].hasUndo { giveUp(step) }
    case .undoing(let step, let attempt):
      guard isBackward, has(step), plan.steps[step].hasUndo else { return false }
      switch steps[step].stage {
      case .done, .doubtful: guard attempt == 1 else { return false }
      case .undoWaiting: guard attempt == steps[step].attempt + 1 else { return false }
      default: return false
      }
      steps[step].stage = .undoing
      steps[step].attempt = attempt
    case .undone(let step):
      guard isBackward, has(step), [.undoing, .undoWaiting, .undoStuck].contains(steps[step].stage) else {
        return false
      }
      steps[step].stage = .undone
      steps[step].mayBeDone = false
    case .undoFailed(let step, let retryAt):
      guard isBackward, has(step), steps[step].stage == .undoing else { return false }
      steps[step].stage = retryAt == nil ? .undoStuck : .undoWaiting
      if let retryAt { steps[step].retryAt = retryAt }
    case .resumed:
      guard isRunning else { return false }
      for step in steps.indices where steps[step].stage == .calling {
        steps[step].mayBeDone = true
        if isBackward && plan.steps[step].hasUndo { giveUp(step) }
      }
    case .steered(let step, let verdict): return has(step) && steered(step, verdict)
    case .finished:
      guard phase == .forward, steps.allSatisfy({ $0.stage == .done }) else { return false }
      phase = .finished
    case .compensated:
      guard isBackward, violationOfCompensated == nil else { return false }
      phase = .compensated
    }
    return true
  }

  private mutating func steered(_ step: Int, _ verdict: Verdict) -> Bool {
    switch (steps[step].stage, verdict) {
    case (.stuck, .isDone): steps[step].stage = .done
    case (.stuck, .isNotDone):
      steps[step].stage = .refused
      steps[step].mayBeDone = false
    case (.stuck, .tryAgain):
      steps[step].stage = .waiting
      steps[step].attempt = 0
      steps[step].retryAt = WallTime(milliseconds: 0)
    case (.undoStuck, .tryAgain):
      steps[step].stage = .doubtful
      steps[step].attempt = 0
    case (.undoStuck, .isNotDone):
      steps[step].stage = .undone
      steps[step].mayBeDone = false
    default: return false
    }
    return true
  }

  /// No further attempt.
  private mutating func giveUp(_ step: Int) {
    if !steps[step].mayBeDone {
      steps[step].stage = .refused
    } else {
      steps[step].stage = plan.steps[step].hasUndo ? .doubtful : .stuck
    }
  }

  private func has(_ step: Int) -> Bool { steps.indices.contains(step) }

  var isRunning: Bool { phase == .forward || isBackward }

  var isBackward: Bool {
    if case .backward = phase { return true }
    return false
  }

  private var violationOfCompensated: String? {
    for (number, step) in steps.enumerated() {
      switch step.stage {
      case .idle, .refused, .undone: continue
      case .done where !plan.steps[number].hasUndo: continue
      default: return "compensated with step \(number) \(step.stage)"
      }
    }
    return nil
  }

  /// What is wrong with this state, or nil.
  public func violation() -> String? {
    if phase == .compensated { return violationOfCompensated }
    if phase == .finished { return steps.allSatisfy { $0.stage == .done } ? nil : "finished before its last step" }
    var isDone = true
    var isUndone = false
    for list in plan.lists {
      if !isDone && !isBackward && list.contains(where: { steps[$0].stage != .idle }) {
        return "the list \(list) has begun before the ones before it were done"
      }
      isDone = isDone && list.allSatisfy { steps[$0].stage == .done }
      if isUndone && list.contains(where: owes) { return "a list before \(list) is undone, and it is not yet" }
      isUndone = isUndone || list.contains { [.undoing, .undoWaiting, .undoStuck, .undone].contains(steps[$0].stage) }
    }
    if isUndone && !isBackward { return "undone while it goes forward" }
    if isUndone && steps.contains(where: { [.calling, .waiting, .stuck].contains($0.stage) }) {
      return "undone before the fate of every step was known"
    }
    return nil
  }

  /// Whether the lists before this step's have to wait for it on the way back.
  private func owes(_ step: Int) -> Bool {
    switch steps[step].stage {
    case .idle, .refused, .undone: return false
    case .done: return plan.steps[step].hasUndo
    case .calling, .waiting, .doubtful, .undoing, .undoWaiting, .stuck, .undoStuck: return true
    }
  }
}
