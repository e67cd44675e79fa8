// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns

extension Plan {
  /// What keeps entries in their order: a topic, a stream.
  ///
  /// A group of it is a queue that it feeds: each entry is a message in each group's queue, from the same moment on.
  package struct Log: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
      /// Index in `Design.topics`.
      case topic(Int)
      /// Index in `Design.streams`.
      case stream(Int)
    }

    package enum Forgetting: Sendable, Equatable {
      /// Those older than `keep` or beyond `bytes`, the oldest first.
      case entries
      /// Whole streams whose newest entry is older than `keep`.
      case streams
    }

    package var name: String
    package var kind: Kind
    /// Nil: for ever.
    package var keep: Duration?
    package var bytes: Int?
    package var forgetting = Forgetting.entries
    package var groups: [Group] = []
    /// What says whose entry it is when who sends it does not: a member of a JSON body or a field of the request.
    package var keyField: String?
    /// The types of entries that it takes; empty for any.
    package var types: [String] = []
    /// The file of a JSON Schema that every entry must fit, relative to the Weir file.
    package var schema: String?

    package init(name: String, kind: Kind) {
      self.name = name
      self.kind = kind
    }

    package var isStream: Bool { if case .stream = kind { true } else { false } }
  }

  /// Who reads a log, with a place of its own in it.
  package struct Group: Sendable, Equatable {
    /// As the file names it; its queue is `<log>.<name>`.
    package var name: String
    /// Index in `queues`.
    package var queue: Int
    /// It begins with the log's first entry, and falls behind when its queue is full; else it begins with what comes, and a full
    /// queue refuses more.
    package var fromStart: Bool

    package init(name: String, queue: Int, fromStart: Bool = false) {
      self.name = name
      self.queue = queue
      self.fromStart = fromStart
    }
  }

  /// Topics and streams, each group with a queue, and with an edge of its own to what it delivers to.
  mutating func compileLogs() {
    logs = []
    for (index, topic) in design.topics.enumerated() {
      var log = Log(name: topic.name.text, kind: .topic(index))
      log.keep = topic.keep.value
      log.bytes = topic.size?.value.count
      log.keyField = topic.key?.value
      log.schema = topic.schema?.value
      add(log, topic.subscribers, keep: topic.keep.value)
    }
    for (index, stream) in design.streams.enumerated() {
      var log = Log(name: stream.name.text, kind: .stream(index))
      log.keyField = stream.key?.value
      log.types = stream.events.map(\.value)
      add(log, stream.projections, keep: nil)
    }
  }

  private mutating func add(_ log: Log, _ subscribers: [Subscriber], keep: Duration?) {
    var log = log
    for subscriber in subscribers {
      let name = "\(log.name).\(subscriber.name.text)"
      var queue = Queue(name: name, settings: subscriber.settings(keep: keep), log: logs.count)
      if let to = subscriber.to?.value, let call = subscriber.call {
        queue.push = push(to, call, from: name)
        queue.push?.batch = subscriber.batch.value
      }
      // A subscriber hears what is said from now on; a projection is made of everything.
      log.groups.append(Group(name: subscriber.name.text, queue: queues.count, fromStart: log.isStream))
      queues.append(queue)
    }
    logs.append(log)
  }
}

extension Subscriber {
  /// What is never forgotten has no age; a century is as long as a wall clock in nanoseconds allows for.
  private static let ever = Duration.seconds(100 * 365 * 86_400)

  /// What decides over its queue; `keep` nil: its events do not grow old.
  func settings(keep: Duration?) -> DeliveryQueue.Settings {
    var settings = DeliveryQueue.Settings()
    settings.visibility = visibility.value
    settings.attempts = retry.attempts.value
    settings.backoff.first = retry.first.value
    settings.backoff.max = retry.max.value
    settings.backoff.jitter = retry.jitter.value
    settings.keepsDead = deadLetters.value
    settings.keep = keep ?? Subscriber.ever
    // An entry has a position of its own; that the same one is put in twice is the log's business.
    settings.dedup = .zero
    // The entries lie in the log: only their number counts here.
    settings.bytes = 1 << 50
    // Requests at the same time, each with as many as may go in one.
    if let atOnce { settings.atOnce = min(Int(Int32.max), atOnce.value * (to == nil ? 1 : batch.value)) }
    return settings
  }
}
