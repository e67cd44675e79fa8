// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirPatterns
internal import WeirWire

/// Entries are appended and read.
extension LogDesk {
  /// Takes all or none; each one is in the queues of the groups with it.
  ///
  /// An id that the log has is the same entry, whatever else is said: a request that was sent twice is answered as it was the
  /// first time. What is only looked at (`reads`) counts when anything is new.
  mutating func append(
    _ entries: [NewEntry], _ l: Int, queues: inout QueueDesk, in table: any StateTransaction, _ isLowOnSpace: Bool,
    now: Instant, real: Instant
  ) throws -> StateReply {
    let number = logs[l].row.number
    let last = logs[l].row.last
    let at = max(QueueDesk.milliseconds(now), logs[l].lastAt)
    var answers: [Appended] = []
    var fresh: [LogEntry] = []
    var ids: [[UInt8]: Int] = [:]
    var versions: [[UInt8]: Int64] = [:]
    var conflict: StateReply?
    var bytes: Int64 = 0
    for (index, entry) in entries.enumerated() {
      if !entry.reads {
        if let first = ids[entry.id] {
          answers.append(
            Appended(position: answers[first].position, version: answers[first].version, isDuplicate: true))
          continue
        }
        ids[entry.id] = index
        if let known = try table.appended(number, id: entry.id) {
          answers.append(known)
          continue
        }
      }
      var version: Int64 = 0
      if !entry.key.isEmpty {
        version = try versions[entry.key] ?? table.version(number, key: entry.key)
        if let expected = entry.expected, expected != version, conflict == nil {
          conflict = .conflict(index: UInt16(clamping: index), version: version)
        }
        if !entry.reads { version += 1 }
        versions[entry.key] = version
      }
      if entry.reads {
        answers.append(Appended(position: 0, version: version, isDuplicate: false))
        continue
      }
      let position = last + Int64(fresh.count) + 1
      answers.append(Appended(position: position, version: version, isDuplicate: false))
      fresh.append(
        LogEntry(
          position: position, version: version, at: at, id: entry.id, key: entry.key, type: entry.type,
          fields: entry.fields, body: entry.body))
      bytes += fresh[fresh.count - 1].payload
    }
    if fresh.isEmpty {
      // Only looked at, nothing to append: what was expected is all there is to say.
      let isOnlyLook = entries.allSatisfy(\.reads)
      return isOnlyLook ? conflict ?? .appended(answers) : .appended(answers)
    }
    if let conflict { return conflict }
    // A journal is of what is under way: it must be able to end, and what would begin anew is a message, which is refused.
    if isLowOnSpace && logs[l].row.declaration.forgetting != .streams { return .failed(.full) }
    logs[l].isTouched = true
    var fed: [Int] = []
    var behind: [Int] = []
    for g in logs[l].row.groups.indices {
      let group = logs[l].row.groups[g]
      guard group.isActive, group.fed == nil, let i = queues.indices[group.queue] else { continue }
      if queues.queues[i].isStale && queues.isResting(real) { return .failed(failure) }
      try queues.build(i, in: table)
      if group.fromStart {
        if queues.queues[i].delivery.hasRoom(for: fresh.count, bytes: Int(bytes)) {
          fed.append(i)
        } else {
          behind.append(g)
        }
      } else if case .full(let after) = queues.room(i, for: fresh.count, bytes: Int(bytes), now: now) {
        queues.queues[i].isTouched = true
        logs[l].refused += 1
        return .queueFull(retryAfter: (max(1, after) - 1) / 1_000_000 + 1)
      } else {
        fed.append(i)
      }
    }
    for entry in fresh { try table.insert(entry, log: number) }
    for i in fed { try queues.feed(fresh, of: number, i, in: table, now: now) }
    for g in behind {
      logs[l].row.groups[g].fed = last
      try table.saveGroup(number, logs[l].row.groups[g])
    }
    logs[l].row.last = last + Int64(fresh.count)
    logs[l].row.bytes += bytes
    logs[l].lastAt = at
    try table.saveEnd(number, last: logs[l].row.last, bytes: logs[l].row.bytes)
    for r in logs[l].readers.indices where !logs[l].readers[r].isDue {
      let reader = logs[l].readers[r]
      if let key = reader.key {
        if let version = versions[key], version > reader.after { logs[l].readers[r].isDue = true }
      } else if logs[l].row.last > reader.after {
        logs[l].readers[r].isDue = true
      }
    }
    return .appended(answers)
  }

  mutating func read(_ reader: Reader, _ l: Int, in table: any LogTable) throws -> [LogEntry] {
    if readBytes >= settings.readBytesMax {
      isSated = true
      return []
    }
    let row = logs[l].row
    let entries: [LogEntry]
    if let key = reader.key {
      entries = try table.entries(
        row.number, key: key, after: reader.after, behind: row.forgotten, limit: reader.limit,
        bytes: LogLimits.readBytesMax)
    } else {
      let after = max(reader.after, row.forgotten)
      if after >= row.last { return [] }
      entries = try table.entries(row.number, after: after, limit: reader.limit, bytes: LogLimits.readBytesMax)
    }
    for entry in entries { readBytes += Int(entry.payload) }
    return entries
  }

