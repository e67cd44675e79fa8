// SPDX-License-Identifier: Apache-2.0

#if canImport(FoundationEssentials)
  internal import FoundationEssentials
#else
  internal import Foundation
#endif
internal import WeirBase
internal import WeirPatterns
internal import WeirPlatform

/// All that a keeper knows, for the program that its process becomes in an upgrade.
///
/// A process that replaces its program (`execve`) keeps its id, its children and the descriptors it wants to keep, so
/// programs notice nothing: their parent is the same. What it knew is written down here, in a file that has no name any
/// more; the number of its descriptor is in the environment. A mistake here would end everything, so the new binary
/// reads it once for trial, in a child, before the keeper trusts itself to it.
struct Handover: Codable {
  /// In the environment: the descriptor that this is written to.
  static let variable = "WEIR_HANDOVER"
  /// In the environment of a trial.
  static let trialVariable = "WEIR_HANDOVER_TRIAL"

  struct Program: Codable {
    var report: ProgramReport
    var groupPid: Int32?
    var startTicks: UInt64
    var pipes: [Int32]
    var lastLines: [[UInt8]]
    var restartAt: Int64?
  }

  struct Socket: Codable {
    var report: SocketReport
    var numbers: [Int32]
  }

  struct Plane: Codable {
    var pid: Int32
    var startTicks: UInt64
    var control: Int32?
    /// What it has sent of a frame that is not whole.
    var unread: [UInt8]
    var starts: Int
    var binary: String
    var killAt: Int64?
    var isRefused: Bool
  }

  var version = keeperProtocolVersion
  var options: Keeper.Options
  var lock: Int32
  var openFilesOfChildren: UInt64
  var hadTerminal: Bool
  var foreign: [Int32]
  var programs: [Program]
  var sockets: [Socket]
  var plane: Plane
  var elders: [Plane]
  var stopOrder: [[String]]
  var showsLines: Bool

  /// From the descriptor that the environment names; nil without one, or when it cannot be read.
  static func read() -> Handover? {
    guard let text = OwnEnvironment.value(variable), let number = Int32(text),
      let bytes = try? Files.bytes("/proc/self/fd/\(number)"),
      let handover = try? JSONDecoder().decode(Handover.self, from: Data(bytes)),
      handover.version == keeperProtocolVersion
    else { return nil }
    return handover
  }
}

extension Keeper {
  /// Goes on with what a keeper of another binary has handed over; the exit code of the whole run, or nil when nothing
  /// was.
  ///
  /// To be called first of all, on the main thread.
  package static func resume() -> Int32? {
    guard let number = OwnEnvironment.value(Handover.variable).flatMap({ Int32($0) }) else { return nil }
    let handover = Handover.read()
    if OwnEnvironment.value(Handover.trialVariable) != nil { return handover == nil ? 2 : 0 }
    guard let handover else {
      tell("weir: what the keeper before this one has handed over cannot be read")
      return 3
    }
    // Its descriptor is of no more use.
    _ = Descriptor(owning: number)
    do {
      let loop = try KeeperLoop(handover)
      return try loop.goOn()
    } catch {
      tell("weir: \(error)")
      return 3
    }
  }
}

extension KeeperLoop {
  static let signalsTaken: [Signal] = [.interrupt, .terminate, .hangup, .quit, .childEnded]
  /// How long a trial may take; the programs' output waits in its pipes meanwhile.
  private static let trialLimit: Int64 = 5_000_000_000

  /// Nothing is half done: no message is half sent, no program is just ending.
  private var isCalm: Bool {
    phase == .serving && candidate == nil && plane.pid != nil && plane.wasReady
      && planes.allSatisfy { $0.outgoing.isEmpty }
      && programs.allSatisfy { !$0.isLingering && $0.killAt == nil && !$0.isForgotten }
  }

