// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// The driver of the flows: requests, calls, places, timers.
extension World {
  // MARK: - Traffic

  @inline(__always)
  mutating func scheduleArrival(_ i: Int) {
    let mean = streams[i].meanGap
    guard mean < .infinity else { return }
    let gap = -Mathematics.log(1 - streams[i].random.unit()) * mean
    agenda.schedule(
      EventKind.arrival, at: now.nanoseconds &+ (gap < 1e18 ? Int64(gap + 0.5) : Int64(1e18)),
      payload: UInt64(streams[i].draws) << 32 | UInt64(i))
  }

  @inline(__always)
  mutating func arrive(_ payload: UInt64) {
    let i = Int(UInt32(truncatingIfNeeded: payload))
    guard payload >> 32 == UInt64(streams[i].draws) else { return }
    scheduleArrival(i)
    streams[i].sent &+= 1
    let key = Draws.mixed(streams[i].salt &+ streams[i].sent)
    let number =
      streams[i].clients == 1
      ? 0 : Draws.mixed(key ^ streams[i].clientSalt).multipliedFullWidth(by: streams[i].clients).high
    let client = Draws.mixed(streams[i].clientSalt &+ number)
    // A client's connection stays on the loop that accepted it.
    let l = loops.count == 1 ? 0 : Int(client % UInt64(loops.count))
    var facts = RequestFacts(route: streams[i].route, client: client, method: streams[i].method)
    facts.hasFallback = routeFallbacks[Int(streams[i].route)] != .none
    if streams[i].asksRecord { facts.key = .present }
    if streams[i].connects { facts.body = .streaming }
    // Who goes by a key is modelled as going by its client.
    facts.affinity = client | 1
    // The key that a client was given is as random as its number; without one each request is drawn.
    if streams[i].isSplit { facts.draw = streams[i].isKeyed ? client : key }
    let (slot, step) = loops[l].flows.begin(request: facts, now: now)
    let index = Int(slot.index)
    while loops[l].requests.count <= index { loops[l].requests.append(RequestContext()) }
    loops[l].requests[index] = RequestContext(call: .none, key: key, traffic: Int32(i), startedAt: now)
    if streams[i].patience >= 0 {
      agenda.schedule(
        EventKind.patience, at: now.nanoseconds &+ streams[i].patience,
        payload: UInt64(l) << 56 | UInt64(slot.index) << 32 | UInt64(slot.generation))
    }
    perform(l, request: slot, step, facts)
  }

  private mutating func perform(_ l: Int, request slot: Slot, _ first: RequestStep, _ facts: RequestFacts) {
    var step = first
    while true {
      switch step {
      case .askIdentity:
        // Modelled callers are who they should be: what strangers send is no part of a forecast.
        step = loops[l].flows.answered(
          slot, identity: .known(PrincipalFacts(client: facts.client, grants: .max)), now: now)
      case .askLimit(let limit, let key):
        // What a field says is taken to be a client's own.
        let answer = limits[limit].ask(key, now: now).answer
        step = loops[l].flows.answered(slot, limit: answer, now: now)
      case .askRecord:
        // Each modelled request is a new wish with a key of its own; its two commits are far below a network's time.
        step = loops[l].flows.answered(slot, record: .execute, now: now)
      case .replay: return
      case .call(let edge):
        let request = loops[l].requests[Int(slot.index)]
        let operation = operation(of: Int(request.traffic), edge)
        if streams[Int(request.traffic)].connects {
          return connect(l, request: slot, edge, facts, operation: operation)
        }
        begin(
          l, call: edge, facts,
          CallContext(
            request: slot, key: request.key, operation: operation, edge: Int32(edge), client: facts.client,
            method: facts.method))
        if let copy = loops[l].flows.mirrorEdge(route: facts.route, hash: request.key) {
          mirror(l, copy, facts, request)
        }
        return
      case .answer:
        if !routeParts[Int(facts.route)].isEmpty { return beginParts(l, slot, facts) }
        let queue = routeQueues[Int(facts.route)]
        if queue >= 0 {
          let key = loops[l].requests[Int(slot.index)].key
          let reason = send(to: .queue(queue), key: key, client: facts.client, from: -1) ? Reason.none : .backlogFull
          let status = reason == .none ? routeStatuses[Int(facts.route)] : reason.status
          loops[l].flows.end(
            request: slot, as: RequestEnding(status: status, reason: reason, phase: .queue), now: now)
          return
        }
        // What the gateway answers by itself takes no time.
        loops[l].flows.end(
          request: slot, as: RequestEnding(status: routeStatuses[Int(facts.route)]), now: now)
        return
      case .refuse(let reason, _):
        loops[l].flows.end(
          request: slot, as: RequestEnding(status: reason.status, reason: reason, phase: .queue), now: now)
        return
      }
    }
  }

