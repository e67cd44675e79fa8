// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// What instances do with the requests that reach them.
extension World {
  // MARK: - To and fro

  /// Sends a call's attempt to an instance; the failure if it is known at once.
  @inline(__always)
  mutating func send(
    _ l: Int, _ slot: Slot, _ place: Int, _ number: UInt8, isHedge: Bool
  ) -> RetryRule.Failure? {
    let index = Int(slot.index)
    let context = loops[l].calls[index]
    let isUp = instances[place].isUp
    if !isUp && network == 0 { return .connectRefused }
    let handle = newJob()
    let j = handle.index
    jobs[j] = Job(
      generation: handle.generation, key: context.key, client: context.client, call: slot,
      deadline: context.tellsCallee ? loops[l].flows.calls[slot].deadline.nanoseconds : .max, instance: Int32(place),
      epoch: instances[place].epoch, operation: context.operation, loop: UInt8(l), stage: .onTheWay, attempt: number,
      method: context.method, poison: context.poison, lasts: context.lasts, queue: context.queue, lease: context.lease,
      message: context.message)
    if context.queue >= 0 { queues[Int(context.queue)].sent(context.message, context.lease) }
    if isHedge { loops[l].calls[index].hedge = handle } else { loops[l].calls[index].job = handle }
    guard isUp else {
      // The refusal is back after the way there and back.
      agenda.schedule(EventKind.refused, at: now.nanoseconds &+ 2 &* network, payload: handle.raw)
      return nil
    }
    // A pooled connection is taken, and a request without a body is out at once.
    loops[l].flows.sentAtOnce(slot, of: instances[place].index, now: now)
    if network == 0 {
      reached(handle)
    } else {
      agenda.schedule(EventKind.deliver, at: now.nanoseconds &+ network, payload: handle.raw)
    }
    return nil
  }

  /// A request comes to its instance, unless the process it was sent to is gone.
  mutating func deliver(_ handle: Handle) {
    guard jobs[handle.index].generation == handle.generation else { return }
    let place = Int(jobs[handle.index].instance)
    if instances[place].epoch == jobs[handle.index].epoch, instances[place].isUp {
      reached(handle)
    } else {
      lose(handle)
    }
  }

  @inline(__always)
  private mutating func reached(_ handle: Handle) {
    let j = handle.index
    let place = Int(jobs[j].instance)
    instances[place].served &+= 1
    if jobs[j].lasts { agenda.schedule(EventKind.open, at: now.nanoseconds &+ network, payload: handle.raw) }
    if instances[place].busy < instances[place].workers {
      instances[place].setBusy(1, now: now.nanoseconds)
      beginWork(handle)
      return
    }
    jobs[j].stage = .queued
    jobs[j].since = now.nanoseconds
    jobs[j].next = -1
    if instances[place].newest >= 0 {
      jobs[Int(instances[place].newest)].next = Int32(j)
    } else {
      instances[place].oldest = Int32(j)
    }
    instances[place].newest = Int32(j)
    instances[place].queue.enter(at: now.nanoseconds)
  }

  /// The connection of an attempt is refused.
  mutating func refused(_ handle: Handle) {
    let job = jobs[handle.index]
    guard job.generation == handle.generation else { return }
    tell(handle, .connectRefused)
  }

  /// The connection of an attempt breaks before its answer.
  mutating func lose(_ handle: Handle) { tell(handle, .lostBeforeHead) }

  private mutating func tell(_ handle: Handle, _ failure: RetryRule.Failure) {
    let job = jobs[handle.index]
    removeJob(handle)
    let l = Int(job.loop)
    guard job.call != .none, leave(l, Int(job.call.index), handle) else { return }
    let instance = instances[Int(job.instance)].index
    perform(l, job.call, loops[l].flows.failed(job.call, failure, of: instance, now: now))
  }

  // MARK: - Work

  @inline(__always)
  private mutating func beginWork(_ handle: Handle) {
    let j = handle.index
    let component = Int(instances[Int(jobs[j].instance)].component)
    jobs[j].stage = .working
    let hash = Draws.mixed(jobs[j].key ^ components[component].salt &+ UInt64(jobs[j].attempt))
    var work = operations[Int(jobs[j].operation)].work.draw(hash)
    if components[component].faults != 0 { work = strike(j, component, work) }
    if jobs[j].poison != 0, jobs[j].status == 200 { jobs[j].status = jobs[j].poison }
    agenda.schedule(EventKind.workDone, at: now.nanoseconds &+ work, payload: handle.raw)
  }

