// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirModel

/// Messages that are given out again while they are still worked on.
enum VisibilityBelowWork: Rule {
  static let info = RuleInfo(
    "visibility-below-work", .messaging, .warning, title: "Messages are given out again while they are worked on",
    why: "A delivery that takes longer than it may counts as failed, though the program works on: the message is "
      + "delivered again, and done twice. The retry is as slow as the first, so the consumer has more to do the slower "
      + "it gets: with 1 % of 100 messages/s beyond their time it is one message done twice each second, and under load "
      + "it is all of them.",
    detection: "the 99th percentile of the operation's own `work` against the delivery's timeout (two thirds of "
      + "`visibility`, if the file does not say another)",
    formula: "p99 of work > timeout of the delivery",
    mend: "Make `visibility` three times what the slowest of a hundred takes, or let the consumer answer at once and "
      + "work afterwards.",
    falsePositives:
      "Times that are guessed. Calls of the operation are not counted: what it finds is too short, what it "
      + "does not find may be too.")

  /// Beyond the slowest of a hundred as much again, for a bad day.
  static let times = 3

  static func find(_ subject: Subject) -> [Finding] {
    Consumer.all(subject).compactMap { consumer in
      guard let work = consumer.work(subject) else { return nil }
      let slow = work.distribution.time(allBut: 0.01)
      let timeout = consumer.call.timeout
      guard slow > Double(timeout.value.inNanoseconds) else { return nil }
      let written = timeout.place?.under(consumer.place) ?? consumer.visibility.place?.under(consumer.place)
      let (took, has) = (Say.time(nanoseconds: slow), Say.time(timeout.value))
      let wanted = Duration.seconds(Int64((slow * Double(times) / 1e9).rounded(.up)))
      return info.finding(
        "\(consumer.name) gives \(consumer.target) \(has) for a message, and 1% of them take longer than \(took)",
        at: written ?? consumer.place, spot: (written ?? consumer.place).head(orEntryOf: written),
        caret: "\(has) < \(took)",
        why: "what takes longer is delivered again while the first delivery is still worked on: done twice, up to "
          + "\(consumer.retry.attempts.value) times",
        mend: "visibility: \(Say.time(wanted))", acceptAt: consumer.place,
        inputs: [
          Finding.Input("p99 of \(consumer.target)", took, work.place),
          Finding.Input("timeout of the delivery", has, timeout.place),
          Finding.Input(
            "visibility of \(consumer.name)", Say.time(consumer.visibility.value), consumer.visibility.place),
        ], result: "\(took) > \(has)")
    }
  }
}
