// SPDX-License-Identifier: Apache-2.0

/// What a message of a queue may at most be; what is larger is refused when it is read.
public enum QueueLimits {
  /// Messages of one request or answer.
  public static let batchMax = 1000
  /// Fields and bodies of one `enqueue`, for a frame to hold it; whoever asks sees to it.
  public static let batchBytesMax = 8 << 20
  public static let nameBytesMax = 128
  public static let idBytesMax = 128
  public static let keyBytesMax = 256
  public static let tenantBytesMax = 256
  /// Header lines that go with a message.
  public static let fieldsBytesMax = 16 << 10
  public static let bodyBytesMax = 1 << 20
  /// What an ack says for the message's status.
  public static let resultBytesMax = 4 << 10
  /// Why an attempt failed.
  public static let errorBytesMax = 1 << 10
  public static let priorityMax: UInt8 = 9
  public static let priorityUsual: UInt8 = 4
  /// Payload after which an answer to `lease` holds no more messages, so that it fits into a frame with the last.
  public static let leasedBytesMax = 4 << 20
  /// The latest attempts that are kept of a message.
  public static let historyMax = 50
}

/// A queue as the file declares it; times are in milliseconds.
public struct QueueDeclaration: Sendable, Equatable, Codable {
  public var name: String
  public var visibility: Int64 = 30_000
  public var attempts: UInt16 = 20
  public var backoffFirst: Int64 = 1000
  public var backoffMax: Int64 = 3_600_000
  /// A share, 0 to 1.
  public var backoffJitter = 0.5
  public var keepsDead = true
  public var keep: Int64 = 14 * 86_400_000
  public var dedup: Int64 = 300_000
  public var length: Int64 = 1_000_000
  public var bytes: Int64 = 1 << 30
  public var atOnce: Int32 = .max
  public var keyAtOnce: Int32 = 1
  /// Leases a second.
  public var rate: Double?
  /// Of a log's group whose events are sorted before they are in it.
  public var order: GroupOrder?

  public init(name: String) { self.name = name }
}

/// A message that is to be taken.
public struct NewMessage: Sendable, Equatable {
  /// Says which it is: the same one is taken once.
  public var id: [UInt8]
  /// Empty: nothing orders it.
  public var key: [UInt8]
  public var tenant: [UInt8]
  /// 0 to 9, 9 goes first.
  public var priority: UInt8
  /// Wall time in milliseconds; 0: at once.
  public var notBefore: Int64
  /// Milliseconds after which it is too old; nil: as the queue says.
  public var keep: Int64?
  /// Whole header lines.
  public var fields: [UInt8]
  public var body: [UInt8]

  public init(
    id: [UInt8], key: [UInt8] = [], tenant: [UInt8] = [], priority: UInt8 = QueueLimits.priorityUsual,
    notBefore: Int64 = 0, keep: Int64? = nil, fields: [UInt8] = [], body: [UInt8]
  ) {
    self.id = id
    self.key = key
    self.tenant = tenant
    self.priority = priority
    self.notBefore = notBefore
    self.keep = keep
    self.fields = fields
    self.body = body
  }
}

public struct Enqueued: Sendable, Equatable {
  public var id: [UInt8]
  /// It was taken before.
  public var isDuplicate: Bool

  public init(id: [UInt8], isDuplicate: Bool) {
    self.id = id
    self.isDuplicate = isDuplicate
  }
}

/// A message that is somebody's to work on.
///
/// Sequence and attempt name the lease. Points are wall time in milliseconds.
public struct LeasedMessage: Sendable, Equatable {
  public var sequence: Int64
  public var attempt: UInt16
  public var until: Int64
  public var enqueuedAt: Int64
  /// Its `notBefore` and `keep` have had their effect and are not told.
  public var message: NewMessage
  /// Of a log's group: which entry it was made from.
  public var entry: MessageEntry?

  public init(
    sequence: Int64, attempt: UInt16, until: Int64, enqueuedAt: Int64, message: NewMessage, entry: MessageEntry? = nil
  ) {
    self.sequence = sequence
    self.attempt = attempt
    self.until = until
    self.enqueuedAt = enqueuedAt
    self.message = message
    self.entry = entry
  }
}

/// What is said of a leased message; lengths are in milliseconds.
public struct Settlement: Sendable, Equatable {
  public enum Verdict: Sendable, Equatable {
    case ack(result: [UInt8])
    /// `status` 0: there was none. `isFinal`: trying again cannot help.
    case nack(error: String, status: UInt16, latency: Int64, retryAfter: Int64?, isFinal: Bool)
    /// From now.
    case extend(by: Int64)
    /// It was not worked on.
    case giveBack
    /// It has not failed, but goes on later only: the attempt does not count, and it holds its key until then.
    case postpone(by: Int64)
  }

