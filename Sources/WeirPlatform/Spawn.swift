// SPDX-License-Identifier: Apache-2.0

internal import CWeirPlatform

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// A program to be started as a child of this process.
///
/// The child gets exactly what is named here: the environment, the directory and the descriptors; default signal
/// handling, no blocked signals; everything else of this process is closed at `exec`.
public struct Spawn: Sendable {
  /// The file to execute, already looked up (``ProgramFile``).
  public var path: String
  /// The arguments, the program's own name first.
  public var arguments: [String]
  /// `NAME=value` pairs: all of the child's environment.
  public var environment: [(name: String, value: String)]
  /// Where it runs; `nil`: where this process runs.
  public var directory: String?
  /// Descriptors of this process and the numbers they get in the child.
  ///
  /// 0, 1 and 2 not named are this process's own.
  public var descriptors: [(from: Descriptor, to: Int32)] = []
  /// Sent to the child when the *thread* that calls ``start()`` ends.
  ///
  /// Linux; elsewhere nothing is sent.
  public var deathSignal: Signal?
  /// Whether the child leads a process group of its own, so that it can be ended with all it starts.
  public var ownGroup = true
  /// The child's soft limit of open files, if not this process's.
  public var openFiles: UInt64?

  public init(
    path: String, arguments: [String], environment: [(name: String, value: String)], directory: String? = nil
  ) {
    self.path = path
    self.arguments = arguments
    self.environment = environment
    self.directory = directory
  }

  /// Starts it and answers its process id once the program has replaced this process's image, so an id is never that
  /// of a program that could not run.
  public func start() throws(SpawnError) -> Int32 {
    let words = arguments + environment.map { "\($0.name)=\($0.value)" }
    if let bad = ([path] + words).first(where: { $0.utf8.contains(0) }) { throw .containsNull(bad) }
    var arguments = self.arguments.map { strdup($0) }
    var pairs = environment.map { strdup("\($0.name)=\($0.value)") }
    defer { for copy in arguments + pairs { free(copy) } }
    arguments.append(nil)
    pairs.append(nil)
    let sources = descriptors.map(\.from.number)
    let targets = descriptors.map(\.to)
    var step: Int32 = 0
    var number: Int32 = 0
    let pid = path.withCString { path in
      arguments.withUnsafeBufferPointer { arguments in
        pairs.withUnsafeBufferPointer { pairs in
          sources.withUnsafeBufferPointer { sources in
            targets.withUnsafeBufferPointer { targets in
              withOptionalCString(directory) { directory in
                var what = weir_spawn()
                what.path = path
                what.argv = arguments.baseAddress
                what.envp = pairs.baseAddress
                what.directory = directory
                what.sources = sources.baseAddress
                what.targets = targets.baseAddress
                what.descriptor_count = Int32(sources.count)
                what.death_signal = deathSignal?.rawValue ?? 0
                what.own_group = ownGroup ? 1 : 0
                what.open_files = openFiles ?? 0
                let pid = weir_spawn(&what, &step)
                number = errno
                return pid
              }
            }
          }
        }
      }
    }
    // The descriptors must outlive the fork.
    withExtendedLifetime(descriptors) {}
    if pid > 0 { return pid }
    switch UInt32(step) {
    case WEIR_SPAWN_DIRECTORY.rawValue: throw .directory(directory ?? ".", number: number)
    case WEIR_SPAWN_EXEC.rawValue: throw .program(path, number: number)
    default: throw .system(SystemError(call: "start \(path)", number: number))
    }
  }
}

private func withOptionalCString<R>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> R) -> R {
  guard let text else { return body(nil) }
  return text.withCString { body($0) }
}

/// Why a program did not start.
public enum SpawnError: Error, Sendable, Equatable, CustomStringConvertible {
  /// A path, argument or variable has a NUL byte in it, which the system cannot pass on.
  case containsNull(String)
  case directory(String, number: Int32)
  case program(String, number: Int32)
  case system(SystemError)

  public var description: String {
    switch self {
    case .containsNull(let text): "the text \(text.debugDescription) contains a NUL character"
    case .directory(let path, let number):
      "cannot enter the directory \(path): \(SystemError(call: "", number: number).reason)"
    case .program(let path, let number) where number == ENOENT:
      "cannot run \(path): the file, or the interpreter its first line names, does not exist"
    case .program(let path, let number) where number == ENOEXEC:
      "cannot run \(path): it is neither a program of this machine nor a script that begins with #!"
    case .program(let path, let number) where number == E2BIG:
      "cannot run \(path): its arguments and environment are larger than the system takes"
    case .program(let path, let number): "cannot run \(path): \(SystemError(call: "", number: number).reason)"
    case .system(let error): "\(error)"
    }
  }
}
