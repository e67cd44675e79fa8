// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Events of which a later one may be worked on before an earlier one.
enum OrderAcrossKeys: Rule {
  static let info = RuleInfo(
    "order-across-keys", .messaging, .warning, title: "Messages overtake each other",
    why: "Without a key messages have no order: several are worked on at once, and one that is tried again comes after "
      + "all that have come meanwhile. *Order placed* and *order cancelled* meet the wrong way round, stock is taken for "
      + "an order that is gone. With 10 at once and one retry in 1000, at 100 messages/s, it is one each ten seconds.",
    detection: "a topic without `key` whose subscriber has several events in work at once; a queue without `key` into "
      + "which several operations put messages (a note); `key` together with `key-at-once` above 1; a topic with `key` "
      + "into which several services put events, and a subscriber without `sequence` (a note)",
    formula: "at-once of what has no order > 1",
    mend: "Name the member that says what a message is about: `key: order_id`. Messages of one key keep their order, "
      + "those of different keys are worked on at the same time as before. Or `at-once: 1`.",
    falsePositives: "Messages that do not depend on each other, or that carry a number by which the consumer can tell "
      + "what is old.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for topic in subject.design.topics where topic.key == nil {
      for subscriber in topic.subscribers where subscriber.to != nil {
        guard let atOnce = subscriber.atOnce, atOnce.value > 1 else { continue }
        found.append(
          finding(
            "\(topic.name.text) has no key, and \(subscriber.name.text) works on \(atOnce.value) of its events at once: "
              + "a later one may be done first", atOnce, subscriber.name, mend: "key: order_id at \(topic.name.path)"))
      }
    }
    for (index, topic) in subject.design.topics.enumerated() where topic.key != nil {
      let senders = subject.design.services.filter { $0.sends.contains { $0.value == .topic(index) } }.map(\.name.text)
      if senders.count < 2 { continue }
      for subscriber in topic.subscribers where subscriber.to != nil && subscriber.sequence == nil {
        found.append(
          info.finding(
            "\(senders.count) services send to \(topic.name.text) (\(Say.list(senders))), and \(subscriber.name.text) "
              + "gets events of one key as they came, not as they happened", at: subscriber.name.place,
            spot: subscriber.name.place.head, caret: "\(senders.count) ways in",
            why: "what is held up on one way is overtaken by what was sent after it on the other: stock is taken for "
              + "orders that are not paid",
            mend: "sequence: number, a member that counts the events of each \(topic.key?.value ?? "key") from 1",
            inputs: [
              Finding.Input("services that send to \(topic.name.text)", String(senders.count), topic.name.place)
            ],
            result: "\(senders.count) > 1", severity: .note))
      }
    }
    for (index, queue) in subject.design.queues.enumerated() {
      if queue.key != nil, queue.keyAtOnce.value > 1 {
        found.append(
          finding(
            "\(queue.name.text) has a key, and \(queue.keyAtOnce.value) messages of one key in work at once: a later "
              + "one may be done first", queue.keyAtOnce, queue.name, mend: "key-at-once: 1"))
      } else if queue.key == nil, let atOnce = queue.atOnce, atOnce.value > 1 {
        let senders = operations(sendingTo: index, subject)
        if senders.count < 2 { continue }
        found.append(
          finding(
            "\(queue.name.text) has no key, \(senders.count) operations send to it (\(Say.list(senders))), and "
              + "\(atOnce.value) messages are in work at once: a later one may be done first", atOnce, queue.name,
            mend: "key: order_id", severity: .note))
      }
    }
    return found
  }

  private static func finding(
    _ message: String, _ atOnce: Value<Int>, _ name: Name, mend: String, severity: Diagnostic.Severity? = nil
  ) -> Finding {
    info.finding(
      message, at: name.place, spot: name.place.head, caret: "\(atOnce.value) at once",
      why: "what fails is tried again after its wait, behind all that have come meanwhile", mend: mend,
      inputs: [Finding.Input("at once of \(name.text)", String(atOnce.value), atOnce.place)],
      result: "\(atOnce.value) > 1", severity: severity)
  }

  /// `POST orders/orders`: the operations that send to a queue.
  private static func operations(sendingTo queue: Int, _ subject: Subject) -> [String] {
    var found: [String] = []
    for (index, service) in subject.plan.services.enumerated() where index < subject.design.services.count {
      for operation in service.operations where operation.sends.contains(where: { $0.queue == queue }) {
        found.append("\(operation.method) \(service.name)\(operation.path)")
      }
    }
    return found
  }
}