  /// A copy of a request that nobody waits for: load for the mirror, and for what it calls.
  private mutating func mirror(_ l: Int, _ edge: Int, _ facts: RequestFacts, _ request: RequestContext) {
    let part = streams[Int(request.traffic)].mirrorOperation
    let copy = RequestFacts(method: facts.method)
    begin(
      l, call: edge, copy,
      CallContext(key: request.key, operation: part, edge: Int32(edge), method: facts.method))
  }

  /// What the callee of a stream's request does, by the edge that the flow has chosen for it.
  @inline(__always)
  private func operation(of stream: Int, _ edge: Int) -> Int32 {
    if !streams[stream].isSplit { return streams[stream].operation }
    guard let split = splits[Int(streams[stream].route)], let part = split.edges.firstIndex(of: edge) else {
      return streams[stream].operation
    }
    return splitOperations[stream][part]
  }

  /// All calls of a composed answer, at the same time.
  private mutating func beginParts(_ l: Int, _ slot: Slot, _ facts: RequestFacts) {
    let parts = routeParts[Int(facts.route)]
    let key = loops[l].requests[Int(slot.index)].key
    loops[l].requests[Int(slot.index)].parts = Int32(parts.count)
    let timeout = routeTimeouts[Int(facts.route)]
    let deadline = timeout < 0 ? facts.deadline : min(facts.deadline, now.advanced(by: timeout))
    for part in parts {
      let callee = Int(edgeComponents[part.edge])
      var context = CallContext(
        request: slot, key: key, operation: components[callee].firstOperation + Int32((part.operation ?? -1) + 1),
        edge: Int32(part.edge), client: facts.client, method: .safe)
      context.isPart = true
      context.optional = part.isOptional
      begin(l, call: part.edge, RequestFacts(client: facts.client, deadline: deadline, method: .safe), context)
    }
  }

  /// One call of a composed answer is over: the request ends with the last, or with the first failure of one that must be
  /// there.
  ///
  /// The others then go on to their ends: the gateway gives them up, but what their callees have begun they also finish.
  private mutating func partIsOver(_ l: Int, _ context: CallContext, _ ending: RequestEnding, failed: Bool) {
    let index = Int(context.request.index)
    guard loops[l].flows.requests.isLive(context.request) else { return }
    if failed && !context.optional {
      // A failing answer is not passed on as the whole's.
      let whole =
        ending.reason != .none
        ? ending : RequestEnding(status: Reason.failedAnswer.status, reason: .failedAnswer, phase: .queue)
      loops[l].flows.end(request: context.request, as: whole, now: now)
      return
    }
    loops[l].requests[index].parts -= 1
    if loops[l].requests[index].parts > 0 { return }
    loops[l].flows.end(request: context.request, as: RequestEnding(status: 200, attempts: ending.attempts), now: now)
  }

  /// The client of a request goes away, if it is still there.
  mutating func losePatience(_ payload: UInt64) {
    let l = Int(payload >> 56)
    let slot = Slot(
      index: UInt32(payload >> 32 & 0xff_ffff), generation: UInt32(truncatingIfNeeded: payload))
    guard loops[l].flows.requests.isLive(slot) else { return }
    let call = loops[l].requests[Int(slot.index)].call
    guard loops[l].flows.calls.isLive(call) else { return }
    perform(l, call, loops[l].flows.callerGone(call, now: now))
  }

  // MARK: - Calls

  /// Begins a call; `context` says for whom.
  @inline(__always)
  mutating func begin(_ l: Int, call edge: Int, _ facts: RequestFacts, _ context: CallContext) {
    let (slot, step) = loops[l].flows.begin(call: edge, facts: facts, now: now)
    let index = Int(slot.index)
    while loops[l].calls.count <= index { loops[l].calls.append(CallContext()) }
    let timerAt = loops[l].calls[index].timerAt
    loops[l].calls[index] = context
    loops[l].calls[index].slot = slot
    loops[l].calls[index].timerAt = timerAt
    if context.request != .none { loops[l].requests[Int(context.request.index)].call = slot }
    perform(l, slot, step)
  }

