// SPDX-License-Identifier: Apache-2.0

internal import CWeirPlatform

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// How a process ended.
public enum ProcessExit: Sendable, Hashable, Codable, CustomStringConvertible {
  case code(Int32)
  case signal(Signal, dumpedCore: Bool)

  public var description: String {
    switch self {
    case .code(let code): "exit code \(code)"
    case .signal(let signal, let dumped): "\(signal)\(dumped ? " (core dumped)" : "")"
    }
  }

  public var isSuccess: Bool { self == .code(0) }
}

/// The children of this process, and signals to any process.
public enum Children {
  public enum Reaped: Sendable, Equatable {
    case ended(pid: Int32, ProcessExit)
    /// There are children, none of which has ended.
    case running
    /// There are no children, and as subreaper that means: no descendants at all.
    case none
  }

  /// Takes the end of one child.
  ///
  /// `pid`: only that one; `waiting`: until there is one.
  public static func reap(pid: Int32 = -1, waiting: Bool = false) -> Reaped {
    var code: Int32 = 0
    var signal: Int32 = 0
    var dumped: Int32 = 0
    let ended = weir_reap(pid, waiting ? 1 : 0, &code, &signal, &dumped)
    if ended == 0 { return .running }
    if ended < 0 { return .none }
    return .ended(
      pid: ended, signal == 0 ? .code(code) : .signal(Signal(rawValue: signal), dumpedCore: dumped != 0))
  }

  /// Orphans among the descendants become children of this process, so that none escapes.
  ///
  /// Linux; false elsewhere.
  public static func adoptOrphans() -> Bool { weir_become_subreaper() == 0 }

  /// Sends a signal to one process; false when there is none or it is not ours.
  @discardableResult
  public static func send(_ signal: Signal, to pid: Int32) -> Bool { pid > 1 && kill(pid, signal.rawValue) == 0 }

  /// Sends a signal to a whole process group; false when it has no members.
  @discardableResult
  public static func send(_ signal: Signal, toGroup group: Int32) -> Bool {
    group > 1 && killpg(group, signal.rawValue) == 0
  }

  /// Whether the group has a member, a zombie included.
  public static func groupExists(_ group: Int32) -> Bool { group > 1 && (killpg(group, 0) == 0 || errno == EPERM) }

  public static var ownPid: Int32 { getpid() }
  public static var ownParent: Int32 { getppid() }
}
