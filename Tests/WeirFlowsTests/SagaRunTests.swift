// SPDX-License-Identifier: Apache-2.0
import Testing
import WeirBase
import WeirFlows
import WeirPatterns

/// A saga in the hands of runners: crashes at every point, second runners, and what is stored.
struct SagaRunTests {
  // MARK: - Crashes, enumerated

  struct Shape: Sendable, CustomTestStringConvertible {
    var lists: [[Bool]]
    /// How many crashes at most.
    var crashes: Int

    var testDescription: String { "\(lists), \(crashes) crashes" }
  }

  static let shapes = [
    Shape(lists: [[true]], crashes: 2), Shape(lists: [[false]], crashes: 2),
    Shape(lists: [[true], [true]], crashes: 2),
    Shape(lists: [[true], [false]], crashes: 2), Shape(lists: [[true], [true], [true]], crashes: 1),
    Shape(lists: [[true, true], [false]], crashes: 1), Shape(lists: [[true], [true], [true], [false]], crashes: 1),
  ]

  /// One runner at a time, thrown away where something is carried out: before it is, or behind it, before its answer.
  ///
  /// A call that its sender has not seen answered arrives at once, never, or when all is over.
  struct Drive {
    var world: SagaWorld
    /// Points at which the runner is lost.
    var crashes: [Int]
    /// The call on its way at a crash arrives when all is over.
    var isLate: Bool
    var point = 0

    /// How many points there were.
    mutating func run() -> Int {
      var leases = 0
      leasing: while world.ending == nil && world.failure == nil {
        leases += 1
        if leases > 200 { world.failure = "it never ends" }
        var run = world.lease()
        var outputs: [SagaRun.Output] = []
        run.begin(doing: &outputs)
        var next = 0
        while next < outputs.count {
          let output = outputs[next]
          next += 1
          if hasCrashed() {
            if case .call(let call) = output, isLate { world.late.append(call) }
            continue leasing
          }
          switch output {
          case .read(let after):
            let isThere = world.journal.count > Int(after) + 1
            // One commit a page.
            let page = world.journal.dropFirst(Int(after)).prefix(1)
            if hasCrashed() { continue leasing }
            run.read(Array(page), isLast: !isThere, now: world.now, doing: &outputs)
          case .append(let body, let expected):
            let isTaken = world.append(body, expected: expected)
            if hasCrashed() { continue leasing }
            if isTaken { run.appended(now: world.now, doing: &outputs) } else { run.conflicted(doing: &outputs) }
          case .call(let call):
            world.note(call)
            let outcome = world.arrive(call)
            if hasCrashed() { continue leasing }
            run.ended(
              call, outcome, SagaAnswer(at: world.now, status: 200, text: [0x7b, 0x7d]), now: world.now,
              using: &world.random, doing: &outputs)
          case .extend: run.extended(until: nil)
          case .settle(let ending):
            if hasCrashed() { continue leasing }
            switch ending {
            case .finished, .compensated: world.ending = ending
            case .postpone(let until): world.now = max(world.now, until)
            case .stuck(let steps): world.steer(steps)
            case .giveBack, .lost: break
            case .unreadable: world.failure = "its journal is none"
            }
            continue leasing
          }
          if let violation = run.violation() { world.failure = violation }
        }
        if !run.isOver { world.failure = world.failure ?? "it has stopped" }
      }
      for call in world.late { _ = world.arrive(call) }
      world.judge()
      return point
    }

    private mutating func hasCrashed() -> Bool {
      defer { point += 1 }
      return crashes.contains(point)
    }
  }

  /// All combinations of what participants do.
  static func behaviours(_ count: Int) -> [[SagaWorld.Behaviour]] {
    var all: [[SagaWorld.Behaviour]] = [[]]
    for _ in 0..<count { all = all.flatMap { some in SagaWorld.Behaviour.allCases.map { some + [$0] } } }
    return all
  }

