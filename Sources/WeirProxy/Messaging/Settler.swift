// SPDX-License-Identifier: Apache-2.0
import NIOCore
import WeirWire

/// Says how the messages of one queue went: all that ends within one turn of the loop at once.
///
/// Confined to its loop, which is not drained before the state process has heard it.
final class Settler {
  private unowned let loop: ProxyLoop
  private var waiting: [(settlement: Settlement, told: ((SettleResult?) -> Void)?)] = []

  init(loop: ProxyLoop) { self.loop = loop }

  /// `told` hears what the state process has made of it; nil: it has not answered.
  func settle(
    _ message: LeasedMessage, _ verdict: Settlement.Verdict, in queue: String,
    told: ((SettleResult?) -> Void)? = nil
  ) {
    waiting.append((Settlement(sequence: message.sequence, attempt: message.attempt, verdict: verdict), told))
    if waiting.count > 1 { return }
    loop.deliveries += 1
    let bound = NIOLoopBound(self, eventLoop: loop.eventLoop)
    loop.eventLoop.execute { bound.value.tell(queue) }
  }

  private func tell(_ queue: String) {
    while !waiting.isEmpty {
      let some = Array(waiting.prefix(QueueLimits.batchMax))
      waiting.removeFirst(some.count)
      guard let state = loop.state else { continue }
      loop.deliveries += 1
      // It insists: a message that is done and not said to be is done again, when its lease is over.
      state.ask(
        .settle(queue: queue, some.map(\.settlement)), within: 30_000_000_000, insists: true, now: loop.now()
      ) { [loop] reply in
        var results: [SettleResult] = []
        if case .settled(let settled) = reply { results = settled }
        for (i, one) in some.enumerated() { one.told?(i < results.count ? results[i] : nil) }
        loop.delivered()
      }
    }
    loop.delivered()
  }
}
