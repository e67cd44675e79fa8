// SPDX-License-Identifier: Apache-2.0

/// What an entry of a log may at most be; ids, keys, fields, bodies and batches are bounded as a queue's (`QueueLimits`).
public enum LogLimits {
  public static let typeBytesMax = 128
  /// Groups of one log that the file gives, and those that it has when another one joins.
  public static let groupsMax = 1000
  /// Groups that a log may have in all: who had joined as many, and is then given others by the file, has both.
  public static let groupsInAll = 2 * groupsMax
  /// Payload after which an answer holds no more entries or documents, so that it fits into a frame with the last.
  public static let readBytesMax = 4 << 20
  public static let documentBytesMax = 1 << 20
}

/// A queue that a log feeds: each appended entry is put into it, in the same transaction.
public struct LogGroup: Sendable, Equatable, Codable {
  /// The name of a queue that was declared before.
  public var queue: String
  /// It begins with the log's first entry, and falls behind when it is full, to catch up later.
  ///
  /// Otherwise it begins behind the log's last entry, and refuses the append when it is full.
  public var fromStart: Bool

  public init(queue: String, fromStart: Bool = false) {
    self.queue = queue
    self.fromStart = fromStart
  }
}

/// A log as the file declares it; times are in milliseconds.
public struct LogDeclaration: Sendable, Equatable, Codable {
  public enum Forgetting: UInt8, Sendable, Codable, CaseIterable {
    /// Those older than `keep`, and the oldest of what is beyond `bytes`.
    case entries = 0
    /// Whole streams: whose newest entry is older than `keep`, and whose key is the id of no message, living or dead, of the
    /// queue that has the log's name.
    case streams = 1
  }

  public var name: String
  /// Nil: for ever.
  public var keep: Int64?
  /// Payload of its entries; nil, or when whole streams are forgotten: any.
  public var bytes: Int64?
  public var forgetting = Forgetting.entries
  /// Those of the file; what was joined while it runs stays besides.
  public var groups: [LogGroup] = []

  public init(name: String) { self.name = name }
}

/// An entry that is to be appended.
public struct NewEntry: Sendable, Equatable {
  /// Says which it is: the same one is appended once, as long as the log keeps it.
  public var id: [UInt8]
  /// The stream it belongs to; empty: none, and its version is 0.
  public var key: [UInt8]
  /// May be empty.
  public var type: [UInt8]
  /// Whole header lines.
  public var fields: [UInt8]
  public var body: [UInt8]
  /// The version that its stream must have, with what stands before it in its batch; 0: the stream is new; nil: any.
  public var expected: Int64?
  /// Only looked at: nothing is appended, but all is refused when the stream has another version than expected.
  public var reads: Bool

  public init(
    id: [UInt8], key: [UInt8] = [], type: [UInt8] = [], fields: [UInt8] = [], body: [UInt8], expected: Int64? = nil,
    reads: Bool = false
  ) {
    self.id = id
    self.key = key
    self.type = type
    self.fields = fields
    self.body = body
    self.expected = expected
    self.reads = reads
  }
}

/// Where an entry has come to stand.
public struct Appended: Sendable, Equatable {
  /// 1, 2, 3 … of the log, without a gap; 0 for what only `reads`.
  public var position: Int64
  /// 1, 2, 3 … of the stream.
  public var version: Int64
  /// It was appended before; the numbers are those of the first time.
  public var isDuplicate: Bool

  public init(position: Int64, version: Int64, isDuplicate: Bool) {
    self.position = position
    self.version = version
    self.isDuplicate = isDuplicate
  }
}

public struct LogEntry: Sendable, Equatable {
  public var position: Int64
  public var version: Int64
  /// When it was appended; wall time in milliseconds, which never falls from one entry to the next.
  public var at: Int64
  public var id: [UInt8]
  public var key: [UInt8]
  public var type: [UInt8]
  public var fields: [UInt8]
  public var body: [UInt8]

  public init(
    position: Int64, version: Int64, at: Int64, id: [UInt8], key: [UInt8], type: [UInt8], fields: [UInt8],
    body: [UInt8]
  ) {
    self.position = position
    self.version = version
    self.at = at
    self.id = id
    self.key = key
    self.type = type
    self.fields = fields
    self.body = body
  }
}

/// Which entry a message of a group was made from.
public struct MessageEntry: Sendable, Equatable {
  public var position: Int64
  public var version: Int64
  /// When it was appended; wall time in milliseconds.
  public var at: Int64
  /// The entry's, as the message's own is its position.
  public var id: [UInt8]
  public var type: [UInt8]

  public init(position: Int64, version: Int64, at: Int64, id: [UInt8], type: [UInt8]) {
    self.position = position
    self.version = version
    self.at = at
    self.id = id
    self.type = type
  }
}

public struct GroupCounts: Sendable, Equatable {
  /// Its queue's.
  public var name: String
  /// Entries that are not done: those that live in its queue, and those it has not been fed yet.
  public var lag: Int64 = 0
  /// All entries up to here are done or dead.
  public var position: Int64 = 0
  public var counts = QueueCounts()

  public init(name: String) { self.name = name }
}

public struct LogCounts: Sendable, Equatable {
  /// The first entry that can be read; one more than `last` when there is none.
  public var first: Int64 = 1
  /// 0: nothing was ever appended.
  public var last: Int64 = 0
  /// Payload of what can be read.
  public var bytes: Int64 = 0
  /// Appends that were refused since the state process has started: a group's queue was full.
  public var refused: Int64 = 0
  /// Long polls that wait for an entry.
  public var readers: Int64 = 0
  /// When the log was declared first; wall time in milliseconds.
  public var declaredAt: Int64 = 0
  public var groups: [GroupCounts] = []

  public init() {}
}

/// A small thing that is kept beside a log and replaced as a whole: a snapshot, an endpoint.
public struct LogDocument: Sendable, Equatable {
  public var key: [UInt8]
  /// Rises with each time it is saved; one that was removed and comes again does not begin anew.
  public var version: Int64
  public var body: [UInt8]

  public init(key: [UInt8], version: Int64, body: [UInt8]) {
    self.key = key
    self.version = version
    self.body = body
  }
}
