// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import NIOCore
import Synchronization

/// What goes along with a request through the middlewares and its handler.
struct ExampleContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel
  let spent = RequestTime()

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }
}

/// The time account of one request: what it owes beside its own work, and what it spent on calls.
final class RequestTime: Sendable {
  private struct State {
    var ownNanoseconds: Int64 = 0
    var calledNanoseconds: Int64 = 0
  }

  let began = NIODeadline.now()
  private let state = Mutex(State())

  /// Adds to the time the request has to take by itself, as a store's service time.
  func owe(_ nanoseconds: Int64) { state.withLock { $0.ownNanoseconds += nanoseconds } }

  /// Counts a call's time, which does not pay for own time.
  func called(_ nanoseconds: Int64) { state.withLock { $0.calledNanoseconds += nanoseconds } }

  /// How long after its start a request must end: own time and calls.
  var dueNanoseconds: Int64 { state.withLock { $0.ownNanoseconds + $0.calledNanoseconds } }
}