  @Test(
    "finished or compensated exactly once in effect, whatever participants do, with a crash at every point",
    arguments: shapes)
  func crashes(shape: Shape) {
    var runs = 0
    var finished = 0
    var compensated = 0
    for behaviours in SagaRunTests.behaviours(shape.lists.joined().count) {
      let world = SagaWorld(shape.lists, behaviours)
      func play(_ crashes: [Int], _ isLate: Bool) -> Int {
        var drive = Drive(world: world, crashes: crashes, isLate: isLate)
        let points = drive.run()
        runs += 1
        if drive.world.ending == .finished { finished += 1 }
        if drive.world.ending == .compensated { compensated += 1 }
        #expect(
          drive.world.failure == nil,
          "\(drive.world.failure ?? "") with \(behaviours), crashes at \(crashes), late \(isLate)")
        return points
      }
      let points = play([], false)
      for crash in 0..<points {
        for isLate in [false, true] {
          let again = play([crash], isLate)
          if shape.crashes < 2 { continue }
          for second in crash + 1..<max(crash + 1, again) { _ = play([crash, second], isLate) }
        }
      }
    }
    #expect(runs > 100 && finished > 0 && compensated > 0)
  }

  // MARK: - Several runners at once

  /// Runners that do not know of each other, calls that take their time, and a clock: one draw of chance after the other.
  @Test("walks: two runners at once, crashes, late calls, an operator's word", arguments: 0..<60)
  func walk(seed: Int) {
    var random = SeededRandom(seed: UInt64(seed), stream: "saga walks")
    for _ in 0..<12 {
      let lists = (0..<1 + random.index(below: 4)).map { _ in
        (0..<1 + random.index(below: 2)).map { _ in true }
      }
      var shape = lists
      if random.chance(0.4) { shape[shape.count - 1] = [false] }
      let behaviours = shape.joined().map { _ in
        SagaWorld.Behaviour.allCases[random.chance(0.5) ? 0 : random.index(below: SagaWorld.Behaviour.allCases.count)]
      }
      var walk = Walk(world: SagaWorld(shape, Array(behaviours)), random: random)
      walk.run()
      random = walk.random
      #expect(walk.world.failure == nil, "seed \(seed): \(walk.world.failure ?? "") of \(shape), \(behaviours)")
      #expect(walk.world.ending != nil || walk.world.failure != nil, "seed \(seed): it does not end")
    }
  }

  struct Walk {
    struct Runner {
      var run: SagaRun
      var open: [SagaRun.Output] = []

      mutating func give(_ body: (inout SagaRun, inout [SagaRun.Output]) -> Void) { body(&run, &open) }
    }

    var world: SagaWorld
    var random: SeededRandom
    var runners: [Runner] = []

    mutating func run() {
      for step in 0..<6000 {
        // In the end everything is left to go well.
        let isWild = step < 400
        if runners.isEmpty || isWild && runners.count < 3 && random.chance(0.03) {
          var runner = Runner(run: world.lease())
          runner.give { $0.begin(doing: &$1) }
          runners.append(runner)
        }
        let i = random.index(below: runners.count)
        if isWild && random.chance(0.02) {
          crash(i)
          continue
        }
        if isWild && random.chance(0.02), !world.late.isEmpty {
          _ = world.arrive(world.late.remove(at: random.index(below: world.late.count)))
          continue
        }
        if isWild && random.chance(0.01) { turnBack() }
        world.now = WallTime(milliseconds: world.now.milliseconds + Int64(random.index(below: 500)))
        let now = world.now
        runners[i].give { $0.wake(now: now, doing: &$1) }
        if runners[i].open.isEmpty {
          if runners[i].run.isOver { runners.remove(at: i) }
          continue
        }
        carryOut(i, runners[i].open.remove(at: random.index(below: runners[i].open.count)), isWild)
        if world.ending != nil || world.failure != nil { break }
      }
      while !runners.isEmpty { crash(0) }
      for call in world.late { _ = world.arrive(call) }
      world.judge()
    }

    private mutating func crash(_ i: Int) {
      for case .call(let call) in runners[i].open where random.chance(0.5) {
        if call.isUndo { world.note(call) }
        world.late.append(call)
      }
      runners.remove(at: i)
    }

    private mutating func turnBack() {
      guard let saga = Saga(world.script.plan, world.settings.saga, journal: world.entries), saga.phase == .forward,
        saga.mayTurn
      else { return }
      _ = world.append(SagaJournal.encode([.entry(.turned(.asked))]), expected: Int64(world.journal.count))
    }

    private mutating func carryOut(_ i: Int, _ output: SagaRun.Output, _ isWild: Bool) {
      switch output {
      case .read(let after):
        let page = world.journal.dropFirst(Int(after)).prefix(3)
        let isLast = Int(after) + page.count == world.journal.count
        let now = world.now
        runners[i].give { $0.read(Array(page), isLast: isLast, now: now, doing: &$1) }
      case .append(let body, let expected):
        let isTaken = world.append(body, expected: expected)
        let now = world.now
        if isWild && random.chance(0.05) {
          runners[i].give { $0.unanswered(now: now, doing: &$1) }
        } else if isTaken {
          runners[i].give { $0.appended(now: now, doing: &$1) }
        } else {
          runners[i].give { $0.conflicted(doing: &$1) }
        }
      case .call(let call):
        // What a runner orders that has been overtaken is on its way for long, and nothing new.
        if call.isUndo || runners[i].run.version == Int64(world.journal.count) { world.note(call) }
        let outcome: SagaRun.Outcome
        if isWild && random.chance(0.1) {
          world.late.append(call)
          outcome = .unknown
        } else {
          let real = world.arrive(call)
          outcome = isWild && random.chance(0.1) ? .unknown : real
        }
        let now = world.now
        var chance = random
        runners[i].give {
          $0.ended(call, outcome, SagaAnswer(at: now, status: 0, text: []), now: now, using: &chance, doing: &$1)
        }
        random = chance
      case .extend: runners[i].run.extended(until: WallTime(milliseconds: world.now.milliseconds + 60_000))
      case .settle(let ending):
        switch ending {
        case .finished, .compensated: world.ending = ending
        case .postpone(let until): world.now = max(world.now, until)
        case .stuck(let steps):
          // Where the journal still has it so.
          if runners[i].run.version == Int64(world.journal.count) { world.steer(steps) }
        case .giveBack, .lost: break
        case .unreadable: world.failure = "its journal is none"
        }
        runners.remove(at: i)
        return
      }
      if let violation = runners[i].run.violation() { world.failure = violation }
    }
  }

  @Test("of two runners with the same saga the one that appends second gives up, and has ordered nothing")
  func fenced() {
    var world = SagaWorld([[true], [true]], [.takes, .takes])
    var outputs: [SagaRun.Output] = []
    var first = world.lease()
    first.begin(doing: &outputs)
    first.read([], isLast: true, now: world.now, doing: &outputs)
    var second = world.lease()
    var others: [SagaRun.Output] = []
    second.begin(doing: &others)
    second.read([], isLast: true, now: world.now, doing: &others)
    guard case .append(let body, 0)? = outputs.last, case .append(let other, 0)? = others.last else {
      Issue.record("nothing is appended")
      return
    }
    let isTaken = world.append(body, expected: 0)
    let isTakenToo = world.append(other, expected: 0)
    #expect(isTaken && !isTakenToo)
    first.appended(now: world.now, doing: &outputs)
    #expect(outputs.last == .call(.init(step: 0, isUndo: false, attempt: 1, target: "POST s1/do")))
    others = []
    second.conflicted(doing: &others)
    #expect(others == [.settle(.giveBack)])
    #expect(second.isOver)
    // A third one takes the journal over while the first's call is out: the first one's next word is refused.
    var third = world.lease()
    others = []
    third.begin(doing: &others)
    third.read(world.journal, isLast: true, now: world.now, doing: &others)
    guard case .append(let resumed, 1)? = others.last else {
      Issue.record("who takes over does not say so")
      return
    }
    let hasResumed = world.append(resumed, expected: 1)
    #expect(hasResumed)
    outputs = []
    first.ended(
      .init(step: 0, isUndo: false, attempt: 1, target: "POST s1/do"), .done,
      SagaAnswer(at: world.now, status: 200, text: []), now: world.now, using: &world.random, doing: &outputs)
    guard case .append(let late, 1)? = outputs.last else {
      Issue.record("an answer is not appended")
      return
    }
    let isLateTaken = world.append(late, expected: 1)
    #expect(!isLateTaken)
  }

  @Test("an undo that is out when another takes over is fenced, too")
  func fencedUndo() {
    var world = SagaWorld([[true], [true]], [.takes, .refuses])
    let entries: [Saga.Entry] = [
      .begun(world.now), .calling(0, attempt: 1), .done(0), .calling(1, attempt: 1),
      .failed(1, mayBeDone: false, retryAt: nil), .turned(.step(1)), .undoing(0, attempt: 1),
    ]
    _ = world.append(SagaJournal.encode([.script(world.script)] + entries.map { .entry($0) }), expected: 0)
    var run = world.lease()
    var outputs: [SagaRun.Output] = []
    run.begin(doing: &outputs)
    run.read(world.journal, isLast: true, now: world.now, doing: &outputs)
    #expect(outputs.last == .append(SagaJournal.encode([.taken]), expected: 1))
    run.appended(now: world.now, doing: &outputs)
    #expect(outputs.last == .call(.init(step: 0, isUndo: true, attempt: 1, target: "POST s1/undo")))
  }

  // MARK: - Many

  @Test("10 000 in flight at the same time, each with a call out; all end")
  func many() {
    let count = 10_000
    let script = SagaScript([[.init(act: "POST a/do", undo: "POST a/undo")], [.init(act: "POST b/do", undo: nil)]])
    var random = SeededRandom(seed: 5, stream: "many")
    let now = WallTime(milliseconds: 1_700_000_000_000)
    var runs: [SagaRun] = []
    for _ in 0..<count {
      var run = SagaRun(script, leasedUntil: WallTime(milliseconds: now.milliseconds + 60_000))
      var outputs: [SagaRun.Output] = []
      run.begin(doing: &outputs)
      run.read([], isLast: true, now: now, doing: &outputs)
      run.appended(now: now, doing: &outputs)
      #expect(outputs.last == .call(.init(step: 0, isUndo: false, attempt: 1, target: "POST a/do")))
      runs.append(run)
    }
    var ended = 0
    for i in runs.indices {
      var outputs: [SagaRun.Output] = []
      for (step, target) in ["POST a/do", "POST b/do"].enumerated() {
        runs[i].ended(
          .init(step: step, isUndo: false, attempt: 1, target: target), .done,
          SagaAnswer(at: now, status: 200, text: []), now: now, using: &random, doing: &outputs)
        runs[i].appended(now: now, doing: &outputs)
      }
      if outputs.last == .settle(.finished) { ended += 1 }
    }
    #expect(ended == count)
  }

  // MARK: - Time

  @Test("a lease is extended when half of it is over, once at a time")
  func extends() {
    var world = SagaWorld([[true]], [.takes])
    var run = world.lease()
    var outputs: [SagaRun.Output] = []
    run.begin(doing: &outputs)
    run.read([], isLast: true, now: world.now, doing: &outputs)
    run.appended(now: world.now, doing: &outputs)
    #expect(run.nextWake == WallTime(milliseconds: world.now.milliseconds + 30_000))
    outputs = []
    run.wake(now: WallTime(milliseconds: world.now.milliseconds + 29_999), doing: &outputs)
    #expect(outputs.isEmpty)
    world.now = WallTime(milliseconds: world.now.milliseconds + 30_000)
    run.wake(now: world.now, doing: &outputs)
    run.wake(now: world.now, doing: &outputs)
    #expect(outputs == [.extend])
    run.extended(until: WallTime(milliseconds: world.now.milliseconds + 60_000))
    #expect(run.nextWake == WallTime(milliseconds: world.now.milliseconds + 30_000))
    outputs = []
    run.leaseLost(doing: &outputs)
    #expect(outputs == [.settle(.lost)])
    #expect(run.nextWake == nil)
  }

  /// A process stands still between the write and the call; meanwhile another has undone the step.
  @Test("from the end of its lease on nobody is called: it may be another's")
  func standsStill() {
    for late in [59_999, 60_000, 70_000] as [Int64] {
      let world = SagaWorld([[true]], [.takes])
      var first = SagaRun(
        world.script, world.settings, leasedUntil: WallTime(milliseconds: world.now.milliseconds + 60_000))
      var outputs: [SagaRun.Output] = []
      first.begin(doing: &outputs)
      first.read([], isLast: true, now: world.now, doing: &outputs)
      outputs = []
      let wakes = WallTime(milliseconds: world.now.milliseconds + late)
      #expect(first.mayCall(now: wakes) == (late < 60_000))
      first.appended(now: wakes, doing: &outputs)
      let call = SagaRun.Call(step: 0, isUndo: false, attempt: 1, target: "POST s1/do")
      #expect(outputs == (late < 60_000 ? [.call(call)] : [.settle(.giveBack)]))
      #expect(first.isOver == (late >= 60_000))
      #expect(first.mayCall(now: world.now) == (late < 60_000))
    }
  }

  @Test("a failed step puts it down until the next attempt is due")
  func postpones() {
    var world = SagaWorld([[true]], [.isAway])
    var run = world.lease()
    var outputs: [SagaRun.Output] = []
    run.begin(doing: &outputs)
    run.read([], isLast: true, now: world.now, doing: &outputs)
    run.appended(now: world.now, doing: &outputs)
    run.ended(
      .init(step: 0, isUndo: false, attempt: 1, target: ""), .notDone, SagaAnswer(at: world.now, status: 503, text: []),
      now: world.now, using: &world.random, doing: &outputs)
    run.appended(now: world.now, doing: &outputs)
    guard case .settle(.postpone(let until))? = outputs.last else {
      Issue.record("it is not put down")
      return
    }
    #expect((1000...1500).contains(until.milliseconds - world.now.milliseconds))
  }

  @Test(
    "what an answer says of its call",
    arguments: [
      (200, Reason.none, 1, SagaRun.Outcome.done), (204, .none, 1, .done), (301, .none, 1, .unknown),
      (400, .none, 1, .refused), (404, .none, 1, .refused), (422, .none, 1, .refused), (408, .none, 1, .unknown),
      (409, .none, 1, .unknown), (425, .none, 1, .notDone), (429, .none, 1, .notDone), (503, .none, 1, .notDone),
      (500, .none, 1, .unknown), (502, .none, 1, .unknown), (0, .noHealthyInstance, 0, .notDone),
      (0, .breakerOpen, 0, .notDone), (0, .connectFailed, 1, .notDone), (0, .connectFailed, 2, .unknown),
      (0, .attemptTimeout, 1, .unknown), (0, .connectionLost, 1, .unknown), (0, .answerCut, 1, .unknown),
    ] as [(UInt16, Reason, UInt8, SagaRun.Outcome)])
  func outcomes(_ status: UInt16, _ reason: Reason, _ attempts: UInt8, _ outcome: SagaRun.Outcome) {
    #expect(SagaRun.outcome(status: status, reason: reason, attempts: attempts) == outcome)
  }
}
