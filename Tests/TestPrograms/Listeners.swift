// SPDX-License-Identifier: Apache-2.0
import WeirPlatform

/// Sockets that listen, of the test before this one.
public enum Listeners {
  /// Waits on this thread until nobody listens at the path, for twenty seconds at most.
  ///
  /// Whoever has closed his listener is not the last to hold it: a child that another test starts has for a moment all that
  /// this process has open, and so has a thread that is about to end.
  public static func waitUntilNone(at path: String) {
    let end = ContinuousClock.now + .seconds(20)
    while (try? Connecting.unix(path: path)) != nil, ContinuousClock.now < end {
      SystemThread.pause(nanoseconds: 1_000_000)
    }
  }
}
