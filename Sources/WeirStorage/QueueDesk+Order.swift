// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirFlows
internal import WeirPatterns
internal import WeirWire

/// Sorts the events of a group before they are in its queue: each once, in the order of the numbers that they carry.
///
/// The simulator sorts what was leased (``SortedDelivery``), which is right where nothing is ever forgotten. Here it is done
/// when an event gets to the group, in the transaction in which it is appended, and for three reasons. What was handed on is
/// written down with the handing on, so no crash of a plane or of the state process can make a stream go back, or a copy
/// pass for the first. Who is early holds no lease, nor a place of `at-once`. And what comes out is a queue whose order by
/// key *is* the order in which things happened, so it is right however the events are taken: brought, fetched, tried again.
/// Who decides is the same: ``Sequencer``, and ``SortedDelivery/answer(_:tellsCopies:)``.
///
///     entry ─▶ its name came before, within the window ─▶ left out, done
///         ├──▶ its number is next ─▶ into the queue, and those that were kept behind it
///         ├──▶ early ─▶ kept: a message that nobody gets ──its turn─▶ into the queue, as the last of its key
///         ├──▶ early, and no room to keep it in order ─▶ kept, and looked at again every second
///         └──▶ its number has passed ─▶ dead (`late`), or left out where copies are not told apart
///
/// The sequencer in memory has only streams in which something is missing; all others are rows. After a failure it is built
/// again from the rows, as the queue's index is.
struct GroupSorter {
  var order: GroupOrder
  var sequencer: Sequencer?
  /// Those that are kept, by their message.
  var kept: [Int64: KeptEvent] = [:]
  /// Of them those that the sequencer has no room for, in the order in which they came.
  var refused: [Int64] = []
  var lookAgainAt = Instant.distantFuture
  var counts = OrderCounts()

  init(_ order: GroupOrder) {
    self.order = order
    sequencer = order.sequence.map { sequence in
      var settings = Sequencer.Settings()
      settings.wait = .milliseconds(sequence.wait)
      settings.atGap = sequence.stops ? .stop : .skip
      return Sequencer(settings)
    }
  }

  var nextWake: Instant { min(sequencer?.nextWake ?? .distantFuture, lookAgainAt) }

  /// How often it is looked whether there is room for those that found none.
  static let again = Duration.seconds(1)
  /// Longer names are none: nothing is told apart by them.
  static let nameBytesMax = 256

  var readings: OrderCounts {
    var readings = counts
    readings.keeping = Int64(kept.count)
    readings.gaps = Int64(sequencer?.gapCount ?? 0)
    return readings
  }
}

extension QueueDesk {
  /// Whether there is room for so many; what is kept until its turn is in the queue, too.
  mutating func room(_ i: Int, for count: Int, bytes: Int, now: Instant) -> DeliveryQueue.Offer {
    queues[i].delivery.room(for: count + (queues[i].sorter?.kept.count ?? 0), bytes: bytes, now: now)
  }

  func hasRoom(_ i: Int) -> Bool {
    queues[i].delivery.hasRoom(for: 1 + (queues[i].sorter?.kept.count ?? 0), bytes: 0)
  }

  // MARK: Events come

