// SPDX-License-Identifier: Apache-2.0

/// Kinds 5 to 10 and 140 to 149: what is asked about queues.
extension StateWriter {
  /// False when the request is of another topic.
  mutating func queues(_ request: StateRequest, _ id: UInt64) -> Bool {
    switch request {
    case .declare(let queues):
      begin(5, id)
      list(queues) { $0.declaration($1) }
    case .enqueue(let queue, let messages):
      begin(6, id)
      text(queue)
      list(messages) { $0.message($1) }
    case .lease(let queue, let max, let visibility, let wait):
      begin(7, id)
      text(queue)
      u16(max)
      optional(visibility)
      i64(wait)
    case .settle(let queue, let settlements):
      begin(8, id)
      text(queue)
      list(settlements) { $0.settlement($1) }
    case .look(let queue, let look):
      begin(9, id)
      text(queue)
      switch look {
      case .counts: u8(0)
      case .message(let id):
        u8(1)
        run(id)
      case .list(let state, let after, let limit):
        u8(2)
        u8(state.rawValue)
        i64(after)
        u16(limit)
      }
    case .steer(let queue, let steer):
      begin(10, id)
      text(queue)
      switch steer {
      case .pause: u8(0)
      case .resume: u8(1)
      case .redrive(let sequences):
        u8(2)
        list(sequences) { $0.i64($1) }
      case .remove(let sequences):
        u8(3)
        list(sequences) { $0.i64($1) }
      case .purge(let all):
        u8(4)
        flag(all)
      }
    default: return false
    }
    return true
  }

  mutating func queues(_ reply: StateReply, _ id: UInt64) -> Bool {
    switch reply {
    case .declared: begin(140, id)
    case .enqueued(let enqueued):
      begin(141, id)
      list(enqueued) {
        $0.run($1.id)
        $0.flag($1.isDuplicate)
      }
    case .queueFull(let retryAfter):
      begin(142, id)
      i64(retryAfter)
    case .unknownQueue: begin(143, id)
    case .leased(let messages):
      begin(144, id)
      list(messages) {
        $0.i64($1.sequence)
        $0.u16($1.attempt)
        $0.i64($1.until)
        $0.i64($1.enqueuedAt)
        $0.message($1.message)
        $0.flag($1.entry != nil)
        if let entry = $1.entry { $0.entry(entry) }
      }
    case .settled(let results):
      begin(145, id)
      list(results) { $0.result($1) }
    case .counts(let counts):
      begin(146, id)
      self.counts(counts)
    case .message(let view):
      begin(147, id)
      flag(view != nil)
      if let view { self.view(view) }
    case .messages(let views):
      begin(148, id)
      list(views) { $0.view($1) }
    case .steered(let count):
      begin(149, id)
      i64(count)
    default: return false
    }
    return true
  }

  mutating func counts(_ counts: QueueCounts) {
    for number in [
      counts.waiting, counts.delayed, counts.inFlight, counts.dead, counts.blocked, counts.retrying, counts.bytes,
      counts.pollers, counts.declaredAt,
    ] { i64(number) }
    optional(counts.oldest)
    flag(counts.isPaused)
    orderCounts(counts.order)
  }

  private mutating func entry(_ entry: MessageEntry) {
    i64(entry.position)
    i64(entry.version)
    i64(entry.at)
    run(entry.id)
    run(entry.type)
  }

  mutating func declaration(_ queue: QueueDeclaration) {
    text(queue.name)
    i64(queue.visibility)
    u16(queue.attempts)
    i64(queue.backoffFirst)
    i64(queue.backoffMax)
    u64(queue.backoffJitter.bitPattern)
    flag(queue.keepsDead)
    i64(queue.keep)
    i64(queue.dedup)
    i64(queue.length)
    i64(queue.bytes)
    u32(UInt32(bitPattern: queue.atOnce))
    u32(UInt32(bitPattern: queue.keyAtOnce))
    flag(queue.rate != nil)
    if let rate = queue.rate { u64(rate.bitPattern) }
    order(queue.order)
  }

