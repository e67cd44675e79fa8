// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirPatterns
internal import WeirWire

/// Messages come, are handed out, and are settled.
extension QueueDesk {
  /// Takes all or none.
  ///
  /// An id that is here is the same message as long as it is alive, and for `dedup` after it was accepted.
  mutating func enqueue(
    _ messages: [NewMessage], _ i: Int, in table: any QueueTable, _ isLowOnSpace: Bool, now: Instant
  ) throws -> StateReply {
    let number = queues[i].number
    let declaration = queues[i].declaration
    let at = QueueDesk.milliseconds(now)
    var answers: [Enqueued] = []
    var fresh: [NewMessage] = []
    var unnamed: [Int64] = []
    var ids: Set<[UInt8]> = []
    var bytes = 0
    for message in messages {
      var isDuplicate = !ids.insert(message.id).inserted
      if !isDuplicate, let known = try table.known(number, id: message.id) {
        let isAlive = known.state == .waiting || known.state == .inFlight
        isDuplicate = isAlive || known.enqueuedAt.adding(declaration.dedup) > at
        if !isDuplicate { unnamed.append(known.sequence) }
      }
      answers.append(Enqueued(id: message.id, isDuplicate: isDuplicate))
      if !isDuplicate {
        fresh.append(message)
        bytes += message.fields.count + message.body.count
      }
    }
    if fresh.isEmpty { return .enqueued(answers) }
    if isLowOnSpace { return .failed(.full) }
    queues[i].isTouched = true
    if case .full(let retryAfter) = queues[i].delivery.room(for: fresh.count, bytes: bytes, now: now) {
      return .queueFull(retryAfter: (max(1, retryAfter) - 1) / 1_000_000 + 1)
    }
    for sequence in unnamed { try table.unname(sequence) }
    try takeNumbers(fresh.count, in: table)
    for message in fresh {
      let due = max(message.notBefore, at)
      let live = LiveMessage(
        sequence: numbers.lowerBound, key: message.key, tenant: message.tenant, priority: message.priority,
        bytes: Int64(message.fields.count + message.body.count), enqueuedAt: at, dueAt: due,
        expiresAt: due.adding(message.keep ?? declaration.keep))
      numbers = numbers.lowerBound + 1..<numbers.upperBound
      guard case .accepted = queues[i].delivery.offer(QueueDesk.entry(live), now: now) else {
        throw StateStoreError.broken("a queue that had room has none")
      }
      try table.insert(message, live, queue: number)
    }
    return .enqueued(answers)
  }

  mutating func takeNumbers(_ count: Int, in table: any QueueTable) throws {
    if numbers.count >= count { return }
    let count = max(settings.numbersAtOnce, Int64(count))
    let first = try table.takeSequences(count)
    numbers = first..<first + count
  }

  /// Puts a log's entries into the queue of one of its groups, whether there is room or not: sorted, or as they come.
  mutating func feed(_ entries: [LogEntry], of log: Int64, _ i: Int, in table: any QueueTable, now: Instant) throws {
    if queues[i].sorter == nil {
      try put(entries, of: log, i, in: table, now: now)
    } else {
      try sort(entries, of: log, i, in: table, now: now)
    }
  }

  mutating func put(_ entries: [LogEntry], of log: Int64, _ i: Int, in table: any QueueTable, now: Instant) throws {
    queues[i].isTouched = true
    let at = QueueDesk.milliseconds(now)
    try takeNumbers(entries.count, in: table)
    for entry in entries {
      let live = LiveMessage(
        sequence: numbers.lowerBound, key: entry.key, tenant: [], priority: QueueLimits.priorityUsual,
        bytes: entry.payload, enqueuedAt: at, dueAt: at, expiresAt: at.adding(queues[i].declaration.keep))
      numbers = numbers.lowerBound + 1..<numbers.upperBound
      queues[i].delivery.restore(QueueDesk.entry(live), now: now)
      try table.insert(entry, live, log: log, queue: queues[i].number)
    }
  }

  /// What of some entries was put into a queue again.
  struct Fed {
    /// So many are in it now that were not.
    var count = 0
    var looked = 0
    var bytes = 0
    /// The last that was looked at.
    var last: Int64 = 0
    /// There was room for all of them.
    var isAll = true
  }

