// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirModel

/// A backlog that takes far longer to go than it took to come.
enum DrainTime: Rule {
  static let info = RuleInfo(
    "drain-time", .messaging, .warning, title: "A backlog takes long to drain, or never does",
    why:
      "While a consumer is away λ × D messages pile up in D; afterwards new ones come as before, so only μ − λ of its "
      + "speed is left for the backlog: λ = 80/s, μ = 100/s and 30 s leave 2400 messages, which take 120 s. At 95 % it "
      + "is 19 times the outage: ten minutes in the morning are late until noon.",
    detection:
      "for each queue, topic and stream that is pushed: what `traffic` sends to it, against what its consumer can do by `work` "
      + "and `at-once` (or `rate`); a warning when draining takes more than 4 times the outage, or a 10 min outage fills "
      + "the queue; an error when more comes than can be done",
    formula: "drain = λ × D ÷ (μ − λ)",
    mend: "More at once, more instances, less work for a message; or fewer messages.",
    falsePositives:
      "Times that are guessed, and traffic whose mean is its peak. Nobody waits for some messages: accept it "
      + "with the time that is fine.")

  /// The outage that is reckoned with: a bad release, found and taken back.
  static let outage = Duration.seconds(600)
  /// Times the outage that draining may take: at 80 % of what the consumer can do.
  static let timesMost = 4.0

  static func find(_ subject: Subject) -> [Finding] {
    if subject.design.traffic.isEmpty || subject.plan.queues.isEmpty { return [] }
    let load = OfferedLoad(subject)
    return Consumer.all(subject).compactMap { finding($0, load.queues[$0.queue], load, subject) }
  }

  private static func finding(
    _ consumer: Consumer, _ lambda: Double, _ load: OfferedLoad, _ subject: Subject
  ) -> Finding? {
    let target = consumer.to.value
    // What goes in one request shares its time.
    let batch = Double(max(1, consumer.batch))
    let held = load.held(target.service, operation: target.operation) / 1e9 / batch
    guard lambda > 0, held > 0 || consumer.rate != nil else { return nil }
    var mu = Double(consumer.rate?.value.perSecond ?? .infinity)
    if held > 0 {
      var places = Double(consumer.atOnce?.value ?? Int(Int32.max))
      let service = subject.design.services[target.service]
      if let atOnce = service.atOnce {
        let all = Double(atOnce.value * service.instances.value)
        // More than the service can do in all is said by `over-capacity`.
        if load.services[target.service].busy >= all { return nil }
        places = min(places, all - (load.services[target.service].busy - min(lambda, mu) * held))
      }
      mu = min(mu, places / held)
    }
    let (name, can) = (consumer.name, Say.rate(mu))
    let inputs = [
      Finding.Input("λ, messages to \(name)", Say.rate(lambda)),
      Finding.Input("μ, what \(consumer.target) can do", can, consumer.work(subject)?.place),
      Finding.Input("at-once of \(name)", String(consumer.atOnce?.value ?? 0), consumer.atOnce?.place),
      Finding.Input("D, an outage", Say.time(outage)),
    ]
    let length = Double(consumer.length)
    if lambda >= mu {
      let full =
        lambda > mu
        ? ", and \(name) is full after \(time(length / (lambda - mu)))" : ""
      return info.finding(
        "\(name) gets \(Say.rate(lambda)) and its consumer can do \(can): it grows without end",
        at: consumer.place, spot: consumer.place.head, caret: "\(Say.rate(lambda)) ≥ \(can)",
        why: "\(Say.rate(lambda - mu)) more wait every second\(full)", mend: mend(consumer, lambda, held),
        formula: "λ ≥ μ", inputs: inputs, result: "\(Say.rate(lambda)) ≥ \(can)", severity: .error)
    }
    let seconds = Double(outage.inNanoseconds) / 1e9
    let backlog = lambda * seconds
    let drain = backlog / (mu - lambda)
    let overflows = backlog > length
    guard drain > timesMost * seconds || overflows else { return nil }
    let (left, lasts) = (Say.number(backlog.rounded()), time(drain))
    return info.finding(
      overflows
        ? "an outage of \(Say.time(outage)) leaves \(left) messages for \(name), which holds "
          + "\(consumer.length): \(Say.rate(lambda)) × \(Say.time(outage))"
        : "after an outage of \(Say.time(outage)) \(name) takes \(lasts) to drain: \(left) messages ÷ (\(can) − "
          + "\(Say.rate(lambda)))", at: consumer.place, spot: consumer.place.head,
      caret: overflows ? "\(left) > \(consumer.length)" : "\(lasts)",
      why: overflows
        ? "after \(time(length / lambda)) of it those who send are refused (429)"
        : "until then each message is late, by up to \(Say.time(outage)) and more",
      mend: overflows && consumer.isQueue ? "length: \(Say.count(atLeast: backlog * 2))" : mend(consumer, lambda, held),
      inputs: inputs, result: overflows ? "\(left) messages" : lasts)
  }

  /// Whole seconds, minutes or hours, so that two figures at least count.
  private static func time(_ seconds: Double) -> String {
    let grain = seconds >= 36_000 ? 3600.0 : seconds >= 600 ? 60 : 1
    return Say.time(nanoseconds: (seconds / grain).rounded() * grain * 1e9)
  }

  /// So that it can do half as much again as comes: then it drains in twice the outage.
  private static func mend(_ consumer: Consumer, _ lambda: Double, _ held: Double) -> String {
    let wanted = lambda * 1.5
    if let rate = consumer.rate, rate.value.perSecond < wanted { return "rate: \(Say.count(atLeast: wanted))/s" }
    return "at-once: \(Say.count(atLeast: wanted * held)), with as many places at the service"
  }
}
