// SPDX-License-Identifier: Apache-2.0

internal import WeirBase
internal import WeirPatterns
internal import WeirPlatform

/// The small process that must not fail: parent of the plane and of all programs, owner of their log pipes and of the
/// listening sockets.
///
/// One thread, one `poll`, no event-loop library, and no decision about the system: what to start, restart and stop is
/// the plane's (``Supervisor``). It knows only how to end everything, for that must work when the plane cannot.
/// `docs/processes.md` tells what survives what.
///
///     starting ──plane says ready──▶ serving ──plane ends unasked──▶ serving, plane started again, programs live on
///        │                              │
///        └── signal, plane's own end ───┴──▶ draining ──plane gone──▶ stopping (stage by stage) ──▶ sweeping ──▶ done
package enum Keeper {
  package struct Options: Sendable, Codable {
    /// The plane's command; the first word is an absolute path.
    package var planeArgv: [String]
    /// What the plane gets beside the keeper's own environment.
    package var planeEnvironment: [ProgramSpec.Variable] = []
    /// The state folder's path; made where missing.
    package var statePath: String
    /// Sockets to open before the plane starts.
    package var listen: [ListenSpec] = []
    /// How long the plane may drain before it is killed.
    package var drainLimit = Duration.seconds(30)
    /// What the log files may grow to before they are rotated.
    package var logBytesMax = LogFile.bytesMax

    package init(planeArgv: [String], statePath: String) {
      self.planeArgv = planeArgv
      self.statePath = statePath
    }
  }

  /// In the plane's environment: the number of the descriptor on which the keeper listens.
  package static let controlVariable = "WEIR_CONTROL"
  /// The same: which protocol it speaks there.
  package static let protocolVariable = "WEIR_PROTOCOL"
  /// The same, of a plane that is to take over from another one.
  package static let standbyVariable = "WEIR_STANDBY"
  static let controlNumber: Int32 = 3

  /// Runs until everything has ended; the exit code of the whole run.
  ///
  /// To be called once, on the main thread of a process that has no other: children are told of this *thread's* death.
  package static func run(_ options: Options) -> Int32 {
    do {
      return try KeeperLoop(options).run()
    } catch let error as StateFolderError {
      tell("weir: \(error)")
      return 2
    } catch let error as KeeperListenError {
      tell("weir: cannot listen for '\(error.name)': \(error.cause)")
      return 2
    } catch {
      tell("weir: \(error)")
      return 3
    }
  }

  static func tell(_ text: String) {
    // Nowhere to complain to when standard error cannot be written.
    _ = try? Descriptor(borrowing: 2).write(Array((text + "\n").utf8))
  }
}

struct KeeperListenError: Error {
  var name: String
  var cause: ListenError
}

/// The keeper's state and its loop.
///
/// Confined to one thread.
final class KeeperLoop {
  enum Phase: Equatable {
    case serving
    /// The plane was told to end and drains; until then it may.
    case draining(until: Instant)
    /// Programs are being ended; the stage is an index into `stopStages`.
    case stopping(stage: Int)
    /// Descendants that left their groups are being ended.
    case sweeping(killAt: Instant)
    case done
  }

  var options: Keeper.Options
  let folder: StateFolder
  let lock: FolderLock
  let signals: SignalPipe
  let console: Console
  let errors: Console
  let logs: LogStore
  let openFilesOfChildren: UInt64
  var random: SeededRandom

  /// There was a terminal when the run began.
  let hadTerminal: Bool
  var phase = Phase.serving
  var exitCode: Int32 = 0
  /// Signals of the user that ask for the end, counted: the second hurries, the third kills.
  var askedToEnd = 0
  var askedAt = Instant.zero
  var programs: [KeptProgram] = []
  var sockets: [(report: SocketReport, descriptors: [Descriptor])] = []
  var plane = KeptPlane()
  /// Is being started to take over from `plane`.
  var candidate: KeptPlane?
  /// Have been taken over from, and finish what they have begun.
  var elders: [KeptPlane] = []
  /// The binary that this process is to become, at the next calm moment.
  var becoming: String?
  var stopOrder: [[String]] = []
  var stopStages: [[KeptProgram]] = []
  var showsLines = true
  var nameWidth = 4
  var sweptPids: [Int32] = []
  /// Children from before: a script may have started something and then become us by `exec`.
  ///
  /// Not ours to end.
  let foreign: [Int32]
  var recordIsStale = false
  var recordTrouble = false
  var recordRetryAt: Instant?

