// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The workers of a program: at most `count` requests are worked on at once, the rest waits, first come, first served.
///
/// This is the c of M/G/c: a forecast that knows the workers and the service time knows the waiting time. The queue is
/// bounded, as every queue must be; what finds it full is refused.
///
/// ## Invariants
/// 1. At most `count` slots are out.
/// 2. Nobody waits while a slot is free: a released slot goes straight to the longest waiting.
package final class WorkerSlots: Sendable {
  private struct State {
    var free: Int
    var waiting: [CheckedContinuation<Void, Never>] = []
    /// How many at the front of `waiting` have been served already; the array is cut when half of it is gone.
    var served = 0

    var waitingCount: Int { waiting.count - served }
  }

  private let state: Mutex<State>
  private let count: Int
  private let waitingMax: Int

  package init(count: Int, waitingMax: Int) {
    state = Mutex(State(free: count))
    self.count = count
    self.waitingMax = waitingMax
  }

  /// How many slots are out, and how many wait for one.
  package var use: (out: Int, waiting: Int) {
    state.withLock { (count - $0.free, $0.waitingCount) }
  }

  /// Takes a slot, waiting for it if need be; false when too many wait already.
  package func acquire() async -> Bool {
    let quick: Bool? = state.withLock { state in
      if state.free > 0 {
        state.free -= 1
        return true
      }
      return state.waitingCount < waitingMax ? nil : false
    }
    if let quick { return quick }
    await withCheckedContinuation { continuation in
      // A slot may have become free since the look above.
      let free = state.withLock { state in
        if state.free > 0 {
          state.free -= 1
          return true
        }
        state.waiting.append(continuation)
        return false
      }
      if free { continuation.resume() }
    }
    return true
  }

  /// Gives the slot back, or on to the longest waiting.
  package func release() {
    let next: CheckedContinuation<Void, Never>? = state.withLock { state in
      guard state.waitingCount > 0 else {
        state.free += 1
        return nil
      }
      let first = state.waiting[state.served]
      state.served += 1
      if state.served > 64, state.served * 2 > state.waiting.count {
        state.waiting.removeFirst(state.served)
        state.served = 0
      }
      return first
    }
    next?.resume()
  }
}