  /// Puts entries into a group's queue of which some may be there: those that live in it stay as they are.
  mutating func feed(_ entries: [LogEntry], again log: Int64, _ i: Int, in table: any QueueTable, now: Instant) throws
    -> Fed
  {
    queues[i].isTouched = true
    var fed = Fed()
    for entry in entries {
      // As large as the last one may be: it is known before it is read whether there is room.
      if !hasRoom(i) {
        fed.isAll = false
        break
      }
      fed.looked += 1
      fed.bytes += Int(entry.payload)
      fed.last = entry.position
      if let known = try table.known(queues[i].number, id: Array(String(entry.position).utf8)) {
        switch known.state {
        case .waiting, .inFlight: continue
        case .done, .dropped: try table.unname(known.sequence)
        case .dead:
          // It is tried again, so it is not given up any more.
          _ = try table.remove(known.sequence, queue: queues[i].number)
          queues[i].dead -= 1
        }
      }
      try feed([entry], of: log, i, in: table, now: now)
      fed.count += 1
    }
    return fed
  }

  /// A queue is no more: its name is free, who waits for its messages is told.
  mutating func end(_ name: String, in table: any QueueTable) throws {
    guard let i = indices[name] else { return }
    try table.setGone(queues[i].number)
    queues[i].isTouched = true
    queues[i].isEnding = true
    indices[name] = nil
    queues[i].delivery = DeliveryQueue()
    queues[i].sorter = nil
    for waiter in queues[i].waiters[queues[i].served...] { replies.append((waiter.asker, .unknownQueue)) }
    queues[i].served = queues[i].waiters.count
  }

  /// Leases whose answer has not left: as if nobody had asked; false: not now, they are to be said again.
  ///
  /// After a failure an index that is stale is not built again for a while, and what is in its flight is not known.
  package mutating func takeBack(
    _ leases: [(sequence: Int64, attempt: UInt16)], in table: any QueueTable, now: Instant, wall: WallTime
  ) throws -> Bool {
    if isResting(now) { return false }
    let time = clock(wall, now)
    for lease in leases {
      guard let known = try table.known(lease.sequence),
        let i = queues.firstIndex(where: { $0.number == known.queue })
      else { continue }
      try build(i, in: table)
      queues[i].isTouched = true
      let settled = queues[i].delivery.giveBack(lease.sequence, attempt: lease.attempt, now: time)
      _ = try record(settled, lease.sequence, i, in: table, now: time)
    }
    return true
  }

  /// Up to `max`, and up to as many bytes as an answer may have.
  mutating func lease(_ max: Int, _ visibility: Int64?, _ i: Int, in table: any QueueTable, now: Instant) throws
    -> [LeasedMessage]
  {
    var messages: [LeasedMessage] = []
    var bytes = 0
    var leased: [DeliveryQueue.Leased] = []
    let length = visibility.map { min($0, Int64.max / 1_000_000) * 1_000_000 }
    while messages.count < max && bytes < QueueLimits.leasedBytesMax {
      if leasedBytes >= settings.leasedBytesMax {
        isSated = true
        break
      }
      leased.removeAll(keepingCapacity: true)
      queues[i].delivery.lease(1, for: length, now: now, into: &leased)
      guard let one = leased.first else { break }
      queues[i].isTouched = true
      let until = QueueDesk.milliseconds(one.until)
      try table.saveLease(one.id, attempt: one.attempt, until: until)
      guard let payload = try table.payload(one.id) else {
        // Somebody has been at the database: one message is worked on by nobody, the others go on.
        let at = QueueDesk.milliseconds(now)
        _ = queues[i].delivery.remove(one.id)
        try table.saveAttempt(
          one.id, AttemptView(attempt: one.attempt, at: at, latency: 0, status: 0, error: "its payload is gone"))
        try table.saveDead(
          one.id, .refused, at: at, keepsBody: false, dedup: queues[i].declaration.dedup,
          forgetAt: at.adding(settings.statusKeep))
        continue
      }
      let message = payload.message
      leasedBytes += message.fields.count + message.body.count
      bytes += message.fields.count + message.body.count
      messages.append(
        LeasedMessage(
          sequence: one.id, attempt: one.attempt, until: until, enqueuedAt: payload.enqueuedAt, message: message,
          entry: payload.entry))
    }
    return messages
  }

