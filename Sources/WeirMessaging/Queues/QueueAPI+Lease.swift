// SPDX-License-Identifier: Apache-2.0
internal import WeirBase
internal import WeirFlows
internal import WeirWire

extension QueueAPI {
  func lease(_ request: MessagingRequest, _ seat: Seat) throws(Refused) -> Parsed {
    var most: Int64 = 1
    var wait: Int64 = 0
    var visibility: Int64?
    var flaws: [Flaw] = []
    for (name, value) in try parameters(request, ["max", "wait", "visibility"]) {
      Self.collect(&flaws) { () throws(Flaw) in
        switch name {
        case "max": most = try Self.integer("?max", value, 1...Int64(QueueLimits.batchMax))
        case "wait": wait = try Self.length("?wait", value, to: Self.waitMax)
        default: visibility = try Self.length("?visibility", value, from: 1000, to: Self.visibilityMax)
        }
      }
    }
    if !request.body.isEmpty {
      flaws.append(
        Flaw(
          "the body", "lease takes its words from the query",
          mend: "Send POST \(seat.address)/lease?max=10&wait=20s&visibility=60s without a body."))
    }
    if !flaws.isEmpty { throw Refused(flaws) }
    return .ask(
      .lease(queue: seat.queue, max: UInt16(truncatingIfNeeded: most), visibility: visibility, wait: wait),
      then: .leased)
  }

  /// `verb`: `ack`, `nack` or `extend`; its words stand in the query, in a JSON body, or in both.
  func settle(_ request: MessagingRequest, _ queue: String, _ verb: String) throws(Refused) -> Parsed {
    let words =
      switch verb {
      case "ack": ["result"]
      case "nack": ["error", "retry-after", "final"]
      default: ["by"]
      }
    var verdict = Words()
    var flaws: [Flaw] = []
    for (name, value) in try parameters(request, ["lease"] + words.filter { $0 != "result" }) {
      Self.collect(&flaws) { () throws(Flaw) in
        if name == "lease" {
          try verdict.add(value, at: "?lease")
        } else {
          try verdict.set(name, value, at: "?\(name)")
        }
      }
    }
    if !request.body.isEmpty {
      let members = try only(["leases"] + words, of: try json(request))
      for name in ["leases"] + words {
        guard let value = members[name] else { continue }
        Self.collect(&flaws) { () throws(Flaw) in try verdict.set(name, value, at: "$.\(name)") }
      }
    }
    if flaws.isEmpty {
      if !(1...QueueLimits.batchMax).contains(verdict.leases.count) {
        flaws.append(
          Flaw(
            "$.leases", "\(verdict.leases.count) leases are named; 1 to \(QueueLimits.batchMax) are taken at once",
            mend: #"Send {"leases":["12.1"]}, or ?lease=12.1, with the words that lease has answered."#))
      }
      if verb == "extend", verdict.by == nil {
        flaws.append(Flaw("$.by", "by how long is missing", mend: #"Send {"leases":["12.1"],"by":"60s"}."#))
      }
    }
    if !flaws.isEmpty { throw Refused(flaws) }
    let said: Settlement.Verdict =
      switch verb {
      case "ack": .ack(result: verdict.result)
      case "nack":
        .nack(
          error: verdict.error, status: 0, latency: 0, retryAfter: verdict.retryAfter, isFinal: verdict.isFinal)
      default: .extend(by: verdict.by ?? 0)
      }
    let settlements = verdict.leases.map { Settlement(sequence: $0.sequence, attempt: $0.attempt, verdict: said) }
    return .ask(
      .settle(queue: queue, settlements),
      then: .settled(verdict.leases.map { "\($0.sequence).\($0.attempt)" }))
  }

  /// What is said of leases.
  private struct Words {
    var leases: [(sequence: Int64, attempt: UInt16)] = []
    var result: [UInt8] = []
    var error = ""
    var retryAfter: Int64?
    var isFinal = false
    var by: Int64?

    /// `12.1`: sequence and attempt.
    mutating func add(_ text: String, at place: String) throws(Flaw) {
      let parts = text.split(separator: ".", omittingEmptySubsequences: false)
      let isNumbers = parts.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy { $0 &- 0x30 < 10 } }
      guard parts.count == 2, isNumbers, let sequence = Int64(parts[0]), let attempt = UInt16(parts[1]) else {
        throw Flaw(place, "\(Flaw.quoted(text)) is no lease", mend: "Send the word that lease has answered, as 12.1.")
      }
      leases.append((sequence, attempt))
    }

    mutating func set(_ name: String, _ value: JSONView, at place: String) throws(Flaw) {
      switch name {
      case "leases":
        guard value.kind == .array else {
          throw Flaw(place, "\(value.words) is no list of leases", mend: #"Write ["12.1"]."#)
        }
        for (i, item) in value.items.enumerated() {
          guard let text = item.text else {
            throw Flaw("\(place)[\(i)]", "\(item.words) is no text", mend: #"Write "12.1"."#)
          }
          try add(text, at: "\(place)[\(i)]")
        }
      case "result":
        guard value.raw.count <= QueueLimits.resultBytesMax else {
          throw Flaw(place, "it has \(value.raw.count) bytes, at most \(QueueLimits.resultBytesMax) are kept")
        }
        result = Array(value.raw)
      case "final":
        guard value.kind == .bool else { throw Flaw(place, "\(value.words) is neither true nor false") }
        isFinal = value.isTrue
      default:
        if value.kind == .null { return }
        guard let text = value.text else {
          throw Flaw(
            place, "\(value.words) is no text",
            mend: value.integer != nil && name != "error" ? "Write \"\(value.scalar ?? "")s\"." : nil)
        }
        try set(name, text, at: place)
      }
    }

    mutating func set(_ name: String, _ text: String, at place: String) throws(Flaw) {
      switch name {
      case "error": error = Words.shortened(text)
      case "retry-after": retryAfter = try Words.later(text, at: place)
      case "by": by = try QueueAPI.length(place, text, from: 1000, to: QueueAPI.visibilityMax)
      default:
        guard text == "true" || text == "false" else {
          throw Flaw(place, "\(Flaw.quoted(text)) is neither true nor false")
        }
        isFinal = text == "true"
      }
    }

    private static func later(_ text: String, at place: String) throws(Flaw) -> Int64 {
      let length = try QueueAPI.length(place, text)
      let most = QueueDelivery.Settings.retryAfterMax.inNanoseconds / 1_000_000
      if length <= most { return length }
      throw Flaw(
        place,
        "\(Flaw.quoted(text)) is longer than a consumer may hold a message back, \(TimeText.of(milliseconds: most))",
        mend:
          "Send at most \(TimeText.of(milliseconds: most)); for later than that ack it, and enqueue it anew with Weir-Delay."
      )
    }

    /// To as many bytes as are kept, at a character's end: a stack trace is no reason to lose the nack.
    static func shortened(_ text: String) -> String {
      var out = ""
      var count = 0
      for scalar in text.unicodeScalars {
        count += UTF8.width(scalar)
        if count > QueueLimits.errorBytesMax { break }
        out.unicodeScalars.append(scalar)
      }
      return out
    }
  }
}
