// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// Sagas: what a runner does in a run, in virtual time.
///
/// Decided is by `Saga`, by `SagaRun` what an answer means, and by `SagaCalls` which calls are made now; the journal is written in
/// no time, and nobody who runs it dies.
extension World {
  /// A call that a saga has ordered; made when the event of the moment is over, so that no call leads into itself.
  struct DueStep {
    var saga: Int
    var instance: Int
    var generation: UInt32
    var step: Int
    var isUndo: Bool
    var attempt: Int
    /// Its chance: each attempt has luck of its own.
    var key: UInt64
    var loop = 0
    /// When it was made for the first time.
    var since: Int64 = 0
    /// It does not stand in line any more.
    var hasPlace = false
  }

  static func resolved(
    _ call: SagaModel.Call, _ plan: FlowPlan, _ components: borrowing Bank<Component>
  ) -> SagaState.Call {
    SagaState.Call(
      edge: call.edge, operation: components[plan.edges[call.edge].service].firstOperation + Int32(call.operation),
      slots: call.slots)
  }

  var wall: WallTime { WallTime(milliseconds: clock &+ now.nanoseconds / 1_000_000) }

  /// Rounded up: at the millisecond before nothing is due.
  private func virtual(_ time: WallTime) -> Int64 {
    let milliseconds = min(max(0, time.milliseconds &- clock), Int64.max / 2_000_000)
    return max(now.nanoseconds, milliseconds &* 1_000_000)
  }

  /// A program begins a saga.
  mutating func begin(saga s: Int, key: UInt64, client: UInt64) {
    let i = sagas[s].add(key: key, client: client, now: now.nanoseconds)
    let wall = wall
    goOn(s, i) { saga, _, entries, actions in saga.begin(now: wall, writing: &entries, doing: &actions) }
  }

  /// The time has come that a saga has named.
  mutating func sagaWakes(_ payload: UInt64) {
    let s = Int(payload >> 32)
    let i = Int(payload & 0xffff_ffff)
    guard sagas[s].instances[i].timerAt == now.nanoseconds else { return }
    sagas[s].instances[i].timerAt = .max
    if sagas[s].instances[i].isFree { return }
    let wall = wall
    goOn(s, i) { saga, _, entries, actions in saga.wake(now: wall, writing: &entries, doing: &actions) }
  }

  /// Tells a saga something, and carries out what it orders.
  private mutating func goOn(
    _ s: Int, _ i: Int, _ input: (inout Saga, inout SeededRandom, inout [Saga.Entry], inout [Saga.Action]) -> Void
  ) {
    let actions = sagas[s].goOn(i, input)
    for action in actions {
      var due = DueStep(
        saga: s, instance: i, generation: sagas[s].instances[i].generation, step: 0, isUndo: false, attempt: 0, key: 0)
      switch action {
      case .call(let step, let attempt): (due.step, due.attempt) = (step, attempt)
      case .undo(let step, let attempt): (due.step, due.isUndo, due.attempt) = (step, true, attempt)
      case .stuck:
        sagas[s].stuck(i)
        continue
      case .finished, .compensated: continue
      }
      let place = UInt64(due.step) << 32 | UInt64(due.isUndo ? 1 : 0) << 31 | UInt64(due.attempt)
      due.key = Draws.mixed(sagas[s].instances[i].key ^ place &* 0x9fb2_1c65_1e98_df25)
      if loops.count > 1 { due.loop = Int(due.key % UInt64(loops.count)) }
      dueSteps.append(due)
    }
    if sagas[s].instances[i].saga.hasEnded { return sagas[s].end(i, now: now.nanoseconds) }
    if let next = sagas[s].instances[i].saga.nextWake { wake(s, i, at: virtual(next)) }
  }

  private mutating func wake(_ s: Int, _ i: Int, at: Int64) {
    guard at < sagas[s].instances[i].timerAt else { return }
    sagas[s].instances[i].timerAt = at
    agenda.schedule(EventKind.saga, at: at, payload: UInt64(s) << 32 | UInt64(i))
  }

  // MARK: - Calls

