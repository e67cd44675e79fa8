// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns
internal import WeirWire

/// Logs are declared and looked at; their groups come, go, catch up, and get entries again.
extension LogDesk {
  mutating func declare(
    _ declarations: [LogDeclaration], queues: inout QueueDesk, in table: any StateTransaction, _ isLowOnSpace: Bool,
    now: Instant
  ) throws -> StateReply {
    for declaration in declarations {
      if declaration.groups.contains(where: { queues.indices[$0.queue] == nil }) { return .unknownQueue }
      if isLowOnSpace && indices[declaration.name] == nil { return .failed(.full) }
      if declaration.forgetting == .streams && !declaration.groups.isEmpty {
        return .failed(refuseGroup(declaration.groups[0].queue, of: declaration.name))
      }
      for group in declaration.groups where !isFree(group.queue, for: declaration.name, beside: declarations) {
        return .failed(.taken)
      }
      if declaration.forgetting == .streams, let l = logs.firstIndex(where: { $0.feeds(declaration.name) }) {
        conflict = LogDesk.conflict(declaration.name, logs[l].row.declaration.name, "the journal of that name")
        return .failed(.taken)
      }
    }
    let at = QueueDesk.milliseconds(now)
    for declaration in declarations {
      var plain = declaration
      plain.groups = []
      let l: Int
      if let known = indices[declaration.name] {
        l = known
        if logs[l].row.declaration != plain {
          logs[l].isTouched = true
          _ = try table.saveLog(plain, at: at)
          logs[l].row.declaration = plain
        }
      } else {
        let number = try table.saveLog(plain, at: at)
        l = logs.count
        try add(LogRow(number: number, declaration: plain, declaredAt: at), in: table)
        logs[l].isTouched = true
      }
      for group in declaration.groups { try declare(group, l, in: table) }
      // Those that are no longer in the file keep their place, for the case that they come again.
      for g in logs[l].row.groups.indices {
        let group = logs[l].row.groups[g]
        if !group.isActive || group.isJoined || declaration.groups.contains(where: { $0.queue == group.queue }) {
          continue
        }
        logs[l].row.groups[g].isActive = false
        logs[l].row.groups[g].fed = group.fed ?? logs[l].row.last
        try save(g, l, in: table)
      }
    }
    return .declared
  }

  /// Whether a log may feed a queue: its entries' positions are ids there, so that nobody else may put anything into it.
  private mutating func isFree(_ queue: String, for log: String, beside declarations: [LogDeclaration] = []) -> Bool {
    let others =
      declarations.filter { $0.name != log && $0.groups.contains { $0.queue == queue } }.map(\.name)
      + logs.filter { $0.row.declaration.name != log && $0.feeds(queue) }.map(\.row.declaration.name)
    let isJournals = (logs.map(\.row.declaration) + declarations).contains {
      $0.name == queue && $0.forgetting == .streams
    }
    if !isJournals && others.isEmpty { return true }
    conflict = LogDesk.conflict(queue, log, others.first.map { "the log '\($0)'" } ?? "the saga of that name")
    return false
  }

  /// A journal forgets whole streams, which a group may still need.
  private mutating func refuseGroup(_ queue: String, of log: String) -> StateReply.Failure {
    conflict = "the log '\(log)' is a journal, which forgets what is over: it cannot feed the queue '\(queue)'"
    return .taken
  }

  private static func conflict(_ queue: String, _ log: String, _ other: String) -> String {
    "the log '\(log)' cannot feed the queue '\(queue)', which belongs to \(other): give one of them another name"
  }

  private mutating func declare(_ declared: LogGroup, _ l: Int, in table: any StateTransaction) throws {
    let row = logs[l].row
    if let g = row.groups.firstIndex(where: { $0.queue == declared.queue }) {
      let group = row.groups[g]
      if group.isActive && group.fromStart == declared.fromStart && !group.isJoined { return }
      logs[l].row.groups[g].isJoined = false
      logs[l].row.groups[g].fromStart = declared.fromStart
      return try goOn(g, l, in: table)
    }
    try begin(
      GroupRow(
        queue: declared.queue, fromStart: declared.fromStart, isJoined: false,
        fed: declared.fromStart && row.last > row.forgotten ? row.forgotten : nil), l, in: table)
  }

  /// A group is fed, from where it was.
  private mutating func goOn(_ g: Int, _ l: Int, in table: any StateTransaction) throws {
    logs[l].row.groups[g].isActive = true
    if let fed = logs[l].row.groups[g].fed, fed >= logs[l].row.last { logs[l].row.groups[g].fed = nil }
    try save(g, l, in: table)
  }

  private mutating func begin(_ group: GroupRow, _ l: Int, in table: any StateTransaction) throws {
    logs[l].row.groups.append(group)
    try save(logs[l].row.groups.count - 1, l, in: table)
  }

  private mutating func save(_ g: Int, _ l: Int, in table: any StateTransaction) throws {
    logs[l].isTouched = true
    try table.saveGroup(logs[l].row.number, logs[l].row.groups[g])
  }

  mutating func join(
    _ declaration: QueueDeclaration, _ l: Int, queues: inout QueueDesk, in table: any StateTransaction,
    _ isLowOnSpace: Bool, now: Instant
  ) throws -> StateReply {
    let known = logs[l].row.groups.firstIndex { $0.queue == declaration.name }
    if known == nil && logs[l].row.groups.count >= LogLimits.groupsMax { return .failed(.tooMany) }
    let own = logs[l].row.declaration.name
    if logs[l].row.declaration.forgetting == .streams { return .failed(refuseGroup(declaration.name, of: own)) }
    if known == nil {
      guard isFree(declaration.name, for: own) else { return .failed(.taken) }
      if queues.indices[declaration.name] != nil {
        conflict = LogDesk.conflict(declaration.name, own, "others: it was there before")
        return .failed(.taken)
      }
    }
    let reply = try queues.declare([declaration], in: table, isLowOnSpace, now: now)
    guard reply == .declared else { return reply }
    if let g = known {
      // The file had it, and has it no more: it is what has joined from now on.
      if !logs[l].row.groups[g].isActive {
        logs[l].row.groups[g].isJoined = true
        try goOn(g, l, in: table)
      }
    } else {
      try begin(GroupRow(queue: declaration.name, fromStart: false, isJoined: true, fed: nil), l, in: table)
    }
    return .declared
  }

