// SPDX-License-Identifier: Apache-2.0

internal import WeirBase
internal import WeirPatterns
internal import WeirPlatform

/// A program as the keeper holds it.
final class KeptProgram {
  /// Looked at so often where the system sends no event: members of a group that are not our children yet.
  static let lingerPause: Int64 = 20_000_000
  /// What a program that died by itself leaves of its group gets between TERM and KILL: its work is lost already, and its
  /// port must become free for the next start.
  static let restGrace = Duration.seconds(1)
  static let linesMax = 20
  /// Longer ones are cut in what is told to the plane: twenty must fit into a frame with room to spare.
  static let toldLineMax = 4096

  final class LogPipe {
    let descriptor: Descriptor
    var splitter = LineSplitter()
    init(_ descriptor: Descriptor) { self.descriptor = descriptor }
  }

  var spec: ProgramSpec
  /// The program's own process; nil when it has ended.
  var pid: Int32?
  /// The process group: the program's first pid, kept until the whole group is gone.
  var groupPid: Int32?
  var startTicks: UInt64 = 0
  var startedAt = Instant.zero
  var startedAtWall = WallTime(milliseconds: 0)
  var starts = 0
  var exits: [ExitRecord] = []
  var pipes: [LogPipe] = []
  var lastLines: [[UInt8]] = []
  /// How the program itself ended, while the rest of its group still lives.
  var ended: (exit: ProcessExit, at: Instant)?
  /// Somebody asked for its end.
  var stopAsked = false
  /// When the group gets KILL; after that, when we stop waiting for it.
  var killAt: Instant?
  var killed = false
  /// To be dropped once it has ended.
  var isForgotten = false
  /// Of a process of Weir's own: when it is started again.
  var restartAt: Instant?
  var backoff = RestartBackoff(KeptPlane.backoffSettings)

  init(_ spec: ProgramSpec) { self.spec = spec }

  var isGone: Bool { groupPid == nil }
  /// The program has ended and others of its group have not.
  var isLingering: Bool { pid == nil && groupPid != nil }
}

extension KeeperLoop {
  func program(_ id: String) -> KeptProgram? { programs.first { $0.spec.id == id } }

  /// Starts one instance; the plane is told how it went.
  func start(_ spec: ProgramSpec, now: Instant) {
    guard phase == .serving else {
      return toPlane(.failed(id: spec.id, reason: "everything is being ended"), now: now)
    }
    let program: KeptProgram
    if let known = self.program(spec.id) {
      guard known.isGone else {
        return toPlane(.failed(id: spec.id, reason: "\(spec.id) still runs"), now: now)
      }
      program = known
      program.spec = spec
    } else {
      program = KeptProgram(spec)
      programs.append(program)
    }
    do {
      try spawn(program, now: now)
      toPlanes(.started(id: spec.id, pid: program.pid ?? 0, startedAt: now.nanoseconds), now: now)
    } catch {
      closePipes(program, now: now)
      toPlane(.failed(id: spec.id, reason: "\(error)"), now: now)
    }
    recordIsStale = true
  }

  private func spawn(_ program: KeptProgram, now: Instant) throws {
    let spec = program.spec
    guard let word = spec.argv.first else { throw ProgramFileError.empty }
    let path =
      spec.environment.last { $0.name == "PATH" }?.value ?? OwnEnvironment.value("PATH")
      ?? "/usr/local/bin:/usr/bin:/bin"
    let file = try ProgramFile.find(word, directory: spec.directory, path: path)
    let environment =
      spec.environment.filter { $0.name != StateFolder.runVariable }.map { (name: $0.name, value: $0.value) }
      + [(name: StateFolder.runVariable, value: folder.path)]
    let out = try Descriptor.pipe()
    let err = try Descriptor.pipe()
    try out.read.setNonblocking()
    try err.read.setNonblocking()
    var spawn = Spawn(path: file, arguments: spec.argv, environment: environment, directory: spec.directory)
    spawn.descriptors = [
      (try Descriptor.open("/dev/null", .read), 0), (out.write, 1), (err.write, 2),
    ]
    spawn.deathSignal = .terminate
    spawn.openFiles = openFilesOfChildren
    closePipes(program, now: now)
    let pid = try spawn.start()
    program.pid = pid
    program.groupPid = pid
    program.startTicks = ProcessTable.entry(of: pid)?.startTicks ?? 0
    program.startedAt = now
    program.startedAtWall = SystemClock.wall()
    program.starts += 1
    program.ended = nil
    program.stopAsked = false
    program.killAt = nil
    program.killed = false
    program.isForgotten = false
    program.restartAt = nil
    program.backoff.started(now: now)
    program.lastLines = []
    program.pipes = [KeptProgram.LogPipe(out.read), KeptProgram.LogPipe(err.read)]
  }

  /// TERM now, KILL after the grace, to the whole group.
  func stop(_ program: KeptProgram, grace: Duration, now: Instant) {
    guard let group = program.groupPid else { return }
    program.stopAsked = true
    let killAt = now + grace
    if program.killed { return }
    // Asked again with less patience: the earlier moment holds.
    program.killAt = min(program.killAt ?? killAt, killAt)
    Children.send(.terminate, toGroup: group)
    // One that is paused (SIGSTOP, a debugger) would not see it before KILL.
    Children.send(.resume, toGroup: group)
  }