  private mutating func message(_ message: NewMessage) {
    run(message.id)
    run(message.key)
    run(message.tenant)
    u8(message.priority)
    i64(message.notBefore)
    optional(message.keep)
    run(message.fields)
    run(message.body)
  }

  private mutating func settlement(_ settlement: Settlement) {
    i64(settlement.sequence)
    u16(settlement.attempt)
    switch settlement.verdict {
    case .ack(let result):
      u8(0)
      run(result)
    case .nack(let error, let status, let latency, let retryAfter, let isFinal):
      u8(1)
      text(error)
      u16(status)
      i64(latency)
      optional(retryAfter)
      flag(isFinal)
    case .extend(let by):
      u8(2)
      i64(by)
    case .giveBack: u8(3)
    case .postpone(let by):
      u8(4)
      i64(by)
    }
  }

  private mutating func result(_ result: SettleResult) {
    switch result {
    case .done: u8(0)
    case .retry(let at):
      u8(1)
      i64(at)
    case .dead: u8(2)
    case .extended(let until):
      u8(3)
      i64(until)
    case .givenBack: u8(4)
    case .lost: u8(5)
    }
  }

  private mutating func view(_ view: MessageView) {
    i64(view.sequence)
    run(view.id)
    run(view.key)
    run(view.tenant)
    u8(view.priority)
    u8(view.state.rawValue)
    u16(view.attempts)
    i64(view.enqueuedAt)
    i64(view.dueAt)
    optional(view.endedAt)
    u8(view.death?.rawValue ?? 0)
    run(view.result)
    i64(view.bytes)
    list(view.history) {
      $0.u16($1.attempt)
      $0.i64($1.at)
      $0.i64($1.latency)
      $0.u16($1.status)
      $0.text($1.error)
    }
    run(view.fields)
    run(view.body)
  }
}

