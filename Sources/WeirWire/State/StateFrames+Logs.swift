// SPDX-License-Identifier: Apache-2.0

/// Kinds 11 to 21 and 150 to 157: what is asked about logs.
extension StateWriter {
  /// False when the request is of another topic.
  mutating func logs(_ request: StateRequest, _ id: UInt64) -> Bool {
    switch request {
    case .declareLogs(let logs):
      begin(11, id)
      list(logs) { $0.declaration($1) }
    case .append(let log, let entries):
      begin(12, id)
      text(log)
      list(entries) { $0.entry($1) }
    case .read(let log, let key, let after, let limit, let wait):
      begin(13, id)
      text(log)
      flag(key != nil)
      if let key { run(key) }
      i64(after)
      u16(limit)
      i64(wait)
    case .seek(let log, let time):
      begin(14, id)
      text(log)
      i64(time)
    case .lookLog(let log):
      begin(15, id)
      text(log)
    case .join(let log, let queue):
      begin(16, id)
      text(log)
      declaration(queue)
    case .leave(let log, let group):
      begin(17, id)
      text(log)
      text(group)
    case .replay(let log, let group, let from, let to):
      begin(18, id)
      text(log)
      text(group)
      i64(from)
      optional(to)
    case .saveDocument(let log, let key, let body, let expected):
      begin(19, id)
      text(log)
      run(key)
      run(body)
      optional(expected)
    case .document(let log, let key):
      begin(20, id)
      text(log)
      run(key)
    case .documents(let log, let after, let limit):
      begin(21, id)
      text(log)
      run(after)
      u16(limit)
    default: return false
    }
    return true
  }

  mutating func logs(_ reply: StateReply, _ id: UInt64) -> Bool {
    switch reply {
    case .appended(let appended):
      begin(150, id)
      list(appended) {
        $0.i64($1.position)
        $0.i64($1.version)
        $0.flag($1.isDuplicate)
      }
    case .conflict(let index, let version):
      begin(151, id)
      u16(index)
      i64(version)
    case .entries(let entries):
      begin(152, id)
      list(entries) { $0.entry($1) }
    case .position(let position):
      begin(153, id)
      i64(position)
    case .logCounts(let counts):
      begin(154, id)
      for number in [counts.first, counts.last, counts.bytes, counts.refused, counts.readers, counts.declaredAt] {
        i64(number)
      }
      list(counts.groups) {
        $0.text($1.name)
        $0.i64($1.lag)
        $0.i64($1.position)
        $0.counts($1.counts)
      }
    case .saved(let version):
      begin(155, id)
      i64(version)
    case .document(let document):
      begin(156, id)
      flag(document != nil)
      if let document { self.document(document) }
    case .documentList(let documents):
      begin(157, id)
      list(documents) { $0.document($1) }
    default: return false
    }
    return true
  }

  private mutating func declaration(_ log: LogDeclaration) {
    text(log.name)
    optional(log.keep)
    optional(log.bytes)
    u8(log.forgetting.rawValue)
    list(log.groups) {
      $0.text($1.queue)
      $0.flag($1.fromStart)
    }
  }

  private mutating func entry(_ entry: NewEntry) {
    run(entry.id)
    run(entry.key)
    run(entry.type)
    run(entry.fields)
    run(entry.body)
    optional(entry.expected)
    flag(entry.reads)
  }

  private mutating func entry(_ entry: LogEntry) {
    i64(entry.position)
    i64(entry.version)
    i64(entry.at)
    run(entry.id)
    run(entry.key)
    run(entry.type)
    run(entry.fields)
    run(entry.body)
  }

  private mutating func document(_ document: LogDocument) {
    run(document.key)
    i64(document.version)
    run(document.body)
  }
}

