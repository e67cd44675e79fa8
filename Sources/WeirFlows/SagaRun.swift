// SPDX-License-Identifier: Apache-2.0
public import WeirBase
public import WeirPatterns

/// One saga in the hands of one runner: its journal is read, it goes on from there, and is put down when it is over or waits.
///
/// What to do next is decided by ``Saga``; this sees to it that nothing is ordered before it is written down, and that of two
/// runners who both take it for theirs one gives up. Whoever drives it (`WeirProxy`) leases it from a queue, keeps
/// the journal, makes the calls. The simulator drives ``Saga`` itself, without a journal and with the same ``outcome(status:reason:attempts:)``.
///
///     begin ─▶ read … ─▶ append ─appended─▶ call ─ended─▶ append …  ─▶ settle
///                          └──conflict: another has it──▶ settle(giveBack)
/// ## Invariants
/// 1. A call is ordered only when all entries before it are in the journal: no crash forgets whom to undo.
/// 2. At most one append is open; what is decided meanwhile is appended next. So the journal's versions are one runner's.
/// 3. After `settle` nothing more is ordered, and what still comes in changes nothing.
/// 4. Until it has been settled something is open: a read, an append, a call, or ``nextWake``.
/// 5. No call is ordered from the end of the lease on: who stood still that long finds the saga with another, perhaps undone.
public struct SagaRun: Sendable, Equatable {
  public struct Settings: Sendable, Equatable {
    public var saga = Saga.Settings()
    /// For how long it is this runner's; extended when half of that is over.
    public var visibility = Duration.seconds(60)
    /// How long it is left alone when its journal cannot be read or written: not so short that a disk that is full for days
    /// uses up the numbers of leases (65 535).
    public var rest = Duration.seconds(15)

    public init() {}
  }

  public struct Call: Sendable, Hashable {
    /// From 0.
    public var step: Int
    public var isUndo: Bool
    public var attempt: Int
    /// `POST payments/charge`.
    public var target: String

    public init(step: Int, isUndo: Bool, attempt: Int, target: String) {
      self.step = step
      self.isUndo = isUndo
      self.attempt = attempt
      self.target = target
    }
  }

  /// An entry of the journal's log.
  public struct Commit: Sendable, Hashable {
    /// From 1, without gaps.
    public var version: Int64
    public var body: [UInt8]

    public init(version: Int64, body: [UInt8]) {
      self.version = version
      self.body = body
    }
  }

  /// How it leaves this runner's hands.
  public enum Ending: Sendable, Hashable {
    case finished
    case compensated
    /// A human has to say what became of these steps.
    case stuck([Int])
    /// A human has to look: its journal is none.
    case unreadable
    /// Nothing is to be done until then.
    case postpone(until: WallTime)
    /// Another has gone on with it, or will.
    case giveBack
    /// It is not this runner's any more: there is nothing to say.
    case lost
  }

  public enum Output: Sendable, Hashable {
    /// The journal's commits behind this version: answered by ``read(_:isLast:now:doing:)``.
    case read(after: Int64)
    /// Durable, if the journal still has this version: ``appended(now:doing:)``, ``conflicted(doing:)``.
    case append([UInt8], expected: Int64)
    case call(Call)
    case extend
    case settle(Ending)
  }

  public enum Outcome: UInt8, Sendable, Hashable, BitwiseCopyable {
    case done, refused, notDone, unknown
  }

  private enum Stage: UInt8, Sendable, Equatable { case new, reading, running, over }

  /// What it does; of one that was begun before, as it was then.
  public private(set) var script: SagaScript
  /// As decided; the journal may be behind by what is not yet appended.
  public private(set) var saga: Saga
  /// Of the journal, as far as it is known.
  public private(set) var version: Int64 = 0
  private var stage = Stage.new
  private var entries: [Saga.Entry] = []
  private var isAppending = false
  /// Ordered by what is being appended.
  private var ordered: [Saga.Action] = []
  /// Decided since.
  private var records: [SagaRecord] = []
  private var actions: [Saga.Action] = []
  private var leasedUntil: WallTime
  private var isExtending = false
  private let settings: Settings

  public init(_ script: SagaScript, _ settings: Settings = Settings(), leasedUntil: WallTime) {
    self.script = script
    self.settings = settings
    self.leasedUntil = leasedUntil
    saga = Saga(script.plan, settings.saga)
  }

  public var isOver: Bool { stage == .over }

