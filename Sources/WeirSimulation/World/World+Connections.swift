// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// Connections that come through a listener of TCP: one is a call that an instance answers by taking it, and its place is held
/// until the instance has worked for as long as it lasts.
///
/// As in the proxy (`ClientConnection+TCP.swift`): what is retried is connecting, the call has shown what it shows of its
/// callee once it is open (`lasts`), and the request, which here only counts, is over then. Bytes are not modelled.
extension World {
  mutating func connect(_ l: Int, request: Slot, _ edge: Int, _ facts: RequestFacts, operation: Int32) {
    var context = CallContext(
      request: request, key: loops[l].requests[Int(request.index)].key, operation: operation, edge: Int32(edge),
      client: facts.client, method: facts.method)
    context.lasts = true
    // Whoever is called hears nothing of us: there are no fields to say it in.
    context.tellsCallee = false
    var facts = facts
    facts.route = RequestFacts.none
    begin(l, call: edge, facts, context)
  }

  /// The instance's side of a connection is taken, and its caller hears of it.
  mutating func opened(_ handle: Handle) {
    let job = jobs[handle.index]
    guard job.generation == handle.generation, job.call != .none else { return }
    // What a fault turns away ends without having been open.
    guard job.status < 400, instances[Int(job.instance)].epoch == job.epoch else { return }
    let instance = instances[Int(job.instance)].index
    perform(Int(job.loop), job.call, loops[Int(job.loop)].flows.head(job.call, status: 200, of: instance, now: now))
  }

  /// The connection is open: its request is over, its call and its place are not.
  mutating func isOpen(_ l: Int, _ slot: Slot) {
    let index = Int(slot.index)
    loops[l].flows.lasts(slot, now: now)
    let attempts = loops[l].flows.calls[slot].attempts
    let instance = loops[l].flows.calls[slot].instance
    let request = loops[l].calls[index].request
    loops[l].calls[index].request = .none
    if request != .none {
      loops[l].flows.end(
        request: request, as: RequestEnding(status: 200, instance: instance, attempts: attempts), now: now)
    }
    tellNode(l, Int(loops[l].calls[index].edge))
  }

  /// The instance has closed its side: by itself after its work, or at once because a fault turned it away.
  mutating func closed(_ l: Int, _ slot: Slot, of instance: UInt16, status: UInt16) {
    if status >= 400 {
      return perform(l, slot, loops[l].flows.failed(slot, .connectRefused, of: instance, now: now))
    }
    let index = Int(slot.index)
    let step = loops[l].flows.ended(slot, now: now)
    if step.freed != CallStep.nobody { release(l, index, step.freed, cancels: step.cancels) }
    if step.turns { placeIsFree(Int(edgeComponents[Int(loops[l].calls[index].edge)])) }
    over(l, index, RequestEnding(status: 200, instance: instance), failed: false, edgeFreed: step.freesEdge)
    tellNode(l, Int(loops[l].calls[index].edge))
  }
}
