// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// A journal, participants, and runners that crash: what `SagaRun` is driven in by tests.
///
/// The participants keep what a saga asks of them: once per key, an undo bars its step.
struct SagaWorld {
  enum Behaviour: CaseIterable {
    case takes
    case refuses
    /// It is done at the first call, and the answer is lost.
    case losesTheAnswer
    /// Not reached, however often.
    case isAway
    /// Nothing is done, and nothing is said.
    case isSilent
  }

  struct Participant {
    var behaviour: Behaviour
    var calls = 0
    var done = 0
    var undone = 0
    var isBarred = false
    var hasRefused = false

    var effect: Int { done - undone }

    mutating func take(_ call: SagaRun.Call) -> SagaRun.Outcome {
      if call.isUndo {
        isBarred = true
        if done > undone { undone += 1 }
        return .done
      }
      calls += 1
      if isBarred || hasRefused { return .refused }
      if done > 0 { return .done }
      switch behaviour {
      case .takes:
        done += 1
        return .done
      case .refuses:
        hasRefused = true
        return .refused
      case .losesTheAnswer:
        done += 1
        return .unknown
      case .isAway: return .notDone
      case .isSilent: return .unknown
      }
    }
  }

  let script: SagaScript
  var settings: SagaRun.Settings
  var journal: [SagaRun.Commit] = []
  var participants: [Participant]
  /// Calls that are on their way, and whose sender is gone.
  var late: [SagaRun.Call] = []
  var undoOrdered: Set<Int> = []
  var now = WallTime(milliseconds: 1_700_000_000_000)
  var random = SeededRandom(seed: 1, stream: "sagas")
  var failure: String?
  /// How it is, when it is over.
  var ending: SagaRun.Ending?

  init(_ lists: [[Bool]], _ behaviours: [Behaviour]) {
    var count = 0
    script = SagaScript(
      lists.map { list in
        list.map { hasUndo in
          count += 1
          return SagaScript.Step(act: "POST s\(count)/do", undo: hasUndo ? "POST s\(count)/undo" : nil)
        }
      })
    participants = behaviours.map { Participant(behaviour: $0) }
    settings = SagaRun.Settings()
    settings.saga.attempts = 2
    settings.saga.undoAttempts = 2
    settings.saga.within = .seconds(1_000_000)
  }

  mutating func lease() -> SagaRun {
    SagaRun(script, settings, leasedUntil: WallTime(milliseconds: now.milliseconds + 60_000))
  }

  mutating func append(_ body: [UInt8], expected: Int64) -> Bool {
    guard Int64(journal.count) == expected else { return false }
    journal.append(SagaRun.Commit(version: expected + 1, body: body))
    return true
  }

  /// A call arrives at its participant.
  mutating func arrive(_ call: SagaRun.Call) -> SagaRun.Outcome { participants[call.step].take(call) }

  /// A runner orders it.
  mutating func note(_ call: SagaRun.Call) {
    if call.isUndo {
      undoOrdered.insert(call.step)
    } else if undoOrdered.contains(call.step) {
      failure = failure ?? "step \(call.step) is called after its undo"
    }
  }

  /// What stands in the journal.
  var records: [SagaRecord] { journal.flatMap { SagaJournal.decode($0.body) ?? [] } }
  var entries: [Saga.Entry] { records.compactMap { if case .entry(let entry) = $0 { entry } else { nil } } }

  /// A human looks at the participants, and says what is.
  mutating func steer(_ steps: [Int]) {
    for step in steps {
      let isUndo = undoOrdered.contains(step)
      let isDone = participants[step].done > 0
      if !isDone { participants[step].isBarred = true }
      let verdict: Saga.Verdict = isUndo ? .tryAgain : isDone ? .isDone : .isNotDone
      _ = append(SagaJournal.encode([.entry(.steered(step, verdict))]), expected: Int64(journal.count))
    }
  }

  /// Whatever the file says of the steps, each was done once or not at all.
  mutating func judge() {
    for (step, participant) in participants.enumerated() {
      let hasUndo = script.steps[step].undo != nil
      if participant.done > 1 || participant.undone > participant.done {
        failure = failure ?? "step \(step): done \(participant.done), undone \(participant.undone)"
      }
      switch ending {
      case .finished where participant.effect != 1: failure = failure ?? "finished, and step \(step) is not done"
      case .compensated where participant.effect != 0 && hasUndo:
        failure = failure ?? "compensated, and step \(step) is done"
      default: break
      }
    }
  }
}