  /// Whether what was ordered may still be called for; one that waited for its place in line asks again.
  public func mayCall(now: WallTime) -> Bool { stage != .over && now < leasedUntil }

  /// When ``wake(now:doing:)`` has something to do; nil for never.
  public var nextWake: WallTime? {
    if stage == .over || stage == .new { return nil }
    let extend = isExtending ? nil : extendAt
    let wake = stage == .running && !isAppending ? saga.nextWake : nil
    return [extend, wake].compactMap { $0 }.min()
  }

  private var extendAt: WallTime {
    WallTime(milliseconds: leasedUntil.milliseconds - settings.visibility.inNanoseconds / 2_000_000)
  }

  // MARK: Inputs

  /// It has been leased.
  public mutating func begin(doing outputs: inout [Output]) {
    guard stage == .new else { return }
    stage = .reading
    outputs.append(.read(after: 0))
  }

  /// A page of the journal; unless it is the last, the next one is asked for.
  public mutating func read(_ commits: [Commit], isLast: Bool, now: WallTime, doing outputs: inout [Output]) {
    guard stage == .reading else { return }
    for commit in commits {
      guard commit.version == version + 1, let records = SagaJournal.decode(commit.body) else {
        return end(.unreadable, &outputs)
      }
      version = commit.version
      for record in records {
        switch record {
        case .script(let script): self.script = script
        case .entry(let entry): entries.append(entry)
        case .answered, .taken: break
        }
      }
    }
    guard isLast else { return outputs.append(.read(after: version)) }
    guard let saga = Saga(script.plan, settings.saga, journal: entries) else { return end(.unreadable, &outputs) }
    self.saga = saga
    entries = []
    stage = .running
    if version == 0 {
      records.append(.script(script))
      input { $0.begin(now: now, writing: &$1, doing: &$2) }
    } else {
      input { $0.resume(now: now, writing: &$1, doing: &$2) }
      // Whoever had it before may still wait for an answer to what is asked again here.
      if records.isEmpty && isCalling { records.append(.taken) }
    }
    flush(now, &outputs)
  }

  /// The journal cannot be read, or nobody knows whether it was written.
  public mutating func unanswered(now: WallTime, doing outputs: inout [Output]) {
    let rest = settings.rest.inNanoseconds / 1_000_000
    end(.postpone(until: WallTime(milliseconds: now.milliseconds + max(1, rest))), &outputs)
  }

  /// What was to be appended is in the journal.
  public mutating func appended(now: WallTime, doing outputs: inout [Output]) {
    guard stage == .running, isAppending else { return }
    isAppending = false
    version += 1
    let actions = ordered
    ordered = []
    carryOut(actions, now, &outputs)
    flush(now, &outputs)
  }

  /// Somebody else has appended: it is theirs, or an operator's word has come.
  public mutating func conflicted(doing outputs: inout [Output]) { end(.giveBack, &outputs) }

  /// A call has ended.
  public mutating func ended(
    _ call: Call, _ outcome: Outcome, _ answer: SagaAnswer, now: WallTime, using random: inout SeededRandom,
    doing outputs: inout [Output]
  ) {
    guard stage == .running else { return }
    let count = records.count
    records.append(.answered(call.step, isUndo: call.isUndo, answer))
    input { saga, entries, actions in
      saga.ended(
        call.step, isUndo: call.isUndo, attempt: call.attempt, outcome, now: now, using: &random, writing: &entries,
        doing: &actions)
    }
    // An answer that changes nothing is not worth a line.
    if records.count == count + 1 { records.removeLast() }
    flush(now, &outputs)
  }

  /// Time has passed; early, late and double calls do no harm.
  public mutating func wake(now: WallTime, doing outputs: inout [Output]) {
    guard stage == .running || stage == .reading else { return }
    if !isExtending && now >= extendAt {
      isExtending = true
      outputs.append(.extend)
    }
    guard stage == .running, !isAppending, let wake = saga.nextWake, wake <= now else { return }
    input { $0.wake(now: now, writing: &$1, doing: &$2) }
    flush(now, &outputs)
  }

  /// It is this runner's until then; nil: nobody has said so.
  public mutating func extended(until: WallTime?) {
    isExtending = false
    if let until { leasedUntil = until }
  }

  /// The lease has gone to another.
  public mutating func leaseLost(doing outputs: inout [Output]) { end(.lost, &outputs) }