  /// Carries out what a call's flow has decided, and what it decides next, until it waits for something.
  mutating func perform(_ l: Int, _ slot: Slot, _ first: CallStep) {
    var step = first
    let index = Int(slot.index)
    let edge = Int(loops[l].calls[index].edge)
    while true {
      if loops[l].calls[index].queuedSince >= 0 { leaveQueue(l, slot, step) }
      if step.freed != CallStep.nobody { release(l, index, step.freed, cancels: step.cancels) }
      if step.loser != CallStep.nobody { release(l, index, step.loser, cancels: true) }
      if step.turns { placeIsFree(Int(edgeComponents[edge])) }
      switch step.action {
      case .none: break
      case .attempt(let instance, let number), .hedge(let instance, let number):
        let component = Int(edgeComponents[edge])
        let place = components[component].firstInstance &+ Int(instance)
        if components[component].isLimited {
          if instances[place].held >= components[component].places {
            step = loops[l].flows.full(slot, of: instance, now: now)
            continue
          }
          instances[place].held &+= 1
          components[component].held &+= 1
        }
        loops[l].calls[index].tries &+= 1
        var isHedge = false
        if case .hedge = step.action { isHedge = true }
        if let failure = send(l, slot, place, number, isHedge: isHedge) {
          step = loops[l].flows.failed(slot, failure, of: instance, now: now)
          continue
        }
      case .ask(let question):
        step = loops[l].flows.permit(slot, answer(question, l, index), now: now)
        continue
      case .wait:
        if loops[l].calls[index].queuedSince < 0, loops[l].flows.calls[slot].isQueued {
          loops[l].calls[index].queuedSince = now.nanoseconds
          loops[l].gauges[edge].enter(at: now.nanoseconds)
        }
      case .answer:
        if loops[l].calls[index].lasts {
          isOpen(l, slot)
          return
        }
        // Bodies take no time: what is modelled is the time until the answer's head.
        let status = loops[l].flows.calls[slot].status
        let attempts = loops[l].flows.calls[slot].attempts
        let instance = loops[l].flows.calls[slot].instance
        step = loops[l].flows.ended(slot, now: now)
        if step.freed != CallStep.nobody { release(l, index, step.freed, cancels: step.cancels) }
        if step.turns { placeIsFree(Int(edgeComponents[edge])) }
        over(
          l, index, RequestEnding(status: status, instance: instance, attempts: attempts),
          failed: status >= 500 || status == 429, edgeFreed: step.freesEdge)
        tellNode(l, edge)
        return
      case .finish: return
      case .refuse(let reason, _), .abort(let reason):
        over(
          l, index, RequestEnding(status: reason.status, reason: reason, phase: .queue), failed: true,
          edgeFreed: step.freesEdge)
        tellNode(l, edge)
        return
      case .fallback(let reason):
        if let other = otherEdge(l, index, edge) {
          askOther(l, index, edge, other, edgeFreed: step.freesEdge)
          return
        }
        over(
          l, index, RequestEnding(status: 200, reason: reason, fallback: true), failed: false,
          edgeFreed: step.freesEdge)
        tellNode(l, edge)
        return
      }
      break
    }
    tellNode(l, edge)
    arm(l, slot)
  }

  /// Where a request goes whose call has failed; nil when that was the call, or there is no such edge.
  private func otherEdge(_ l: Int, _ index: Int, _ edge: Int) -> Int? {
    let context = loops[l].calls[index]
    guard context.request != .none, !context.isPart else { return nil }
    let route = streams[Int(loops[l].requests[Int(context.request.index)].traffic)].route
    guard case .edge(let other) = routeFallbacks[Int(route)], other != edge else { return nil }
    return other
  }

  /// The call of a request has failed: the same is asked of the service that its route falls back to.
  private mutating func askOther(_ l: Int, _ index: Int, _ edge: Int, _ other: Int, edgeFreed: Bool) {
    let failed = loops[l].calls[index]
    if edgeFreed {
      edgeHeld[edge] &-= 1
      placeIsFree(Int(edgeComponents[edge]))
    }
    let request = loops[l].requests[Int(failed.request.index)]
    let route = Int(streams[Int(request.traffic)].route)
    var facts = RequestFacts(method: failed.method)
    if routeTimeouts[route] >= 0 {
      facts.deadline = request.startedAt.advanced(by: routeTimeouts[route])
    }
    begin(
      l, call: other, facts,
      CallContext(
        request: failed.request, key: failed.key,
        operation: components[Int(edgeComponents[other])].firstOperation, edge: Int32(other), client: failed.client,
        method: failed.method))
    tellNode(l, edge)
  }

