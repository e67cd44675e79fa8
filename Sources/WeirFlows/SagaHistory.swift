// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// What a saga's journal tells of it: how far it is, and what its participants have said.
public struct SagaHistory: Sendable, Equatable {
  public enum State: String, Sendable, CaseIterable { case running, compensating, finished, compensated, stuck }

  public struct Step: Sendable, Equatable {
    public var script: SagaScript.Step
    public var stage = Saga.Progress.Stage.idle
    /// Calls that were ordered, over all resumptions and retries.
    public var attempts = 0
    public var undoAttempts = 0
    /// The latest.
    public var answer: SagaAnswer?
    public var undoAnswer: SagaAnswer?

    /// One word for it.
    public var word: String {
      switch stage {
      case .idle: "waiting"
      case .calling: "calling"
      case .waiting: "retrying"
      case .refused: "refused"
      case .doubtful: "unclear"
      case .done: "done"
      case .undoing: "undoing"
      case .undoWaiting: "undo-retrying"
      case .undone: "undone"
      case .stuck, .undoStuck: "stuck"
      }
    }
  }

  public private(set) var state = State.running
  public private(set) var steps: [Step] = []
  /// Why it turned back; nil while it goes forward.
  public private(set) var cause: Saga.Cause?
  public private(set) var begunAt = WallTime(milliseconds: 0)
  /// When something is due by itself.
  public private(set) var nextWake: WallTime?
  public let saga: Saga
  public let entries: [Saga.Entry]

  /// Nil when it is no journal of a saga that has begun.
  public init?(_ journal: some Sequence<[UInt8]>, _ settings: Saga.Settings = Saga.Settings()) {
    var script: SagaScript?
    var entries: [Saga.Entry] = []
    for body in journal {
      guard let records = SagaJournal.decode(body) else { return nil }
      for record in records {
        switch record {
        case .script(let read):
          script = read
          steps = read.steps.map { Step(script: $0) }
        case .answered(let step, let isUndo, let answer):
          guard steps.indices.contains(step) else { return nil }
          if isUndo { steps[step].undoAnswer = answer } else { steps[step].answer = answer }
        case .taken: break
        case .entry(let entry):
          entries.append(entry)
          switch entry {
          case .begun(let at): begunAt = at
          case .calling(let step, _) where steps.indices.contains(step): steps[step].attempts += 1
          case .undoing(let step, _) where steps.indices.contains(step): steps[step].undoAttempts += 1
          case .turned(let cause): self.cause = cause
          default: break
          }
        }
      }
    }
    guard let script, let saga = Saga(script.plan, settings, journal: entries), saga.phase != .new else { return nil }
    self.saga = saga
    self.entries = entries
    for (i, progress) in saga.steps.enumerated() { steps[i].stage = progress.stage }
    nextWake = saga.nextWake
    let isStuck = saga.steps.contains { $0.stage == .stuck || $0.stage == .undoStuck }
    switch saga.phase {
    case .finished: state = .finished
    case .compensated: state = .compensated
    case .new, .forward: state = isStuck ? .stuck : .running
    case .backward: state = isStuck ? .stuck : .compensating
    }
  }

  public var isOver: Bool { state == .finished || state == .compensated }

  /// A sentence's worth of why it turned back.
  public var causeWords: String? {
    switch cause {
    case nil: return nil
    case .deadline?: return "its time was over"
    case .asked?: return "an operator turned it back"
    case .step(let step)?:
      guard steps.indices.contains(step) else { return nil }
      var words = "step \(step + 1), \(steps[step].script.act)"
      if let answer = steps[step].answer {
        if answer.status > 0 {
          words += ": answered \(answer.status)"
        } else if let text = String(validating: answer.text, as: UTF8.self), !text.isEmpty {
          words += ": \(text)"
        }
      }
      return words
    }
  }

  // MARK: An operator's word

  /// The commit that says what became of a step that is stuck (from 0); nil when that makes no sense for it.
  public func steering(_ step: Int, _ verdict: Saga.Verdict) -> [UInt8]? {
    let entry = Saga.Entry.steered(step, verdict)
    guard steps.indices.contains(step), !isOver, Saga(saga.plan, journal: entries + [entry]) != nil else { return nil }
    return SagaJournal.encode([.entry(entry)])
  }

  /// The commit that turns it back; nil when it is too late, or, with a step under way that nothing undoes, too early to say.
  public var turning: [UInt8]? {
    guard saga.phase == .forward, saga.mayTurn else { return nil }
    return SagaJournal.encode([.entry(.turned(.asked))])
  }
}