  // MARK: Deciding

  private mutating func input(_ body: (inout Saga, inout [Saga.Entry], inout [Saga.Action]) -> Void) {
    var entries: [Saga.Entry] = []
    body(&saga, &entries, &actions)
    for entry in entries { records.append(.entry(entry)) }
  }

  private var isCalling: Bool { saga.steps.contains { $0.stage == .calling || $0.stage == .undoing } }

  /// What was decided is appended, or, where there is nothing to append, done.
  private mutating func flush(_ now: WallTime, _ outputs: inout [Output]) {
    while stage == .running && !isAppending {
      if !records.isEmpty {
        isAppending = true
        swap(&ordered, &actions)
        outputs.append(.append(SagaJournal.encode(records), expected: version))
        records = []
        return
      }
      let actions = self.actions
      self.actions = []
      carryOut(actions, now, &outputs)
      if stage == .over { return }
      if saga.hasEnded { return end(saga.phase == .finished ? .finished : .compensated, &outputs) }
      if isCalling { return }
      guard let wake = saga.nextWake else {
        let stuck = saga.steps.indices.filter { saga.steps[$0].stage == .stuck || saga.steps[$0].stage == .undoStuck }
        return end(.stuck(stuck), &outputs)
      }
      if wake > now { return end(.postpone(until: wake), &outputs) }
      input { $0.wake(now: now, writing: &$1, doing: &$2) }
    }
  }

  private mutating func carryOut(_ actions: [Saga.Action], _ now: WallTime, _ outputs: inout [Output]) {
    let steps = script.steps
    for action in actions {
      switch action {
      case .call where !mayCall(now: now), .undo where !mayCall(now: now): return end(.giveBack, &outputs)
      case .call(let step, let attempt):
        outputs.append(.call(Call(step: step, isUndo: false, attempt: attempt, target: steps[step].act)))
      case .undo(let step, let attempt):
        outputs.append(.call(Call(step: step, isUndo: true, attempt: attempt, target: steps[step].undo ?? "")))
      // Seen by its state, when nothing is open any more.
      case .stuck, .finished, .compensated: break
      }
    }
  }

  private mutating func end(_ ending: Ending, _ outputs: inout [Output]) {
    if stage == .over { return }
    stage = .over
    outputs.append(.settle(ending))
  }

  // MARK: What answers mean

  /// What an answer says of its call; `status` is the participant's own, 0 when there was none.
  ///
  /// As for messages of queues: 2xx is done, 4xx will say so again, but for those that say "not now". 409 is what a participant
  /// says whose earlier attempt is still under way: that is no refusal.
  public static func outcome(status: UInt16, reason: Reason, attempts: UInt8) -> Outcome {
    if reason == .none {
      switch status {
      case 200..<300: return .done
      case 425, 429, 503: return .notDone
      case 408, 409: return .unknown
      case 400..<500: return .refused
      default: return .unknown
      }
    }
    if attempts == 0 { return .notDone }
    switch reason {
    case .connectFailed, .connectTimeout, .tlsFailed: return attempts == 1 ? .notDone : .unknown
    default: return .unknown
    }
  }

  /// What is wrong with this value, or nil.
  public func violation() -> String? {
    if let violation = saga.violation() { return violation }
    if stage == .running && !isAppending && !records.isEmpty { return "something is decided, and not appended" }
    if stage == .running && !isAppending && !isCalling { return "nothing is open" }
    return nil
  }
}

extension Saga {
  /// A call that was ordered has ended; what its outcome means, for runner and simulator.
  public mutating func ended(
    _ step: Int, isUndo: Bool, attempt: Int, _ outcome: SagaRun.Outcome, now: WallTime,
    using random: inout SeededRandom, writing entries: inout [Entry], doing actions: inout [Action]
  ) {
    let failure: Failure
    switch outcome {
    case .done where isUndo: return undone(step, now: now, writing: &entries, doing: &actions)
    case .done: return stepDone(step, now: now, writing: &entries, doing: &actions)
    case .refused: failure = .refused
    case .notDone: failure = .notDone
    case .unknown: failure = .unknown
    }
    if isUndo {
      undoFailed(
        step, attempt: attempt, isFinal: failure == .refused, now: now, using: &random, writing: &entries,
        doing: &actions)
    } else {
      stepFailed(step, attempt: attempt, failure, now: now, using: &random, writing: &entries, doing: &actions)
    }
  }
}
