// SPDX-License-Identifier: Apache-2.0
internal import CWeirPlatform

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// A folder whose files are given to strangers: nothing outside it is ever opened, whatever links and dots a path has.
///
/// Every method may wait for a disk: not for event loops.
public final class StaticFolder: Sendable {
  private let folder: Descriptor

  public struct File: Sendable {
    public var descriptor: Descriptor
    public var size: Int64
    /// Seconds since 1970, and nanoseconds within.
    public var modified: Int64
    public var nanoseconds: Int64
  }

  public enum Found: Sendable {
    case file(File)
    case folder
    case nothing
  }

  public init(_ path: String) throws(SystemError) {
    folder = try Descriptor.open(path, .read)
    if !Files.isFolder(path) { throw SystemError(call: "open folder \(path)", number: ENOTDIR) }
  }

  /// What lies at a path, relative and without a slash at its end; a pipe or a device is nothing.
  public func open(_ path: String) -> Found {
    let number = weir_open_beneath(folder.number, path.isEmpty ? "." : path)
    if number < 0 { return .nothing }
    let descriptor = Descriptor(owning: number)
    var facts = stat()
    guard fstat(number, &facts) == 0 else { return .nothing }
    switch facts.st_mode & S_IFMT {
    case S_IFDIR: return .folder
    case S_IFREG:
      #if canImport(Glibc)
        let time = facts.st_mtim
      #else
        let time = facts.st_mtimespec
      #endif
      return .file(
        File(
          descriptor: descriptor, size: Int64(facts.st_size), modified: Int64(time.tv_sec),
          nanoseconds: Int64(time.tv_nsec)))
    default: return .nothing
    }
  }
}

extension Descriptor {
  /// Up to `count` bytes from `offset`; fewer at the end of the file.
  public func read(upTo count: Int, at offset: Int64) throws(SystemError) -> [UInt8] {
    var got = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
      repeat { got = pread(number, buffer.baseAddress, count, off_t(offset)) } while got < 0 && errno == EINTR
      used = max(0, got)
    }
    if got < 0 { throw .last("read") }
    return bytes
  }
}
