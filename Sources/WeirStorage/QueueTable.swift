// SPDX-License-Identifier: Apache-2.0
package import WeirWire

/// The rows of queues and their messages; all points of time are wall time in milliseconds.
///
/// A message's row stays when it is done, until it is forgotten: by it the same id is known again, and its end is shown.
package protocol QueueTable: OrderTable {
  // MARK: Queues

  /// All queues, in the order in which they were made.
  func queues() throws -> [QueueRow]
  func queue(_ number: Int64) throws -> QueueRow?
  /// Makes a queue or changes what it is declared as; its number.
  func saveQueue(_ declaration: QueueDeclaration, at: Int64) throws -> Int64
  /// When it was declared first.
  func declaredAt(_ queue: Int64) throws -> Int64
  func setPaused(_ queue: Int64, _ isPaused: Bool) throws
  /// Each message that is in flight, then each that waits or is delayed in the order in which it is due; streamed.
  func eachLive(_ queue: Int64, _ body: (LiveMessage) throws -> Void) throws
  func deadCount(_ queue: Int64) throws -> Int64
  /// Numbers for so many messages that nobody else gets, the first of them.
  func takeSequences(_ count: Int64) throws -> Int64

  // MARK: A message's life

  /// The message of this id.
  func known(_ queue: Int64, id: [UInt8]) throws -> KnownMessage?
  func known(_ sequence: Int64) throws -> KnownMessage?
  /// Its id is another's from now on.
  func unname(_ sequence: Int64) throws
  func insert(_ message: NewMessage, _ live: LiveMessage, queue: Int64) throws
  /// A message of a log's group: its id is the entry's position, its payload is read from the entry.
  func insert(_ entry: LogEntry, _ live: LiveMessage, log: Int64, queue: Int64) throws
  func saveLease(_ sequence: Int64, attempt: UInt16, until: Int64) throws
  func payload(_ sequence: Int64) throws -> MessagePayload?
  func saveRetry(_ sequence: Int64, at: Int64) throws
  func saveGivenBack(_ sequence: Int64) throws
  func savePostponed(_ sequence: Int64, at: Int64) throws
  /// Its body goes; the row is kept until `forgetAt`, and at least `dedup` after its acceptance.
  func saveDone(_ sequence: Int64, result: [UInt8], at: Int64, dedup: Int64, forgetAt: Int64) throws
  /// `keepsBody`: until `forgetAt`; otherwise it goes as with `saveDone`.
  func saveDead(
    _ sequence: Int64, _ death: MessageDeath, at: Int64, keepsBody: Bool, dedup: Int64, forgetAt: Int64) throws
  /// A failed attempt; the latest 50 of a message are kept.
  func saveAttempt(_ sequence: Int64, _ attempt: AttemptView) throws
  /// The lease of a message in flight is over without a word: that is a failed attempt, too.
  func saveLapse(_ sequence: Int64, at: Int64, error: String) throws
  /// A dead message waits again, its attempts counted anew; nil if it is not dead.
  func redrive(_ sequence: Int64, queue: Int64, at: Int64, keep: Int64) throws -> LiveMessage?
  /// Takes a message out, whatever its state; what it was.
  func remove(_ sequence: Int64, queue: Int64) throws -> KnownMessage?
  /// Removes at most `limit` messages that are done or dead and whose time is over, oldest first; the numbers of the queues
  /// of which a dead one has gone, and how many have gone in all.
  func forgetMessages(until now: Int64, limit: Int) throws -> (count: Int, dead: [Int64])

  /// The queue is no more; its name is free at once, its messages go with `clearGone`.
  func setGone(_ queue: Int64) throws
  /// Removes at most `limit` messages of queues that are no more; 0: there is nothing left of any.
  func clearGone(limit: Int) throws -> Int

  // MARK: Looking

  func view(_ queue: Int64, id: [UInt8], now: Int64) throws -> MessageView?
  /// Without history, fields and body; those that wait or are delayed by when they are due, all others by their sequence.
  func views(_ queue: Int64, _ state: MessageState, after: Int64, limit: Int, now: Int64) throws -> [MessageView]
  /// Sequences of dead messages in their order; or of those in flight, waiting or delayed, in whatever order.
  func sequences(_ queue: Int64, dead: Bool, after: Int64, before: Int64, limit: Int) throws -> [Int64]
}

package struct QueueRow: Sendable, Equatable {
  package var number: Int64
  package var declaration: QueueDeclaration
  package var isPaused: Bool

  package init(number: Int64, declaration: QueueDeclaration, isPaused: Bool) {
    self.number = number
    self.declaration = declaration
    self.isPaused = isPaused
  }
}

/// A message as it is handed out, and when it was accepted.
package struct MessagePayload: Sendable, Equatable {
  package var message: NewMessage
  package var enqueuedAt: Int64
  /// Of a log's group.
  package var entry: MessageEntry?

  package init(message: NewMessage, enqueuedAt: Int64, entry: MessageEntry? = nil) {
    self.message = message
    self.enqueuedAt = enqueuedAt
    self.entry = entry
  }
}

/// What the index of a queue is built from.
package struct LiveMessage: Sendable, Equatable {
  package var sequence: Int64
  package var key: [UInt8]
  package var tenant: [UInt8]
  package var priority: UInt8
  package var bytes: Int64
  package var enqueuedAt: Int64
  package var dueAt: Int64
  package var expiresAt: Int64
  package var attempts: UInt16 = 0
  package var givenBack: UInt16 = 0
  package var isPostponed = false
  package var leasedUntil: Int64?

  package init(
    sequence: Int64, key: [UInt8], tenant: [UInt8], priority: UInt8, bytes: Int64, enqueuedAt: Int64, dueAt: Int64,
    expiresAt: Int64
  ) {
    self.sequence = sequence
    self.key = key
    self.tenant = tenant
    self.priority = priority
    self.bytes = bytes
    self.enqueuedAt = enqueuedAt
    self.dueAt = dueAt
    self.expiresAt = expiresAt
  }
}

/// Where a message stands, as far as it matters to what is asked about it.
package struct KnownMessage: Sendable, Equatable {
  /// As rows say it: whether one that waits is delayed depends on the time.
  package enum State: Int, Sendable {
    case waiting = 0
    case inFlight = 1
    case done = 2
    case dead = 3
    /// Dead, and its queue keeps no dead letters: only that is known.
    case dropped = 4
  }

  package var sequence: Int64
  package var queue: Int64
  package var state: State
  package var attempts: UInt16
  package var enqueuedAt: Int64

  package init(sequence: Int64, queue: Int64, state: State, attempts: UInt16, enqueuedAt: Int64) {
    self.sequence = sequence
    self.queue = queue
    self.state = state
    self.attempts = attempts
    self.enqueuedAt = enqueuedAt
  }
}