  mutating func leave(_ group: String, _ l: Int, queues: inout QueueDesk, in table: any StateTransaction) throws
    -> StateReply
  {
    guard let g = logs[l].row.groups.firstIndex(where: { $0.queue == group && $0.isJoined }) else { return .steered(0) }
    logs[l].isTouched = true
    logs[l].row.groups.remove(at: g)
    try table.removeGroup(logs[l].row.number, queue: group)
    // A webhook that has changed its topic has a queue of the same name that the other one feeds.
    if !logs.contains(where: { $0.row.groups.contains { $0.queue == group } }) { try queues.end(group, in: table) }
    return .steered(1)
  }

  // MARK: Catching up

  /// Feeds groups that are behind, as far as their queues have room; how many entries it were.
  mutating func catchUp(
    _ l: Int, upTo most: Int, queues: inout QueueDesk, in table: any StateTransaction, now: Instant
  ) throws -> Int {
    var count = 0
    for g in logs[l].row.groups.indices {
      let group = logs[l].row.groups[g]
      guard group.isActive, let fed = group.fed, count < most, let i = queues.indices[group.queue] else { continue }
      try queues.build(i, in: table)
      guard queues.hasRoom(i) else { continue }
      let limit = most - count
      let entries = try table.entries(
        logs[l].row.number, after: max(fed, logs[l].row.forgotten), limit: limit, bytes: settings.pieceBytes)
      let reached = try queues.feed(entries, again: logs[l].row.number, i, in: table, now: now)
      count += reached.looked
      // Fewer than were asked for: these are all, whatever is not there any more.
      let isEnd = reached.isAll && entries.count < limit && reached.bytes < settings.pieceBytes
      let last = isEnd ? logs[l].row.last : max(fed, reached.last)
      logs[l].row.groups[g].fed = last >= logs[l].row.last ? nil : last
      try save(g, l, in: table)
    }
    return count
  }

  // MARK: Replay

  mutating func beginReplay(
    _ group: String, _ from: Int64, _ to: Int64?, _ l: Int, by asker: StateAsker, queues: QueueDesk
  ) -> StateReply? {
    let row = logs[l].row
    guard let known = row.groups.first(where: { $0.queue == group }), let i = queues.indices[group] else {
      return .unknownQueue
    }
    // The numbers of what it would hear again have passed: nothing of it would get there.
    if queues.queues[i].declaration.order?.sequence != nil { return .failed(.sorted) }
    // What it has yet to get comes in any case.
    let end = min(to ?? row.last, known.fed ?? row.last)
    if replays.count + newReplays.count >= settings.replaysMax { return .failed(.tooMany) }
    newReplays.append(
      Replay(asker: asker, log: l, group: group, after: max(max(from, 1) - 1, row.forgotten), end: end))
    return nil
  }

  /// Goes on with each replay whose group has room, one after the other.
  mutating func goOn(upTo most: Int, queues: inout QueueDesk, in table: any StateTransaction, now: Instant) throws {
    var left = most
    var next = replays
    for r in next.indices where left > 0 {
      let l = next[r].log
      guard let i = queues.indices[next[r].group] else {
        // It has left meanwhile.
        next[r].isOver = true
        continue
      }
      try queues.build(i, in: table)
      if next[r].after >= next[r].end {
        next[r].isOver = true
        continue
      }
      guard queues.hasRoom(i) else { continue }
      let entries = try table.entries(
        logs[l].row.number, after: max(next[r].after, logs[l].row.forgotten), limit: left, bytes: settings.pieceBytes
      ).filter { $0.position <= next[r].end }
      let reached = try queues.feed(entries, again: logs[l].row.number, i, in: table, now: now)
      left -= max(1, reached.looked)
      next[r].count += Int64(reached.count)
      next[r].after = max(next[r].after, reached.last)
      if entries.isEmpty || next[r].after >= next[r].end { next[r].isOver = true }
    }
    nextReplays = next
  }

  // MARK: Looking

  func look(_ l: Int, queues: QueueDesk, in table: any StateTransaction, now: Instant) throws -> LogCounts {
    let log = logs[l]
    var counts = LogCounts()
    counts.first = try table.next(log.row.number, after: log.row.forgotten)?.position ?? log.row.last + 1
    counts.last = log.row.last
    counts.bytes = log.row.bytes
    counts.refused = log.refused
    counts.readers = Int64(log.readers.count)
    counts.declaredAt = log.row.declaredAt
    for group in log.row.groups where group.isActive {
      guard let i = queues.indices[group.queue] else { continue }
      var of = GroupCounts(name: group.queue)
      // What is forgotten before a group has got it never comes: a group that was out of the file for long.
      let fed = max(group.fed ?? log.row.last, log.row.forgotten)
      of.counts = try queues.counts(i, in: table, now: now)
      of.lag = of.counts.waiting + of.counts.delayed + of.counts.inFlight + log.row.last - fed
      of.position = try table.firstLive(queue: queues.queues[i].number).map { $0 - 1 } ?? fed
      counts.groups.append(of)
    }
    return counts
  }
}
