// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirFlows
package import WeirWire

/// What becomes of the state process's reply to what a ``LogAPI`` has asked: an answer, or the next question.
package enum LogAnswering: Sendable, Equatable {
  case appended(Appending)
  case read(LogReading)
  /// A position is sought; what stands from there on is read.
  case sought(LogReading)
  case counts(String)
  case snapshot(String)
  /// Whether the stream has come as far as the snapshot says, what snapshot there is, and whether the new one was taken.
  case snapshotOf(Saving)
  case snapshotBefore(Saving)
  case snapshotSaved(Saving)

  package struct Appending: Sendable, Equatable {
    var log: String
    var isStream: Bool
    /// The events' own, and their keys; one for one.
    var ids: [String]
    var keys: [[UInt8]]
    var isSingle: Bool
    /// The address had a key.
    var isKeyed: Bool
  }

  package struct Saving: Sendable, Equatable {
    var log: String
    var key: [UInt8]
    /// The stream's.
    var version: Int64
    var body: [UInt8]
    /// How often another was faster.
    var losses = 0

    static let lossesMax = 3
  }

  package func next(_ reply: StateReply) -> MessagingAPI.Outcome {
    switch (self, reply) {
    case (_, .failed(.full)): .answer(MessagingAnswer(.stateFull))
    case (_, .failed(.tooMany)): .answer(MessagingAnswer(.overloaded, retryAfter: 1000))
    case (_, .failed(.broken)), (_, .failed(.version)), (_, .failed(.taken)): .answer(MessagingAPI.unavailable)
    case (_, .unknownQueue): .answer(MessagingAnswer(isOfStream ? .streamUnknown : .topicUnknown))
    case (.appended(let appending), .appended(let appended)) where appended.count == appending.ids.count:
      .answer(appending.answer(appended))
    case (.appended, .queueFull(let retryAfter)):
      .answer(
        MessagingAnswer(
          .backlogFull, detail: "Somebody who hears this is so far behind that nothing more is taken.",
          retryAfter: retryAfter))
    case (.appended, .conflict(_, let version)):
      .answer(LogAnswering.conflict(version, "The stream has another version than the expected one."))
    case (.read(let reading), .entries(let entries)): .answer(reading.answer(entries))
    case (.sought(var reading), .position(let position)):
      reading.from(position)
    case (.counts(let log), .logCounts(let counts)): .answer(LogAnswering.shown(counts, log))
    case (.snapshot, .document(let document)): .answer(LogAnswering.shown(document))
    case (.snapshotOf(let saving), .entries(let entries)):
      entries.isEmpty
        ? .answer(
          MessagingAnswer(
            .versionConflict, detail: "The stream has not come as far as version \(saving.version), nor its snapshot."))
        : saving.look
    case (.snapshotBefore(let saving), .document(let document)): saving.save(over: document)
    case (.snapshotSaved(let saving), .saved): .answer(saving.answer)
    case (.snapshotSaved(var saving), .conflict): saving.again()
    default: .answer(MessagingAnswer(.internalError))
    }
  }

  private var isOfStream: Bool {
    switch self {
    case .appended(let appending): appending.isStream
    case .read(let reading), .sought(let reading): reading.isStream
    case .counts: false
    case .snapshot, .snapshotOf, .snapshotBefore, .snapshotSaved: true
    }
  }

  static func conflict(_ version: Int64, _ detail: String) -> MessagingAnswer {
    MessagingAnswer(.versionConflict, detail: detail, flaws: [], retryAfter: nil, fields: []) {
      $0.number("version", version)
    }
  }

  // MARK: Topics

  /// A batch without events: all of them are taken.
  static func accepted(nothingTo log: String) -> MessagingAnswer {
    Appending(log: log, isStream: false, ids: [], keys: [], isSingle: false, isKeyed: false).answer([])
  }

  private static func shown(_ counts: LogCounts, _ log: String) -> MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      answer.text("topic", log)
      answer.number("first", counts.first)
      answer.number("last", counts.last)
      answer.number("bytes", counts.bytes)
      answer.array("groups") { list in
        for group in counts.groups {
          list.object { one in
            let isOurs = group.name.hasPrefix("\(log).")
            one.text("group", isOurs ? String(group.name.dropFirst(log.count + 1)) : group.name)
            one.number("lag", group.lag)
            one.number("position", group.position)
            one.number("in-flight", group.counts.inFlight)
            one.number("retrying", group.counts.retrying)
            one.number("dead", group.counts.dead)
            one.bool("paused", group.counts.isPaused)
          }
        }
      }
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }

  // MARK: Snapshots

  private static func shown(_ document: LogDocument?) -> MessagingAnswer {
    guard let document, let (version, type, body) = parts(document.body) else {
      return MessagingAnswer(.snapshotUnknown)
    }
    var fields = [
      MessagingField("Content-Type", type ?? "application/octet-stream"), MessagingField("Cache-Control", "no-store"),
    ]
    fields.append(MessagingField("Weir-Version", "\(version)"))
    return MessagingAnswer(status: 200, fields: fields, body: body)
  }

  /// A kept snapshot: lines, an empty one, and the body.
  static func parts(_ document: [UInt8]) -> (version: Int64, type: String?, body: [UInt8])? {
    var at = 0
    var lines: [UInt8] = []
    while let end = document[at...].firstIndex(of: 0x0a) {
      let line = document[at...end]
      at = end + 1
      if line.elementsEqual([0x0d, 0x0a]) {
        let fields = MessageFields.pairs(lines)
        guard let version = fields.first(where: { $0.name == "weir-version" }).flatMap({ Int64($0.value) }) else {
          return nil
        }
        return (version, fields.first { $0.name == "content-type" }?.value, Array(document[at...]))
      }
      lines += line
    }
    return nil
  }
}

