// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirFlows
internal import WeirWire

/// What is read of a log, and how it is answered.
package struct LogReading: Sendable, Equatable {
  var log: String
  var isStream: Bool
  /// Of one stream; nil: all.
  var key: [UInt8]?
  /// A position; of one stream, a version.
  var after: Int64 = 0
  var limit: UInt16
  var wait: Int64 = 0
  /// As a batch of CloudEvents.
  var isBatch = false

  var question: StateRequest { .read(log: log, key: key, after: after, limit: limit, wait: wait) }
}

extension LogAPI {
  func read(
    _ request: MessagingRequest, _ log: Log, key: [UInt8]?
  ) throws(QueueAPI.Refused) -> MessagingAPI.Outcome {
    var reading = LogReading(
      log: log.name, isStream: log.kind == .stream, key: key, limit: UInt16(LogAPI.limitUsual))
    var from: WallTime?
    var flaws: [Flaw] = []
    let known = key == nil ? ["after", "from", "limit", "wait"] : ["after", "limit", "wait"]
    let parameters = try QueueAPI().parameters(request, known)
    for (name, value) in parameters {
      QueueAPI.collect(&flaws) { () throws(Flaw) in
        switch name {
        case "after": reading.after = try QueueAPI.integer("?after", value, 0...Int64.max - 1)
        case "limit":
          reading.limit = UInt16(truncatingIfNeeded: try QueueAPI.integer("?limit", value, 1...LogAPI.limitMax))
        case "wait": reading.wait = try QueueAPI.length("?wait", value, to: QueueAPI.waitMax)
        default:
          // A plus of the offset that nobody has escaped has come as a space.
          let text = String(value.map { $0 == " " ? "+" : $0 })
          guard let point = TimeText.point(text) else {
            throw Flaw(
              "?from", "\(Flaw.quoted(value)) is no point of time",
              mend: "Write it as RFC 3339 has it: 2026-11-22T09:00:00Z.")
          }
          from = point
        }
      }
    }
    if from != nil, parameters.contains(where: { $0.name == "after" }) {
      flaws.append(Flaw("?from", "after is there, too: events are read behind a position or from a time on"))
    }
    if !flaws.isEmpty { throw QueueAPI.Refused(flaws) }
    reading.isBatch = request.values("accept").contains { value in
      value.split(separator: ",").contains { MediaType.essence(String($0)) == CloudEvent.batchType }
    }
    guard let from else { return .ask(reading.question, then: .log(.read(reading))) }
    return .ask(.seek(log: log.name, time: from.milliseconds), then: .log(.sought(reading)))
  }

  // MARK: Snapshots

  /// The version goes with it, and its type.
  func save(
    _ request: MessagingRequest, _ stream: Log, _ key: [UInt8]
  ) throws(QueueAPI.Refused) -> MessagingAPI.Outcome {
    let queues = QueueAPI()
    _ = try queues.parameters(request, [])
    var flaws: [Flaw] = []
    var version: Int64?
    for (word, value) in QueueAPI.said(request, ["Weir-Version"], &flaws) {
      QueueAPI.collect(&flaws) { () throws(Flaw) in version = try QueueAPI.integer(word, value, 1...Int64.max) }
    }
    var type: [UInt8] = []
    QueueAPI.collect(&flaws) { () throws(Flaw) in
      if let value = request.values("content-type").first {
        type = try MessageFields.line("content-type", value, at: "Content-Type")
      }
    }
    if version == nil, flaws.isEmpty {
      flaws.append(
        Flaw(
          "Weir-Version", "which version of the stream it is made of is missing",
          mend: "Send the version of the last event that went into it."))
    }
    if request.body.isEmpty { flaws.append(Flaw("the body", "a snapshot is not empty")) }
    guard flaws.isEmpty, let version else { throw QueueAPI.Refused(flaws) }
    let body = Array("weir-version: \(version)\r\n".utf8) + type + [0x0d, 0x0a] + request.body
    guard body.count <= LogLimits.documentBytesMax else {
      throw QueueAPI.Refused(
        MessagingAnswer(
          .bodyTooLarge,
          detail: "A snapshot has at most \(LogLimits.documentBytesMax) bytes, with its fields this has \(body.count).")
      )
    }
    let saving = LogAnswering.Saving(log: stream.name, key: key, version: version, body: body)
    // A snapshot of what is not there would hide events that are still to come.
    return .ask(
      .read(log: stream.name, key: key, after: version - 1, limit: 1, wait: 0), then: .log(.snapshotOf(saving)))
  }
}