  init(_ options: Keeper.Options) throws {
    self.options = options
    hadTerminal = Terminal.isReachable
    try StandardDescriptors.makeSureOpen()
    signals = try SignalPipe(KeeperLoop.signalsTaken)
    Signal.brokenPipe.ignore()
    Signal.fileTooLarge.ignore()
    folder = try StateFolder(creating: options.statePath)
    lock = try folder.lock()
    openFilesOfChildren = ResourceLimits.raiseOpenFiles().before
    console = try Console(1)
    errors = try Console(2)
    logs = LogStore(folder: folder, bytesMax: options.logBytesMax)
    // Only spreads restarts; any seed will do that differs from run to run.
    random = SeededRandom(seed: UInt64(bitPattern: SystemClock.now().nanoseconds))
    foreign = KeeperLoop.children().map(\.pid)
    _ = Children.adoptOrphans()
    plane.backoff = RestartBackoff(KeptPlane.backoffSettings)
  }

  /// Goes on where the keeper of another binary has left off, in the same process.
  init(_ handover: Handover) throws {
    func own(_ number: Int32) throws -> Descriptor {
      let descriptor = Descriptor(owning: number)
      try descriptor.setCloseOnExec()
      return descriptor
    }
    options = handover.options
    hadTerminal = handover.hadTerminal
    folder = try StateFolder(creating: handover.options.statePath)
    lock = FolderLock(held: try own(handover.lock))
    // What waits since the exec comes now.
    signals = try SignalPipe(KeeperLoop.signalsTaken)
    Signal.brokenPipe.ignore()
    Signal.fileTooLarge.ignore()
    openFilesOfChildren = handover.openFilesOfChildren
    console = try Console(1)
    errors = try Console(2)
    logs = LogStore(folder: folder, bytesMax: options.logBytesMax)
    random = SeededRandom(seed: UInt64(bitPattern: SystemClock.now().nanoseconds))
    foreign = handover.foreign
    stopOrder = handover.stopOrder
    showsLines = handover.showsLines
    _ = Children.adoptOrphans()
    for socket in handover.sockets { sockets.append((socket.report, try socket.numbers.map(own))) }
    for kept in handover.programs {
      let program = KeptProgram(kept.report.spec)
      program.pid = kept.report.pid
      program.groupPid = kept.groupPid
      program.startTicks = kept.startTicks
      program.startedAt = Instant(nanoseconds: kept.report.startedAt)
      program.startedAtWall = WallTime(milliseconds: kept.report.startedAtWall)
      program.starts = kept.report.starts
      program.exits = kept.report.exits
      program.pipes = try kept.pipes.map { KeptProgram.LogPipe(try own($0)) }
      program.lastLines = kept.lastLines
      program.restartAt = kept.restartAt.map(Instant.init(nanoseconds:))
      program.backoff.started(now: program.startedAt)
      programs.append(program)
    }
    func plane(_ told: Handover.Plane) throws -> KeptPlane {
      let plane = KeptPlane()
      plane.pid = told.pid
      plane.startTicks = told.startTicks
      plane.control = try told.control.map(own)
      plane.reader.feed(told.unread)
      plane.starts = told.starts
      plane.binary = told.binary
      plane.killAt = told.killAt.map(Instant.init(nanoseconds:))
      plane.isRefused = told.isRefused
      plane.wasReady = true
      plane.backoff = RestartBackoff(KeptPlane.backoffSettings)
      plane.backoff.started(now: SystemClock.now())
      return plane
    }
    nameWidth = programs.map { $0.spec.id.utf8.count }.max().map { max($0, nameWidth) } ?? nameWidth
    self.plane = try plane(handover.plane)
    elders = try handover.elders.map(plane)
    recordIsStale = true
  }

  func run() throws -> Int32 {
    endLeftovers()
    for spec in options.listen {
      do { try open(spec) } catch { throw KeeperListenError(name: spec.name, cause: error) }
    }
    startPlane(now: SystemClock.now())
    return try serve()
  }

  /// Until everything has ended.
  func serve() throws -> Int32 {
    while phase != .done { try turn() }
    for program in programs { closePipes(program, now: SystemClock.now()) }
    // 200 ms for a reader that is slow with the last lines.
    console.drain(nanoseconds: 200_000_000)
    errors.drain(nanoseconds: 200_000_000)
    // Nothing runs any more, so there is nothing to record; if it cannot be removed its entries name nobody.
    try? Files.remove(folder.pidsPath)
    return exitCode
  }

