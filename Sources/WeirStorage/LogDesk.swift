// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirPatterns
package import WeirWire

/// Answers what is asked about logs: by their rows, and by what is kept of each in memory (its end, its groups, who waits).
///
/// Confined to one thread. As with ``QueueDesk`` everything happens within a transaction, the same one, for what is appended
/// is put into the queues of the log's groups with it; after a failure what was touched is read again from the rows.
///
///     advance ─▶ decide … ─▶ serve ─▶ sync ─┬─▶ commit ─▶ answers
///                                           └─▶ undo
/// ## Invariants
/// 1. Positions of a log are 1, 2, 3 … without a gap, in the order of appending; a position that was answered is on the disk.
/// 2. An entry is in the queue of each group that is not behind, from the transaction on in which it was appended; a group
///    that is behind gets all that it has missed, in order, before anything newer.
/// 3. Of those who wait for entries who came first is served first; each is answered at the latest when its patience ends.
package struct LogDesk {
  package struct Settings: Sendable {
    /// Long polls that may wait at the same time; more are refused.
    package var readersMax = 65_536
    /// Longest patience of a poll.
    package var waitMax: Int64 = 3_600_000
    /// Entries that are fed to groups that are behind, or replayed, within one transaction.
    package var piece = 500
    /// Payload of those.
    package var pieceBytes = 8 << 20
    /// Payload that is read within one transaction; who would get more waits for the next.
    package var readBytesMax = 32 << 20
    /// Replays that are under way or wait for their turn.
    package var replaysMax = 64
    package init() {}
  }

  struct Reader {
    var asker: StateAsker
    var key: [UInt8]?
    var after: Int64
    var limit: Int
    var giveUpAt: Instant
    /// There may be news for it.
    var isDue = false
    /// It gets an answer when the transaction is on the disk.
    var isServed = false
  }

  struct Log {
    var row: LogRow
    /// When its last entry was appended.
    var lastAt: Int64
    /// Its row has to be read again before it is used.
    var isStale = false
    var isTouched = false
    var readers: [Reader] = []
    /// Appends that a full group has refused.
    var refused: Int64 = 0
    /// Where the look at entries that were kept for a message's sake goes on, or that at streams.
    var swept: Int64 = 0

    func feeds(_ queue: String) -> Bool { row.groups.contains { $0.queue == queue } }
  }

  /// Entries that are put into one group's queue again, in pieces.
  struct Replay {
    var asker: StateAsker
    var log: Int
    var group: String
    /// Up to here it is done.
    var after: Int64
    var end: Int64
    var count: Int64 = 0
    var isOver = false
  }

  let settings: Settings
  var logs: [Log] = []
  var indices: [String: Int] = [:]
  var replays: [Replay] = []
  /// The replays as the transaction that is under way leaves them.
  var nextReplays: [Replay]?
  var newReplays: [Replay] = []
  var replies: [(asker: StateAsker, reply: StateReply)] = []
  var readers = 0
  var readBytes = 0
  /// As much was read in a transaction as may be: somebody has not got what is there for it.
  var isSated = false
  private(set) var isOpen = false
  private var committed = 0
  private(set) var failure = StateReply.Failure.broken
  /// Which queue was to have two masters last, in a sentence.
  package internal(set) var conflict: String?

  package init(_ settings: Settings = Settings()) { self.settings = settings }

  // MARK: The transaction

  private mutating func open(in table: any LogTable) throws {
    if isOpen { return }
    for row in try table.logs() { try add(row, in: table) }
    committed = logs.count
    isOpen = true
  }

  mutating func add(_ row: LogRow, in table: any LogTable) throws {
    indices[row.declaration.name] = logs.count
    logs.append(Log(row: row, lastAt: row.last == 0 ? 0 : try table.lastAt(row.number)))
  }

  /// What is known of a log, from its rows, unless it can be relied on.
  private mutating func build(_ l: Int, in table: any LogTable) throws {
    guard logs[l].isStale else { return }
    guard let row = try table.log(logs[l].row.number) else {
      throw StateStoreError.broken("the log \(logs[l].row.declaration.name) has no row")
    }
    logs[l].row = row
    logs[l].lastAt = row.last == 0 ? 0 : try table.lastAt(row.number)
    logs[l].isStale = false
  }

  /// Opens, and goes on with what is done in pieces: groups that are behind, replays.
  ///
  /// After that of the queues, which have to be open.
  package mutating func advance(
    in table: any StateTransaction, queues: inout QueueDesk, now: Instant, wall: WallTime
  ) throws {
    readBytes = 0
    isSated = false
    if queues.isResting(now) { return }
    try open(in: table)
    for l in logs.indices { try build(l, in: table) }
    let time = queues.clock(wall, now)
    var left = settings.piece
    for l in logs.indices where left > 0 { left -= try catchUp(l, upTo: left, queues: &queues, in: table, now: time) }
    if !replays.isEmpty && left > 0 { try goOn(upTo: left, queues: &queues, in: table, now: time) }
  }

  /// The answer to a request; nil: it waits for one.
  package mutating func decide(
    _ request: StateRequest, by asker: StateAsker, in table: any StateTransaction, queues: inout QueueDesk,
    isLowOnSpace: Bool, now: Instant, wall: WallTime
  ) throws -> StateReply? {
    if !isOpen { return .failed(failure) }
    let time = queues.clock(wall, now)
    if case .declareLogs(let declarations) = request {
      return try declare(declarations, queues: &queues, in: table, isLowOnSpace, now: time)
    }
    guard let name = LogDesk.log(of: request), let l = indices[name] else { return .unknownQueue }
    if logs[l].isStale && queues.isResting(now) { return .failed(failure) }
    try build(l, in: table)
    switch request {
    case .append(_, let entries):
      return try append(entries, l, queues: &queues, in: table, isLowOnSpace, now: time, real: now)
    case .read(_, let key, let after, let limit, let wait):
      var reader = Reader(asker: asker, key: key, after: after, limit: Int(limit), giveUpAt: now)
      let entries = try read(reader, l, in: table)
      if !entries.isEmpty || (wait == 0 && !isSated) { return .entries(entries) }
      if readers >= settings.readersMax { return .failed(.tooMany) }
      reader.giveUpAt = now.advanced(by: min(wait, settings.waitMax) * 1_000_000)
      reader.isDue = isSated
      logs[l].readers.append(reader)
      readers += 1
      return nil
    case .seek(_, let at): return .position(try seek(at, l, in: table))
    case .lookLog: return .logCounts(try look(l, queues: queues, in: table, now: time))
    case .join(_, let declaration):
      return try join(declaration, l, queues: &queues, in: table, isLowOnSpace, now: time)
    case .leave(_, let group): return try leave(group, l, queues: &queues, in: table)
    case .replay(_, let group, let from, let to): return beginReplay(group, from, to, l, by: asker, queues: queues)
    case .saveDocument(_, let key, let body, let expected):
      return try save(key, body, expected, l, in: table, isLowOnSpace)
    case .document(_, let key): return .document(try table.document(logs[l].row.number, key: key))
    case .documents(_, let after, let limit):
      return .documentList(
        try table.documents(logs[l].row.number, after: after, limit: Int(limit), bytes: LogLimits.readBytesMax))
    default: return .unknownQueue
    }
  }

  /// Gives what there is to those who wait for it.
  package mutating func serve(in table: any LogTable) throws {
    if readers == 0 { return }
    for l in logs.indices where !logs[l].isStale {
      for r in logs[l].readers.indices where logs[l].readers[r].isDue {
        let entries = try read(logs[l].readers[r], l, in: table)
        if !entries.isEmpty {
          replies.append((logs[l].readers[r].asker, .entries(entries)))
          logs[l].readers[r].isServed = true
        } else if isSated {
          return
        }
        logs[l].readers[r].isDue = false
      }
    }
  }

  /// It is on the disk: the answers to those who have waited.
  package mutating func commit() -> [(asker: StateAsker, reply: StateReply)] {
    committed = logs.count
    for l in logs.indices {
      logs[l].isTouched = false
      if logs[l].readers.contains(where: \.isServed) {
        let before = logs[l].readers.count
        logs[l].readers.removeAll(where: \.isServed)
        readers -= before - logs[l].readers.count
      }
    }
    if let next = nextReplays {
      nextReplays = nil
      for replay in next where replay.isOver { replies.append((replay.asker, .steered(replay.count))) }
      replays = next.filter { !$0.isOver }
    }
    replays += newReplays
    newReplays = []
    defer { replies = [] }
    return replies
  }

  /// Nothing of it has happened: those of `askers` who would wait now do not; who waits for a replay is told.
  package mutating func undo(_ failure: StateReply.Failure, of askers: [StateAsker])
    -> [(asker: StateAsker, reply: StateReply)]
  {
    self.failure = failure
    nextReplays = nil
    newReplays = []
    replies = []
    let gone = Set(askers)
    for l in logs.indices {
      if logs[l].isTouched { logs[l].isStale = true }
      logs[l].isTouched = false
      readers -= logs[l].readers.count
      logs[l].readers.removeAll { gone.contains($0.asker) }
      readers += logs[l].readers.count
      for r in logs[l].readers.indices {
        // What it was about to get is looked for again.
        if logs[l].readers[r].isServed { logs[l].readers[r].isDue = true }
        logs[l].readers[r].isServed = false
      }
    }
    for log in logs[min(committed, logs.count)...] { indices[log.row.declaration.name] = nil }
    logs.removeSubrange(min(committed, logs.count)...)
    defer { replays = [] }
    return replays.map { ($0.asker, .failed(failure)) }
  }

  /// Nothing of a `forget` has happened.
  package mutating func undoForgetting() {
    for l in logs.indices where logs[l].isTouched {
      logs[l].isTouched = false
      logs[l].isStale = true
    }
  }

  // MARK: Time

  /// Those whose patience is over: nothing came.
  package mutating func giveUp(now: Instant) -> [(asker: StateAsker, reply: StateReply)] {
    if readers == 0 { return [] }
    var over: [(asker: StateAsker, reply: StateReply)] = []
    for l in logs.indices where logs[l].readers.contains(where: { now >= $0.giveUpAt && !$0.isDue }) {
      for reader in logs[l].readers where now >= reader.giveUpAt && !reader.isDue {
        over.append((reader.asker, .entries([])))
      }
      logs[l].readers.removeAll { now >= $0.giveUpAt && !$0.isDue }
    }
    readers -= over.count
    return over
  }

  /// Nanoseconds until something is to be done that nobody asks for; 0: now.
  package func wait(queues: QueueDesk, now: Instant) -> Int64 {
    // The queues are opened first, and say when.
    if !isOpen { return .max }
    let rest = queues.rest(now)
    if isSated && readers > 0 { return rest }
    if replays.contains(where: { canGoOn($0, queues: queues) }) { return rest }
    var least = Int64.max
    for log in logs {
      if log.isStale { return rest }
      for group in log.row.groups where group.isActive && group.fed != nil && hasRoom(group.queue, queues: queues) {
        return rest
      }
      if readers > 0 { for reader in log.readers { least = min(least, max(0, reader.giveUpAt.since(now))) } }
    }
    return max(least, rest)
  }

  private func canGoOn(_ replay: Replay, queues: QueueDesk) -> Bool {
    replay.after >= replay.end || queues.indices[replay.group] == nil || hasRoom(replay.group, queues: queues)
  }

  func hasRoom(_ queue: String, queues: QueueDesk) -> Bool {
    guard let i = queues.indices[queue] else { return false }
    return queues.queues[i].isStale || queues.queues[i].delivery.hasRoom(for: 1, bytes: 0)
  }

  /// Whoever asked through it is gone; a replay goes on.
  package mutating func drop(connection: Int) {
    for l in logs.indices {
      let before = logs[l].readers.count
      logs[l].readers.removeAll { $0.asker.connection == connection }
      readers -= before - logs[l].readers.count
    }
  }

  /// What is wrong with this state, or nil.
  package func violation() -> String? {
    let count = logs.reduce(0) { $0 + $1.readers.count }
    if count != readers { return "\(count) wait and \(readers) are counted" }
    for log in logs where !log.isStale {
      let row = log.row
      if row.forgotten > row.last || row.bytes < 0 { return "\(row.declaration.name): \(row)" }
      for group in row.groups {
        if let fed = group.fed, fed >= row.last && group.isActive { return "\(group.queue) is behind at \(fed)" }
      }
    }
    return nil
  }

  private static func log(of request: StateRequest) -> String? {
    switch request {
    case .append(let log, _), .read(let log, _, _, _, _), .seek(let log, _), .lookLog(let log), .join(let log, _),
      .leave(let log, _), .replay(let log, _, _, _), .saveDocument(let log, _, _, _), .document(let log, _),
      .documents(let log, _, _):
      log
    default: nil
    }
  }
}
