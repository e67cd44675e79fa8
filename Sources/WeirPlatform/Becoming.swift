// SPDX-License-Identifier: Apache-2.0

internal import CWeirPlatform

#if canImport(Glibc)
  internal import Glibc
#else
  internal import Darwin
#endif

/// This process goes on as another program: same process id, same children, same parent.
public enum Becoming {
  /// Returns only when it failed, and then why.
  ///
  /// `keeping` stay open, with their numbers; all else that is close-on-exec is closed. Signals that are blocked stay so,
  /// and wait. To be called on the main thread: children are told of that *thread's* death, and it lives on.
  public static func replace(
    with path: String, arguments: [String], environment: [(name: String, value: String)], keeping: [Descriptor]
  ) -> SystemError {
    var argv = arguments.map { strdup($0) }
    var pairs = environment.map { strdup("\($0.name)=\($0.value)") }
    defer { for copy in argv + pairs { free(copy) } }
    argv.append(nil)
    pairs.append(nil)
    do {
      for descriptor in keeping { try descriptor.setCloseOnExec(false) }
      _ = path.withCString { path in
        argv.withUnsafeBufferPointer { argv in
          pairs.withUnsafeBufferPointer { pairs in weir_become(path, argv.baseAddress, pairs.baseAddress) }
        }
      }
      let error = SystemError.last("become \(path)")
      for descriptor in keeping { try descriptor.setCloseOnExec() }
      return error
    } catch { return error }
  }
}

extension Signal {
  /// Holds signals back in this thread, or lets them through again; what is held back waits.
  public static func block(_ signals: [Signal], _ on: Bool = true) {
    let numbers = signals.map(\.rawValue)
    // Fails only for numbers that are no signals.
    _ = weir_signals_block(numbers, Int32(numbers.count), on ? 1 : 0)
  }
}