  /// Puts a log's entries into the queue of a group, each once and in its turn.
  mutating func sort(_ entries: [LogEntry], of log: Int64, _ i: Int, in table: any QueueTable, now: Instant) throws {
    guard let order = queues[i].sorter?.order else { return try put(entries, of: log, i, in: table, now: now) }
    queues[i].isTouched = true
    let number = queues[i].number
    let at = QueueDesk.milliseconds(now)
    for entry in entries {
      var facts = EventFacts(fields: entry.fields, body: entry.body)
      var name: [UInt8] = []
      if let dedup = order.dedup {
        name = dedup.by.map { facts.text($0).map { Array($0.utf8) } ?? [] } ?? entry.id
        if name.count > GroupSorter.nameBytesMax { name = [] }
        if !name.isEmpty {
          // By when they were appended: those that are heard again are judged as they were.
          let first = try table.first(number, named: name)
          if let first, first.position < entry.position, first.at.adding(dedup.within) > entry.at,
            try !isDead(first.position, number, in: table)
          {
            try leaveOut(entry, of: log, i, as: .copy(of: first.position), in: table, now: now)
            continue
          }
          if first.map({ $0.position < entry.position }) ?? true {
            try table.saveFirst(number, named: name, position: entry.position, at: entry.at)
          }
        }
      }
      guard let sequence = order.sequence, !entry.key.isEmpty, let place = facts.number(sequence.by) else {
        try put([entry], of: log, i, in: table, now: now)
        continue
      }
      try takeNumbers(1, in: table)
      let event = KeptEvent(
        stream: entry.key, number: place, position: entry.position, since: at, name: name)
      var ready: [Sequencer.Ready] = []
      let token = numbers.lowerBound
      switch try offer(event, token, i, into: &ready, in: table, now: now) {
      case .delivered:
        // It is the first of them.
        try put([entry], of: log, i, in: table, now: now)
        try release(ready.dropFirst(), i, in: table, now: now)
        try note(entry.key, i, in: table, at: at)
      case .kept: try keep(entry, event, of: log, i, isRefused: false, in: table, now: now)
      case .full, .tooManyStreams: try keep(entry, event, of: log, i, isRefused: true, in: table, now: now)
      case .duplicate:
        let word = SortedDelivery.answer(.duplicate, tellsCopies: order.dedup != nil)
        if word == .late, !name.isEmpty { try table.forgetFirst(number, named: name) }
        try leaveOut(entry, of: log, i, as: word == .late ? .late : .passed, in: table, now: now)
      }
    }
    try table.saveOrderCounts(number, queues[i].sorter?.counts ?? OrderCounts())
  }

  private mutating func offer(
    _ event: KeptEvent, _ token: Int64, _ i: Int, into ready: inout [Sequencer.Ready], in table: any QueueTable,
    now: Instant
  ) throws -> Sequencer.Answer {
    let stream = QueueDesk.hash(event.stream)
    if queues[i].sorter?.sequencer?.position(of: stream) == nil,
      let next = try table.next(queues[i].number, stream: event.stream)
    {
      guard queues[i].sorter?.sequencer?.restore(stream, position: next) == true else { return .tooManyStreams }
    }
    let answer =
      queues[i].sorter?.sequencer?.offer(event.number, of: stream, token: token, now: now, into: &ready) ?? .full
    // Of a stream in which nothing is missing all that is to be known is in its row.
    if answer == .duplicate, queues[i].sorter?.sequencer?.isWaiting(stream) == false {
      queues[i].sorter?.sequencer?.forget(stream)
    }
    return answer
  }

  /// Where a stream is now.
  private mutating func note(_ key: [UInt8], _ i: Int, in table: any QueueTable, at: Int64) throws {
    let stream = QueueDesk.hash(key)
    guard let next = queues[i].sorter?.sequencer?.position(of: stream) else { return }
    try table.saveNext(queues[i].number, stream: key, next, at: at)
    if queues[i].sorter?.sequencer?.isWaiting(stream) == false { queues[i].sorter?.sequencer?.forget(stream) }
  }

  /// Whether an event of this group was given up: its sender, or a human, may send it again.
  private func isDead(_ position: Int64, _ queue: Int64, in table: any QueueTable) throws -> Bool {
    let state = try table.known(queue, id: Array(String(position).utf8))?.state
    return state == .dead || state == .dropped
  }

  // MARK: Kept

  private mutating func keep(
    _ entry: LogEntry, _ event: KeptEvent, of log: Int64, _ i: Int, isRefused: Bool, in table: any QueueTable,
    now: Instant
  ) throws {
    let wait = queues[i].sorter?.order.sequence?.wait ?? 0
    // Shown as what it is: due when its gap is waited for no longer.
    let sequence = try insert(entry, of: log, i, due: event.since.adding(wait), in: table, now: now)
    try table.keep(sequence, event, queue: queues[i].number)
    queues[i].sorter?.kept[sequence] = event
    queues[i].sorter?.counts.kept += 1
    if isRefused {
      queues[i].sorter?.refused.append(sequence)
      lookAgain(i, now: now)
    }
  }

  private mutating func lookAgain(_ i: Int, now: Instant) {
    let isAny = queues[i].sorter?.refused.isEmpty == false
    queues[i].sorter?.lookAgainAt = isAny ? now + GroupSorter.again : .distantFuture
  }

