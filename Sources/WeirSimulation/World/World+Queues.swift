// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// Queues of messages: what the state process and the pusher do in a run, in virtual time.
///
///     request done ──send──▶ DeliveryQueue ──lease──▶ UpstreamCall along the queue's edge ──over──▶ what QueueDelivery says
///                                ▲ tick: delays, leases, ages                                          │
///                                └──────────────────────── waits for its retry, or is dead ◀───────────┘
///
/// Whatever touches a queue puts it on a list, and the list is worked off when the event of the moment is over: so a delivery
/// that ends at once (a breaker is open, nobody listens) never leads into itself.
extension World {
  /// A program of a component sends a message; false if there is no room for it.
  mutating func send(to sink: Sink, key: UInt64, client: UInt64, from component: Int) -> Bool {
    let sinkNumber: Int
    switch sink {
    case .saga(let saga):
      begin(saga: saga, key: key, client: client)
      return true
    case .log(let log): sinkNumber = log
    case .queue(let queue): sinkNumber = logs.count + queue
    }
    let number = isNumbered(sink) ? (numbers[sinkNumber][client] ?? 0) + 1 : 0
    var message = Envelope(key: key, client: client, event: key, number: number)
    guard hasRoom(sink) else {
      refuse(sink)
      return false
    }
    if number > 0 { numbers[sinkNumber][client] = number }
    if messageFaults > 0, isHeldUp(&message, sink, from: component) { return true }
    put(message, into: sink)
    return true
  }

  /// Somebody looks at the order of what comes there.
  private func isNumbered(_ sink: Sink) -> Bool {
    switch sink {
    case .queue(let q): queues[q].isOrdered
    case .log(let log): logs[log].groups.contains { queues[$0].isOrdered }
    case .saga: false
    }
  }

  private func hasRoom(_ sink: Sink) -> Bool {
    switch sink {
    case .queue(let q): !queues[q].isFull
    case .log(let log): logs[log].groups.allSatisfy { !queues[$0].isFull }
    case .saga: true
    }
  }

  private mutating func refuse(_ sink: Sink) {
    switch sink {
    case .queue(let q): queues[q].counts.refused += 1
    case .log(let log): for q in logs[log].groups { queues[q].counts.refused += 1 }
    case .saga: break
    }
  }

  /// A message is in: in the same moment in each group of a log.
  private mutating func put(_ message: Envelope, into sink: Sink) {
    switch sink {
    case .queue(let q):
      _ = queues[q].offer(message, now: now)
      queueIsDue(q)
    case .log(let log):
      for q in logs[log].groups {
        _ = queues[q].offer(message, now: now)
        queueIsDue(q)
      }
    case .saga: break
    }
  }

  // MARK: - On the way

  /// What the faults in force do to a message on its way in; true when it comes later.
  ///
  /// Whether it is hit is a hash of its key and the fault, so it is the same message in every variant.
  private mutating func isHeldUp(_ message: inout Envelope, _ sink: Sink, from component: Int) -> Bool {
    for i in faults.indices where faultIsOn[i] && faultLeft[i] > 0 {
      switch faults[i].kind {
      case .kill, .slow, .fail, .away, .poison, .crowd: continue
      case .delay(let fault):
        guard meets(fault, i, message, sink, component) else { continue }
        faultLeft[i] -= 1
        hold(message, for: sink, by: fault.by)
        return true
      case .double(let fault):
        guard meets(fault, i, message, sink, component) else { continue }
        faultLeft[i] -= 1
        message.isDoubled = true
        var again = message
        // The same event, in a message of its own.
        again.key = Draws.mixed(message.key)
        hold(again, for: sink, by: fault.by)
      }
    }
    return false
  }

  private func meets(_ fault: MessageFault, _ i: Int, _ message: Envelope, _ sink: Sink, _ component: Int) -> Bool {
    guard fault.to == sink, fault.from == nil || fault.from == component else { return false }
    return MessageFaults.isHit(message.key, salt: faultSalts[i], share: fault.share)
  }

  private mutating func hold(_ message: Envelope, for sink: Sink, by: Int64) {
    let place: Int
    if let free = freeLate.popLast() {
      place = free
      late[place] = (message, sink)
    } else {
      place = late.count
      late.append((message, sink))
    }
    agenda.schedule(EventKind.late, at: now.nanoseconds &+ by, payload: UInt64(place))
  }

  /// A message that was held up comes in.
  mutating func lateComes(_ place: Int) {
    let (message, sink) = late[place]
    guard hasRoom(sink) else {
      // Whoever forwards it tries again.
      agenda.schedule(EventKind.late, at: now.nanoseconds &+ 1_000_000_000, payload: UInt64(place))
      return
    }
    freeLate.append(place)
    put(message, into: sink)
  }

