// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

/// Every order of answers, every outcome, and a crash at every write of the journal, for small sagas.
///
/// The participants keep what `Saga` asks of them: once per key, an undo bars its step. Calls whose sender has crashed or
/// given up may arrive at any time later, or never.
struct SagaExplorationTests {
  struct Participant: Hashable {
    /// How often it was done and undone in effect.
    var done = 0
    var undone = 0
    var isBarred = false
    var hasRefused = false

    var effect: Int { done - undone }
  }

  /// A call or an undo on its way.
  struct Message: Hashable {
    var step: Int
    var isUndo: Bool
    /// Of an orphan 0: the participant does not look at it.
    var attempt: Int
    /// Nobody waits for its answer.
    var isOrphan: Bool
  }

  struct World {
    var saga: Saga
    var journal: [Saga.Entry] = []
    var participants: [Participant]
    var messages: Set<Message> = []
    var crashes: Int
    var isLate = false
    var needsResume = false

    var key: Key {
      Key(
        phase: saga.phase, steps: saga.steps, participants: participants, messages: messages, crashes: crashes,
        isLate: isLate, needsResume: needsResume)
    }
  }

  struct Key: Hashable {
    var phase: Saga.Phase
    var steps: [Saga.Progress]
    var participants: [Participant]
    var messages: Set<Message>
    var crashes: Int
    var isLate: Bool
    var needsResume: Bool
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var name: String
    var lists: [[Saga.Step]]
    var crashes: Int
    var attempts = 2
    var hasDeadline = false

    var testDescription: String { name }
  }

  static let undoable = Saga.Step(hasUndo: true)
  static let pivot = Saga.Step(hasUndo: false)

  static let cases: [Case] = [
    Case(name: "two steps and a pivot, two crashes", lists: [[undoable], [undoable], [pivot]], crashes: 2),
    Case(name: "a pivot alone, four crashes", lists: [[pivot]], crashes: 4, hasDeadline: true),
    Case(name: "two steps at once, a crash", lists: [[undoable, undoable]], crashes: 1, attempts: 1),
    Case(
      name: "a step, then one beside a pivot, a crash", lists: [[undoable], [undoable, pivot]], crashes: 1, attempts: 1),
    Case(
      name: "two steps and the deadline, two crashes", lists: [[undoable], [undoable]], crashes: 2, hasDeadline: true),
    Case(
      name: "a pivot in the middle", lists: [[undoable], [pivot], [undoable]], crashes: 1, attempts: 1,
      hasDeadline: true),
  ]

  @Test("finished or compensated, exactly once in effect, with a crash at every write", arguments: cases)
  func explore(what: Case) {
    var explorer = Explorer(what)
    explorer.run()
    #expect(explorer.failure == nil, "\(explorer.failure ?? "")")
    // An exploration that sees little proves little.
    #expect(explorer.seen.count > 300 && explorer.finished > 0 && explorer.compensated > 0)
    #expect(what.lists.joined().allSatisfy(\.hasUndo) || explorer.stuck > 0)
  }

  struct Explorer {
    let what: Case
    let settings: Saga.Settings
    var seen: Set<Key> = []
    /// By breadth: the journals are the shortest that lead there.
    var queue: [World] = []
    var failure: String?
    var finished = 0
    var compensated = 0
    var stuck = 0

    init(_ what: Case) {
      self.what = what
      var settings = Saga.Settings()
      settings.attempts = what.attempts
      settings.undoAttempts = 2
      // The next attempt is due at once: the clock stands still, but for the deadline.
      settings.first = .zero
      settings.max = .zero
      settings.within = what.hasDeadline ? .seconds(1) : .seconds(1_000_000)
      self.settings = settings
    }

    mutating func run() {
      let plan = Saga.Plan(what.lists)
      let world = World(
        saga: Saga(plan, settings), participants: Array(repeating: Participant(), count: plan.steps.count),
        crashes: what.crashes)
      input(world) { saga, now, entries, actions, _ in saga.begin(now: now, writing: &entries, doing: &actions) }
      var next = 0
      while failure == nil && next < queue.count {
        visit(queue[next])
        next += 1
      }
    }

    private mutating func push(_ world: World) {
      if seen.insert(world.key).inserted { queue.append(world) }
    }

    /// An input of the saga, its commit, and its actions; with a crash at every entry of the commit, too.
    private mutating func input(
      _ world: World,
      _ body: (inout Saga, WallTime, inout [Saga.Entry], inout [Saga.Action], inout SeededRandom) -> Void
    ) {
      var next = world
      var entries: [Saga.Entry] = []
      var actions: [Saga.Action] = []
      var random = SeededRandom(seed: 0)
      body(&next.saga, WallTime(milliseconds: world.isLate ? 1000 : 0), &entries, &actions, &random)
      if let wrong = next.saga.violation() { return fail(next, wrong) }
      if world.crashes > 0 {
        for count in 0...entries.count {
          var crashed = world
          crashed.journal += entries.prefix(count)
          guard let saga = Saga(world.saga.plan, settings, journal: crashed.journal) else {
            return fail(crashed, "the journal is not read")
          }
          crashed.saga = saga
          crashed.crashes -= 1
          crashed.needsResume = true
          crashed.messages = Set(
            world.messages.map {
              var message = $0
              message.isOrphan = true
              message.attempt = 0
              return message
            })
          push(crashed)
        }
      }
      next.journal += entries
      guard let replayed = Saga(world.saga.plan, settings, journal: next.journal), replayed == next.saga else {
        return fail(next, "the journal gives another state")
      }
      for action in actions {
        switch action {
        case .call(let step, let attempt):
          next.messages.insert(Message(step: step, isUndo: false, attempt: attempt, isOrphan: false))
        case .undo(let step, let attempt):
          next.messages.insert(Message(step: step, isUndo: true, attempt: attempt, isOrphan: false))
        case .stuck(let step):
          stuck += 1
          if ![.stuck, .undoStuck].contains(next.saga.steps[step].stage) { return fail(next, "not stuck: \(step)") }
        case .finished: finished += 1
        case .compensated: compensated += 1
        }
      }
      push(next)
    }

