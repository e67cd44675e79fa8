// SPDX-License-Identifier: Apache-2.0
package import WeirBase
package import WeirFlows

/// What the log says of one attempt to have a message worked on.
package struct AttemptFacts: Sendable, Equatable {
  /// What it is of, by the words of its fields: `queue`, or `topic` and `group`, or `saga`, or `webhook` and `endpoint`.
  package enum Work: Sendable, Equatable {
    case queue(String)
    case topic(String, group: String)
    case stream(String, projection: String)
    /// Steps count from 1.
    case saga(String, step: Int, isUndo: Bool)
    case webhook(String, topic: String, endpoint: String)
  }

  package var work: Work
  package var message: String
  package var key: String
  package var attempt: Int
  /// Messages in the request.
  package var count: Int
  package var outcome: String
  package var status: Int
  package var reason: Reason
  package var error: String
  /// Nanoseconds.
  package var duration: Int64
  package var traceId = ""
  package var spanId = ""
  /// Index of an edge, and of the instance that was asked last; nil for an address of a partner.
  package var way: Way?

  package struct Way: Sendable, Equatable {
    package var edge: Int
    package var instance: UInt16
    /// How often an instance was tried.
    package var tries: Int

    package init(edge: Int, instance: UInt16, tries: Int) {
      self.edge = edge
      self.instance = instance
      self.tries = tries
    }
  }

  package init(
    work: Work, message: String, key: String, attempt: Int, count: Int, outcome: String, status: Int, reason: Reason,
    error: String, duration: Int64
  ) {
    self.work = work
    self.message = message
    self.key = key
    self.attempt = attempt
    self.count = count
    self.outcome = outcome
    self.status = status
    self.reason = reason
    self.error = error
    self.duration = duration
  }
}

extension AccessLog {
  /// The line of one attempt, with its line feed.
  ///
  /// `at` is when it began.
  package func line(_ facts: AttemptFacts, at: WallTime) -> [UInt8] {
    var line = JSONLine()
    line.field("time", at.rfc3339)
    line.field("type", "attempt" as StaticString)
    switch facts.work {
    case .queue(let name): line.field("queue", name)
    case .topic(let name, let group):
      line.field("topic", name)
      line.field("group", group)
    case .stream(let name, let projection):
      line.field("stream", name)
      line.field("group", projection)
    case .saga(let name, let step, let isUndo):
      line.field("saga", name)
      line.field("step", step)
      if isUndo { line.field("undo", true) }
    case .webhook(let name, let topic, let endpoint):
      line.field("topic", topic)
      line.field("webhook", name)
      line.field("endpoint", endpoint)
    }
    line.field("message", facts.message)
    if facts.count > 1 { line.field("messages", facts.count) }
    line.field("attempt", facts.attempt)
    if !facts.key.isEmpty { line.field("key", facts.key) }
    line.field("outcome", facts.outcome)
    if facts.status > 0 { line.field("status", facts.status) }
    line.field("ms", milliseconds: facts.duration)
    if let way = facts.way { place(way, &line) }
    if facts.reason != .none {
      line.field("reason", facts.reason.name)
      line.field("side", facts.reason.side.name)
    }
    if !facts.error.isEmpty { line.field("error", facts.error) }
    if !facts.traceId.isEmpty {
      line.field("trace", facts.traceId)
      line.field("span", facts.spanId)
    }
    return line.finished()
  }
}