  /// Makes the calls that were ordered, or puts them in line.
  mutating func callSteps() {
    var at = 0
    while at < dueSteps.count {
      var due = dueSteps[at]
      at += 1
      guard let call = call(of: due) else {
        if due.hasPlace { leaveLine(due) }
        continue
      }
      if !due.hasPlace {
        guard sagaCalls[due.loop][call.edge].begin(due, slots: call.slots) else { continue }
        due.since = now.nanoseconds
      }
      make(due, call)
    }
    dueSteps.removeAll(keepingCapacity: true)
  }

  /// Whom a step is to call; nil: the saga has ended meanwhile.
  private func call(of due: DueStep) -> SagaState.Call? {
    let instance = sagas[due.saga].instances[due.instance]
    guard instance.generation == due.generation, !instance.isFree else { return nil }
    let step = sagas[due.saga].steps[due.step]
    return due.isUndo ? step.undo : step.act
  }

  private mutating func make(_ due: DueStep, _ call: SagaState.Call) {
    let instance = sagas[due.saga].instances[due.instance]
    var facts = RequestFacts(client: instance.client, method: .keyed, body: .replayable)
    facts.affinity = instance.client | 1
    var context = CallContext(key: due.key, operation: call.operation, edge: Int32(call.edge), method: .keyed)
    context.client = instance.client
    context.saga = Int32(due.saga)
    context.message = Int64(due.generation) << 32 | Int64(due.instance)
    context.lease = UInt16(due.step) << 1 | (due.isUndo ? 1 : 0)
    context.sagaAttempt = UInt16(clamping: due.attempt)
    context.sagaSince = due.since
    begin(due.loop, call: call.edge, facts, context)
  }

  /// The call of a saga's step is over.
  mutating func stepIsOver(_ l: Int, _ context: CallContext, _ ending: RequestEnding) {
    let s = Int(context.saga)
    let i = Int(context.message & 0xffff_ffff)
    let step = Int(context.lease >> 1)
    let isUndo = context.lease & 1 == 1
    let due = DueStep(
      saga: s, instance: i, generation: UInt32(truncatingIfNeeded: context.message >> 32), step: step, isUndo: isUndo,
      attempt: Int(context.sagaAttempt), key: context.key, loop: l, since: context.sagaSince, hasPlace: true)
    guard call(of: due) != nil else { return leaveLine(due, edge: Int(context.edge)) }
    if let pause = sagas[s].again(
      after: ending.reason, attempts: context.tries, waited: now.nanoseconds &- context.sagaSince)
    {
      return callAgain(due, in: pause)
    }
    leaveLine(due, edge: Int(context.edge))
    sagas[s].counts.calls += 1
    let wall = wall
    let outcome = SagaRun.outcome(status: ending.status, reason: ending.reason, attempts: context.tries)
    goOn(s, i) { saga, random, entries, actions in
      saga.ended(
        step, isUndo: isUndo, attempt: due.attempt, outcome, now: wall, using: &random, writing: &entries,
        doing: &actions)
    }
  }

  /// A call has no place any more: it is the next one's.
  private mutating func leaveLine(_ due: DueStep, edge: Int? = nil) {
    let step = sagas[due.saga].steps[due.step]
    guard let call = due.isUndo ? step.undo : step.act else { return }
    let edge = edge ?? call.edge
    sagaCalls[due.loop][edge].leave()
    guard var next = sagaCalls[due.loop][edge].next(slots: call.slots) else { return }
    next.hasPlace = true
    next.since = now.nanoseconds
    dueSteps.append(next)
  }

  private mutating func callAgain(_ due: DueStep, in pause: Int64) {
    let place: Int
    if let free = freeLaterSteps.popLast() {
      place = free
      laterSteps[place] = due
    } else {
      place = laterSteps.count
      laterSteps.append(due)
    }
    agenda.schedule(EventKind.sagaAgain, at: now.nanoseconds &+ pause, payload: UInt64(place))
  }

  /// A call that found no place is made again.
  mutating func stepAgain(_ place: Int) {
    freeLaterSteps.append(place)
    dueSteps.append(laterSteps[place])
  }
}

