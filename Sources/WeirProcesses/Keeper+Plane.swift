// SPDX-License-Identifier: Apache-2.0

internal import WeirBase
internal import WeirPatterns
internal import WeirPlatform

/// A plane as the keeper holds it.
///
/// Most of the time there is one; while an upgrade is under way there are others (`Keeper+Upgrade.swift`).
final class KeptPlane {
  /// The first restart is at once: programs and sockets wait for it.
  ///
  /// One that keeps failing is tried again at growing distances, but never a second apart (700 ms and 20 % jitter): nothing
  /// is served meanwhile, and a start in vain costs some tens of milliseconds. Ten seconds of life end the row.
  static let backoffSettings = {
    var settings = RestartBackoff.Settings()
    settings.first = .milliseconds(50)
    settings.max = .milliseconds(700)
    settings.stable = .seconds(10)
    return settings
  }()
  /// A plane that was never ready and was killed so often in a row will not get there.
  static let firstStartsMax = 3
  /// Orders and news that may wait for a plane that does not read: tens of thousands.
  ///
  /// A plane with more is stuck.
  static let outgoingBytesMax = 4 << 20
  /// How long a plane that has closed or broken its control connection may take to end.
  static let partingGrace = Duration.seconds(2)

  var pid: Int32? { didSet { lastPid = pid ?? lastPid } }
  private(set) var lastPid: Int32?
  var startTicks: UInt64 = 0
  var control: Descriptor?
  var reader = FrameReader()
  var outgoing: [(bytes: [UInt8], sent: Int, descriptors: [Descriptor])] = []
  var outgoingBytes = 0
  var backoff = RestartBackoff()
  var restartAt: Instant?
  var killAt: Instant?
  var starts = 0
  /// A plane of this run has been ready at least once.
  var wasReady = false
  /// The exit code it announced.
  var finished: Int32?
  /// Of a plane that is to take over: what it was started from.
  var binary = ""
  /// It was to take over and could not.
  var isRefused = false
}

extension KeeperLoop {
  func startPlane(now: Instant) {
    plane.restartAt = nil
    plane.killAt = nil
    plane.finished = nil
    plane.reader = FrameReader()
    plane.outgoing = []
    plane.outgoingBytes = 0
    plane.starts += 1
    showsLines = true
    do {
      try spawn(plane, options.planeArgv, isStandby: false)
      plane.backoff.started(now: now)
      recordIsStale = true
    } catch {
      say("the plane cannot be started: \(error)")
      if !plane.wasReady {
        exitCode = 3
        return beginStopping(now: now)
      }
      plane.restartAt = plane.backoff.exited(now: now, using: &random)
      return
    }
    for socket in sockets { toPlane(.opened(socket: socket.report), with: socket.descriptors, now: now) }
    tellAdopted(now: now)
  }

  /// What runs, to a plane that is to look after it.
  func tellAdopted(now: Instant) {
    toPlane(
      .adopted(programs: programs.map(report), planeStarts: plane.starts, stateFolder: folder.path), now: now)
  }

  func spawn(_ plane: KeptPlane, _ argv: [String], isStandby: Bool) throws {
    let (ours, theirs) = try Descriptor.socketPair()
    try ours.setNonblocking()
    var added = options.planeEnvironment.map { (name: $0.name, value: $0.value) }
    added.append((name: Keeper.controlVariable, value: String(Keeper.controlNumber)))
    added.append((name: Keeper.protocolVariable, value: String(keeperProtocolVersion)))
    added.append((name: StateFolder.runVariable, value: folder.path))
    if isStandby { added.append((name: Keeper.standbyVariable, value: "1")) }
    let kept = OwnEnvironment.all().filter { pair in
      pair.name != Handover.variable && !added.contains { $0.name == pair.name }
    }
    var spawn = Spawn(path: argv[0], arguments: argv, environment: kept + added)
    spawn.descriptors = [(try Descriptor.open("/dev/null", .read), 0), (theirs, Keeper.controlNumber)]
    // No death signal: when the keeper is killed, the plane is who ends the programs.
    let pid = try spawn.start()
    plane.pid = pid
    plane.startTicks = ProcessTable.entry(of: pid)?.startTicks ?? 0
    plane.control = ours
  }

  func planeEnded(_ ended: KeptPlane, _ exit: ProcessExit, now: Instant) {
    // Its last words may still be unread: that it ends in good order, above all.
    if ended.control != nil { read(ended, now: now) }
    ended.pid = nil
    ended.control = nil
    ended.killAt = nil
    recordIsStale = true
    if ended !== plane { return otherEnded(ended, exit, now: now) }
    if case .draining = phase {
      switch exit {
      case _ where plane.finished != nil: exitCode = max(exitCode, plane.finished ?? 0)
      case .code(let code): exitCode = max(exitCode, code)
      // Our TERM came before it could listen for it, or the terminal's Ctrl-C before it had a group of its own: an end as
      // asked for.
      case .signal(.terminate, _), .signal(.interrupt, _): break
      // Killed by us, and then the code says so already, or crashed in its drain.
      case .signal: if exitCode == 0 { exitCode = 3 }
      }
      return beginStopping(now: now)
    }
    guard phase == .serving else { return }
    if let code = plane.finished {
      exitCode = code
      return beginStopping(now: now)
    }
    if !plane.wasReady {
      if case .code(let code) = exit {
        // It told the user itself why it cannot start.
        exitCode = code == 0 ? 3 : code
        return beginStopping(now: now)
      }
      if plane.starts >= KeptPlane.firstStartsMax {
        say("the plane ended \(plane.starts) times (\(exit)) before it was ready: giving up")
        exitCode = 3
        return beginStopping(now: now)
      }
    }
    let at = plane.backoff.exited(now: now, using: &random)
    plane.restartAt = plane.backoff.isCrashLoop ? at : now
    let running = programs.filter { $0.pid != nil }.count
    say(
      "the plane ended unasked (\(exit)); \(running) programs and \(sockets.count) listeners live on, starting it again"
    )
  }