  /// Their turn has come: they stand behind all of their key that have gone before.
  private mutating func release(
    _ ready: some Sequence<Sequencer.Ready>, _ i: Int, in table: any QueueTable, now: Instant
  ) throws {
    for one in ready {
      // Somebody has removed it while it was kept: its turn passes.
      guard queues[i].sorter?.kept.removeValue(forKey: one.token) != nil else { continue }
      try release(one.token, i, in: table, now: now)
    }
  }

  private mutating func release(_ sequence: Int64, _ i: Int, in table: any QueueTable, now: Instant) throws {
    let at = QueueDesk.milliseconds(now)
    try takeNumbers(1, in: table)
    let next = numbers.lowerBound
    guard
      let live = try table.release(sequence, as: next, due: at, expires: at.adding(queues[i].declaration.keep))
    else { return }
    numbers = next + 1..<numbers.upperBound
    queues[i].delivery.restore(QueueDesk.entry(live), now: now)
  }

  /// What time has done: gaps that are waited for no longer, room for those that found none.
  mutating func tickOrder(_ i: Int, in table: any QueueTable, now: Instant) throws {
    guard let wake = queues[i].sorter?.nextWake, wake <= now else { return }
    queues[i].isTouched = true
    let at = QueueDesk.milliseconds(now)
    var changes: [Sequencer.Change] = []
    var ready: [Sequencer.Ready] = []
    let looked =
      queues[i].sorter?.sequencer?.tick(settings.piece, now: now, into: &changes, ready: &ready) ?? 0
    if looked >= settings.piece { queues[i].hasMore = true }
    var keys: [UInt64: [UInt8]] = [:]
    for one in ready { if let event = queues[i].sorter?.kept[one.token] { keys[one.stream] = event.stream } }
    for change in changes where change.atGap == .skip {
      queues[i].sorter?.counts.skipped += change.last - change.first + 1
      // Nothing was handed on where what comes next found no room: it is looked at again, with all such.
      if keys[change.stream] == nil { keys[change.stream] = refusedKey(change.stream, i) }
    }
    try release(ready, i, in: table, now: now)
    for change in changes where change.atGap == .skip {
      if let key = keys[change.stream] { try note(key, i, in: table, at: at) }
    }
    if let again = queues[i].sorter?.lookAgainAt, again <= now { try offerAgain(i, in: table, now: now) }
    try table.saveOrderCounts(queues[i].number, queues[i].sorter?.counts ?? OrderCounts())
  }

  private func refusedKey(_ stream: UInt64, _ i: Int) -> [UInt8]? {
    for sequence in queues[i].sorter?.refused ?? [] {
      if let key = queues[i].sorter?.kept[sequence]?.stream, QueueDesk.hash(key) == stream { return key }
    }
    return nil
  }

  /// Those that the sequencer had no room for.
  private mutating func offerAgain(_ i: Int, in table: any QueueTable, now: Instant) throws {
    let at = QueueDesk.milliseconds(now)
    let refused = queues[i].sorter?.refused ?? []
    queues[i].sorter?.refused = []
    for sequence in refused {
      guard let event = queues[i].sorter?.kept[sequence] else { continue }
      var ready: [Sequencer.Ready] = []
      switch try offer(event, sequence, i, into: &ready, in: table, now: now) {
      case .delivered:
        try release(ready, i, in: table, now: now)
        try note(event.stream, i, in: table, at: at)
      case .kept: break
      case .full, .tooManyStreams: queues[i].sorter?.refused.append(sequence)
      case .duplicate:
        queues[i].sorter?.kept[sequence] = nil
        try table.unkeep(sequence)
        let tellsCopies = queues[i].sorter?.order.dedup != nil
        let isLate = SortedDelivery.answer(.duplicate, tellsCopies: tellsCopies) == .late
        if isLate, !event.name.isEmpty { try table.forgetFirst(queues[i].number, named: event.name) }
        try end(sequence, i, as: isLate ? .late : .passed, in: table, now: now)
      }
    }
    lookAgain(i, now: now)
  }

  // MARK: Left out

  private enum Ending {
    case copy(of: Int64)
    /// Its number has passed, and nobody can tell it from a copy.
    case passed
    case late
  }

  private mutating func leaveOut(
    _ entry: LogEntry, of log: Int64, _ i: Int, as ending: Ending, in table: any QueueTable, now: Instant
  ) throws {
    let sequence = try insert(entry, of: log, i, due: QueueDesk.milliseconds(now), in: table, now: now)
    try end(sequence, i, as: ending, in: table, now: now)
  }