    private mutating func visit(_ world: World) {
      if world.needsResume {
        var next = world
        next.needsResume = false
        if world.saga.phase == .new {
          // Nothing was promised, and nothing done.
          if world.participants.contains(where: { $0.done > 0 }) { fail(world, "done without a journal") }
          return
        }
        return input(next) { saga, now, entries, actions, _ in saga.resume(now: now, writing: &entries, doing: &actions)
        }
      }
      if world.saga.hasEnded { checkEnd(world) }
      for message in world.messages {
        if message.isUndo { arriveUndo(world, message) } else { arriveCall(world, message) }
        if message.isOrphan {
          var lost = world
          lost.messages.remove(message)
          push(lost)
        }
      }
      if world.saga.hasEnded { return }
      steer(world)
      if what.hasDeadline && !world.isLate {
        var late = world
        late.isLate = true
        input(late) { saga, now, entries, actions, _ in saga.wake(now: now, writing: &entries, doing: &actions) }
      }
      // Invariant 6.
      let isOut = world.messages.contains { !$0.isOrphan }
      let isStuck = world.saga.steps.contains { $0.stage == .stuck || $0.stage == .undoStuck }
      if !isOut && !isStuck { fail(world, "wedged") }
    }

    private mutating func arriveCall(_ world: World, _ message: Message) {
      let step = message.step
      var arrived = world
      arrived.messages.remove(message)
      let participant = world.participants[step]
      if participant.isBarred || participant.hasRefused { return answer(arrived, message, .refused) }
      if participant.done > 0 { return answer(arrived, message, nil) }
      var done = arrived
      done.participants[step].done += 1
      answer(done, message, nil)
      var refused = arrived
      refused.participants[step].hasRefused = true
      answer(refused, message, .refused)
      if message.isOrphan { return }
      answer(arrived, message, .notDone)
      // Done, and the answer is lost.
      answer(done, message, .unknown)
      // Given up while it is still on its way.
      var early = arrived
      early.messages.insert(Message(step: step, isUndo: false, attempt: 0, isOrphan: true))
      answer(early, message, .unknown)
    }

    private mutating func answer(_ world: World, _ message: Message, _ failure: Saga.Failure?) {
      if message.isOrphan { return push(world) }
      input(world) { saga, now, entries, actions, random in
        if let failure {
          saga.stepFailed(
            message.step, attempt: message.attempt, failure, now: now, using: &random, writing: &entries,
            doing: &actions)
        } else {
          saga.stepDone(message.step, now: now, writing: &entries, doing: &actions)
        }
      }
    }

    private mutating func arriveUndo(_ world: World, _ message: Message) {
      var undone = world
      undone.messages.remove(message)
      undone.participants[message.step].isBarred = true
      undone.participants[message.step].undone = undone.participants[message.step].done
      if message.isOrphan { return push(undone) }
      input(undone) { saga, now, entries, actions, _ in
        saga.undone(message.step, now: now, writing: &entries, doing: &actions)
      }
      var untouched = world
      untouched.messages.remove(message)
      for (after, isFinal) in [(undone, false), (untouched, false), (untouched, true)] {
        input(after) { saga, now, entries, actions, random in
          saga.undoFailed(
            message.step, attempt: message.attempt, isFinal: isFinal, now: now, using: &random, writing: &entries,
            doing: &actions)
        }
      }
    }

    /// The human looks at the participant, and says the truth; or has it tried again.
    private mutating func steer(_ world: World) {
      for (step, progress) in world.saga.steps.enumerated() {
        var seen = world
        var verdict: Saga.Verdict
        switch progress.stage {
        case .stuck:
          verdict = seen.participants[step].effect == 1 ? .isDone : .isNotDone
          // Barred, so that what is still on its way does nothing.
          if verdict == .isNotDone { seen.participants[step].isBarred = true }
        case .undoStuck:
          verdict = .isNotDone
          seen.participants[step].undone = seen.participants[step].done
          seen.participants[step].isBarred = true
        default: continue
        }
        for (world, verdict) in [(seen, verdict), (world, .tryAgain)] {
          input(world) { saga, now, entries, actions, _ in
            #expect(saga.steer(step, verdict, now: now, writing: &entries, doing: &actions))
          }
        }
      }
    }

    /// Whatever is still on its way.
    private mutating func checkEnd(_ world: World) {
      for (step, participant) in zip(world.saga.plan.steps, world.participants) {
        if participant.done > 1 || participant.undone > participant.done { return fail(world, "more than once") }
        if world.saga.phase == .finished && participant.effect != 1 { return fail(world, "finished, not done") }
        if world.saga.phase == .compensated && step.hasUndo && participant.effect != 0 {
          return fail(world, "compensated, not undone")
        }
      }
      // A pivot that ends a saga is done or not done as the saga is.
      if world.saga.phase == .compensated, let last = what.lists.last, last.count == 1, last[0] == pivot,
        world.participants.last?.effect != 0
      {
        fail(world, "compensated, and its pivot is done")
      }
    }

    private mutating func fail(_ world: World, _ why: String) {
      failure = failure ?? "\(why): \(world.participants) \(world.messages)\n\(world.journal)"
    }
  }
}
