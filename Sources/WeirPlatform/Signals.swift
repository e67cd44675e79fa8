// SPDX-License-Identifier: Apache-2.0

internal import CWeirPlatform

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// A signal, by the number of this system.
public struct Signal: Sendable, Hashable, Codable, RawRepresentable, CustomStringConvertible {
  public var rawValue: Int32

  public init(rawValue: Int32) { self.rawValue = rawValue }

  public static let hangup = Signal(rawValue: SIGHUP)
  public static let interrupt = Signal(rawValue: SIGINT)
  public static let quit = Signal(rawValue: SIGQUIT)
  public static let kill = Signal(rawValue: SIGKILL)
  public static let terminate = Signal(rawValue: SIGTERM)
  public static let childEnded = Signal(rawValue: SIGCHLD)
  public static let brokenPipe = Signal(rawValue: SIGPIPE)
  public static let fileTooLarge = Signal(rawValue: SIGXFSZ)
  public static let resume = Signal(rawValue: SIGCONT)
  public static let pause = Signal(rawValue: SIGSTOP)
  public static let user1 = Signal(rawValue: SIGUSR1)
  public static let user2 = Signal(rawValue: SIGUSR2)
  public static let windowChanged = Signal(rawValue: SIGWINCH)

  /// The names that a supervisor meets; the rest is told by number.
  static let names: [(Int32, String)] = [
    (SIGHUP, "SIGHUP"), (SIGINT, "SIGINT"), (SIGQUIT, "SIGQUIT"), (SIGILL, "SIGILL"), (SIGTRAP, "SIGTRAP"),
    (SIGABRT, "SIGABRT"), (SIGBUS, "SIGBUS"), (SIGFPE, "SIGFPE"), (SIGKILL, "SIGKILL"), (SIGUSR1, "SIGUSR1"),
    (SIGSEGV, "SIGSEGV"), (SIGUSR2, "SIGUSR2"), (SIGPIPE, "SIGPIPE"), (SIGALRM, "SIGALRM"), (SIGTERM, "SIGTERM"),
    (SIGCHLD, "SIGCHLD"), (SIGXCPU, "SIGXCPU"), (SIGXFSZ, "SIGXFSZ"), (SIGSYS, "SIGSYS"),
  ]

  public var description: String {
    Signal.names.first { $0.0 == rawValue }?.1 ?? "signal \(rawValue)"
  }

  /// From now on the signal does nothing in this process.
  ///
  /// Programs spawned by ``Spawn`` get the default again.
  public func ignore() { _ = weir_signal_ignore(rawValue) }
}

/// Signals of this process as bytes that can be polled for, instead of handlers that interrupt.
///
/// A self-pipe, and not `signalfd`: it works with any number of threads, whatever their masks are, and on every system.
/// There is one pipe a process; only one place may read it.
public struct SignalPipe: Sendable {
  /// Readable when a signal has come.
  ///
  /// Never closed.
  public let descriptor: Int32

  public init(_ signals: [Signal]) throws(SystemError) {
    let numbers = signals.map(\.rawValue)
    descriptor = weir_signals_open(numbers, Int32(numbers.count))
    if descriptor < 0 { throw .last("sigaction") }
  }

  /// The signals that came since the last call, oldest first; never waits.
  public func take() -> [Signal] {
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = read(descriptor, &buffer, buffer.count)
    return count <= 0 ? [] : buffer.prefix(count).map { Signal(rawValue: Int32($0)) }
  }
}
