// SPDX-License-Identifier: Apache-2.0
internal import WeirModel

/// Messages that may come twice, to an operation that then does it twice.
enum ConsumerWithoutDedup: Rule {
  static let info = RuleInfo(
    "consumer-without-dedup", .messaging, .warning,
    title: "A message that is delivered twice is worked on twice",
    why: "A delivery whose answer is lost (the consumer ends after its work, the timeout passes, a connection breaks) "
      + "is made again: that is what keeps messages from being lost. At 1 in 10000 and 100 messages/s it is 864 mails "
      + "sent twice, payments taken twice, stock counted down twice, each day.",
    detection: "`to` of a queue and `do` of a subscriber whose operation is no PUT and does not say `idempotent: true`",
    formula: "deliveries of a message ≤ attempts",
    mend: "Let the program keep the `Idempotency-Key` of what it has done (a row in the transaction of its data) and "
      + "answer 200 when it comes again; then say so: `idempotent: true` at the operation. Or set a state instead of "
      + "changing it: PUT.",
    falsePositives: "Work that is the same when done twice without any key, as computing a picture anew: say "
      + "`idempotent: true` there, too.")

  static func find(_ subject: Subject) -> [Finding] {
    Consumer.all(subject).filter { !$0.isIdempotent && $0.retry.attempts.value > 1 }.map { consumer in
      let attempts = consumer.retry.attempts
      let service = subject.design.services[consumer.to.value.service].name.text
      let operation = "\(consumer.to.value.method) \(consumer.to.value.path)"
      return info.finding(
        "\(consumer.name) delivers a message up to \(attempts.value) times, and \(consumer.target) does not say that "
          + "twice is once", at: consumer.to.place ?? consumer.place, spot: consumer.to.place?.entry,
        caret: "at least once",
        why: "when the answer of the first delivery is lost, its work is done and the second does it again",
        mend: "services.\(service).operations: { \(operation): { idempotent: true } }, when the program keeps the "
          + "Idempotency-Key of what it has done", acceptAt: consumer.place,
        inputs: [Finding.Input("attempts of \(consumer.name)", String(attempts.value), attempts.place)],
        result: "\(attempts.value) deliveries")
    }
  }
}
