// SPDX-License-Identifier: Apache-2.0
package import WeirBase
internal import WeirFlows
package import WeirWire

/// HTTP of queues, as a translation: a request becomes a question for the state process, its reply an answer.
///
/// Pure: what carries it out (`WeirProxy`) collects the body, asks, and writes the answer. docs/queues-http.md is the page.
///
///     POST /queues/<q>                  enqueue                 202
///     POST /queues/<q>/batch            enqueue several         202
///     POST /queues/<q>/lease            take some to work on    200, held open as long as `wait` says
///     POST /queues/<q>/ack|nack|extend  say how it went         200, 409 for a lease that is lost
///     GET  /queues/<q>/messages/<id>    what became of one      200
///     GET  /queues/<q>                  counts                  200
///
/// ## Invariants
/// 1. No input, however malformed, stops the process: it becomes a refusal that says where it is wrong.
/// 2. What is asked of the state process keeps its limits (`QueueLimits`): its reader never refuses a frame of ours.
/// 3. A payload goes through byte for byte; a JSON payload within another text keeps its digits and the order of its members.
/// 4. No field that is kept has a line end in it: it is written into a request again.
package struct QueueAPI: Sendable {
  package enum Parsed: Sendable, Equatable {
    case ask(StateRequest, then: Answering)
    case refuse(MessagingAnswer)
  }

  /// The largest body of a request: a batch.
  package static let bodyBytesMax = QueueLimits.batchBytesMax
  /// Longer waits are asked for again: proxies on the way, and clients, give up an answer that does not begin.
  static let waitMax: Int64 = 60_000
  /// SQS has the same.
  static let visibilityMax: Int64 = 12 * 3_600_000
  /// Of a list of mistakes; more are the same one.
  static let flawsMax = 16

  /// By queue: the member of a JSON payload, or the field, that gives a message its key when its sender names none.
  private let keyFields: [String: String]

  package init(keyFields: [String: String] = [:]) { self.keyFields = keyFields }

  /// What a request asks.
  ///
  /// - Parameters:
  ///   - now: delays are counted from it.
  ///   - random: ids of messages whose sender gave none are drawn from it.
  package func parse(_ request: MessagingRequest, now: WallTime, using random: inout SeededRandom) -> Parsed {
    do throws(Refused) {
      return try place(request, now, &random)
    } catch { return .refuse(error.answer) }
  }

  /// A refusal on its way out.
  struct Refused: Error {
    var answer: MessagingAnswer

    init(_ answer: MessagingAnswer) { self.answer = answer }
    init(_ flaws: [Flaw]) { answer = MessagingAnswer(.messageMalformed, flaws: Array(flaws.prefix(flawsMax))) }
  }

  private func place(
    _ request: MessagingRequest, _ now: WallTime, _ random: inout SeededRandom
  ) throws(Refused) -> Parsed {
    let parts = request.path.split(separator: "/", omittingEmptySubsequences: false).map(Percent.decode)
    guard parts.count >= 3, parts[0] == "", parts[1] == "queues", let queue = parts[2], !parts.contains(nil) else {
      throw Refused(MessagingAnswer(.noRoute))
    }
    guard QueueAPI.isName(queue) else {
      throw Refused(MessagingAnswer(.queueUnknown, detail: "There is no queue \(Flaw.quoted(queue))."))
    }
    let seat = Seat(queue: queue, address: "/queues/\(queue)")
    switch parts.count {
    case 3 where request.method != "GET":
      try require("POST", request, "GET, POST")
      return try enqueue(request, queue, now, &random)
    case 4 where parts[3] == "batch":
      try require("POST", request)
      return try batch(request, queue, now, &random)
    default: return try work(request, at: seat, parts.dropFirst(3).map { $0 ?? "" })
    }
  }

  /// Where messages are taken from: a queue, or a group of a log, which is a queue that the log feeds.
  struct Seat {
    var queue: String
    /// The path that leads there.
    var address: String
    var isGroup = false
  }

  /// What is done with messages that are in it already; `rest` is what stands behind its address.
  func work(_ request: MessagingRequest, at seat: Seat, _ rest: [String]) throws(Refused) -> Parsed {
    let queue = seat.queue
    let action = rest.first ?? ""
    switch (action, rest.count) {
    case ("", 0):
      try require("GET", request)
      _ = try parameters(request, [])
      return .ask(.look(queue: queue, .counts), then: .counts(queue))
    case ("lease", 1):
      try require("POST", request)
      return try lease(request, seat)
    case ("ack", 1), ("nack", 1), ("extend", 1):
      try require("POST", request)
      return try settle(request, queue, action)
    case ("messages", 2):
      try require("GET", request)
      _ = try parameters(request, [])
      let id = Array(rest[1].utf8)
      guard QueueAPI.isID(id) else { throw Refused(MessagingAnswer(.messageUnknown)) }
      return .ask(.look(queue: queue, .message(id: id)), then: .message(queue))
    default:
      let what =
        seat.isGroup
        ? "A group has lease, ack, nack, extend and messages/<position>"
        : "A queue has batch, lease, ack, nack, extend and messages/<id>"
      throw Refused(MessagingAnswer(.noRoute, detail: "\(what); \(Flaw.quoted(action)) is none of them."))
    }
  }

  func require(_ method: String, _ request: MessagingRequest, _ allowed: String? = nil) throws(Refused) {
    if request.method == method { return }
    throw Refused(MessagingAnswer(.methodNotAllowed, fields: [MessagingField("Allow", allowed ?? method)]))
  }

  // MARK: What several requests have in common

  /// The member or field that gives a message of this queue its key.
  func keyField(_ queue: String) -> String? { keyFields[queue] }

  /// The parameters of the query, decoded, in their order; each known, and once unless it is `lease`.
  func parameters(
    _ request: MessagingRequest, _ known: [String]
  ) throws(Refused) -> [(name: String, value: String)] {
    var found: [(name: String, value: String)] = []
    var flaws: [Flaw] = []
    for pair in (request.query ?? "").split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard let name = Percent.decode(parts[0], isForm: true),
        let value = Percent.decode(parts.count > 1 ? parts[1] : "", isForm: true)
      else {
        flaws.append(Flaw("the query", "\(Flaw.quoted(String(pair))) has a broken escape"))
        continue
      }
      if !known.contains(name) {
        flaws.append(
          known.isEmpty
            ? Flaw("?\(name)", "no parameter is known here") : .unknown("?\(name)", name, among: known))
      } else if name != "lease", found.contains(where: { $0.name == name }) {
        flaws.append(Flaw("?\(name)", "it stands there twice"))
      } else {
        found.append((name, value))
      }
    }
    if !flaws.isEmpty { throw Refused(flaws) }
    return found
  }

  /// A length of time within its bounds.
  static func length(
    _ at: String, _ text: String, from least: Int64 = 0, to most: Int64 = TimeText.longest
  ) throws(Flaw) -> Int64 {
    guard let milliseconds = TimeText.milliseconds(text) else {
      throw Flaw(
        at, "\(Flaw.quoted(text)) is no length of time", mend: "Write a number and its unit: 250ms, 30s, 5m, 2h, 1d.")
    }
    guard (least...most).contains(milliseconds) else {
      throw Flaw(
        at,
        "\(Flaw.quoted(text)) is not between \(TimeText.of(milliseconds: least)) and \(TimeText.of(milliseconds: most))"
      )
    }
    return milliseconds
  }

  static func integer(_ at: String, _ text: String, _ range: ClosedRange<Int64>) throws(Flaw) -> Int64 {
    guard let value = Int64(text), text.utf8.allSatisfy({ $0 &- 0x30 < 10 }), range.contains(value) else {
      throw Flaw(at, "\(Flaw.quoted(text)) is no whole number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  /// As names of components in the file.
  static func isName(_ name: String) -> Bool {
    (1...63).contains(name.utf8.count) && name.first != "-" && name.last != "-"
      && name.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d }
  }

  /// Visible ASCII: an id stands in fields and addresses.
  static func isID(_ id: [UInt8]) -> Bool {
    (1...QueueLimits.idBytesMax).contains(id.count) && id.allSatisfy { $0 > 0x20 && $0 < 0x7f }
  }
}

/// Escapes of an address (RFC 3986 §2.1).
enum Percent {
  /// What is meant; nil for a broken escape, and for bytes that are no UTF-8.
  ///
  /// `isForm`: a `+` is a space.
  static func decode(_ text: Substring, isForm: Bool) -> String? {
    let bytes = Array(text.utf8)
    var out: [UInt8] = []
    var i = 0
    while i < bytes.count {
      if bytes[i] == 0x25 {
        guard i + 2 < bytes.count, let high = hex(bytes[i + 1]), let low = hex(bytes[i + 2]) else { return nil }
        out.append(high << 4 | low)
        i += 3
      } else {
        out.append(isForm && bytes[i] == 0x2b ? 0x20 : bytes[i])
        i += 1
      }
    }
    return String(validating: out, as: UTF8.self)
  }

  static func decode(_ text: Substring) -> String? { decode(text, isForm: false) }

  /// All but unreserved characters escaped (RFC 3986 §2.3).
  static func encode(_ text: some Sequence<UInt8>, keeping isPlain: (UInt8) -> Bool = isUnreserved) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var out: [UInt8] = []
    for byte in text {
      if isPlain(byte) { out.append(byte) } else { out += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
    }
    return String(decoding: out, as: UTF8.self)
  }

  static func isUnreserved(_ byte: UInt8) -> Bool {
    byte &- 0x30 < 10 || (byte | 0x20) &- 0x61 < 26 || byte == 0x2d || byte == 0x2e || byte == 0x5f || byte == 0x7e
  }

  private static func hex(_ byte: UInt8) -> UInt8? {
    if byte &- 0x30 < 10 { return byte - 0x30 }
    let letter = (byte | 0x20) &- 0x61
    return letter < 6 ? letter + 10 : nil
  }
}
