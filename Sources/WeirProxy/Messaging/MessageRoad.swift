// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import WeirBase
package import WeirFlows
import WeirMessaging
import WeirPlatform
import WeirWire

/// The way of messages from programs to us, while a scenario's faults are played on it; of all loops.
///
/// What is late is held up with its sender waiting: it is answered when its message is on the disk, as always. Who gives up
/// meanwhile has sent it all the same. What comes again nobody waits for.
package final class MessageRoad: Sendable {
  /// More are not held up at once: they come in time.
  static let heldMax = 10_000

  private struct State {
    var faults: MessageFaults
    var held = 0
  }

  private let state: Mutex<State>

  package init(_ faults: MessageFaults) { state = Mutex(State(faults: faults)) }

  /// The faults, and how many messages each has hit.
  package var played: [(fault: MessageFaults.Fault, hits: Int)] {
    state.withLock { state in Array(zip(state.faults.faults, state.faults.hits)).map { (fault: $0, hits: $1) } }
  }

  func fate(of request: StateRequest, from: String?, now: Instant) -> MessageFaults.Fate {
    guard let (to, key) = Arrival.of(request) else { return MessageFaults.Fate() }
    return state.withLock { state in
      if state.held >= MessageRoad.heldMax { return MessageFaults.Fate() }
      let fate = state.faults.fate(of: key, to: to, from: from, now: now)
      state.held += fate.again.count + (fate.late == nil ? 0 : 1)
      return fate
    }
  }

  func hasCome() { state.withLock { $0.held -= 1 } }
}

extension ProxyLoop {
  /// What a scenario does to a question that brings messages; true: `body` is called when it is let through.
  func isHeldUp(_ request: StateRequest, from: String?, now: Instant, _ body: @escaping () -> Void) -> Bool {
    guard let road else { return false }
    let fate = road.fate(of: request, from: from, now: now)
    for again in fate.again {
      guard let copy = Arrival.again(request, now: SystemClock.wall(), using: &random) else {
        road.hasCome()
        continue
      }
      bring(copy, after: again, on: road)
    }
    guard let late = fate.late else { return false }
    eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(late.inNanoseconds)) {
      road.hasCome()
      body()
    }
    return true
  }

  private func bring(_ copy: StateRequest, after time: Duration, on road: MessageRoad) {
    eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(time.inNanoseconds)) { [self] in
      guard let state else { return road.hasCome() }
      state.ask(copy, within: 10_000_000_000, insists: true, now: now()) { [self] reply in
        // Whoever forwards it tries again.
        if case .queueFull = reply { return bring(copy, after: .seconds(1), on: road) }
        road.hasCome()
      }
    }
  }
}
