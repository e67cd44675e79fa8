// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirFlows
import WeirPatterns

/// What goes wrong, and how instances come back: by the same `RestartBackoff` and `HealthMonitor` as in a run.
extension World {
  // MARK: - Faults

  mutating func faultBegins(_ i: Int) {
    let fault = faults[i]
    if case .kill(let count) = fault.kind {
      kill(count, of: fault.component, heldFor: fault.length)
      return
    }
    faultIsOn[i] = true
    switch fault.kind {
    case .poison(let queue, let status, let share): queues[queue].poison = (status, share)
    case .delay, .double: messageFaults += 1
    case .crowd(let traffic, let times): crowd(traffic, times)
    case .kill, .slow, .fail, .away: components[fault.component].faults += 1
    }
    if let length = fault.length {
      agenda.schedule(EventKind.faultEnds, at: now.nanoseconds &+ length, payload: UInt64(i))
    }
  }

  mutating func faultEnds(_ i: Int) {
    guard faultIsOn[i] else { return }
    faultIsOn[i] = false
    switch faults[i].kind {
    case .poison(let queue, _, _): queues[queue].poison = (0, 0)
    case .delay, .double: messageFaults -= 1
    case .crowd(let traffic, _): crowd(traffic, 1)
    case .kill, .slow, .fail, .away: components[faults[i].component].faults -= 1
    }
  }

  /// From now on so many times the usual requests come: the next one is drawn anew, which changes nothing of how they are spread,
  /// since the time to the next does not depend on how long one has waited for it.
  private mutating func crowd(_ i: Int, _ times: Double) {
    streams[i].meanGap = times > 0 ? streams[i].usualGap / times : .infinity
    streams[i].draws &+= 1
    scheduleArrival(i)
  }

  /// What the faults in force make of a request's work: longer, or an answer instead of it.
  ///
  /// Whether a request is hit is a hash of its key and the fault, so it is the same request in every variant.
  mutating func strike(_ j: Int, _ component: Int, _ work: Int64) -> Int64 {
    var work = work
    for i in faults.indices where faultIsOn[i] && faults[i].component == component {
      if case .away(let share) = faults[i].kind {
        if Draws.unit(Draws.mixed(jobs[j].key ^ faultSalts[i])) < share {
          jobs[j].status = 503
          return 0
        }
        continue
      }
      let chance = Draws.unit(Draws.mixed(jobs[j].key ^ faultSalts[i] &+ UInt64(jobs[j].attempt)))
      switch faults[i].kind {
      case .kill, .away, .poison, .delay, .double, .crowd: break
      case .slow(let by, let share): if chance < share { work &+= by }
      case .fail(let status, let share):
        if chance < share {
          jobs[j].status = status
          return 0
        }
      }
    }
    return work
  }

  // MARK: - Ends and beginnings of processes

  /// The first `count` instances that are up end at once.
  private mutating func kill(_ count: Int, of component: Int, heldFor length: Int64?) {
    var left = count
    let first = components[component].firstInstance
    for place in first..<first + components[component].instances where left > 0 && instances[place].isUp {
      left -= 1
      end(place, heldFor: length)
    }
  }

  private mutating func end(_ place: Int, heldFor length: Int64?) {
    let service = UInt32(instances[place].component)
    instances[place].isUp = false
    instances[place].epoch &+= 1
    if isStarted[place] {
      // Weir is the parent: it sees the end of its child at once, and sends nothing more there.
      node.note(Event(.instanceExited, at: now, service: service, instance: instances[place].index))
      if isProbed[place] { _ = monitors[place].exited(now: now) }
      node.health(service: Int(service), instance: Int(instances[place].index), up: false, now: now)
    }
    let back = restarts[place].exited(now: now, using: &lifeRandom)
    let at = length.map { now.advanced(by: $0) } ?? back
    agenda.schedule(EventKind.start, at: at.nanoseconds, payload: UInt64(place))
    spreadViews()
    collect()
    loseAll(at: place)
  }

  /// All requests at an instance lose their connection; the calls they made are given up.
  private mutating func loseAll(at place: Int) {
    instances[place].setBusy(-instances[place].busy, now: now.nanoseconds)
    for j in jobs.indices where Int(jobs[j].instance) == place {
      if jobs[j].stage == .queued {
        instances[place].queue.leave(enteredAt: jobs[j].since, now: now.nanoseconds)
      }
    }
    instances[place].oldest = -1
    instances[place].newest = -1
    var j = 0
    while j < jobs.count {
      if Int(jobs[j].instance) == place {
        let handle = Handle(index: j, generation: jobs[j].generation)
        switch jobs[j].stage {
        case .free, .answering, .onTheWay: break
        case .queued, .working: lose(handle)
        case .calling:
          let isLost = jobs[j].generation
          lose(handle)
          if jobs[j].generation != isLost { abandonCalls(of: handle) }
        }
      }
      j += 1
    }
  }

  /// An instance's process is started again.
  mutating func started(_ place: Int) {
    guard !instances[place].isUp else { return }
    let service = Int(instances[place].component)
    let index = instances[place].index
    instances[place].epoch &+= 1
    instances[place].isUp = true
    restarts[place].started(now: now)
    probeReady[place] = now.nanoseconds &+ startLengths[place]
    // Only who starts a process knows that it is another one.
    if isStarted[place] {
      node.replaced(service: service, instance: Int(index), now: now)
      node.note(Event(.instanceStarted, at: now, service: UInt32(service), instance: index))
    }
    if isProbed[place] {
      if isStarted[place] {
        monitors[place].started(now: now)
        scheduleHealth(place)
      }
    } else if startLengths[place] == 0 {
      node.health(service: service, instance: Int(index), up: true, now: now)
    } else {
      agenda.schedule(EventKind.health, at: probeReady[place], payload: UInt64(place))
    }
    spreadViews()
    collect()
  }

  /// The next look at an instance's health.
  mutating func scheduleHealth(_ place: Int) {
    guard let wake = monitors[place].nextWake else { return }
    agenda.schedule(EventKind.health, at: wake.nanoseconds, payload: UInt64(place))
  }

  /// Probes what is due; a process answers its probes once it has started.
  mutating func checkHealth(_ place: Int) {
    let service = Int(instances[place].component)
    let index = Int(instances[place].index)
    guard isProbed[place] else {
      if instances[place].isUp, now.nanoseconds >= probeReady[place] {
        node.health(service: service, instance: index, up: true, now: now)
        spreadViews()
        collect()
      }
      return
    }
    guard let wake = monitors[place].nextWake else { return }
    // A probe was brought forward or the monitor began anew: another event is on its way.
    if wake > now { return scheduleHealth(place) }
    var change = monitors[place].wake(now: now, using: &lifeRandom)
    while let probe = monitors[place].probe(now: now) {
      let ok = instances[place].isUp && now.nanoseconds >= probeReady[place]
      let told = monitors[place].probed(ok: ok, kind: probe.kind, now: now, using: &lifeRandom)
      if told != .none { change = told }
    }
    switch change {
    case .none: break
    case .becameReady: node.health(service: service, instance: index, up: true, now: now)
    case .becameUnready: node.health(service: service, instance: index, up: false, now: now)
    case .startFailed, .restart:
      node.health(service: service, instance: index, up: false, now: now)
      if instances[place].isUp {
        end(place, heldFor: nil)
        return
      }
    }
    if change != .none {
      spreadViews()
      collect()
    }
    scheduleHealth(place)
  }
}
