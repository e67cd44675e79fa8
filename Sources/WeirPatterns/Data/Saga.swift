// SPDX-License-Identifier: Apache-2.0
public import WeirBase

/// Has steps at several services all done or all undone, through any crash, with no lock held at any of them.
///
/// Source: Garcia-Molina and Salem, *Sagas* (SIGMOD 1987); steps that cannot be undone: Richardson, *Microservices Patterns*
/// (2018) §4.3, the pivot. The state is the fold of a journal and of nothing else (``Entry``).
///
///     begin ─▶ forward ──every step done─────────────────────▶ finished
///                │ a step failed for good, the deadline, asked
///                ▼
///             backward ──what was, or may have been, done is undone─▶ compensated
///     a step that may have been done and has no undo, or an undo that fails for good: stuck, until a human says what is
/// An input appends to two lists: entries, to be **durable first, in one commit**, and actions, to be carried out **after** it.
/// After a crash: make the value again from the journal, whatever prefix of it is there, and call ``resume(now:writing:doing:)``.
///
/// Every call carries ``key(saga:step:isUndo:)``, the same over all attempts. What the participants owe for it:
/// a call repeated under its key is done once and answered the same; an undo of what was not done succeeds, and **bars** the
/// step: a call that arrives after it, held up on its way, is refused. (Called hanging and empty compensation elsewhere.)
///
/// ## Invariants
/// 1. The state is that of the journal: `Saga(plan, settings, journal:)` of all entries is equal to the value.
/// 2. A list of steps begins when all lists before it are done; the steps within it go at the same time.
/// 3. Undone are the lists in reverse, and none before every call is answered or given up, and no step is stuck.
/// 4. Finished: every step is done. Compensated: no step with an undo is, or may be.
/// 5. A step without an undo that may have been done is never left so: it is tried until it is known, or a human is asked.
/// 6. It never wedges: while it has not ended, a call is out, ``nextWake`` says when to wake it, or it is stuck.
public struct Saga: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    /// Calls of a step before it has failed, the first included.
    public var attempts = 5
    /// Calls of an undo before a human is asked, the first included: with the waits below, for an hour.
    public var undoAttempts = 20
    /// The wait before the second attempt; twice as long each time (``Backoff``, its kind `seed`).
    public var first = Duration.seconds(1)
    /// The longest wait, before jitter.
    public var max = Duration.seconds(300)
    /// Going forward for longer than this, it turns back: no one waits for a half-done order for ever.
    public var within = Duration.seconds(3600)

    public init() {}

    public static var stepsMax: Int { 64 }
  }

  public struct Step: Sendable, Hashable, BitwiseCopyable {
    public var hasUndo: Bool

    public init(hasUndo: Bool) { self.hasUndo = hasUndo }
  }

  /// The steps, numbered from 0 in the order in which they are declared; those of an inner list go at the same time.
  public struct Plan: Sendable, Hashable {
    public let steps: [Step]
    /// The numbers of each list's steps.
    public let lists: [Range<Int>]

    public init(_ lists: [[Step]]) {
      var numbers: [Range<Int>] = []
      var count = 0
      for list in lists where !list.isEmpty {
        numbers.append(count..<count + list.count)
        count += list.count
      }
      precondition(count <= Settings.stepsMax, "a saga has at most \(Settings.stepsMax) steps")
      self.steps = lists.flatMap { $0 }
      self.lists = numbers
    }
  }

  public enum Cause: Sendable, Hashable, BitwiseCopyable {
    /// This step failed for good.
    case step(Int)
    case deadline
    case asked
  }

  /// What the journal keeps.
  ///
  /// The first entry of a step's call is there before the call, so whoever reads the journal knows whom to undo.
  public enum Entry: Sendable, Hashable, BitwiseCopyable {
    case begun(WallTime)
    case calling(Int, attempt: Int)
    case done(Int)
    /// Without a moment of the next attempt there is none.
    case failed(Int, mayBeDone: Bool, retryAt: WallTime?)
    case turned(Cause)
    case undoing(Int, attempt: Int)
    case undone(Int)
    case undoFailed(Int, retryAt: WallTime?)
    /// The process that had made the calls which are out is gone, and their answers with it.
    case resumed
    case steered(Int, Verdict)
    case finished
    case compensated
  }

  public enum Action: Sendable, Hashable, BitwiseCopyable {
    case call(Int, attempt: Int)
    case undo(Int, attempt: Int)
    /// A human has to say what became of this step: ``steer(_:_:now:writing:doing:)``.
    case stuck(Int)
    case finished
    case compensated
  }

  public enum Failure: Sendable, Hashable, BitwiseCopyable {
    /// The participant said no, and will: nothing was done under this key, nor will be.
    case refused
    /// It was not done this time (not connected, 429, 503); it may be the next time.
    case notDone
    /// No answer, or one that tells nothing (a time-out, 500): it may have been done.
    case unknown
  }

  /// What a human knows of a step that is stuck.
  public enum Verdict: UInt8, Sendable, Hashable, BitwiseCopyable { case tryAgain, isDone, isNotDone }

  public enum Phase: Sendable, Hashable, BitwiseCopyable {
    case new, forward
    case backward(Cause)
    case finished, compensated
  }

  /// Where a step is.
  public struct Progress: Sendable, Hashable, BitwiseCopyable {
    public enum Stage: UInt8, Sendable, Hashable, BitwiseCopyable {
      case idle, calling, waiting
      /// Settled: known not to be done, given up while it may be, done.
      case refused, doubtful, done
      case undoing, undoWaiting, undone
      /// For a human: may be done, and has no undo; or its undo failed for good.
      case stuck, undoStuck
    }
    public internal(set) var stage = Stage.idle
    /// Of what it is doing, from 1.
    public internal(set) var attempt = 0
    public internal(set) var mayBeDone = false
    public internal(set) var retryAt = WallTime(milliseconds: 0)
  }

  public let plan: Plan
  public internal(set) var phase = Phase.new
  public internal(set) var steps: [Progress]
  var deadline = WallTime(milliseconds: .max)
  private let attempts: Int
  private let undoAttempts: Int
  private let backoff: Backoff
  let within: Int64

  /// A new one; nothing happens before ``begin(now:writing:doing:)``.
  public init(_ plan: Plan, _ settings: Settings = Settings()) {
    self.plan = plan
    steps = Array(repeating: Progress(), count: plan.steps.count)
    attempts = max(1, settings.attempts)
    undoAttempts = max(1, settings.undoAttempts)
    var waits = Backoff.Settings()
    waits.first = settings.first
    waits.max = settings.max
    backoff = Backoff(waits)
    within = max(0, settings.within.inNanoseconds / 1_000_000)
  }

  /// As the journal has it, or nil when these entries are not the beginning of any saga's journal with this plan.
  public init?(_ plan: Plan, _ settings: Settings = Settings(), journal: some Sequence<Entry>) {
    self.init(plan, settings)
    for entry in journal { guard apply(entry) else { return nil } }
  }

  /// The idempotency key of a step's calls, or of its undo's: the same over all attempts.
  public static func key(saga: String, step: Int, isUndo: Bool) -> String {
    "\(saga).\(step).\(isUndo ? "undo" : "do")"
  }

  // MARK: Asking

  public var hasEnded: Bool { phase == .finished || phase == .compensated }

  /// When ``wake(now:writing:doing:)`` has something to do, nil for never.
  public var nextWake: WallTime? {
    if hasEnded || phase == .new { return nil }
    var first = phase == .forward && mayTurn ? deadline : WallTime(milliseconds: .max)
    for step in steps where step.stage == .waiting || step.stage == .undoWaiting { first = min(first, step.retryAt) }
    return first.milliseconds == .max ? nil : first
  }

  /// Whether it may turn back unforced: not while a step that cannot be undone is on its way or in doubt.
  public var mayTurn: Bool {
    for (step, progress) in zip(plan.steps, steps) where !step.hasUndo {
      if progress.stage == .calling || progress.stage == .waiting || progress.stage == .stuck { return false }
    }
    return true
  }

  // MARK: Inputs

  public mutating func begin(now: WallTime, writing entries: inout [Entry], doing actions: inout [Action]) {
    guard phase == .new else { return }
    write(.begun(now), &entries)
    advance(now, &entries, &actions)
  }

  /// A call of this step was answered: it is done.
  ///
  /// Late ones count, too: better than another attempt.
  public mutating func stepDone(
    _ step: Int, now: WallTime, writing entries: inout [Entry], doing actions: inout [Action]
  ) {
    switch steps[step].stage {
    case .calling, .waiting, .stuck: write(.done(step), &entries)
    default: return
    }
    advance(now, &entries, &actions)
  }

  public mutating func stepFailed(
    _ step: Int, attempt: Int, _ failure: Failure, now: WallTime, using random: inout SeededRandom,
    writing entries: inout [Entry], doing actions: inout [Action]
  ) {
    let progress = steps[step]
    guard progress.stage == .calling && progress.attempt == attempt else { return }
    let hasUndo = plan.steps[step].hasUndo
    if failure == .refused {
      // An earlier attempt without an answer makes an undo advisable, which costs little. Where there is none the refusal is
      // believed: under one key it is the truth about all attempts.
      write(.failed(step, mayBeDone: progress.mayBeDone && hasUndo, retryAt: nil), &entries)
    } else {
      var retryAt: WallTime?
      if attempt < attempts && (phase == .forward || !hasUndo) {
        retryAt = now.later(byNanoseconds: backoff.wait(after: attempt, using: &random))
      }
      write(.failed(step, mayBeDone: progress.mayBeDone || failure == .unknown, retryAt: retryAt), &entries)
      if steps[step].stage == .stuck { actions.append(.stuck(step)) }
    }
    advance(now, &entries, &actions)
  }

  public mutating func undone(
    _ step: Int, now: WallTime, writing entries: inout [Entry], doing actions: inout [Action]
  ) {
    switch steps[step].stage {
    case .undoing, .undoWaiting, .undoStuck: write(.undone(step), &entries)
    default: return
    }
    advance(now, &entries, &actions)
  }

  public mutating func undoFailed(
    _ step: Int, attempt: Int, isFinal: Bool, now: WallTime, using random: inout SeededRandom,
    writing entries: inout [Entry], doing actions: inout [Action]
  ) {
    guard steps[step].stage == .undoing && steps[step].attempt == attempt else { return }
    var retryAt: WallTime?
    if attempt < undoAttempts && !isFinal {
      retryAt = now.later(byNanoseconds: backoff.wait(after: attempt, using: &random))
    }
    write(.undoFailed(step, retryAt: retryAt), &entries)
    if retryAt == nil { actions.append(.stuck(step)) }
    advance(now, &entries, &actions)
  }

  /// Time has passed: attempts that are due, and the deadline.
  ///
  /// Early, late or double calls do no harm.
  public mutating func wake(now: WallTime, writing entries: inout [Entry], doing actions: inout [Action]) {
    advance(now, &entries, &actions)
  }

  /// After a crash, on the value made of the journal: what was out is asked for again, and it goes on.
  public mutating func resume(now: WallTime, writing entries: inout [Entry], doing actions: inout [Action]) {
    for step in steps.indices where steps[step].stage == .calling {
      if !steps[step].mayBeDone || isBackward && plan.steps[step].hasUndo {
        write(.resumed, &entries)
        break
      }
    }
    for step in steps.indices {
      switch steps[step].stage {
      case .calling: actions.append(.call(step, attempt: steps[step].attempt))
      case .undoing: actions.append(.undo(step, attempt: steps[step].attempt))
      case .stuck, .undoStuck: actions.append(.stuck(step))
      default: break
      }
    }
    // Whoever waits for the end may not have heard of it.
    if phase == .finished { actions.append(.finished) }
    if phase == .compensated { actions.append(.compensated) }
    advance(now, &entries, &actions)
  }

  /// Somebody asks for it to be undone; false when it is too late, or, while ``mayTurn`` is false, too early to say.
  public mutating func turnBack(
    now: WallTime, writing entries: inout [Entry], doing actions: inout [Action]
  ) -> Bool {
    guard phase == .forward && mayTurn else { return false }
    write(.turned(.asked), &entries)
    advance(now, &entries, &actions)
    return true
  }

  /// A human says what became of a step that is stuck; false when that makes no sense for it.
  ///
  /// `isNotDone` of a step whose undo failed: it was undone by hand. Have it barred at the participant before that is said.
  public mutating func steer(
    _ step: Int, _ verdict: Verdict, now: WallTime, writing entries: inout [Entry], doing actions: inout [Action]
  ) -> Bool {
    var copy = self
    guard steps.indices.contains(step), copy.apply(.steered(step, verdict)) else { return false }
    write(.steered(step, verdict), &entries)
    advance(now, &entries, &actions)
    return true
  }

  // MARK: Deciding

  /// Writes and orders all that can go on now.
  private mutating func advance(_ now: WallTime, _ entries: inout [Entry], _ actions: inout [Action]) {
    if phase == .forward {
      if let failed = steps.firstIndex(where: { $0.stage == .refused || $0.stage == .doubtful }) {
        write(.turned(.step(failed)), &entries)
      } else if steps.allSatisfy({ $0.stage == .done }) {
        write(.finished, &entries)
        actions.append(.finished)
      } else if now >= deadline && mayTurn {
        write(.turned(.deadline), &entries)
      }
    }
    switch phase {
    case .forward: goForward(now, &entries, &actions)
    case .backward: goBackward(now, &entries, &actions)
    case .new, .finished, .compensated: break
    }
  }

  private mutating func goForward(_ now: WallTime, _ entries: inout [Entry], _ actions: inout [Action]) {
    retry(now, &entries, &actions)
    guard let list = plan.lists.first(where: { $0.contains { steps[$0].stage != .done } }) else { return }
    for step in list where steps[step].stage == .idle { call(step, attempt: 1, &entries, &actions) }
  }

  private mutating func goBackward(_ now: WallTime, _ entries: inout [Entry], _ actions: inout [Action]) {
    retry(now, &entries, &actions)
    // Invariant 3: an undo must not overtake its step.
    if steps.contains(where: { $0.stage == .calling || $0.stage == .waiting || $0.stage == .stuck }) { return }
    for list in plan.lists.reversed() {
      var isOpen = false
      for step in list {
        let progress = steps[step]
        switch progress.stage {
        case .done, .doubtful:
          if !plan.steps[step].hasUndo { continue }
          undo(step, attempt: 1, &entries, &actions)
        case .undoWaiting where progress.retryAt <= now:
          undo(step, attempt: progress.attempt + 1, &entries, &actions)
        case .undoing, .undoWaiting, .undoStuck: break
        case .idle, .calling, .waiting, .stuck, .refused, .undone: continue
        }
        isOpen = true
      }
      if isOpen { return }
    }
    write(.compensated, &entries)
    actions.append(.compensated)
  }

  private mutating func retry(_ now: WallTime, _ entries: inout [Entry], _ actions: inout [Action]) {
    for step in steps.indices where steps[step].stage == .waiting && steps[step].retryAt <= now {
      call(step, attempt: steps[step].attempt + 1, &entries, &actions)
    }
  }

  private mutating func call(_ step: Int, attempt: Int, _ entries: inout [Entry], _ actions: inout [Action]) {
    write(.calling(step, attempt: attempt), &entries)
    actions.append(.call(step, attempt: attempt))
  }

  private mutating func undo(_ step: Int, attempt: Int, _ entries: inout [Entry], _ actions: inout [Action]) {
    write(.undoing(step, attempt: attempt), &entries)
    actions.append(.undo(step, attempt: attempt))
  }

  private mutating func write(_ entry: Entry, _ entries: inout [Entry]) {
    let isTaken = apply(entry)
    precondition(isTaken, "a saga wrote what it would not read: \(entry)")
    entries.append(entry)
  }
}

extension WallTime {
  func later(byMilliseconds milliseconds: Int64) -> WallTime {
    WallTime(milliseconds: self.milliseconds.saturating(plus: milliseconds))
  }

  fileprivate func later(byNanoseconds nanoseconds: Int64) -> WallTime {
    // Rounded up: a wake-up at the millisecond before would find nothing due.
    later(byMilliseconds: nanoseconds.ceiled(by: 1_000_000))
  }
}
