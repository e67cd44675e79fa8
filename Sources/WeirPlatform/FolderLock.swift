// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// A lock that one process at a time holds on a folder; the system takes it back when the process ends, however it ends.
///
/// `flock` on a file that stays: removing it would let two processes lock two files of one name. The file holds the pid
/// of the last holder, for the message only.
public final class FolderLock: Sendable {
  public let file: Descriptor

  public enum Failure: Error, Sendable, Equatable, CustomStringConvertible {
    /// Another process holds it; its pid when it could be read.
    case held(path: String, by: Int32?)
    case system(SystemError)

    public var description: String {
      switch self {
      case .held(let path, let pid): "\(path) is in use\(pid.map { " by process \($0)" } ?? "")"
      case .system(let error): "\(error)"
      }
    }
  }

  /// Held already, by a program that this process was before.
  public init(held file: Descriptor) { self.file = file }

  public init(path: String) throws(Failure) {
    do { file = try Descriptor.open(path, .readWrite) } catch { throw .system(error) }
    var result: Int32
    repeat { result = flock(file.number, LOCK_EX | LOCK_NB) } while result < 0 && errno == EINTR
    if result < 0 {
      if errno != EWOULDBLOCK { throw .system(.last("lock \(path)")) }
      let text = try? Files.text(path)  // The holder is only wanted for the message.
      throw .held(path: path, by: text.flatMap { Int32($0.filter { $0 != "\n" }) })
    }
    ftruncate(file.number, 0)
    // A full disk must not keep anyone from locking: the pid is only for the message.
    let pid = Array("\(getpid())\n".utf8)
    _ = pwrite(file.number, pid, pid.count, 0)
  }
}