extension LogAnswering.Saving {
  /// What there is already.
  fileprivate var look: MessagingAPI.Outcome {
    .ask(.document(log: log, key: key), then: .log(.snapshotBefore(self)))
  }

  fileprivate func save(over document: LogDocument?) -> MessagingAPI.Outcome {
    if let document, let kept = LogAnswering.parts(document.body), kept.version > version {
      return .answer(LogAnswering.conflict(kept.version, "There is a snapshot of a later version."))
    }
    return .ask(
      .saveDocument(log: log, key: key, body: body, expected: document?.version ?? 0), then: .log(.snapshotSaved(self)))
  }

  /// Another has saved one in between: it is held against this one, too.
  fileprivate mutating func again() -> MessagingAPI.Outcome {
    losses += 1
    if losses >= LogAnswering.Saving.lossesMax { return .answer(MessagingAnswer(.overloaded, retryAfter: 1000)) }
    return look
  }

  fileprivate var answer: MessagingAnswer {
    var writer = JSONWriter()
    writer.object { answer in
      answer.text("stream", log)
      answer.text("key", String(decoding: key, as: UTF8.self))
      answer.number("version", version)
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }
}

extension LogAnswering.Appending {
  fileprivate func answer(_ appended: [Appended]) -> MessagingAnswer {
    var writer = JSONWriter()
    if isSingle, let one = appended.first, let id = ids.first, let key = keys.first {
      writer.object { answer in
        answer.text("id", id)
        answer.text(isStream ? "stream" : "topic", log)
        if isStream { answer.text("key", String(decoding: key, as: UTF8.self)) }
        write(one, &answer)
      }
      guard isStream else { return MessagingAnswer(status: 202, json: writer.finish()) }
      // Relative to the request's own address (RFC 9110 §10.2.2).
      let place = isKeyed ? Percent.encode(key) : "\(log)/\(Percent.encode(key))"
      return MessagingAnswer(
        status: 201, json: writer.finish(),
        fields: [MessagingField("Location", "\(place)?after=\(one.version - 1)&limit=1")])
    }
    writer.object { answer in
      answer.text(isStream ? "stream" : "topic", log)
      answer.array("events") { list in
        for (i, one) in appended.enumerated() {
          list.object { event in
            event.text("id", ids[i])
            if isStream { event.text("key", String(decoding: keys[i], as: UTF8.self)) }
            write(one, &event)
          }
        }
      }
    }
    return MessagingAnswer(status: isStream ? 201 : 202, json: writer.finish())
  }

  private func write(_ one: Appended, _ object: inout JSONWriter) {
    object.number("position", one.position)
    if isStream { object.number("version", one.version) }
    object.bool("duplicate", one.isDuplicate)
  }
}

extension LogReading {
  /// From where the time was found on.
  fileprivate mutating func from(_ position: Int64) -> MessagingAPI.Outcome {
    after = max(0, position - 1)
    return .ask(question, then: .log(.read(self)))
  }

  fileprivate func answer(_ entries: [LogEntry]) -> MessagingAnswer {
    let last = entries.last.map { key == nil ? $0.position : $0.version }
    let next = last ?? after
    if isBatch {
      let (fields, body) = CloudEvent.batched(entries.map { LogEvent.event($0, log: log, isStream: isStream) })
      let more = [MessagingField("Cache-Control", "no-store"), MessagingField("Weir-Next", "\(next)")]
      return MessagingAnswer(status: 200, fields: fields + more, body: body)
    }
    var writer = JSONWriter()
    writer.object { answer in
      answer.array("events") { list in
        for entry in entries { list.object { LogEvent.write(entry, &$0) } }
      }
      answer.number("next", next)
    }
    return MessagingAnswer(status: 200, json: writer.finish())
  }
}