extension StateReader {
  /// Nil when the kind is of another topic.
  mutating func queueRequest(_ kind: UInt8, _ bytes: Span<UInt8>) throws(StateFrameError) -> StateRequest? {
    switch kind {
    case 5:
      return .declare(
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          try reader.declaration(bytes)
        })
    case 6:
      let queue = try name(bytes)
      return .enqueue(
        queue: queue,
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          try reader.message(bytes)
        })
    case 7:
      let queue = try name(bytes)
      let max = try u16(bytes)
      guard (1...QueueLimits.batchMax).contains(Int(max)) else { throw .badValue }
      return .lease(queue: queue, max: max, visibility: try optional(bytes), wait: try length(bytes))
    case 8:
      let queue = try name(bytes)
      return .settle(
        queue: queue,
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          try reader.settlement(bytes)
        })
    case 9: return .look(queue: try name(bytes), try look(bytes))
    case 10: return .steer(queue: try name(bytes), try steer(bytes))
    default: return nil
    }
  }

  mutating func queueReply(_ kind: UInt8, _ bytes: Span<UInt8>) throws(StateFrameError) -> StateReply? {
    switch kind {
    case 140: return .declared
    case 141:
      return .enqueued(
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          Enqueued(id: try reader.id(bytes), isDuplicate: try reader.flag(bytes))
        })
    case 142: return .queueFull(retryAfter: try length(bytes))
    case 143: return .unknownQueue
    case 144:
      return .leased(
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          LeasedMessage(
            sequence: try reader.length(bytes), attempt: try reader.u16(bytes), until: try reader.length(bytes),
            enqueuedAt: try reader.length(bytes), message: try reader.message(bytes),
            entry: try reader.flag(bytes) ? try reader.messageEntry(bytes) : nil)
        })
    case 145:
      return .settled(
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          try reader.result(bytes)
        })
    case 146: return .counts(try counts(bytes))
    case 147: return .message(try flag(bytes) ? try view(bytes) : nil)
    case 148:
      return .messages(
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          try reader.view(bytes)
        })
    case 149: return .steered(try length(bytes))
    default: return nil
    }
  }

  mutating func name(_ bytes: Span<UInt8>) throws(StateFrameError) -> String {
    let name = try text(bytes, atMost: QueueLimits.nameBytesMax)
    if name.isEmpty { throw .badValue }
    return name
  }

  mutating func id(_ bytes: Span<UInt8>) throws(StateFrameError) -> [UInt8] {
    let id = try run(bytes, atMost: QueueLimits.idBytesMax)
    if id.isEmpty { throw .badValue }
    return id
  }

  private mutating func priority(_ bytes: Span<UInt8>) throws(StateFrameError) -> UInt8 {
    let priority = try u8(bytes)
    if priority > QueueLimits.priorityMax { throw .badValue }
    return priority
  }

  private mutating func sequences(_ bytes: Span<UInt8>) throws(StateFrameError) -> [Int64] {
    try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
      try reader.length(bytes)
    }
  }

  /// At least 1.
  private mutating func count(_ bytes: Span<UInt8>) throws(StateFrameError) -> Int32 {
    let value = Int32(bitPattern: UInt32(try u16(bytes)) << 16 | UInt32(try u16(bytes)))
    if value < 1 { throw .badValue }
    return value
  }

  mutating func declaration(_ bytes: Span<UInt8>) throws(StateFrameError) -> QueueDeclaration {
    var queue = QueueDeclaration(name: try name(bytes))
    queue.visibility = try length(bytes)
    queue.attempts = try u16(bytes)
    queue.backoffFirst = try length(bytes)
    queue.backoffMax = try length(bytes)
    queue.backoffJitter = Double(bitPattern: try u64(bytes))
    queue.keepsDead = try flag(bytes)
    queue.keep = try length(bytes)
    queue.dedup = try length(bytes)
    queue.length = try length(bytes)
    queue.bytes = try length(bytes)
    queue.atOnce = try count(bytes)
    queue.keyAtOnce = try count(bytes)
    if try flag(bytes) {
      let rate = Double(bitPattern: try u64(bytes))
      guard rate > 0, rate.isFinite else { throw .badValue }
      queue.rate = rate
    }
    queue.order = try order(bytes)
    guard queue.attempts > 0, queue.backoffJitter >= 0, queue.backoffJitter <= 1 else { throw .badValue }
    return queue
  }

  private mutating func message(_ bytes: Span<UInt8>) throws(StateFrameError) -> NewMessage {
    NewMessage(
      id: try id(bytes), key: try run(bytes, atMost: QueueLimits.keyBytesMax),
      tenant: try run(bytes, atMost: QueueLimits.tenantBytesMax), priority: try priority(bytes),
      notBefore: try length(bytes), keep: try optional(bytes),
      fields: try run(bytes, atMost: QueueLimits.fieldsBytesMax),
      body: try run(bytes, atMost: QueueLimits.bodyBytesMax))
  }

  private mutating func messageEntry(_ bytes: Span<UInt8>) throws(StateFrameError) -> MessageEntry {
    MessageEntry(
      position: try length(bytes), version: try length(bytes), at: try length(bytes), id: try id(bytes),
      type: try run(bytes, atMost: LogLimits.typeBytesMax))
  }

  private mutating func settlement(_ bytes: Span<UInt8>) throws(StateFrameError) -> Settlement {
    let sequence = try length(bytes)
    let attempt = try u16(bytes)
    let verdict: Settlement.Verdict
    switch try u8(bytes) {
    case 0: verdict = .ack(result: try run(bytes, atMost: QueueLimits.resultBytesMax))
    case 1:
      verdict = .nack(
        error: try text(bytes, atMost: QueueLimits.errorBytesMax), status: try u16(bytes), latency: try length(bytes),
        retryAfter: try optional(bytes), isFinal: try flag(bytes))
    case 2: verdict = .extend(by: try length(bytes))
    case 3: verdict = .giveBack
    case 4: verdict = .postpone(by: try length(bytes))
    default: throw .badValue
    }
    return Settlement(sequence: sequence, attempt: attempt, verdict: verdict)
  }

  private mutating func look(_ bytes: Span<UInt8>) throws(StateFrameError) -> QueueLook {
    switch try u8(bytes) {
    case 0: return .counts
    case 1: return .message(id: try id(bytes))
    case 2:
      let state = try state(bytes)
      let after = try length(bytes)
      let limit = try u16(bytes)
      guard state != .done, (1...QueueLimits.batchMax).contains(Int(limit)) else { throw .badValue }
      return .list(state, after: after, limit: limit)
    default: throw .badValue
    }
  }

  private mutating func steer(_ bytes: Span<UInt8>) throws(StateFrameError) -> QueueSteer {
    switch try u8(bytes) {
    case 0: .pause
    case 1: .resume
    case 2: .redrive(try sequences(bytes))
    case 3: .remove(try sequences(bytes))
    case 4: .purge(all: try flag(bytes))
    default: throw .badValue
    }
  }

  private mutating func result(_ bytes: Span<UInt8>) throws(StateFrameError) -> SettleResult {
    switch try u8(bytes) {
    case 0: .done
    case 1: .retry(at: try length(bytes))
    case 2: .dead
    case 3: .extended(until: try length(bytes))
    case 4: .givenBack
    case 5: .lost
    default: throw .badValue
    }
  }

  mutating func counts(_ bytes: Span<UInt8>) throws(StateFrameError) -> QueueCounts {
    var counts = QueueCounts()
    counts.waiting = try length(bytes)
    counts.delayed = try length(bytes)
    counts.inFlight = try length(bytes)
    counts.dead = try length(bytes)
    counts.blocked = try length(bytes)
    counts.retrying = try length(bytes)
    counts.bytes = try length(bytes)
    counts.pollers = try length(bytes)
    counts.declaredAt = try length(bytes)
    counts.oldest = try optional(bytes)
    counts.isPaused = try flag(bytes)
    counts.order = try orderCounts(bytes)
    return counts
  }

  private mutating func state(_ bytes: Span<UInt8>) throws(StateFrameError) -> MessageState {
    guard let state = MessageState(rawValue: try u8(bytes)) else { throw .badValue }
    return state
  }

  private mutating func death(_ bytes: Span<UInt8>) throws(StateFrameError) -> MessageDeath? {
    let raw = try u8(bytes)
    if raw == 0 { return nil }
    guard let death = MessageDeath(rawValue: raw) else { throw .badValue }
    return death
  }

  private mutating func view(_ bytes: Span<UInt8>) throws(StateFrameError) -> MessageView {
    var view = MessageView(
      sequence: try length(bytes), id: try id(bytes), key: try run(bytes, atMost: QueueLimits.keyBytesMax),
      tenant: try run(bytes, atMost: QueueLimits.tenantBytesMax), priority: try priority(bytes),
      state: try state(bytes), attempts: try u16(bytes), enqueuedAt: try length(bytes), dueAt: try length(bytes),
      endedAt: try optional(bytes), death: try death(bytes),
      result: try run(bytes, atMost: QueueLimits.resultBytesMax), bytes: try length(bytes))
    view.history = try list(bytes, atMost: QueueLimits.historyMax) { (reader, bytes) throws(StateFrameError) in
      AttemptView(
        attempt: try reader.u16(bytes), at: try reader.length(bytes), latency: try reader.length(bytes),
        status: try reader.u16(bytes), error: try reader.text(bytes, atMost: QueueLimits.errorBytesMax))
    }
    view.fields = try run(bytes, atMost: QueueLimits.fieldsBytesMax)
    view.body = try run(bytes, atMost: QueueLimits.bodyBytesMax)
    return view
  }
}
