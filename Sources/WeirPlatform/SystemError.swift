// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// What the operating system refused: the call, and its reason.
public struct SystemError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The call that failed, as a reader knows it: `bind`, `open logs/api.log`.
  public var call: String
  /// The system's error number (`errno`).
  public var number: Int32

  public init(call: String, number: Int32) {
    self.call = call
    self.number = number
  }

  /// The error of the call that has just failed; to be asked before any other call.
  static func last(_ call: String) -> SystemError { SystemError(call: call, number: errno) }

  /// The system's own words for the reason.
  public var reason: String { String(cString: strerror(number)) }

  public var description: String { "\(call): \(reason)" }

  /// There was no room for all of a write, which the system tells by taking less and not by an error.
  public static func diskFull(_ call: String) -> SystemError { SystemError(call: call, number: ENOSPC) }

  /// No room to write: the disk, the quota or the size limit of one file is exhausted.
  public var isDiskFull: Bool { number == ENOSPC || number == EDQUOT || number == EFBIG }

  /// The call would have had to wait.
  public var wouldBlock: Bool { number == EAGAIN || number == EWOULDBLOCK }

  public var isMissing: Bool { number == ENOENT }

  public var isForbidden: Bool { number == EACCES || number == EPERM }

  public var isReadOnly: Bool { number == EROFS }
}
