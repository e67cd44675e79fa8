// SPDX-License-Identifier: Apache-2.0

/// What the simulator cannot play of a file.
extension Resolver {
  /// Of programs that fetch messages nothing is said: neither how many there are nor how long they take.
  mutating func refuseForSimulate(_ queues: [MessageQueue]) {
    for queue in queues where queue.to == nil {
      let name = queue.name.text
      refuse(
        .simulate, "programs fetch from '\(name)', and nothing says how many they are: simulate plays queues with 'to'",
        at: queue.name.place, mend: "\(name): { to: POST my-worker/\(name) }")
    }
  }

  mutating func refuseForSimulate(_ subscribers: [Subscriber]) {
    for subscriber in subscribers where subscriber.to == nil {
      let name = subscriber.name.text
      refuse(
        .simulate,
        "programs fetch the events of '\(name)', and nothing says how many they are: simulate plays those with 'do'",
        at: subscriber.name.place, mend: "\(name): { do: POST my-worker/\(name) }")
    }
  }

  /// `fail: emails`: a share of the messages that a queue accepts cannot be worked on, however often it is tried.
  mutating func poisoned(_ name: Value<String>) -> Component? {
    switch componentNamed(name.value) {
    case .queue(let index)?: .queue(index)
    case .topic(let index)?: .topic(index)
    case .stream(let index)?: .stream(index)
    case .service?, .store?, .saga?, nil: nil
    }
  }

  /// `delay: order-events`, `double: order-events`: what happens to messages on their way in.
  mutating func messages(_ fields: Fields, _ key: ScalarKey<String>) -> (Fault.Messages, by: Value<Duration>)? {
    guard let name = fields.value(key) else { return nil }
    guard let to = poisoned(name) else {
      if let other = componentNamed(name.value) {
        mistake(
          "unknown-target", "'\(name.value)' is a \(kind(of: other)): no messages wait there", at: name,
          why: "'\(key.name)' is for what comes to a queue, topic or stream", mend: "slow: \(name.value)")
      } else if !isLater(name.value) {
        unknownTarget(name, "a queue, topic or stream", among: (queues + topics + streams).map(\.name.text))
      }
      return nil
    }
    guard let by = fields.value(FaultKeys.by) else {
      mistake(
        "missing-key",
        key.name == FaultKeys.delay.name
          ? "this fault does not say how late messages to '\(name.value)' come"
          : "this fault does not say when messages to '\(name.value)' come again", at: fields.node.place,
        mend: "by: 20s")
      return nil
    }
    var messages = Fault.Messages(
      to: name.map { _ in to }, share: Layers([fields]).valueOrInitial(FaultKeys.share),
      count: fields.value(FaultKeys.count))
    if let from = fields.value(FaultKeys.from) {
      guard let service = service(from, whatFor: "from") else { return nil }
      if !resolvedServices[service].sends.contains(where: { $0.value == to }) {
        mistake(
          "unknown-target", "'\(from.value)' does not send to '\(name.value)'", at: from,
          mend: "sends: [\(name.value)] at services.\(from.value)")
        return nil
      }
      messages.from = from.map { _ in service }
    }
    return (messages, by)
  }
}