  /// Becomes the binary of the upgrade; does nothing while something is half done, and stays as it is when it cannot.
  func becomeIfCalm() {
    guard let binary = becoming, isCalm else { return }
    becoming = nil
    // From here on a signal waits for whoever goes on.
    Signal.block(KeeperLoop.signalsTaken)
    defer { Signal.block(KeeperLoop.signalsTaken, false) }
    let taken = signals.take()
    guard taken.allSatisfy({ $0 == .childEnded }) else {
      for signal in taken { takeSignal(signal, now: SystemClock.now()) }
      becoming = phase == .serving ? binary : nil
      return
    }
    do {
      let file = try writeHandover()
      let environment =
        OwnEnvironment.all().filter { $0.name != Handover.variable }
        + [(name: Handover.variable, value: "\(file.number)")]
      guard try isUnderstood(by: binary, file, environment) else {
        return say("the keeper stays as it is: \(binary) does not understand what it would be handed over")
      }
      let error = Becoming.replace(
        with: binary, arguments: CommandLine.arguments, environment: environment,
        keeping: [file, lock.file] + sockets.flatMap(\.descriptors)
          + programs.flatMap { $0.pipes.map(\.descriptor) } + planes.compactMap(\.control))
      say("the keeper stays as it is: \(error)")
    } catch { say("the keeper stays as it is: \(error)") }
  }

  private func writeHandover() throws -> Descriptor {
    let now = SystemClock.now()
    for program in programs {
      for pipe in program.pipes {
        var lines: [[UInt8]] = []
        pipe.splitter.flush(into: &lines)
        write(lines, of: program, now: now)
      }
    }
    let path = folder.path + "/handover"
    let file = try Descriptor.open(path, .replace)
    defer { try? Files.remove(path) }
    try file.writeAll(JSONEncoder().encode(handover))
    // For reading, from its beginning, and by whoever has the descriptor.
    return try Descriptor.open(path, .read)
  }

  private var handover: Handover {
    func told(_ plane: KeptPlane) -> Handover.Plane {
      Handover.Plane(
        pid: plane.pid ?? 0, startTicks: plane.startTicks, control: plane.control?.number, unread: plane.reader.buffer,
        starts: plane.starts, binary: plane.binary, killAt: plane.killAt?.nanoseconds, isRefused: plane.isRefused)
    }
    return Handover(
      options: options, lock: lock.file.number, openFilesOfChildren: openFilesOfChildren, hadTerminal: hadTerminal,
      foreign: foreign,
      programs: programs.map { program in
        Handover.Program(
          report: report(of: program), groupPid: program.groupPid, startTicks: program.startTicks,
          pipes: program.pipes.map(\.descriptor.number), lastLines: program.lastLines,
          restartAt: program.restartAt?.nanoseconds)
      },
      sockets: sockets.map { Handover.Socket(report: $0.report, numbers: $0.descriptors.map(\.number)) },
      plane: told(plane), elders: elders.map(told), stopOrder: stopOrder, showsLines: showsLines)
  }

  /// A child of the new binary reads it for trial.
  private func isUnderstood(
    by binary: String, _ file: Descriptor, _ environment: [(name: String, value: String)]
  ) throws -> Bool {
    var spawn = Spawn(
      path: binary, arguments: CommandLine.arguments,
      environment: environment + [(name: Handover.trialVariable, value: "1")])
    spawn.descriptors = [(try Descriptor.open("/dev/null", .read), 0), (file, file.number)]
    let pid = try spawn.start()
    let limit = SystemClock.now().advanced(by: KeeperLoop.trialLimit)
    while true {
      switch Children.reap(pid: pid) {
      case .ended(_, let exit): return exit.isSuccess
      case .none: return false
      case .running: break
      }
      if SystemClock.now() >= limit {
        Children.send(.kill, toGroup: pid)
        _ = Children.reap(pid: pid, waiting: true)
        return false
      }
      SystemThread.pause(nanoseconds: 2_000_000)
    }
  }

  // MARK: Going on

  func goOn() throws -> Int32 {
    say("upgrade: the keeper goes on as \(Files.ownExecutable ?? "another binary")")
    // Ends that nobody was there to hear of.
    reap(now: SystemClock.now())
    return try serve()
  }
}
