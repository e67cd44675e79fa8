// SPDX-License-Identifier: Apache-2.0

// `pthread_attr_t` is also seen through its header.
internal import CWeirPlatform

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// A thread of its own for work that blocks, kept off the pool that Swift's tasks share.
public enum SystemThread {
  /// Runs `body` on a new detached thread.
  public static func start(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let argument = Unmanaged.passRetained(ThreadBody(body)).toOpaque()
    #if canImport(Glibc)
      var thread = pthread_t()
      let result = pthread_create(&thread, &attributes, { runThread($0) }, argument)
    #else
      var thread: pthread_t?
      let result = pthread_create(&thread, &attributes, { runThread($0) }, argument)
    #endif
    if result != 0 {
      Unmanaged<ThreadBody>.fromOpaque(argument).release()
      throw SystemError(call: "start a thread", number: result)
    }
  }

  /// Blocks the calling thread; for loops that watch something the system sends no event for.
  public static func pause(nanoseconds: Int64) {
    var left = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    while true {
      var wanted = left
      if nanosleep(&wanted, &left) == 0 || errno != EINTR { return }
    }
  }
}

/// Ends this process at once, without running anything that waits to be run.
public func leave(_ code: Int32) -> Never { _exit(code) }

private final class ThreadBody {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

private func runThread(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  if let argument { Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run() }
  return nil
}
