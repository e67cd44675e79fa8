// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirPatterns

struct SagaTests {
  private func at(_ milliseconds: Int64) -> WallTime { WallTime(milliseconds: milliseconds) }

  private static let undoable = Saga.Step(hasUndo: true)
  private static let pivot = Saga.Step(hasUndo: false)

  /// A saga with what it has written, and what it wants.
  private struct Run {
    var saga: Saga
    var journal: [Saga.Entry] = []
    var actions: [Saga.Action] = []
    var random = SeededRandom(seed: 1)

    init(_ lists: [[Saga.Step]], _ settings: Saga.Settings = Saga.Settings()) {
      saga = Saga(Saga.Plan(lists), settings)
    }

    /// The actions of this input alone.
    mutating func input(
      _ body: (inout Saga, inout [Saga.Entry], inout [Saga.Action], inout SeededRandom) -> Void
    ) -> [Saga.Action] {
      actions = []
      body(&saga, &journal, &actions, &random)
      #expect(saga.violation() == nil)
      return actions
    }

    mutating func begin(_ now: Int64 = 0) -> [Saga.Action] {
      input { saga, journal, actions, _ in
        saga.begin(now: WallTime(milliseconds: now), writing: &journal, doing: &actions)
      }
    }

    mutating func done(_ step: Int, _ now: Int64 = 0) -> [Saga.Action] {
      input { saga, journal, actions, _ in
        saga.stepDone(step, now: WallTime(milliseconds: now), writing: &journal, doing: &actions)
      }
    }

    mutating func failed(_ step: Int, _ attempt: Int, _ failure: Saga.Failure, _ now: Int64 = 0) -> [Saga.Action] {
      input { saga, journal, actions, random in
        saga.stepFailed(
          step, attempt: attempt, failure, now: WallTime(milliseconds: now), using: &random, writing: &journal,
          doing: &actions)
      }
    }

    mutating func undone(_ step: Int, _ now: Int64 = 0) -> [Saga.Action] {
      input { saga, journal, actions, _ in
        saga.undone(step, now: WallTime(milliseconds: now), writing: &journal, doing: &actions)
      }
    }

    mutating func undoFailed(_ step: Int, _ attempt: Int, isFinal: Bool, _ now: Int64 = 0) -> [Saga.Action] {
      input { saga, journal, actions, random in
        saga.undoFailed(
          step, attempt: attempt, isFinal: isFinal, now: WallTime(milliseconds: now), using: &random,
          writing: &journal, doing: &actions)
      }
    }

    mutating func wake(_ now: Int64) -> [Saga.Action] {
      input { saga, journal, actions, _ in
        saga.wake(now: WallTime(milliseconds: now), writing: &journal, doing: &actions)
      }
    }

    mutating func resume(_ now: Int64 = 0) -> [Saga.Action] {
      input { saga, journal, actions, _ in
        saga.resume(now: WallTime(milliseconds: now), writing: &journal, doing: &actions)
      }
    }

    mutating func steer(_ step: Int, _ verdict: Saga.Verdict) -> [Saga.Action]? {
      var isTaken = false
      let actions = input { saga, journal, actions, _ in
        isTaken = saga.steer(step, verdict, now: WallTime(milliseconds: 0), writing: &journal, doing: &actions)
      }
      return isTaken ? actions : nil
    }

    mutating func turnBack() -> [Saga.Action]? {
      var isTaken = false
      let actions = input { saga, journal, actions, _ in
        isTaken = saga.turnBack(now: WallTime(milliseconds: 0), writing: &journal, doing: &actions)
      }
      return isTaken ? actions : nil
    }
  }

  /// The order of FILE.md: payment, then stock, then the confirmation that cannot be undone.
  private func order(_ settings: Saga.Settings = Saga.Settings()) -> Run {
    Run([[SagaTests.undoable], [SagaTests.undoable], [SagaTests.pivot]], settings)
  }