  /// One wait and everything it brought.
  func turn() throws {
    var interests = [Poll.Interest(signals.descriptor)]
    var actions: [(KeeperLoop, Poll.Interest, Instant) -> Void] = [{ loop, _, now in loop.takeSignals(now: now) }]
    func watch(_ interest: Poll.Interest, _ action: @escaping (KeeperLoop, Poll.Interest, Instant) -> Void) {
      interests.append(interest)
      actions.append(action)
    }
    for plane in planes {
      guard let control = plane.control else { continue }
      watch(Poll.Interest(control.number, write: !plane.outgoing.isEmpty)) { loop, ready, now in
        if ready.writable { loop.flush(plane, now: now) }
        if ready.readable { loop.read(plane, now: now) }
      }
    }
    for program in programs {
      for pipe in program.pipes {
        watch(Poll.Interest(pipe.descriptor.number)) { loop, _, now in loop.read(pipe, of: program, now: now) }
      }
    }
    for output in [console, errors] {
      if let number = output.wantsWrite {
        watch(Poll.Interest(number, read: false, write: true)) { _, _, _ in output.flush() }
      }
    }
    let wake = nextWake()
    let before = SystemClock.now()
    try Poll.wait(&interests, nanoseconds: wake == .distantFuture ? nil : max(0, wake.since(before)))
    let now = SystemClock.now()
    for (interest, action) in zip(interests, actions) where interest.readable || interest.writable {
      action(self, interest, now)
    }
    reap(now: now)
    pass(now: now)
    if recordIsStale || recordRetryAt.map({ now >= $0 }) == true { writeRecord(now: now) }
    if becoming != nil { becomeIfCalm() }
  }

  /// The earliest moment at which time alone changes something.
  func nextWake() -> Instant {
    var wake = Instant.distantFuture
    func consider(_ moment: Instant?) { if let moment { wake = min(wake, moment) } }
    if case .draining(let until) = phase { consider(until) }
    if case .sweeping = phase { consider(SystemClock.now().advanced(by: KeptProgram.lingerPause)) }
    consider(plane.restartAt)
    for plane in planes { consider(plane.killAt) }
    consider(recordRetryAt)
    for program in programs {
      for pipe in program.pipes { consider(pipe.splitter.nextWake) }
      if !program.killed { consider(program.killAt) }
      if phase == .serving { consider(program.restartAt) }
      if program.isLingering || program.killed { consider(SystemClock.now().advanced(by: KeptProgram.lingerPause)) }
    }
    return wake
  }

  /// Everything that is due because of the time, or because of what was just read or reaped.
  func pass(now: Instant) {
    for program in programs {
      for pipe in program.pipes {
        var lines: [[UInt8]] = []
        pipe.splitter.wake(now: now, into: &lines)
        write(lines, of: program, now: now)
      }
      passTime(of: program, now: now)
    }
    for plane in planes {
      guard let killAt = plane.killAt, now >= killAt else { continue }
      plane.killAt = nil
      if plane === candidate {
        refuse("it was not ready within \(KeeperLoop.candidateLimit.inSeconds) s", now: now)
      } else {
        say("the plane did not end in time and is killed")
      }
      if let pid = plane.pid { Children.send(.kill, toGroup: pid) }
    }
    switch phase {
    case .serving:
      if let at = plane.restartAt, now >= at { startPlane(now: now) }
      restartKept(now: now)
    case .draining(let until):
      if planes.allSatisfy({ $0.pid == nil }) {
        beginStopping(now: now)
      } else if now >= until {
        phase = .draining(until: .distantFuture)
        say("the plane did not end within \(options.drainLimit.inSeconds) s and is killed")
        exitCode = max(exitCode, 1)
        for pid in planes.compactMap(\.pid) { Children.send(.kill, toGroup: pid) }
      }
    case .stopping(let stage): passStage(stage, now: now)
    case .sweeping(let killAt): sweep(killAt: killAt, now: now)
    case .done: break
    }
  }

  // MARK: Signals

  func takeSignals(now: Instant) {
    for signal in signals.take() { takeSignal(signal, now: now) }
  }

  func takeSignal(_ signal: Signal, now: Instant) {
    switch signal {
    case .hangup where !terminalIsGone: passOnReload()
    case .interrupt, .terminate, .hangup, .quit: askToEnd(signal, now: now)
    default: break  // Ended children are looked for at every turn.
    }
  }

