// SPDX-License-Identifier: Apache-2.0
internal import WeirBase

/// What all have in common who deliver messages: queues, jobs, subscribers of topics, projections.
extension Resolver {
  /// The call along which messages are delivered: one attempt, for it is the queue that tries again, and by its own
  /// waits; breaker and connections as all calls have them.
  mutating func delivery(of to: Value<Errand>, timeout: Value<Duration>, place: Place) -> Call {
    var call = self.call(Layers(callDefaults), to: to.map { .service($0.service) }, place: place)
    call.timeout = timeout
    call.attempt = Value(timeout.value, .derived(from: "timeout, as no other attempt follows"))
    call.retry.attempts = Value(1, .derived(from: "the queue, which tries again by itself"))
    call.hedge = nil
    call.atOnce = nil
    call.breaker?.slow = CallKeys.half(of: timeout)
    return call
  }

  func deliveryTimeout(_ written: Value<Duration>?, visibility: Value<Duration>) -> Value<Duration> {
    written
      ?? Value(
        MessageQueue.timeoutMost(visibility: visibility.value), .derived(from: "two thirds of visibility"))
  }

  /// What the instances of a service work on at the same time.
  func placesAtOnce(of index: Int) -> Value<Int> {
    let service = resolvedServices[index]
    let instance = service.atOnce?.value ?? MessageQueueKeys.atOnceUnknown
    return Value(
      min(1_000_000, instance * service.instances.value),
      .derived(
        from: service.atOnce == nil
          ? "\(MessageQueueKeys.atOnceUnknown) for each instance of \(service.name.text)"
          : "instances × at-once of \(service.name.text)"))
  }

  /// `target` is the key that says whom to call; `hasTarget` whether the file has it.
  mutating func checkLease(visibility: Value<Duration>, timeout: Value<Duration>?, hasTarget: Bool, target: String) {
    let words = ScalarType<Duration>.duration()
    if visibility.value < .seconds(1) {
      mistake(
        "wrong-value", "a message is somebody's for 1s at least, not for \(words.write(visibility.value))",
        at: visibility, why: "taking it and settling it are two requests, each written to the disk",
        mend: "visibility: 1s")
    }
    guard let timeout else { return }
    let most = MessageQueue.timeoutMost(visibility: visibility.value)
    if !hasTarget {
      mistake(
        "wrong-value", "nobody is called: there is no '\(target)'", at: timeout,
        why: "who fetches a message has 'visibility' to work on it", mend: "visibility: \(words.write(timeout.value))")
    } else if timeout.value > most {
      mistake(
        "wrong-value",
        "a delivery of \(words.write(timeout.value)) does not fit into a visibility of \(words.write(visibility.value))",
        at: timeout, why: "its answer must be written down before the message is given out again: two thirds at most",
        mend: "timeout: \(words.write(most))", related: visibility.place.map { [.init($0, "the visibility")] } ?? [])
    }
  }

  mutating func checkWaits(of retry: MessageRetry) {
    if retry.first.value <= retry.max.value { return }
    let words = ScalarType<Duration>.duration()
    let (first, max) = (words.write(retry.first.value), words.write(retry.max.value))
    mistake(
      "wrong-value", "the first wait, \(first), is longer than the longest, \(max)",
      at: retry.first.isWritten ? retry.first : retry.max,
      mend: retry.first.isWritten ? "first: \(max)" : "max: \(first)")
  }

  /// What each saga, job and webhook keeps has the name of its section and its own: so has the queue of who hears a topic.
  mutating func refuseSharedNames(_ logs: [(name: Name, groups: [Subscriber])], others: [(section: Key, name: Name)]) {
    for log in logs {
      for group in log.groups {
        guard
          let other = others.first(where: { $0.section.name == log.name.text && $0.name.text == group.name.text })
        else { continue }
        let (section, name) = (log.name.text, group.name.text)
        mistake(
          "defined-twice", "'\(section).\(name)' would be the name of two things in the state process",
          at: group.name.place, spot: group.name.place.head,
          why: "the queue of who hears '\(section)' is named so, and what '\(name)' of '\(section):' keeps is, too",
          mend: "give one of them another name", related: [.init(other.name.place, "the other one")])
      }
    }
  }

  /// `service`, `queue`: what bears the name, in words.
  func kind(of component: Component) -> String {
    switch component {
    case .service: "service"
    case .store: "store"
    case .queue: "queue"
    case .topic: "topic"
    case .stream: "stream"
    case .saga: "saga"
    }
  }
}
