// SPDX-License-Identifier: Apache-2.0
package import WeirBase
package import WeirPatterns
package import WeirWire

/// Where Weir's durable state lies: one file of ours, or a server that several nodes share.
///
/// Whatever is changed in one transaction is on the disk, all of it, when `transact` returns; when it throws, nothing is.
/// One caller at a time: whoever has many requests puts them into one transaction, which costs one sync (group commit).
package protocol StateStore: AnyObject {
  func transact<Result>(_ body: (any StateTransaction) throws -> Result) throws -> Result
  /// Less room is left than is kept free for what has been begun: nothing new is to be taken on.
  var isLowOnSpace: Bool { get }
  /// Gives back room that nothing needs any more; a short piece of work at a time.
  func compact() throws
}

/// All that can be done within a transaction.
package protocol StateTransaction: IdempotencyTable, QueueTable, LogTable {
  /// Rows that were changed since the store was opened: more than before says that something was written.
  var changes: Int { get }
}

/// Records by key.
package protocol IdempotencyTable {
  func record(_ key: StateDigest) throws -> IdempotencyRecord?
  /// The answer that was saved with the record.
  func answer(_ key: StateDigest) throws -> StateRequest.Answer?
  /// Saves a record in the place of the one before it, with the answer or without one.
  func save(_ record: IdempotencyRecord, _ key: StateDigest, answer: StateRequest.Answer?) throws
  func remove(_ key: StateDigest) throws
  /// Removes at most `limit` records whose time is over, oldest first; how many it were.
  func forget(until now: WallTime, limit: Int) throws -> Int
}

/// Why a store cannot be used, or could not do what was asked.
package enum StateStoreError: Error, Equatable, CustomStringConvertible {
  case cannotOpen(String, String)
  case damaged(String, String)
  case newer(String)
  /// The state of this folder is in use; by which process, when it is known.
  case served(String, by: Int32?)
  /// No room: nothing of the transaction was kept.
  case full
  /// The disk or the database failed: nothing of the transaction was kept.
  case broken(String)

  package var description: String {
    switch self {
    case .cannotOpen(let path, let why): "the database \(path) cannot be opened: \(why)"
    case .damaged(let path, let why):
      "the database \(path) is damaged (\(why)): put a copy in its place, or move it away, after which nothing is known "
        + "of what was done before"
    case .served(let folder, let pid):
      "the state in \(folder) is in use\(pid.map { " by process \($0)" } ?? ""): end that first"
    case .newer(let path): "the database \(path) was written by a newer weir"
    case .full: "there is no room on the disk"
    case .broken(let why): "the database failed: \(why)"
    }
  }
}
