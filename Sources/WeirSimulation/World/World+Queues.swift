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
  /// A program sends a message; false if the queue is full.
  mutating func send(to q: Int, key: UInt64, client: UInt64) -> Bool {
    let isAccepted = queues[q].offer(key, client: client, now: now)
    queueIsDue(q)
    return isAccepted
  }

  /// Sends what an operation leaves behind; false if a queue had no room, which its program takes for a failure.
  mutating func sendMessages(_ handle: Handle) -> Bool {
    let job = jobs[handle.index]
    let operation = operations[Int(job.operation)]
    var isAccepted = true
    for i in Int(operation.firstSend)..<Int(operation.firstSend + operation.sends) {
      let key = Draws.mixed((job.key &+ UInt64(job.attempt)) ^ (UInt64(i &+ 1) &* 0x9fb2_1c65_1e98_df25))
      if sends[i].share < 1, Draws.unit(Draws.mixed(key)) >= sends[i].share { continue }
      if !send(to: sends[i].queue, key: key, client: job.client) { isAccepted = false }
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

  /// The pusher calls the service with a message.
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
    context.poison = message.poison
    begin(l, call: queues[q].edge, facts, context)
  }

  /// The call that delivers a message is over.
  mutating func messageIsOver(_ l: Int, _ context: CallContext, _ ending: RequestEnding) {
    let q = Int(context.queue)
    queues[q].ended(context.message, attempt: context.lease, loop: l, ending, tries: context.tries, now: now)
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