  /// Its own work is done: it makes its calls, or answers.
  @inline(__always)
  mutating func workDone(_ handle: Handle) {
    let j = handle.index
    guard jobs[j].generation == handle.generation else { return }
    if jobs[j].status == 200, operations[Int(jobs[j].operation)].stages > 0 {
      nextStage(handle)
    } else {
      leave(handle)
    }
  }

  /// All is done: what it leaves behind is sent, then it answers.
  @inline(__always)
  private mutating func leave(_ handle: Handle) {
    let j = handle.index
    if jobs[j].status == 200, operations[Int(jobs[j].operation)].sends > 0, !sendMessages(handle) {
      jobs[j].status = 502
    }
    finish(handle)
  }

  /// Makes the calls of the next stage that has any for this request; answers after the last one.
  private mutating func nextStage(_ handle: Handle) {
    let j = handle.index
    while true {
      let operation = operations[Int(jobs[j].operation)]
      guard jobs[j].stageIndex < operation.stages else { return leave(handle) }
      let stage = stages[Int(operation.firstStage + jobs[j].stageIndex)]
      jobs[j].stageIndex += 1
      jobs[j].stage = .calling
      // One more than there are, so that calls that are over at once do not end the stage before all are made.
      jobs[j].pending = 1
      for i in stage.first..<stage.first + stage.count {
        guard jobs[j].generation == handle.generation else { return }
        call(Int(i), handle)
      }
      guard jobs[j].generation == handle.generation else { return }
      jobs[j].pending -= 1
      if jobs[j].pending > 0 { return }
      if jobs[j].failed { return fail(handle) }
    }
  }

  private mutating func call(_ i: Int, _ handle: Handle) {
    let j = handle.index
    // Another attempt makes its calls anew: with the first one's chance they would all end as those did.
    let again = UInt64(jobs[j].attempt &- 1) &* 0xa076_1d64_78bd_642f
    let key = Draws.mixed((jobs[j].key &+ again) ^ (UInt64(i &+ 1) &* 0xd6e8_feb8_6659_fd93))
    if items[i].share < 1, Draws.unit(Draws.mixed(key)) >= items[i].share { return }
    jobs[j].pending += 1
    let edge = items[i].edge
    let operation = Int(itemOperations[i])
    let method = operations[operation].hasMethod ? operations[operation].method : jobs[j].method
    let l = loops.count == 1 ? 0 : Int(key % UInt64(loops.count))
    let facts = RequestFacts(
      deadline: Instant(nanoseconds: jobs[j].deadline), method: method, outerRetries: items[i].tellsCallee)
    begin(
      l, call: edge, facts,
      CallContext(
        parent: handle, key: key, operation: itemOperations[i], edge: Int32(edge), client: jobs[j].client,
        method: method, optional: items[i].optional, tellsCallee: items[i].tellsCallee))
  }

  /// A call that a job made is over.
  mutating func callIsOver(_ parent: Handle, failed: Bool) {
    let j = parent.index
    guard jobs[j].generation == parent.generation else { return }
    if failed { jobs[j].failed = true }
    jobs[j].pending -= 1
    guard jobs[j].pending == 0 else { return }
    if jobs[j].failed { fail(parent) } else { nextStage(parent) }
  }

  /// A program that cannot get what it needs answers 502.
  private mutating func fail(_ handle: Handle) {
    jobs[handle.index].status = 502
    finish(handle)
  }

  /// The answer leaves; the worker takes who waits longest.
  @inline(__always)
  private mutating func finish(_ handle: Handle) {
    let j = handle.index
    jobs[j].stage = .answering
    if jobs[j].queue >= 0, jobs[j].status == 200 { queues[Int(jobs[j].queue)].worked(jobs[j].message, jobs[j].lease) }
    freeWorker(Int(jobs[j].instance))
    if network == 0 {
      answered(handle)
    } else {
      agenda.schedule(EventKind.answer, at: now.nanoseconds &+ network, payload: handle.raw)
    }
  }

