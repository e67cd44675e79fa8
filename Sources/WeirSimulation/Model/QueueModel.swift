// SPDX-License-Identifier: Apache-2.0
package import WeirFlows
package import WeirPatterns

/// A queue of messages, or what a group of a log has before it: what decides over it, and who works on what it holds.
package struct QueueModel: Sendable, Equatable {
  package var name: String
  package var settings: DeliveryQueue.Settings
  /// Index into the plan's edges: how messages are delivered; nil: nobody takes them.
  package var edge: Int?
  /// Index into the callee's operations.
  package var operation: Int
  /// The messages of one client have one key.
  package var isKeyed: Bool
  /// Their order counts: one that is worked on after a later one of its key is told.
  package var isOrdered: Bool
  /// So many messages go in one request at most.
  package var batch = 1
  /// What puts events into the order of their numbers and leaves out what comes twice.
  package var sorting: SortedDelivery.Settings?
  /// Twice is once, for who works on them.
  package var isIdempotent = false

  /// One event loop's pusher.
  var delivery: QueueDelivery.Settings {
    QueueDelivery.Settings(
      atOnce: sorting?.leases ?? settings.atOnce, batch: batch, attempts: settings.attempts)
  }

  package init(
    name: String, settings: DeliveryQueue.Settings = .init(), edge: Int?, operation: Int = 0, isKeyed: Bool = false
  ) {
    self.name = name
    self.settings = settings
    self.edge = edge
    self.operation = operation
    self.isKeyed = isKeyed
    isOrdered = isKeyed
  }
}

/// A topic or stream: what comes to it comes to each of its groups.
package struct LogModel: Sendable, Equatable {
  package var name: String
  /// Indices into the scene's queues.
  package var groups: [Int]

  package init(name: String, groups: [Int]) {
    self.name = name
    self.groups = groups
  }
}

/// What runs by the clock: a message for each run.
package struct JobModel: Sendable, Equatable {
  package var schedule: CronSchedule
  package var zone: CronSchedule.Zone
  /// Index into the scene's queues.
  package var queue: Int

  package init(schedule: CronSchedule, in zone: CronSchedule.Zone = .utc, queue: Int) {
    self.schedule = schedule
    self.zone = zone
    self.queue = queue
  }
}

/// Where messages go.
package enum Sink: Sendable, Equatable {
  /// Index into the scene's queues.
  case queue(Int)
  /// Index into the scene's logs.
  case log(Int)
  /// Index into the scene's sagas.
  case saga(Int)
}

/// A message that a share of the requests leaves behind when their work is done.
package struct SendItem: Sendable, Equatable {
  package var to: Sink
  package var share: Double

  package init(to: Sink, share: Double = 1) {
    self.to = to
    self.share = share
  }

  package init(queue: Int, share: Double = 1) { self.init(to: .queue(queue), share: share) }
}

/// What happens to messages on their way in.
package struct MessageFault: Sendable, Equatable {
  package var to: Sink
  /// In nanoseconds.
  package var by: Int64
  package var share: Double
  /// At most so many.
  package var count: Int
  /// Index into the components: only what this one sends.
  package var from: Int?

  package init(to: Sink, by: Int64, share: Double = 1, count: Int = .max, from: Int? = nil) {
    self.to = to
    self.by = by
    self.share = share
    self.count = count
    self.from = from
  }
}