  /// What the node knows and a loop does not.
  private mutating func answer(_ question: CallAction.Question, _ l: Int, _ index: Int) -> CircuitBreaker.Ticket? {
    let edge = Int(loops[l].calls[index].edge)
    switch question {
    case .probeInstance(let instance):
      defer { collect() }
      return node.permit(edge: edge, instance: instance, now: now)
    case .probeService:
      defer { collect() }
      return node.permit(edge: edge, instance: nil, now: now)
    case .place:
      guard edgeHeld[edge] < edgeLimits[edge] else { return nil }
      edgeHeld[edge] &+= 1
      return CircuitBreaker.Ticket(epoch: 0)
    case .retry(let told):
      defer { collect() }
      return node.retry(edge: edge, told, now: now) ? CircuitBreaker.Ticket(epoch: 0) : nil
    }
  }

  /// A call is over: its caller hears of it.
  @inline(__always)
  mutating func over(_ l: Int, _ index: Int, _ ending: RequestEnding, failed: Bool, edgeFreed: Bool) {
    let context = loops[l].calls[index]
    if edgeFreed {
      edgeHeld[Int(context.edge)] &-= 1
      placeIsFree(Int(edgeComponents[Int(context.edge)]))
    }
    if context.request != .none {
      if context.isPart { return partIsOver(l, context, ending, failed: failed) }
      loops[l].flows.end(request: context.request, as: ending, now: now)
    } else if context.parent != .none {
      callIsOver(context.parent, failed: failed && !context.optional)
    } else if context.queue >= 0 {
      messageIsOver(l, context, ending)
    } else if context.saga >= 0 {
      stepIsOver(l, context, ending)
    }
  }

  /// What a loop has learned that cannot wait until the next merge.
  @inline(__always)
  mutating func tellNode(_ l: Int, _ edge: Int) {
    if loops[l].flows.wantsMerge(edge: edge) { mergeNow(l, edge) }
  }

  // MARK: - Places

  /// An attempt is over: its place is free, and its work goes on or is cancelled.
  @inline(__always)
  mutating func release(_ l: Int, _ index: Int, _ instance: UInt16, cancels: Bool) {
    let component = Int(edgeComponents[Int(loops[l].calls[index].edge)])
    let place = components[component].firstInstance &+ Int(instance)
    if components[component].isLimited {
      instances[place].held &-= 1
      components[component].held &-= 1
      if components[component].callers > 1 || loops.count > 1 {
        tellPlaceFreed(component, instance, from: Int(loops[l].calls[index].edge), on: l)
      }
      placeIsFree(component)
    }
    let job = loops[l].calls[index].job
    let hedge = loops[l].calls[index].hedge
    if hedge != .none {
      // Of the two the one on the instance that is free; the other is the attempt from now on.
      let isHedge = Int(jobs[hedge.index].instance) == place
      loops[l].calls[index].hedge = .none
      loops[l].calls[index].job = isHedge ? job : hedge
      if isHedge {
        abandon(hedge, cancels: cancels)
      } else if job != .none {
        abandon(job, cancels: cancels)
      }
    } else if job != .none, Int(jobs[job.index].instance) == place {
      loops[l].calls[index].job = .none
      abandon(job, cancels: cancels)
    }
  }

  /// Other loops and other callers took the instance for full.
  private mutating func tellPlaceFreed(_ component: Int, _ instance: UInt16, from edge: Int, on loop: Int) {
    let first = components[component].firstCaller
    for l in loops.indices {
      for c in first..<first + components[component].callers where !(l == loop && Int(callers[c]) == edge) {
        loops[l].flows.placeFreed(edge: Int(callers[c]), instance: instance)
      }
    }
  }

  @inline(__always)
  mutating func placeIsFree(_ component: Int) {
    if components[component].turnIsDue { return }
    components[component].turnIsDue = true
    due.append(Int32(component))
  }

  /// Gives free places to who waits for them: the callers in turn, each in the order its calls came.
  mutating func handOutPlaces() {
    var i = 0
    while i < due.count {
      let component = Int(due[i])
      i += 1
      components[component].turnIsDue = false
      // When every place is out, whoever had a turn would only come back from it.
      if components[component].isLimited, components[component].held >= components[component].allPlaces,
        !components[component].isGated
      {
        continue
      }
      let count = components[component].callers &* loops.count
      if count == 1 {
        handOut(0, Int(callers[components[component].firstCaller]))
        continue
      }
      let start = components[component].turn
      components[component].turn = (start &+ 1) % count
      for k in 0..<count {
        let place = (start &+ k) % count
        let edge = Int(callers[components[component].firstCaller &+ place / loops.count])
        handOut(place % loops.count, edge)
      }
    }
    due.removeAll()
  }