/// A saga of the world: those under way, with their journals, and how those ended that are over.
struct SagaState {
  struct Call {
    var edge: Int
    /// In the world's flat array.
    var operation: Int32
    var slots: Int
  }

  struct Step {
    var act: Call
    var undo: Call?
  }

  struct Instance {
    var key: UInt64
    var client: UInt64
    var beganAt: Int64
    var generation: UInt32 = 0
    var saga: Saga
    var timerAt = Int64.max
    var isStuck = false
    var isFree = false
  }

  let name: String
  let steps: [Step]
  private let plan: Saga.Plan
  private let settings: Saga.Settings
  private var random: SeededRandom
  private let salt: UInt64
  var instances: [Instance] = []
  private var free: [Int] = []
  var counts = SagaCounts()
  /// From its beginning until it is finished or compensated.
  private(set) var times = Tally()
  /// ∫ of how many are under way.
  private(set) var underWay = QueueGauge()

  init(_ model: SagaModel, steps: [Step], seed: UInt64, index: Int) {
    name = model.name
    self.steps = steps
    plan = model.plan
    settings = model.settings
    random = SeededRandom(seed: seed, stream: "saga \(model.name)")
    salt = Draws.salt(seed, "sagas of \(model.name)")
  }

  mutating func add(key: UInt64, client: UInt64, now: Int64) -> Int {
    counts.begun += 1
    underWay.enter(at: now)
    var instance = Instance(key: Draws.mixed(key ^ salt), client: client, beganAt: now, saga: Saga(plan, settings))
    guard let place = free.popLast() else {
      instances.append(instance)
      return instances.count - 1
    }
    instance.generation = instances[place].generation
    instance.timerAt = instances[place].timerAt
    instances[place] = instance
    return place
  }

  /// What it writes is in its journal at once.
  mutating func goOn(
    _ i: Int, _ input: (inout Saga, inout SeededRandom, inout [Saga.Entry], inout [Saga.Action]) -> Void
  ) -> [Saga.Action] {
    var entries: [Saga.Entry] = []
    var actions: [Saga.Action] = []
    input(&instances[i].saga, &random, &entries, &actions)
    return actions
  }

  /// In how long a call that found no place is made again; nil: that is an answer.
  mutating func again(after reason: Reason, attempts: UInt8, waited: Int64) -> Int64? {
    SagaCalls<World.DueStep>.again(after: reason, attempts: attempts, waited: waited, using: &random)
  }

  /// A human has to look at it; several of its steps may wait for that.
  mutating func stuck(_ i: Int) {
    if !instances[i].isStuck { counts.stuck += 1 }
    instances[i].isStuck = true
  }

  mutating func end(_ i: Int, now: Int64) {
    let instance = instances[i]
    if instance.saga.phase == .finished {
      counts.finished += 1
    } else {
      counts.compensated += 1
      if instance.saga.steps.contains(where: { $0.stage == .done }) { counts.leftDone += 1 }
    }
    times.record(now &- instance.beganAt)
    underWay.leave(enteredAt: instance.beganAt, now: now)
    instances[i].generation &+= 1
    instances[i].isFree = true
    free.append(i)
  }

  /// What is wrong with it, or nil.
  func violation() -> String? {
    var inside: Int64 = 0
    for instance in instances where !instance.isFree {
      inside += 1
      if let wrong = instance.saga.violation() { return wrong }
    }
    if inside != counts.begun - counts.finished - counts.compensated {
      return "\(counts.begun) were begun, \(counts.finished + counts.compensated) are over, \(inside) under way"
    }
    return nil
  }
}

/// How sagas have ended since the beginning.
struct SagaCounts: Sendable, Equatable {
  var begun: Int64 = 0
  var finished: Int64 = 0
  var compensated: Int64 = 0
  /// Of those: a step stays done.
  var leftDone: Int64 = 0
  /// For a human to look at.
  var stuck: Int64 = 0
  /// Of steps and of what undoes them.
  var calls: Int64 = 0
}