extension StateReader {
  /// Nil when the kind is of another topic.
  mutating func logRequest(_ kind: UInt8, _ bytes: Span<UInt8>) throws(StateFrameError) -> StateRequest? {
    switch kind {
    case 11:
      return .declareLogs(
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          try reader.log(bytes)
        })
    case 12:
      let log = try name(bytes)
      return .append(
        log: log,
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          try reader.newEntry(bytes)
        })
    case 13:
      return .read(
        log: try name(bytes), key: try flag(bytes) ? try key(bytes) : nil, after: try length(bytes),
        limit: try limit(bytes), wait: try length(bytes))
    case 14: return .seek(log: try name(bytes), time: try length(bytes))
    case 15: return .lookLog(log: try name(bytes))
    case 16: return .join(log: try name(bytes), try declaration(bytes))
    case 17: return .leave(log: try name(bytes), group: try name(bytes))
    case 18:
      return .replay(
        log: try name(bytes), group: try name(bytes), from: try length(bytes), to: try optional(bytes))
    case 19:
      return .saveDocument(
        log: try name(bytes), key: try key(bytes), body: try run(bytes, atMost: LogLimits.documentBytesMax),
        expected: try optional(bytes))
    case 20: return .document(log: try name(bytes), key: try key(bytes))
    case 21:
      return .documents(
        log: try name(bytes), after: try run(bytes, atMost: QueueLimits.keyBytesMax), limit: try limit(bytes))
    default: return nil
    }
  }

  mutating func logReply(_ kind: UInt8, _ bytes: Span<UInt8>) throws(StateFrameError) -> StateReply? {
    switch kind {
    case 150:
      return .appended(
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          Appended(
            position: try reader.length(bytes), version: try reader.length(bytes),
            isDuplicate: try reader.flag(bytes))
        })
    case 151: return .conflict(index: try u16(bytes), version: try length(bytes))
    case 152:
      return .entries(
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          try reader.entry(bytes)
        })
    case 153: return .position(try length(bytes))
    case 154:
      var counts = LogCounts()
      counts.first = try length(bytes)
      counts.last = try length(bytes)
      counts.bytes = try length(bytes)
      counts.refused = try length(bytes)
      counts.readers = try length(bytes)
      counts.declaredAt = try length(bytes)
      counts.groups = try list(bytes, atMost: LogLimits.groupsInAll) { (reader, bytes) throws(StateFrameError) in
        var group = GroupCounts(name: try reader.name(bytes))
        group.lag = try reader.length(bytes)
        group.position = try reader.length(bytes)
        group.counts = try reader.counts(bytes)
        return group
      }
      return .logCounts(counts)
    case 155: return .saved(version: try length(bytes))
    case 156: return .document(try flag(bytes) ? try document(bytes) : nil)
    case 157:
      return .documentList(
        try list(bytes, atMost: QueueLimits.batchMax) { (reader, bytes) throws(StateFrameError) in
          try reader.document(bytes)
        })
    default: return nil
    }
  }

  /// Not empty.
  private mutating func key(_ bytes: Span<UInt8>) throws(StateFrameError) -> [UInt8] {
    let key = try run(bytes, atMost: QueueLimits.keyBytesMax)
    if key.isEmpty { throw .badValue }
    return key
  }

  private mutating func limit(_ bytes: Span<UInt8>) throws(StateFrameError) -> UInt16 {
    let limit = try u16(bytes)
    guard (1...QueueLimits.batchMax).contains(Int(limit)) else { throw .badValue }
    return limit
  }

  private mutating func log(_ bytes: Span<UInt8>) throws(StateFrameError) -> LogDeclaration {
    var log = LogDeclaration(name: try name(bytes))
    log.keep = try optional(bytes)
    log.bytes = try optional(bytes)
    guard let forgetting = LogDeclaration.Forgetting(rawValue: try u8(bytes)) else { throw .badValue }
    log.forgetting = forgetting
    log.groups = try list(bytes, atMost: LogLimits.groupsMax) { (reader, bytes) throws(StateFrameError) in
      LogGroup(queue: try reader.name(bytes), fromStart: try reader.flag(bytes))
    }
    return log
  }

  /// Without a key it belongs to no stream, so that no version can be expected of it.
  private mutating func newEntry(_ bytes: Span<UInt8>) throws(StateFrameError) -> NewEntry {
    let entry = NewEntry(
      id: try run(bytes, atMost: QueueLimits.idBytesMax), key: try run(bytes, atMost: QueueLimits.keyBytesMax),
      type: try run(bytes, atMost: LogLimits.typeBytesMax), fields: try run(bytes, atMost: QueueLimits.fieldsBytesMax),
      body: try run(bytes, atMost: QueueLimits.bodyBytesMax), expected: try optional(bytes), reads: try flag(bytes))
    if entry.reads {
      if entry.expected == nil { throw .badValue }
    } else if entry.id.isEmpty {
      throw .badValue
    }
    if entry.expected != nil && entry.key.isEmpty { throw .badValue }
    return entry
  }

  private mutating func entry(_ bytes: Span<UInt8>) throws(StateFrameError) -> LogEntry {
    LogEntry(
      position: try length(bytes), version: try length(bytes), at: try length(bytes), id: try id(bytes),
      key: try run(bytes, atMost: QueueLimits.keyBytesMax), type: try run(bytes, atMost: LogLimits.typeBytesMax),
      fields: try run(bytes, atMost: QueueLimits.fieldsBytesMax),
      body: try run(bytes, atMost: QueueLimits.bodyBytesMax))
  }

  private mutating func document(_ bytes: Span<UInt8>) throws(StateFrameError) -> LogDocument {
    LogDocument(
      key: try key(bytes), version: try length(bytes), body: try run(bytes, atMost: LogLimits.documentBytesMax))
  }
}
