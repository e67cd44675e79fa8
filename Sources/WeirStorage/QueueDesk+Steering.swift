// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirPatterns
internal import WeirWire

/// Queues are declared, looked at and steered.
extension QueueDesk {
  mutating func declare(
    _ declarations: [QueueDeclaration], in table: any QueueTable, _ isLowOnSpace: Bool, now: Instant
  ) throws -> StateReply {
    for declaration in declarations {
      let at = QueueDesk.milliseconds(now)
      if let i = indices[declaration.name] {
        if queues[i].declaration == declaration { continue }
        queues[i].isTouched = true
        _ = try table.saveQueue(declaration, at: at)
        let before = queues[i].declaration.order
        queues[i].declaration = declaration
        queues[i].delivery.change(to: QueueDesk.settings(declaration), now: now)
        try changeOrder(i, from: before, in: table, now: now)
      } else {
        if isLowOnSpace { return .failed(.full) }
        let number = try table.saveQueue(declaration, at: at)
        add(QueueRow(number: number, declaration: declaration, isPaused: false))
        queues[queues.count - 1].isTouched = true
        queues[queues.count - 1].isStale = false
        queues[queues.count - 1].sorter = declaration.order.map { GroupSorter($0) }
      }
    }
    return .declared
  }

  mutating func look(_ look: QueueLook, _ i: Int, in table: any QueueTable, now: Instant) throws -> StateReply {
    let at = QueueDesk.milliseconds(now)
    switch look {
    case .counts: return .counts(try counts(i, in: table, now: now))
    case .message(let id): return .message(try table.view(queues[i].number, id: id, now: at))
    case .list(let state, let after, let limit):
      return .messages(try table.views(queues[i].number, state, after: after, limit: Int(limit), now: at))
    }
  }

  func counts(_ i: Int, in table: any QueueTable, now: Instant) throws -> QueueCounts {
    let readings = queues[i].delivery.readings
    var counts = QueueCounts()
    counts.waiting = Int64(readings.waiting)
    counts.delayed = Int64(readings.delayed)
    counts.inFlight = Int64(readings.inFlight)
    counts.dead = queues[i].dead
    counts.blocked = Int64(readings.blocked)
    counts.retrying = Int64(readings.retrying)
    counts.bytes = Int64(readings.bytes)
    counts.oldest = readings.oldest.map { max(0, QueueDesk.milliseconds(now) - QueueDesk.milliseconds($0)) }
    counts.isPaused = queues[i].delivery.isPaused
    counts.pollers = Int64(queues[i].waiters.count)
    counts.declaredAt = try table.declaredAt(queues[i].number)
    if let sorter = queues[i].sorter {
      counts.order = sorter.readings
      counts.delayed += Int64(sorter.kept.count)
    }
    return counts
  }

  mutating func steer(
    _ steer: QueueSteer, _ i: Int, by asker: StateAsker, in table: any QueueTable, now: Instant
  ) throws -> StateReply? {
    queues[i].isTouched = true
    switch steer {
    case .pause, .resume:
      let pauses = steer == .pause
      try table.setPaused(queues[i].number, pauses)
      queues[i].delivery.isPaused = pauses
      return .steered(0)
    case .redrive(let sequences) where !sequences.isEmpty:
      var count: Int64 = 0
      for sequence in sequences where try redrive(sequence, i, in: table, now: now) == .redriven { count += 1 }
      return .steered(count)
    case .remove(let sequences):
      var count: Int64 = 0
      for sequence in sequences where try remove(sequence, i, in: table) { count += 1 }
      return .steered(count)
    case .redrive: return try begin(.redrive, i, by: asker, in: table)
    case .purge(let all): return try begin(all ? .purgeLive : .purgeDead, i, by: asker, in: table)
    }
  }

  private mutating func begin(_ kind: Job.Kind, _ i: Int, by asker: StateAsker, in table: any QueueTable) throws
    -> StateReply?
  {
    if jobs.count + newJobs.count >= QueueDesk.jobsMax { return .failed(.tooMany) }
    // What comes from now on has higher numbers.
    if numbers.isEmpty {
      let first = try table.takeSequences(settings.numbersAtOnce)
      numbers = first..<first + settings.numbersAtOnce
    }
    newJobs.append(Job(asker: asker, queue: i, kind: kind, end: numbers.lowerBound))
    return nil
  }

  /// Orders that wait for their turn.
  private static let jobsMax = 64

  /// A piece of what was ordered.
  mutating func go(on job: inout Job, in table: any QueueTable, now: Instant) throws {
    let i = job.queue
    queues[i].isTouched = true
    let sequences = try table.sequences(
      queues[i].number, dead: job.kind != .purgeLive, after: job.after, before: job.end, limit: settings.piece)
    for sequence in sequences {
      // Those that are purged are not there any more, the living in no order.
      if job.kind == .redrive { job.after = sequence }
      switch job.kind {
      case .redrive:
        switch try redrive(sequence, i, in: table, now: now) {
        case .redriven: job.count += 1
        case .notDead: break
        case .full:
          job.isOver = true
          return
        }
      case .purgeLive, .purgeDead: if try remove(sequence, i, in: table) { job.count += 1 }
      }
    }
    if sequences.count == settings.piece { return }
    if job.kind == .purgeLive {
      job.kind = .purgeDead
      job.after = 0
    } else {
      job.isOver = true
    }
  }

  private enum Redriven { case redriven, notDead, full }

  /// It waits again, behind those of its key that have been tried, and in its own place before those that have not.
  private mutating func redrive(_ sequence: Int64, _ i: Int, in table: any QueueTable, now: Instant) throws -> Redriven
  {
    if case .full = queues[i].delivery.room(for: 1, bytes: 0, now: now) { return .full }
    let at = QueueDesk.milliseconds(now)
    let keep = queues[i].declaration.keep
    guard let live = try table.redrive(sequence, queue: queues[i].number, at: at, keep: keep) else { return .notDead }
    // The bytes are taken in any case: it is here already.
    queues[i].delivery.restore(QueueDesk.entry(live), now: now)
    queues[i].dead -= 1
    return .redriven
  }

  private mutating func remove(_ sequence: Int64, _ i: Int, in table: any QueueTable) throws -> Bool {
    guard let known = try table.remove(sequence, queue: queues[i].number) else { return false }
    if known.state == .dead { queues[i].dead -= 1 }
    _ = queues[i].delivery.remove(sequence)
    queues[i].sorter?.kept[sequence] = nil
    return true
  }
}
