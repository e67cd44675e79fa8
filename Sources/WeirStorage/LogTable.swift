// SPDX-License-Identifier: Apache-2.0
package import WeirWire

/// The rows of logs: their entries, groups and documents; all points of time are wall time in milliseconds.
///
/// Whatever a backend does to number entries, positions are given by the caller, who is the only writer of a log.
package protocol LogTable {
  // MARK: Logs and groups

  /// All logs, in the order in which they were made, with their groups.
  func logs() throws -> [LogRow]
  func log(_ number: Int64) throws -> LogRow?
  /// Makes a log or changes what it is declared as (its groups apart); its number.
  func saveLog(_ declaration: LogDeclaration, at: Int64) throws -> Int64
  func saveEnd(_ log: Int64, last: Int64, bytes: Int64) throws
  /// Entries up to here can no longer be read.
  func saveForgotten(_ log: Int64, _ position: Int64, bytes: Int64) throws
  func saveGroup(_ log: Int64, _ group: GroupRow) throws
  func removeGroup(_ log: Int64, queue: String) throws

  // MARK: Entries

  /// Where the entry of this id stands.
  func appended(_ log: Int64, id: [UInt8]) throws -> Appended?
  /// The newest version of a stream, 0 if it has none.
  func version(_ log: Int64, key: [UInt8]) throws -> Int64
  func insert(_ entry: LogEntry, log: Int64) throws
  /// Those behind a position, in their order; the last is the first with which `bytes` of payload are reached.
  func entries(_ log: Int64, after: Int64, limit: Int, bytes: Int) throws -> [LogEntry]
  /// Those of a stream behind a version and a position.
  func entries(_ log: Int64, key: [UInt8], after: Int64, behind: Int64, limit: Int, bytes: Int) throws -> [LogEntry]
  /// The first entry that stands behind a position: where, and when it was appended.
  func next(_ log: Int64, after: Int64) throws -> (position: Int64, at: Int64)?
  /// When the last entry was appended; 0 if there is none.
  func lastAt(_ log: Int64) throws -> Int64
  /// The lowest position of those of a group's messages that are neither done nor dead.
  func firstLive(queue: Int64) throws -> Int64?

  // MARK: Forgetting

  /// Entries as forgetting sees them: those behind a position, up to another, in their order.
  func keeping(_ log: Int64, after: Int64, through: Int64, limit: Int) throws -> [KeptEntry]
  func remove(_ log: Int64, position: Int64) throws
  /// Whether a version of a stream is its newest.
  func isNewest(_ log: Int64, key: [UInt8], version: Int64) throws -> Bool
  /// Removes at most `limit` entries of a stream, oldest first; how many, and their payload.
  func removeStream(_ log: Int64, key: [UInt8], limit: Int) throws -> (count: Int, bytes: Int64)

  // MARK: Documents

  func document(_ log: Int64, key: [UInt8]) throws -> LogDocument?
  func documents(_ log: Int64, after: [UInt8], limit: Int, bytes: Int) throws -> [LogDocument]
  /// Its version: one more than the last of this key, and more than that of any that was removed.
  func saveDocument(_ log: Int64, key: [UInt8], body: [UInt8]) throws -> Int64
}

package struct LogRow: Sendable, Equatable {
  package var number: Int64
  /// Without its groups.
  package var declaration: LogDeclaration
  package var declaredAt: Int64
  package var last: Int64 = 0
  package var bytes: Int64 = 0
  package var forgotten: Int64 = 0
  package var groups: [GroupRow] = []

  package init(number: Int64, declaration: LogDeclaration, declaredAt: Int64) {
    self.number = number
    self.declaration = declaration
    self.declaredAt = declaredAt
  }
}

package struct GroupRow: Sendable, Equatable {
  package var queue: String
  package var fromStart: Bool
  /// Made while Weir runs, not by the file.
  package var isJoined: Bool
  /// It is in the file; one that was taken out keeps its place.
  package var isActive = true
  /// Up to here its queue has been fed; nil: to the log's end, and it gets what is appended at once.
  package var fed: Int64?

  package init(queue: String, fromStart: Bool, isJoined: Bool, fed: Int64?) {
    self.queue = queue
    self.fromStart = fromStart
    self.isJoined = isJoined
    self.fed = fed
  }
}

package struct KeptEntry: Sendable, Equatable {
  package var position: Int64
  package var version: Int64
  package var at: Int64
  package var bytes: Int64
  package var key: [UInt8]
  /// A message of a group needs it.
  package var isNeeded: Bool

  package init(position: Int64, version: Int64, at: Int64, bytes: Int64, key: [UInt8], isNeeded: Bool) {
    self.position = position
    self.version = version
    self.at = at
    self.bytes = bytes
    self.key = key
    self.isNeeded = isNeeded
  }
}
