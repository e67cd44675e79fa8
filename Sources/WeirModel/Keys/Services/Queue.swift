// SPDX-License-Identifier: Apache-2.0
internal import WeirPatterns

/// Who waits when all places are taken.
package struct Queue: Sendable, Equatable {
  package var length = QueueKeys.length.initial
  package var wait = QueueKeys.wait.initial
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

  static let part = Part<Queue>(
    "queue", "Who waits.", start: { _, _ in Queue() },
    [
      .value(length, \.length),
      .value(wait, \.wait),
      .later("order", "Who is served first: `fifo`, `lifo`, `codel`."),
    ])
  static let section = part.section
}
