// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// Who waits when all places are taken.
package struct Queue: Sendable, Equatable {
  package var length = QueueKeys.length.initial
  package var wait = QueueKeys.wait.initial
  /// Nil when the file does not say.
  package var order: Value<QueueOrder>?
}

/// Who of those that wait goes first.
package enum QueueOrder: String, Sendable, Equatable, CaseIterable {
  case fifo, lifo, codel

  var order: PriorityAdmission.Order {
    switch self {
    case .fifo: .oldest
    case .lifo: .adaptive
    case .codel: .codel
    }
  }
}

/// `queue:`.
enum QueueKeys {
  private static let standard = WaitingRoom.Settings()

  static let length = ScalarKey(
    "length", .count(0...1_000_000), default: standard.length, rule: "queue.length",
    "How many may wait; the next is refused at once.", alias: ["size", "max"])
  static let wait = ScalarKey(
    "wait", .duration(), default: standard.wait, rule: "queue.wait (a small part of the timeout)",
    "How long one may wait.", alias: ["timeout"])

  static let order = ScalarKey(
    "order", ScalarType<QueueOrder>.word,
    rule: "fifo; lifo where routes have priorities or `at-once` is adaptive",
    "Who is served first: who came first, the newest while a queue stands, or who came first while old ones are dropped.",
    alias: ["discipline"])

  static let part = Part<Queue>(
    "queue", "Who waits.", start: { _, _ in Queue() },
    [
      .value(length, \.length),
      .value(wait, \.wait),
      .optional(order, \.order),
    ])
  static let section = part.section
}