  public var sequence: Int64
  public var attempt: UInt16
  public var verdict: Verdict

  public init(sequence: Int64, attempt: UInt16, verdict: Verdict) {
    self.sequence = sequence
    self.attempt = attempt
    self.verdict = verdict
  }
}

/// What a settlement has led to; points are wall time in milliseconds.
public enum SettleResult: Sendable, Equatable {
  case done
  case retry(at: Int64)
  case dead
  case extended(until: Int64)
  case givenBack
  /// The lease had gone to another before, or the message is gone.
  case lost
}

public enum MessageState: UInt8, Sendable, Equatable, CaseIterable {
  case waiting = 0
  case delayed = 1
  case inFlight = 2
  case done = 3
  case dead = 4
}

/// Why a message was given up.
public enum MessageDeath: UInt8, Sendable, Equatable, CaseIterable {
  /// As many attempts as may be have failed.
  case attempts = 1
  /// It was too old.
  case expired = 2
  /// Who worked on it said that trying again cannot help.
  case refused = 3
  /// Its number had passed: those behind it were not kept any longer.
  case late = 4
}

public enum QueueLook: Sendable, Equatable {
  case counts
  case message(id: [UInt8])
  /// Those behind the sequence `after`, not of what is done.
  ///
  /// What waits or is delayed comes in the order in which it is due, all else in the order of sequences.
  case list(MessageState, after: Int64, limit: UInt16)
}

public enum QueueSteer: Sendable, Equatable {
  /// Nothing is leased until `resume`.
  case pause
  case resume
  /// Dead ones wait again, their attempts counted anew; empty: all that are dead.
  case redrive([Int64])
  /// They are gone, whatever their state.
  case remove([Int64])
  case purge(all: Bool)
}

public struct QueueCounts: Sendable, Equatable {
  public var waiting: Int64 = 0
  public var delayed: Int64 = 0
  public var inFlight: Int64 = 0
  public var dead: Int64 = 0
  /// Waiting ones that stand behind another of their key.
  public var blocked: Int64 = 0
  /// Delayed ones that have failed before.
  public var retrying: Int64 = 0
  /// Payload of what waits, is delayed or in flight.
  public var bytes: Int64 = 0
  /// For how many milliseconds the one that waits longest has done so; nil: none waits.
  public var oldest: Int64?
  public var isPaused = false
  /// Long polls that wait for a message.
  public var pollers: Int64 = 0
  /// When the queue was declared first; wall time in milliseconds.
  public var declaredAt: Int64 = 0
  /// Of a group whose events are sorted.
  public var order: OrderCounts?

  public init() {}
}

/// A message as it is shown; points are wall time in milliseconds.
public struct MessageView: Sendable, Equatable {
  public var sequence: Int64
  public var id: [UInt8]
  public var key: [UInt8]
  public var tenant: [UInt8]
  public var priority: UInt8
  public var state: MessageState
  /// Leases so far, without those that were given back.
  public var attempts: UInt16
  public var enqueuedAt: Int64
  public var dueAt: Int64
  /// When it was acked or given up; nil before.
  public var endedAt: Int64?
  public var death: MessageDeath?
  /// What its ack has said.
  public var result: [UInt8]
  public var bytes: Int64
  /// The attempts that failed; with `fields` and `body` only in the answer about one message.
  public var history: [AttemptView] = []
  public var fields: [UInt8] = []
  /// Empty once it is done.
  public var body: [UInt8] = []

  public init(
    sequence: Int64, id: [UInt8], key: [UInt8], tenant: [UInt8], priority: UInt8, state: MessageState,
    attempts: UInt16, enqueuedAt: Int64, dueAt: Int64, endedAt: Int64?, death: MessageDeath?, result: [UInt8],
    bytes: Int64
  ) {
    self.sequence = sequence
    self.id = id
    self.key = key
    self.tenant = tenant
    self.priority = priority
    self.state = state
    self.attempts = attempts
    self.enqueuedAt = enqueuedAt
    self.dueAt = dueAt
    self.endedAt = endedAt
    self.death = death
    self.result = result
    self.bytes = bytes
  }
}

/// An attempt that failed.
public struct AttemptView: Sendable, Equatable {
  public var attempt: UInt16
  /// When that was known.
  public var at: Int64
  public var latency: Int64
  /// 0: there was none.
  public var status: UInt16
  public var error: String

  public init(attempt: UInt16, at: Int64, latency: Int64, status: UInt16, error: String) {
    self.attempt = attempt
    self.at = at
    self.latency = latency
    self.status = status
    self.error = error
  }
}