  private mutating func end(_ sequence: Int64, _ i: Int, as ending: Ending, in table: any QueueTable, now: Instant)
    throws
  {
    let at = QueueDesk.milliseconds(now)
    let said: String
    switch ending {
    case .copy(let first): said = "left out: it came before, at position \(first)"
    case .passed: said = "left out: its number had passed"
    case .late:
      queues[i].sorter?.counts.late += 1
      try table.saveAttempt(
        sequence,
        AttemptView(attempt: 0, at: at, latency: 0, status: 0, error: "those behind it were not kept any longer"))
      _ = try record(.dead(.refused), sequence, i, as: .late, in: table, now: now)
      return
    }
    queues[i].sorter?.counts.copies += 1
    try table.saveDone(
      sequence, result: Array(said.utf8), at: at, dedup: 0, forgetAt: at.adding(settings.statusKeep))
  }

  /// A message that is in no index.
  private mutating func insert(
    _ entry: LogEntry, of log: Int64, _ i: Int, due: Int64, in table: any QueueTable, now: Instant
  ) throws -> Int64 {
    let at = QueueDesk.milliseconds(now)
    try takeNumbers(1, in: table)
    let live = LiveMessage(
      sequence: numbers.lowerBound, key: entry.key, tenant: [], priority: QueueLimits.priorityUsual,
      bytes: entry.payload, enqueuedAt: at, dueAt: due, expiresAt: at.adding(queues[i].declaration.keep))
    numbers = numbers.lowerBound + 1..<numbers.upperBound
    try table.insert(entry, live, log: log, queue: queues[i].number)
    return live.sequence
  }

  // MARK: Building, and being declared anew

  /// The sorter of a queue from its rows; the messages that are kept, which its index does not have.
  mutating func buildOrder(_ i: Int, in table: any QueueTable) throws -> Set<Int64> {
    let rows = try table.kept(queues[i].number)
    guard let order = queues[i].declaration.order else {
      queues[i].sorter = nil
      return []
    }
    var sorter = GroupSorter(order)
    sorter.counts = try table.orderCounts(queues[i].number)
    for row in rows {
      sorter.kept[row.sequence] = row.event
      let stream = QueueDesk.hash(row.event.stream)
      if sorter.sequencer?.position(of: stream) == nil,
        let next = try table.next(queues[i].number, stream: row.event.stream)
      {
        _ = sorter.sequencer?.restore(stream, position: next)
      }
      var ready: [Sequencer.Ready] = []
      let answer =
        sorter.sequencer?.offer(
          row.event.number, of: stream, token: row.sequence, now: QueueDesk.instant(row.event.since), into: &ready)
        ?? .full
      // Whatever is not kept in order is looked at at once; with an event whose turn it is, those that follow it.
      switch answer {
      case .kept: continue
      case .delivered:
        sorter.refused += ready.map(\.token)
        sorter.sequencer?.forget(stream)
      case .duplicate, .full, .tooManyStreams: sorter.refused.append(row.sequence)
      }
      sorter.lookAgainAt = .zero
    }
    queues[i].sorter = sorter
    return Set(sorter.kept.keys)
  }

  /// What is said of a group's order has changed: what was kept goes on as it stands, and is sorted no more, where numbers
  /// are others now.
  mutating func changeOrder(_ i: Int, from before: GroupOrder?, in table: any QueueTable, now: Instant) throws {
    let order = queues[i].declaration.order
    if order == before { return }
    if order?.sequence?.by != before?.sequence?.by {
      let kept = try table.kept(queues[i].number).sorted { $0.event.number < $1.event.number }
      for row in kept { try release(row.sequence, i, in: table, now: now) }
      try table.clearStreams(queues[i].number)
    }
    _ = try buildOrder(i, in: table)
  }

  /// Names whose window is over go, and streams of which nothing was heard as long as events are kept.
  package func forgetOrder(in table: any QueueTable, limit: Int, wall: Int64) throws -> Int {
    var most = 0
    for queue in queues where !queue.isStale {
      guard let order = queue.declaration.order else { continue }
      most = max(
        most,
        try table.forgetOrder(
          queue.number, names: wall - min(wall, order.dedup?.within ?? 0),
          streams: wall - min(wall, queue.declaration.keep), limit: limit))
    }
    return most
  }
}