  /// Entries lie in the order of their time, so halving finds the first one.
  func seek(_ time: Int64, _ l: Int, in table: any LogTable) throws -> Int64 {
    let row = logs[l].row
    var low = row.forgotten
    var high = row.last + 1
    // Above `low` all are looked for; `high` is late enough, or behind the end.
    while high - low > 1 {
      let middle = low + (high - low) / 2
      guard let next = try table.next(row.number, after: middle - 1), next.position < high else {
        high = middle
        continue
      }
      if next.at >= time { high = middle } else { low = next.position }
    }
    // Where entries are missing in between, the first that is there.
    return try table.next(row.number, after: high - 1)?.position ?? row.last + 1
  }

  // MARK: Documents

  mutating func save(
    _ key: [UInt8], _ body: [UInt8], _ expected: Int64?, _ l: Int, in table: any LogTable, _ isLowOnSpace: Bool
  ) throws -> StateReply {
    let number = logs[l].row.number
    if let expected {
      let version = try table.document(number, key: key)?.version ?? 0
      if version != expected { return .conflict(index: 0, version: version) }
    }
    if isLowOnSpace && !body.isEmpty { return .failed(.full) }
    return .saved(version: try table.saveDocument(number, key: key, body: body))
  }

  // MARK: Forgetting

  /// A piece of what is to be forgotten in each log; how many entries were looked at in the one with the most.
  ///
  /// In a transaction of its own, which ends with `commit` or `undo` as any other.
  package mutating func forget(in table: any StateTransaction, queues: QueueDesk, limit: Int, wall: WallTime) throws
    -> Int
  {
    if !isOpen { return 0 }
    var most = 0
    for l in logs.indices where !logs[l].isStale {
      let count =
        switch logs[l].row.declaration.forgetting {
        case .entries: try forgetEntries(l, in: table, limit: limit, now: wall.milliseconds)
        case .streams: try forgetStreams(l, in: table, queues: queues, limit: limit, now: wall.milliseconds)
        }
      most = max(most, count)
    }
    return most
  }

  /// The oldest go that are too old or too many; those that a message needs cannot be read any more, and go after it.
  private mutating func forgetEntries(_ l: Int, in table: any LogTable, limit: Int, now: Int64) throws -> Int {
    let row = logs[l].row
    let declaration = row.declaration
    var forgotten = row.forgotten
    var bytes = row.bytes
    var count = 0
    // Looked at one first: mostly there is nothing to do.
    if let next = try table.next(row.number, after: forgotten), isOver(next.at, bytes, declaration, now) {
      // What a group has yet to get stays.
      let end = row.groups.reduce(row.last) { $1.isActive ? min($0, $1.fed ?? row.last) : $0 }
      for entry in try table.keeping(row.number, after: forgotten, through: end, limit: limit) {
        if !isOver(entry.at, bytes, declaration, now) { break }
        count += 1
        bytes -= entry.bytes
        forgotten = entry.position
        if !entry.isNeeded { try table.remove(row.number, position: entry.position) }
      }
    }
    if forgotten > row.forgotten {
      logs[l].isTouched = true
      logs[l].row.forgotten = forgotten
      logs[l].row.bytes = max(0, bytes)
      try table.saveForgotten(row.number, forgotten, bytes: logs[l].row.bytes)
    }
    // Those that were needed when their time came, in turn.
    let held = try table.keeping(row.number, after: logs[l].swept, through: row.forgotten, limit: limit)
    for entry in held where !entry.isNeeded { try table.remove(row.number, position: entry.position) }
    logs[l].swept = held.count == limit ? held[held.count - 1].position : 0
    return count
  }

  /// Whether the oldest entry is too old, or there is too much.
  private func isOver(_ at: Int64, _ bytes: Int64, _ declaration: LogDeclaration, _ now: Int64) -> Bool {
    if let keep = declaration.keep, at.adding(keep) <= now { return true }
    if let most = declaration.bytes, bytes > most { return true }
    return false
  }

  /// Whole streams go whose last entry is too old, unless a message has their name: an instance that is not over.
  private mutating func forgetStreams(
    _ l: Int, in table: any StateTransaction, queues: QueueDesk, limit: Int, now: Int64
  ) throws -> Int {
    let row = logs[l].row
    guard let keep = row.declaration.keep else { return 0 }
    let own = queues.indices[row.declaration.name].map { queues.queues[$0].number }
    guard let next = try table.next(row.number, after: logs[l].swept), next.at.adding(keep) <= now else {
      logs[l].swept = 0
      return 0
    }
    let entries = try table.keeping(row.number, after: logs[l].swept, through: row.last, limit: limit)
    var looked = 0
    var bytes: Int64 = 0
    var after = logs[l].swept
    var isAtEnd = entries.count < limit
    for entry in entries {
      if entry.at.adding(keep) > now {
        isAtEnd = true
        break
      }
      looked += 1
      after = entry.position
      if entry.isNeeded { continue }
      if entry.key.isEmpty {
        try table.remove(row.number, position: entry.position)
        bytes += entry.bytes
        continue
      }
      guard try table.isNewest(row.number, key: entry.key, version: entry.version) else { continue }
      if let own, let known = try table.known(own, id: entry.key), known.state != .done, known.state != .dropped {
        continue
      }
      let removed = try table.removeStream(row.number, key: entry.key, limit: limit)
      bytes += removed.bytes
      if removed.count == limit {
        // Its last is removed last: there may be more of it.
        after = entry.position - 1
        isAtEnd = false
        looked = limit
        break
      }
    }
    logs[l].swept = isAtEnd ? 0 : after
    if bytes > 0 {
      logs[l].isTouched = true
      logs[l].row.bytes = max(0, row.bytes - bytes)
      try table.saveEnd(row.number, last: row.last, bytes: logs[l].row.bytes)
    }
    return looked
  }
}