  @Test("steps go one after the other, and it is finished when the last is done")
  func forward() {
    var run = order()
    #expect(run.begin() == [.call(0, attempt: 1)])
    #expect(run.done(0) == [.call(1, attempt: 1)])
    #expect(run.done(1) == [.call(2, attempt: 1)])
    #expect(run.done(2) == [.finished])
    #expect(run.saga.nextWake == nil && run.saga.hasEnded)
    #expect(
      run.journal == [
        .begun(at(0)), .calling(0, attempt: 1), .done(0), .calling(1, attempt: 1), .done(1), .calling(2, attempt: 1),
        .done(2), .finished,
      ])
    #expect(run.done(2) == [] && run.begin() == [] && run.wake(.max) == [])
  }

  @Test("a step that is refused has those before it undone, the last first")
  func backward() {
    var run = order()
    _ = run.begin()
    _ = run.done(0)
    _ = run.done(1)
    #expect(run.failed(2, 1, .refused) == [.undo(1, attempt: 1)])
    #expect(run.undone(1) == [.undo(0, attempt: 1)])
    #expect(run.undone(0) == [.compensated])
    #expect(run.saga.phase == .compensated)
  }

  @Test("the refused step itself is not undone; one that may have been done is")
  func doubt() {
    var refused = order()
    _ = refused.begin()
    _ = refused.done(0)
    #expect(refused.failed(1, 1, .refused) == [.undo(0, attempt: 1)])
    // A time-out, then a refusal.
    var doubtful = order()
    _ = doubtful.begin()
    _ = doubtful.done(0)
    #expect(doubtful.failed(1, 1, .unknown) == [])
    #expect(doubtful.wake(2000) == [.call(1, attempt: 2)])
    #expect(doubtful.failed(1, 2, .refused) == [.undo(1, attempt: 1)])
    // Not connected is not a doubt.
    var settings = Saga.Settings()
    settings.attempts = 1
    var away = order(settings)
    _ = away.begin()
    #expect(away.failed(0, 1, .notDone) == [.compensated])
    var silent = order(settings)
    _ = silent.begin()
    #expect(silent.failed(0, 1, .unknown) == [.undo(0, attempt: 1)])
  }

  @Test("an attempt is made again after the wait, so many times")
  func retries() {
    var settings = Saga.Settings()
    settings.attempts = 3
    var run = order(settings)
    _ = run.begin()
    #expect(run.failed(0, 1, .notDone) == [])
    // 1 s, and up to half of it by chance; then 2 s.
    let wake = run.saga.nextWake?.milliseconds ?? 0
    #expect(wake >= 1000 && wake <= 1500)
    #expect(run.wake(wake - 1) == [])
    #expect(run.wake(wake) == [.call(0, attempt: 2)])
    #expect(run.wake(wake) == [])
    #expect(run.failed(0, 1, .refused, wake) == [], "the answer of an attempt before tells nothing")
    #expect(run.failed(0, 2, .unknown, wake) == [])
    #expect(run.wake(wake + 3001) == [.call(0, attempt: 3)])
    #expect(run.failed(0, 3, .notDone, wake + 3001) == [.undo(0, attempt: 1)], "of the second attempt nobody knows")
  }

  @Test("a late answer spares the next attempt")
  func late() {
    var run = order()
    _ = run.begin()
    _ = run.failed(0, 1, .unknown)
    #expect(run.done(0) == [.call(1, attempt: 1)])
  }

  @Test("an inner list goes at once, is waited for, and is undone at once, after what came later")
  func parallel() {
    var run = Run([[SagaTests.undoable], [SagaTests.undoable, SagaTests.undoable], [SagaTests.undoable]])
    _ = run.begin()
    #expect(run.done(0) == [.call(1, attempt: 1), .call(2, attempt: 1)])
    #expect(run.done(2) == [])
    #expect(run.done(1) == [.call(3, attempt: 1)])
    #expect(run.failed(3, 1, .refused) == [.undo(1, attempt: 1), .undo(2, attempt: 1)])
    #expect(run.undone(1) == [])
    #expect(run.undone(2) == [.undo(0, attempt: 1)])
    #expect(run.undone(0) == [.compensated])
  }

  /// An undo that overtakes its step on another connection would leave the step done.
  @Test("nothing is undone while a call is out")
  func barrier() {
    var run = Run([[SagaTests.undoable, SagaTests.undoable, SagaTests.undoable]])
    _ = run.begin()
    #expect(run.failed(0, 1, .refused) == [])
    #expect(run.done(1) == [])
    #expect(run.failed(2, 1, .unknown) == [.undo(1, attempt: 1), .undo(2, attempt: 1)], "not tried again")
  }

  @Test("the deadline turns it back, to the millisecond, unless what cannot be undone is on its way")
  func deadline() {
    var settings = Saga.Settings()
    settings.within = .seconds(10)
    var run = order(settings)
    _ = run.begin(5)
    #expect(run.saga.nextWake == at(10_005))
    _ = run.done(0, 6)
    #expect(run.wake(10_004) == [])
    #expect(run.wake(10_005) == [] && run.saga.phase == .backward(.deadline))
    #expect(run.done(1, 10_006) == [.undo(1, attempt: 1)])
    var late = order(settings)
    _ = late.begin()
    _ = late.done(0)
    _ = late.done(1)
    #expect(late.saga.nextWake == nil && !late.saga.mayTurn)
    #expect(late.turnBack() == nil)
    #expect(late.wake(20_000) == [])
    #expect(late.done(2, 20_000) == [.finished], "done is done, however late")
  }

  @Test("somebody asks for it back")
  func asked() {
    var run = order()
    _ = run.begin()
    _ = run.done(0)
    #expect(run.turnBack() == [])
    #expect(run.saga.phase == .backward(.asked))
    #expect(run.failed(1, 1, .notDone) == [.undo(0, attempt: 1)])
    #expect(run.turnBack() == nil)
  }

  @Test("what may be done and cannot be undone is for a human", arguments: Saga.Verdict.allForTest)
  func stuck(verdict: Saga.Verdict) {
    var settings = Saga.Settings()
    settings.attempts = 1
    var run = order(settings)
    _ = run.begin()
    _ = run.done(0)
    _ = run.done(1)
    #expect(run.failed(2, 1, .unknown) == [.stuck(2)])
    #expect(run.saga.nextWake == nil && run.steer(0, verdict) == nil && run.steer(7, verdict) == nil)
    #expect(run.resume() == [.stuck(2)])
    switch verdict {
    case .isDone: #expect(run.steer(2, verdict) == [.finished])
    case .isNotDone: #expect(run.steer(2, verdict) == [.undo(1, attempt: 1)])
    case .tryAgain:
      #expect(run.steer(2, verdict) == [.call(2, attempt: 1)])
      #expect(run.done(2) == [.finished])
    }
  }

  @Test("an undo that fails for good is for a human, and holds what comes before it")
  func undoStuck() {
    var settings = Saga.Settings()
    settings.undoAttempts = 2
    var run = order(settings)
    _ = run.begin()
    _ = run.done(0)
    _ = run.done(1)
    _ = run.failed(2, 1, .refused)
    #expect(run.undoFailed(1, 1, isFinal: false) == [])
    #expect(run.wake(1500) == [.undo(1, attempt: 2)])
    #expect(run.undoFailed(1, 2, isFinal: false, 1500) == [.stuck(1)])
    #expect(run.steer(1, .isDone) == nil)
    #expect(run.steer(1, .tryAgain) == [.undo(1, attempt: 1)])
    #expect(run.undoFailed(1, 1, isFinal: true) == [.stuck(1)])
    #expect(run.steer(1, .isNotDone) == [.undo(0, attempt: 1)])
  }

  @Test("after a crash what was out is asked for again, under the same key")
  func resume() throws {
    var run = order()
    _ = run.begin()
    _ = run.done(0)
    var again = run
    again.saga = try #require(Saga(run.saga.plan, journal: run.journal))
    #expect(again.saga == run.saga)
    #expect(again.resume() == [.call(1, attempt: 1)])
    #expect(again.journal.last == .resumed)
    #expect(again.resume() == [.call(1, attempt: 1)] && again.journal.count == run.journal.count + 1, "said once")
    // It may have been done before the crash: a refusal does not say so.
    #expect(again.failed(1, 1, .refused) == [.undo(1, attempt: 1)])
    #expect(again.resume() == [.undo(1, attempt: 1)])
    #expect(Saga.key(saga: "o-7", step: 1, isUndo: false) == "o-7.1.do")
    #expect(Saga.key(saga: "o-7", step: 1, isUndo: true) == "o-7.1.undo")
  }

  @Test(
    "a journal that is none is refused, not guessed at",
    arguments: [
      [.done(0)], [.begun(WallTime(milliseconds: 0)), .begun(WallTime(milliseconds: 0))],
      [.begun(WallTime(milliseconds: 0)), .done(0)], [.begun(WallTime(milliseconds: 0)), .calling(9, attempt: 1)],
      [.begun(WallTime(milliseconds: 0)), .calling(0, attempt: 2)], [.begun(WallTime(milliseconds: 0)), .finished],
      [.begun(WallTime(milliseconds: 0)), .calling(0, attempt: 1), .done(0), .turned(.deadline), .compensated],
      [.begun(WallTime(milliseconds: 0)), .calling(0, attempt: 1), .undoing(0, attempt: 1)],
    ] as [[Saga.Entry]])
  func torn(journal: [Saga.Entry]) {
    #expect(Saga(Saga.Plan([[SagaTests.undoable], [SagaTests.pivot]]), journal: journal) == nil)
  }

  private func fail(_ what: String) { Issue.record(Comment(rawValue: what)) }

  /// Long ones, with the clock: the journal always gives the state, and whatever happens there is an end.
  @Test("walks", arguments: resilienceSeeds(100))
  func walk(seed: UInt64) {
    var random = SeededRandom(seed: seed, stream: "saga")
    var lists: [[Saga.Step]] = []
    for _ in 0...random.index(below: 5) {
      lists.append((0...random.index(below: 3)).map { _ in Saga.Step(hasUndo: random.index(below: 5) > 0) })
    }
    var settings = Saga.Settings()
    settings.attempts = 1 + random.index(below: 4)
    settings.undoAttempts = 1 + random.index(below: 4)
    settings.within = .seconds(1 + random.index(below: 40))
    var run = Run(lists, settings)
    var now: Int64 = 0
    var out = run.begin()
    var steps = 0
    while !run.saga.hasEnded {
      steps += 1
      if steps > 2000 { return fail("WEIR_SEED=\(seed): no end: \(run.saga)") }
      let wake = run.saga.nextWake?.milliseconds
      if out.isEmpty || random.index(below: 6) == 0 {
        if random.index(below: 10) == 0 || (out.isEmpty && wake == nil) {
          // A crash: a prefix of what the last input wrote is there… here all of it; the exploration has the others.
          guard let saga = Saga(run.saga.plan, settings, journal: run.journal), saga == run.saga else {
            return fail("WEIR_SEED=\(seed) step \(steps): the journal gives another state")
          }
          run.saga = saga
          out = run.resume(now)
          if out.isEmpty && wake == nil { return fail("WEIR_SEED=\(seed) step \(steps): wedged") }
        } else {
          now = max(now, wake ?? now) + Int64(random.index(below: 300))
          out += run.wake(now)
        }
        continue
      }
      now += Int64(random.index(below: 400))
      switch out.remove(at: random.index(below: out.count)) {
      case .call(let step, let attempt):
        switch random.index(below: 6) {
        case 0: out += run.failed(step, attempt, .refused, now)
        case 1: out += run.failed(step, attempt, .notDone, now)
        case 2: out += run.failed(step, attempt, .unknown, now)
        default: out += run.done(step, now)
        }
      case .undo(let step, let attempt):
        switch random.index(below: 4) {
        case 0: out += run.undoFailed(step, attempt, isFinal: random.index(below: 3) == 0, now)
        default: out += run.undone(step, now)
        }
      case .stuck(let step):
        out += run.steer(step, Saga.Verdict.allForTest[random.index(below: 3)]) ?? run.steer(step, .isNotDone) ?? []
      case .finished, .compensated: break
      }
    }
    #expect(Saga(run.saga.plan, settings, journal: run.journal) == run.saga, "WEIR_SEED=\(seed)")
  }
}

extension Saga.Verdict {
  static let allForTest: [Saga.Verdict] = [.tryAgain, .isDone, .isNotDone]
}