  @inline(__always)
  private mutating func freeWorker(_ place: Int) {
    let first = instances[place].oldest
    guard first >= 0 else {
      instances[place].setBusy(-1, now: now.nanoseconds)
      return
    }
    let j = Int(first)
    instances[place].oldest = jobs[j].next
    if jobs[j].next < 0 { instances[place].newest = -1 }
    instances[place].queue.leave(enteredAt: jobs[j].since, now: now.nanoseconds)
    beginWork(Handle(index: j, generation: jobs[j].generation))
  }

  /// The answer comes to its caller, if that still waits for it.
  @inline(__always)
  mutating func answered(_ handle: Handle) {
    let j = handle.index
    guard jobs[j].generation == handle.generation else { return }
    let slot = jobs[j].call
    let status = jobs[j].status
    let l = Int(jobs[j].loop)
    let instance = instances[Int(jobs[j].instance)].index
    let lasts = jobs[j].lasts
    removeJob(handle)
    guard slot != .none, leave(l, Int(slot.index), handle) else { return }
    if lasts { return closed(l, slot, of: instance, status: status) }
    perform(l, slot, loops[l].flows.head(slot, status: status, of: instance, now: now))
  }

  /// A job is no longer its call's; false if it was not.
  @inline(__always)
  private mutating func leave(_ l: Int, _ index: Int, _ handle: Handle) -> Bool {
    if loops[l].calls[index].job == handle {
      // The attempt beside it, if there is one, is now the call's.
      loops[l].calls[index].job = loops[l].calls[index].hedge
      loops[l].calls[index].hedge = .none
      return true
    }
    guard loops[l].calls[index].hedge == handle else { return false }
    loops[l].calls[index].hedge = .none
    return true
  }

  // MARK: - Ends

  /// The caller does not wait any more: the work goes on for nobody, or stops if the component cancels.
  mutating func abandon(_ handle: Handle, cancels: Bool) {
    let j = handle.index
    guard jobs[j].generation == handle.generation else { return }
    jobs[j].call = .none
    let place = Int(jobs[j].instance)
    guard cancels, components[Int(instances[place].component)].cancels else { return }
    switch jobs[j].stage {
    case .free, .answering: return
    case .onTheWay: removeJob(handle)
    case .queued:
      unqueue(j, place)
      removeJob(handle)
    case .working:
      removeJob(handle)
      freeWorker(place)
    case .calling:
      removeJob(handle)
      abandonCalls(of: handle)
      freeWorker(place)
    }
  }

  /// Calls whose caller is gone are given up.
  mutating func abandonCalls(of parent: Handle) {
    for l in loops.indices {
      var index = 0
      while index < loops[l].calls.count {
        let context = loops[l].calls[index]
        if context.parent == parent, loops[l].flows.calls.isLive(context.slot) {
          perform(l, context.slot, loops[l].flows.callerGone(context.slot, now: now))
        }
        index += 1
      }
    }
  }

  /// Takes a job out of the middle of its instance's queue.
  private mutating func unqueue(_ wanted: Int, _ place: Int) {
    var previous: Int32 = -1
    var at = instances[place].oldest
    while at >= 0, Int(at) != wanted {
      previous = at
      at = jobs[Int(at)].next
    }
    guard at >= 0 else { return }
    let next = jobs[wanted].next
    if previous >= 0 { jobs[Int(previous)].next = next } else { instances[place].oldest = next }
    if next < 0 { instances[place].newest = previous }
    instances[place].queue.leave(enteredAt: jobs[wanted].since, now: now.nanoseconds)
  }

  // MARK: - Jobs

  @inline(__always)
  private mutating func newJob() -> Handle {
    if freeJob >= 0 {
      let j = Int(freeJob)
      freeJob = jobs[j].next
      return Handle(index: j, generation: jobs[j].generation)
    }
    jobs.append(Job())
    precondition(jobs.count < 1 << 24, "more requests under way than fit into an event")
    return Handle(index: jobs.count - 1, generation: 0)
  }

  @inline(__always)
  mutating func removeJob(_ handle: Handle) {
    let j = handle.index
    if jobs[j].queue >= 0 { queues[Int(jobs[j].queue)].left(jobs[j].message, jobs[j].lease) }
    jobs[j].generation &+= 1
    jobs[j].stage = .free
    jobs[j].call = .none
    jobs[j].next = freeJob
    freeJob = Int32(j)
  }
}