  /// The terminal that this run was started from has been closed: the system's word for that is the same signal.
  private var terminalIsGone: Bool { hadTerminal && !Terminal.isReachable }

  /// The file is to be read again; that is the plane's work.
  private func passOnReload() {
    guard phase == .serving, let pid = plane.pid else { return }
    Children.send(.hangup, to: pid)
  }

  /// A further signal counts half a second later: Ctrl-C reaches a wrapper script too, which may pass it on.
  static let signalPause = Duration.milliseconds(500)

  func askToEnd(_ signal: Signal, now: Instant) {
    if askedToEnd > 0 {
      // A terminal that closes after Ctrl-C is no second wish.
      if signal == .hangup || now < askedAt + KeeperLoop.signalPause { return }
    }
    askedToEnd += 1
    askedAt = now
    switch askedToEnd {
    case 1:
      say("\(signal): ending; again to hurry")
      beginEnding(now: now)
    case 2:
      say("\(signal) again: hurrying, requests in flight are cut")
      hurry(now: now)
    default: killEverything(now: now)
    }
  }

  // MARK: Telling

  /// A line of the keeper's own.
  func say(_ text: String) {
    console.line(prefix("weir", colour: 8) + Array(text.utf8))
    note(
      logs.append(
        service: "weir", id: "weir", line: Array(text.utf8), wall: SystemClock.wall(), now: SystemClock.now()))
  }

  /// A line on standard error: about what the logs cannot take.
  func complain(_ text: String) { errors.line(Array("weir: \(text)".utf8)) }

  func note(_ notice: LogStore.Notice) {
    switch notice {
    case .none: break
    case .failing(let error) where error.isDiskFull:
      complain("the disk is full: logs are not written to \(folder.logsPath) until there is room; everything runs on")
    case .failing(let error):
      complain("logs cannot be written to \(folder.logsPath): \(error.reason); everything runs on")
    case .mended(let lost): complain("logs are written again; \(lost) lines are missing")
    }
  }

  /// `api-1  | `, coloured on a terminal.
  func prefix(_ name: String, colour index: Int) -> [UInt8] {
    nameWidth = max(nameWidth, name.utf8.count)
    let padded = name + String(repeating: " ", count: nameWidth - name.utf8.count) + " | "
    if !console.colour { return Array(padded.utf8) }
    // Six colours that are readable on dark and light; 8 is dim, for ourselves.
    let code = index == 8 ? "2" : String(["36", "33", "32", "35", "34", "31"][index % 6])
    return Array("\u{1b}[\(code)m\(padded)\u{1b}[0m".utf8)
  }

  // MARK: The record of what runs

  func writeRecord(now: Instant) {
    recordIsStale = false
    recordRetryAt = nil
    let planeProcess = plane.pid.map { RunRecord.Process(id: "plane", pid: $0, startTicks: plane.startTicks) }
    let running = programs.compactMap { program in
      program.groupPid.map { RunRecord.Process(id: program.spec.id, pid: $0, startTicks: program.startTicks) }
    }
    do {
      try RunRecord(keeper: Children.ownPid, plane: planeProcess, programs: running).write(to: folder)
      recordTrouble = false
    } catch {
      if !recordTrouble { complain("cannot write \(folder.pidsPath): \(error.reason)") }
      recordTrouble = true
      recordRetryAt = now + LogStore.retry
    }
  }

  /// Ends what a killed keeper left behind: we hold the lock, so none of it is anybody's.
  func endLeftovers() {
    let record = RunRecord.read(from: folder)
    let known = (record?.programs ?? []) + (record?.plane.map { [$0] } ?? [])
    let (found, left) = Leftovers.end(run: folder.path, known: known, grace: KeeperClient.orphanGrace)
    if !found.isEmpty {
      let names = found.map { "\($0.name) (\($0.pid))" }.joined(separator: ", ")
      say("ended what an earlier run left: \(names)")
    }
    for entry in left { complain("process \(entry.pid) (\(entry.name)) of an earlier run cannot be ended") }
  }

  // MARK: Sockets

  func open(_ spec: ListenSpec) throws(ListenError) {
    if sockets.contains(where: { $0.report.spec == spec }) { return }
    let made: [Descriptor]
    var port = spec.port
    if spec.isUnix {
      made = [try Listening.unix(path: spec.address)]
    } else {
      (made, port) = try Listening.tcp(address: spec.address, port: spec.port, count: spec.count)
    }
    sockets.append((SocketReport(spec: spec, port: port, count: made.count), made))
  }
}