  mutating func settle(_ settlements: [Settlement], _ i: Int, in table: any QueueTable, now: Instant) throws
    -> [SettleResult]
  {
    queues[i].isTouched = true
    return try settlements.map { try settle($0, i, in: table, now: now) }
  }

  private mutating func settle(_ settlement: Settlement, _ i: Int, in table: any QueueTable, now: Instant) throws
    -> SettleResult
  {
    let id = settlement.sequence
    let attempt = settlement.attempt
    let at = QueueDesk.milliseconds(now)
    switch settlement.verdict {
    case .ack(let result):
      if case .done = queues[i].delivery.ack(id, attempt: attempt, now: now) {
        try table.saveDone(
          id, result: result, at: at, dedup: queues[i].declaration.dedup, forgetAt: at.adding(settings.statusKeep))
        return .done
      }
      // Said twice: the first answer was lost on its way.
      guard let known = try table.known(id), known.queue == queues[i].number else { return .lost }
      return known.state == .done && known.attempts == attempt ? .done : .lost
    case .nack(let error, let status, let latency, let retryAfter, let isFinal):
      let wait = retryAfter.map { min($0, Int64.max / 1_000_000) * 1_000_000 }
      let settled = queues[i].delivery.nack(
        id, attempt: attempt, retryAfter: wait, isFinal: isFinal, now: now, using: &random)
      if settled != .lost {
        try table.saveAttempt(
          id, AttemptView(attempt: attempt, at: at, latency: latency, status: status, error: error))
      }
      return try record(settled, id, i, in: table, now: now)
    case .extend(let by):
      let settled = queues[i].delivery.extend(
        id, attempt: attempt, by: min(by, Int64.max / 1_000_000) * 1_000_000, now: now)
      if case .extended(let until) = settled {
        try table.saveLease(id, attempt: attempt, until: QueueDesk.milliseconds(until))
      }
      return try record(settled, id, i, in: table, now: now)
    case .giveBack:
      return try record(queues[i].delivery.giveBack(id, attempt: attempt, now: now), id, i, in: table, now: now)
    case .postpone(let by):
      let settled = queues[i].delivery.postpone(
        id, attempt: attempt, by: min(by, Int64.max / 1_000_000) * 1_000_000, now: now)
      if case .retry(let due) = settled {
        let dueAt = QueueDesk.milliseconds(due)
        try table.savePostponed(id, at: dueAt)
        return .retry(at: dueAt)
      }
      return try record(settled, id, i, in: table, now: now)
    }
  }

  /// Writes down where a message has gone by a failure, by time, or by being given back.
  mutating func record(
    _ settled: DeliveryQueue.Settled, _ id: Int64, _ i: Int, as death: MessageDeath? = nil, in table: any QueueTable,
    now: Instant
  ) throws -> SettleResult {
    let at = QueueDesk.milliseconds(now)
    let declaration = queues[i].declaration
    switch settled {
    case .retry(let due):
      let dueAt = QueueDesk.milliseconds(due)
      try table.saveRetry(id, at: dueAt)
      return .retry(at: dueAt)
    case .dead(let reason):
      let keep = declaration.keepsDead ? declaration.keep : settings.statusKeep
      try table.saveDead(
        id, death ?? QueueDesk.death(reason), at: at, keepsBody: declaration.keepsDead, dedup: declaration.dedup,
        forgetAt: at.adding(keep))
      if declaration.keepsDead { queues[i].dead += 1 }
      return .dead
    case .givenBack:
      try table.saveGivenBack(id)
      return .givenBack
    case .extended(let until): return .extended(until: QueueDesk.milliseconds(until))
    case .done: return .done
    case .lost: return .lost
    }
  }

  private static func death(_ reason: DeliveryQueue.DeadReason) -> MessageDeath {
    switch reason {
    case .attempts: .attempts
    case .expired: .expired
    case .refused: .refused
    }
  }
}
