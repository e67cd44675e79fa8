// SPDX-License-Identifier: Apache-2.0
import WeirFlows
package import WeirPatterns

/// A queue of messages: what decides over it, and who works on what it holds.
package struct QueueModel: Sendable, Equatable {
  package var name: String
  package var settings: DeliveryQueue.Settings
  /// Index into the plan's edges: how messages are delivered; nil: nobody takes them.
  package var edge: Int?
  /// Index into the callee's operations.
  package var operation: Int
  /// The messages of one client have one key.
  package var isKeyed: Bool

  /// One event loop's pusher: as many at a time as the queue may have in work, a thousand at most, as in a run.
  var delivery: QueueDelivery.Settings {
    var delivery = QueueDelivery.Settings()
    delivery.slots = min(settings.atOnce, 1024)
    return delivery
  }

  package init(
    name: String, settings: DeliveryQueue.Settings = .init(), edge: Int?, operation: Int = 0, isKeyed: Bool = false
  ) {
    self.name = name
    self.settings = settings
    self.edge = edge
    self.operation = operation
    self.isKeyed = isKeyed
  }
}

/// A message that a share of the requests leaves behind when their work is done.
package struct SendItem: Sendable, Equatable {
  /// Index into the scene's queues.
  package var queue: Int
  package var share: Double

  package init(queue: Int, share: Double = 1) {
    self.queue = queue
    self.share = share
  }
}
