// SPDX-License-Identifier: Apache-2.0

internal import WeirBase
internal import WeirPlatform

/// How everything ends: the plane drains, programs stop stage by stage, what escaped is swept up.
extension KeeperLoop {
  /// What a hurried program gets between TERM and KILL.
  static let hurriedGrace = Duration.seconds(1)

  /// The user's wish: TERM to the plane, which drains.
  func beginEnding(now: Instant) {
    guard phase == .serving else { return }
    phase = .draining(until: now + options.drainLimit)
    plane.restartAt = nil
    becoming = nil
    // Nobody waits for a plane that has not taken over yet.
    if let pid = candidate?.pid { Children.send(.kill, toGroup: pid) }
    for plane in [plane] + elders {
      plane.killAt = nil
      guard let pid = plane.pid else { continue }
      Children.send(.terminate, to: pid)
      Children.send(.resume, to: pid)
    }
  }

  /// The plane is gone; now the programs, those that depend on others first.
  func beginStopping(now: Instant) {
    switch phase {
    case .serving, .draining: break
    case .stopping, .sweeping, .done: return
    }
    plane.restartAt = nil
    // Nobody is served any more, and the next run may want the ports.
    sockets = []
    let known = stopOrder.flatMap { $0 }
    // Whatever the plane has not placed goes first: nothing that is placed is known to need it.
    stopStages = [programs.filter { !known.contains($0.spec.name) }]
    for names in stopOrder { stopStages.append(programs.filter { names.contains($0.spec.name) }) }
    enterStage(0, now: now)
  }

  private func enterStage(_ stage: Int, now: Instant) {
    guard stage < stopStages.count else {
      phase = .sweeping(killAt: now + KeptProgram.restGrace)
      return sweep(killAt: now + KeptProgram.restGrace, now: now)
    }
    phase = .stopping(stage: stage)
    for program in stopStages[stage] {
      stop(program, grace: askedToEnd > 1 ? KeeperLoop.hurriedGrace : program.spec.stopGrace, now: now)
    }
    passStage(stage, now: now)
  }

  func passStage(_ stage: Int, now: Instant) {
    if stopStages[stage].allSatisfy(\.isGone) { enterStage(stage + 1, now: now) }
  }

  /// A second wish: no drain, no order, little patience.
  func hurry(now: Instant) {
    exitCode = max(exitCode, 1)
    for pid in planes.compactMap(\.pid) { Children.send(.kill, toGroup: pid) }
    for program in programs { stop(program, grace: KeeperLoop.hurriedGrace, now: now) }
  }

  /// A third wish.
  func killEverything(now: Instant) {
    for pid in planes.compactMap(\.pid) { Children.send(.kill, toGroup: pid) }
    for program in programs {
      program.stopAsked = true
      program.killAt = now
      passTime(of: program, now: now)
    }
  }

  /// The children of this process.
  static func children() -> [ProcessTable.Entry] {
    let own = Children.ownPid
    return ProcessTable.all().filter { $0.parent == own }
  }

  /// Ends descendants that left their process groups.
  ///
  /// As subreaper we become their parent when theirs ends, so when there are no children left there is nothing left.
  func sweep(killAt: Instant, now: Instant) {
    reap(now: now)
    let children = KeeperLoop.children().filter { child in !foreign.contains(child.pid) }
    if children.isEmpty {
      phase = .done
      return
    }
    for entry in children where entry.state != "Z" {
      if now >= killAt {
        Children.send(.kill, to: entry.pid)
      } else if !sweptPids.contains(entry.pid) {
        sweptPids.append(entry.pid)
        Children.send(.terminate, to: entry.pid)
      }
    }
    // Ten seconds after KILL only a process stuck in the kernel is left; waiting longer helps nobody.
    if now >= killAt + .seconds(10) {
      complain("some processes cannot be ended, not even with KILL")
      phase = .done
    }
  }
}
