// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirFlows
internal import WeirWire

/// HTTP of topics and streams, as a translation: a request becomes a question for the state process, its reply an answer.
///
/// Pure, like ``QueueAPI``, whose code works for groups: a group is a queue that its log feeds. docs/topics.md and
/// docs/streams.md are the pages.
///
///     POST /topics/<t>                          publish one event, or a batch     202
///     GET  /topics/<t>/events                   read, from a position or a time   200, held open as long as `wait` says
///     GET  /topics/<t>                          counts                            200
///     POST /topics/<t>/groups/<g>/lease …       as /queues/<q>/lease …
///     POST /streams/<s>[/<key>]                 append                            201, 409 for another version
///     GET  /streams/<s>[/<key>]                 read all, or one stream           200, held open as long as `wait` says
///     GET, PUT /streams/<s>/<key>/snapshot      a snapshot of one stream          200
///     POST /streams/<s>/groups/<g>/lease …      as /queues/<q>/lease …
///
/// ## Invariants
/// 1. Those of ``QueueAPI``: no input stops the process, no frame of ours is refused, payloads go through byte for byte.
/// 2. All events of a request are appended, or none; what is wrong with them is told at once.
/// 3. A snapshot is never replaced by an older one.
package struct LogAPI: Sendable {
  /// A topic or a stream, as the file has it.
  package struct Log: Sendable {
    package enum Kind: Sendable, Equatable {
      case topic
      case stream
    }

    package var kind: Kind
    package var name: String
    /// The member of an event's data, its attribute, or the field that gives it its key when its sender names none.
    package var key: String?
    /// The types of events that it takes; empty: any.
    package var types: [String]
    /// What the data of each event must fit.
    package var schema: JSONSchema?
    /// The names of those who hear it; the queue of each is ``group(_:)``.
    package var groups: [String]
    /// What its groups look for in its events: kept where it stands in a field of the request (``EventFacts``).
    package var marks: [String]

    package init(
      _ kind: Kind, _ name: String, key: String? = nil, types: [String] = [], schema: JSONSchema? = nil,
      groups: [String] = [], marks: [String] = []
    ) {
      self.kind = kind
      self.name = name
      self.key = key
      self.types = types
      self.schema = schema
      self.groups = groups
      self.marks = marks
    }

    /// The queue that the log feeds for a group: no queue of the file has a name with a dot.
    package func group(_ name: String) -> String { LogAPI.queue(of: name, log: self.name) }
  }

  /// The queue of a log's group.
  package static func queue(of group: String, log: String) -> String { "\(log).\(group)" }

  /// Events of one answer.
  static let limitMax: Int64 = 1000
  static let limitUsual: Int64 = 100

  private let logs: [String: Log]
  private let queues = QueueAPI()

  package init(_ logs: [Log] = []) {
    self.logs = Dictionary(logs.map { ($0.name, $0) }) { first, _ in first }
  }

  /// What a request asks; see ``MessagingAPI/parse(_:now:using:)``.
  package func parse(
    _ request: MessagingRequest, now: WallTime, using random: inout SeededRandom
  ) -> MessagingAPI.Outcome {
    do throws(QueueAPI.Refused) {
      return try place(request, now, &random)
    } catch { return .answer(error.answer) }
  }

  /// Whether the body of a request is held against a schema.
  func judges(_ request: MessagingRequest) -> Bool {
    let parts = request.path.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
    guard request.method != "GET", parts.count > 2, let name = Percent.decode(parts[2]) else { return false }
    return logs[name]?.schema != nil
  }

  private func place(
    _ request: MessagingRequest, _ now: WallTime, _ random: inout SeededRandom
  ) throws(QueueAPI.Refused) -> MessagingAPI.Outcome {
    let parts = request.path.split(separator: "/", omittingEmptySubsequences: false).map(Percent.decode)
    guard parts.count >= 3, parts[0] == "", let section = parts[1], let name = parts[2], !parts.contains(nil),
      section == "topics" || section == "streams"
    else { throw QueueAPI.Refused(MessagingAnswer(.noRoute)) }
    let kind: Log.Kind = section == "topics" ? .topic : .stream
    guard let log = logs[name], log.kind == kind else {
      throw QueueAPI.Refused(
        MessagingAnswer(
          kind == .topic ? .topicUnknown : .streamUnknown,
          detail: "There is no \(kind == .topic ? "topic" : "stream") \(Flaw.quoted(name))."))
    }
    let rest = parts.dropFirst(3).map { $0 ?? "" }
    if rest.count >= 3, rest[0] == "groups" { return try group(request, log, rest[1], Array(rest.dropFirst(2))) }
    switch kind {
    case .topic: return try topic(request, log, rest, now, &random)
    case .stream: return try stream(request, log, rest, now, &random)
    }
  }

  // MARK: Topics

  private func topic(
    _ request: MessagingRequest, _ topic: Log, _ rest: [String], _ now: WallTime, _ random: inout SeededRandom
  ) throws(QueueAPI.Refused) -> MessagingAPI.Outcome {
    switch (rest.first ?? "", rest.count) {
    case ("", 0):
      if request.method == "GET" {
        _ = try queues.parameters(request, [])
        return .ask(.lookLog(log: topic.name), then: .log(.counts(topic.name)))
      }
      try queues.require("POST", request, "GET, POST")
      return try append(request, topic, key: nil, now, &random)
    case ("events", 1):
      try queues.require("GET", request)
      return try read(request, topic, key: nil)
    case ("groups", 2): return try group(request, topic, rest[1], [])
    default:
      throw QueueAPI.Refused(
        MessagingAnswer(
          .noRoute,
          detail: "A topic has events and groups/<name>; \(Flaw.quoted(rest.first ?? "")) is none of them."))
    }
  }

  // MARK: Streams

  private func stream(
    _ request: MessagingRequest, _ stream: Log, _ rest: [String], _ now: WallTime, _ random: inout SeededRandom
  ) throws(QueueAPI.Refused) -> MessagingAPI.Outcome {
    let isSnapshot = rest.count == 2 && rest[1] == "snapshot"
    guard rest.count <= 1 || isSnapshot else {
      throw QueueAPI.Refused(
        MessagingAnswer(
          .noRoute, detail: "A stream has <key>, <key>/snapshot and groups/<name>/lease, ack, nack, extend."))
    }
    var key: [UInt8]?
    if let text = rest.first {
      do throws(Flaw) {
        key = try QueueAPI.Draft.text("key", text, at: "the address", QueueLimits.keyBytesMax)
      } catch { throw QueueAPI.Refused([error]) }
    }
    if let key, isSnapshot {
      switch request.method {
      case "GET":
        _ = try queues.parameters(request, [])
        return .ask(.document(log: stream.name, key: key), then: .log(.snapshot(stream.name)))
      case "PUT": return try save(request, stream, key)
      default: try queues.require("GET", request, "GET, PUT")
      }
    }
    if request.method == "GET" { return try read(request, stream, key: key) }
    try queues.require("POST", request, "GET, POST")
    return try append(request, stream, key: key, now, &random)
  }

  // MARK: Groups

  /// A group is the queue `<log>.<group>`, and is worked on as any.
  private func group(
    _ request: MessagingRequest, _ log: Log, _ name: String, _ rest: [String]
  ) throws(QueueAPI.Refused) -> MessagingAPI.Outcome {
    guard log.groups.contains(name) else {
      throw QueueAPI.Refused(
        MessagingAnswer(
          .groupUnknown,
          detail: "\(log.kind == .topic ? "The topic" : "The stream") \(log.name) has no group \(Flaw.quoted(name))."))
    }
    let seat = QueueAPI.Seat(
      queue: log.group(name), address: "/\(log.kind == .topic ? "topics" : "streams")/\(log.name)/groups/\(name)",
      isGroup: true)
    switch try queues.work(request, at: seat, rest) {
    case .ask(let question, let then): return .ask(question, then: .group(then))
    case .refuse(let answer): return .answer(answer)
    }
  }
}
