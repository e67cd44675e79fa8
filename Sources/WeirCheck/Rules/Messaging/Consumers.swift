// SPDX-License-Identifier: Apache-2.0
internal import Foundation
internal import WeirBase
internal import WeirModel
internal import WeirPatterns

/// Who works on messages, as the rules of messaging see them: queues with `to`, subscribers with `do`, projections.
struct Consumer {
  /// `emails`, `order-events → inventory`.
  var name: String
  var place: Place
  /// Where the target is named.
  var to: Value<Errand>
  var call: Call
  var atOnce: Value<Int>?
  var visibility: Value<Duration>
  var retry: MessageRetry
  var deadLetters: Value<Bool>
  /// Whether messages of one key are delivered in order.
  var isKeyed: Bool
  /// Index in `Plan.queues`.
  var queue: Int
  /// A queue of its own, not a group of a topic or stream.
  var isQueue = true
  /// How many messages may wait or be in work.
  var length: Int
  /// Deliveries a second; nil for no limit.
  var rate: Value<Rate>?
  /// Messages in one request.
  var batch = 1
  /// What is delivered more than once is worked on more than once, but for what `idempotent` says.
  var isIdempotent: Bool
  /// `POST mailer/send`.
  var target: String

  static func all(_ subject: Subject) -> [Consumer] {
    let design = subject.design
    var found: [Consumer] = []
    for (index, queue) in design.queues.enumerated() {
      guard let to = queue.to, let call = queue.call else { continue }
      found.append(
        Consumer(
          name: queue.name.text, place: queue.name.place, to: to, call: call, atOnce: queue.atOnce,
          visibility: queue.visibility, retry: queue.retry, deadLetters: queue.deadLetters,
          isKeyed: queue.key != nil, queue: index, length: queue.length.value, rate: queue.rate,
          isIdempotent: isIdempotent(to.value, design), target: target(to.value, design)))
    }
    let streams = design.streams.map { ($0.name, true, $0.projections) }
    let logs = design.topics.map({ ($0.name, $0.key != nil, $0.subscribers) }) + streams
    for (log, (name, isKeyed, subscribers)) in logs.enumerated() {
      for (subscriber, group) in zip(subscribers, subject.plan.logs[log].groups) {
        guard let to = subscriber.to, let call = subscriber.call else { continue }
        found.append(
          Consumer(
            name: "\(name.text) → \(subscriber.name.text)", place: subscriber.name.place, to: to, call: call,
            atOnce: subscriber.atOnce, visibility: subscriber.visibility, retry: subscriber.retry,
            deadLetters: subscriber.deadLetters, isKeyed: isKeyed, queue: group.queue,
            isQueue: false,
            length: subject.plan.queues[group.queue].settings.length, batch: subscriber.batch.value,
            isIdempotent: isIdempotent(to.value, design), target: target(to.value, design)))
      }
    }
    return found
  }

  private static func isIdempotent(_ to: Errand, _ design: Design) -> Bool {
    if let operation = to.operation { return design.services[to.service].operations[operation].idempotent.value }
    return to.method == "PUT"
  }

  private static func target(_ to: Errand, _ design: Design) -> String {
    "\(to.method) \(design.services[to.service].name.text)\(to.path)"
  }

  /// Its own work, without its calls; nil if the file does not say.
  func work(_ subject: Subject) -> Work? {
    let service = subject.design.services[to.value.service]
    return to.value.operation.flatMap { service.operations[$0].work } ?? service.work
  }

  /// How long a message is tried, from its first attempt to its last, without the attempts' own time.
  ///
  /// v, 2v, 4v … up to the longest wait, and half of the most that chance adds.
  var trying: Duration {
    var wait = Double(retry.first.value.inNanoseconds)
    let most = Double(retry.max.value.inNanoseconds)
    var sum = 0.0
    for _ in 1..<max(1, retry.attempts.value) {
      sum += min(wait, most)
      wait = min(wait * 2, most)
    }
    return .nanoseconds(Int64(min(sum * (1 + retry.jitter.value / 2), 9e18)))
  }
}

extension Work.Distribution {
  /// The time that all but `share` are done in, in nanoseconds; for the shares that messages speak of.
  func time(allBut share: Double) -> Double {
    switch self {
    // z(0.99) of the standard normal.
    case .lognormal(let median, let sigma): median * exp(sigma * 2.326_347_874_040_840_8)
    case .exponential(let mean): mean * -log(share)
    case .constant(let value): value
    }
  }
}
