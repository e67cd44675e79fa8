// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Messages that are thrown away when they have failed often enough.
enum NoDeadLetters: Rule {
  static let info = RuleInfo(
    "no-dead-letters", .messaging, .warning, title: "What fails for good is thrown away",
    why: "A message that has failed on each of its attempts is gone, and nobody can say what was in it. A bad release "
      + "of the consumer for an hour, with 5 attempts in 15 s and 10 messages/s, is 36000 of them, each accepted with "
      + "202.",
    detection: "`dead-letters: false` at a queue, or at a subscriber that is delivered to",
    formula: "time until it is thrown away = sum of the waits between attempts",
    mend: "Leave `dead-letters` at its default: they are kept with their reason, counted in the metrics, and can be "
      + "sent again when the consumer is mended.",
    falsePositives: "Messages that are worth nothing when they are late, as a position that the next one replaces.")

  static func find(_ subject: Subject) -> [Finding] {
    var found: [Finding] = []
    for consumer in Consumer.all(subject) where !consumer.deadLetters.value {
      found.append(
        finding(
          consumer.name, consumer.deadLetters, consumer.retry.attempts, trying: Say.time(consumer.trying),
          consumer.place))
    }
    for queue in subject.design.queues where queue.to == nil && !queue.deadLetters.value {
      found.append(finding(queue.name.text, queue.deadLetters, queue.retry.attempts, trying: nil, queue.name.place))
    }
    return found
  }

  private static func finding(
    _ name: String, _ value: Value<Bool>, _ attempts: Value<Int>, trying: String?, _ place: Place
  ) -> Finding {
    let times = attempts.value == 1 ? "1 attempt" : "\(attempts.value) attempts"
    let time = trying.map { $0 == "0ns" ? "" : ", \($0) at least," } ?? ""
    return info.finding(
      "\(name) throws a message away after \(times)\(time) and nobody learns what it was",
      at: value.place ?? place, spot: value.place?.entry, caret: "0 kept",
      why: "a consumer that is broken for longer than that loses every message that comes meanwhile",
      mend: "dead-letters: true", acceptAt: place,
      inputs: [
        Finding.Input("attempts of \(name)", String(attempts.value), attempts.place),
        Finding.Input("dead-letters of \(name)", "false", value.place),
      ], result: trying ?? times)
  }
}
