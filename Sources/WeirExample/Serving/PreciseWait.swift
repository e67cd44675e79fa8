// SPDX-License-Identifier: Apache-2.0

import NIOCore

extension EventLoop {
  /// Waits until a point in time, by this loop's own timer.
  ///
  /// A service time is only as good as the wait that spends it. The loop's timer is a `timerfd` in nanoseconds; see
  /// `weir-example waits`, which measures it beside `Task.sleep` on the machine at hand.
  func wait(until deadline: NIODeadline) async {
    await withCheckedContinuation { continuation in
      _ = scheduleTask(deadline: deadline) { continuation.resume() }
    }
  }
}
