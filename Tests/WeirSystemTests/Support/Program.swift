// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing

/// A started program that writes into files of its own.
///
/// Not into pipes: processes that are started at the same moment inherit each other's ends.
final class Program: Sendable {
  let pid: pid_t
  private let ended = Mutex<Int32?>(nil)
  private let output: String
  private let errors: String

  /// The folder that holds `weir` and `weir-example`: `WEIR_BIN`, or where the tests themselves were built.
  static let bin: String = {
    if let given = ProcessInfo.processInfo.environment["WEIR_BIN"], !given.isEmpty { return given }
    return URL(fileURLWithPath: ProcessInfo.processInfo.arguments[0]).resolvingSymlinksInPath()
      .deletingLastPathComponent().path
  }()

  /// The repository.
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().path

  /// Starts one of our two, or the program at an absolute path.
  ///
  /// `folder` is where it runs and where its output goes.
  init(
    _ name: String, _ arguments: [String], in folder: String, environment: [String: String] = [:]
  ) throws {
    let path = name.hasPrefix("/") ? name : Program.bin + "/" + name
    guard FileManager.default.isExecutableFile(atPath: path) else {
      throw Mistake("\(path) is not there: build it (swift build -c release) and name its folder in WEIR_BIN")
    }
    let stem = folder + "/" + UUID().uuidString.prefix(8)
    output = stem + ".out"
    errors = stem + ".err"
    let usual = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    let variables = ["PATH": Program.bin + ":" + usual, "HOME": folder].merging(environment) { $1 }
    pid = try Program.spawn(path, arguments, variables, in: folder, output: output, errors: errors)
  }

  /// By `posix_spawn` and not by Foundation: that crashes now and then while it looks for open files, and hands the
  /// caller's blocked signals on, so that a program started from a task's thread would hear no Ctrl-C.
  private static func spawn(
    _ path: String, _ arguments: [String], _ variables: [String: String], in folder: String, output: String,
    errors: String
  ) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, errors, O_WRONLY | O_CREAT | O_APPEND, 0o600)

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    // Its own group, which it leads: 0.
    posix_spawnattr_setpgroup(&attributes, 0)
    let flags = Int32(POSIX_SPAWN_SETPGROUP) | Int32(POSIX_SPAWN_SETSIGMASK) | Int32(POSIX_SPAWN_SETSIGDEF)
    posix_spawnattr_setflags(&attributes, Int16(flags))

    // The shell changes the folder and becomes the program: what does that without it is not visible from Swift.
    let words = ["/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", folder, path] + arguments
    var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
    var settings: [UnsafeMutablePointer<CChar>?] = variables.map { strdup("\($0)=\($1)") } + [nil]
    defer { for text in argv + settings { free(text) } }
    var pid: pid_t = 0
    let error = posix_spawn(&pid, "/bin/sh", &actions, &attributes, &argv, &settings)
    guard error == 0 else { throw Mistake("\(path) cannot be started: \(String(cString: strerror(error)))") }
    return pid
  }

  deinit {
    // Ended by the field, or here; not to be left as a zombie.
    if isRunning {
      kill(pid, SIGKILL)
      var status: Int32 = 0
      waitpid(pid, &status, 0)
    }
  }

  var isRunning: Bool { exit == nil }
  var out: String { Program.read(output) }
  var err: String { Program.read(errors) }
  /// Both: what is told while it runs may stand on either.
  var says: String { out + err }

  /// The exit code, or minus the signal; nil while it runs.
  private var exit: Int32? {
    ended.withLock { ended in
      if let ended { return ended }
      var status: Int32 = 0
      guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
      // As `WIFEXITED` and `WEXITSTATUS`, macros that Swift does not see.
      ended = status & 0x7f == 0 ? status >> 8 & 0xff : -(status & 0x7f)
      return ended
    }
  }

  func signal(_ number: Int32) { kill(pid, number) }

  /// As a terminal does it: to every process of the foreground group.
  func ctrlC() { kill(-pid, SIGINT) }

  /// Its end: the exit code, or minus the signal.
  func end(within limit: Duration = patience, sourceLocation: SourceLocation = #_sourceLocation) async throws -> Int32 {
    try await eventually(
      "process \(pid) ends\n\(out)\n\(err)", within: limit, sourceLocation: sourceLocation
    ) { !isRunning }
    guard let exit else { throw Mistake("process \(pid) has not ended") }
    return exit
  }

  static func read(_ path: String) -> String {
    String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
  }
}
