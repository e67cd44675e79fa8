// SPDX-License-Identifier: Apache-2.0
import WeirBase
import WeirModel
import WeirWire

/// How the events of topics are sorted for those who hear them.
extension Plan {
  /// The subscriber whose queue this is; nil for a queue that no log feeds.
  private func subscriber(of queue: Plan.Queue) -> Subscriber? {
    guard let log = queue.log.map({ logs[$0] }) else { return nil }
    let all =
      switch log.kind {
      case .topic(let index): design.topics[index].subscribers
      case .stream(let index): design.streams[index].projections
      }
    return all.first { "\(log.name).\($0.name.text)" == queue.name }
  }

  /// `sequence:` and `dedup:` of the group whose queue this is.
  func order(of queue: Plan.Queue) -> GroupOrder? {
    guard let subscriber = subscriber(of: queue) else { return nil }
    func milliseconds(_ duration: Duration) -> Int64 { duration.inNanoseconds / 1_000_000 }
    let order = GroupOrder(
      sequence: subscriber.sequence.map {
        GroupOrder.Sequence(
          by: $0.by.value, wait: milliseconds($0.wait.value), stops: $0.atGap.value == .stop)
      },
      dedup: subscriber.dedup.map {
        GroupOrder.Dedup(by: $0.by?.value, within: milliseconds($0.within.value))
      })
    return order == GroupOrder() ? nil : order
  }

  /// What the groups of a log look for in its events, and what may stand in a field of the request.
  func marks(of log: Plan.Log) -> [String] {
    var marks: [String] = []
    for group in log.groups {
      let order = order(of: queues[group.queue])
      for name in [order?.sequence?.by, order?.dedup?.by] {
        if let name, !marks.contains(name) { marks.append(name) }
      }
    }
    return marks
  }
}