  @inline(__always)
  private mutating func handOut(_ l: Int, _ edge: Int) {
    let component = Int(edgeComponents[edge])
    while loops[l].gauges[edge].count > 0,
      !components[component].isLimited || components[component].held < components[component].allPlaces
        || loops[l].flows.hasVerdicts(edge: edge),
      let (slot, step) = loops[l].flows.turn(edge: edge, now: now)
    {
      perform(l, slot, step)
      if step.action == .wait, !loops[l].flows.hasVerdicts(edge: edge) { return }
    }
  }

  /// A call that waited for a place goes on, or is over.
  @inline(__always)
  private mutating func leaveQueue(_ l: Int, _ slot: Slot, _ step: CallStep) {
    let index = Int(slot.index)
    switch step.action {
    case .wait, .none: return
    default: break
    }
    let since = loops[l].calls[index].queuedSince
    let edge = Int(loops[l].calls[index].edge)
    loops[l].calls[index].queuedSince = -1
    loops[l].gauges[edge].leave(enteredAt: since, now: now.nanoseconds)
    loops[l].waits[edge].record(now.nanoseconds &- since)
  }

  // MARK: - Timers

  @inline(__always)
  private mutating func arm(_ l: Int, _ slot: Slot) {
    guard loops[l].flows.calls.isLive(slot) else { return }
    let wake = loops[l].flows.calls[slot].nextWake.nanoseconds
    let index = Int(slot.index)
    if wake < loops[l].calls[index].timerAt {
      loops[l].calls[index].timerAt = wake
      timers.schedule(EventKind.timer, at: wake, payload: UInt64(l) << 32 | UInt64(index))
    }
  }

  /// A place's timer rings: it is the tenant's time, or it is armed for it.
  mutating func ring(_ payload: UInt64) {
    let l = Int(payload >> 32)
    let index = Int(payload & 0xffff_ffff)
    // An earlier one was armed since, and this is not the place's timer any more.
    guard loops[l].calls[index].timerAt == now.nanoseconds else { return }
    loops[l].calls[index].timerAt = .max
    let slot = loops[l].calls[index].slot
    guard loops[l].flows.calls.isLive(slot) else { return }
    if loops[l].flows.calls[slot].nextWake <= now {
      let step = loops[l].flows.wake(slot, now: now)
      if step != CallStep(.none) {
        perform(l, slot, step)
        return
      }
    }
    arm(l, slot)
  }

  // MARK: - Merging

  /// Every 100 ms: each loop, in order, posts what it has learned, then all get the node's views.
  mutating func merge() {
    agenda.schedule(EventKind.merge, at: now.nanoseconds &+ NodeFlows.mergeEvery, payload: 0)
    for l in loops.indices {
      for edge in loops[l].versions.indices {
        if let delta = loops[l].flows.takeDelta(edge: edge) { node.absorb(delta, now: now) }
      }
    }
    node.tick(now: now)
    spreadViews()
    collect()
  }

  /// A loop has learned what may trip a breaker: it is posted now, and this loop has the view at once; the others copy it
  /// at the next merge.
  mutating func mergeNow(_ l: Int, _ edge: Int) {
    if let delta = loops[l].flows.takeDelta(edge: edge) { node.absorb(delta, now: now) }
    accept(l, edge)
    collect()
  }

  mutating func spreadViews() {
    for l in loops.indices {
      for edge in loops[l].versions.indices { accept(l, edge) }
    }
  }

  private mutating func accept(_ l: Int, _ edge: Int) {
    guard loops[l].versions[edge] != node.version(edge) else { return }
    loops[l].versions[edge] = node.version(edge)
    loops[l].flows.accept(node.view(edge), edge: edge, now: now)
    // Somebody may be in rotation again who has room.
    if loops[l].gauges[edge].count > 0 { placeIsFree(Int(edgeComponents[edge])) }
  }

  /// Takes the rare events out of the flows.
  mutating func collect() {
    let told = node.takeEvents()
    keep(told.events, lost: told.lost)
    for l in loops.indices where !loops[l].flows.state.ledger.events.events.isEmpty {
      let told = loops[l].flows.takeEvents()
      keep(told.events, lost: told.lost)
    }
  }
}
