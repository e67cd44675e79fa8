// SPDX-License-Identifier: Apache-2.0

internal import WeirBase
internal import WeirPatterns
internal import WeirPlatform

/// An upgrade: another plane is made ready beside the one that serves, takes over, and that one finishes what it has begun.
///
///     serving ──upgrade──▶ candidate is started ──prepared──▶ it is the plane, the one before it an elder
///                              │                                    │                    │
///                              └ cannot, ends, takes too long       │ a calm moment      └ drained ─▶ gone
///                                ─▶ refused, nothing has changed    └▶ the keeper becomes the binary (`Handover`)
/// ## Invariants
/// 1. Exactly one plane is told what to look after (`adopted`) and is obeyed; from an elder only its words are taken.
/// 2. Sockets and programs are the keeper's throughout: no connection is refused and no program notices.
/// 3. Until `prepared` nothing has changed for the plane that serves.
extension KeeperLoop {
  /// A plane prepares in some tens of milliseconds; what needs longer than this hangs.
  static let candidateLimit = Duration.seconds(30)
  /// So many old planes may drain at a time: each is a process with all its memory.
  static let eldersMax = 8

  /// All that live.
  var planes: [KeptPlane] { [plane] + (candidate.map { [$0] } ?? []) + elders }

  func upgrade(to binary: String, _ heritage: String, now: Instant) {
    guard phase == .serving else { return refuse("everything is being ended", now: now) }
    guard candidate == nil else { return refuse("another upgrade is under way", now: now) }
    guard elders.count < KeeperLoop.eldersMax else {
      return refuse("\(elders.count) planes of earlier upgrades still finish their requests: try again", now: now)
    }
    let next = KeptPlane()
    next.binary = binary
    do {
      try spawn(next, [binary] + options.planeArgv.dropFirst(), isStandby: true)
    } catch {
      return refuse("\(error)", now: now)
    }
    next.starts = 1
    next.killAt = now + KeeperLoop.candidateLimit
    candidate = next
    recordIsStale = true
    for socket in sockets { send(.opened(socket: socket.report), with: socket.descriptors, to: next, now: now) }
    send(.standby(heritage: heritage), to: next, now: now)
  }

  /// Everything goes on as it was.
  func refuse(_ reason: String, now: Instant) {
    say("upgrade refused, everything goes on as it was: \(reason)")
    toPlane(.refused(reason: reason), now: now)
    // Its process is still to be waited for, and its end is no news.
    if let candidate {
      self.candidate = nil
      elders.append(candidate)
      candidate.isRefused = true
      candidate.killAt = now + KeptPlane.partingGrace
    }
  }

  /// Of planes that are not the one that is obeyed.
  func takeOther(_ message: PlaneMessage, from sender: KeptPlane, now: Instant) {
    switch message {
    case .say(let text) where sender !== candidate: say(text)
    case .prepared(let version) where sender === candidate: promote(sender, version, now: now)
    case .cannot(let reason) where sender === candidate: refuse(reason, now: now)
    default: break
    }
  }

  private func promote(_ next: KeptPlane, _ version: String, now: Instant) {
    let before = plane
    candidate = nil
    next.killAt = nil
    next.wasReady = true
    next.backoff = before.backoff
    next.backoff.started(now: now)
    plane = next
    options.planeArgv[0] = next.binary
    recordIsStale = true
    if let pid = before.pid {
      elders.append(before)
      // Its own limit comes first.
      before.killAt = now + options.drainLimit + KeptPlane.partingGrace
      say("upgrade: the plane is \(next.binary) (\(version)) now, process \(next.pid ?? 0); process \(pid) drains")
      send(.retire(successor: next.pid ?? 0, version: version), to: before, now: now)
    }
    toPlane(.elders(pids: elders.filter { !$0.isRefused }.compactMap(\.pid)), now: now)
    tellAdopted(now: now)
    becoming = next.binary
  }

  /// An elder or a candidate has ended.
  func otherEnded(_ ended: KeptPlane, _ exit: ProcessExit, now: Instant) {
    if ended === candidate {
      refuse("\(ended.binary) ended before it was ready to serve (\(exit))", now: now)
    } else if phase == .serving, !ended.isRefused, !exit.isSuccess {
      say("a plane that an upgrade had replaced ended early (\(exit))")
    }
    elders.removeAll { $0 === ended }
    if !ended.isRefused, let pid = ended.lastPid { toPlane(.retired(pid: pid), now: now) }
  }
}
