// SPDX-License-Identifier: Apache-2.0

/// 256 bits: a digest, as keys and fingerprints of the state process are.
public struct StateDigest: Sendable, Hashable, BitwiseCopyable {
  public var a, b, c, d: UInt64

  public init(_ a: UInt64, _ b: UInt64, _ c: UInt64, _ d: UInt64) {
    self.a = a
    self.b = b
    self.c = c
    self.d = d
  }

  /// The highest bits first; nil unless there are 32 bytes.
  public init?(_ bytes: some Collection<UInt8>) {
    guard bytes.count == 32 else { return nil }
    var words = InlineArray<4, UInt64>(repeating: 0)
    for (i, byte) in bytes.enumerated() { words[i / 8] = words[i / 8] << 8 | UInt64(byte) }
    self.init(words[0], words[1], words[2], words[3])
  }

  public var bytes: [UInt8] {
    var out = StateWriter()
    out.digest(self)
    return out.bytes
  }
}

/// What the plane asks of the state process.
public enum StateRequest: Sendable, Equatable {
  /// The first word on a connection.
  case hello(version: UInt16)
  /// May a request with this key be executed? Answered when it can be said, at the latest after `wait` milliseconds.
  case claim(Claim)
  /// It was executed, with this answer; nil: it was, and its answer is too large to be kept.
  case complete(key: StateDigest, owner: Owner, answer: Answer?)
  /// It was not executed, or nobody can say: who asks next may.
  case release(key: StateDigest, owner: Owner)
  /// These are the queues of the file; others that there are stay, with their messages.
  case declare([QueueDeclaration])
  /// Takes these messages, all or none.
  case enqueue(queue: String, [NewMessage])
  /// Up to `max` messages to work on, for `visibility` milliseconds or as the queue says. When there is none it is answered
  /// when there is one, at the latest after `wait` milliseconds.
  case lease(queue: String, max: UInt16, visibility: Int64?, wait: Int64)
  /// How work on leased messages has ended.
  case settle(queue: String, [Settlement])
  case look(queue: String, QueueLook)
  case steer(queue: String, QueueSteer)
  /// These are the logs of the file, and their groups; others that there are stay. The groups' queues are declared before.
  case declareLogs([LogDeclaration])
  /// Appends these entries, all or none, and puts them into the queues of the log's groups.
  case append(log: String, [NewEntry])
  /// Entries behind a position; with a key those of its stream, behind a version. When there is none it is answered when
  /// there is one, at the latest after `wait` milliseconds.
  case read(log: String, key: [UInt8]?, after: Int64, limit: UInt16, wait: Int64)
  /// The first position at or after a wall time in milliseconds.
  case seek(log: String, time: Int64)
  case lookLog(log: String)
  /// From now on the log feeds this queue, too, which is made with it.
  case join(log: String, QueueDeclaration)
  /// A group that was joined ends, with its queue and messages.
  case leave(log: String, group: String)
  /// Puts the entries of these positions into one group's queue again, in their order, but for those that live in it.
  case replay(log: String, group: String, from: Int64, to: Int64?)
  /// Saves a document, if it has the expected version (0: if there is none); an empty body removes it.
  case saveDocument(log: String, key: [UInt8], body: [UInt8], expected: Int64?)
  case document(log: String, key: [UInt8])
  /// In the order of their keys, those behind one.
  case documents(log: String, after: [UInt8], limit: UInt16)
  /// When copies of the state are made, and where; nil: none are.
  case planBackup(BackupDeclaration?)
  case lookBackup

  public struct Owner: Sendable, Hashable, BitwiseCopyable {
    public var high: UInt64
    public var low: UInt64

    public init(high: UInt64, low: UInt64) {
      self.high = high
      self.low = low
    }
  }

  /// Times are in milliseconds.
  public struct Claim: Sendable, Equatable, BitwiseCopyable {
    public var key: StateDigest
    public var fingerprint: StateDigest
    public var owner: Owner
    public var lease: Int64
    public var keep: Int64
    public var wait: Int64

    public init(
      key: StateDigest, fingerprint: StateDigest, owner: Owner, lease: Int64, keep: Int64, wait: Int64
    ) {
      self.key = key
      self.fingerprint = fingerprint
      self.owner = owner
      self.lease = lease
      self.keep = keep
      self.wait = wait
    }
  }

  /// An answer as it is kept: status, whole field lines, body.
  public struct Answer: Sendable, Equatable {
    public var status: UInt16
    public var fields: [UInt8]
    public var body: [UInt8]

    public init(status: UInt16, fields: [UInt8], body: [UInt8]) {
      self.status = status
      self.fields = fields
      self.body = body
    }
  }
}

/// What the state process answers; each stands under the number of its request.
public enum StateReply: Sendable, Equatable {
  case welcome(version: UInt16)
  /// The claim is granted, and on the disk.
  case execute
  /// `waited`: the execution was under way when it was asked.
  case replay(StateRequest.Answer, waited: Bool = false)
  case notKept
  /// Another still executes; try again after so many milliseconds.
  case busy(Int64)
  case mismatch
  /// What was completed is on the disk.
  case stored
  /// The lease had gone to another before.
  case lost
  case released
  case declared
  /// All are on the disk, in their order.
  case enqueued([Enqueued])
  /// None was taken: the queue, or that of a log's group, is as long as it may be; try again after so many milliseconds.
  case queueFull(retryAfter: Int64)
  /// Nor a log.
  case unknownQueue
  /// Empty: there was nothing for as long as was asked.
  case leased([LeasedMessage])
  /// One for one.
  case settled([SettleResult])
  case counts(QueueCounts)
  case message(MessageView?)
  case messages([MessageView])
  /// So many messages were concerned.
  case steered(Int64)
  /// All are on the disk, one for one.
  case appended([Appended])
  /// Nothing was done: the stream of this entry, or the document, has another version.
  case conflict(index: UInt16, version: Int64)
  /// Empty: there was nothing for as long as was asked.
  case entries([LogEntry])
  /// One more than the last when there is none.
  case position(Int64)
  case logCounts(LogCounts)
  case saved(version: Int64)
  case document(LogDocument?)
  case documentList([LogDocument])
  case backup(BackupCounts)
  case failed(Failure)

  public enum Failure: UInt8, Sendable, CaseIterable {
    /// There is no room on the disk.
    case full = 1
    /// The disk or the database failed.
    case broken = 2
    /// The two ends do not speak the same version.
    case version = 3
    /// As much waits as may.
    case tooMany = 4
    /// A log cannot feed this queue: it is another log's, or has messages of its own.
    case taken = 5
    /// The events of the group are sorted: what it would hear again would come out of its turn.
    case sorted = 6
  }
}