  func passTime(of program: KeptProgram, now: Instant) {
    if program.isLingering, let group = program.groupPid, !Children.groupExists(group) { finish(program, now: now) }
    guard let group = program.groupPid, let killAt = program.killAt, now >= killAt else { return }
    if program.killed {
      // A second after KILL what still answers is a zombie whose parent, outside the group, does not take it.
      if program.pid == nil {
        finish(program, now: now)
      } else if now >= killAt + .seconds(9) {
        // Ten seconds after KILL it is stuck in the kernel (a dead network disk); waiting on helps nobody.
        complain("\(program.spec.id) (process \(group)) cannot be ended, not even with KILL")
        program.ended = (.signal(.kill, dumpedCore: false), now)
        program.pid = nil
        finish(program, now: now)
      }
      return
    }
    program.killed = true
    program.killAt = now + .seconds(1)
    Children.send(.kill, toGroup: group)
  }

  /// Takes every child that has ended: programs, the plane, and orphans that became ours.
  func reap(now: Instant) {
    while case .ended(let pid, let exit) = Children.reap() {
      if let ended = planes.first(where: { $0.pid == pid }) {
        planeEnded(ended, exit, now: now)
      } else if let program = programs.first(where: { $0.pid == pid }), let group = program.groupPid {
        program.pid = nil
        program.ended = (exit, now)
        if !Children.groupExists(group) {
          finish(program, now: now)
        } else if program.killAt == nil {
          Children.send(.terminate, toGroup: group)
          program.killAt = now + KeptProgram.restGrace
        }
      }
    }
    for program in programs where program.isLingering {
      if let group = program.groupPid, !Children.groupExists(group) { finish(program, now: now) }
    }
  }

  /// The whole group is gone.
  func finish(_ program: KeptProgram, now: Instant) {
    guard let group = program.groupPid, let ended = program.ended else { return }
    closePipes(program, now: now)
    let record = ExitRecord(
      pid: group, exit: ended.exit, startedAt: program.startedAt.nanoseconds, endedAt: ended.at.nanoseconds,
      asked: program.stopAsked)
    program.exits.append(record)
    if program.exits.count > ProgramReport.exitsMax { program.exits.removeFirst() }
    program.groupPid = nil
    program.killAt = nil
    recordIsStale = true
    toPlanes(.exited(id: program.spec.id, record: record, lastLines: told(program.lastLines)), now: now)
    if program.isForgotten { programs.removeAll { $0 === program } }
    guard program.spec.isKept, phase == .serving, !record.asked else { return }
    program.restartAt = program.backoff.exited(now: now, using: &random)
    if !program.backoff.isCrashLoop { program.restartAt = now }
    say("\(program.spec.name) ended unasked (\(record.exit)); it is started again")
  }

  /// Processes of Weir's own that are due to be started again.
  func restartKept(now: Instant) {
    for program in programs {
      guard let at = program.restartAt, now >= at else { continue }
      program.restartAt = nil
      start(program.spec, now: now)
      if program.isGone { program.restartAt = program.backoff.exited(now: now, using: &random) }
    }
  }

  func report(of program: KeptProgram) -> ProgramReport {
    ProgramReport(
      spec: program.spec, pid: program.pid, startedAt: program.startedAt.nanoseconds,
      startedAtWall: program.startedAtWall.milliseconds, exits: program.exits, starts: program.starts)
  }

  func told(_ lines: [[UInt8]]) -> [String] {
    lines.map { String(decoding: $0, as: UTF8.self) }
  }

  // MARK: Output

  /// Reads once; a program that writes without end must not keep the others waiting.
  func read(_ pipe: KeptProgram.LogPipe, of program: KeptProgram, now: Instant) {
    do {
      let bytes = try pipe.descriptor.read(upTo: 65536)
      var lines: [[UInt8]] = []
      if bytes.isEmpty {
        pipe.splitter.flush(into: &lines)
        program.pipes.removeAll { $0 === pipe }
      } else {
        pipe.splitter.feed(bytes, now: now, into: &lines)
      }
      write(lines, of: program, now: now)
    } catch {
      if !error.wouldBlock { program.pipes.removeAll { $0 === pipe } }
    }
  }

  /// Takes what is still in the pipes and closes them.
  func closePipes(_ program: KeptProgram, now: Instant) {
    for pipe in program.pipes {
      // A pipe holds 64 KiB, or 1 MiB when a program asked for that; a writer that left the group may go on for ever.
      // No bytes: the pipe is empty or at its end.
      var rounds = 0
      while rounds < 16, program.pipes.contains(where: { $0 === pipe }) {
        rounds += 1
        guard let bytes = try? pipe.descriptor.read(upTo: 65536), !bytes.isEmpty else { break }
        var lines: [[UInt8]] = []
        pipe.splitter.feed(bytes, now: now, into: &lines)
        write(lines, of: program, now: now)
      }
      var lines: [[UInt8]] = []
      pipe.splitter.flush(into: &lines)
      write(lines, of: program, now: now)
    }
    program.pipes = []
  }

  func write(_ lines: [[UInt8]], of program: KeptProgram, now: Instant) {
    if lines.isEmpty { return }
    let wall = SystemClock.wall()
    let colour = Int(program.spec.name.utf8.reduce(0) { ($0 &* 31 &+ UInt32($1)) & 0xffff }) % 6
    for line in lines {
      program.lastLines.append(Array(line.prefix(KeptProgram.toldLineMax)))
      if program.lastLines.count > KeptProgram.linesMax { program.lastLines.removeFirst() }
      if showsLines { console.line(prefix(program.spec.id, colour: colour) + line) }
      note(logs.append(service: program.spec.name, id: program.spec.id, line: line, wall: wall, now: now))
    }
  }
}