  // MARK: Messages out

  func toPlane(_ message: KeeperMessage, with descriptors: [Descriptor] = [], now: Instant) {
    send(message, with: descriptors, to: plane, now: now)
  }

  /// What happens to programs, also to those that still have requests in them.
  func toPlanes(_ message: KeeperMessage, now: Instant) {
    toPlane(message, now: now)
    for elder in elders { send(message, to: elder, now: now) }
  }

  func send(_ message: KeeperMessage, with descriptors: [Descriptor] = [], to plane: KeptPlane, now: Instant) {
    guard plane.control != nil else { return }
    guard let frame = try? FrameReader.frame(message) else {
      // Too long for a frame: only a report of very many programs. Nothing of ours can be that.
      return say("a message to the plane is too long and was dropped")
    }
    plane.outgoing.append((frame, 0, descriptors))
    plane.outgoingBytes += frame.count
    if plane.outgoingBytes > KeptPlane.outgoingBytesMax {
      say("the plane does not read what it is told and is killed")
      kill(plane)
      return
    }
    flush(plane, now: now)
  }

  func flush(_ plane: KeptPlane, now: Instant) {
    while let control = plane.control, let next = plane.outgoing.first {
      do {
        // Descriptors go with the first byte.
        let count = try control.send(
          Array(next.bytes[next.sent...]), passing: next.sent == 0 ? next.descriptors : [])
        plane.outgoing[0].sent += count
        if plane.outgoing[0].sent == next.bytes.count {
          plane.outgoing.removeFirst()
          plane.outgoingBytes -= next.bytes.count
        }
      } catch {
        if !error.wouldBlock { part(from: plane, now: now) }
        return
      }
    }
  }

  // MARK: Messages in

  func read(_ plane: KeptPlane, now: Instant) {
    while let control = plane.control {
      do {
        let bytes = try control.read(upTo: 65536)
        if bytes.isEmpty { return part(from: plane, now: now) }
        plane.reader.feed(bytes)
        while let message = try plane.reader.nextMessage(PlaneMessage.self) { take(message, from: plane, now: now) }
      } catch let error as SystemError {
        if !error.wouldBlock { part(from: plane, now: now) }
        return
      } catch {
        say("the plane sent what cannot be understood (\(error)) and is killed")
        return kill(plane)
      }
    }
  }

  /// First the signal: a plane that sees its connection end while it lives would end the programs.
  private func kill(_ plane: KeptPlane) {
    if let pid = plane.pid { Children.send(.kill, toGroup: pid) }
    plane.control = nil
  }

  /// The connection is over.
  ///
  /// The plane is ending, or has lost its mind: it has a moment to end by itself.
  private func part(from plane: KeptPlane, now: Instant) {
    plane.control = nil
    if phase == .serving, plane.pid != nil { plane.killAt = now + KeptPlane.partingGrace }
  }

  func take(_ message: PlaneMessage, from sender: KeptPlane, now: Instant) {
    if sender !== plane { return takeOther(message, from: sender, now: now) }
    switch message {
    case .start(let spec): start(spec, now: now)
    case .signal(let id, let signal):
      if let group = program(id)?.groupPid { Children.send(signal, toGroup: group) }
    case .stop(let id, let grace):
      if let program = program(id) { stop(program, grace: grace, now: now) }
    case .forget(let id):
      guard let program = program(id) else { return }
      if program.isGone {
        programs.removeAll { $0 === program }
      } else {
        program.isForgotten = true
        stop(program, grace: program.spec.stopGrace, now: now)
      }
    case .order(let stages): stopOrder = stages
    case .ready:
      plane.wasReady = true
    case .lastLines(let id):
      toPlane(.lines(id: id, lines: told(program(id)?.lastLines ?? [])), now: now)
    case .show(let lines): showsLines = lines
    case .say(let text): say(text)
    case .listen(let spec):
      do {
        try open(spec)
        if let socket = sockets.first(where: { $0.report.spec == spec }) {
          toPlane(.opened(socket: socket.report), with: socket.descriptors, now: now)
        }
      } catch {
        toPlane(.listenFailed(name: spec.name, reason: "\(error)"), now: now)
      }
    case .unlisten(let name): sockets.removeAll { $0.report.spec.name == name }
    case .finished(let code): plane.finished = code
    case .upgrade(let binary, let heritage): upgrade(to: binary, heritage, now: now)
    case .prepared, .cannot: break
    }
  }
}
