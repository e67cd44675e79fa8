// SPDX-License-Identifier: Apache-2.0

extension Status {
  /// A queue, as the state process counts it.
  package struct Queue: Sendable, Codable, Equatable {
    package var name: String
    package var paused: Bool
    /// May be taken now, or waits for another message of its key.
    package var waiting: Int
    /// Of the waiting: behind another message of their key.
    package var blocked: Int
    /// Not yet: a delay, or the wait before another attempt.
    package var delayed: Int
    package var inFlight: Int
    package var dead: Int
    /// Of all that wait, are delayed or in flight.
    package var bytes: Int
    /// How long the oldest has waited that could be taken, in seconds; nil when none waits.
    package var oldest: Double?

    package init(
      name: String, paused: Bool, waiting: Int, blocked: Int, delayed: Int, inFlight: Int, dead: Int, bytes: Int,
      oldest: Double?
    ) {
      self.name = name
      self.paused = paused
      self.waiting = waiting
      self.blocked = blocked
      self.delayed = delayed
      self.inFlight = inFlight
      self.dead = dead
      self.bytes = bytes
      self.oldest = oldest
    }
  }

  /// A message of a queue, for those who look into it.
  package struct Message: Sendable, Codable, Equatable {
    package struct Attempt: Sendable, Codable, Equatable {
      package var number: Int
      package var at: String
      /// Milliseconds.
      package var latency: Int
      /// Of the service's answer; 0 when there was none.
      package var status: Int
      package var error: String

      package init(number: Int, at: String, latency: Int, status: Int, error: String) {
        self.number = number
        self.at = at
        self.latency = latency
        self.status = status
        self.error = error
      }
    }
    package var id: String
    package var state: String
    package var key: String?
    package var tenant: String?
    package var priority: Int
    package var attempts: Int
    package var enqueuedAt: String
    /// When it may be taken, or taken again.
    package var dueAt: String?
    /// Why it is dead.
    package var reason: String?
    /// What its service said when it was done.
    package var result: String?
    package var bytes: Int
    package var history: [Attempt]
    /// Lines of the fields that came with it, and the body, where one message is asked for; a body that is no text
    /// stands in base64.
    package var fields: [String]?
    package var body: String?
    package var base64: String?

    package init(
      id: String, state: String, priority: Int, attempts: Int, enqueuedAt: String, bytes: Int, history: [Attempt]
    ) {
      self.id = id
      self.state = state
      self.priority = priority
      self.attempts = attempts
      self.enqueuedAt = enqueuedAt
      self.bytes = bytes
      self.history = history
    }
  }

  /// What an operator may do to a queue.
  package struct QueueOrder: Sendable, Codable, Equatable {
    package enum Word: String, Sendable, Codable, CaseIterable { case pause, resume, redrive, remove, purge }
    /// Of `redrive` and `remove`; nil for all that are dead.
    package var ids: [String]?
    /// Of `purge`: everything, and not the dead alone.
    package var all: Bool?

    package init(ids: [String]? = nil, all: Bool? = nil) {
      self.ids = ids
      self.all = all
    }
  }

  package struct QueueOutcome: Sendable, Codable, Equatable {
    package var isDone: Bool
    /// How many messages it was about.
    package var count: Int
    /// What is so now, or why it was refused.
    package var text: String

    package init(isDone: Bool, count: Int = 0, text: String) {
      self.isDone = isDone
      self.count = count
      self.text = text
    }
  }

  /// A page of messages, and where the next one begins; nil at the end.
  package struct Messages: Sendable, Codable, Equatable {
    package var messages: [Message]
    package var next: Int64?

    package init(messages: [Message], next: Int64?) {
      self.messages = messages
      self.next = next
    }
  }
}

extension [Status.Queue] {
  package func text(colour: Bool) -> String {
    let paint = Paint(colour: colour)
    return Status.table(
      ["queue", "waiting", "blocked", "delayed", "in flight", "dead", "oldest", "bytes"],
      map { queue in
        [
          queue.name + (queue.paused ? " \(paint.yellow("paused"))" : ""), "\(queue.waiting)", "\(queue.blocked)",
          "\(queue.delayed)", "\(queue.inFlight)", queue.dead == 0 ? "0" : paint.red("\(queue.dead)"),
          queue.oldest.map { Status.length($0) } ?? "", Status.size(queue.bytes),
        ]
      }, paint)
  }
}

extension [Status.Message] {
  package func text(colour: Bool) -> String {
    let paint = Paint(colour: colour)
    return Status.table(
      ["id", "state", "key", "priority", "attempts", "enqueued", "reason", "last error"],
      map { message in
        [
          message.id, message.state, message.key ?? "", "\(message.priority)", "\(message.attempts)",
          message.enqueuedAt, message.reason ?? "", message.history.last?.error ?? "",
        ]
      }, paint)
  }
}

extension Status.Message {
  package func text(colour: Bool) -> String {
    let paint = Paint(colour: colour)
    var out = "\(paint.bold(id))  \(state)\(reason.map { ": \($0)" } ?? "")\n"
    var rows: [(String, String)] = [
      ("enqueued", enqueuedAt), ("priority", "\(priority)"), ("attempts", "\(attempts)"), ("bytes", "\(bytes)"),
    ]
    if let key { rows.append(("key", key)) }
    if let tenant { rows.append(("tenant", tenant)) }
    if let dueAt { rows.append(("due", dueAt)) }
    if let result { rows.append(("result", result)) }
    for (name, value) in rows { out += "  \(name)\(String(repeating: " ", count: 10 - name.count))\(value)\n" }
    out += Status.table(
      ["attempt", "at", "ms", "status", "error"],
      history.map { ["\($0.number)", $0.at, "\($0.latency)", $0.status == 0 ? "" : "\($0.status)", $0.error] }, paint)
    for field in fields ?? [] { out += "  \(field)\n" }
    if let body { out += "\n\(body)\n" } else if let base64 { out += "\n\(paint.dim("base64:")) \(base64)\n" }
    return out
  }
}
