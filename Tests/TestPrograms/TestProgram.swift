// SPDX-License-Identifier: Apache-2.0
import Dispatch
import Foundation
import Synchronization
import WeirPlatform

/// A program that a test starts, ended with its owner and, whatever happens, with the test process.
///
/// It writes into files, and is started by ``Spawn`` and not by Foundation's `Process`. That one learns of an end when a
/// pipe closes, and programs that start at the same moment inherit each other's pipes: one that had ended counted as running
/// until its neighbour ended, too.
public final class TestProgram: Sendable {
  public let pid: Int32
  private let folder: String
  private let ending: Ending
  private let linesTaken = Mutex(0)

  private final class Ending: Sendable {
    let started = Mutex<Result<Int32, any Error>?>(nil)
    let exit = Mutex<Int32?>(nil)
  }

  /// Starts a program: a path, or a name that is looked for in `PATH`.
  ///
  /// `environment`: all of it; nil for this process's. `directory`: where it runs. `input`: the file that it reads.
  public init(
    _ program: String, _ arguments: [String] = [], environment: [String: String]? = nil, in directory: String? = nil,
    input: String = "/dev/null"
  ) throws {
    let environment = environment ?? ProcessInfo.processInfo.environment
    let here = try directory ?? Files.currentFolder()
    folder = FileManager.default.temporaryDirectory.path + "/weir-program-\(UUID().uuidString.prefix(13))"
    try Files.makeFolder(folder)
    var spawn = Spawn(
      path: try ProgramFile.find(program, directory: here, path: environment["PATH"] ?? "/usr/bin:/bin"),
      arguments: [program] + arguments, environment: environment.map { ($0.key, $0.value) }, directory: here)
    spawn.descriptors = [
      (try Descriptor.open(input, .read), 0), (try Descriptor.open(folder + "/out", .append), 1),
      (try Descriptor.open(folder + "/err", .append), 2),
    ]
    // The thread below lives as long as the program does, so what it is sent when the thread ends means this process's end.
    spawn.deathSignal = .kill
    let ending = Ending()
    let isStarted = DispatchSemaphore(value: 0)
    try SystemThread.start { [spawn] in
      do {
        let pid = try spawn.start()
        ending.started.withLock { $0 = .success(pid) }
        isStarted.signal()
        guard case .ended(_, let exit) = Children.reap(pid: pid, waiting: true) else { return }
        ending.exit.withLock {
          $0 =
            switch exit {
            case .code(let code): code
            case .signal(let signal, _): -signal.rawValue
            }
        }
      } catch {
        ending.started.withLock { $0 = .failure(error) }
        isStarted.signal()
      }
    }
    isStarted.wait()
    self.ending = ending
    guard let started = ending.started.withLock({ $0 }) else {
      throw SystemError(call: "start \(program)", number: EIO)
    }
    pid = try started.get()
  }

  deinit {
    if isRunning { signal(SIGKILL) }
    // What cannot be removed is left to the system's temporary folder.
    try? FileManager.default.removeItem(atPath: folder)
  }

  public var isRunning: Bool { exit == nil }
  /// The exit code, or minus the signal; nil while it runs.
  public var exit: Int32? { ending.exit.withLock { $0 } }
  public var outBytes: [UInt8] { (try? Files.bytes(folder + "/out")) ?? [] }
  public var out: String { String(decoding: outBytes, as: UTF8.self) }
  public var err: String { String(decoding: (try? Files.bytes(folder + "/err")) ?? [], as: UTF8.self) }

  public func signal(_ number: Int32) { if isRunning { kill(pid, number) } }

  /// As a terminal does it: to every process of the foreground group, which it leads.
  public func ctrlC() { if isRunning { kill(-pid, SIGINT) } }

  /// Waits for its end on this thread: ``exit``; nil when it has not ended in time.
  public func wait(seconds: Int = 120) -> Int32? {
    wait(seconds: seconds) { self.exit != nil }
    return exit
  }

  /// The next whole line that it prints; nil when it has ended without one, or there is none in time.
  public func line(seconds: Int = 120) -> String? {
    let next = linesTaken.withLock { taken in
      taken += 1
      return taken
    }
    var found: String?
    wait(seconds: seconds) {
      let hasEnded = !self.isRunning
      let lines = self.outBytes.split(separator: 10, omittingEmptySubsequences: false)
      // What follows the last line's end is no whole line yet.
      if lines.count > next { found = String(decoding: lines[next - 1], as: UTF8.self) }
      return found != nil || hasEnded
    }
    return found
  }

  private func wait(seconds: Int, until holds: () -> Bool) {
    let end = ContinuousClock.now + .seconds(seconds)
    while !holds(), ContinuousClock.now < end { SystemThread.pause(nanoseconds: 2_000_000) }
  }

  /// Writes a file that is to be run.
  ///
  /// By `cp`: nothing can be run that somebody has open for writing, and a child that another test starts has for a moment
  /// all that this process has open.
  public static func install(_ bytes: [UInt8], at path: String) throws {
    try Files.replace(path + ".source", with: bytes, permissions: 0o700)
    let copying = try TestProgram("cp", [path + ".source", path])
    guard copying.wait() == 0 else { throw SystemError(call: "cp to \(path): \(copying.err)", number: EIO) }
  }

  /// A tool that has read these bytes and ended; nil where it is not installed, which is an error in CI.
  public static func reading(_ bytes: [UInt8], _ tool: String, _ arguments: [String]) throws -> TestProgram? {
    let file = FileManager.default.temporaryDirectory.path + "/weir-input-\(UUID().uuidString.prefix(13))"
    try Files.replace(file, with: bytes)
    defer { try? FileManager.default.removeItem(atPath: file) }
    let program: TestProgram
    do { program = try TestProgram(tool, arguments, input: file) } catch let error as ProgramFileError {
      if ProcessInfo.processInfo.environment["CI"] == "true" { throw error }
      print("\(error): it is not asked")
      return nil
    }
    _ = program.wait()
    return program
  }

  /// What `gzip`, `brotli` or `zstd` takes out of these bytes, empty when it cannot; nil as above.
  public static func unpacked(_ bytes: [UInt8], by tool: String) throws -> [UInt8]? {
    try reading(bytes, tool, ["-dc"]).map { $0.exit == 0 ? $0.outBytes : [] }
  }
}
