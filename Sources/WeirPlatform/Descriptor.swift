// SPDX-License-Identifier: Apache-2.0

internal import CWeirPlatform

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// One open file, pipe or socket; closed when the last reference goes.
///
/// Close-on-exec from the start, so a spawned program gets only what ``Spawn`` gives it. It is a class, and not a
/// noncopyable struct, because descriptors live in tables and in several hands; `number` never changes, so it may cross
/// threads.
public final class Descriptor: Sendable {
  /// The system's number for it.
  public let number: Int32
  private let isBorrowed: Bool

  /// Takes over `number`: from now on it is closed here and nowhere else.
  public init(owning number: Int32) {
    self.number = number
    isBorrowed = false
  }

  /// One that belongs to somebody else and is not closed here: 0, 1 and 2.
  public init(borrowing number: Int32) {
    self.number = number
    isBorrowed = true
  }

  deinit { if !isBorrowed { close(number) } }

  /// A second descriptor of the same thing that the caller must close, for an owner that closes by itself (NIO).
  public func duplicate() throws(SystemError) -> Int32 {
    let copy = weir_duplicate(number, 3)
    if copy < 0 { throw .last("duplicate descriptor") }
    return copy
  }

  public enum Mode: Sendable {
    case read, write, append, readWrite
    /// For writing, emptied first.
    case replace
  }

  /// Opens a file; modes that write create it with `permissions`.
  public static func open(_ path: String, _ mode: Mode, permissions: Int32 = 0o600, nonblocking: Bool = false)
    throws(SystemError) -> Descriptor
  {
    var flags: Int32
    switch mode {
    case .read: flags = O_RDONLY
    case .write: flags = O_WRONLY
    case .append: flags = O_WRONLY | O_APPEND | O_CREAT
    case .readWrite: flags = O_RDWR | O_CREAT
    case .replace: flags = O_WRONLY | O_CREAT | O_TRUNC
    }
    flags |= O_NOCTTY
    if nonblocking { flags |= O_NONBLOCK }
    let number = weir_open(path, flags, permissions)
    if number < 0 { throw .last("open \(path)") }
    return Descriptor(owning: number)
  }

  /// A pipe: what is written to `write` is read from `read`.
  public static func pipe() throws(SystemError) -> (read: Descriptor, write: Descriptor) {
    var ends: [Int32] = [-1, -1]
    if weir_pipe(&ends) < 0 { throw .last("pipe") }
    return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
  }

  /// Two connected UNIX stream sockets.
  public static func socketPair() throws(SystemError) -> (Descriptor, Descriptor) {
    var ends: [Int32] = [-1, -1]
    if weir_socket_pair(&ends) < 0 { throw .last("socketpair") }
    return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
  }

  public func setNonblocking(_ on: Bool = true) throws(SystemError) {
    if weir_set_nonblocking(number, on ? 1 : 0) < 0 { throw .last("set non-blocking") }
  }

  public func setCloseOnExec(_ on: Bool = true) throws(SystemError) {
    if weir_set_close_on_exec(number, on ? 1 : 0) < 0 { throw .last("set close-on-exec") }
  }

  /// Up to `limit` bytes; empty at the end of the stream.
  public func read(upTo limit: Int) throws(SystemError) -> [UInt8] {
    var count = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, used in
      repeat { count = readBytes(number, buffer.baseAddress, limit) } while count < 0 && errno == EINTR
      used = max(0, count)
    }
    if count < 0 { throw .last("read") }
    return bytes
  }

  /// Writes what fits and says how much that was.
  public func write(_ bytes: some Collection<UInt8>) throws(SystemError) -> Int {
    let array = Array(bytes)
    var count = 0
    repeat { count = writeBytes(number, array, array.count) } while count < 0 && errno == EINTR
    if count < 0 { throw .last("write") }
    return count
  }

  /// Writes all of it, waiting where it must.
  public func writeAll(_ bytes: some Collection<UInt8>) throws(SystemError) {
    var rest = Array(bytes)[...]
    while !rest.isEmpty { rest = rest.dropFirst(try write(rest)) }
  }

  /// Whether a write would be taken now, at least in part.
  public var isWritableNow: Bool {
    var interests = [Poll.Interest(number, read: false, write: true)]
    // A poll that fails says nothing; the write will.
    guard (try? Poll.wait(&interests, nanoseconds: 0)) != nil else { return true }
    return interests[0].writable
  }

  /// Returns when all that was written to the file is on the disk.
  public func sync() throws(SystemError) {
    if fsync(number) < 0 { throw .last("sync") }
  }

  /// Bytes in the file.
  public func size() throws(SystemError) -> Int {
    var facts = stat()
    if fstat(number, &facts) < 0 { throw .last("stat") }
    return Int(facts.st_size)
  }

  /// What kind of thing the descriptor is; decides how it can be written without blocking.
  public enum Kind: Sendable { case file, pipe, socket, character, other }

  public var kind: Kind {
    var facts = stat()
    if fstat(number, &facts) < 0 { return .other }
    switch facts.st_mode & S_IFMT {
    case S_IFREG: return .file
    case S_IFIFO: return .pipe
    case S_IFSOCK: return .socket
    case S_IFCHR: return .character
    default: return .other
    }
  }

  /// Sends bytes with descriptors over a UNIX socket; the number of bytes taken.
  ///
  /// Descriptors go with the first byte.
  public func send(_ bytes: [UInt8], passing descriptors: [Descriptor]) throws(SystemError) -> Int {
    let numbers = descriptors.map(\.number)
    let count = weir_send_descriptors(number, bytes, bytes.count, numbers, Int32(numbers.count))
    if count < 0 { throw .last("send") }
    return count
  }

  /// The most descriptors one receive can take: what the kernel lets one message carry (`SCM_MAX_FD`).
  static let passedMax = 253

  /// Receives bytes, and the descriptors that came with them; no bytes at the end of the stream.
  public func receive(upTo limit: Int) throws(SystemError) -> (bytes: [UInt8], descriptors: [Descriptor]) {
    var numbers = [Int32](repeating: -1, count: Descriptor.passedMax)
    var received: Int32 = 0
    var count = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, used in
      count = weir_receive_descriptors(
        number, buffer.baseAddress, limit, &numbers, Int32(Descriptor.passedMax), &received)
      used = max(0, count)
    }
    if count < 0 { throw .last("receive") }
    return (bytes, numbers.prefix(Int(received)).map { Descriptor(owning: $0) })
  }
}

// Inside the class the names `read` and `write` are its methods.
private func readBytes(_ number: Int32, _ buffer: UnsafeMutableRawPointer?, _ count: Int) -> Int {
  read(number, buffer, count)
}
private func writeBytes(_ number: Int32, _ buffer: UnsafeRawPointer, _ count: Int) -> Int {
  write(number, buffer, count)
}

/// Descriptors 0, 1 and 2.
public enum StandardDescriptors {
  /// Opens `/dev/null` for each that is closed (`weir run >&-`), lest the next file opened becomes standard output.
  public static func makeSureOpen() throws(SystemError) {
    // `open` takes the lowest free number.
    for number in Int32(0)...2 where fcntl(number, F_GETFD) < 0 {
      if open("/dev/null", number == 0 ? O_RDONLY : O_WRONLY) < 0 { throw .last("open /dev/null") }
    }
  }
}
