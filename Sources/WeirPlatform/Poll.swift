// SPDX-License-Identifier: Apache-2.0

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// Waits for any of several descriptors; the keeper's whole concurrency.
public struct Poll: Sendable {
  public struct Interest: Sendable {
    public var descriptor: Int32
    public var read: Bool
    public var write: Bool
    /// Set by ``wait(_:nanoseconds:)``: bytes, an end or an error can be read.
    public var readable = false
    /// Set by ``wait(_:nanoseconds:)``: something can be written, or writing will say what is wrong.
    public var writable = false

    public init(_ descriptor: Int32, read: Bool = true, write: Bool = false) {
      self.descriptor = descriptor
      self.read = read
      self.write = write
    }
  }

  /// Waits until one of `interests` is ready or `nanoseconds` have passed (`nil`: for ever); the count of ready ones.
  ///
  /// A signal ends the wait early with 0.
  @discardableResult
  public static func wait(_ interests: inout [Interest], nanoseconds: Int64?) throws(SystemError) -> Int {
    var entries = interests.map {
      pollfd(fd: $0.descriptor, events: Int16(($0.read ? POLLIN : 0) | ($0.write ? POLLOUT : 0)), revents: 0)
    }
    // Rounded up: waking a millisecond before a deadline would spin until it is reached.
    let milliseconds = nanoseconds.map { Int32(clamping: max(0, ($0 + 999_999) / 1_000_000)) } ?? -1
    let count = poll(&entries, nfds_t(entries.count), milliseconds)
    if count < 0 {
      if errno == EINTR { return 0 }
      throw .last("poll")
    }
    for index in interests.indices {
      let events = Int32(entries[index].revents)
      let broken = events & (POLLHUP | POLLERR | POLLNVAL) != 0
      interests[index].readable = interests[index].read && (broken || events & POLLIN != 0)
      interests[index].writable = interests[index].write && (broken || events & POLLOUT != 0)
    }
    return Int(count)
  }
}