  // MARK: - Jobs

  mutating func scheduleJob(_ i: Int) {
    guard let next = clockJobs[i].schedule.next(after: wall, in: clockJobs[i].zone) else { return }
    agenda.schedule(EventKind.job, at: (next.milliseconds &- clock) &* 1_000_000, payload: UInt64(i))
  }

  /// A job runs: one message, and all runs have one key.
  mutating func jobIsDue(_ i: Int) {
    scheduleJob(i)
    let q = clockJobs[i].queue
    let number = (numbers[logs.count + q][1] ?? 0) + 1
    numbers[logs.count + q][1] = number
    let key = Draws.mixed(UInt64(bitPattern: wall.milliseconds) ^ UInt64(i))
    // One in work, one that waits; the next is left out.
    _ = queues[q].offer(Envelope(key: key, client: 1, event: key, number: number), now: now)
    queueIsDue(q)
  }

  // MARK: - Sending and delivering

  /// Sends what an operation leaves behind; false if a queue had no room, which its program takes for a failure.
  mutating func sendMessages(_ handle: Handle) -> Bool {
    let job = jobs[handle.index]
    let operation = operations[Int(job.operation)]
    var isAccepted = true
    for i in Int(operation.firstSend)..<Int(operation.firstSend + operation.sends) {
      let key = Draws.mixed((job.key &+ UInt64(job.attempt)) ^ (UInt64(i &+ 1) &* 0x9fb2_1c65_1e98_df25))
      if sends[i].share < 1, Draws.unit(Draws.mixed(key)) >= sends[i].share { continue }
      let component = Int(instances[Int(job.instance)].component)
      if !send(to: sends[i].to, key: key, client: job.client, from: component) { isAccepted = false }
    }
    return isAccepted
  }

  private mutating func queueIsDue(_ q: Int) {
    if queues[q].isDue { return }
    queues[q].isDue = true
    dueQueues.append(Int32(q))
  }

  /// The time has come that a queue has named.
  mutating func queueWakes(_ q: Int) {
    // An earlier one was armed since.
    guard queues[q].wakeAt == now.nanoseconds else { return }
    queues[q].wakeAt = .max
    queueIsDue(q)
  }

  /// Gives every queue that something has happened to its turn.
  mutating func turnQueues() {
    var i = 0
    while i < dueQueues.count {
      let q = Int(dueQueues[i])
      i += 1
      queues[q].isDue = false
      var given = takenBuffer
      takenBuffer = []
      given.removeAll(keepingCapacity: true)
      queues[q].turn(now: now, into: &given)
      for one in given { deliver(one.lease, of: q, on: one.loop) }
      takenBuffer = given
      let wake = queues[q].nextWake(now: now).nanoseconds
      if wake < queues[q].wakeAt {
        queues[q].wakeAt = wake
        agenda.schedule(EventKind.queue, at: queues[q].wakeAt, payload: UInt64(q))
      }
    }
    dueQueues.removeAll()
  }

  /// The pusher calls the service with a message, or with those that it is the first of.
  private mutating func deliver(_ lease: DeliveryQueue.Leased, of q: Int, on l: Int) {
    guard let message = queues[q].message(lease.id) else { return }
    // Each delivery has luck of its own.
    let key = Draws.mixed(message.key &+ UInt64(lease.attempt) &* 0xa076_1d64_78bd_642f)
    // It carries its id as an idempotency key, and its body is at hand.
    var facts = RequestFacts(client: message.client, method: .keyed, body: .replayable)
    facts.affinity = message.client | 1
    var context = CallContext(
      key: key, operation: queues[q].operation, edge: Int32(queues[q].edge), method: .keyed)
    context.client = message.client
    context.queue = Int32(q)
    context.message = lease.id
    context.lease = lease.attempt
    context.poison = queues[q].poison(of: lease)
    begin(l, call: queues[q].edge, facts, context)
  }

  /// The call that delivers a message is over.
  mutating func messageIsOver(_ l: Int, _ context: CallContext, _ ending: RequestEnding) {
    let q = Int(context.queue)
    queues[q].requestEnded(context.message, attempt: context.lease, loop: l, ending, tries: context.tries, now: now)
    queueIsDue(q)
  }

  /// A new observation begins: the worst so far is over.
  mutating func forgetPeaks() {
    for q in queues.indices {
      let readings = queues[q].queue.readings
      queues[q].peaks.forget(Int64(readings.waiting + readings.delayed), at: now.nanoseconds)
    }
  }

  /// Messages that are in a queue.
  package func messages(in queue: Int) -> Int { queues[queue].queue.count }
}
